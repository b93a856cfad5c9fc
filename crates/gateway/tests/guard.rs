//! The guard before a delegate that keeps Active Directory's counter, in one process on a clock that stands still until
//! told: a day of guesses, a restart in the middle, and the account's owner in between (DESIGN section 4, FACTS section 2).
//! What else is known after a restart; and a busy day at which none of Exchange's limits is met.

mod common;

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep, sleep_until};
use vouchsafe_config::Settings;
use vouchsafe_core::attachments::{BlobReader, BlobRef, BlobStore, BlobWriter};
use vouchsafe_core::ports::{BoxFuture, GuardStore, StoreFault};
use vouchsafe_fakes::{Delegate, PipeDialer, delegate};
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_smtp::sasl::encode_base64;
use vouchsafe_store::memory::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);

/// What outlives a restart: the store, and the directory behind the delegate.
struct World {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    delegate: Delegate,
    clock: Arc<SystemClock>,
    supervisor: Arc<Supervisor>,
    control: Control,
    /// Sessions with the delegate: `auth = 50, recipients = 4`.
    sessions: &'static str,
}

fn settings(dir: &Path, sessions: &str) -> Settings {
    let text = format!(
        r#"
        hostname = "gate.example"
        data_dir = {:?}
        [[listener]]
        name = "submission"
        kind = "submission"
        address = "127.0.0.1:2587"
        auth_without_tls = "always"
        [[listener]]
        name = "mx"
        kind = "mx"
        address = "127.0.0.1:2525"
        [delegate.office]
        auth = {{ host = "delegate.example:587", tls = "off" }}
        auth_in_clear = true
        recipients = {{ host = "delegate.example:25", tls = "off" }}
        login_name = "{{user}}@example.com"
        sessions = {{ {sessions} }}
        [[domain]]
        name = "example.com"
        next_hop = "filter.example"
        [relay]
        next_hop = "filter.example"
        "#,
        dir.display().to_string()
    );
    common::settings_of(&text)
}

/// A bucket that is there and says nothing: what is counted must be written all the same.
struct NeverAnswers;

impl BlobStore for NeverAnswers {
    fn create(&self) -> BoxFuture<'_, Result<Box<dyn BlobWriter>, StoreFault>> {
        Box::pin(pending())
    }
    fn open(&self, _: BlobRef, _: Range<u64>) -> BoxFuture<'_, Result<Box<dyn BlobReader>, StoreFault>> {
        Box::pin(pending())
    }
    fn delete(&self, _: String) -> BoxFuture<'_, Result<(), StoreFault>> {
        Box::pin(pending())
    }
    fn list(&self, _: String, _: usize) -> BoxFuture<'_, Result<Vec<String>, StoreFault>> {
        Box::pin(pending())
    }
}

async fn start(
    dir: &Path,
    store: &Arc<MemoryStore>,
    delegate: &Delegate,
    clock: &Arc<SystemClock>,
    sessions: &str,
) -> (Arc<Supervisor>, Control) {
    let dial = PipeDialer::new().with("delegate.example:587", delegate).with("delegate.example:25", delegate);
    let stores = Stores::of(store.clone()).with_blobs(Arc::new(NeverAnswers));
    let gateway = Gateway::new(settings(dir, sessions), stores, Arc::new(dial), clock.clone());
    let control = Control::new(Arc::clone(&gateway));
    let supervisor = Supervisor::new(gateway).expect("a self-signed certificate");
    supervisor.start_tasks().await.expect("a store");
    (Arc::new(supervisor), control)
}

impl World {
    async fn new() -> World {
        let behaviour = delegate::Behaviour::exchange("delegate.example")
            .user("alice@example.com", "secret")
            .lockout(5, MINUTE * 30)
            .recipient("bob@example.com");
        let behaviour = delegate::Behaviour { max_connections: None, ..behaviour };
        World::with(behaviour, "auth = 50, recipients = 4").await
    }

    async fn with(behaviour: delegate::Behaviour, sessions: &'static str) -> World {
        let delegate = Delegate::new(behaviour);
        let dir = tempfile::tempdir().expect("a folder");
        let (store, clock) = (MemoryStore::new(), Arc::new(SystemClock::following_the_runtime()));
        let (supervisor, control) = start(dir.path(), &store, &delegate, &clock, sessions).await;
        World { dir, store, delegate, clock, supervisor, control, sessions }
    }

    /// A plain restart: everything in memory is gone.
    async fn restart(&mut self) {
        assert!(self.supervisor.stop().await, "all tasks end in time");
        let started = start(self.dir.path(), &self.store, &self.delegate, &self.clock, self.sessions).await;
        (self.supervisor, self.control) = started;
    }

    fn connect(&self, listener: &'static str, client: &str) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (supervisor, address) =
            (Arc::clone(&self.supervisor), client.parse::<IpAddr>().expect("an address"));
        let peer = Some(SocketAddr::new(address, 40_000));
        tokio::spawn(async move { supervisor.session(listener, Box::new(theirs), peer).await });
        ours
    }

    /// One login on a connection of its own; the reply to it.
    fn login(&self, client: &str, name: &str, password: &str) -> impl Future<Output = String> + use<> {
        let mut stream = self.connect("submission", client);
        let plain = encode_base64(format!("\0{name}\0{password}").as_bytes());
        async move {
            reply(&mut stream).await;
            say(&mut stream, "EHLO client.example").await;
            say(&mut stream, &format!("AUTH PLAIN {plain}")).await
        }
    }
}

async fn say(stream: &mut DuplexStream, line: &str) -> String {
    stream.write_all(format!("{line}\r\n").as_bytes()).await.expect("the session is there");
    reply(stream).await
}

/// The last line of a reply.
async fn reply(stream: &mut DuplexStream) -> String {
    let mut said = Vec::new();
    loop {
        let mut buffer = [0; 1024];
        let n = stream.read(&mut buffer).await.expect("a reply");
        said.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&said);
        let last = text.strip_suffix("\r\n").and_then(|text| text.lines().last()).unwrap_or_default();
        if n == 0 || last.as_bytes().get(3) == Some(&b' ') {
            return last.to_owned();
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime")
        .block_on(test);
}

/// One after another from as many networks, in the three forms of a Windows name.
fn guess(n: u32) -> (String, &'static str, String) {
    let name = ["alice@example.com", "EXAMPLE\\alice", "Alice"][n as usize % 3];
    (format!("10.{}.{}.9", n / 250, n % 250), name, format!("guess {n}"))
}

/// A thousand guesses in a day, `at_once` of them at a time.
async fn day(at_once: u32) {
    let mut world = World::new().await;
    assert!(world.login("192.0.2.7", "alice", "secret").await.starts_with("235"));
    let begun = Instant::now();
    for round in 0..1000 / at_once {
        sleep_until(begun + Duration::from_secs(86_400) / 1000 * at_once * round).await;
        let guesses: Vec<_> = (0..at_once)
            .map(|n| {
                let (client, name, password) = guess(round * at_once + n);
                tokio::spawn(world.login(&client, name, &password))
            })
            .collect();
        for guess in guesses {
            let said = guess.await.expect("an answer");
            assert!(said.starts_with("535") || said.starts_with("454"), "{said}");
        }
        if round == 500 / at_once {
            world.restart().await;
        }
        // The owner, from the network that an earlier run knows.
        if [250, 550, 950].map(|n| n / at_once).contains(&round) {
            let said = world.login("192.0.2.200", "alice@example.com", "secret").await;
            assert!(said.starts_with("235"), "after {round} rounds: {said}");
        }
    }
    let seen = world.delegate.counters();
    assert_eq!(seen.locked, 0, "the account was locked");
    assert_eq!(seen.logins_good, 4);
    assert!(seen.logins_bad > 20, "{} guesses reached the delegate", seen.logins_bad);
    assert!(seen.bad_in_30_minutes < 5, "{} within 30 minutes", seen.bad_in_30_minutes);
}

#[test]
fn a_thousand_guesses_in_a_day_never_lock_the_account_and_its_owner_gets_in() {
    run(day(1));
}

#[test]
fn nor_do_fifty_guesses_at_a_time() {
    run(day(50));
}

/// A crash later, too, it is known: with a bucket for files that does not answer.
// covers: promise.polite
#[test]
fn what_was_counted_is_written_within_seconds_whatever_hangs() {
    run(async {
        let world = World::new().await;
        // Long enough for a round of everything that is done now and then.
        sleep(MINUTE).await;
        world.login("192.0.2.7", "alice", "wrong").await;
        sleep(Duration::from_secs(5)).await;
        assert!(!world.store.load_counters().await.expect("a store").is_empty());
    });
}

#[test]
fn fifty_guesses_at_once_are_charged_before_they_leave() {
    run(async {
        let world = World::new().await;
        let guesses: Vec<_> = (0..50)
            .map(|n| {
                let (client, name, password) = guess(n);
                tokio::spawn(world.login(&client, name, &password))
            })
            .collect();
        for guess in guesses {
            let said = guess.await.expect("an answer");
            assert!(said.starts_with("535") || said.starts_with("454"), "{said}");
        }
        let seen = world.delegate.counters();
        assert!((1..=3).contains(&seen.logins_bad), "{} reached the delegate", seen.logins_bad);
    });
}

#[test]
fn a_charge_outlives_a_restart() {
    run(async {
        let mut world = World::new().await;
        for n in 0..3 {
            let (client, name, password) = guess(n);
            world.login(&client, name, &password).await;
        }
        let before = world.delegate.counters().logins_bad;
        world.restart().await;
        let (client, name, password) = guess(3);
        assert!(world.login(&client, name, &password).await.starts_with("454"));
        assert_eq!(world.delegate.counters().logins_bad, before);
        sleep(MINUTE * 36).await;
        let (client, name, password) = guess(4);
        assert!(world.login(&client, name, &password).await.starts_with("535"));
    });
}

#[test]
fn an_accepted_recipient_outlives_a_restart_and_an_outage() {
    run(async {
        let mut world = World::new().await;
        let ask = async |world: &World| {
            let mut stream = world.connect("mx", "192.0.2.66");
            reply(&mut stream).await;
            say(&mut stream, "EHLO client.example").await;
            say(&mut stream, "MAIL FROM:<a@elsewhere.example>").await;
            say(&mut stream, "RCPT TO:<bob@example.com>").await
        };
        assert!(ask(&world).await.starts_with("250"));
        world.restart().await;
        world.delegate.set_down(true);
        sleep(MINUTE).await;
        assert!(ask(&world).await.starts_with("250"));
        // Past the 7 days that a yes is good for.
        sleep(MINUTE * 60 * 24 * 7).await;
        assert!(ask(&world).await.starts_with("451"));
    });
}

#[test]
fn a_lifted_account_is_asked_about_again() {
    run(async {
        let world = World::new().await;
        for n in 0..3 {
            let (client, name, password) = guess(n);
            world.login(&client, name, &password).await;
        }
        assert!(world.login("10.9.9.9", "alice", "secret").await.starts_with("454"));
        let Response::Guard { rows } = world.control.run(Request::GuardList).await else { panic!("a list") };
        assert!(rows.iter().any(|row| row.whom == "alice@example.com" && row.charged == 2), "{rows:?}");
        let lift = |what: &str| Request::GuardLift { what: what.to_owned() };
        assert!(matches!(world.control.run(lift("ALICE@example.com")).await, Response::Done));
        assert!(world.login("10.9.9.9", "alice", "secret").await.starts_with("235"));
        assert!(matches!(world.control.run(lift("alice@example.com")).await, Response::Refused { .. }));
    });
}

#[test]
fn refusals_of_our_own_take_as_long_as_the_delegates() {
    run(async {
        let world = World::new().await;
        let timed = async |n: u32| {
            let begun = Instant::now();
            let (client, name, password) = guess(n);
            let said = world.login(&client, name, &password).await;
            (said[..3].to_owned(), begun.elapsed().as_millis())
        };
        // Asked; asked; remembered; over budget.
        let took = [timed(0).await, timed(1).await, timed(1).await, timed(2).await];
        let codes: Vec<_> = took.iter().map(|(code, _)| code.as_str()).collect();
        assert_eq!(codes, ["535", "535", "535", "454"]);
        for (_, time) in &took {
            assert!((4900..5200).contains(time), "{took:?}");
        }
    });
}

#[test]
fn a_client_that_names_fifty_unknown_recipients_is_told_to_come_later() {
    run(async {
        let world = World::new().await;
        let mut named = 0;
        let mut said = String::new();
        for _ in 0..3 {
            let mut stream = world.connect("mx", "192.0.2.66");
            reply(&mut stream).await;
            say(&mut stream, "EHLO client.example").await;
            say(&mut stream, "MAIL FROM:<a@elsewhere.example>").await;
            for _ in 0..20 {
                said = say(&mut stream, &format!("RCPT TO:<guess{named}@example.com>")).await;
                named += 1;
                let wanted = if named <= 50 { "550 5.1.1" } else { "450 4.7.1" };
                assert!(said.starts_with(wanted), "{named}: {said}");
            }
        }
        assert!(said.starts_with("450"));
        // 50 unknown ones were asked about.
        assert_eq!(world.delegate.counters().recipients, 50);
        let mut other = world.connect("mx", "192.0.2.67");
        reply(&mut other).await;
        say(&mut other, "EHLO client.example").await;
        say(&mut other, "MAIL FROM:<a@elsewhere.example>").await;
        assert!(say(&mut other, "RCPT TO:<bob@example.com>").await.starts_with("250"));
        // What is known by now needs no question: the mail of a busy sender goes on.
        let mut again = world.connect("mx", "192.0.2.66");
        reply(&mut again).await;
        say(&mut again, "EHLO client.example").await;
        say(&mut again, "MAIL FROM:<a@elsewhere.example>").await;
        assert!(say(&mut again, "RCPT TO:<bob@example.com>").await.starts_with("250"));
        assert!(say(&mut again, "RCPT TO:<guess0@example.com>").await.starts_with("550"));
        assert!(say(&mut again, "RCPT TO:<carol@example.com>").await.starts_with("450"));
    });
}

/// A stranger's session that names two known recipients and two unknown ones; the replies.
fn stranger(world: &World, n: u32) -> impl Future<Output = Vec<String>> + use<> {
    let mut stream = world.connect("mx", &format!("10.{}.{}.9", n / 250, n % 250));
    async move {
        reply(&mut stream).await;
        say(&mut stream, "EHLO client.example").await;
        say(&mut stream, "MAIL FROM:<a@far.example>").await;
        let mut said = Vec::new();
        for recipient in [2 * n, 2 * n + 1].map(|n| [format!("user{n}"), format!("nobody{n}")]).concat() {
            said.push(say(&mut stream, &format!("RCPT TO:<{recipient}@example.com>")).await);
        }
        said
    }
}

/// 10,000 recipients, half of them unknown and each refused after 5 s, and 1,000 logins, a tenth of them wrong, with
/// Exchange's own limits: 20 connections, 5 refusals a session, 3 failures a session, a lock at 5.
// covers: promise.polite
#[test]
fn a_busy_day_meets_no_limit_of_exchange() {
    const STRANGERS: u32 = 2500;
    run(async {
        let mut behaviour = delegate::Behaviour::exchange("delegate.example").lockout(5, MINUTE * 30);
        for n in 0..2 * STRANGERS {
            behaviour = behaviour.recipient(&format!("user{n}@example.com"));
        }
        for n in 0..1000 {
            behaviour = behaviour.user(&format!("user{n}@example.com"), "secret");
        }
        let world = World::with(behaviour, "auth = 10, recipients = 4").await;
        let (mut strangers, mut logins) = (Vec::new(), Vec::new());
        for n in 0..STRANGERS {
            // What four sessions can be refused in this time, and a little less.
            sleep(Duration::from_secs(3)).await;
            strangers.push(tokio::spawn(stranger(&world, n)));
            if n % 5 < 2 {
                let login = n / 5 * 2 + n % 5;
                let password = if login % 10 == 0 { "wrong" } else { "secret" };
                let client = format!("172.{}.{}.7", 16 + login / 250, login % 250);
                logins.push((login, tokio::spawn(world.login(&client, &format!("user{login}"), password))));
            }
        }
        let mut told_later = 0;
        for stranger in strangers {
            for (at, said) in stranger.await.expect("answers").into_iter().enumerate() {
                let right = if at % 2 == 0 { "250 2.1.5" } else { "550 5.1.1" };
                told_later += u32::from(said.starts_with("451"));
                assert!(said.starts_with(right) || said.starts_with("451"), "{said}");
            }
        }
        for (login, said) in logins {
            let said = said.await.expect("an answer");
            assert!(said.starts_with(if login % 10 == 0 { "535" } else { "235" }), "{login}: {said}");
        }
        let seen = world.delegate.counters();
        assert_eq!((seen.tripped(), seen.locked), (0, 0), "{:?}", seen);
        assert_eq!((seen.logins_good, seen.logins_bad), (900, 100));
        assert!(told_later < STRANGERS / 100, "{told_later} were told to come later");
    });
}
