//! The real clamd with a signature of the tests' own.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the signature finds.
pub const HARMFUL: &[u8] = b"a harmful file, as far as this test goes";
/// What clamd calls it.
pub const NAME: &str = "Vouchsafe.Test.UNOFFICIAL";

/// Longest wait for it to listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs with a database of one signature, and takes 1 MB of a file; ends with this.
pub struct Clamd {
    child: Child,
    socket: PathBuf,
}

impl Clamd {
    /// Starts it in a folder, and waits until it listens.
    pub fn start(dir: &Path) -> Clamd {
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        };
        std::fs::create_dir_all(dir.join("signatures")).expect("a folder for the signature");
        let hex: String = HARMFUL.iter().map(|octet| format!("{octet:02x}")).collect();
        write("signatures/ours.ndb", format!("Vouchsafe.Test:0:*:{hex}\n"));
        let path = dir.display();
        write(
            "clamd.conf",
            format!(
                "LocalSocket {path}/clamd.ctl\nDatabaseDirectory {path}/signatures\nTemporaryDirectory {path}\n\
                 Foreground yes\nStreamMaxLength 1M\n"
            ),
        );
        let mut command = Command::new("/usr/sbin/clamd");
        command.arg(format!("--config-file={path}/clamd.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("clamd is missing: `cargo xtask ci` installs it (as root)");
        let mut clamd = Clamd { child, socket: dir.join("clamd.ctl") };
        let end = Instant::now() + PATIENCE;
        while UnixStream::connect(&clamd.socket).is_err() {
            let ended = clamd.child.try_wait().expect("it was ours");
            assert!(ended.is_none(), "clamd ended before it listened: {ended:?}");
            assert!(Instant::now() < end, "clamd does not listen within a minute");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        clamd
    }

    /// Where it listens, as `attachments.clamd` wants it.
    pub fn address(&self) -> String {
        format!("unix:{}", self.socket.display())
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
