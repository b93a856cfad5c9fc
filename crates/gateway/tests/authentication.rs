//! Strangers' mail from the Internet and our users' mail to it, through the whole gateway, with a name server on loopback:
//! what is told, who is bounced, what is signed. The clock is real, for the name server is.

#![allow(clippy::unwrap_used)] // a test ends at its first surprise

mod common;
#[path = "common/talk.rs"]
mod talk;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use talk::{PATIENCE, reply};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::timeout;
use vouchsafe_core::ports::{Clock, MailStore, QueueFilter};
use vouchsafe_fakes::dns::{NameServer, Trouble};
use vouchsafe_fakes::{Action, Fault, PipeDialer, Point};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::authentication::reading::Reading;
use vouchsafe_net::authentication::signing::{self, Key, Keys, Kind};
use vouchsafe_net::authentication::{Asked, Verdict, Verifier};
use vouchsafe_net::clock::SystemClock;
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_testkit::whole::Stands;
use vouchsafe_testkit::whole::settings::{self, Places};

struct World {
    server: NameServer,
    key: Key,
    stands: Stands,
    store: Arc<MemoryStore>,
    supervisor: Arc<Supervisor>,
    dir: tempfile::TempDir,
}

impl World {
    /// With a key of `signed.example` whose record is in DNS.
    async fn new() -> World {
        World::with(&[]).await
    }

    /// The same with more settings.
    async fn with(more: &[(&str, &str)]) -> World {
        let dir = tempfile::tempdir().unwrap();
        let server = NameServer::start().await.unwrap();
        let places = Places {
            data_dir: dir.path().display().to_string(),
            logins: "delegate.example:587".to_owned(),
            recipients: "delegate.example:25".to_owned(),
            next_hop: "filter.example:25".to_owned(),
            listeners: [2525, 2587, 2526].map(|port| format!("127.0.0.1:{port}")),
        };
        let file = dir.path().join("key.pem");
        let pem = signing::make(Kind::Rsa).unwrap();
        std::fs::write(&file, &pem).unwrap();
        let key = Key::from_pem("signed.example", "s1", &pem).unwrap();
        server.txt(&key.name(), key.record());
        let change = |key: &str, value: String| (key.to_owned(), value);
        let mut changes = vec![
            change("authentication.verify", "true".to_owned()),
            change("authentication.name_servers", format!("[\"{}\"]", server.address())),
            change("relay.trusted_networks", "[\"127.0.0.0/8\"]".to_owned()),
        ];
        changes.extend(more.iter().map(|(key, value)| change(key, (*value).to_owned())));
        let mut text = settings::text(&places, &changes);
        text += &format!(
            "[[dkim]]\ndomain = \"signed.example\"\nselector = \"s1\"\nkey = {:?}\n",
            file.display().to_string()
        );
        let stands = Stands::default();
        let dial = PipeDialer::new()
            .with("delegate.example:25", &stands.delegate)
            .with("filter.example:25", &stands.next_hop);
        let store = MemoryStore::new();
        let clock = Arc::new(SystemClock::new());
        let stores = Stores::of(store.clone()).with_blobs(Blobs::memory());
        let gateway = Gateway::new(common::settings_of(&text), stores, Arc::new(dial), clock);
        let supervisor = Arc::new(Supervisor::new(gateway).expect("a certificate and a key"));
        supervisor.start_tasks().await.expect("a store");
        World { server, key, stands, store, supervisor, dir }
    }

    /// Hands in a message for these (commas between), from a client of this address; the reply to the dot.
    async fn send(&self, listener: &str, peer: &str, from: &str, to: &str, message: &str) -> String {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (supervisor, listener) = (Arc::clone(&self.supervisor), listener.to_owned());
        let peer: SocketAddr = peer.parse().unwrap();
        tokio::spawn(async move { supervisor.session(&listener, Box::new(theirs), Some(peer)).await });
        let mut stream = BufReader::new(ours);
        let mut said = reply(&mut stream).await.unwrap();
        let mut lines = vec!["EHLO mail.x.example".to_owned(), format!("MAIL FROM:<{from}>")];
        lines.extend(to.split(',').map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".to_owned());
        for line in lines {
            stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
            said = reply(&mut stream).await.unwrap();
            assert!(said.starts_with(['2', '3']), "{line}: {said}");
        }
        stream.get_mut().write_all(message.as_bytes()).await.unwrap();
        stream.get_mut().write_all(b".\r\n").await.unwrap();
        said = reply(&mut stream).await.unwrap_or(said);
        said
    }

    /// What the next hop has got, once there are so many.
    async fn taken(&self, messages: u64) -> Vec<String> {
        let arrived = self.stands.next_hop.wait(|seen| seen.messages >= messages);
        assert!(timeout(PATIENCE, arrived).await.is_ok(), "{}", self.stands.dialogues());
        self.stands.next_hop.messages().iter().map(|message| message.text()).collect()
    }

    /// What a stranger's server finds about a message of ours.
    async fn verdict(&self, message: &str) -> Verdict {
        let mut reading = Reading::default();
        reading.push(message.as_bytes());
        let asked = Asked {
            hostname: "far.example",
            client: "192.0.2.9".parse().unwrap(),
            helo: "gate.example",
            sender: "ann@signed.example",
        };
        Verifier::default().verify(&asked, &reading.finish(), &[self.server.address()]).await
    }

    /// What dkimpy, which shares no code with us, finds about its signature: `True` or `False`.
    fn by_dkimpy(&self, message: &str) -> String {
        self.ask_dkimpy("dkim.verify(message, dnsfunc=dns)", message)
    }

    /// What it finds about the ARC chain: `b'pass' success`, or why not.
    fn chain_by_dkimpy(&self, message: &str) -> String {
        self.ask_dkimpy("*dkim.arc_verify(message, dnsfunc=dns)[::2]", message)
    }

    fn ask_dkimpy(&self, question: &str, message: &str) -> String {
        let script = format!(
            "import sys, dkim\nname, record = sys.argv[1].rstrip('.'), sys.argv[2].encode()\n\
             dns = lambda asked, timeout=5: record if asked.decode().rstrip('.') == name else None\n\
             message = sys.stdin.buffer.read()\nprint({question})"
        );
        let mut child = Command::new("/usr/bin/python3") // Debian's, which has the package
            .args(["-c", &script, &self.key.name(), self.key.record()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`cargo xtask peers` installs python3");
        child
            .stdin
            .take()
            .unwrap()
            .write_all(message.as_bytes())
            .expect("`cargo xtask peers` installs python3-dkim");
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    }

    /// Waits until so many recipients are held.
    async fn held(&self, recipients: usize) {
        let end = tokio::time::Instant::now() + PATIENCE;
        let filter = || QueueFilter { held: Some(true), ..QueueFilter::default() };
        while self.store.list(filter()).await.unwrap().len() != recipients {
            assert!(tokio::time::Instant::now() < end, "{}", self.stands.dialogues());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

const STRANGER: &str = "192.0.2.7:40000";

#[tokio::test]
async fn results_stand_on_top_in_place_of_forged_ones() {
    let world = World::new().await;
    world.server.txt("x.example", "v=spf1 ip4:192.0.2.7 -all");
    world.server.txt("_dmarc.x.example", "v=DMARC1; p=reject");
    let message = "Authentication-Results: gate.example; dkim=pass header.d=bank.example\r\nFrom: ann@x.example\r\n\r\nhi\r\n";
    assert!(world.send("mx", STRANGER, "ann@x.example", "bob@example.com", message).await.starts_with("250"));
    let text = world.taken(1).await.remove(0);
    assert!(text.starts_with("Authentication-Results: gate.example;\r\n\tspf="), "{text}");
    assert!(text.contains("dmarc=pass header.from=x.example"), "{text}");
    assert!(!text.contains("bank.example"), "{text}");
    assert!(text.ends_with("\r\nFrom: ann@x.example\r\n\r\nhi\r\n"), "{text}");

    // Nobody is refused because a name server is in trouble.
    world.server.trouble("y.example", Trouble::Fails);
    let message = "From: eve@y.example\r\n\r\nhi\r\n";
    assert!(world.send("mx", STRANGER, "eve@y.example", "bob@example.com", message).await.starts_with("250"));
    let text = world.taken(2).await.remove(1);
    assert!(text.contains("spf=temperror"), "{text}");

    // A client on this machine is no stranger from the Internet.
    assert!(
        world
            .send("mx", "127.0.0.1:4000", "ann@x.example", "bob@example.com", message)
            .await
            .starts_with("250")
    );
    assert!(world.taken(3).await[2].starts_with("Received: "));
}

#[tokio::test]
async fn a_proven_stranger_is_bounced_and_a_forged_one_is_held() {
    let world = World::new().await;
    world.server.txt("x.example", "v=spf1 ip4:192.0.2.7 -all");
    world.server.txt("y.example", "v=spf1 ip4:198.51.100.1 -all");
    let full = Fault::at(Point::Rcpt, Action::Reply("550 5.2.1 Mailbox disabled".to_owned()));
    world.stands.next_hop.change(|behaviour| behaviour.faults.push(full.times(1)));
    let message = "From: eve@y.example\r\n\r\nhi\r\n";
    assert!(world.send("mx", STRANGER, "eve@y.example", "bob@example.com", message).await.starts_with("250"));
    world.held(1).await;
    let full = Fault::at(Point::Rcpt, Action::Reply("550 5.2.1 Mailbox disabled".to_owned()));
    world.stands.next_hop.change(|behaviour| behaviour.faults.push(full.times(1)));
    let message = "From: ann@x.example\r\n\r\nhi\r\n";
    assert!(world.send("mx", STRANGER, "ann@x.example", "bob@example.com", message).await.starts_with("250"));
    let bounce = world.taken(1).await.remove(0);
    assert!(bounce.contains("multipart/report") && bounce.contains("Status: 5.2.1"), "{bounce}");
    world.held(1).await;
}

#[tokio::test]
async fn what_our_users_send_is_signed_so_that_anyone_can_verify_it() {
    let world = World::new().await;
    let line = format!("{}\r\n", "y".repeat(70));
    // In memory, and larger than what is kept there.
    for (n, body) in ["hi\r\n\r\n".to_owned(), line.repeat(10_000)].into_iter().enumerate() {
        let message = format!("From: ann@signed.example\r\nSubject: hi\r\n\r\n{body}");
        let sent =
            world.send("trusted", "127.0.0.1:4000", "ann@signed.example", "eve@far.example", &message).await;
        assert!(sent.starts_with("250"), "{sent}");
        let text = world.taken(n as u64 + 1).await.remove(n);
        assert!(
            text.starts_with("DKIM-Signature: ") && text.ends_with(&message),
            "{}",
            &text[..1000.min(text.len())]
        );
        let verdict = world.verdict(&text).await;
        assert_eq!(verdict.proof.dkim, ["signed.example"], "{}", verdict.header);
    }
    // Another domain of ours has no key; a stranger never gets our signature.
    let other = "From: ann@other.example\r\n\r\nhi\r\n";
    world.send("trusted", "127.0.0.1:4000", "ann@signed.example", "eve@far.example", other).await;
    assert!(world.taken(3).await[2].starts_with("Received: "));
    let forged = "From: ann@signed.example\r\n\r\nhi\r\n";
    world.send("mx", STRANGER, "ann@signed.example", "bob@example.com", forged).await;
    assert!(!world.taken(4).await[3].contains("DKIM-Signature"));
}

/// A message with a file that is moved out, and a line of it.
fn with_a_file(from: &str) -> (String, &'static str) {
    const LINE: &str = "QUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJDQUJD\r\n";
    let message = format!(
        "From: {from}\r\nSubject: plans\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee it.\r\n\
         --b\r\nContent-Type: application/pdf; name=plans.pdf\r\n\
         Content-Disposition: attachment; filename=plans.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{}--b--\r\n",
        LINE.repeat(30)
    );
    (message, LINE)
}

#[tokio::test]
async fn each_copy_with_a_link_of_its_own_is_signed_as_it_leaves() {
    let world = World::with(&[
        ("web.downloads", "\"127.0.0.1:8443\""),
        ("web.public_url", "\"https://files.example\""),
        ("attachments.part_over", "\"1 kB\""),
        ("attachments.outbound", "true"),
    ])
    .await;
    let (message, line) = with_a_file("ann@signed.example");
    let to = "eve@far.example,kim@far.example";
    let sent = world.send("trusted", "127.0.0.1:4000", "ann@signed.example", to, &message).await;
    assert!(sent.starts_with("250"), "{sent}");
    let copies = world.taken(2).await;
    let mut tokens = Vec::new();
    for copy in &copies {
        assert!(copy.starts_with("DKIM-Signature: ") && !copy.contains(line), "{copy}");
        let (_, link) = copy.split_once("https://files.example/").unwrap();
        tokens.push(&link[..32]);
        let verdict = world.verdict(copy).await;
        assert_eq!(verdict.proof.dkim, ["signed.example"], "{}", verdict.header);
        assert_eq!(world.by_dkimpy(copy), "True", "{copy}");
    }
    assert_ne!(tokens[0], tokens[1]);
    // One copy's signature does not hold for the link of the other.
    let swapped = copies[0].replace(tokens[0], tokens[1]);
    assert!(world.verdict(&swapped).await.proof.dkim.is_empty());
    assert_eq!(world.by_dkimpy(&swapped), "False");
}

/// Strangers' files to `signed.example` are swapped; strangers are `x.example`.
async fn swapping(more: &[(&str, &str)]) -> World {
    let settings = [
        ("web.downloads", "\"127.0.0.1:8443\""),
        ("web.public_url", "\"https://files.example\""),
        ("attachments.part_over", "\"1 kB\""),
        ("attachments.inbound", "\"unscanned\""),
        ("domain.name", "\"signed.example\""),
        ("domain.recipients", "\"any\""),
    ];
    let world = World::with(&[&settings, more].concat()).await;
    world.server.txt("x.example", "v=spf1 ip4:192.0.2.7 -all");
    world
}

#[tokio::test]
async fn what_we_alter_of_strangers_mail_is_sealed_as_each_copy_leaves() {
    let world = swapping(&[("authentication.seal", "true")]).await;
    let (message, line) = with_a_file("ann@x.example");
    let to = "bob@signed.example,kim@signed.example";
    let sent = world.send("mx", STRANGER, "ann@x.example", to, &message).await;
    assert!(sent.starts_with("250"), "{sent}");
    let copies = world.taken(2).await;
    let mut tokens = Vec::new();
    for copy in &copies {
        assert!(copy.starts_with("ARC-Seal: i=1; a=rsa-sha256; cv=none;\r\n\td=signed.example;"), "{copy}");
        assert!(
            copy.contains("\r\nARC-Authentication-Results: i=1; gate.example;\r\n\tspf=")
                && !copy.contains(line),
            "{copy}"
        );
        let (_, link) = copy.split_once("https://files.example/").unwrap();
        tokens.push(&link[..32]);
        assert!(world.verdict(copy).await.words.ends_with(" arc=pass"), "{copy}");
        assert_eq!(world.chain_by_dkimpy(copy), "b'pass' success", "{copy}");
    }
    // The size that was declared counts the seal.
    for message in world.stands.next_hop.messages() {
        let declared = format!("SIZE={}", message.content.len());
        assert!(message.mail_parameters.contains(&declared), "{declared}: {}", message.mail_parameters);
    }
    // One copy's seal does not hold for the link of the other.
    let swapped = copies[0].replace(tokens[0], tokens[1]);
    assert!(world.verdict(&swapped).await.words.ends_with(" arc=fail"));
    assert!(world.chain_by_dkimpy(&swapped).starts_with("b'fail' "));
}

#[tokio::test]
async fn a_chain_that_came_goes_on_and_a_broken_one_is_told() {
    let world = swapping(&[("authentication.seal", "true")]).await;
    let keys = Keys::load([("signed.example", "s1", &*world.dir.path().join("key.pem"))]).unwrap();
    let head = "Authentication-Results: first.example;\r\n\tspf=pass\r\n";
    let message = head.to_owned() + &with_a_file("ann@x.example").0;
    let mut signing = keys.begin_seal(["signed.example"], head.len(), SystemClock::new().now()).unwrap();
    signing.push(message.as_bytes());
    let came = signing.finish().unwrap() + &message;
    let broken = came.replace("See it.", "See me.");
    let ended = "None ARC-Seal[2] reported failure, the chain is terminated";
    for (n, (came, cv, found)) in
        [(came, "pass", "b'pass' success"), (broken, "fail", ended)].into_iter().enumerate()
    {
        let sent = world.send("mx", STRANGER, "ann@x.example", "bob@signed.example", &came).await;
        assert!(sent.starts_with("250"), "{sent}");
        let text = world.taken(n as u64 + 1).await.remove(n);
        assert!(text.starts_with(&format!("ARC-Seal: i=2; a=rsa-sha256; cv={cv};")), "{text}");
        let told = format!("\r\nAuthentication-Results: gate.example;\r\n\tarc={cv};\r\n");
        assert!(text.contains(&told) && text.contains("https://files.example/"), "{text}");
        assert_eq!(world.chain_by_dkimpy(&text), found, "{text}");
        assert!(world.verdict(&text).await.words.ends_with(&format!(" arc={cv}")), "{text}");
    }
}

#[tokio::test]
async fn nothing_is_sealed_unasked_or_that_leaves_as_it_came() {
    let (file, plain) = (with_a_file("ann@x.example").0, "From: ann@x.example\r\n\r\nhi\r\n".to_owned());
    for (seal, message) in [("false", file), ("true", plain)] {
        let world = swapping(&[("authentication.seal", seal)]).await;
        let sent = world.send("mx", STRANGER, "ann@x.example", "bob@signed.example", &message).await;
        assert!(sent.starts_with("250"), "{sent}");
        let text = world.taken(1).await.remove(0);
        assert!(text.starts_with("Authentication-Results: gate.example;\r\n\tspf="), "{text}");
        assert_eq!(text.contains("https://files.example/"), seal == "false", "{text}");
    }
}

#[tokio::test]
async fn a_signed_message_past_16_mib_is_taken_and_its_signature_not_looked_at() {
    let world = World::new().await;
    world.server.txt("signed.example", "v=spf1 ip4:192.0.2.7 -all");
    let file = world.dir.path().join("key.pem");
    let keys = Keys::load([("signed.example", "s1", &*file)]).unwrap();
    let line = format!("{}\r\n", "y".repeat(1022));
    let sizes = [(16 * 1024, "dkim=pass"), (16 * 1024 + 1, "dkim=policy (message is too large to check)")];
    for (sent, (lines, told)) in (1..).zip(sizes) {
        let message = format!("From: ann@signed.example\r\n\r\n{}", line.repeat(lines));
        let mut signing = keys.begin();
        signing.push(message.as_bytes());
        let signed = signing.finish().unwrap() + &message;
        let reply = world.send("mx", STRANGER, "ann@signed.example", "bob@example.com", &signed).await;
        assert!(reply.starts_with("250"), "{reply}");
        let text = world.taken(sent).await.pop().unwrap();
        let head = text.split_once("\r\n\r\n").unwrap().0;
        assert!(head.starts_with("Authentication-Results: gate.example;"), "{head}");
        assert!(head.contains(told) && head.contains("spf=pass"), "{head}");
        assert!(head.contains("DKIM-Signature: v=1; a=rsa-sha256; s=s1; d=signed.example;"), "{head}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_read_keeps_the_gateway_from_starting() {
    let world = World::new().await;
    let file = world.dir.path().join("key.pem");
    std::fs::write(&file, "no key").unwrap();
    let why = Keys::load([("signed.example", "s1", &*file)]).unwrap_err();
    assert!(why.contains("key.pem") && why.contains("no private key in PEM"), "{why}");
}
