//! One message, recipients with different rules: each gets the form that the limits for its domain and direction say,
//! octet for octet the message where nothing is moved, also after a restart. The whole gateway over a store on disk.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod common;
#[path = "common/talk.rs"]
mod talk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use talk::{PATIENCE, reply};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::time::timeout;
use vouchsafe_core::attachments::{AttachmentStore, BlobStore, ShareFilter};
use vouchsafe_core::links::{TOKEN_LEN, Token};
use vouchsafe_core::ports::{MailStore, QueueFilter};
use vouchsafe_fakes::next_hop::{Behaviour, Received};
use vouchsafe_fakes::{NextHop, PipeDialer};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

const URL: &str = "https://files.example/";

/// Three domains of ours; what goes to others goes by the relay.
fn settings(dir: &Path, low: &str, high: &str, attachments: &str) -> String {
    let hop = |name: &str| format!("next_hop = {{ host = \"{name}:25\", tls = \"off\" }}");
    let domain = |name: &str, lines: &str| {
        format!("[[domain]]\nname = \"{name}\"\nrecipients = [\"any\"]\n{}\n{lines}\n", hop(name))
    };
    format!(
        "hostname = \"gate.example\"\ndata_dir = {:?}\n[authentication]\nverify = false\n\
         [[listener]]\nname = \"trusted\"\nkind = \"trusted\"\naddress = \"127.0.0.1:2526\"\n\
         [[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n\
         [relay]\ntrusted_networks = [\"127.0.0.0/8\"]\n{}\n{}{}{}\
         [web]\ndownloads = \"127.0.0.1:8443\"\npublic_url = \"https://files.example\"\n[attachments]\n{attachments}\n",
        dir.display().to_string(),
        hop("relay.example"),
        domain("low.example", low),
        domain("high.example", high),
        domain("plain.example", ""),
    )
}

struct World {
    store: Arc<SqliteStore>,
    blobs: Arc<Blobs>,
    supervisor: Arc<Supervisor>,
    /// Takes the mail of all.
    sink: NextHop,
}

impl World {
    /// Over what an earlier one left in this folder. Delivers nothing yet.
    fn new(dir: &Path, settings: &str) -> World {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let store = SqliteStore::open(dir, Arc::new(RealDisk), Options { free_space: 0 }).unwrap();
        let blobs = Blobs::files(Arc::new(RealDisk), &dir.join("blobs")).unwrap();
        let sink = NextHop::new(Behaviour::new("sink.example"));
        let dial = ["relay", "low", "high", "plain"]
            .iter()
            .fold(PipeDialer::new(), |dial, name| dial.with(&format!("{name}.example:25"), &sink));
        let stores = Stores::of(Arc::clone(&store)).with_blobs(Arc::<Blobs>::clone(&blobs));
        let clock = Arc::new(SystemClock::new());
        let gateway = Gateway::new(common::settings_of(settings), stores, Arc::new(dial), clock);
        let supervisor = Arc::new(Supervisor::new(gateway).unwrap());
        World { store, blobs, supervisor, sink }
    }

    async fn started(dir: &Path, settings: &str) -> World {
        let world = World::new(dir, settings);
        world.supervisor.start_tasks().await.unwrap();
        world
    }

    /// Hands in a message for these; the reply to the dot.
    async fn send(&self, listener: &'static str, from: &str, to: &[&str], message: &str) -> String {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let supervisor = Arc::clone(&self.supervisor);
        let peer = if listener == "mx" { "192.0.2.7:4000" } else { "127.0.0.1:4000" };
        let peer = Some(peer.parse().unwrap());
        tokio::spawn(async move { supervisor.session(listener, Box::new(theirs), peer).await });
        let mut stream = BufReader::new(ours);
        reply(&mut stream).await.unwrap();
        let mut lines = vec!["EHLO pc.example".to_owned(), format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.push("DATA".to_owned());
        for line in lines {
            stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
            let said = reply(&mut stream).await.unwrap();
            assert!(said.starts_with(['2', '3']), "{line}: {said}");
        }
        stream.get_mut().write_all(message.as_bytes()).await.unwrap();
        stream.get_mut().write_all(b".\r\n").await.unwrap();
        reply(&mut stream).await.unwrap()
    }

    /// What came for each recipient, once there are so many messages.
    async fn taken(&self, messages: u64) -> BTreeMap<String, Received> {
        let arrived = self.sink.wait(|seen| seen.messages >= messages);
        assert!(timeout(PATIENCE, arrived).await.is_ok(), "{:?}", self.sink.counters());
        let taken = self.sink.messages();
        assert_eq!(taken.len() as u64, messages);
        taken
            .into_iter()
            .flat_map(|one| one.recipients.clone().into_iter().map(move |to| (to, one.clone())))
            .collect()
    }

    /// Names of the files that a message's link leads to.
    async fn behind(&self, message: &Received) -> Vec<String> {
        let text = message.text();
        let (_, link) = text.split_once(URL).unwrap_or_else(|| panic!("no link in {text}"));
        let token: Token = link[..TOKEN_LEN].parse().unwrap();
        let landing = self.store.landing(token.hash()).await.unwrap().unwrap();
        landing.share.files.into_iter().map(|file| file.file_name).collect()
    }

    /// Names of the files of all messages, and how many blobs there are.
    async fn kept(&self) -> (Vec<String>, usize) {
        let shares = self.store.shares(ShareFilter::default()).await.unwrap();
        let files = shares.into_iter().flat_map(|share| share.files).map(|file| file.file_name).collect();
        (files, self.blobs.list(String::new(), 100).await.unwrap().len())
    }
}

/// Base64 of so many octets, in whole lines of 57.
fn coded(letter: char, lines: usize) -> String {
    format!("{}\r\n", letter.to_string().repeat(76)).repeat(lines)
}

/// A message with a file for each of these: name, letter of its base64, lines of 57 octets.
fn message(files: &[(&str, char, usize)]) -> String {
    let part = |(name, letter, lines): &(&str, char, usize)| {
        format!(
            "--b\r\nContent-Type: application/pdf; name={name}\r\n\
             Content-Disposition: attachment; filename={name}\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}",
            coded(*letter, *lines)
        )
    };
    format!(
        "From: <ann@plain.example>\r\nTo: all of you:;\r\nSubject: plans\r\n\
         Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@plain.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee the plans.\r\n\
         {}--b--\r\n",
        files.iter().map(part).collect::<String>()
    )
}

type Files = &'static [(&'static str, char, usize)];

/// 2,850 and 11,400 octets.
const FILES: Files = &[("small.pdf", 'A', 50), ("large.pdf", 'B', 200)];
/// The second streams to its blob; its raw octets, too, go to a file.
const LARGE: Files = &[("small.pdf", 'A', 50), ("large.pdf", 'B', 20_000)];
const TO: [&str; 5] =
    ["l@low.example", "h@high.example", "x@partner.example", "y@far.example", "z@a.sub.example"];
const LOW: &str = "files_part_over = \"2 kB\"";
const NEVER: &str = "files_part_over = \"none\"\nfiles_message_over = \"none\"";
const BASE: &str =
    "internal = true\npart_over = \"6 kB\"\noutbound_exclude = [\"partner.example\", \".sub.example\"]";

/// Everybody has what is his of the message with these files to [`TO`].
async fn check(world: &World, files: Files) {
    // The two that get it whole go together.
    let (taken, message) = (world.taken(4).await, message(files));
    let [low, high, partner, far, sub] = TO.map(|to| &taken[to]);
    let text = high.text();
    let head = text.strip_suffix(&message).expect("the message as it came");
    assert!(head.starts_with("Received: from ") && head.matches("\r\n").count() < 6, "{head}");
    assert!(!head.contains("Vouchsafe-Detached"), "{head}");
    for whole in [partner, sub] {
        assert_eq!(whole.text(), text, "octet for octet");
    }
    let octets = files.iter().map(|(.., lines)| lines * 57).collect::<Vec<_>>();
    for (one, detached, behind) in [
        (low, format!("2 files, {} octets", octets[0] + octets[1]), &["small.pdf", "large.pdf"][..]),
        (far, format!("1 file, {} octets", octets[1]), &["large.pdf"]),
    ] {
        let text = one.text();
        let rest = text.strip_prefix(head).expect("the same head");
        assert!(rest.starts_with(&format!("X-Vouchsafe-Detached: {detached}\r\n")), "{rest}");
        for (name, letter, lines) in files {
            assert_ne!(rest.contains(&coded(*letter, *lines)), behind.contains(name), "{name}: {rest}");
        }
        assert_eq!(world.behind(one).await, behind);
    }
    for one in [low, high, partner, far, sub] {
        let size = format!("SIZE={}", one.content.len());
        assert!(one.mail_parameters.contains(&size), "{} is not {size}", one.mail_parameters);
    }
    let (mut files, blobs) = world.kept().await;
    files.sort();
    assert_eq!((files, blobs), (vec!["large.pdf".to_owned(), "small.pdf".to_owned()], 2));
}

#[tokio::test]
async fn each_recipient_gets_the_form_that_his_rules_say() {
    for files in [FILES, LARGE] {
        let dir = tempfile::tempdir().unwrap();
        let world = World::started(dir.path(), &settings(dir.path(), LOW, NEVER, BASE)).await;
        let said = world.send("trusted", "ann@plain.example", &TO, &message(files)).await;
        assert!(said.starts_with("250"), "{said}");
        check(&world, files).await;
    }
}

#[test]
fn forms_that_wait_are_the_same_after_a_restart() {
    for files in [FILES, LARGE] {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), LOW, NEVER, BASE);
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let world = World::new(dir.path(), &settings);
        let said = first.block_on(world.send("trusted", "ann@plain.example", &TO, &message(files)));
        assert!(said.starts_with("250"), "{said}");
        assert_eq!(world.sink.counters().messages, 0);
        drop(first);
        drop(world);
        // By other settings by now: what was taken goes out as it was taken.
        let settings = settings.replace(LOW, "files = \"off\"");
        runtime().block_on(async { check(&World::started(dir.path(), &settings).await, files).await });
    }
}

#[tokio::test]
async fn recipients_of_the_same_rules_share_a_form_and_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let attachments = format!("{BASE}\nlinks = \"per_message\"\nmessage_over_internal = \"none\"");
    let world = World::started(dir.path(), &settings(dir.path(), LOW, "", &attachments)).await;
    let to = ["l@low.example", "h@high.example", "p@plain.example", "y@far.example", "z@far.example"];
    world.send("trusted", "ann@plain.example", &to, &message(FILES)).await;
    // One delivery for each route, whose recipients go together.
    let taken = world.taken(4).await;
    let mut links = Vec::new();
    for to in to {
        let text = taken[to].text();
        links.push(text.split_once(URL).unwrap().1[..TOKEN_LEN].to_owned());
    }
    assert!(links[1..].iter().all(|link| *link == links[1]) && links[0] != links[1], "{links:?}");
    assert_eq!(world.behind(&taken[to[0]]).await, ["small.pdf", "large.pdf"]);
    assert_eq!(world.behind(&taken[to[4]]).await, ["large.pdf"]);
}

#[tokio::test]
async fn raw_octets_of_what_was_moved_are_kept_only_where_recipients_differ() {
    for (to, differ) in [
        (&["p@plain.example", "h@high.example", "y@far.example"][..], false),
        (&["p@plain.example", "x@partner.example"], true),
        (&["l@low.example", "y@far.example"], true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let attachments = format!("{BASE}\nhard_limit_internal = \"9 MB\"");
        let world = World::new(dir.path(), &settings(dir.path(), LOW, "", &attachments));
        world.send("trusted", "ann@plain.example", to, &message(LARGE)).await;
        let rows = world.store.list(QueueFilter::default()).await.unwrap();
        let whole = message(LARGE).len() as u64;
        assert!(rows.iter().all(|row| (row.size > whole) == differ), "{to:?}: {} of {whole}", rows[0].size);
        assert!(differ || rows[0].size < 10_000, "{to:?}: {}", rows[0].size);
    }
}

#[tokio::test]
async fn mail_to_others_goes_by_the_domain_of_its_sender_and_strangers_mail_by_its_direction() {
    let dir = tempfile::tempdir().unwrap();
    let attachments = format!(
        "{BASE}\ninbound = \"unscanned\"\npart_over_inbound = \"none\"\nmessage_over_inbound = \"none\""
    );
    let world = World::started(dir.path(), &settings(dir.path(), LOW, "", &attachments)).await;
    world.send("trusted", "ann@low.example", &["y@far.example"], &message(FILES)).await;
    world.send("mx", "eve@far.example", &["l@low.example", "h@high.example"], &message(FILES)).await;
    world.send("trusted", "ann@plain.example", &["h@high.example"], &message(&FILES[..1])).await;
    let taken = world.sink.wait(|seen| seen.messages >= 4);
    assert!(timeout(PATIENCE, taken).await.is_ok());
    for one in world.sink.messages() {
        let from = one.reverse_path.as_str();
        match (from, one.recipients[0].as_str()) {
            ("ann@low.example", _) | (_, "l@low.example") => {
                assert_eq!(world.behind(&one).await, ["small.pdf", "large.pdf"]);
            }
            ("eve@far.example", _) => assert!(one.text().ends_with(&message(FILES))),
            _ => assert!(one.text().ends_with(&message(&FILES[..1]))),
        }
    }
}

#[tokio::test]
async fn a_part_that_no_form_does_without_is_not_kept() {
    // 350 kB go while the message grows past what high.example takes; 900 kB behind them make that needless.
    let files = &[("first.pdf", 'A', 6_200), ("second.pdf", 'B', 16_000)];
    let (low, high) = (
        "files_part_over = \"800 kB\"\nfiles_message_over = \"none\"",
        "files_part_over = \"none\"\nfiles_message_over = \"600 kB\"",
    );
    let dir = tempfile::tempdir().unwrap();
    let attachments = "internal = true\nuser_quota = \"1 MB\"";
    let world = World::started(dir.path(), &settings(dir.path(), low, high, attachments)).await;
    let to = ["l@low.example", "h@high.example"];
    let said = world.send("trusted", "ann@plain.example", &to, &message(files)).await;
    assert!(said.starts_with("250"), "only what is kept is charged: {said}");
    for (_, one) in world.taken(2).await {
        assert_eq!(world.behind(&one).await, ["second.pdf"]);
        assert!(one.text().contains(&coded('A', 6_200)));
    }
    assert_eq!(world.kept().await, (vec!["second.pdf".to_owned()], 1));
}

#[tokio::test]
async fn a_message_is_refused_when_the_form_of_one_recipient_is_over_his_hard_limit() {
    for (attachments, high, to, code) in [
        // Whole it has 20 kB, without the large file 5 kB and a block.
        ("hard_limit = \"12 kB\"", NEVER, &["y@far.example", "x@partner.example"][..], "250"),
        ("hard_limit = \"12 kB\"", NEVER, &["y@far.example", "h@high.example"], "552"),
        (
            "hard_limit = \"12 kB\"\nhard_limit_internal = \"30 kB\"",
            NEVER,
            &["y@far.example", "h@high.example"],
            "250",
        ),
        ("hard_limit_internal = \"12 kB\"", NEVER, &["y@far.example"], "250"),
        ("hard_limit_internal = \"12 kB\"", NEVER, &["y@far.example", "h@high.example"], "552"),
        ("hard_limit_internal = \"12 kB\"", "files_hard_limit = \"2 kB\"", &["h@high.example"], "552"),
        ("hard_limit = \"4 kB\"", LOW, &["h@high.example"], "250"),
        ("hard_limit = \"4 kB\"", LOW, &["h@high.example", "y@far.example"], "552"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path(), LOW, high, &format!("{BASE}\n{attachments}"));
        let world = World::new(dir.path(), &settings);
        let said = world.send("trusted", "ann@plain.example", to, &message(FILES)).await;
        assert!(said.starts_with(code), "{attachments}, {high}, {to:?}: {said}");
        assert!(code == "250" || said.starts_with("552 5.3.4") && world.kept().await.0.is_empty(), "{said}");
    }
}

#[tokio::test]
async fn words_are_in_the_language_of_the_message_else_of_the_domain() {
    const TO: [&str; 3] = ["l@low.example", "h@high.example", "y@far.example"];
    let (dir, attachments) = (tempfile::tempdir().unwrap(), "internal = true\npart_over = \"6 kB\"");
    let (german, spanish) = ("files_language = \"de\"", "files_language = \"es\"");
    let world = World::started(dir.path(), &settings(dir.path(), german, spanish, attachments)).await;
    let (no_language, from) = (message(FILES), "ann@plain.example");
    let french = no_language.replacen("MIME-Version", "Content-Language: fr-CA\r\nMIME-Version", 1);
    for (message, from, to, words, messages) in [
        (&no_language, from, &TO[..], ["zum Herunterladen", "para descargar", "to download"], 3),
        (&french, from, &TO, ["1 fichier"; 3], 6),
        // Whoever writes to others does so in the language of his own domain.
        (&no_language, "l@low.example", &TO[2..], ["zum Herunterladen"; 3], 7),
    ] {
        assert!(world.send("trusted", from, to, message).await.starts_with("250"));
        let taken = world.taken(messages).await;
        for (to, words) in to.iter().zip(words) {
            let text = taken[*to].text();
            assert!(text.contains(words), "{to}: {text}");
        }
    }
}
