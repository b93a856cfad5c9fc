//! What the tests of the real binary share: a folder that stays after a failure, the running gateway, waiting for events.
//!
//! Nothing sleeps for a result: logs are waited for line by line, outside things are asked again until they are so,
//! for a bounded time.

// Each test program uses a part of this.
#![allow(dead_code)]

pub mod haproxy;
pub mod http;
pub mod loopback;
pub mod postfix;
pub mod smtp;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A folder of the test's own, which other users' programs may enter. Kept, and named, if the test fails.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::Builder::new().prefix("vouchsafe-test-").tempdir().expect("a folder").keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).expect("its rights");
        Scratch(folder)
    }
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("its folder");
        std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("kept for you to look at: {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// Lines that a program has written so far.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Log {
    /// Follows `output` to its end.
    pub fn follow(&self, output: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                log.0.0.lock().expect("no holder panics").push(line);
                log.0.1.notify_all();
            }
        });
    }
    /// Waits until `found` gives something for all lines so far.
    pub fn wait<T>(&self, what: &str, found: impl Fn(&[String]) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        let mut lines = self.0.0.lock().expect("no holder panics");
        loop {
            if let Some(found) = found(&lines) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; the log:\n{}", lines.join("\n"));
            lines = self.0.1.wait_timeout(lines, left).expect("no holder panics").0;
        }
    }
    /// Waits until a line holds this.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |lines| lines.iter().any(|line| line.contains(text)).then_some(()));
    }
    pub fn text(&self) -> String {
        self.0.0.lock().expect("no holder panics").join("\n")
    }
}

/// The real binary, serving.
pub struct Gateway {
    pub child: Child,
    pub log: Log,
    /// Listener name and where it listens.
    pub listeners: HashMap<String, SocketAddr>,
}

impl Gateway {
    /// Starts `vouchsafe serve --config FILE` and waits until it is ready.
    pub fn start(config: &Path) -> Gateway {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vouchsafe"));
        command.args(["serve", "--config"]).arg(config);
        Gateway::start_by(command)
    }
    /// Starts by a command that ends up in `vouchsafe serve`.
    pub fn start_by(mut command: Command) -> Gateway {
        // A group of its own: what the command starts (strace starts the gateway) ends with it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Log::default();
        log.follow(child.stderr.take().expect("it is piped"));
        let mut gateway = Gateway { child, log, listeners: HashMap::new() };
        gateway.listeners = gateway.log.wait("the gateway to be ready", |lines| {
            lines
                .iter()
                .any(|line| line.trim_end().ends_with("ready") || line.contains("\"message\":\"ready\""))
                .then(|| lines.iter().filter_map(|line| listening(line)).collect())
        });
        gateway
    }
    pub fn address(&self, listener: &str) -> SocketAddr {
        *self
            .listeners
            .get(listener)
            .unwrap_or_else(|| panic!("no listener {listener}:\n{}", self.log.text()))
    }
    /// kill -9: nothing is flushed, nobody is told.
    pub fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was ours");
    }
    /// SIGTERM, and the end that it promises: exit 0.
    pub fn stop(mut self) {
        terminate(self.child.id());
        let status =
            until("the gateway to end after SIGTERM", || self.child.try_wait().expect("it was ours"));
        assert!(status.success(), "{status}:\n{}", self.log.text());
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log.text());
        }
        // It may have ended already.
        let group = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = group.map(|id| rustix::process::kill_process_group(id, rustix::process::Signal::KILL));
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Name and address in `listening on ADDRESS (KIND NAME)`.
fn listening(line: &str) -> Option<(String, SocketAddr)> {
    let (address, rest) = line.split_once("listening on ")?.1.split_once(" (")?;
    let name = rest.split_once(')')?.0.split_once(' ')?.1;
    Some((name.to_owned(), address.parse().ok()?))
}

/// Sends SIGTERM.
pub fn terminate(id: u32) {
    signal(id, rustix::process::Signal::TERM);
}

/// Sends SIGHUP.
pub fn hang_up(id: u32) {
    signal(id, rustix::process::Signal::HUP);
}

fn signal(id: u32, signal: rustix::process::Signal) {
    let id = rustix::process::Pid::from_raw(i32::try_from(id).expect("a process id")).expect("not 0");
    rustix::process::kill_process(id, signal).expect("it runs");
}

/// Runs a command of the program with these settings; exit code, standard output, standard error.
pub fn cli(config: &Path, words: &str, input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vouchsafe"));
    command.args(words.split(' ')).arg("--config").arg(config);
    finish(command, input)
}

/// Runs a program to its end, with this on its standard input.
pub fn finish(mut command: Command, input: &str) -> (i32, String, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    // A command that reads nothing may be gone already.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    let end = child.wait_with_output().expect("it ends");
    let text = |octets: Vec<u8>| String::from_utf8(octets).expect("output is UTF-8");
    (end.status.code().expect("no signal ended it"), text(end.stdout), text(end.stderr))
}

/// Every file under a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path())
    {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false if entry.is_file() => found.push(entry),
            false => {}
        }
    }
    found
}

/// Asks again until there is an answer.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("it is bound").port()
}

/// Where a program is, or the advice that helps.
pub fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/dovecot"]);
    let mut found = folders.map(|folder| Path::new(folder).join(name)).filter(|path| path.is_file());
    found.next().unwrap_or_else(|| panic!("{name} is missing: `cargo xtask ci` installs it (as root)"))
}
