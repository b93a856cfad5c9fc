//! A file by its button: counted once, sent whole or in pieces, and never run.

use axum::http::StatusCode;

use crate::world::{Given, World, octets};

#[tokio::test]
async fn a_button_counts_and_leads_to_the_file() {
    let world = World::new().await;
    let file = octets(700_001);
    let files = [("Größe <1>.pdf", "application/pdf", file.clone()), ("x.html", "text/html", octets(10))];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let link = shared.link(0);
    let page = world.get(&link).await;
    assert_eq!(page.status, StatusCode::OK);
    for part in
        ["Größe &#60;1&#62;.pdf", "The plan &#60;b&#62;", "ann@sender.test", "700 kB", "Available until"]
    {
        assert!(page.text().contains(part), "{part}: {}", page.text());
    }
    assert!(!page.text().contains("<script") && !page.text().contains("http"), "{}", page.text());
    // What scanners of links do counts nothing and spends nothing.
    for (method, path) in
        [("HEAD", link.clone()), ("GET", format!("{link}/0")), ("HEAD", format!("{link}/all"))]
    {
        let answer = world.ask(method, &path, &[("purpose", "prefetch")], "").await;
        assert!(answer.status.is_success() || answer.status == StatusCode::SEE_OTHER, "{path}");
    }
    assert_eq!(world.counted(&link).await, 0);
    let at = world.grant(&format!("{link}/0")).await;
    assert_eq!(world.counted(&link).await, 1);
    let answer = world.get(&at).await;
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &file));
    for (name, value) in [
        ("content-length", "700001"),
        ("content-type", "application/pdf"),
        (
            "content-disposition",
            "attachment; filename=\"Groesse <1>.pdf\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%3C1%3E.pdf",
        ),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "private, no-store"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(answer.field(name), value);
    }
    // Read again, and by HEAD: the same grant, nothing counted.
    let head = world.ask("HEAD", &at, &[("range", "bytes=0-1")], "").await;
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (StatusCode::OK, "700001", 0));
    assert_eq!(world.get(&at).await.body, file);
    assert_eq!(world.counted(&link).await, 1);
    let at = world.grant(&format!("{link}/1")).await;
    assert_eq!(world.get(&at).await.field("content-type"), "application/octet-stream");
    // A grant is for its file and its link alone.
    let other = at.replace("/1?", "/0?");
    assert_eq!(world.get(&other).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&format!("{link}/1?grant=guess")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_shows_and_gives_only_what_is_not_in_the_form_of_its_recipient() {
    let world = World::new().await;
    let files = [
        ("large.pdf", "application/pdf", octets(9_000)),
        ("small.pdf", "application/pdf", octets(100)),
        ("middle.pdf", "application/pdf", octets(500)),
    ];
    let only = Some((1, &[0, 2][..]));
    let to = &["a@one.test", "b@two.test"];
    let shared = world.share(Given { files: &files, to, only, ..Given::default() }).await;
    let (all, some) = (shared.link(0), shared.link(1));
    assert!(world.get(&all).await.text().contains("small.pdf"));
    let page = world.get(&some).await;
    assert!(page.text().contains("large.pdf") && page.text().contains("middle.pdf"), "{}", page.text());
    assert!(!page.text().contains("small.pdf"), "{}", page.text());
    assert!(page.text().contains("Download all as ZIP (9.5 kB)"), "{}", page.text());
    assert_eq!(world.post(&format!("{some}/1"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.counted(&some).await, 0);
    let at = world.grant(&format!("{some}/2")).await;
    assert_eq!(world.get(&at).await.body, files[2].2);
    world.grant(&format!("{some}/all")).await;
    assert_eq!((world.counted(&some).await, world.counted(&all).await), (3, 0));
}

#[tokio::test]
async fn a_download_is_resumed_where_it_was_cut() {
    let world = World::new().await;
    let file = octets(600_000);
    let files = [("a.bin", "application/octet-stream", file.clone())];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let at = world.grant(&format!("{}/0", shared.link(0))).await;
    let tag = world.get(&at).await.field("etag").to_owned();
    for (range, from, to) in
        [("bytes=0-0", 0, 1), ("bytes=299999-", 299_999, 600_000), ("bytes=-5", 599_995, 600_000)]
    {
        let answer = world.ask("GET", &at, &[("range", range), ("if-range", &tag)], "").await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(answer.field("content-range"), format!("bytes {from}-{}/600000", to - 1));
        assert_eq!(answer.field("content-length"), (to - from).to_string());
        assert_eq!(answer.body, file[from..to]);
    }
    let changed = world.ask("GET", &at, &[("range", "bytes=9-"), ("if-range", "\"old\"")], "").await;
    assert_eq!((changed.status, changed.body.len()), (StatusCode::OK, 600_000));
    let past = world.ask("GET", &at, &[("range", "bytes=600000-")], "").await;
    assert_eq!(
        (past.status, past.field("content-range")),
        (StatusCode::RANGE_NOT_SATISFIABLE, "bytes */600000")
    );
    let failed = world.ask("GET", &at, &[("if-match", "\"old\"")], "").await;
    assert_eq!(failed.status, StatusCode::PRECONDITION_FAILED);
    let same = world.ask("GET", &at, &[("if-none-match", &tag)], "").await;
    assert_eq!(
        (same.status, same.body.len(), same.field("etag")),
        (StatusCode::NOT_MODIFIED, 0, tag.as_str())
    );
    assert_eq!(world.counted(&shared.link(0)).await, 1);
}

#[tokio::test]
async fn a_cap_ends_what_a_button_gives_and_nothing_that_was_given() {
    let world = World::new().await;
    let files = [("a.bin", "application/octet-stream", octets(10)), ("b.bin", "x/y", octets(5))];
    let given = Given { files: &files, cap: Some(1), to: &["b@one.test", "c@one.test"], ..Given::default() };
    let shared = world.share(given).await;
    let link = shared.link(0);
    assert!(world.get(&link).await.text().contains("Downloads left: 1"));
    let at = world.grant(&format!("{link}/0")).await;
    for path in [format!("{link}/0"), format!("{link}/all")] {
        let refused = world.post(&path, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert!(refused.text().contains("No downloads left"), "{}", refused.text());
    }
    assert_eq!(world.get(&at).await.body.len(), 10);
    world.grant(&format!("{link}/1")).await;
    assert!(!world.get(&link).await.text().contains("<button"));
    // Another recipient's link is not used up.
    world.grant(&format!("{}/all", shared.link(1))).await;
}

#[tokio::test]
async fn what_a_scanner_has_not_cleared_is_not_given() {
    use vouchsafe_core::attachments::{AttachmentStore, Check};
    use vouchsafe_core::ports::Clock;
    let world = World::new().await;
    let files = [("a.bin", "application/octet-stream", octets(10))];
    let shared = world.share(Given { files: &files, check: Check::Waiting, ..Given::default() }).await;
    let link = shared.link(0);
    let page = world.get(&link).await;
    assert!(page.text().contains("Being checked") && !page.text().contains("<button"), "{}", page.text());
    assert_eq!(world.post(&format!("{link}/0"), "").await.status, StatusCode::FORBIDDEN);
    let blob = world.store.unchecked_blobs(10).await.unwrap().remove(0).name;
    let say = async |check| {
        world
            .store
            .set_check(blob.clone(), check, String::new(), "clamd".into(), world.clock.now())
            .await
            .unwrap();
    };
    say(Check::Clear).await;
    let at = world.grant(&format!("{link}/0")).await;
    assert_eq!(world.get(&at).await.body.len(), 10);
    say(Check::Found).await;
    // What was granted is not given either.
    assert_eq!(world.get(&at).await.status, StatusCode::FORBIDDEN);
    assert!(world.get(&link).await.text().contains("something harmful"));
    say(Check::Refused).await;
    assert_eq!(world.get(&at).await.status, StatusCode::FORBIDDEN);
    assert!(world.get(&link).await.text().contains("Withheld by the administrator"));
}
