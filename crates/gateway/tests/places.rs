//! Places among the sessions of a delegate, in one process on a clock that stands still until told: given back however a
//! session ends, shared fairly between client networks, never more than the delegate's limits take.

mod common;

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, duplex, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_core::verdict::Verdict;
use vouchsafe_fakes::{Delegate, PipeDialer, delegate};
use vouchsafe_gateway::delegate::{Asker, Credential, LoginClient};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::sources::{self, Reach};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::stream::{BoxStream, Dial};
use vouchsafe_smtp::{Mailbox, Secret};
use vouchsafe_store::memory::MemoryStore;

fn gateway(dial: impl Dial + 'static, sessions: usize) -> Arc<Gateway> {
    let settings = format!("sessions = {{ recipients = {sessions} }}");
    gateway_with(dial, &settings, MemoryStore::new(), Path::new("unused"))
}

fn gateway_with(
    dial: impl Dial + 'static,
    delegate: &str,
    store: Arc<MemoryStore>,
    dir: &Path,
) -> Arc<Gateway> {
    let dir = dir.display().to_string();
    let text = format!(
        r#"
        data_dir = {dir:?}
        [[listener]]
        name = "mx"
        kind = "mx"
        address = "127.0.0.1:2525"
        [delegate.office]
        host = "delegate.example"
        tls = "off"
        auth_in_clear = true
        {delegate}
        [[domain]]
        name = "example.com"
        next_hop = "filter.example"
        [relay]
        next_hop = "filter.example"
        "#
    );
    let clock = Arc::new(SystemClock::following_the_runtime());
    Gateway::new(common::settings_of(&text), Stores::of(store), Arc::new(dial), clock)
}

async fn ask(gateway: &Gateway, client: Option<IpAddr>, address: &str) -> Verdict {
    let mailbox = Mailbox::parse(address, true).expect("an address");
    let settings = gateway.settings.load_full();
    let domain = settings.domain(mailbox.domain()).expect("an accepted domain");
    sources::recipient(gateway, domain, &mailbox, Reach::Delegates, &Asker { client, session: "s" }).await
}

/// Panics so many times before it dials.
struct Panics {
    left: AtomicU32,
    dial: PipeDialer,
}

impl Dial for Panics {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(left.is_err(), "panics on order: {left:?} to go");
        self.dial.dial(host, port)
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_gives_its_place_and_its_question_back() {
    let behaviour = delegate::Behaviour::new("delegate.example").recipient("bob@example.com");
    let dial = PipeDialer::new().with("delegate.example:25", &Delegate::new(behaviour));
    let gateway = gateway(Panics { left: AtomicU32::new(2), dial }, 1);
    for _ in 0..2 {
        let begun = Instant::now();
        assert!(matches!(ask(&gateway, None, "bob@example.com").await, Verdict::Unavailable { .. }));
        assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for a worker that is gone");
    }
    assert!(matches!(ask(&gateway, None, "bob@example.com").await, Verdict::Accept(_)));
}

/// Exchange as a delegate that knows `user0`, `user1` and so on.
fn exchange(users: u32) -> Delegate {
    let mut behaviour =
        delegate::Behaviour::exchange("delegate.example").lockout(5, Duration::from_secs(30 * 60));
    for n in 0..users {
        let address = format!("user{n}@example.com");
        behaviour = behaviour.recipient(&address).user(&address, &format!("right {n}"));
    }
    Delegate::new(behaviour)
}

fn at(delegate: &Delegate) -> PipeDialer {
    PipeDialer::new().with("delegate.example:25", delegate).with("delegate.example:587", delegate)
}

// covers: promise.polite
#[tokio::test(start_paused = true)]
async fn a_harvester_at_the_tarpit_does_not_hold_up_others() {
    const SECONDS: u32 = 120;
    let delegate = exchange(SECONDS * 2);
    let gateway = gateway(at(&delegate), 4);
    let begun = Instant::now();
    // 50 unknown recipients a second out of one /24, each from another address, so that no address is over its budget.
    let harvester: Vec<_> = (0..SECONDS * 50)
        .map(|n| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                sleep_until(begun + Duration::from_millis(20) * n).await;
                let client = IpAddr::from([192, 0, 2, u8::try_from(n % 250).expect("below 250")]);
                ask(&gateway, Some(client), &format!("guess{n}@example.com")).await
            })
        })
        .collect();
    // Twice a second a recipient that was never asked about, half the time from a network that was never seen.
    let others: Vec<_> = (0..SECONDS * 2)
        .map(|n| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                sleep_until(begun + Duration::from_millis(500) * n).await;
                let asked = Instant::now();
                let network = if n % 2 == 0 { n % 10 } else { n };
                let client = IpAddr::from([10, 7, u8::try_from(network).expect("below 256"), 1]);
                let verdict = ask(&gateway, Some(client), &format!("user{n}@example.com")).await;
                assert!(matches!(verdict, Verdict::Accept(_)), "user{n}: {verdict:?}");
                asked.elapsed()
            })
        })
        .collect();
    let mut took = Vec::new();
    for other in others {
        took.push(other.await.expect("an answer"));
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 < Duration::from_secs(8), "p99 {p99:?}, the slowest {:?}", took.last());
    let mut refused = 0;
    for guess in harvester {
        let verdict = guess.await.expect("an answer");
        assert!(!matches!(verdict, Verdict::Accept(_)));
        refused += u32::from(matches!(verdict, Verdict::Reject { .. }));
    }
    assert!(refused >= 8, "the harvester, too, is served: {refused}");
    let seen = delegate.counters();
    assert!(seen.peak <= 4, "{} sessions at once", seen.peak);
    // One of four places, and a refusal takes 5 s there.
    assert!(seen.recipients_bad <= u64::from(SECONDS) / 5 + 20, "{} refusals", seen.recipients_bad);
    assert_eq!(seen.tripped(), 0, "{:?}", seen.trips);
}

#[tokio::test(start_paused = true)]
async fn sessions_are_opened_no_faster_than_the_setting() {
    let delegate = exchange(20);
    let settings = "sessions = { auth = 20, per_second = 2 }";
    let gateway = gateway_with(at(&delegate), settings, MemoryStore::new(), Path::new("unused"));
    let begun = Instant::now();
    let logins: Vec<_> = (0..10)
        .map(|n| {
            let gateway = Arc::clone(&gateway);
            tokio::spawn(async move {
                let credential = Credential::Password(Secret::new(format!("right {n}")));
                let client = LoginClient { counted: None, identity: None, session: "s".to_owned() };
                let settings = gateway.settings.load_full();
                let login = format!("user{n}@example.com");
                let asked = sources::login(&gateway, &settings, &login, &credential, &client).await;
                assert!(matches!(asked.verdict, Verdict::Accept(_)), "{:?}", asked.verdict);
            })
        })
        .collect();
    for login in logins {
        login.await.expect("a right login");
    }
    // Two at once, the other eight half a second apart; sessions opened in advance count, too.
    let took = begun.elapsed();
    assert!((Duration::from_millis(3900)..Duration::from_millis(5100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_delegate_that_closes_early_gets_fewer_refusals_and_that_outlives_a_restart() {
    let behaviour = delegate::Behaviour::new("delegate.example").recipient("bob@example.com");
    let delegate = Delegate::new(delegate::Behaviour { max_errors: Some(3), ..behaviour });
    let (store, dir) = (MemoryStore::new(), tempfile::tempdir().expect("a folder"));
    let mut closed = Vec::new();
    for run in 0..2 {
        let gateway = gateway_with(at(&delegate), "sessions = { recipients = 1 }", store.clone(), dir.path());
        let supervisor = Supervisor::new(Arc::clone(&gateway)).expect("a self-signed certificate");
        supervisor.start_tasks().await.expect("a store");
        for round in 0..20 {
            let asked = (0..4).map(|n| {
                let (gateway, address) = (Arc::clone(&gateway), format!("no{run}.{round}.{n}@example.com"));
                tokio::spawn(async move { ask(&gateway, None, &address).await })
            });
            for verdict in asked.collect::<Vec<_>>() {
                let verdict = verdict.await.expect("an answer");
                // A limit of the delegate costs nobody an answer.
                assert!(matches!(verdict, Verdict::Reject { .. }), "{verdict:?}");
            }
        }
        let health = gateway.delegates.get("office").expect("the delegate").health();
        assert_eq!(health.refusals_learned, Some(2));
        assert!(supervisor.stop().await);
        closed.push(delegate.counters().closed_by_limit);
    }
    assert_eq!(closed, [2, 2], "two sessions teach it");
}

#[tokio::test(start_paused = true)]
async fn near_by_what_fills_no_batch_leaves_with_the_next_and_waits_for_no_late_one() {
    const KNOWN: u32 = 30;
    let delegate = exchange(KNOWN);
    let tarpit = |seconds| delegate.change(|behaviour| behaviour.tarpit = Duration::from_secs(seconds));
    let settings = "sessions = { recipients = 20, refusals = 1000, questions = 100000 }";
    let gateway = gateway_with(at(&delegate), settings, MemoryStore::new(), Path::new("unused"));
    // That it is near by is found out, and that it knows its users.
    tarpit(0);
    assert!(matches!(ask(&gateway, None, "user0@example.com").await, Verdict::Accept(_)));
    let asked = |address: String| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let begun = Instant::now();
            (ask(&gateway, None, &address).await, begun.elapsed())
        })
    };
    // All that can run now runs, and the clock stands still.
    let settle = || async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    settle().await;
    tarpit(5);
    delegate.clear_dialogue();
    let held_back = asked("nobody@example.com".to_owned());
    settle().await;
    let mut others = Vec::new();
    for n in 1..KNOWN {
        others.push(asked(format!("user{n}@example.com")));
        settle().await;
    }
    for other in others {
        let (verdict, after) = other.await.expect("an answer");
        assert!(matches!(verdict, Verdict::Accept(_)), "{verdict:?}");
        assert!(after < Duration::from_millis(10), "nobody waits for the tarpit: {after:?}");
    }
    let (verdict, after) = held_back.await.expect("an answer");
    assert!(matches!(verdict, Verdict::Reject { .. }), "{verdict:?}");
    assert!(after >= Duration::from_secs(5), "{after:?}");
    let batches = delegate.dialogue().iter().filter(|line| line.to_string().contains("MAIL FROM")).count();
    assert_eq!(batches, 2, "one for all that came meanwhile");
}

/// What is said to the delegate or by it arrives this much later.
const WAY: Duration = Duration::from_millis(10);

struct Far {
    dial: PipeDialer,
}

impl Dial for Far {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let (hear, say) = split(self.dial.dial(host, port).await?);
            let (ours, far) = duplex(64 * 1024);
            let (from_us, to_us) = split(far);
            tokio::spawn(carry(from_us, say));
            tokio::spawn(carry(hear, to_us));
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin + Send + 'static) {
    let (on_its_way, mut arriving) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, octets)) = arriving.recv().await {
            sleep_until(at).await;
            if to.write_all(&octets).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if on_its_way.send((Instant::now() + WAY, buffer[..read].to_vec())).is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_a_distant_delegate_nobody_waits_for_a_whole_round_of_others() {
    const CLIENTS: u64 = 100;
    const ROUNDS: u64 = 20;
    let mut behaviour = delegate::Behaviour::new("delegate.example");
    for n in 0..CLIENTS * ROUNDS {
        behaviour = behaviour.recipient(&format!("user{}.{}@example.com", n / CLIENTS, n % CLIENTS));
    }
    let dial = Far { dial: PipeDialer::new().with("delegate.example:25", &Delegate::new(behaviour)) };
    let settings = "sessions = { recipients = 4, refusals = 1000, questions = 100000 }";
    let gateway = gateway_with(dial, settings, MemoryStore::new(), Path::new("unused"));
    let clients = (0..CLIENTS).map(|client| {
        let gateway = Arc::clone(&gateway);
        tokio::spawn(async move {
            let mut longest = Duration::ZERO;
            for round in 0..ROUNDS {
                // Clients take their time, each another one.
                sleep(Duration::from_millis((client + round) % 6)).await;
                let asked = Instant::now();
                let verdict = ask(&gateway, None, &format!("user{round}.{client}@example.com")).await;
                assert!(matches!(verdict, Verdict::Accept(_)), "{verdict:?}");
                // Sessions are opened first, and the distance found out.
                if round >= 5 {
                    longest = longest.max(asked.elapsed());
                }
            }
            longest
        })
    });
    let mut longest = Duration::ZERO;
    for client in clients.collect::<Vec<_>>() {
        longest = longest.max(client.await.expect("a client"));
    }
    assert!(longest < 2 * WAY + Duration::from_millis(9), "{longest:?}");
}
