//! The gateway under test: the real binary, settings and queue in the run's folder, one listener.

use crate::Outcome;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// Longest wait for it to be ready, and to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running gateway; killed when dropped.
pub struct Running {
    child: Child,
    log: PathBuf,
    /// Where it takes messages.
    pub address: SocketAddr,
}

/// Settings of a gateway that takes mail from this machine and relays all of it.
pub fn relaying(next_hop: SocketAddr) -> String {
    format!(
        r#"[[listener]]
name = "load"
kind = "trusted"
address = ["127.0.0.1:0"]
tls = "starttls"

[relay]
next_hop = {{ host = "{next_hop}", tls = "off" }}
trusted_networks = ["127.0.0.1"]
"#
    )
}

/// Starts it with these settings and waits until it is ready.
pub async fn start(binary: &Path, folder: &Path, settings: &str) -> Outcome<Running> {
    start_serving(binary, folder, settings, "").await
}

/// The same, with further lines of `[web]`.
pub async fn start_serving(binary: &Path, folder: &Path, settings: &str, web: &str) -> Outcome<Running> {
    let text = format!(
        "hostname = \"gate.bench.example\"\ndata_dir = \"{}\"\n\n{settings}\n[limits]\nsessions_per_address = 10000\n\n\
         [web]\naddress = \"127.0.0.1:0\"\n{web}",
        folder.join("vouchsafe").display()
    );
    let settings = folder.join("vouchsafe.toml");
    std::fs::write(&settings, text).map_err(|error| format!("{}: {error}", settings.display()))?;
    // Its log at its default level goes where a service's would: to a file.
    let log = folder.join("vouchsafe.log");
    let file = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let child = Command::new(binary)
        .args(["serve", "--config"])
        .arg(&settings)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary.display()))?;
    let mut running = Running { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut times = tokio::time::interval(Duration::from_millis(20));
    loop {
        times.tick().await;
        let said = std::fs::read_to_string(&running.log).unwrap_or_default();
        if said.lines().any(|line| line.trim_end().ends_with("ready")) {
            let address = said.split_once("listening on ").and_then(|(_, rest)| rest.split(' ').next());
            running.address =
                address.and_then(|address| address.parse().ok()).ok_or("the gateway listens nowhere")?;
            return Ok(running);
        }
        let ended = running.child.try_wait().map_err(|error| format!("the gateway: {error}"))?;
        if ended.is_some() || tokio::time::Instant::now() > end {
            return Err(format!("the gateway does not serve:\n{said}"));
        }
    }
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
    /// Where its administration page is, and the one-time password for it.
    pub fn page(&self) -> Outcome<(SocketAddr, String)> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let after =
            |mark: &str| said.lines().find_map(|line| Some(line.split_once(mark)?.1.trim().to_owned()));
        let page = after("administration page: http://").and_then(|at| at.trim_end_matches('/').parse().ok());
        let once = after("one-time password for the page: ");
        page.zip(once).ok_or_else(|| "the gateway serves no administration page".to_owned())
    }
    /// What it has warned of.
    pub fn warnings(&self) -> Vec<String> {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        said.lines()
            .filter(|line| line.contains(" WARN ") || line.contains("ERROR "))
            .map(str::to_owned)
            .collect()
    }
    /// SIGTERM, and its end.
    pub async fn stop(mut self) -> Outcome {
        let id = i32::try_from(self.pid()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            rustix::process::kill_process(id, rustix::process::Signal::TERM)
                .map_err(|error| error.to_string())?;
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        match ended.map_err(|_| "the gateway did not end after SIGTERM")? {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("the gateway ended with {status}")),
            Err(error) => Err(format!("the gateway: {error}")),
        }
    }
}
