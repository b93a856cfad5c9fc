//! Messages, queue, users, trial, audit, delegates: what their forms do, and that a refusal is explained.

use axum::http::StatusCode;
use vouchsafe_config::table::TABLE;
use vouchsafe_fakes::PipeDialer;

use crate::LISTENERS;
use crate::world::World;

#[tokio::test]
async fn a_refusal_is_explained_three_clicks_from_the_overview() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    world.happened(
        7,
        "refused",
        "client",
        "550 5.1.1 No such user (said: 550 5.1.1 unknown in our directory)",
    );
    world.happened(8, "delivered", "", "filter.example: 250 Ok");
    let list = world.get("/messages?text=bob@example.com&kind=refused&span=day").await;
    assert!(list.contains(">Why?</a>") && !list.contains("250 Ok"), "{list}");
    let link =
        list.split("href=\"/messages/").nth(1).and_then(|rest| rest.split('"').next()).expect("a link");
    let page = world.get(&format!("/messages/{link}")).await;
    assert!(page.contains("Why bob@example.com was refused") && page.contains("unknown in our directory"));
    assert!(
        page.contains("<code>550 5.1.1 No such user</code>") && page.contains("address=bob%40example.com")
    );
    let test = world.get("/delegates?address=bob%40example.com").await;
    assert!(test.contains("value=\"bob@example.com\""));
    assert!(!world.get("/messages?text=bob&span=hour&until=5").await.contains("bob@example.com</td>"));
}

#[tokio::test]
async fn a_message_is_bounced_from_its_page_and_the_notice_waits() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let id = world.queued("bob@far.example", "plan.pdf").await.to_string();
    assert!(world.get(&format!("/messages/{id}")).await.contains(">Bounce this message</button>"));
    let form = [("message", id.as_str()), ("action", "bounce")];
    assert_eq!(world.post("/queue/act", &form).await.status, StatusCode::SEE_OTHER);
    let page = world.get(&format!("/messages/{id}")).await;
    assert!(
        page.contains("It has left the queue") && page.contains("given up by the administrator"),
        "{page}"
    );
    let queue = world.get("/queue").await;
    assert!(
        queue.contains("sender@example.com") && queue.contains("&#60;&#62;") | queue.contains("&lt;&gt;"),
        "{queue}"
    );
    assert!(world.post("/queue/act", &form).await.body.contains("is not in the queue"));
    assert!(world.get("/audit?text=bounce").await.contains(&format!("queue: bounce message {id}")));
}

#[tokio::test]
async fn what_is_done_to_all_that_a_search_finds_is_told_before_it_is_done() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    for to in ["bob@far.example", "bob@far.example", "carol@far.example"] {
        world.queued(to, "plan.pdf").await;
    }
    assert!(world.get("/queue?address=bob").await.contains("All that this search finds at once"));
    let told = world.get("/queue/many?address=bob&action=delete").await;
    assert!(
        told.contains("Delete without a notice to anyone: 2 deliveries") && !told.contains("carol@"),
        "{told}"
    );
    let form = [("address", "bob"), ("action", "hold")];
    assert!(world.post("/queue/many", &form).await.body.contains("Hold: done to 2 deliveries."));
    assert!(
        world.get("/queue/many?address=&held=true&action=release").await.contains("Release: 2 deliveries")
    );
    let form = [("address", "bob"), ("held", "true"), ("action", "delete")];
    assert!(world.post("/queue/many", &form).await.body.contains("done to 2 deliveries."));
    assert!(world.get("/queue").await.contains("carol@far.example"));
    assert!(world.get("/queue/many?address=bob&action=retry").await.contains("Nothing fits that."));
    let nothing = world.post("/queue/many", &[("action", "bounce")]).await;
    assert_eq!(nothing.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn users_are_added_changed_and_removed_and_the_audit_log_knows() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    assert!(world.get("/users").await.contains("There is none."));
    let printer = [("name", "printer"), ("password", "ink and paper")];
    assert_eq!(world.post("/users/add", &printer).await.status, StatusCode::SEE_OTHER);
    assert!(world.post("/users/add", &printer).await.body.contains("user printer is there"));
    assert!(world.get("/users?text=PRINT").await.contains("<td data-name=\"Name\">printer"));
    assert_eq!(world.post("/users/remove", &[("name", "printer")]).await.status, StatusCode::SEE_OTHER);
    let audit = world.get("/audit?text=printer").await;
    assert!(audit.contains("added local user printer") && audit.contains("removed local user printer"));
    assert!(!audit.contains("ink and paper"));
}

#[tokio::test]
async fn administrators_are_given_roles_and_passwords_and_removed() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let carol = [("name", "carol"), ("password", "correct horse"), ("role", "read_only")];
    assert_eq!(world.post("/admins/add", &carol).await.status, StatusCode::SEE_OTHER);
    for (what, name, value) in
        [("role", "role", "operator"), ("password", "password", "another horse"), ("codes_off", "role", "")]
    {
        let form = [("name", "carol"), ("what", what), (name, value)];
        assert_eq!(world.post("/admins/change", &form).await.status, StatusCode::SEE_OTHER, "{what}");
    }
    let row = world.get("/admins").await;
    let row = row.split("<td data-name=\"Name\">carol").nth(1).expect("a row");
    assert!(row.starts_with("</td><td data-name=\"Role\">operator"), "{row}");
    let last =
        world.post("/admins/change", &[("name", "admin"), ("what", "role"), ("role", "operator")]).await;
    assert!(last.body.contains("role=\"alert\""), "the last admin stays one: {}", last.body);
    let form = [("name", "carol"), ("what", "remove")];
    assert_eq!(world.post("/admins/change", &form).await.status, StatusCode::SEE_OTHER);
    assert!(!world.get("/admins").await.contains("<td data-name=\"Name\">carol"));
    let audit = world.get("/audit?text=carol").await;
    assert!(
        audit.contains("made administrator carol operator") && !audit.contains("another horse"),
        "{audit}"
    );
}

#[tokio::test]
async fn verdicts_and_what_is_held_are_looked_for() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    assert!(world.get("/delegates?text=").await.contains("Nothing is remembered yet"));
    assert!(world.get("/delegates?text=bob").await.contains("No verdict about that is remembered."));
    assert!(world.get("/delegates?whom=192.0.2.1").await.contains("Nothing is held against that."));
    assert_eq!(world.get("/delegates/addresses?text=bob").await, "");
}

#[tokio::test]
async fn every_setting_of_attachments_stands_on_their_page() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    let page = world.get("/settings?section=attachments").await;
    for row in TABLE {
        let Some(key) = row.key.strip_prefix("attachments.") else { continue };
        assert!(page.contains(&format!(">{key}<")), "{key}: {page}");
    }
}

#[tokio::test]
async fn every_section_is_there_when_nothing_is() {
    let mut world = World::new(LISTENERS, PipeDialer::new()).await;
    for path in [
        "/queue",
        "/queue/destinations",
        "/trial",
        "/audit",
        "/users",
        "/live",
        "/delegates",
        "/setup",
        "/settings?section=attachments",
    ] {
        let page = world.get(path).await;
        assert!(page.contains("aria-current=\"page\""), "{path}");
    }
}
