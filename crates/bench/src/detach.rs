//! Attachments out of a message, file to file: what reception does with the octets between the socket and the queue, by its own
//! code, with digests and syncs, and nothing around it.

use crate::Outcome;
use crate::args::Detach;
use crate::figures::Figures;
use crate::made::Made;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use vouchsafe_core::detach::{Limits, Rules};
use vouchsafe_core::headers::Fix;
use vouchsafe_core::ports::MailStore;
use vouchsafe_gateway::intake::{self, Budget, Intake};
use vouchsafe_store::blobs::Blobs;
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{Options, SqliteStore};

/// Octets read at once: as many as reception takes from a socket.
const READ: usize = 64 * 1024;
/// Octets of attachments in memory, as the gateway has it.
const BUDGET: u64 = 64 << 20;

/// Makes the message, if none was given, and takes it apart.
pub async fn run(detach: &Detach) -> Outcome<Figures> {
    let folder = crate::compare::folder(detach.folder.as_deref())?;
    let made = folder.path().join("message.eml");
    let message = match &detach.message {
        Some(message) => message,
        None => {
            let pieces = Made::new("user1@bench.example", detach.size, detach.parts);
            write(&made, pieces.pieces()).map_err(|error| format!("{}: {error}", made.display()))?;
            &made
        }
    };
    strip(message, folder.path()).await
}

/// Writes a file of these pieces.
pub fn write<P: AsRef<[u8]>>(path: &Path, pieces: impl Iterator<Item = P>) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    for piece in pieces {
        file.write_all(piece.as_ref())?;
    }
    // What is measured afterwards shall not wait for these octets' way to the disk.
    file.sync_data()
}

/// Takes the message apart into a store below `folder`.
pub async fn strip(message: &Path, folder: &Path) -> Outcome<Figures> {
    let fault = |error: std::io::Error| format!("{}: {error}", message.display());
    let data = folder.join("data");
    let store = SqliteStore::open(&data, Arc::new(RealDisk), Options { free_space: 0 });
    let store: Arc<dyn MailStore> = store.map_err(|error| error.to_string())?;
    let blobs = Blobs::files(Arc::new(RealDisk), &data.join("blobs")).map_err(|error| error.to_string())?;
    let mut file = File::open(message).map_err(fault)?;
    let start = Instant::now();
    let limits = Limits { part_over: 5_000_000, message_over: 20_000_000 };
    let rules = Rules { limits, include: Vec::new(), exclude: Vec::new() };
    let reservation = store.reserve(0, false).map_err(|error| error.to_string())?;
    let mut intake = Intake::new(
        Arc::clone(&store),
        Budget::new(BUDGET),
        (reservation, 0),
        Fix::Submission,
        100,
        "gate.bench.example",
        Some(intake::Detach { blobs, rules, keep_raw: false }),
    );
    let mut buffer = vec![0; READ];
    let refused = |reply: vouchsafe_smtp::Reply| format!("the message was not taken: {reply}");
    loop {
        let count = file.read(&mut buffer).map_err(fault)?;
        if count == 0 {
            break;
        }
        intake.push(&buffer[..count]).map_err(refused)?;
        if intake.is_full() {
            intake.flush().await.map_err(refused)?;
        }
    }
    let finished = intake.finish().await.map_err(|error| error.to_string())?;
    let files = finished.at_rest().await.map_err(|error| error.to_string())?;
    let took = start.elapsed();
    let octets: u64 = files.iter().map(|blob| blob.len).sum();
    let mut figures = Figures { done: files.len() as u64, took, ..Figures::of("attachments taken out") };
    figures.notes.push(format!("{octets} octets, {:.0} MB/s", octets as f64 / 1e6 / took.as_secs_f64()));
    Ok(figures)
}
