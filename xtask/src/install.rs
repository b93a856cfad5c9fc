//! The real peers that the tests talk to, from Debian's packages. Nothing is done where all are in place.
//!
//! Only programs are wanted: the tests bring their own settings, folders and ports, and start what they need.

use crate::run::{root, shown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Program and the package that has it; a name with `::` is a module of Perl, one behind `python3:` of Debian's Python.
const PROGRAMS: &[(&str, &str)] = &[
    ("postfix", "postfix"),
    ("dovecot", "dovecot-core"),
    ("imap-login", "dovecot-imapd"), // a delegate that is asked by IMAP
    ("lmtp", "dovecot-lmtpd"),       // and by LMTP
    ("haproxy", "haproxy"),          // puts PROXY headers before our sessions
    ("swaks", "swaks"),
    ("Net::SSLeay", "libnet-ssleay-perl"),   // swaks speaks TLS by it
    ("Authen::SASL", "libauthen-sasl-perl"), // swaks's DIGEST-MD5
    ("Digest::HMAC_MD5", "libdigest-hmac-perl"),
    ("strace", "strace"),
    ("clamd", "clamav-daemon"), // looks at detached files, with a signature of the tests' own
    ("fail2ban-regex", "fail2ban"), // reads our log with the filter of contrib/
    ("python3", "python3"),
    ("python3:dkim", "python3-dkim"), // verifies our signatures
    ("chromium", "chromium"),         // looks at the administration page
    ("node", "nodejs"),               // drives it
    ("npm", "npm"),
];

/// The same, to be compared with: no test needs them.
const COMPARED: &[(&str, &str)] = &[
    ("nginx", "nginx-light"), // serves the file that our download pages serve
    ("ripmime", "ripmime"),   // takes the files out of the message that we take apart
];

/// What npm is told to install, beside the walk that uses it.
const NPM: &str = "crates/vouchsafe/tests/browser";

/// Folders beside PATH: a plain user's has no `sbin`, and Dovecot keeps its parts to itself.
const SBIN: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/lib/dovecot"];

/// Installs what the tests need.
pub fn peers() -> Result<(), String> {
    programs(&PROGRAMS.iter().map(|(program, _)| *program).collect::<Vec<_>>())?;
    modules()
}

/// Puts npm's packages where the tests look for them, in the versions of the lock file, if they are not there.
fn modules() -> Result<(), String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let (from, to) = (root().join(NPM), root().join(target).join("browser"));
    let fault = |error: std::io::Error| format!("{}: {error}", to.display());
    // npm's own record of what is there is written last.
    let wanted = std::fs::read(from.join("package-lock.json")).map_err(fault)?;
    let same = std::fs::read(to.join("package-lock.json")).is_ok_and(|there| there == wanted);
    if same && to.join("node_modules/.package-lock.json").is_file() {
        return Ok(());
    }
    std::fs::create_dir_all(&to).map_err(fault)?;
    for name in ["package.json", "package-lock.json"] {
        std::fs::copy(from.join(name), to.join(name)).map_err(fault)?;
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix"]).arg(&to);
    shown(&mut npm).map_err(|fault| format!("{fault}; the tests of the page need these packages"))
}

/// Installs what is missing of `wanted`; fails in words where that is not possible.
pub fn programs(wanted: &[&str]) -> Result<(), String> {
    let known = || PROGRAMS.iter().chain(COMPARED);
    let packages: Vec<&str> = known()
        .filter(|(program, _)| wanted.contains(program) && !present(program))
        .map(|(_, package)| *package)
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(" ");
    let advice = format!("{list} is needed: run `apt-get install {list}` as root, then this again");
    if !present("apt-get") {
        return Err(format!("{advice} (no apt-get here: install them your system's way)"));
    }
    let sudo = !is_root();
    if sudo && !can_sudo() {
        return Err(format!("{advice} (we are neither root nor allowed to use sudo without a password)"));
    }
    // Postfix asks at its installation; this answer leaves it without settings, so that no service of the system starts.
    preseed(sudo, "postfix postfix/main_mailer_type select No configuration")?;
    shown(apt(sudo).arg("update").arg("-q"))?;
    shown(apt(sudo).args(["install", "-q", "-y", "--no-install-recommends"]).args(&packages))
        .map_err(|fault| format!("{fault}; {advice}"))?;
    match known().find(|(program, package)| packages.contains(package) && !present(program)) {
        Some((program, package)) => Err(format!("{package} is installed, but {program} is not to be found")),
        None => Ok(()),
    }
}

fn present(program: &str) -> bool {
    if let Some(module) = program.strip_prefix("python3:") {
        // Debian's packages are for its own Python, which need not be the first in PATH.
        let asked = Command::new("/usr/bin/python3")
            .args(["-c", &format!("import {module}")])
            .stderr(Stdio::null())
            .status();
        return asked.is_ok_and(|status| status.success());
    }
    if program.contains("::") {
        let asked =
            Command::new("perl").arg(format!("-M{program}")).args(["-e", "1"]).stderr(Stdio::null()).status();
        return asked.is_ok_and(|status| status.success());
    }
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(SBIN.iter().copied()).any(|folder| Path::new(folder).join(program).is_file())
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

fn can_sudo() -> bool {
    let quiet =
        Command::new("sudo").args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

fn apt(sudo: bool) -> Command {
    let mut command = as_root(sudo, "env");
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}

fn as_root(sudo: bool, program: &str) -> Command {
    if !sudo {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    command.args(["-n", program]);
    command
}

fn preseed(sudo: bool, answer: &str) -> Result<(), String> {
    use std::io::Write;
    let fault = |error: std::io::Error| format!("debconf-set-selections: {error}");
    let mut child = as_root(sudo, "debconf-set-selections").stdin(Stdio::piped()).spawn().map_err(fault)?;
    if let Some(mut stdin) = child.stdin.take() {
        writeln!(stdin, "{answer}").map_err(fault)?;
    }
    match child.wait().map_err(fault)?.success() {
        true => Ok(()),
        false => Err("debconf-set-selections did not take our answer for postfix".to_owned()),
    }
}
