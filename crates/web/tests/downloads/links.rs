//! Links and their life: what shows when, what is asked for before, who is not answered, and what the sender may do.

use std::time::Duration;

use axum::http::StatusCode;
use vouchsafe_core::attachments::{Access, AttachmentStore, ShareChange, ShareFilter};
use vouchsafe_core::ports::{MailStore, QueueFilter};

use crate::world::{Given, World, octets};

#[tokio::test]
async fn what_never_was_and_what_is_over_look_the_same() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let link = shared.link(0);
    world.expires(&shared, -15).await;
    let unknown = format!("/{}", "a".repeat(32));
    let mut seen = Vec::new();
    for path in [
        link.clone(),
        unknown.clone(),
        "/".to_owned(),
        "/favicon.ico".to_owned(),
        format!("/{}", "1".repeat(32)),
        format!("{link}/0"),
        format!("{unknown}/0?grant=x"),
        format!("{link}/0/1"),
        format!("/sender{unknown}"),
        "/%ff%fe".to_owned(),
        "/a/b/c/d".to_owned(),
    ] {
        for method in ["GET", "POST"] {
            let answer = world.ask(method, &path, &[], "").await;
            let headers: Vec<_> = answer.headers.iter().map(|(k, v)| format!("{k}: {v:?}")).collect();
            seen.push((path.clone(), answer.status, headers, answer.body));
        }
    }
    for (path, status, headers, body) in &seen {
        assert_eq!((status, headers, body), (&StatusCode::NOT_FOUND, &seen[0].2, &seen[0].3), "{path}");
    }
}

#[tokio::test]
async fn when_the_time_is_up_the_sender_can_be_asked_once() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let link = shared.link(0);
    let at = world.grant(&format!("{link}/0")).await;
    world.expires(&shared, -1).await;
    let page = world.ask("GET", &link, &[("accept-language", "de-DE,de;q=0.9,en;q=0.8")], "").await;
    assert_eq!(page.status, StatusCode::GONE);
    assert!(page.text().contains("Den Absender um mehr Zeit bitten") && !page.text().contains("a.bin"));
    assert_eq!(world.get(&at).await.status, StatusCode::GONE);
    assert_eq!(world.post(&format!("{link}/0"), "").await.status, StatusCode::GONE);
    let asked = async || world.store.shares(ShareFilter::default()).await.unwrap()[0].asked;
    assert!(!asked().await);
    assert_eq!(world.post(&format!("{link}/time"), "").await.status, StatusCode::SEE_OTHER);
    assert!(asked().await);
    let page = world.get(&link).await;
    assert!(page.text().contains("has been asked") && !page.text().contains("<button"));
    // Extended, it works as before, grants included.
    world.expires(&shared, 1).await;
    assert_eq!(world.get(&at).await.body.len(), 10);
    // A stranger's sender is never mailed: nobody can ask.
    let shared = world.share(Given { files: &files, known_sender: false, ..Given::default() }).await;
    world.expires(&shared, -1).await;
    assert!(!world.get(&shared.link(0)).await.text().contains("<button"));
    assert_eq!(world.post(&format!("{}/time", shared.link(0)), "").await.status, StatusCode::GONE);
}

#[tokio::test]
async fn a_password_is_asked_for_before_anything_is_shown() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let (link, sender) = (shared.link(0), world.sender_link(&shared).await);
    assert_eq!(
        world.post(&format!("{sender}/password"), "password=short").await.field("location"),
        format!("{sender}?bad")
    );
    assert_eq!(
        world.post(&format!("{sender}/password"), "password=long+enough").await.field("location"),
        format!("{sender}?done")
    );
    let page = world.get(&link).await;
    assert!(page.text().contains("type=\"password\"") && !page.text().contains("a.bin"), "{}", page.text());
    // The button alone gives nothing.
    assert!(!world.post(&format!("{link}/0"), "").await.status.is_redirection());
    assert_eq!(world.counted(&link).await, 0);
    assert_eq!(world.post(&format!("{link}/unlock"), "password=wrong").await.status, StatusCode::FORBIDDEN);
    let open = world.post(&format!("{link}/unlock"), "password=long+enough").await;
    assert_eq!((open.status, open.field("location")), (StatusCode::SEE_OTHER, link.as_str()));
    let cookie = open.field("set-cookie");
    assert!(cookie.starts_with("__Host-password-") && cookie.contains("HttpOnly; SameSite=Lax"), "{cookie}");
    let pair = cookie.split(';').next().unwrap();
    assert!(world.ask("GET", &link, &[("cookie", pair)], "").await.text().contains("a.bin"));
    let button = world.ask("POST", &format!("{link}/0"), &[("cookie", pair)], "").await;
    assert_eq!(world.get(button.field("location")).await.body.len(), 10);
    // Whoever guesses waits.
    for _ in 0..5 {
        world.post(&format!("{link}/unlock"), "password=wrong").await;
    }
    let waits = world.post(&format!("{link}/unlock"), "password=long+enough").await;
    assert_eq!(waits.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(!waits.field("retry-after").is_empty());
    world.post(&format!("{sender}/password"), "").await;
    assert!(world.get(&link).await.text().contains("a.bin"));
}

#[tokio::test]
async fn a_code_is_mailed_to_the_recipient_and_to_nobody_else() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let given = Given {
        files: &files,
        access: Access::Code,
        to: &["bob@one.test", "c@one.test"],
        ..Given::default()
    };
    let shared = world.share(given).await;
    let link = shared.link(0);
    let page = world.get(&link).await;
    assert!(page.text().contains("b…@one.test") && !page.text().contains("a.bin"), "{}", page.text());
    let queue = async || {
        let rows = world.store.list(QueueFilter::default()).await.unwrap();
        rows.into_iter().filter(|row| row.sender.is_empty()).collect::<Vec<_>>()
    };
    let sent = world.post(&format!("{link}/code"), "address=eve@evil.test").await;
    assert!(sent.text().contains("a code is on its way"), "{}", sent.text());
    let mails = queue().await;
    assert_eq!((mails.len(), mails[0].recipients[0].0.as_str()), (1, "bob@one.test"));
    let mut body = world.store.open_body(mails[0].message).await.unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = body.next().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(text).unwrap();
    let code = text.lines().find_map(|line| line.strip_prefix("    ")).unwrap().replace(' ', "");
    let other = format!("code={}", if code == "12345678" { "87654321" } else { "12345678" });
    assert_eq!(world.post(&format!("{link}/prove"), &other).await.status, StatusCode::FORBIDDEN);
    let open = world.post(&format!("{link}/prove"), &format!("code={code}")).await;
    assert_eq!(open.status, StatusCode::SEE_OTHER, "{}", open.text());
    let pair = open.field("set-cookie").split(';').next().unwrap().to_owned();
    assert!(world.ask("GET", &link, &[("cookie", &pair)], "").await.text().contains("a.bin"));
    // The pass is for this link; the code is used up; mails have a limit.
    assert!(!world.ask("GET", &shared.link(1), &[("cookie", &pair)], "").await.text().contains("a.bin"));
    assert_eq!(
        world.post(&format!("{link}/prove"), &format!("code={code}")).await.status,
        StatusCode::FORBIDDEN
    );
    for _ in 0..3 {
        world.post(&format!("{link}/code"), "").await;
    }
    assert_eq!(queue().await.len(), 3);
}

#[tokio::test]
async fn the_sender_extends_and_takes_back() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let shared =
        world.share(Given { files: &files, to: &["b@one.test", "c@one.test"], ..Given::default() }).await;
    let (link, sender) = (shared.link(0), world.sender_link(&shared).await);
    let at = world.grant(&format!("{link}/0")).await;
    let page = world.get(&sender).await;
    assert!(page.text().contains("b@one.test") && page.text().contains("not yet"), "{}", page.text());
    // A page that is opened does nothing, and neither does a recall without the word.
    assert_eq!(world.get(&format!("{sender}/recall")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.post(&format!("{sender}/recall"), "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(&link).await.status, StatusCode::OK);
    assert_eq!(world.post(&format!("{sender}/recall"), "sure=yes").await.status, StatusCode::SEE_OTHER);
    let page = world.get(&link).await;
    assert!(page.status == StatusCode::GONE && page.text().contains("taken these files back"));
    assert_eq!(world.get(&at).await.status, StatusCode::GONE);
    world.post(&format!("{sender}/extend"), "").await;
    assert_eq!(world.get(&at).await.body.len(), 10);
    // A recipient's link is none of the sender's, and the other way round.
    assert_eq!(world.get(&format!("/sender{link}")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get(sender.strip_prefix("/sender").unwrap()).await.status, StatusCode::NOT_FOUND);
    world.change(ShareChange::Erase { message: shared.message }).await;
    assert_eq!(world.get(&sender).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn whoever_tries_links_is_not_answered_for_a_while() {
    let world = World::new().await;
    let files = [("a.bin", "x/y", octets(10))];
    let shared = world.share(Given { files: &files, ..Given::default() }).await;
    let link = shared.link(0);
    let get = async |path: &str, client: &str, headers: &[(&str, &str)]| {
        world.begin("GET", path, headers, client, "").await.status()
    };
    for guess in 0..40 {
        let token: String =
            format!("{guess:032}").replace('0', "a").replace('1', "b").replace(['8', '9'], "c");
        assert_eq!(get(&format!("/{token}"), "192.0.2.9", &[]).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(get(&link, "192.0.2.9", &[]).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&link, "192.0.2.10", &[]).await, StatusCode::OK);
    // Who the client is, only proxies of ours may say.
    let forwarded = [("x-forwarded-for", "192.0.2.9")];
    assert_eq!(get(&link, "10.1.1.1", &forwarded).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(get(&link, "192.0.2.11", &forwarded).await, StatusCode::OK);
    tokio::time::advance(Duration::from_secs(16)).await;
    assert_eq!(get(&link, "192.0.2.9", &[]).await, StatusCode::OK);
    // Requests that lead somewhere are many, not endless.
    let mut answered = 0;
    while get(&link, "192.0.2.12", &[]).await == StatusCode::OK {
        answered += 1;
        assert!(answered <= 300);
    }
    assert_eq!(answered, 300);
}
