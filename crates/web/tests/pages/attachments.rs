//! Files behind links: found, shown, and what an administrator does to them.

use axum::http::StatusCode;
use vouchsafe_core::attachments::Check;
use vouchsafe_core::ports::Clock;
use vouchsafe_fakes::PipeDialer;
use vouchsafe_gateway::admin::Role;
use vouchsafe_gateway::control::Request;

use crate::LISTENERS;
use crate::world::World;

#[tokio::test]
async fn files_are_found_by_name_and_address_and_lead_to_their_message_and_back() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    assert!(world.get("/attachments").await.contains("No files are behind links."));
    let plan = world.queued("bob@far.example", "plan <b>.pdf").await;
    world.queued("carol@far.example", "photos.zip").await;
    let list = world.get("/attachments?text=PLAN&state=open").await;
    assert!(list.contains("plan &#60;b&#62;.pdf") && !list.contains("photos.zip"), "{list}");
    assert!(world.get("/attachments?text=carol@").await.contains("photos.zip"));
    assert!(world.get("/attachments?state=found").await.contains("Nothing fits that."));
    let page = world.get(&format!("/attachments/{plan}")).await;
    for words in [
        "The plan",
        "bob@far.example",
        "1.0 MB",
        "SHA-256",
        "nothing against it",
        "<td data-name=\"What\">store",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    assert!(page.contains(&format!("href=\"/messages/{plan}\"")));
    assert!(world.get(&format!("/messages/{plan}")).await.contains(&format!("href=\"/attachments/{plan}\"")));
    assert_eq!(world.try_get("/attachments/nonsense").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_that_leads_to_some_of_the_files_says_to_which() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let files = ["one.pdf", "two <b>.pdf", "three.pdf"];
    let some = world.queued_with("bob@far.example", &files, &[1, 2]).await;
    let page = world.get(&format!("/attachments/{some}")).await;
    assert!(page.contains("<span class=\"dim\">only two &#60;b&#62;.pdf, three.pdf</span>"), "{page}");
    let all = world.queued_with("bob@far.example", &files, &[0, 1, 2]).await;
    assert!(!world.get(&format!("/attachments/{all}")).await.contains(">only "));
}

#[tokio::test]
async fn fifty_files_make_a_page_and_the_rest_the_next() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    for number in 0..51 {
        world.queued("bob@far.example", &format!("file-{number}-.pdf")).await;
    }
    let first = world.get("/attachments?text=bob").await;
    let older =
        first.split("href=\"/attachments?").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let next = world.get(&format!("/attachments?{}", older.replace("&#38;", "&"))).await;
    assert!(!next.contains(">Older<"), "{next}");
    // Those of one millisecond stand in no order of their own.
    let shown = |page: &str, number| page.contains(&format!("file-{number}-"));
    assert!((0..51).all(|number| shown(&first, number) != shown(&next, number)), "each once");
    assert_eq!((0..51).filter(|number| shown(&first, *number)).count(), 50);
}

#[tokio::test]
async fn links_are_taken_back_and_opened_again_and_files_held_and_deleted() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let id = world.queued("bob@far.example", "plan.pdf").await.to_string();
    let path = format!("/attachments/{id}");
    let page = world.get(&path).await;
    let link =
        page.split("name=\"link\" value=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let link = link.to_owned();
    let with = |fields: &[(&'static str, &'static str)]| [&[("message", id.as_str())][..], fields].concat();
    let one = [("message", id.as_str()), ("act", "revoke"), ("link", link.as_str())];
    let mut act = async |fields: Vec<(&str, &str)>| world.post("/attachments/act", &fields).await;
    assert_eq!(act(one.to_vec()).await.status, StatusCode::SEE_OTHER);
    assert!(act(with(&[("act", "extend"), ("days", "0")])).await.body.contains("For how many days"));
    assert_eq!(act(with(&[("act", "revoke")])).await.status, StatusCode::SEE_OTHER);
    assert!(world.get(&path).await.contains("taken back"));
    let mut act = async |fields: Vec<(&str, &str)>| world.post("/attachments/act", &fields).await;
    assert_eq!(act(with(&[("act", "extend"), ("days", "60")])).await.status, StatusCode::SEE_OTHER);
    assert_eq!(act(with(&[("act", "hold")])).await.status, StatusCode::SEE_OTHER);
    assert!(act(with(&[("act", "erase")])).await.body.contains("1 message on hold: kept."));
    assert_eq!(act(with(&[("act", "release")])).await.status, StatusCode::SEE_OTHER);
    assert!(act(with(&[("act", "erase")])).await.body.contains("Files of 1 message: deleted."));
    assert!(world.try_get(&path).await.body.contains("the audit log says when"));
    let log = world.get(&format!("/attachments/audit?message={id}")).await;
    assert_eq!(log.lines().count(), 7, "{log}");
    assert!(log.lines().last().expect("a line").contains("\"erase\""), "{log}");
    assert!(world.get("/audit?text=attachments").await.contains("attachments: erase message"));
}

#[tokio::test]
async fn a_file_that_a_scanner_withholds_is_given_free_or_refused() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let id = world.queued("bob@far.example", "plan.pdf").await.to_string();
    let path = format!("/attachments/{id}");
    let (store, now) = (&world.control.gateway().stores.attachments, world.control.gateway().clock.now());
    let (blob, found) = (format!("blob-{id}"), "Eicar".to_owned());
    store.set_check(blob, Check::Found, found, "clamd".to_owned(), now).await.expect("it is stored");
    assert!(world.get("/attachments?state=found").await.contains("harmful: nobody gets it"));
    assert!(world.get(&path).await.contains("whoever has fetched it keeps it"));
    for (act, then) in [
        ("free_harmful", "nothing against it"),
        ("refuse", "refused: nobody"),
        ("free", "nothing against it"),
    ] {
        let form = [("message", id.as_str()), ("file", "0"), ("act", act)];
        assert_eq!(world.post("/attachments/act", &form).await.status, StatusCode::SEE_OTHER, "{act}");
        let page = world.get(&path).await;
        let file = page.split("<h2>Links</h2>").next().expect("files stand first");
        assert!(file.contains(then), "{act}: {file}");
    }
    assert!(world.get("/audit?text=harmful").await.contains("attachments: give free though harmful"));
}

#[tokio::test]
async fn what_is_done_to_many_is_told_before_it_is_done() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    for to in ["bob@far.example", "bob@far.example", "carol@far.example"] {
        world.queued(to, "plan.pdf").await;
    }
    let told = world.get("/attachments/many?sender=&recipient=bob@far.example&act=erase&days=30").await;
    assert!(
        told.contains("Delete files and links for good: 2 messages") && told.contains("2 files, 2.0 MB."),
        "{told}"
    );
    let nobody = world.try_get("/attachments/many?sender=&recipient=&act=erase").await;
    assert_eq!(nobody.status, StatusCode::BAD_REQUEST);
    let fields = [("recipient", "bob@far.example"), ("sender", ""), ("act", "erase"), ("days", "30")];
    assert!(world.post("/attachments/act", &fields).await.body.contains("Files of 2 messages: deleted."));
    assert!(
        world.post("/attachments/act", &[("act", "erase")]).await.body.contains("whose files is not said")
    );
    assert!(world.get("/attachments").await.contains("carol@far.example"));
}

#[tokio::test]
async fn who_may_only_look_sees_files_and_no_buttons() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let id = world.queued("bob@far.example", "plan.pdf").await;
    let (name, password) = ("other".to_owned(), Some("correct horse".to_owned()));
    world.control.run(Request::AdminAdd { name, password, role: Role::Admin }).await;
    for (role, buttons, delete) in
        [(Role::ReadOnly, false, false), (Role::Operator, true, false), (Role::Admin, true, true)]
    {
        let admins = &world.control.gateway().admins;
        admins.set_role("admin", role).await.expect("another one is there");
        let page = world.get(&format!("/attachments/{id}")).await;
        assert_eq!(
            (page.contains("Take back"), page.contains("value=\"erase\"")),
            (buttons, delete),
            "{role:?}"
        );
        assert_eq!(page.contains("Audit log"), buttons, "{role:?}");
        assert!(page.contains("plan.pdf"));
    }
}
