//! The doctor at real Postfix with Dovecot SASL: what it proposes is written, passes `check`, and works.
//! `cargo xtask ci` installs the programs; root is needed, as Postfix and Dovecot need it.

mod support;

use support::postfix::{Dovecot, Postfix};
use support::{Scratch, cli};
use vouchsafe_fakes::tls::SelfSigned;

/// The settings before the doctor comes.
const BEFORE: &str = "# ours\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n";
const PASSWORD: &str = "correct-horse-41";

fn postfix(scratch: &Scratch, dovecot: &Dovecot, extra: &str) -> Postfix {
    let identity = SelfSigned::new("mail.example").expect("a certificate");
    let chain = scratch.write("mail.pem", &identity.pem);
    let settings = format!(
        "smtpd_tls_chain_files = {}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {}
smtpd_sasl_security_options = noanonymous
virtual_mailbox_domains = example.com
virtual_mailbox_maps = inline:{{ {{alice@example.com = x}}, {{bob@example.com = x}} }}
smtpd_recipient_restrictions =
virtual_transport = discard:
{extra}",
        chain.display(),
        dovecot.socket.display()
    );
    Postfix::start(scratch, "mail", &settings)
}

#[test]
fn what_the_doctor_proposes_for_postfix_is_written_and_works() {
    let scratch = Scratch::new();
    let dovecot = Dovecot::start(&scratch, &[("alice@example.com", PASSWORD)]);
    let relaying = "smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination";
    let mail = postfix(&scratch, &dovecot, relaying);
    let config = scratch.write("vouchsafe.toml", BEFORE);

    let words = format!(
        "doctor 127.0.0.1:{} --known bob@example.com --login alice@example.com --name main --apply",
        mail.port
    );
    let password = format!("{PASSWORD}\n");
    let (code, report, said) = cli(&config, &words, &password);
    assert_eq!(code, 0, "{report}{said}");
    assert!(report.starts_with("127.0.0.1 looks like Postfix.\n"), "{report}");
    for line in [
        "alice@example.com with this password was let in",
        "it takes the known address and refuses the made-up",
        "It does not relay for us to foreign domains.",
        "postconf -e 'smtpd_client_event_limit_exceptions = $mynetworks 127.0.0.1'",
    ] {
        assert!(report.contains(line), "{line}\n{report}");
    }
    assert!(!mail.log().contains("warning: non-SMTP command"), "{}", mail.log());

    let written = std::fs::read_to_string(&config).expect("the settings");
    assert!(written.starts_with(BEFORE) && written.contains("\n[delegate.main]\nauth "), "{written}");
    assert!(cli(&config, "check", "").1.starts_with("The settings are good"));
    assert_eq!(cli(&config, "delegate test login alice@example.com", &password).0, 0);
    assert_eq!(cli(&config, "delegate test recipient bob@example.com", "").0, 0);
    assert_eq!(cli(&config, "delegate test recipient nobody@example.com", "").0, 1);
    let (code, _, said) = cli(&config, &words, &password);
    assert_eq!(code, 1);
    assert!(said.contains("has a delegate.main; give the new one another name"), "{said}");
}

#[test]
fn postfix_that_trusts_our_address_is_a_danger() {
    let scratch = Scratch::new();
    let dovecot = Dovecot::start(&scratch, &[("alice@example.com", PASSWORD)]);
    let relaying = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination";
    let mail = postfix(&scratch, &dovecot, &format!("{relaying}\nmynetworks = 127.0.0.0/8"));
    let config = scratch.write("vouchsafe.toml", BEFORE);
    let words = format!("doctor 127.0.0.1:{} --known bob@example.com", mail.port);
    let (code, report, said) = cli(&config, &words, "");
    assert_eq!(code, 1, "{report}{said}");
    assert!(report.contains("DANGER") && report.contains("would relay for us"), "{report}");
    assert!(report.contains("postconf mynetworks"), "{report}");
}
