//! `vouchsafe serve` as a process: reload, drain, the lock on its data, a start after `kill -9`, a start without a file;
//! and the demo. What it does with mail is the business of the dialogues.

mod support;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, Scratch, finish, hang_up, terminate, until};

const MESSAGE: &str = "Subject: hello\r\n\r\nA line.\r\n";

fn change(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Reply to a recipient in a transaction of its own.
fn recipient(smtp: &mut Smtp, address: &str) -> String {
    smtp.command("RSET").expect("the session is there");
    smtp.command("MAIL FROM:<a@far.example>").expect("the session is there");
    smtp.command(&format!("RCPT TO:<{address}>")).expect("the session is there")
}

/// How often the log says this.
fn count(gateway: &Gateway, text: &str) -> usize {
    gateway.log.text().matches(text).count()
}

// covers: settings.live
#[test]
fn a_signal_or_a_changed_file_reloads_and_ends_no_session() {
    let around = Loopback::start();
    let config = around.settings(&[]);
    let gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    assert!(recipient(&mut smtp, "whoever@example.com").starts_with("550 5.1.1"));

    around.settings(&[change("domain.recipients", "[\"any\"]")]);
    hang_up(gateway.child.id());
    gateway.log.wait_for("settings reloaded");
    assert!(recipient(&mut smtp, "whoever@example.com").starts_with("250 "));

    // Without a signal: the file is looked at.
    around.settings(&[]);
    until("the changed file to be read", || (count(&gateway, "settings reloaded") == 2).then_some(()));
    assert!(recipient(&mut smtp, "another@example.com").starts_with("550 5.1.1"));
    drop(smtp);
    gateway.stop();
}

// covers: settings.live
#[test]
fn a_bad_file_keeps_the_old_settings_and_every_fault_is_logged_with_its_line() {
    let around = Loopback::start();
    let config = around.settings(&[]);
    let gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    let good = std::fs::read_to_string(&config).expect("the file");
    let lines = good.lines().count();
    around.scratch.write("vouchsafe.toml", &format!("{good}[queue]\nexpire = 5\nretri = [\"1s\"]\n"));
    hang_up(gateway.child.id());
    gateway.log.wait_for("settings not reloaded, the old ones stay in force");
    let log = gateway.log.text();
    for (line, what) in [(lines + 2, "queue.expire"), (lines + 3, "queue.retri")] {
        let told = format!("line {line}: {what}");
        assert!(log.contains(&told), "{told}\n{log}");
    }
    assert!(recipient(&mut smtp, "nobody@example.com").starts_with("550 5.1.1"));
    assert!(recipient(&mut smtp, "bob@example.com").starts_with("250 "));
    assert_eq!(count(&gateway, "settings reloaded"), 0, "{log}");

    // A mended one is taken again.
    around.settings(&[change("domain.recipients", "[\"any\"]")]);
    gateway.log.wait_for("settings reloaded");
    assert!(recipient(&mut smtp, "nobody@example.com").starts_with("250 "));
    drop(smtp);
    gateway.stop();
}

// covers: promise.kept
#[test]
fn sigterm_lets_a_body_finish_and_ends_with_0() {
    let around = Loopback::start();
    let config = around.settings(&[change("queue.retry", "[\"1s\"]")]);
    let mut gateway = Gateway::start(&config);
    around.stands.next_hop.set_down(true);
    let mut idle = Smtp::open(gateway.address("mx")).expect("it listens");
    let mut busy = Smtp::open(gateway.address("mx")).expect("it listens");
    assert!(recipient(&mut busy, "bob@example.com").starts_with("250 "));
    assert!(busy.command("DATA").expect("it answers").starts_with("354 "));
    busy.send(b"Subject: the last one\r\n\r\nhalf of ").expect("it reads");

    terminate(gateway.child.id());
    assert!(idle.reply().expect("a last word").starts_with("421 "));
    assert!(gateway.child.try_wait().expect("it was ours").is_none(), "it waits for the body");
    busy.send(b"it\r\n.\r\n").expect("it reads");
    let reply = busy.reply().expect("it answers");
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let status = until("the gateway to end", || gateway.child.try_wait().expect("it was ours"));
    assert!(status.success(), "{status}:\n{}", gateway.log.text());
    assert!(!gateway.log.text().contains("did not end in time"), "{}", gateway.log.text());

    around.stands.next_hop.set_down(false);
    let gateway = Gateway::start(&config);
    around.delivered(1);
    assert!(around.stands.next_hop.messages()[0].text().contains("half of it\r\n"));
    gateway.stop();
}

#[test]
fn a_second_server_on_the_same_data_is_refused_in_words() {
    let around = Loopback::start();
    let config = around.settings(&[]);
    let gateway = Gateway::start(&config);
    let (code, _, said) = support::cli(&config, "serve", "");
    assert_eq!(code, 1, "{said}");
    let data = around.scratch.path("data");
    let told = said.lines().last().unwrap_or_default();
    assert!(told.starts_with("vouchsafe: ") && told.contains(&data.display().to_string()), "{said}");
    assert!(told.contains("another") || told.contains("already"), "{said}");
    // The first one has not noticed.
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    assert!(recipient(&mut smtp, "bob@example.com").starts_with("250 "));
    assert_eq!(support::cli(&config, "status", "").0, 0);
    drop(smtp);
    gateway.stop();
}

// covers: promise.kept
#[test]
fn what_was_queued_before_a_kill_is_delivered_after_the_next_start() {
    let around = Loopback::start();
    let config = around.settings(&[change("queue.retry", "[\"1s\"]")]);
    around.stands.next_hop.set_down(true);
    let mut gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    let reply = smtp.message("a@far.example", "bob@example.com", MESSAGE).expect("it is taken");
    assert!(reply.starts_with("250 "), "{reply}");
    gateway.kill();
    around.stands.next_hop.set_down(false);
    let gateway = Gateway::start(&config);
    around.delivered(1);
    until("the queue to be empty", || {
        (support::cli(&config, "queue list", "").1 == "The queue is empty.\n").then_some(())
    });
    assert_eq!(around.stands.next_hop.counters().messages, 1);
    gateway.stop();
}

/// The ports of a start without a file are fixed. Where one is taken, the file that the same flags give is served with
/// other ports.
#[test]
fn flags_alone_make_a_gateway() {
    let _alone = alone();
    let around = Loopback::start();
    let flags = [
        "--delegate",
        &around.places.recipients,
        "--next-hop",
        &around.places.next_hop,
        "--domain",
        "example.com",
    ];
    let program = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vouchsafe"));
        command.current_dir(around.scratch.path("."));
        command
    };
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let gateway = if [2525, 2587, 2465].into_iter().all(free) {
        let mut command = program();
        command.arg("serve").args(flags);
        Gateway::start_by(command)
    } else {
        let mut command = program();
        command.args(["settings", "export"]).args(flags);
        let (code, file, said) = finish(command, "");
        assert_eq!(code, 0, "{said}");
        let file = [2525, 2587, 2465]
            .iter()
            .fold(file, |file, port| file.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0"));
        let config = around.scratch.write("exported.toml", &file);
        let mut command = program();
        command.args(["serve", "--config"]).arg(config);
        Gateway::start_by(command)
    };
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    assert!(recipient(&mut smtp, "nobody@example.com").starts_with("550 5.1.1"));
    smtp.command("RSET").expect("it answers");
    let reply = smtp.message("a@far.example", "bob@example.com", MESSAGE).expect("it is taken");
    assert!(reply.starts_with("250 "), "{reply}");
    around.delivered(1);
    assert!(gateway.listeners.contains_key("submission") && gateway.listeners.contains_key("submissions"));
    drop(smtp);
    gateway.stop();
    assert!(around.scratch.path("vouchsafe-data").is_dir());
}

/// A demo looks for free ports before it binds them, the page's last: one at a time, as people run it, and nobody else
/// meanwhile who takes the same.
static DEMO: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    DEMO.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The demo, its temporary files in a folder of the test's own.
fn demo(scratch: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vouchsafe"));
    command.args(["demo", "--once"]).env("TMPDIR", scratch.path("."));
    command
}

#[test]
fn the_demo_shows_both_flows_and_ends_with_0() {
    let _alone = alone();
    let scratch = Scratch::new();
    let (code, shown, said) = finish(demo(&scratch), "");
    assert_eq!(code, 0, "{said}");
    for part in [
        "   S: 535 5.7.8 ",
        "   S: 235 2.7.0 ",
        "   S: 250 2.1.5 ",
        "   S: 550 5.1.1 ",
        "   S: 550 5.7.1 ",
        "D> RCPT TO:<nobody@example.com>",
        "Hello from a mail client.",
        "Hello from the Internet.",
        "got 0 messages, and had to enforce its limits 0 times.",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains("correct horse"), "{shown}");
    assert!(support::files(&scratch.path(".")).is_empty(), "its queue is gone");
}

#[test]
fn the_demo_goes_as_well_with_each_product() {
    let _alone = alone();
    for (product, words) in [
        ("exchange", "D< 550 5.1.10 RESOLVER.ADR.RecipientNotFound"),
        ("microsoft-365", "D< 550 5.4.1 "),
        ("xeams", "D> AUTH PLAIN"),
        ("postfix", "D< 550 5.1.1 "),
        ("exim", "D< 550 "),
    ] {
        let scratch = Scratch::new();
        let mut command = demo(&scratch);
        command.args(["--like", product]);
        let (code, shown, said) = finish(command, "");
        assert_eq!(code, 0, "{product}: {said}");
        for part in [
            words,
            "   S: 535 5.7.8 ",
            "   S: 235 2.7.0 ",
            "   S: 250 2.1.5 ",
            "   S: 550 5.7.1 ",
            "got 0 messages, and had to enforce its limits 0 times.",
        ] {
            assert!(shown.contains(part), "{product}: {part}\n{shown}");
        }
    }
}

#[test]
fn the_demo_ends_well_when_its_reader_goes_away() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut command = demo(&scratch);
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut first = String::new();
    let mut read = BufReader::new(child.stdout.take().expect("it is piped"));
    read.read_line(&mut first).expect("a first line");
    assert!(first.starts_with("The delegate"), "{first}");
    drop(read);
    let end = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&end.stderr);
    assert!(end.status.success() && said.is_empty(), "{}: {said}", end.status);
    assert!(support::files(&scratch.path(".")).is_empty(), "its queue is gone");
}

#[test]
fn the_demo_that_is_terminated_leaves_nothing_behind() {
    let _alone = alone();
    let scratch = Scratch::new();
    let mut child = Command::new(env!("CARGO_BIN_EXE_vouchsafe"))
        .arg("demo")
        .env("TMPDIR", scratch.path("."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let read = BufReader::new(child.stdout.take().expect("it is piped"));
    let shown: Vec<String> =
        read.lines().map_while(Result::ok).take_while(|line| line != "Ctrl-C ends it.").collect();
    let page = shown.iter().find_map(|line| line.strip_prefix("Its page is ")).expect("a page");
    let (page, password) = page.split_once("; the one-time password for it: ").expect("a password");
    let at = page.trim_start_matches("http://").trim_end_matches('/').parse().expect("an address");
    let first = support::http::send(at, "GET /login HTTP/1.1", "text/plain", "").body;
    assert!(first.contains("One-time password") && password.len() >= 10, "{password}: {first}");
    support::terminate(child.id());
    assert!(child.wait().expect("it ends").success(), "{shown:#?}");
    assert!(support::files(&scratch.path(".")).is_empty(), "its queue is gone");
}
