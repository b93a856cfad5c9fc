//! Promise 1 at the real binary: the order of its system calls, and `kill -9` again and again.

mod support;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use support::smtp::Smtp;
use support::{Gateway, PATIENCE, Scratch, program, until};
use tokio::net::TcpListener;
use vouchsafe_fakes::{Action, Fault, NextHop, Point, next_hop::Behaviour, serve_tcp};

/// A next hop on loopback; lives as long as the runtime.
async fn next_hop(behaviour: Behaviour) -> (NextHop, SocketAddr) {
    let next_hop = NextHop::new(behaviour);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(serve_tcp(listener, next_hop.clone()));
    (next_hop, address)
}

fn settings(scratch: &Scratch, next_hop: SocketAddr) -> std::path::PathBuf {
    let data = scratch.path("data");
    scratch.write(
        "vouchsafe.toml",
        &format!(
            r#"
hostname = "gate.example"
data_dir = "{}"

[[listener]]
name = "in"
kind = "trusted"
address = ["127.0.0.1:0"]
tls = "off"

[relay]
next_hop = {{ host = "{next_hop}", tls = "off" }}
trusted_networks = ["127.0.0.1"]

[queue]
retry = ["1s"]
"#,
            data.display()
        ),
    )
}

/// A numbered message whose length and end can be checked.
fn message(seq: u64, octets: usize) -> String {
    let mut body = String::new();
    while body.len() + 80 < octets {
        body += &format!("{seq:012} {}\r\n", "x".repeat(60));
    }
    body += &format!("end of {seq}\r\n");
    format!("X-Seq: {seq}\r\nX-Len: {}\r\nSubject: {seq}\r\n\r\n{body}", body.len())
}

/// One line of `strace -f`: what it did, whether this line begins the call, ends it, or both.
struct Call {
    name: String,
    text: String,
    begins: bool,
    ends: bool,
}

fn calls(trace: &str) -> Vec<Call> {
    let mut open: std::collections::HashMap<String, String> = std::collections::HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let (text, begins, ends) = if let Some(tail) = rest.strip_prefix("<... ") {
            (open.remove(thread).unwrap_or_default() + tail, false, true)
        } else if let Some(head) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread.to_owned(), head.to_owned());
            (head.to_owned(), true, false)
        } else {
            (rest.to_owned(), true, true)
        };
        let name = text.split('(').next().unwrap_or_default().to_owned();
        calls.push(Call { name, text, begins, ends });
    }
    calls
}

/// Runs the gateway under strace, sends one message of about `octets`, gives the calls and the reply to the dot.
fn traced(scratch: &Scratch, config: &Path, octets: usize) -> (Vec<Call>, String) {
    let trace = scratch.path("trace");
    let mut command = Command::new(program("strace"));
    // -y: descriptors with their paths. The strings are cut at 200 octets, which holds our marks and replies.
    command
        .args(["-f", "-y", "-s", "200", "--signal=none", "-e"])
        .arg("trace=fsync,fdatasync,write,writev,pwrite64,pwritev,sendto,sendmsg,openat")
        .arg("-o")
        .arg(&trace)
        .arg(env!("CARGO_BIN_EXE_vouchsafe"))
        .args(["serve", "--config"])
        .arg(config);
    let gateway = Gateway::start_by(command);
    let mut smtp = Smtp::open(gateway.address("in")).expect("it listens");
    let reply = smtp.message("a@example.com", "b@example.org", &message(7, octets)).expect("it is taken");
    assert!(reply.starts_with("250 "), "{reply}");
    let text = until("the reply in the trace", || {
        std::fs::read_to_string(&trace).ok().filter(|text| text.contains(&reply))
    });
    (calls(&text), reply)
}

/// Index of the first call of `names` on a path that contains `path`, at or behind `from`, as it ends.
fn ended(calls: &[Call], names: &[&str], path: &str, from: usize) -> Option<usize> {
    let found = calls.iter().enumerate().skip(from);
    let mut found =
        found.filter(|(_, call)| call.ends && names.contains(&&*call.name) && call.text.contains(path));
    found.next().map(|(index, _)| index)
}

const SYNCS: &[&str] = &["fdatasync", "fsync"];

// covers: promise.kept
#[tokio::test(flavor = "multi_thread")]
async fn strace_shows_body_sync_then_wal_sync_then_the_250() {
    let scratch = Scratch::new();
    let (_next_hop, address) = next_hop(Behaviour::new("next.example")).await;
    let config = settings(&scratch, address);
    let (calls, reply) = tokio::task::block_in_place(|| traced(&scratch, &config, 4096));
    let said =
        calls.iter().position(|call| call.begins && call.text.contains(&reply)).expect("the 250 is there");
    let written = calls
        .iter()
        .position(|call| call.begins && call.text.contains("/segments/") && call.text.contains("X-Seq: 7"))
        .expect("the body is written to a segment");
    let body = ended(&calls, SYNCS, "/segments/", written).expect("the segment is synced");
    let wal = ended(&calls, SYNCS, "/queue.db-wal", body).expect("the WAL is synced behind the segment");
    assert!(
        written < body && body < wal && wal < said,
        "written {written}, body {body}, WAL {wal}, 250 {said}"
    );
}

// covers: promise.kept
#[tokio::test(flavor = "multi_thread")]
async fn strace_shows_that_a_large_body_is_synced_with_its_folder() {
    let scratch = Scratch::new();
    let (_next_hop, address) = next_hop(Behaviour::new("next.example")).await;
    let config = settings(&scratch, address);
    let (calls, reply) = tokio::task::block_in_place(|| traced(&scratch, &config, 1024 * 1024));
    let said =
        calls.iter().position(|call| call.begins && call.text.contains(&reply)).expect("the 250 is there");
    let last = calls[..said]
        .iter()
        .rposition(|call| call.ends && call.text.contains("/bodies/") && call.name.contains("write"))
        .expect("the body has a file of its own");
    let body = ended(&calls, SYNCS, "/bodies/", last).expect("the file is synced");
    let folder = ended(&calls, SYNCS, "/bodies>", body).expect("its folder is synced");
    let wal = ended(&calls, SYNCS, "/queue.db-wal", folder).expect("the WAL is synced behind both");
    assert!(
        body < folder && folder < wal && wal < said,
        "body {body}, folder {folder}, WAL {wal}, 250 {said}"
    );
}

/// What the clients of the kill loop share.
struct Load {
    /// Where the gateway listens now; `None` while it is down.
    address: Mutex<Option<SocketAddr>>,
    changed: Condvar,
    next: AtomicU64,
    acknowledged: Mutex<BTreeSet<u64>>,
    over: AtomicBool,
}

impl Load {
    fn acknowledged(&self) -> usize {
        self.acknowledged.lock().expect("no holder panics").len()
    }
    fn open(&self, address: Option<SocketAddr>) {
        *self.address.lock().expect("no holder panics") = address;
        self.changed.notify_all();
    }
    /// Where to connect; waits while the gateway is down.
    fn address(&self) -> Option<SocketAddr> {
        let mut address = self.address.lock().expect("no holder panics");
        loop {
            if self.over.load(Ordering::Relaxed) {
                return None;
            }
            if address.is_some() {
                return *address;
            }
            address =
                self.changed.wait_timeout(address, Duration::from_millis(100)).expect("no holder panics").0;
        }
    }
    /// One client: numbered messages until it is over; only a 250 counts.
    fn send(&self) {
        while let Some(address) = self.address() {
            let Ok(mut smtp) = Smtp::open(address) else { continue };
            while !self.over.load(Ordering::Relaxed) {
                let seq = self.next.fetch_add(1, Ordering::Relaxed);
                // Some are large enough for a file of their own.
                let octets = if seq.is_multiple_of(40) { 400_000 } else { 3_000 };
                match smtp.message("a@example.com", "b@example.org", &message(seq, octets)) {
                    Ok(reply) if reply.starts_with("250 ") => {
                        self.acknowledged.lock().expect("no holder panics").insert(seq);
                    }
                    Ok(_) => {}
                    Err(_) => break,
                }
            }
        }
    }
}

const KILLS: u32 = 20;
const CLIENTS: usize = 4;
/// Acknowledged messages between two kills.
const BETWEEN: usize = 25;

// covers: promise.kept
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_nothing_and_cut_nothing() {
    let scratch = Scratch::new();
    let cut = Fault::at(Point::Reply, Action::Cut).every(29);
    let behaviour = Behaviour::new("next.example")
        .fault(Fault::at(Point::Dot, Action::Reply("451 4.3.0 Not now".into())).every(17))
        .fault(Fault::at(Point::Body, Action::Cut).every(23))
        .fault(cut.clone());
    let (next_hop, address) = next_hop(behaviour).await;
    let config = settings(&scratch, address);
    let load = Arc::new(Load {
        address: Mutex::new(None),
        changed: Condvar::new(),
        next: AtomicU64::new(0),
        acknowledged: Mutex::default(),
        over: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let load = load.clone();
            std::thread::spawn(move || load.send())
        })
        .collect();
    let start = Instant::now();
    let kills = load.clone();
    let last = tokio::task::spawn_blocking(move || {
        for _ in 0..KILLS {
            let mut gateway = Gateway::start(&config);
            let wanted = kills.acknowledged() + BETWEEN;
            kills.open(Some(gateway.address("in")));
            until("some messages to be taken", || (kills.acknowledged() >= wanted).then_some(()));
            gateway.kill();
            kills.open(None);
        }
        kills.over.store(true, Ordering::Relaxed);
        Gateway::start(&config)
    })
    .await
    .expect("the loop ran");
    assert!(start.elapsed() < Duration::from_secs(60), "twenty kills took {:?}", start.elapsed());
    for client in clients {
        client.join().expect("the client ran");
    }
    let acknowledged = load.acknowledged.lock().expect("no holder panics").clone();
    let sent = load.next.load(Ordering::Relaxed);
    let arrived = tokio::time::timeout(
        PATIENCE,
        next_hop.wait(|_| !next_hop.missing(sent).iter().any(|seq| acknowledged.contains(seq))),
    );
    let counters = arrived.await.unwrap_or_else(|_| {
        let lost: Vec<u64> =
            next_hop.missing(sent).into_iter().filter(|seq| acknowledged.contains(seq)).collect();
        panic!("acknowledged and lost: {lost:?}");
    });
    assert_eq!(counters.partial, 0, "partial messages");
    // A message in flight at a kill, or whose reply was cut, may come again: rather that than a loss (RFC 1047).
    let allowed = u64::from(KILLS) * counters.peak + cut.hits();
    assert!(counters.doubled <= allowed, "{} doubled, {allowed} may be", counters.doubled);
    println!(
        "{} acknowledged, {} arrived, {} doubled of {allowed} that may be, {:?}",
        acknowledged.len(),
        counters.messages,
        counters.doubled,
        start.elapsed()
    );
    tokio::task::block_in_place(|| last.stop());
}
