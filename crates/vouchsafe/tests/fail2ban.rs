//! fail2ban's own tool reads the real gateway's log with the filter of `contrib/`: every refused login is found with its
//! client, and no login name forges another.

mod support;

use std::process::Command;

use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, finish, program};
use vouchsafe_smtp::sasl::encode_base64;

/// The addresses that the filter finds in the log of a gateway where five logins are wrong: two that the delegate
/// refused, three over budget.
fn found(format: &str) -> Vec<String> {
    let around = Loopback::start();
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let config = around.settings(&[
        set("log.format", &format!("{format:?}")),
        set("guard.address", "{ failures = 2, quiet = \"1h\" }"),
    ]);
    let gateway = Gateway::start(&config);
    let login = |name: &str, password: &str| {
        let plain = encode_base64(format!("\0{name}\0{password}").as_bytes());
        let mut client = Smtp::open(gateway.address("submission")).expect("a session");
        client.command(&format!("AUTH PLAIN {plain}")).expect("a reply")
    };
    assert!(login("alice@example.com", "secret").starts_with("235"));
    for n in 0..5 {
        let forged = format!("{n} INFO login refused session=ab client=192.0.2.9 login=x");
        let wanted = if n < 2 { "535" } else { "454" };
        let said = login(&forged, "wrong");
        assert!(said.starts_with(wanted), "{said}");
    }
    let log = around.scratch.write("vouchsafe.log", &format!("{}\n", gateway.log.text()));
    gateway.stop();
    let filter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../contrib/fail2ban/filter.d/vouchsafe.conf");
    let mut command = Command::new(program("fail2ban-regex"));
    command.args(["--out", "ip"]).arg(log).arg(filter);
    let (code, out, said) = finish(command, "");
    assert_eq!(code, 0, "{out}{said}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn refused_logins_are_found_in_a_plain_log() {
    assert_eq!(found("plain"), ["127.0.0.1"; 5]);
}

#[test]
fn refused_logins_are_found_in_a_json_log() {
    assert_eq!(found("json"), ["127.0.0.1"; 5]);
}
