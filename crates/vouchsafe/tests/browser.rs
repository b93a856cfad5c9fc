//! The administration page in Chromium: first run, login, every section, a refusal explained, a message followed, a setting,
//! a token, a download, by keyboard and without JavaScript; axe finds nothing serious. The walk stands in browser/tour.mjs.
//! Screenshots in both themes and two widths are kept in target/browser/pictures.
//! `cargo xtask ci` installs Chromium, node and what browser/package.json names.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::Gateway;
use support::loopback::Loopback;
use support::smtp::Smtp;

/// Where `cargo xtask ci` puts npm's packages.
fn modules() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent");
    target.join("browser")
}

/// Octets of the file that is swapped for a link; a multiple of 57, so that all its lines are full.
const OCTETS: usize = 57 * 3000;

/// A message with a file of zeros.
fn with_file() -> String {
    let lines = format!("{}\r\n", "A".repeat(76)).repeat(OCTETS / 57);
    format!(
        "From: sender@example.net\r\nTo: bob@example.com\r\nSubject: zeros\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHere.\r\n\
         --b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=zeros.bin\r\n\r\n{lines}--b--\r\n"
    )
}

#[test]
fn a_person_finds_the_way_in_a_real_browser() {
    let modules = modules();
    let there = modules.join("node_modules/playwright-core").is_dir();
    assert!(there, "{}: no playwright-core; run `cargo xtask peers`", modules.display());

    let around = Loopback::start();
    let set = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let files = support::free_port();
    let changes = [
        set("web.downloads", &format!("\"127.0.0.1:{files}\"")),
        set("web.public_url", &format!("\"http://127.0.0.1:{files}\"")),
        set("attachments.part_over", "\"100 kB\""),
        set("attachments.inbound", "\"unscanned\""),
        set("limits.free_space", "\"0 B\""),
    ];
    let gateway = Gateway::start(&around.settings(&changes));
    let of_line = |mark: &'static str| {
        gateway.log.wait(mark, |lines| {
            lines.iter().find_map(|line| Some(line.split_once(mark)?.1.trim().to_owned()))
        })
    };
    let at = of_line("administration page: ");
    let once = of_line("one-time password for the page: ");

    let mut client = Smtp::open(gateway.address("mx")).expect("it listens");
    let content = "Subject: for the tour\r\n\r\nHello.\r\n";
    let reply = client.message("sender@example.net", "bob@example.com", content).expect("it is taken");
    assert!(reply.starts_with("250"), "{reply}");
    around.delivered(1);
    let reply = client.message("sender@example.net", "bob@example.com", &with_file()).expect("it is taken");
    assert!(reply.starts_with("250"), "{reply}");
    around.delivered(2);
    let text = around.stands.next_hop.messages().iter().map(|message| message.text()).collect::<String>();
    let start = format!("http://127.0.0.1:{files}/");
    let link = text.split_once(&start).unwrap_or_else(|| panic!("no link in {text}")).1;
    let link =
        format!("{start}{}", link.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default());

    // One that stays in the queue.
    let later = ["next_hop", "at", "dot", "451", "4.2.0", "Later"];
    assert_eq!(around.stands.event(&later), Ok(true));
    let reply = client.message("sender@example.net", "bob@example.com", "Subject: waits\r\n\r\nHello.\r\n");
    let reply = reply.expect("it is taken");
    assert!(reply.starts_with("250"), "{reply}");

    client.command("MAIL FROM:<sender@example.net>").expect("a reply");
    let refusal = client.command("RCPT TO:<nobody@example.com>").expect("a reply");
    assert!(refusal.starts_with("550 5.1.1"), "{refusal}");

    let tour = Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/browser/tour.mjs"))
        .env("AT", at.trim_end_matches('/'))
        .env("ONCE", once)
        .env("LINK", link)
        .env("OCTETS", OCTETS.to_string())
        .env("MODULES", &modules)
        .env("PICTURES", modules.join("pictures"))
        .env("CHROMIUM", support::program("chromium"))
        .output()
        .expect("node runs");
    let (said, complaints) = (String::from_utf8_lossy(&tour.stdout), String::from_utf8_lossy(&tour.stderr));
    // With --nocapture: what axe finds that is not serious.
    print!("{said}");
    assert!(tour.status.success(), "{said}\n{complaints}\n{}", gateway.log.text());
    gateway.stop();
}
