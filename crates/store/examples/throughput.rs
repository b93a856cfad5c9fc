//! How many messages a second this machine makes durable, and settles: `cargo run --release -p vouchsafe-store
//! --example throughput -- [DIR] [CALLERS] [SECONDS] [BODY OCTETS]`.
//!
//! Each caller accepts a message claimed, settles it as delivered, and begins again; `Ok` comes after the syncs.

// A measurement that fails may say so by a panic.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vouchsafe_core::policy::{self, Block, Client, Decision};
use vouchsafe_core::ports::{Accepted, Body, History, HistoryEvent, MailStore, RecipientOutcome, Settlement};
use vouchsafe_core::{Envelope, MessageId, Origin, RecipientState, Timestamp};
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath};
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: u64| arguments.get(at).map_or(usual, |text| text.parse().unwrap());
    let dir = std::path::PathBuf::from(arguments.first().map_or("./throughput-data", String::as_str));
    let (callers, seconds, octets) = (number(1, 20), number(2, 5), number(3, 10 * 1024));
    let store = SqliteStore::open(&dir, Arc::new(RealDisk), Options { free_space: 0 }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cpu_before = cpu_microseconds();
    let stop = Arc::new(AtomicBool::new(false));
    let times = runtime.block_on(async {
        let body = Bytes::from(vec![b'x'; usize::try_from(octets).unwrap()]);
        let tasks: Vec<_> =
            (0..callers).map(|_| tokio::spawn(call(store.clone(), body.clone(), stop.clone()))).collect();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for task in tasks {
            times.extend(task.await.unwrap());
        }
        times
    });
    let cpu = cpu_microseconds() - cpu_before;
    let mut times = times;
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
    let count = times.len() as u64;
    println!(
        "{callers} callers, {octets} octets: {} messages/s accepted and settled, accept p50 {:.2} ms p99 {:.2} ms, \
         {} us CPU a message, {} kB at most",
        count / seconds,
        at(50),
        at(99),
        cpu / count.max(1),
        peak_kilobytes()
    );
    drop(store);
    std::fs::remove_dir_all(dir).unwrap();
}

async fn call(store: Arc<SqliteStore>, body: Bytes, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut times = Vec::new();
    let client = Client { authenticated: true, ..Client::default() };
    while !stop.load(Ordering::Relaxed) {
        let id = MessageId(uuid::Uuid::now_v7());
        let now = Timestamp(1);
        let mut envelope = Envelope::new(id, now, origin(), mail());
        let mailbox = Mailbox::parse("recipient@far.example", false).unwrap();
        let Decision::Permit(permit) = policy::decide(&client, &mailbox, Block::None) else {
            panic!("users may relay")
        };
        envelope.add(RcptTo { mailbox, notify: None, orcpt: None }, permit);
        let head = Bytes::from_static(&[b'h'; 200]);
        let accepted = Accepted {
            envelope,
            head,
            body: Body::Memory(body.clone()),
            due: now,
            claim: true,
            detached: None,
            news: None,
        };
        let begun = Instant::now();
        let deliveries = store.accept(accepted).await.unwrap();
        times.push(begun.elapsed());
        store.record(event(id));
        for delivery in deliveries {
            let outcome = RecipientOutcome {
                index: 0,
                state: RecipientState::Delivered,
                reply: "250 2.0.0 ok".to_owned(),
                warned: false,
            };
            let outcomes = vec![outcome];
            let settlement =
                Settlement { delivery: delivery.id, outcomes, next_due: now, attempts: 1, dsn: Vec::new() };
            store.settle(settlement).await.unwrap();
        }
    }
    times
}

fn event(id: MessageId) -> HistoryEvent {
    HistoryEvent {
        at: Timestamp(1),
        session: "0190".to_owned(),
        message: Some(id),
        kind: "delivered".to_owned(),
        sender: "sender@near.example".to_owned(),
        recipient: "recipient@far.example".to_owned(),
        blame: String::new(),
        detail: "250 2.0.0 ok".to_owned(),
    }
}

fn origin() -> Origin {
    Origin {
        session: "0190".to_owned(),
        listener: "submission".to_owned(),
        client: Some("192.0.2.1".parse().unwrap()),
        port: Some(40_123),
        helo: "pc.example".to_owned(),
        esmtp: true,
        login: Some("alice".to_owned()),
        known_sender: true,
        proven: false,
    }
}

fn mail() -> MailFrom {
    MailFrom::new(ReversePath::Mailbox(Mailbox::parse("sender@near.example", false).unwrap()))
}

/// User and system time of this process, in clock ticks of 10 ms.
fn cpu_microseconds() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}

fn peak_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
