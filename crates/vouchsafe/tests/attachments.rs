//! `vouchsafe attachments`: the whole life of files behind links, beside a running gateway and without one.

mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, cli, files, free_port, until};

/// What a command says; it must succeed.
fn done(config: &Path, words: &str) -> String {
    let (code, out, said) = cli(config, words, "");
    assert_eq!((code, said.as_str()), (0, ""), "{words}");
    out
}

fn told(config: &Path, words: &str) -> Value {
    let out = done(config, &format!("{words} --json"));
    serde_json::from_str(&out).unwrap_or_else(|fault| panic!("{words}: {fault}\n{out}"))
}

fn refused(config: &Path, words: &str) -> String {
    let (code, _, said) = cli(config, words, "");
    assert_eq!(code, 1, "{words}: {said}");
    said
}

fn message(name: &str) -> String {
    let part = "QUJD".repeat(19);
    let file = format!("{part}\r\n").repeat(30);
    format!(
        "From: <a@far.example>\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee it.\r\n\
         --b\r\nContent-Type: application/pdf; name={name}.pdf\r\nContent-Disposition: attachment; filename={name}.pdf\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{file}--b--\r\n"
    )
}

/// A gateway that has swapped the files of two messages for links.
fn swapped() -> (Loopback, PathBuf, Gateway) {
    let around = Loopback::start();
    let change = |key: &str, value: String| (key.to_owned(), value);
    let config = around.settings(&[
        change("web.downloads", format!("\"127.0.0.1:{}\"", free_port())),
        change("web.public_url", "\"https://files.example\"".to_owned()),
        change("attachments.part_over", "\"1 kB\"".to_owned()),
        change("attachments.inbound", "\"unscanned\"".to_owned()),
    ]);
    let gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    for (recipient, name) in [("bob@example.com", "plans"), ("carol@example.com", "photos")] {
        let reply = smtp.message("a@far.example", recipient, &message(name)).expect("it is taken");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    around.delivered(2);
    (around, config, gateway)
}

fn id_of(config: &Path, recipient: &str) -> String {
    let rows = told(config, &format!("attachments list --address {recipient}"));
    rows[0]["message"].as_str().unwrap_or_else(|| panic!("{recipient}: {rows}")).to_owned()
}

fn go_through(config: &Path) {
    let list = done(config, "attachments list");
    assert!(list.starts_with("MESSAGE ") && list.contains("bob@example.com"), "{list}");
    let (bob, carol) = (id_of(config, "bob@"), id_of(config, "carol@"));
    let shown = told(config, &format!("attachments show {bob}"));
    assert_eq!(shown["files"][0]["file_name"], "plans.pdf", "{shown}");
    assert_eq!(shown["files"][0]["size"], 57 * 30, "{shown}");
    assert!(done(config, &format!("attachments show {bob}")).contains("plans.pdf"));

    let link = shown["links"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        told(config, &format!("attachments revoke {bob} --link {link}")),
        json!({"changed": 1, "held": 0})
    );
    refused(config, &format!("attachments revoke {bob} --link 000000000000"));
    assert!(told(config, &format!("attachments show {bob}"))["links"][0]["revoked"].is_number());
    assert_eq!(told(config, "attachments revoke --recipient carol@example.com")["changed"], 1);
    assert!(done(config, "attachments list --address carol@").contains(" revoked "));
    done(config, &format!("attachments extend {carol} --for 60d"));
    assert!(done(config, "attachments list --address carol@").contains(" open "));

    assert_eq!(told(config, &format!("attachments hold {carol}"))["changed"], 1);
    assert!(refused(config, &format!("attachments erase {carol}")).contains("on hold"));
    assert_eq!(told(config, "attachments list --held").as_array().map(Vec::len), Some(1));
    // An equal file was kept once, and stays for the other.
    let (code, _, said) = cli(config, "attachments erase --sender a@far.example", "");
    assert!(code != 0 && said.contains("--yes"), "{said}");
    let erased = told(config, "attachments erase --sender a@far.example --yes");
    assert_eq!(erased, json!({"changed": 1, "held": 1}));
    refused(config, &format!("attachments show {bob}"));
    done(config, &format!("attachments hold {carol} --release"));
    refused(config, &format!("attachments erase {bob}"));

    let log = done(config, "attachments export");
    let what: Vec<String> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("one value a line"))
        .map(|row| row["what"].as_str().unwrap_or_default().to_owned())
        .collect();
    let expected = ["store", "store", "revoke", "revoke", "extend", "hold", "erase", "release"];
    assert_eq!(what, expected, "{log}");
    assert_eq!(done(config, &format!("attachments export --message {bob}")).lines().count(), 3);
}

#[test]
fn files_are_managed_beside_a_running_gateway() {
    let (around, config, gateway) = swapped();
    go_through(&config);
    let carol = id_of(&config, "carol@");
    done(&config, &format!("attachments erase {carol}"));
    assert_eq!(done(&config, "attachments list"), "No files are behind links.\n");
    let blobs = PathBuf::from(&around.places.data_dir).join("blobs");
    until("the octets to go", || files(&blobs).is_empty().then_some(()));
    gateway.stop();
}

#[test]
fn files_are_managed_without_a_gateway() {
    let (_around, config, gateway) = swapped();
    gateway.stop();
    go_through(&config);
}
