//! Every mechanism that real Dovecot can offer behind real Postfix, through the real binary: swaks, Python's smtplib and a
//! SCRAM library as clients; then the same users at Dovecot's own IMAP over TLS.
//! `cargo xtask ci` installs the programs; root is needed, as Postfix and Dovecot need it.

mod support;

use std::net::SocketAddr;
use std::process::Command;

use rsasl::prelude::{Mechname, SASLClient, SASLConfig, State};
use support::postfix::{Dovecot, Postfix};
use support::smtp::Smtp;
use support::{Gateway, Scratch, program};
use vouchsafe_fakes::tls::SelfSigned;
use vouchsafe_smtp::sasl::{decode_base64, encode_base64};

const USER: &str = "alice@example.com";
const PASSWORD: &str = "correct-horse-41";
const WRONG: &str = "wrong-donkey-43";
/// All that Dovecot 2.3.19 has and we can pass on (NTLM went with 2.3.13).
const MECHANISMS: &str = "PLAIN LOGIN XOAUTH2 OAUTHBEARER CRAM-MD5 DIGEST-MD5 SCRAM-SHA-1 SCRAM-SHA-256";

fn config(scratch: &Scratch, delegate: &str, mechanisms: &str) -> std::path::PathBuf {
    let list: Vec<String> = mechanisms.split(' ').map(|name| format!("{name:?}")).collect();
    scratch.write(
        "vouchsafe.toml",
        &format!(
            r#"
hostname = "gate.example"
data_dir = "{data}"
log = {{ level = "debug" }}

[[listener]]
name = "submission"
kind = "submission"
address = ["127.0.0.1:0"]
tls = "off"

[delegate.office]
auth = {delegate}
recipients = "127.0.0.1:9"
mechanisms = [{list}]

# More wrong logins than people have.
[guard]
account = {{ failures = 100, quiet = "35m" }}

[relay]
next_hop = "127.0.0.1:9"

[web]
address = "127.0.0.1:0"
"#,
            data = scratch.path("data").display(),
            list = list.join(", "),
        ),
    )
}

/// Settings of Dovecot that take tokens signed with a key of the test's own, and the token of [`USER`].
fn tokens(scratch: &Scratch) -> (String, String) {
    let key = encode_base64(b"a key of this test, and of nothing else");
    scratch.write("keys/default/HS256/default", &key);
    let settings = scratch.write(
        "dovecot/oauth2.conf",
        &format!(
            "introspection_mode = local\nlocal_validation_key_dict = fs:posix:prefix={}/\nusername_attribute = sub\n",
            scratch.path("keys").display()
        ),
    );
    let script = r#"
import base64, hashlib, hmac, json, sys, time
def part(octets): return base64.urlsafe_b64encode(octets).rstrip(b"=")
now = int(time.time())
body = {"sub": sys.argv[1], "iat": now - 60, "nbf": now - 60, "exp": now + 3600}
text = part(b'{"typ":"JWT","alg":"HS256"}') + b"." + part(json.dumps(body).encode())
key = b"a key of this test, and of nothing else"
print((text + b"." + part(hmac.new(key, text, hashlib.sha256).digest())).decode())
"#;
    let token = run("python3", &["-c", script, USER]);
    let more = format!(
        "passdb {{\n  driver = oauth2\n  mechanisms = xoauth2 oauthbearer\n  args = {}\n}}\n",
        settings.display()
    );
    (more, token.trim().to_owned())
}

fn run(name: &str, words: &[&str]) -> String {
    let out = Command::new(program(name)).args(words).output().expect("it runs");
    String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned()
}

/// swaks logs in and leaves.
fn swaks(address: SocketAddr, mechanism: &str, password: &str) -> String {
    let port = address.port().to_string();
    run(
        "swaks",
        &[
            "--server",
            "127.0.0.1",
            "--port",
            &port,
            "--helo",
            "client.example",
            "--timeout",
            "60",
            "--from",
            USER,
            "--to",
            USER,
            "--quit-after",
            "AUTH",
            "--auth",
            mechanism,
            "--auth-user",
            USER,
            "--auth-password",
            password,
        ],
    )
}

const PYTHON: &str = r#"
import smtplib, sys
for mechanism in ["cram_md5", "plain", "login"]:
    for password in sys.argv[4:]:
        smtp = smtplib.SMTP(sys.argv[1], int(sys.argv[2]), local_hostname="client.example", timeout=60)
        smtp.ehlo(); smtp.user, smtp.password = sys.argv[3], password
        name = mechanism.upper().replace("_", "-")
        try:
            code = smtp.auth(name, getattr(smtp, "auth_" + mechanism))[0]
        except smtplib.SMTPAuthenticationError as refused:
            code = refused.smtp_code
        print(name, code); smtp.quit()
"#;

/// A SCRAM library logs in; the final reply. It checks the server's proof, so that it knows whom it talks to.
fn scram(address: SocketAddr, mechanism: &str, password: &str, initial: bool) -> String {
    let config =
        SASLConfig::with_credentials(None, USER.to_owned(), password.to_owned()).expect("credentials");
    let offered = Mechname::parse(mechanism.as_bytes()).expect("a mechanism");
    let mut session = SASLClient::new(config).start_suggested(&[offered]).expect("it knows the mechanism");
    let mut smtp = Smtp::open(address).expect("a session");
    let mut said = Vec::new();
    let mut state = session.step(None, &mut said).expect("its first message");
    let mut reply = if initial {
        smtp.command(&format!("AUTH {mechanism} {}", encode_base64(&said)))
    } else {
        assert_eq!(smtp.command(&format!("AUTH {mechanism}")).expect("a reply"), "334");
        smtp.command(&encode_base64(&said))
    }
    .expect("a reply");
    while let Some(challenge) = reply.strip_prefix("334") {
        let challenge = decode_base64(challenge.trim().as_bytes()).expect("base64");
        said.clear();
        state = session.step(Some(challenge.expose()), &mut said).expect("the proof is right");
        reply = smtp.command(&encode_base64(&said)).expect("a reply");
    }
    assert!(!reply.starts_with("235") || matches!(state, State::Finished(_)), "{state:?}");
    reply
}

/// A token, and the dummy response where the delegate says why not.
fn bearer(address: SocketAddr, mechanism: &str, token: &str) -> Vec<String> {
    let (response, dummy) = match mechanism {
        "XOAUTH2" => (format!("user={USER}\x01auth=Bearer {token}\x01\x01"), ""),
        _ => (format!("n,a={USER},\x01auth=Bearer {token}\x01\x01"), "AQ=="),
    };
    let mut smtp = Smtp::open(address).expect("a session");
    let mut replies = vec![
        smtp.command(&format!("AUTH {mechanism} {}", encode_base64(response.as_bytes()))).expect("a reply"),
    ];
    if replies[0].starts_with("334") {
        replies.push(smtp.command(dummy).expect("a reply"));
    }
    replies
}

// covers: rule.exchange, promise.secret, promise.three_valued, facts6.1, facts6.7
#[test]
fn every_mechanism_of_dovecot_behind_postfix_is_passed_on() {
    for name in ["swaks", "python3", "postfix", "dovecot"] {
        program(name);
    }
    let scratch = Scratch::new();
    let (more, token) = tokens(&scratch);
    let dovecot = Dovecot::start_with(
        &scratch,
        &[(USER, PASSWORD)],
        &MECHANISMS.to_lowercase(),
        &format!("protocols =\nssl = no\n{more}"),
    );
    let identity = SelfSigned::new("delegate.example").expect("a certificate");
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
smtpd_client_auth_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions =",
            scratch.write("delegate.pem", &identity.pem).display(),
            dovecot.socket.display()
        ),
    );
    let endpoint = format!("{{ host = \"127.0.0.1:{}\", tls = \"{}\" }}", delegate.port, identity.setting());
    let gateway = Gateway::start(&config(&scratch, &endpoint, MECHANISMS));
    let address = gateway.address("submission");

    // Nothing is known yet but passwords; the first login tells the rest.
    let announced = || run("swaks", &["--server", &address.to_string(), "--quit-after", "EHLO"]);
    assert!(announced().contains("AUTH PLAIN LOGIN\n"), "{}", announced());
    let said = swaks(address, "PLAIN", PASSWORD);
    assert!(said.contains("<-  235 "), "{said}");
    assert!(announced().contains(&format!("AUTH {MECHANISMS}\n")), "{}", announced());

    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5", "DIGEST-MD5"] {
        let said = swaks(address, mechanism, PASSWORD);
        assert!(said.contains("<-  235 "), "{mechanism}: {said}");
        let said = swaks(address, mechanism, WRONG);
        assert!(said.contains("<** 535 "), "{mechanism}: {said}");
    }
    let words = [&address.ip().to_string(), &address.port().to_string(), USER, PASSWORD, WRONG];
    let said = run("python3", &[&["-c", PYTHON][..], &words[..]].concat());
    assert_eq!(said, "CRAM-MD5 235\nCRAM-MD5 535\nPLAIN 235\nPLAIN 535\nLOGIN 235\nLOGIN 535\n");
    for mechanism in ["SCRAM-SHA-1", "SCRAM-SHA-256"] {
        for initial in [true, false] {
            assert!(scram(address, mechanism, PASSWORD, initial).starts_with("235 "), "{mechanism}");
            assert!(scram(address, mechanism, WRONG, initial).starts_with("535 "), "{mechanism}");
        }
    }
    for mechanism in ["XOAUTH2", "OAUTHBEARER"] {
        let said = bearer(address, mechanism, &token);
        assert!(said[0].starts_with("235 "), "{mechanism}: {said:?}\n{}", delegate.log());
        let said = bearer(address, mechanism, "an-old-token");
        assert!(said[0].starts_with("334 ey") && said[1].starts_with("535 "), "{mechanism}: {said:?}");
    }

    // Promise 4: neither password nor token in the log at its most talkative, nor in what was stored.
    let log = gateway.log.text();
    for secret in [PASSWORD, WRONG, &token, "an-old-token"] {
        assert!(!log.contains(secret) && !log.contains(&encode_base64(secret.as_bytes())), "{secret}");
        for file in support::files(&scratch.path("data")) {
            let octets = std::fs::read(&file).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&octets).contains(secret), "{secret} in {}", file.display());
        }
    }
    // Without the delegate an exchange is no refusal.
    delegate.stop();
    let said = swaks(address, "CRAM-MD5", PASSWORD);
    assert!(said.contains("<** 454 "), "{said}");
    gateway.stop();
}

// covers: rule.imap, promise.three_valued, promise.secret, facts6.1
#[test]
fn logins_are_asked_of_dovecots_own_imap_over_tls() {
    for name in ["swaks", "dovecot", "imap-login"] {
        program(name);
    }
    let scratch = Scratch::new();
    let identity = SelfSigned::new("imap.example").expect("a certificate");
    let pem = scratch.write("imap.pem", &identity.pem);
    let port = support::free_port();
    let odd = "p\"\\ä 1";
    let dovecot = Dovecot::start_with(
        &scratch,
        &[(USER, PASSWORD), ("bob@example.com", odd)],
        "plain",
        &format!(
            "protocols = imap
ssl = required
ssl_cert = <{0}
ssl_key = <{0}
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
service imap-login {{
  chroot =
  inet_listener imap {{
    port = 0
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
",
            pem.display()
        ),
    );
    support::until("dovecot's IMAP", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    let endpoint = format!("{{ host = \"imaps://127.0.0.1:{port}\", tls = \"{}\" }}", identity.setting());
    let gateway = Gateway::start(&config(&scratch, &endpoint, "PLAIN LOGIN"));
    let address = gateway.address("submission");
    for mechanism in ["PLAIN", "LOGIN"] {
        let said = swaks(address, mechanism, PASSWORD);
        assert!(said.contains("<-  235 "), "{mechanism}: {said}");
        let said = swaks(address, mechanism, WRONG);
        assert!(said.contains("<** 535 "), "{mechanism}: {said}");
    }
    let mut smtp = Smtp::open(address).expect("a session");
    let plain = encode_base64(format!("\0bob@example.com\0{odd}").as_bytes());
    let said = smtp.command(&format!("AUTH PLAIN {plain}")).expect("a reply");
    assert!(said.starts_with("235 "), "{said}");
    let log = gateway.log.text();
    assert!(!log.contains(PASSWORD) && !log.contains(odd), "{log}");
    drop(dovecot);
    // A session that was opened in advance may outlive Dovecot's master, and is a good one still.
    let said = ["another-mule-44", "another-mule-45", "another-mule-46"]
        .map(|password| swaks(address, "PLAIN", password));
    assert!(said[2].contains("<** 454 "), "{said:?}");
    gateway.stop();
}
