//! Real Dovecot, asked about recipients by LMTP through the real binary.
//! `cargo xtask ci` installs it; root is needed, as Dovecot needs it.

mod support;

use support::postfix::Dovecot;
use support::smtp::Smtp;
use support::{Gateway, Scratch, cli, free_port};

// covers: delegate.lmtp
#[test]
fn dovecot_is_asked_by_lmtp_and_gets_no_message() {
    let scratch = Scratch::new();
    let port = free_port();
    // A look-up of a user has no mechanism, for which the other list is.
    let more = format!(
        "protocols = lmtp
passdb {{
  driver = passwd-file
  args = username_format=%u {users}
}}
ssl = no
postmaster_address = postmaster@example.com
mail_location = maildir:{mail}/%u
service lmtp {{
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
",
        mail = scratch.path("mail").display(),
        users = scratch.path("dovecot/users").display()
    );
    let users = [("alice@example.com", "a-word-41"), ("bob@example.com", "a-word-42")];
    let dovecot = Dovecot::start_with(&scratch, &users, "plain login", &more);
    let config = scratch.write(
        "vouchsafe.toml",
        &format!(
            r#"
hostname = "gate.example"
data_dir = "{data}"

[[listener]]
name = "mx"
kind = "mx"
address = ["127.0.0.1:0"]

[delegate.office]
recipients = "lmtp://127.0.0.1:{port}"
auth = "127.0.0.1:9"

[[domain]]
name = "example.com"
next_hop = "127.0.0.1:9"

[relay]
next_hop = "127.0.0.1:9"

[web]
address = "127.0.0.1:0"
"#,
            data = scratch.path("data").display(),
        ),
    );

    let (code, told, said) = cli(&config, "delegate test recipient alice@example.com", "");
    assert_eq!(code, 0, "{told}{said}");
    assert!(told.contains("D> LHLO gate.example") && told.contains("D< 250 2.1.5"), "{told}");
    let (code, told, _) = cli(&config, "delegate test recipient nobody@example.com", "");
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("D< 550 5.1.1"), "{told}");

    let gateway = Gateway::start(&config);
    let mut client = Smtp::open(gateway.address("mx")).expect("the banner");
    for (line, code) in [
        ("EHLO client.example", "250"),
        ("MAIL FROM:<a@far.example>", "250"),
        ("RCPT TO:<nobody@example.com>", "550 5.1.1"),
        ("RCPT TO:<alice@example.com>", "250"),
        ("RCPT TO:<bob@example.com>", "250"),
    ] {
        let reply = client.command(line).expect("a reply");
        assert!(reply.starts_with(code), "{line}: {reply}");
    }
    assert!(!scratch.path("mail").exists(), "Dovecot got a message");
    drop(dovecot);
}
