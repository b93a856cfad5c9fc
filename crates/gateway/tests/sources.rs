//! Several sources of truth (DESIGN section 1): recipients in order, one source per login, hosts of one delegate that
//! fail over on Unavailable only. Two stand-in delegates in one process, on a clock that stands still until told.

mod common;

use std::net::SocketAddr;
use std::sync::Arc;

use vouchsafe_config::Settings;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_fakes::{Delegate, PipeDialer, delegate};
use vouchsafe_gateway::delegate::{Asker, Credential, LoginClient};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::sources::{self, Reach};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_smtp::{Mailbox, Secret};
use vouchsafe_store::memory::MemoryStore;

const SETTINGS: &str = r#"
    [[listener]]
    name = "submission"
    kind = "submission"
    address = "127.0.0.1:2587"
    [delegate.a]
    auth = { host = ["a.example:587", "spare.example:587"], tls = "off" }
    recipients = { host = ["a.example:25", "spare.example:25"], tls = "off" }
    auth_in_clear = true
    login_name = "CORP\\{user}"
    [delegate.b]
    host = "b.example"
    tls = "off"
    auth_in_clear = true
    [[domain]]
    name = "both.example"
    recipients = ["delegate:a", "delegate:b"]
    next_hop = "filter.example"
    [[domain]]
    name = "b.example"
    recipients = ["delegate:b"]
    next_hop = "filter.example"
    [relay]
    logins = { "a.example" = "delegate:a", "*" = "delegate:b" }
    next_hop = "filter.example"
"#;

struct World {
    gateway: Arc<Gateway>,
    settings: Settings,
    a: Delegate,
    spare: Delegate,
    b: Delegate,
}

fn world() -> World {
    let settings = common::settings_of(SETTINGS);
    let named = |name: &str| delegate::Behaviour::new(name);
    let a = Delegate::new(named("a.example").user("CORP\\alice", "right").recipient("ann@both.example"));
    let spare =
        Delegate::new(named("spare.example").user("CORP\\alice", "right").recipient("sue@both.example"));
    let known = named("b.example").user("bob@b.example", "right").recipient("ben@both.example");
    let b = Delegate::new(known.recipient("bob@b.example"));
    let dial = PipeDialer::new()
        .with("a.example:25", &a)
        .with("a.example:587", &a)
        .with("spare.example:25", &spare)
        .with("spare.example:587", &spare)
        .with("b.example:25", &b)
        .with("b.example:587", &b);
    let clock = Arc::new(SystemClock::following_the_runtime());
    let gateway = Gateway::new(settings.clone(), Stores::of(MemoryStore::new()), Arc::new(dial), clock);
    World { gateway, settings, a, spare, b }
}

impl World {
    async fn recipient(&self, address: &str) -> Verdict {
        let mailbox = Mailbox::parse(address, true).expect("an address");
        let domain = self.settings.domain(mailbox.domain()).expect("an accepted domain");
        sources::recipient(
            &self.gateway,
            domain,
            &mailbox,
            Reach::Delegates,
            &Asker { client: None, session: "s" },
        )
        .await
    }
    async fn login(&self, name: &str, password: &str) -> Verdict {
        let client: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        let password = Secret::new(password.to_owned());
        let credential = Credential::Password(password);
        let client = LoginClient { counted: Some(client.ip()), identity: None, session: "s".to_owned() };
        sources::login(&self.gateway, &self.settings, name, &credential, &client).await.verdict
    }
}

fn logins(delegate: &Delegate) -> u64 {
    let seen = delegate.counters();
    seen.logins_good + seen.logins_bad
}

#[tokio::test(start_paused = true)]
async fn recipients_are_asked_in_order_and_one_yes_is_enough() {
    let world = world();
    assert!(matches!(world.recipient("ann@both.example").await, Verdict::Accept(_)));
    assert_eq!(world.b.counters().recipients, 0);
    // A says no, B yes.
    assert!(matches!(world.recipient("ben@both.example").await, Verdict::Accept(_)));
    // Both say no: the words are the last one's.
    world.b.change(|behaviour| behaviour.wording = vouchsafe_fakes::delegate::Wording::Exchange);
    match world.recipient("nobody@both.example").await {
        Verdict::Reject { said, .. } => {
            assert_eq!(said.enhanced.map(|e| e.to_string()).as_deref(), Some("5.1.10"))
        }
        other => panic!("{other:?}"),
    }
    // One cannot tell, the other says no: nobody can tell.
    world.b.set_down(true);
    assert!(matches!(world.recipient("other@both.example").await, Verdict::Unavailable { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_domain_asks_its_own_delegate_only() {
    let world = world();
    assert!(matches!(world.recipient("bob@b.example").await, Verdict::Accept(_)));
    assert_eq!((world.a.counters().connections, world.spare.counters().connections), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_next_host_is_asked_only_where_the_first_cannot_be() {
    let world = world();
    // The first host's no is final within its delegate.
    assert!(matches!(world.recipient("sue@both.example").await, Verdict::Reject { .. }));
    assert_eq!(world.spare.counters().connections, 0);
    let world = self::world();
    world.a.set_down(true);
    assert!(matches!(world.recipient("sue@both.example").await, Verdict::Accept(_)));
}

#[tokio::test(start_paused = true)]
async fn no_second_source_sees_a_password_and_no_second_form_of_a_name_is_tried() {
    let world = world();
    assert!(matches!(world.login("alice@a.example", "wrong").await, Verdict::Reject { .. }));
    assert_eq!((logins(&world.a), logins(&world.spare), logins(&world.b)), (1, 0, 0));
    assert!(matches!(world.login("alice@a.example", "right").await, Verdict::Accept(_)));
    assert_eq!((logins(&world.a), logins(&world.b)), (2, 0));
    assert!(matches!(world.login("bob@b.example", "right").await, Verdict::Accept(_)));
    assert_eq!((logins(&world.a), logins(&world.b)), (2, 1));
    // The second host of the same delegate: only where the first cannot be reached.
    world.a.set_down(true);
    assert!(matches!(world.login("alice@a.example", "wrong again").await, Verdict::Reject { .. }));
    assert_eq!((logins(&world.spare), logins(&world.b)), (1, 1));
}
