//! Our own login where recipients are asked about, after it was refused: senders wait, the administrator's test tries.

mod common;

use std::sync::Arc;
use std::time::Duration;

use vouchsafe_core::verdict::Verdict;
use vouchsafe_fakes::{Delegate, PipeDialer, delegate};
use vouchsafe_gateway::delegate::Asker;
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_smtp::Mailbox;
use vouchsafe_store::memory::MemoryStore;

const SETTINGS: &str = r#"
    [[listener]]
    name = "mx"
    kind = "mx"
    address = "127.0.0.1:2525"
    [delegate.office]
    auth = "mail.example"
    [delegate.office.recipients]
    host = "mail.example:25"
    tls = "off"
    auth_in_clear = true
    login = { user = "gateway", password = { env = "RIGHT_PASSWORD" } }
    [[domain]]
    name = "example.com"
    next_hop = "filter.example"
    [relay]
    next_hop = "filter.example"
"#;

fn logins(server: &Delegate) -> u64 {
    let seen = server.counters();
    seen.logins_good + seen.logins_bad
}

// covers: delegate.own_login
#[tokio::test(start_paused = true)]
async fn the_administrators_test_tries_a_refused_login_and_what_comes_of_it_counts() {
    let knowing = delegate::Behaviour::new("mail.example").recipient("bob@example.com");
    let server = Delegate::new(delegate::Behaviour { login_required: true, ..knowing });
    let dial = PipeDialer::new().with("mail.example:25", &server);
    let clock = Arc::new(SystemClock::following_the_runtime());
    let settings = common::settings_of(SETTINGS);
    let gateway = Gateway::new(settings, Stores::of(MemoryStore::new()), Arc::new(dial), clock);
    let office = gateway.delegates.get("office").expect("the delegate");
    let bob = Mailbox::parse("bob@example.com", false).expect("an address");
    let asker = Asker { client: None, session: "s" };

    for _ in 0..2 {
        assert!(matches!(office.recipient(&bob, &asker).await, Verdict::Unavailable { .. }));
        assert_eq!(logins(&server), 1, "senders do not repeat a refused login");
    }
    assert_eq!(office.test_recipient(&bob).await.verdict, "unavailable");
    assert_eq!(logins(&server), 2);

    // Mended there.
    server.change(|behaviour| {
        behaviour.users.insert("gateway".to_owned(), "secret".to_owned());
    });
    assert!(matches!(office.recipient(&bob, &asker).await, Verdict::Unavailable { .. }));
    assert_eq!(logins(&server), 2);
    assert_eq!(office.test_recipient(&bob).await.verdict, "accept");
    // The breaker has opened by now.
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(matches!(office.recipient(&bob, &asker).await, Verdict::Accept(_)));
    assert_eq!(logins(&server), 4);
}
