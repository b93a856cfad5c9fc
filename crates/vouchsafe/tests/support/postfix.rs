//! Real Postfix and Dovecot, with settings, queue and ports of their own in the test's folder. Needs root, as they do.

use super::{Scratch, free_port, program, until};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Services that smtpd and delivery need; nothing is chrooted, nothing but the port given is public.
const SERVICES: &str = "\
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
proxymap  unix  - - n - - proxymap
smtp      unix  - - n - - smtp
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
local     unix  - n n - - local
virtual   unix  - n n - - virtual
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
";

/// A running Postfix.
pub struct Postfix {
    program: PathBuf,
    settings: PathBuf,
    log: PathBuf,
    pub port: u16,
}

impl Postfix {
    /// Starts one in the folder `name`; `extra` is added to `main.cf`.
    pub fn start(scratch: &Scratch, name: &str, extra: &str) -> Postfix {
        let postfix = program("postfix");
        let folder = scratch.path(name);
        let (queue, data) = (folder.join("queue"), folder.join("data"));
        for made in [&queue, &data] {
            std::fs::create_dir_all(made).expect("a folder");
        }
        own(&data, "postfix");
        let port = free_port();
        let settings = folder.join("conf");
        let log = folder.join("mail.log");
        scratch.write(
            &format!("{name}/conf/master.cf"),
            &format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}"),
        );
        scratch.write(
            &format!("{name}/conf/main.cf"),
            &format!(
                "compatibility_level = 3.6
queue_directory = {}
data_directory = {}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {}
maillog_file = {}
myhostname = {name}.example
mydestination =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtpd_tls_security_level = may
smtpd_client_connection_rate_limit = 0
{extra}
",
                queue.display(),
                data.display(),
                folder.display(),
                log.display(),
            ),
        );
        let started =
            Command::new(&postfix).arg("-c").arg(&settings).arg("start").output().expect("postfix runs");
        let server = Postfix { program: postfix, settings, log, port };
        assert!(started.status.success(), "{}{}", String::from_utf8_lossy(&started.stderr), server.log());
        until(&format!("{name} to listen"), || TcpStream::connect(("127.0.0.1", port)).ok());
        server
    }
    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
    /// Ends it; connections are refused from here on.
    pub fn stop(&self) {
        let stopped = Command::new(&self.program).arg("-c").arg(&self.settings).arg("stop").output();
        // At the end of a test it may have been stopped before.
        if stopped.is_ok_and(|stopped| stopped.status.success()) {
            until("postfix to end", || TcpStream::connect(("127.0.0.1", self.port)).is_err().then_some(()));
        }
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.settings.display(), self.log());
        }
        let stopped = Command::new(&self.program).arg("-c").arg(&self.settings).arg("stop").output();
        drop(stopped);
    }
}

/// A running Dovecot that answers SASL questions only.
pub struct Dovecot {
    child: Child,
    /// Where Postfix asks.
    pub socket: PathBuf,
}

impl Dovecot {
    /// Starts one that knows these names and passwords.
    pub fn start(scratch: &Scratch, users: &[(&str, &str)]) -> Dovecot {
        Dovecot::start_with(scratch, users, "plain login", "protocols =\nssl = no\n")
    }
    /// Starts one that takes these mechanisms; `more` is added to its settings.
    pub fn start_with(scratch: &Scratch, users: &[(&str, &str)], mechanisms: &str, more: &str) -> Dovecot {
        let dovecot = program("dovecot");
        let folder = scratch.path("dovecot");
        let socket = folder.join("auth.sock");
        let list: String =
            users.iter().map(|(name, password)| format!("{name}:{{PLAIN}}{password}\n")).collect();
        let users = scratch.write("dovecot/users", &list);
        let settings = scratch.write(
            "dovecot/dovecot.conf",
            &format!(
                "base_dir = {0}/run
state_dir = {0}/state
log_path = {0}/log
disable_plaintext_auth = no
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
passdb {{
  driver = passwd-file
  mechanisms = plain login cram-md5 digest-md5 scram-sha-1 scram-sha-256
  args = username_format=%u {1}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={0}
}}
service auth {{
  unix_listener {2} {{
    mode = 0666
  }}
}}
{more}",
                folder.display(),
                users.display(),
                socket.display()
            ),
        );
        let child = Command::new(dovecot)
            .arg("-F")
            .arg("-c")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dovecot runs");
        let log = folder.join("log");
        let dovecot = Dovecot { child, socket };
        until("dovecot to answer", || {
            use std::os::unix::net::UnixStream;
            UnixStream::connect(&dovecot.socket).ok().or_else(|| {
                let log = std::fs::read_to_string(&log).unwrap_or_default();
                assert!(!log.contains("Fatal:"), "{log}");
                None
            })
        });
        dovecot
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        // Its master ends its children on SIGTERM.
        super::terminate(self.child.id());
        let _ = self.child.wait();
    }
}

/// Gives a file or folder to a user of the system.
pub fn own(path: &Path, user: &str) {
    let done = Command::new("chown").arg(user).arg(path).output().expect("chown runs");
    assert!(
        done.status.success(),
        "these tests start real servers and need root: {}",
        String::from_utf8_lossy(&done.stderr)
    );
}
