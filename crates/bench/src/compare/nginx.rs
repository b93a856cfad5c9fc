//! nginx as the peer of the download pages: the same file from the same disk, settings in the run's folder. Without `sendfile`,
//! which no server has that looks at what it sends, or sends it over TLS.

use crate::Outcome;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running nginx; killed when dropped, workers with it.
pub struct Running {
    child: Child,
    /// Where it serves in clear, and over TLS.
    pub clear: SocketAddr,
    /// Over TLS.
    pub tls: SocketAddr,
}

/// Serves what is below `root`, with this key and certificate as PEM.
pub async fn start(folder: &Path, root: &Path, pem: &str) -> Outcome<Running> {
    let at = folder.join("nginx");
    let fault = |error: std::io::Error| format!("{}: {error}", at.display());
    std::fs::create_dir_all(&at).map_err(fault)?;
    std::fs::write(at.join("identity.pem"), pem).map_err(fault)?;
    let (clear, tls) =
        (super::free_address().await.map_err(fault)?, super::free_address().await.map_err(fault)?);
    let settings = at.join("nginx.conf");
    // One process, which also ends with us: a download is one connection, and so one worker's.
    let text = format!(
        "daemon off;
master_process off;
pid {0}/pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {0}/body;
  proxy_temp_path {0}/proxy;
  fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi;
  scgi_temp_path {0}/scgi;
  default_type application/octet-stream;
  sendfile off;
  root {1};
  ssl_certificate {0}/identity.pem;
  ssl_certificate_key {0}/identity.pem;
  server {{ listen {clear}; }}
  server {{ listen {tls} ssl; }}
}}
",
        at.display(),
        root.display()
    );
    std::fs::write(&settings, text).map_err(fault)?;
    let log = at.join("nginx.log");
    let file = std::fs::File::create(&log).map_err(fault)?;
    let child = Command::new(program())
        .arg("-c")
        .arg(&settings)
        .arg("-p")
        .arg(&at)
        .stdin(Stdio::null())
        .stderr(file)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("nginx: {error}"))?;
    let mut running = Running { child, clear, tls };
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut times = tokio::time::interval(Duration::from_millis(50));
    while TcpStream::connect(tls).await.is_err() {
        let ended = running.child.try_wait().map_err(fault)?.is_some();
        if ended || tokio::time::Instant::now() > end {
            return Err(format!(
                "nginx does not serve:\n{}",
                std::fs::read_to_string(&log).unwrap_or_default()
            ));
        }
        times.tick().await;
    }
    Ok(running)
}

impl Running {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// A plain user's PATH has no `sbin`.
fn program() -> PathBuf {
    let usual = Path::new("/usr/sbin/nginx");
    if usual.exists() { usual.to_owned() } else { PathBuf::from("nginx") }
}
