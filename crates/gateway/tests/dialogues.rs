//! The second rung: whole gateway, stand-in delegate and next hop in one process, pipes instead of sockets, memory
//! instead of a disk, and a clock that moves only when everybody waits. Runs every file of `transcripts/e2e`.
//!
//! On top of what `testkit::script` knows: `set:` is a line of the settings file (`relay.open_relay = true`);
//! `!: connect LISTENER`, `!: also connect LISTENER` (the session before stays), `!: disconnect`, `!: user NAME PASSWORD`,
//! `!: reload key = value`, `!: delegate|next_hop down|up`, `!: delegate|next_hop at POINT REPLY`,
//! `!: next_hop without EXTENSION`, `!: store full|broken|well`; end states are listed in [`World::check`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::timeout;
use vouchsafe_config::{Lookup, Settings};
use vouchsafe_core::ports::{MailStore, QueueFilter, StoreFault};
use vouchsafe_fakes::{Action, Delegate, Fault, NextHop, PipeDialer, Point, delegate, next_hop};
use vouchsafe_gateway::control::{Control, Request, Response};
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_store::memory::MemoryStore;
use vouchsafe_testkit::script::{Act, Script};

/// Longest a step may take on the paused clock: above every deadline of the gateway, below its session's life.
const PATIENCE: Duration = Duration::from_secs(280);

struct World {
    supervisor: Arc<Supervisor>,
    store: Arc<MemoryStore>,
    delegate: Delegate,
    next_hop: NextHop,
    control: Control,
    dir: PathBuf,
    client: Option<DuplexStream>,
    others: Vec<DuplexStream>,
    said: Vec<u8>,
}

struct NoLookup;
impl Lookup for NoLookup {
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        Err(format!("{}: no files here", path.display()))
    }
    fn hostname(&self) -> Option<String> {
        Some("gate.example".to_owned())
    }
}

/// The settings every dialogue begins with, by table; `set:` lines are added to theirs.
fn settings(dir: &Path, changes: &[(String, String)]) -> Settings {
    let mut tables: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let base = [
        ("", format!("hostname = \"gate.example\"\ndata_dir = {:?}", dir.display().to_string())),
        ("[delegate.office]", "auth = { host = \"delegate.example:587\", tls = \"off\" }\nauth_in_clear = true\nrecipients = { host = \"delegate.example:25\", tls = \"off\" }".to_owned()),
        ("[[domain]]", "name = \"example.com\"\nrecipients = [\"delegate:office\"]\nnext_hop = { host = \"filter.example:25\", tls = \"off\" }".to_owned()),
        ("[relay]", "logins = \"delegate:office\"\nnext_hop = { host = \"filter.example:25\", tls = \"off\" }".to_owned()),
        ("[[listener]] # mx", "name = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"".to_owned()),
        ("[[listener]] # submission", "name = \"submission\"\nkind = \"submission\"\naddress = \"127.0.0.1:2587\"".to_owned()),
        ("[[listener]] # trusted", "name = \"trusted\"\nkind = \"trusted\"\naddress = \"127.0.0.1:2526\"".to_owned()),
    ];
    for (table, lines) in &base {
        tables.insert(table, vec![lines.clone()]);
    }
    for (key, value) in changes {
        let (table, key) = key.split_once('.').unwrap_or(("", key));
        let heading = match table {
            "delegate" => "[delegate.office]".to_owned(),
            "domain" => "[[domain]]".to_owned(),
            "mx" | "submission" | "trusted" => format!("[[listener]] # {table}"),
            "" => String::new(),
            other => format!("[{other}]"),
        };
        let heading: &str = Box::leak(heading.into_boxed_str());
        let lines = tables.entry(heading).or_default();
        // A line that is there already is replaced: TOML takes no key twice.
        let mut all: Vec<String> = lines.iter().flat_map(|line| line.lines().map(str::to_owned)).collect();
        all.retain(|line| line.split(" = ").next() != Some(key));
        all.push(format!("{key} = {value}"));
        *lines = all;
    }
    let text: String =
        tables.iter().map(|(heading, lines)| format!("{heading}\n{}\n\n", lines.join("\n"))).collect();
    match vouchsafe_config::parse(&text, &NoLookup) {
        Ok((settings, _)) => settings,
        Err(faults) => {
            panic!("{text}\n{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

impl World {
    async fn new(dir: &Path, script: &Script) -> World {
        let behaviour = delegate::Behaviour::new("delegate.example")
            .user("alice@example.com", "secret")
            .recipient("alice@example.com")
            .recipient("bob@example.com")
            .recipient("carol@example.com");
        let delegate = Delegate::new(behaviour);
        let next_hop = NextHop::new(next_hop::Behaviour::new("filter.example"));
        let dial = PipeDialer::new()
            .with("delegate.example:25", &delegate)
            .with("delegate.example:587", &delegate)
            .with("filter.example:25", &next_hop);
        let store = MemoryStore::new();
        let stores = Stores { mail: store.clone(), settings: store.clone(), history: store.clone() };
        let clock = Arc::new(SystemClock::following_the_runtime());
        let gateway = Gateway::new(settings(dir, &script.settings), stores, Arc::new(dial), clock);
        let control = Control::new(Arc::clone(&gateway));
        let supervisor = Supervisor::new(gateway).expect("a self-signed certificate");
        supervisor.start_tasks();
        let mut world = World {
            supervisor: Arc::new(supervisor),
            store,
            delegate,
            next_hop,
            control,
            dir: dir.to_owned(),
            client: None,
            others: Vec::new(),
            said: Vec::new(),
        };
        world.connect(&script.listener);
        world
    }

    fn connect(&mut self, listener: &str) {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (supervisor, listener) = (Arc::clone(&self.supervisor), listener.to_owned());
        let peer: SocketAddr = "127.0.0.1:40000".parse().expect("an address");
        tokio::spawn(async move { supervisor.session(&listener, Box::new(theirs), Some(peer)).await });
        self.client = Some(ours);
        self.said.clear();
    }

    /// One whole reply, its lines.
    async fn reply(&mut self) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        loop {
            while let Some(end) = self.said.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.said.drain(..end + 2).collect();
                let line = String::from_utf8_lossy(&line[..end]).into_owned();
                let last = line.as_bytes().get(3) != Some(&b'-');
                lines.push(line);
                if last {
                    return Ok(lines);
                }
            }
            let client = self.client.as_mut().ok_or("not connected")?;
            let mut buffer = [0; 4096];
            match timeout(PATIENCE, client.read(&mut buffer)).await {
                Ok(Ok(0)) => return Err("the gateway closed".to_owned()),
                Ok(Ok(n)) => self.said.extend_from_slice(&buffer[..n]),
                Ok(Err(fault)) => return Err(fault.to_string()),
                Err(_) => return Err(format!("no reply within {} s of simulated time", PATIENCE.as_secs())),
            }
        }
    }

    async fn event(&mut self, event: &str) -> Result<(), String> {
        let words: Vec<&str> = event.split(' ').collect();
        match words[..] {
            ["connect", listener] => self.connect(listener),
            ["also", "connect", listener] => {
                self.others.extend(self.client.take());
                self.connect(listener);
            }
            ["disconnect"] => self.client = None,
            ["user", name, password] => {
                let request = Request::UserAdd { name: name.to_owned(), password: password.to_owned() };
                if let Response::Refused { why } = self.control.run(request).await {
                    return Err(why);
                }
            }
            ["reload", ref lines @ ..] => {
                let line = lines.join(" ");
                let (key, value) = line.split_once(" = ").ok_or("`!: reload key = value` expected")?;
                let changed = settings(&self.dir, &[(key.to_owned(), value.to_owned())]);
                self.supervisor.reload(changed)?;
            }
            ["delegate", "down"] => self.delegate.set_down(true),
            ["delegate", "up"] => self.delegate.set_down(false),
            ["delegate", "well"] => self.delegate.change(|behaviour| behaviour.faults.clear()),
            ["delegate", "knows", address] => {
                self.delegate.change(|behaviour| {
                    behaviour.known.insert(address.to_owned());
                });
            }
            ["next_hop", "down"] => self.next_hop.set_down(true),
            ["next_hop", "up"] => self.next_hop.set_down(false),
            ["next_hop", "well"] => self.next_hop.change(|behaviour| behaviour.faults.clear()),
            ["delegate", "without", extension] => {
                self.delegate.change(|behaviour| behaviour.extensions.retain(|offered| offered != extension));
            }
            ["next_hop", "without", extension] => {
                self.next_hop.change(|behaviour| *behaviour = behaviour.clone().without(extension));
            }
            [who @ ("delegate" | "next_hop"), "at", at, ref reply @ ..] => {
                let action = match reply {
                    ["cut"] => Action::Cut,
                    ["hang"] => Action::Hang,
                    ["octets", rest @ ..] => Action::Octets(format!("{}\r\n", rest.join(" ")).into_bytes()),
                    _ => Action::Reply(reply.join(" ")),
                };
                let fault = Fault::at(point(at)?, action);
                match who {
                    "delegate" => self.delegate.change(|behaviour| behaviour.faults.push(fault)),
                    _ => self.next_hop.change(|behaviour| behaviour.faults.push(fault)),
                }
            }
            ["store", "full"] => self.store.fail(Some(StoreFault::Full("as told".to_owned()))),
            ["store", "broken"] => self.store.fail(Some(StoreFault::Broken("as told".to_owned()))),
            ["store", "well"] => self.store.fail(None),
            _ => return Err(format!("unknown event `{event}`")),
        }
        Ok(())
    }

    /// `delivered N`, `queue N`, `held N`, `notices N`, `nowhere "TEXT"` (queue and history), `message "TEXT"`, `no message "TEXT"`, `delegate recipients N`,
    /// `delegate logins N`, `delegate mail 0`, `closed`.
    async fn check(&mut self, check: &str) -> Result<(), String> {
        let (what, value) = check.rsplit_once(' ').unwrap_or((check, ""));
        let number = || value.parse::<u64>().map_err(|_| format!("`{check}`: a number is expected"));
        if let Some(text) = check.strip_prefix("message ") {
            return self.has_message(text.trim_matches('"'), true).await;
        }
        if let Some(text) = check.strip_prefix("no message ") {
            return self.has_message(text.trim_matches('"'), false).await;
        }
        if let Some(text) = check.strip_prefix("nowhere ") {
            self.settled().await;
            let written =
                format!("{:?}{:?}", self.store.events(), self.store.list(QueueFilter::default()).await);
            let found = written.contains(text.trim_matches('"'));
            return if found { Err(format!("{check}: it is in {written}")) } else { Ok(()) };
        }
        match what {
            "delivered" => {
                let wanted = number()?;
                let waited =
                    timeout(Duration::from_secs(7200), self.next_hop.wait(|seen| seen.messages >= wanted))
                        .await;
                self.settled().await;
                let seen = self.next_hop.counters().messages;
                same(check, wanted, if waited.is_ok() { seen } else { seen.min(wanted.saturating_sub(1)) })
            }
            "queue" => {
                let wanted = number()?;
                let mut seen = u64::MAX;
                for _ in 0..1000 {
                    seen = self.store.stats().await.map_err(|fault| fault.to_string())?.messages;
                    if seen == wanted {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                same(check, wanted, seen)
            }
            "held" => {
                self.settled().await;
                same(check, number()?, self.store.stats().await.map_err(|fault| fault.to_string())?.held)
            }
            "notices" => {
                self.settled().await;
                let notices = self
                    .next_hop
                    .messages()
                    .iter()
                    .filter(|message| message.text().contains("multipart/report"))
                    .count();
                same(check, number()?, notices as u64)
            }
            "delegate recipients" => same(check, number()?, self.delegate.counters().recipients),
            "delegate connections" => same(check, number()?, self.delegate.counters().connections),
            "delegate logins" => {
                let seen = self.delegate.counters();
                same(check, number()?, seen.logins_good + seen.logins_bad)
            }
            "delegate mail" => {
                let seen = self.delegate.counters();
                same(check, number()?, seen.data_commands + seen.violations)
            }
            _ if check == "closed" => match self.reply().await {
                Err(why) if why == "the gateway closed" => Ok(()),
                other => Err(format!("expected the end of the session, got {other:?}")),
            },
            _ => Err(format!("unknown end state `{check}`")),
        }
    }

    /// Lets everything that is due now come to rest.
    async fn settled(&self) {
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn has_message(&self, text: &str, wanted: bool) -> Result<(), String> {
        self.settled().await;
        let text = text.replace("\\r\\n", "\r\n").replace("\\t", "\t");
        let messages = self.next_hop.messages();
        if messages.iter().any(|message| message.text().contains(&text)) == wanted {
            return Ok(());
        }
        let seen: Vec<String> = messages.iter().map(|message| message.text()).collect();
        let queue = self.store.list(QueueFilter::default()).await;
        Err(format!(
            "`{text}` {} in:\n{}\nqueue: {queue:?}",
            if wanted { "not" } else { "found" },
            seen.join("\n----\n")
        ))
    }
}

fn point(name: &str) -> Result<Point, String> {
    Ok(match name {
        "banner" => Point::Banner,
        "ehlo" => Point::Ehlo,
        "starttls" => Point::StartTls,
        "auth" => Point::Auth,
        "mail" => Point::Mail,
        "rcpt" => Point::Rcpt,
        "data" => Point::Data,
        "body" => Point::Body,
        "dot" => Point::Dot,
        "reply" => Point::Reply,
        _ => return Err(format!("unknown point `{name}`")),
    })
}

fn same(check: &str, wanted: u64, seen: u64) -> Result<(), String> {
    if wanted == seen { Ok(()) } else { Err(format!("`{check}`: it is {seen}")) }
}

fn matches(expected: &[String], got: &[String]) -> bool {
    let line = |expected: &String, got: &String| match expected.strip_suffix("...") {
        Some(start) => got.starts_with(start),
        None => expected == got,
    };
    // Some lines of a longer reply, in order, are enough.
    let mut rest = got.iter();
    expected
        .iter()
        .all(|wanted| rest.any(|got| line(wanted, got) || line(&wanted.replacen('-', " ", 1), got)))
}

async fn run(path: &Path, script: &Script) -> Result<(), String> {
    let dir = tempfile::tempdir().map_err(|fault| fault.to_string())?;
    let mut world = World::new(dir.path(), script).await;
    for step in &script.steps {
        let outcome = match &step.act {
            Act::Reply(expected) => match world.reply().await {
                Ok(got) if matches(expected, &got) => Ok(()),
                Ok(got) => Err(format!("expected {expected:?}\n     got {got:?}")),
                Err(why) => Err(format!("expected {expected:?}, but {why}")),
            },
            Act::Write(octets) => match world.client.as_mut() {
                Some(client) => client.write_all(octets).await.map_err(|fault| fault.to_string()),
                None => Err("not connected".to_owned()),
            },
            Act::Wait(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Act::Event(event) => world.event(event).await,
            Act::Check(check) => world.check(check).await,
            Act::Question { .. } => Err("questions are for the machine's rung".to_owned()),
        };
        outcome.map_err(|why| {
            let dialogue = |lines: Vec<vouchsafe_fakes::dialogue::Line>| {
                lines.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
            };
            format!(
                "{}:{}: {why}\n  delegate:\n{}\n  next hop:\n{}",
                path.display(),
                step.line,
                dialogue(world.delegate.dialogue()),
                dialogue(world.next_hop.dialogue())
            )
        })?;
    }
    Ok(())
}

#[test]
fn every_dialogue_of_the_whole_gateway_goes_as_written() {
    let _ = rustls_provider();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../transcripts/e2e");
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("transcripts/e2e")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let (mut failed, mut ran) = (Vec::new(), 0);
    for path in paths.iter().filter(|path| path.to_string_lossy().contains(&only)) {
        let text = std::fs::read_to_string(path).expect("a transcript");
        let script = Script::parse(&text)
            .unwrap_or_else(|bad| panic!("{}:{}: {}", path.display(), bad.line, bad.fault));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        ran += 1;
        if let Err(why) = runtime.block_on(run(path, &script)) {
            failed.push(why);
        }
    }
    assert!(ran > 0, "no transcript matches ONLY={only}");
    assert!(
        failed.is_empty(),
        "{} of {ran} dialogues differ; run one alone with ONLY=name\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}

fn rustls_provider() -> Result<(), Arc<rustls::crypto::CryptoProvider>> {
    rustls::crypto::aws_lc_rs::default_provider().install_default()
}
