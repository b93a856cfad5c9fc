//! Logins at the delegate in one process, on a clock that stands still until told: what is known after a restart, sessions
//! opened in advance, a delegate that takes none, what it is told of the client, and NTLM with a delegate that is scripted
//! line by line.

mod common;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream};
use vouchsafe_config::Settings;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_fakes::{Delegate, PipeDialer, delegate};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::stream::{BoxStream, Dial};
use vouchsafe_smtp::sasl::{decode_base64, encode_base64};
use vouchsafe_store::memory::MemoryStore;

fn settings(dir: &Path, more: &str) -> Settings {
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
        [[domain]]
        name = "example.com"
        next_hop = "filter.example"
        [relay]
        next_hop = "filter.example"
        [delegate.office]
        auth = {{ host = "delegate.example:587", tls = "off" }}
        auth_in_clear = true
        recipients = {{ host = "delegate.example:25", tls = "off" }}
        {more}
        "#,
        dir.display().to_string()
    );
    common::settings_of(&text)
}

struct World {
    dir: tempfile::TempDir,
    store: Arc<MemoryStore>,
    supervisor: Arc<Supervisor>,
    more: String,
}

impl World {
    async fn new(dial: Arc<dyn Dial>, more: &str) -> World {
        let (dir, store) = (tempfile::tempdir().expect("a folder"), MemoryStore::new());
        let supervisor = start(dir.path(), &store, dial, more).await;
        World { dir, store, supervisor, more: more.to_owned() }
    }
    async fn restart(&mut self, dial: Arc<dyn Dial>) {
        assert!(self.supervisor.stop().await, "all tasks end in time");
        self.supervisor = start(self.dir.path(), &self.store, dial, &self.more).await;
    }
    /// A session that has said EHLO; the reply to that.
    async fn session(&self, listener: &'static str) -> (Client, String) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let supervisor = Arc::clone(&self.supervisor);
        let peer: SocketAddr = "192.0.2.7:40000".parse().expect("an address");
        tokio::spawn(async move { supervisor.session(listener, Box::new(theirs), Some(peer)).await });
        let mut client = Client(ours);
        client.reply().await;
        let hello = client.say("EHLO client.example").await;
        (client, hello)
    }
    async fn login(&self, password: &str) -> String {
        self.login_of("alice@example.com", password).await
    }
    async fn login_of(&self, name: &str, password: &str) -> String {
        let (mut client, _) = self.session("submission").await;
        client.say(&format!("AUTH PLAIN {}", encode_base64(format!("\0{name}\0{password}").as_bytes()))).await
    }
}

async fn start(dir: &Path, store: &Arc<MemoryStore>, dial: Arc<dyn Dial>, more: &str) -> Arc<Supervisor> {
    let clock = Arc::new(SystemClock::following_the_runtime());
    let gateway = Gateway::new(settings(dir, more), Stores::of(store.clone()), dial, clock);
    let supervisor = Supervisor::new(gateway).expect("a self-signed certificate");
    supervisor.start_tasks().await.expect("a store");
    Arc::new(supervisor)
}

struct Client(DuplexStream);

impl Client {
    async fn say(&mut self, line: &str) -> String {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await.expect("the session is there");
        self.reply().await
    }
    async fn reply(&mut self) -> String {
        let mut said = Vec::new();
        loop {
            let mut buffer = [0; 1024];
            let n = self.0.read(&mut buffer).await.expect("a reply");
            said.extend_from_slice(&buffer[..n]);
            let text = String::from_utf8_lossy(&said).into_owned();
            let last = text.strip_suffix("\r\n").and_then(|text| text.lines().last()).unwrap_or_default();
            if n == 0 || last.as_bytes().get(3) == Some(&b' ') {
                return text.trim_end().to_owned();
            }
        }
    }
}

fn office(change: impl FnOnce(&mut delegate::Behaviour)) -> (Delegate, Arc<dyn Dial>) {
    let mut behaviour = delegate::Behaviour::new("delegate.example")
        .user("alice@example.com", "secret")
        .recipient("bob@example.com");
    change(&mut behaviour);
    let delegate = Delegate::new(behaviour);
    let dial =
        PipeDialer::new().with("delegate.example:587", &delegate).with("delegate.example:25", &delegate);
    (delegate, Arc::new(dial))
}

/// Long enough for whatever happens behind the scenes.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

#[tokio::test(start_paused = true)]
async fn what_the_delegate_offers_is_known_after_a_restart() {
    let (delegate, dial) =
        office(|behaviour| behaviour.mechanisms = ["LOGIN", "XOAUTH2"].map(str::to_owned).into());
    let mut world = World::new(Arc::clone(&dial), "").await;
    assert!(world.session("submission").await.1.contains("250-AUTH PLAIN LOGIN\r\n"));
    assert!(world.login("secret").await.starts_with("235"));
    let announced = "250-AUTH PLAIN LOGIN XOAUTH2\r\n";
    assert!(world.session("submission").await.1.contains(announced));
    delegate.set_down(true);
    world.restart(dial).await;
    let hello = world.session("submission").await.1;
    assert!(hello.contains(announced), "{hello}");
    assert!(!world.session("mx").await.1.contains("AUTH"));
}

#[tokio::test(start_paused = true)]
async fn while_logins_come_quickly_two_sessions_wait_for_the_next_ones() {
    let (delegate, dial) = office(|_| {});
    let world = World::new(dial, "credentials = { yes = \"0s\" }\nsessions = { auth = 4 }").await;
    for _ in 0..2 {
        assert!(world.login("secret").await.starts_with("235"));
        settle().await;
    }
    assert_eq!((delegate.counters().connections, delegate.counters().open), (2, 0), "no demand yet");
    for _ in 0..3 {
        assert!(world.login("secret").await.starts_with("235"));
        settle().await;
    }
    let seen = delegate.counters();
    assert!(seen.connections > 5 && (1..=2).contains(&seen.open), "{seen:?}");
    // The waiting ones are used, each once.
    let before = seen.connections - seen.open;
    assert_eq!(before, 5, "as many sessions as logins");
    // Nobody comes: they take their leave.
    tokio::time::sleep(Duration::from_secs(61)).await;
    let seen = delegate.counters();
    assert_eq!(seen.open, 0);
    assert!(seen.peak <= 4, "{seen:?}");
    assert_eq!(seen.logins_good, 5);
}

/// Reaches the delegate over connections that can all be cut.
struct Cut(Arc<dyn Dial>, tokio::sync::broadcast::Sender<()>);
impl Dial for Cut {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let mut cut = self.1.subscribe();
        Box::pin(async move {
            let mut there = self.0.dial(host, port).await?;
            let (ours, mut theirs) = tokio::io::duplex(4096);
            tokio::spawn(async move {
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut theirs, &mut there) => {}
                    _ = cut.recv() => {}
                }
            });
            Ok(Box::new(ours) as BoxStream)
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiting_session_that_was_closed_is_replaced() {
    let (delegate, dial) = office(|_| {});
    let cut = tokio::sync::broadcast::Sender::new(1);
    let world = World::new(Arc::new(Cut(dial, cut.clone())), "credentials = { yes = \"0s\" }").await;
    for _ in 0..4 {
        assert!(world.login("secret").await.starts_with("235"));
        settle().await;
    }
    assert!(delegate.counters().open > 0, "one waits");
    cut.send(()).expect("it is connected");
    settle().await;
    assert_eq!(delegate.counters().open, 0);
    assert!(world.login("secret").await.starts_with("235"));
}

#[tokio::test(start_paused = true)]
async fn waiting_sessions_give_way_to_logins() {
    let names = ["a@example.com", "b@example.com", "c@example.com", "d@example.com"];
    let (delegate, dial) = office(|behaviour| {
        behaviour.max_connections = Some(2);
        behaviour.users.extend(names.map(|name| (name.to_owned(), "secret".to_owned())));
    });
    let world = World::new(dial, "credentials = { yes = \"0s\" }\nsessions = { auth = 2 }").await;
    for _ in 0..30 {
        let logins: Vec<_> = names.iter().map(|name| world.login_of(name, "secret")).collect();
        for said in futures_util::future::join_all(logins).await {
            assert!(said.starts_with("235"), "{said}");
        }
    }
    let seen = delegate.counters();
    assert_eq!((seen.tripped(), seen.logins_good), (0, 120), "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_delegate_that_takes_no_session_is_asked_three_times_at_the_most() {
    let (delegate, dial) = office(|behaviour| behaviour.max_connections = Some(0));
    let world = World::new(dial, "sessions = { auth = 10 }").await;
    assert!(world.login("secret").await.starts_with("454"));
    assert!(delegate.counters().connections <= 3, "{:?}", delegate.counters());
}

#[tokio::test(start_paused = true)]
async fn the_delegate_is_told_of_the_client_at_logins_only() {
    let (delegate, dial) = office(|behaviour| {
        behaviour.extensions.push("XCLIENT NAME ADDR PORT PROTO HELO LOGIN".to_owned());
    });
    let world = World::new(dial, "xclient = true").await;
    assert!(world.login("secret").await.starts_with("235"));
    let (mut stranger, _) = world.session("mx").await;
    stranger.say("MAIL FROM:<>").await;
    assert!(stranger.say("RCPT TO:<bob@example.com>").await.starts_with("250"));
    let told = delegate.counters().xclient;
    assert_eq!(told, ["NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=40000 PROTO=ESMTP HELO=client.example"]);
}

#[tokio::test(start_paused = true)]
async fn the_delegate_is_not_told_where_nobody_said_so() {
    let (delegate, dial) = office(|behaviour| behaviour.extensions.push("XCLIENT ADDR PORT".to_owned()));
    let world = World::new(dial, "").await;
    assert!(world.login("secret").await.starts_with("235"));
    assert!(delegate.counters().xclient.is_empty());
}

/// A delegate that offers NTLM, has one challenge, and takes one name; notes what it heard.
#[derive(Clone, Default)]
struct Ntlm(Arc<Mutex<Vec<String>>>);

const TYPE_2: &[u8] = b"NTLMSSP\0\x02\0\0\0\0\0\0\0\x30\0\0\0\x01\x82\0\0\x01\x02\x03\x04\x05\x06\x07\x08";

impl Ntlm {
    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("no holder panics"))
    }
    async fn serve(self, stream: DuplexStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        stream.write_all(b"220 delegate.example\r\n").await?;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            self.0.lock().expect("no holder panics").push(line.clone());
            let octets =
                decode_base64(line.as_bytes()).map(|secret| secret.expose().to_vec()).unwrap_or_default();
            let alice: Vec<u8> = "alice".encode_utf16().flat_map(u16::to_le_bytes).collect();
            let reply = match line.split(' ').next().unwrap_or_default() {
                "EHLO" => "250-delegate.example\r\n250 AUTH NTLM".to_owned(),
                "AUTH" => format!("334 {}", encode_base64(TYPE_2)),
                "*" => "501 5.7.0 aborted".to_owned(),
                "QUIT" => "221 bye".to_owned(),
                _ if octets.ends_with(&alice) => "235 2.7.0 in".to_owned(),
                _ => "535 5.7.3 Authentication unsuccessful".to_owned(),
            };
            stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        }
    }
}

impl Dial for Ntlm {
    fn dial<'a>(&'a self, _: &'a str, _: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let (ours, theirs) = tokio::io::duplex(4096);
        let ntlm = self.clone();
        tokio::spawn(async move { ntlm.serve(theirs).await });
        Box::pin(async move { Ok(Box::new(ours) as BoxStream) })
    }
}

/// The third message: domain and user in UTF-16, nothing else.
fn type_3(domain: &str, user: &str) -> String {
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (domain, user) = (wide(domain), wide(user));
    let mut message = b"NTLMSSP\0\x03\0\0\0".to_vec();
    let mut at = 64_usize;
    for length in [0, 0, domain.len(), user.len(), 0, 0] {
        let short = u16::try_from(length).expect("short").to_le_bytes();
        message.extend(short);
        message.extend(short);
        message.extend(u32::try_from(at).expect("short").to_le_bytes());
        at += length;
    }
    message.extend(1_u32.to_le_bytes());
    message.extend(domain);
    message.extend(user);
    encode_base64(&message)
}

#[tokio::test(start_paused = true)]
async fn ntlm_is_passed_through_and_its_third_message_is_counted() {
    let delegate = Ntlm::default();
    let world = World::new(Arc::new(delegate.clone()), "mechanisms = [\"NTLM\"]").await;
    // Nothing is known yet; passwords wait for better times, and the delegate's list is seen.
    assert!(world.login("secret").await.starts_with("454"));
    settle().await;
    delegate.heard();
    let type_1 = encode_base64(b"NTLMSSP\0\x01\0\0\0\x07\x82\x08\xa2");
    let challenge = format!("334 {}", encode_base64(TYPE_2));
    let (mut client, hello) = world.session("submission").await;
    assert!(hello.contains("250-AUTH NTLM\r\n"), "{hello}");
    // With and without an initial response; the first message names nobody and goes on at once.
    assert_eq!(client.say("AUTH NTLM").await, "334");
    assert_eq!(client.say(&type_1).await, challenge);
    assert!(client.say(&type_3("CORP", "mallory")).await.starts_with("535 5.7.8"));
    assert_eq!(client.say(&format!("AUTH NTLM {type_1}")).await, challenge);
    assert!(client.say(&type_3("CORP", "alice")).await.starts_with("235"));
    assert!(client.say("MAIL FROM:<alice@example.com>").await.starts_with("250"));
    settle().await;
    let heard = delegate.heard();
    assert!(
        heard.contains(&format!("AUTH NTLM {type_1}")) && heard.contains(&type_3("CORP", "alice")),
        "{heard:?}"
    );

    // Two wrong ones reach the delegate; of the third it hears an asterisk.
    let (mut client, _) = world.session("submission").await;
    for wanted in ["535", "535", "454"] {
        assert_eq!(client.say(&format!("AUTH NTLM {type_1}")).await, challenge);
        let said = client.say(&type_3("CORP", "bob")).await;
        assert!(said.starts_with(wanted), "{said}");
    }
    settle().await;
    let heard = delegate.heard();
    let guesses = heard.iter().filter(|line| **line == type_3("CORP", "bob")).count();
    assert_eq!((guesses, heard.iter().filter(|line| *line == "*").count()), (2, 1), "{heard:?}");

    // A client that says what it likes, or goes, is no guess.
    let (mut client, _) = world.session("submission").await;
    client.say(&format!("AUTH NTLM {type_1}")).await;
    assert!(client.say(&encode_base64(b"NTLMSSP\0\x03\0\0\0")).await.starts_with("501 5.5.2"));
    client.say(&format!("AUTH NTLM {type_1}")).await;
    drop(client);
    settle().await;
    assert_eq!(delegate.heard().iter().filter(|line| *line == "*").count(), 2);
}
