//! Real peers around the real binary: Postfix with Dovecot SASL as delegate, Postfix as next hop, swaks and Python's
//! smtplib as clients. Both flows under TLS on every side, then the delegate goes away.
//! `cargo xtask ci` installs the programs; root is needed, as Postfix and Dovecot need it.

mod support;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use support::postfix::{Dovecot, Postfix, own};
use support::{Gateway, Scratch, program, until};
use vouchsafe_fakes::tls::SelfSigned;

/// Passwords that must never be found on disk or in a log.
const PASSWORDS: &[(&str, &str)] =
    &[("alice@example.com", "correct-horse-41"), ("dave@example.com", "battery-staple-42")];
const WRONG: &str = "wrong-donkey-43";

/// All servers of a test, and what ties them together. Fields end in this order.
struct World {
    gateway: Gateway,
    delegate: Postfix,
    next_hop: Postfix,
    _dovecot: Dovecot,
    scratch: Scratch,
}

impl World {
    fn start() -> World {
        for name in ["swaks", "python3", "postfix", "dovecot"] {
            program(name);
        }
        let scratch = Scratch::new();
        let dovecot = Dovecot::start(&scratch, PASSWORDS);
        let (asked, taking) = (identity("delegate.example"), identity("next.example"));
        let chain =
            |name: &str, identity: &SelfSigned| scratch.write(name, &identity.pem).display().to_string();
        let known = "inline:{ {alice@example.com = x}, {bob@example.com = x}, {carol@example.com = x} }";
        let delegate = Postfix::start(
            &scratch,
            "delegate",
            &format!(
                "smtpd_tls_chain_files = {}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {}
smtpd_sasl_security_options = noanonymous
virtual_mailbox_domains = example.com
virtual_mailbox_maps = {known}
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =
virtual_transport = discard:",
                chain("delegate.pem", &asked),
                dovecot.socket.display()
            ),
        );
        let mail = scratch.path("mail");
        std::fs::create_dir_all(&mail).expect("a folder");
        own(&mail, "65534");
        let next_hop = Postfix::start(
            &scratch,
            "next",
            &format!(
                "smtpd_tls_chain_files = {}
virtual_mailbox_domains = example.com, far.example
virtual_mailbox_maps = static:inbox
virtual_mailbox_base = {}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =",
                chain("next.pem", &taking),
                mail.display()
            ),
        );
        let config = scratch.write(
            "vouchsafe.toml",
            &format!(
                r#"
hostname = "gate.example"
data_dir = "{data}"
log = {{ level = "debug" }}

[[listener]]
name = "mx"
kind = "mx"
address = ["127.0.0.1:0"]
tls = "starttls"

[[listener]]
name = "submission"
kind = "submission"
address = ["127.0.0.1:0"]
tls = "starttls"
auth_without_tls = "never"

[delegate.office]
auth = {{ host = "127.0.0.1:{asked}", tls = "{asked_pin}" }}
recipients = {{ host = "127.0.0.1:{asked}", tls = "{asked_pin}" }}

[[domain]]
name = "example.com"
recipients = ["delegate:office"]
next_hop = {{ host = "127.0.0.1:{taking}", tls = "{taking_pin}" }}

[relay]
logins = "delegate:office"
next_hop = {{ host = "127.0.0.1:{taking}", tls = "{taking_pin}" }}
"#,
                data = scratch.path("data").display(),
                asked = delegate.port,
                asked_pin = asked.setting(),
                taking = next_hop.port,
                taking_pin = taking.setting(),
            ),
        );
        let gateway = Gateway::start(&config);
        World { gateway, delegate, next_hop, _dovecot: dovecot, scratch }
    }

    /// Waits until the next hop has put a message with this text into the mailbox; the whole mailbox.
    fn delivered(&self, text: &str) -> String {
        let inbox = self.scratch.path("mail/inbox");
        until(&format!("{text} in the mailbox"), || {
            let mail = std::fs::read(&inbox).ok().map(|mail| String::from_utf8_lossy(&mail).into_owned());
            mail.filter(|mail| mail.contains(text))
        })
    }
}

fn identity(name: &str) -> SelfSigned {
    SelfSigned::new(name).expect("a certificate")
}

/// Runs swaks; the dialogue it prints.
fn swaks(address: SocketAddr, words: &[&str]) -> String {
    let port = address.port().to_string();
    let out = Command::new(program("swaks"))
        .args([
            "--server",
            "127.0.0.1",
            "--port",
            &port,
            "--helo",
            "client.example",
            "--tls",
            "--timeout",
            "60",
        ])
        .args(words)
        .output()
        .expect("swaks runs");
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// Runs a script of Python with the address as arguments; what it prints.
fn python(address: SocketAddr, script: &str) -> String {
    let out = Command::new(program("python3"))
        .args(["-c", script, &address.ip().to_string(), &address.port().to_string()])
        .output()
        .expect("python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const PYTHON_OUTBOUND: &str = r#"
import smtplib, ssl, sys
smtp = smtplib.SMTP(sys.argv[1], int(sys.argv[2]), local_hostname="client.example", timeout=60)
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
smtp.starttls(context=context)
try:
    smtp.login("alice@example.com", "wrong-donkey-43")
except smtplib.SMTPAuthenticationError as refused:
    print(refused.smtp_code)
smtp.login("dave@example.com", "battery-staple-42")
print(smtp.sendmail("dave@example.com", ["someone@far.example"], "Subject: python outbound\r\n\r\n.dot\r\n"))
smtp.quit()
"#;

const PYTHON_INBOUND: &str = r#"
import smtplib, ssl, sys
smtp = smtplib.SMTP(sys.argv[1], int(sys.argv[2]), local_hostname="client.example", timeout=60)
context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE
smtp.starttls(context=context)
refused = smtp.sendmail("stranger@far.example", ["bob@example.com", "nobody@example.com"], "Subject: python inbound\r\n\r\nhello\r\n")
print(refused["nobody@example.com"][0], len(refused))
smtp.quit()
"#;

/// Files under `folder` that hold one of the passwords, as it is or as a client encodes it.
fn holding_passwords(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            holding_passwords(&entry, found);
        } else if entry.is_file() {
            let octets = std::fs::read(&entry).expect("a file");
            found.extend(passwords_in(&octets).map(|password| format!("{}: {password}", entry.display())));
        }
    }
}

fn passwords_in(octets: &[u8]) -> impl Iterator<Item = &'static str> {
    let text = String::from_utf8_lossy(octets).into_owned();
    let all = PASSWORDS.iter().map(|(_, password)| *password).chain([WRONG]);
    all.filter(move |password| {
        let encoded = vouchsafe_smtp::sasl::encode_base64(password.as_bytes());
        text.contains(password) || text.contains(encoded.trim_end_matches('='))
    })
}

// covers: promise.kept, promise.secret, promise.three_valued, facts6.1, facts6.7
#[test]
fn both_flows_with_real_peers_under_tls() {
    let world = World::start();
    let (mx, submission) = (world.gateway.address("mx"), world.gateway.address("submission"));
    let (alice, right) = PASSWORDS[0];
    let outbound = |subject: &str, words: &[&str]| {
        let subject = format!("Subject: {subject}");
        let mut all =
            vec!["--from", alice, "--to", "someone@far.example", "--header", &*subject, "--auth-user", alice];
        all.extend_from_slice(words);
        swaks(submission, &all)
    };

    // Outbound: the delegate's word on the login decides, for both mechanisms.
    let said = outbound("swaks plain", &["--auth", "PLAIN", "--auth-password", right]);
    assert!(said.contains("<~  235 "), "{said}");
    let said = outbound("swaks login", &["--auth", "LOGIN", "--auth-password", right]);
    assert!(said.contains("<~  235 "), "{said}");
    let said = outbound("never", &["--auth", "PLAIN", "--auth-password", WRONG]);
    assert!(said.contains("<~* 535 "), "{said}");
    let said = python(submission, PYTHON_OUTBOUND);
    assert_eq!(said, "535\n{}\n", "{said}");
    for subject in ["swaks plain", "swaks login", "python outbound"] {
        let mail = world.delivered(&format!("Subject: {subject}"));
        assert!(mail.contains("with ESMTPSA"), "{mail}");
    }

    // Inbound: the delegate's word on the recipient decides.
    let inbound = |to: &str| {
        let subject = format!("Subject: swaks to {to}");
        swaks(mx, &["--from", "stranger@far.example", "--to", to, "--header", &subject])
    };
    let said = inbound("bob@example.com");
    assert!(said.contains("~> RCPT TO:<bob@example.com>\n<~  250 "), "{said}");
    let said = inbound("nobody@example.com");
    assert!(said.contains("~> RCPT TO:<nobody@example.com>\n<~* 550 5.1.1"), "{said}");
    let said = inbound("someone@far.example");
    assert!(said.contains("<~* 550 5.7.1"), "{said}");
    let said = python(mx, PYTHON_INBOUND);
    assert_eq!(said, "550 1\n");
    world.delivered("Subject: swaks to bob@example.com");
    let mail = world.delivered("Subject: python inbound");
    assert!(!mail.contains("nobody@example.com") && !mail.contains("Subject: never"), "{mail}");

    // No message went through the delegate.
    assert!(!world.delegate.log().contains("status="), "{}", world.delegate.log());
    assert!(world.next_hop.log().contains("status=sent"), "{}", world.next_hop.log());

    // Without the delegate nothing is refused for good: 451 and 454, never 550 and 535.
    world.delegate.stop();
    let said = inbound("carol@example.com");
    assert!(said.contains("<~* 451 "), "{said}");
    let said = outbound("never", &["--auth", "PLAIN", "--auth-password", "another-mule-44"]);
    assert!(said.contains("<~* 454 "), "{said}");

    // Promise 4: no password anywhere, in the log at its most talkative neither.
    let mut found = Vec::new();
    holding_passwords(&world.scratch.path("data"), &mut found);
    found
        .extend(passwords_in(world.gateway.log.text().as_bytes()).map(|password| format!("log: {password}")));
    assert!(found.is_empty(), "{found:?}");
    let World { gateway, .. } = world;
    gateway.stop();
}
