//! Who the client is, from end to end with real peers: HAProxy's PROXY headers and swaks' XCLIENT in front of the real
//! binary, Postfix behind it that hears of the client by XFORWARD and by XCLIENT.
//! `cargo xtask ci` installs the programs; root is needed, as Postfix needs it.

mod support;

use std::net::SocketAddr;
use std::process::Command;

use support::haproxy::HaProxy;
use support::postfix::{Postfix, own};
use support::{Gateway, Scratch, free_port, program, until};

/// Postfix that keeps what it gets for `domain` in the folder `mail` under its name.
fn next_hop(scratch: &Scratch, name: &str, domain: &str, extra: &str) -> Postfix {
    let mail = scratch.path(&format!("mail-{name}"));
    std::fs::create_dir_all(&mail).expect("a folder");
    own(&mail, "65534");
    Postfix::start(
        scratch,
        name,
        &format!(
            "virtual_mailbox_domains = {domain}
virtual_mailbox_maps = static:inbox
virtual_mailbox_base = {}
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions =
{extra}",
            mail.display()
        ),
    )
}

/// Sends a message with swaks.
fn send(to: SocketAddr, recipient: &str, subject: &str, words: &[&str]) {
    let out = Command::new(program("swaks"))
        .args(["--server", "127.0.0.1", "--port", &to.port().to_string(), "--timeout", "60"])
        .args(["--helo", "pc.example", "--from", "stranger@far.example", "--to", recipient])
        .args(["--header", &format!("Subject: {subject}")])
        .args(words)
        .output()
        .expect("swaks runs");
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(out.status.success(), "{said}");
}

/// The message of this subject in a next hop's mailbox.
fn mail(scratch: &Scratch, name: &str, subject: &str) -> String {
    let inbox = scratch.path(&format!("mail-{name}/inbox"));
    until(subject, || {
        let all = String::from_utf8_lossy(&std::fs::read(&inbox).ok()?).into_owned();
        let found = all.split("\nFrom ").find(|mail| mail.contains(&format!("Subject: {subject}\n")));
        found.map(str::to_owned)
    })
}

// covers: facts6.12
#[test]
fn the_client_is_known_from_the_front_end_to_the_filter() {
    for name in ["swaks", "postfix", "haproxy"] {
        program(name);
    }
    let scratch = Scratch::new();
    let told = "smtpd_authorized_xforward_hosts = 127.0.0.1";
    let forward = next_hop(&scratch, "forward", "example.com", told);
    let told = "smtpd_authorized_xclient_hosts = 127.0.0.1";
    let client = next_hop(&scratch, "client", "example.org", told);
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
proxies = ["127.0.0.1"]
[[listener]]
name = "users"
kind = "submission"
address = ["127.0.0.1:0"]
tls = "implicit"
proxies = ["127.0.0.1"]
proxy_protocol = "required"
[[domain]]
name = "example.com"
recipients = ["any"]
next_hop = {{ host = "127.0.0.1:{forward}", xforward = true }}
[[domain]]
name = "example.org"
recipients = ["any"]
next_hop = {{ host = "127.0.0.1:{client}", xclient = true }}
[relay]
logins = "local"
"#,
            data = scratch.path("data").display(),
            forward = forward.port,
            client = client.port,
        ),
    );
    let gateway = Gateway::start(&config);
    let (mx, users) = (gateway.address("mx"), gateway.address("users"));
    let proxy =
        HaProxy::start(&scratch, &[(mx, "send-proxy"), (mx, "send-proxy-v2"), (users, "send-proxy-v2")]);
    let [v1, v2, implicit] = proxy.fronts[..] else { panic!("three front ends") };

    // Version 1, and XFORWARD behind it: the filter's log has the client.
    send(v1, "bob@example.com", "version one", &["--local-interface", "127.0.0.2"]);
    let message = mail(&scratch, "forward", "version one");
    assert!(message.contains("Received: from pc.example ([127.0.0.2])"), "{message}");
    until("the client in the log", || forward.log().contains("orig_client=unknown[127.0.0.2]").then_some(()));

    // Version 2, and XCLIENT behind it, under the next hop's own TLS or not: to Postfix it is the client that sends.
    send(v2, "bob@example.org", "version two", &["--local-interface", "127.0.0.3"]);
    send(v2, "bob@example.org", "version two again", &["--local-interface", "127.0.0.4"]);
    for (subject, address) in [("version two", "127.0.0.3"), ("version two again", "127.0.0.4")] {
        let message = mail(&scratch, "client", subject);
        assert!(message.contains(&format!("Received: from pc.example (unknown [{address}])")), "{message}");
        assert!(message.contains(&format!("Received: from pc.example ([{address}])")), "{message}");
    }

    // A proxy that greets first and tells by XCLIENT: waited for, then believed.
    let claim = ["--xclient-addr", "198.51.100.7", "--xclient-helo", "far.example", "--xclient-no-verify"];
    send(mx, "bob@example.com", "by xclient", &claim);
    let message = mail(&scratch, "forward", "by xclient");
    assert!(message.contains("Received: from far.example ([198.51.100.7])"), "{message}");

    // The header stands before the handshake of an implicit TLS listener. AUTH is offered behind it; nobody has a login.
    let out = Command::new(program("swaks"))
        .args(["--server", "127.0.0.1", "--port", &implicit.port().to_string(), "--tls-on-connect"])
        .args(["--quit-after", "EHLO", "--timeout", "60"])
        .output()
        .expect("swaks runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said.contains("AUTH PLAIN"), "{said}");
    gateway.stop();
}

// covers: promise.polite, promise.three_valued, promise.explained
#[test]
fn a_delegate_that_is_ourselves_is_noticed_and_makes_no_storm() {
    let scratch = Scratch::new();
    let (front, ours) = (free_port(), free_port());
    let config = scratch.write(
        "vouchsafe.toml",
        &format!(
            r#"
hostname = "gate.example"
data_dir = "{data}"
[[listener]]
name = "mx"
kind = "mx"
address = ["127.0.0.1:{ours}"]
proxies = ["127.0.0.1"]
[delegate.office]
host = "127.0.0.1:{front}"
[[domain]]
name = "example.com"
recipients = ["delegate:office"]
next_hop = "127.0.0.1:{front}"
"#,
            data = scratch.path("data").display(),
        ),
    );
    let gateway = Gateway::start(&config);
    // `check` cannot see through a load balancer that leads back to us.
    let _proxy = HaProxy::start_at(&scratch, &[(gateway.address("mx"), "send-proxy")], &[front]);
    let out = Command::new(program("swaks"))
        .args(["--server", "127.0.0.1", "--port", &front.to_string(), "--local-interface", "127.0.0.2"])
        .args(["--from", "a@far.example", "--to", "bob@example.com", "--timeout", "60"])
        .output()
        .expect("swaks runs");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("<** 451 ") || said.contains("<~* 451 "), "{said}");
    gateway.log.wait_for("a connection of our own came back to us");
    let came_back = gateway.log.text().matches("came back to us").count();
    assert!(came_back <= 4, "{came_back} times:\n{}", gateway.log.text());
    gateway.stop();
}
