//! `vouchsafe serve`: settings, store, gateway, signals. SIGHUP or a changed file reloads; SIGTERM and SIGINT drain.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use vouchsafe_config::{Flags, Keeping, Log, LogFormat, Reading, Settings};
use vouchsafe_core::attachments::BlobStore;
use vouchsafe_gateway::gateway::{Gateway, Stores};
use vouchsafe_gateway::stored::SettingsDoor;
use vouchsafe_gateway::supervisor::Supervisor;
use vouchsafe_net::clock::SystemClock;
use vouchsafe_net::dial::TcpDialer;
use vouchsafe_store::disk::RealDisk;
use vouchsafe_store::sqlite::{OpenFault, Options, SqliteStore};

use crate::cli::load;
use crate::web;

/// A bucket answers within this long, or the start goes on without.
const TRY_OUT: Duration = Duration::from_secs(10);
/// How often the settings file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Where the settings come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// `--config`
    pub file: Option<PathBuf>,
    /// What can be said without a file; `data_dir` counts with one, too.
    pub flags: Flags,
}

impl Source {
    /// Reads and checks the settings over this stored text. Faults are lines for the administrator.
    pub fn read_over(&self, stored: &str) -> Result<Reading, Vec<String>> {
        load::read_over(self, stored).map_err(|unread| unread.lines(self))
    }

    /// Reads and checks the settings. Faults are lines for the administrator.
    pub fn read(&self) -> Result<Reading, Vec<String>> {
        load::read(self).map_err(|unread| unread.lines(self))
    }

    fn changed(&self) -> Option<SystemTime> {
        self.file.as_deref().and_then(modified)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|facts| facts.modified()).ok()
}

/// Opens the store in `data_dir` and takes its lock; detached files go where `keeping` says.
pub fn open_stores(data_dir: &Path, free_space: u64, keeping: &Keeping) -> Result<Stores, String> {
    let told = |fault: OpenFault| format!("{}: {fault}", data_dir.display());
    let store = SqliteStore::open(data_dir, Arc::new(RealDisk), Options { free_space }).map_err(told)?;
    let blobs = crate::blobs::open(keeping, data_dir, store.clone())?;
    Ok(Stores::of(store).with_blobs(blobs))
}

/// Runs until a signal says stop.
pub async fn run(source: Source) -> Result<(), String> {
    let mut seen = source.changed();
    let reading = source.read().map_err(|faults| faults.join("\n"))?;
    log(&reading.settings.log)?;
    for notice in &reading.notices {
        tracing::warn!("settings: {notice}");
    }
    let settings = reading.settings;
    if settings.relay.open_relay {
        tracing::warn!("open_relay is on: whoever reaches a listener can send through this gateway");
    }
    let stores = open_stores(&settings.data_dir, settings.limits.free_space, &settings.attachments.keeping)?;
    if let Some(blobs) = &stores.blobs {
        try_out(&**blobs).await;
    }
    let socket = settings.data_dir.join("control.sock");
    let gateway = Gateway::new(settings, stores, Arc::new(TcpDialer::new()), Arc::new(SystemClock::new()));
    let supervisor = Arc::new(Supervisor::new(Arc::clone(&gateway))?);
    let door = Door { source: source.clone(), supervisor: Some(Arc::downgrade(&supervisor)) };
    gateway.stored.set_door(Arc::new(door));
    let stopping = |fault: std::io::Error| format!("signals: {fault}");
    let mut hangup = signal(SignalKind::hangup()).map_err(stopping)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(stopping)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(stopping)?;
    supervisor.start(Some(&socket)).await?;
    let pages = web::start(&gateway, &supervisor);
    for page in &pages {
        eprintln!("vouchsafe: administration page: {page}");
    }
    for page in web::start_downloads(&gateway, &supervisor).await? {
        eprintln!("vouchsafe: download pages: {page}");
    }
    if !pages.is_empty()
        && let Some(password) = first_password(&gateway).await?
    {
        eprintln!("vouchsafe: there is no administrator yet; one-time password for the page: {password}");
    }
    tracing::info!("ready");
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => {
                // A file that was changed and signalled is read once. Its time is taken before it is read.
                seen = source.changed();
                reload(&source, &supervisor);
            }
            () = tokio::time::sleep(LOOK) => {
                let now = source.changed();
                if now != seen && now.is_some() {
                    seen = now;
                    reload(&source, &supervisor);
                }
            }
        }
    }
    tracing::info!("stopping: sessions end at their next command, what is in the queue stays there");
    if !supervisor.stop().await {
        tracing::warn!("some sessions did not end in time and were cut");
    }
    let _ = std::fs::remove_file(&socket);
    tracing::info!("stopped");
    Ok(())
}

/// A bucket that cannot be used is told at the start. Mail goes on: large files are refused for now, `451`.
async fn try_out(blobs: &dyn BlobStore) {
    let tried = tokio::time::timeout(TRY_OUT, blobs.try_out()).await;
    match tried {
        Ok(Ok(())) => {}
        Ok(Err(fault)) => tracing::error!(blame = "us", %fault, "attachments.store cannot be used now"),
        Err(_) => tracing::error!(blame = "us", "attachments.store does not answer"),
    }
}

/// The one-time password of the first run; none where there is an administrator.
pub async fn first_password(gateway: &Gateway) -> Result<Option<String>, String> {
    gateway.admins.first_password().await.map_err(|fault| fault.to_string())
}

/// The way from stored settings to settings in force.
pub struct Door {
    /// The file or the flags.
    pub source: Source,
    /// `None` where no gateway runs: then the next start applies them. Weak: the gateway holds this door, and one that
    /// held itself would never close its store, whose history would be cut.
    pub supervisor: Option<Weak<Supervisor>>,
}

impl SettingsDoor for Door {
    fn read(&self, stored: &str) -> Result<Reading, Vec<String>> {
        self.source.read_over(stored)
    }

    fn apply(&self, settings: Settings) -> Result<(), String> {
        match self.supervisor.as_ref().map(Weak::upgrade) {
            None => Ok(()),
            Some(Some(supervisor)) => supervisor.reload(settings),
            Some(None) => Err("the gateway is stopping; try again after its start".to_owned()),
        }
    }
}

/// A bad file keeps the old settings and logs every fault.
fn reload(source: &Source, supervisor: &Supervisor) {
    let outcome = source.read().and_then(|reading| {
        reading.notices.iter().for_each(|notice| tracing::warn!("settings: {notice}"));
        supervisor.reload(reading.settings).map_err(|fault| vec![fault])
    });
    match outcome {
        Ok(()) => tracing::info!("settings reloaded"),
        Err(faults) => {
            faults.iter().for_each(|fault| tracing::error!(blame = "us", "settings: {fault}"));
            tracing::error!(blame = "us", "settings not reloaded, the old ones stay in force");
        }
    }
}

/// Logs to standard error: plain for people, JSON for machines.
fn log(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|fault| format!("log.level: {fault}"))?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    let started = match log.format {
        LogFormat::Plain => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    started.map_err(|fault| fault.to_string())
}
