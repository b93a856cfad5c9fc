//! The commands beside a running gateway (through its control socket) and without one (over its store): the same words,
//! the same answers, `--json` that a script can read.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, Log, cli, until};
use vouchsafe_smtp::sasl::encode_base64;

/// A gateway with messages to these recipients in its queue; its next hop says "later".
fn queued(recipients: &[&str]) -> (Loopback, PathBuf, Gateway) {
    let around = Loopback::start();
    let later = ["next_hop", "at", "dot", "451", "4.3.0", "Later"];
    around.stands.event(&later).expect("it can do that");
    let change = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let config =
        around.settings(&[change("queue.retry", "[\"1h\"]"), change("domain.recipients", "[\"any\"]")]);
    let gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    for recipient in recipients {
        let reply = smtp.message("a@far.example", recipient, "Subject: hello\r\n\r\nA line.\r\n");
        let reply = reply.expect("it is taken");
        assert!(reply.starts_with("250 "), "{reply}");
    }
    // The first attempt is over: from now on nothing happens by itself.
    until("the first attempts to fail", || {
        let rows = json(&config, "queue list");
        rows.as_array()?.iter().all(|row| row["attempts"] == 1).then_some(())
    });
    (around, config, gateway)
}

/// What a command says for people; it must succeed.
fn done(config: &Path, words: &str) -> String {
    let (code, out, said) = cli(config, words, "");
    assert_eq!((code, said.as_str()), (0, ""), "{words}");
    out
}

/// What a command says for scripts; it must succeed.
fn json(config: &Path, words: &str) -> Value {
    let out = done(config, &format!("{words} --json"));
    serde_json::from_str(&out).unwrap_or_else(|fault| panic!("{words}: {fault}\n{out}"))
}

/// What a command says when it refuses.
fn refused(config: &Path, words: &str) -> String {
    let (code, out, said) = cli(config, words, "");
    assert_eq!((code, out.as_str()), (1, ""), "{words}: {said}");
    // What happened; what to do.
    assert!(said.starts_with("vouchsafe: ") && said.contains("; "), "{words}: {said}");
    said
}

/// Message id by recipient.
fn id(config: &Path, recipient: &str) -> String {
    let rows = json(config, &format!("queue list --address {recipient}"));
    rows[0]["message"].as_str().unwrap_or_else(|| panic!("{recipient}: {rows}")).to_owned()
}

fn state(config: &Path, recipient: &str) -> String {
    let rows = json(config, &format!("queue list --address {recipient}"));
    rows[0]["recipients"][0]["state"].as_str().unwrap_or_default().to_owned()
}

/// The queue's commands on messages to alice, bob and carol.
fn go_through_the_queue(config: &Path) {
    let rows = json(config, "queue list");
    assert_eq!(rows.as_array().map(Vec::len), Some(3), "{rows}");
    let list = done(config, "queue list");
    assert!(list.starts_with("MESSAGE ") && list.contains("bob@example.com"), "{list}");
    assert_eq!(json(config, "queue list --limit 2").as_array().map(Vec::len), Some(2));

    let bob = id(config, "bob@example.com");
    let shown = json(config, &format!("queue show {bob}"));
    assert_eq!(shown["deliveries"][0]["sender"], "a@far.example", "{shown}");
    assert_eq!(shown["deliveries"][0]["recipients"][0]["address"], "bob@example.com", "{shown}");
    let events = shown["history"].as_array().expect("a history");
    assert!(events.iter().any(|event| event["kind"] == "accepted"), "{shown}");
    assert!(done(config, &format!("queue show {bob}")).contains("Route domain:example.com, 1 try"));
    refused(config, "queue show 019aaf0f72c07000800000000000abcd");

    assert_eq!(done(config, &format!("queue hold {bob}")), "1 delivery held.\n");
    assert_eq!(state(config, "bob@example.com"), "held");
    assert_eq!(json(config, "queue list --held").as_array().map(Vec::len), Some(1));
    assert_eq!(json(config, "queue list --pending").as_array().map(Vec::len), Some(2));
    assert_eq!(json(config, "queue release --address bob@"), serde_json::json!({ "changed": 1 }));
    assert_eq!(state(config, "bob@example.com"), "pending");
    refused(config, "queue release --address nobody@");

    refused(config, "queue delete --all");
    let alice = id(config, "alice@example.com");
    assert_eq!(done(config, &format!("queue delete {alice}")), "1 delivery deleted.\n");
    refused(config, &format!("queue delete {alice}"));
    assert_eq!(json(config, "queue list").as_array().map(Vec::len), Some(2));
    // What is gone from the queue is still told.
    assert!(done(config, &format!("queue show {alice}")).starts_with("No longer in the queue.\n"));
    // Strangers are told nothing.
    let carol = id(config, "carol@example.com");
    let given_up = format!("{carol}: 1 recipient given up, nobody is told.\n");
    assert_eq!(done(config, &format!("queue bounce {carol}")), given_up);
    refused(config, &format!("queue bounce {carol}"));
    assert!(done(config, &format!("queue show {carol}")).contains("given up by the administrator"));
    assert_eq!(json(config, "queue list").as_array().map(Vec::len), Some(1));
}

fn go_through_the_users(config: &Path) {
    let given = |words: &str, password: &str| cli(config, words, &format!("{password}\n"));
    assert_eq!(given("users add erin", "first").0, 0);
    assert_eq!(given("users add erin", "first").0, 1);
    assert_eq!(given("users password erin", "second").0, 0);
    assert_eq!(given("users password frank", "second").0, 1);
    assert_eq!(json(config, "users list")[0]["name"], "erin");
    assert!(done(config, "users list").contains("erin"));
    assert_eq!(done(config, "users remove erin"), "User erin removed.\n");
    refused(config, "users remove erin");
    assert_eq!(json(config, "users list"), serde_json::json!([]));
}

const THREE: &[&str] = &["alice@example.com", "bob@example.com", "carol@example.com"];

#[test]
fn beside_a_running_gateway() {
    let (around, config, gateway) = queued(THREE);
    go_through_the_users(&config);
    let status = json(&config, "status");
    assert_eq!(status["running"], true);
    assert_eq!(status["hostname"], "gate.example");
    assert_eq!(status["queue"]["messages"], 3);
    assert_eq!(status["delegates"][0]["name"], "office");
    assert!(done(&config, "status").contains("gate.example runs"));

    let history = json(&config, "history bob@example.com");
    assert!(history.as_array().is_some_and(|events| !events.is_empty()), "{history}");
    assert!(done(&config, "history bob@example.com").contains("accepted"));
    assert_eq!(json(&config, "history nobody-wrote-this"), serde_json::json!([]));

    // The delegate, asked through the running gateway.
    let asked = json(&config, "delegate test recipient bob@example.com");
    assert!(asked.to_string().contains("RCPT TO:<bob@example.com>"), "{asked}");
    json(&config, "delegate verdicts");
    done(&config, "delegate flush --all");

    go_through_the_queue(&config);
    // What was released is tried at once, and put off again.
    until("the released one to be tried", || {
        (json(&config, "queue list --address bob@")[0]["attempts"] == 2).then_some(())
    });
    around.stands.event(&["next_hop", "well"]).expect("it can do that");
    assert_eq!(done(&config, "queue retry --all"), "1 delivery due now.\n");
    around.delivered(1);
    until("the queue to be empty", || (done(&config, "queue list") == "The queue is empty.\n").then_some(()));
    gateway.stop();
}

#[test]
fn over_the_store_of_a_stopped_gateway() {
    let (around, config, gateway) = queued(THREE);
    gateway.stop();
    go_through_the_users(&config);
    let (code, out, _) = cli(&config, "status --json", "");
    let status: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &status["running"], &status["queue"]["messages"]), (1, &false.into(), &3.into()));
    let history = json(&config, "history carol@example.com");
    assert!(history.as_array().is_some_and(|events| !events.is_empty()), "{history}");
    refused(&config, "trace");
    go_through_the_queue(&config);
    assert_eq!(done(&config, "queue retry --all"), "1 delivery due now.\n");

    // What was made due is tried at the start.
    around.stands.event(&["next_hop", "well"]).expect("it can do that");
    let gateway = Gateway::start(&config);
    around.delivered(1);
    gateway.stop();
}

/// `trace` beside a gateway, told what it printed line by line; ends with the gateway.
fn trace(config: &Path, words: &str) -> (std::process::Child, Log) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vouchsafe"))
        .args(words.split(' '))
        .arg("--config")
        .arg(config)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let log = Log::default();
    log.follow(child.stdout.take().expect("it is piped"));
    (child, log)
}

// covers: promise.secret, promise.explained
#[test]
fn trace_shows_all_three_dialogues_and_no_secret() {
    let around = Loopback::start();
    let config = around.settings(&[]);
    let gateway = Gateway::start(&config);
    let (mut people, lines) = trace(&config, "trace");
    let (mut script, values) = trace(&config, "trace --json");
    // It follows from when it is there: sessions until both have seen one.
    until("both to follow", || {
        drop(Smtp::open(gateway.address("mx")));
        (!lines.text().is_empty() && !values.text().is_empty()).then_some(())
    });
    let mut smtp = Smtp::open(gateway.address("submission")).expect("it listens");
    let wrong = encode_base64(b"\0alice@example.com\0not-my-password");
    assert!(smtp.command(&format!("AUTH PLAIN {wrong}")).expect("it answers").starts_with("535 "));
    assert!(smtp.command("AUTH LOGIN").expect("it answers").starts_with("334 "));
    assert!(smtp.command(&encode_base64(b"alice@example.com")).expect("it answers").starts_with("334 "));
    assert!(smtp.command(&encode_base64(b"secret")).expect("it answers").starts_with("235 "));
    let message = "Subject: hello\r\n\r\nnobody else's business\r\n";
    let reply = smtp.message("alice@example.com", "friend@far.example", message).expect("it is taken");
    assert!(reply.starts_with("250 "), "{reply}");
    around.delivered(1);
    for part in [
        "C: AUTH PLAIN ***",
        "S: 535 5.7.8",
        "C: AUTH LOGIN",
        "S: 235 2.7.0",
        "D> AUTH ",
        "D< 235 ",
        "N> RCPT TO:<friend@far.example>",
        "N< 250 ",
    ] {
        lines.wait_for(part);
    }
    values.wait_for("friend@far.example");
    drop(smtp);
    gateway.stop();
    for child in [&mut people, &mut script] {
        let status = until("the trace to end", || child.try_wait().expect("it was ours"));
        assert!(status.success(), "{status}");
    }
    for line in values.text().lines() {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|fault| panic!("{fault}: {line}"));
        assert!(value["mark"].is_string() && value["session"].is_string(), "{line}");
    }
    for secret in ["not-my-password", "secret", &wrong, &encode_base64(b"secret"), "business"] {
        for told in [lines.text(), values.text()] {
            assert!(!told.contains(secret), "{secret} in\n{told}");
        }
    }
}
