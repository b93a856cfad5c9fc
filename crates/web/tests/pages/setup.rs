//! The first run: the doctor's proposal is accepted, domains and routes are set, and each step can be seen in the settings.

use axum::http::StatusCode;
use vouchsafe_fakes::{Delegate, PipeDialer};

use crate::LISTENERS;
use crate::world::World;

#[tokio::test]
async fn three_steps_set_up_a_gateway() {
    let delegate = Delegate::demo();
    let dial =
        PipeDialer::new().with("delegate.example:25", &delegate).with("delegate.example:587", &delegate);
    let mut world = World::new(LISTENERS, dial).await;
    assert!(world.get("/").await.contains("href=\"/setup\""));
    let found = world.post("/setup", &[("server", "delegate.example"), ("known", "bob@example.com")]).await;
    assert!(found.body.contains("looks like") && found.body.contains("[delegate.default]"), "{}", found.body);
    let toml = "[delegate.default]\nhost = \"delegate.example\"\n";
    let fields = [("toml", toml), ("server", "delegate.example"), ("known", "bob@example.com")];
    let next = world.post("/setup/server", &fields).await.body;
    assert!(next.contains(">example.com</textarea>") && next.contains("delegate.example:25"), "{next}");
    let bad = [("toml", toml), ("domains", "example.com"), ("inbound", "not a host"), ("outbound", "")];
    let refused = world.post("/setup/mail", &bad).await;
    assert!(
        refused.body.contains("role=\"alert\"") && refused.body.contains("not a host"),
        "{}",
        refused.body
    );
    let good = [
        ("toml", toml),
        ("domains", "example.com\r\nexample.net"),
        ("inbound", "filter.example:25"),
        ("outbound", "smart.example:25"),
        ("soft", "true"),
    ];
    let taken = world.post("/setup/mail", &good).await;
    assert_eq!(taken.status, StatusCode::SEE_OTHER, "{}", taken.body);
    assert!(world.get("/setup/clients").await.contains("on this machine only"));
    let same = [("hostname", "mx.example.com"), ("certificate", ""), ("key", "")];
    let answer = world.post("/setup/clients", &same).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    assert!(world.get("/setup/test").await.contains("postmaster@mx.example.com"));
    let settings = world.control.gateway().settings.load_full();
    let domains: Vec<&str> = settings.domains.iter().map(|domain| domain.name.as_str()).collect();
    assert_eq!(domains, ["example.com", "example.net"]);
    assert!(settings.queue.soft_bounce && settings.delegates.contains_key("default"));
    assert_eq!((settings.hostname.as_str(), settings.relay.next_hop.len()), ("mx.example.com", 1));
    assert!(!world.get("/").await.contains("First steps"));
}
