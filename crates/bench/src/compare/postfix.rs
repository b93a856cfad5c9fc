//! Postfix as the peer: the real one, settings and queue in the run's folder, tuned for this load: no DNS, no client
//! limits, no delay on a busy queue, many deliveries at once.

use crate::Outcome;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tokio::net::TcpStream;

/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its services; nothing is chrooted, only the load's port is public.
const SERVICES: &str = "\
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
";

/// A running Postfix; stopped when dropped.
pub struct Running {
    settings: PathBuf,
    /// Its master.
    pub pid: u32,
    /// Where it takes messages.
    pub address: SocketAddr,
}

/// Starts it and waits until it listens.
pub async fn start(folder: &Path, next_hop: SocketAddr) -> Outcome<Running> {
    let at = folder.join("postfix");
    let fault = |error: std::io::Error| format!("{}: {error}", at.display());
    let settings = at.join("conf");
    for made in ["conf", "queue", "data"] {
        std::fs::create_dir_all(at.join(made)).map_err(fault)?;
    }
    // Its services run as another user and must come in.
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).map_err(fault)?;
    command(Command::new("chown").arg("postfix").arg(at.join("data")))?;
    let address = super::free_address().await.map_err(fault)?;
    let port = address.port();
    std::fs::write(settings.join("master.cf"), format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}"))
        .map_err(fault)?;
    let main = format!(
        "compatibility_level = 3.6
queue_directory = {0}/queue
data_directory = {0}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {0}
maillog_file = {0}/mail.log
myhostname = postfix.bench.example
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [{1}]:{2}
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtp_host_lookup = native
smtpd_client_connection_count_limit = 0
smtpd_client_connection_rate_limit = 0
default_process_limit = 200
default_destination_concurrency_limit = 50
initial_destination_concurrency = 50
in_flow_delay = 0s
message_size_limit = 0
",
        at.display(),
        next_hop.ip(),
        next_hop.port()
    );
    std::fs::write(settings.join("main.cf"), main).map_err(fault)?;
    command(Command::new(program()).arg("-c").arg(&settings).arg("start"))?;
    let mut running = Running { settings, pid: 0, address };
    let end = tokio::time::Instant::now() + PATIENCE;
    let mut times = tokio::time::interval(Duration::from_millis(50));
    while TcpStream::connect(address).await.is_err() {
        if tokio::time::Instant::now() > end {
            return Err(format!("postfix does not listen; see {}/mail.log", at.display()));
        }
        times.tick().await;
    }
    let pid = std::fs::read_to_string(at.join("queue/pid/master.pid")).map_err(fault)?;
    running.pid = pid.trim().parse().map_err(|_| "postfix tells no process id")?;
    Ok(running)
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has been measured; a Postfix that ended by itself is no fault of the run.
        let _ = command(Command::new(program()).arg("-c").arg(&self.settings).arg("stop"));
    }
}

/// A plain user's PATH has no `sbin`.
fn program() -> &'static str {
    if Path::new("/usr/sbin/postfix").exists() { "/usr/sbin/postfix" } else { "postfix" }
}

fn command(command: &mut Command) -> Outcome {
    let out =
        command.output().map_err(|error| format!("{command:?}: {error} (postfix is needed, and root)"))?;
    match out.status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&out.stderr).trim())),
    }
}
