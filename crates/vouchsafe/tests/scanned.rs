//! Files of strangers and the scanner, at the real binary: what it cannot take is held until an administrator decides, and
//! the page behind the link says and gives what he decided.

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::http::{self, send};
use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, Scratch, cli, free_port, until};
use vouchsafe_testkit::clamd::{Clamd, HARMFUL, NAME};

/// Octets of a small file.
const SIZE: usize = 1_998;

/// A text file of this size.
fn file(size: usize) -> String {
    format!("{}\r\n", "y".repeat(70)).repeat(size / 72 + 1)[..size].to_owned()
}

fn message(from: &str, name: &str, file: &str) -> String {
    format!(
        "From: <{from}>\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee it.\r\n\
         --b\r\nContent-Type: application/pdf; name={name}.pdf\r\nContent-Disposition: attachment; filename={name}.pdf\r\n\
         \r\n{file}\r\n--b--\r\n"
    )
}

/// A gateway that swaps files of strangers for links and has a scanner.
struct World {
    around: Loopback,
    config: PathBuf,
    gateway: Gateway,
    pages: SocketAddr,
}

impl World {
    fn start(scanner: &[(&str, String)]) -> World {
        let around = Loopback::start();
        let pages: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let settings = [
            ("web.downloads", format!("\"{pages}\"")),
            ("web.public_url", format!("\"http://{pages}\"")),
            ("attachments.part_over", "\"1 kB\"".to_owned()),
            ("attachments.inbound", "\"scanned\"".to_owned()),
            ("relay.trusted_networks", "[\"127.0.0.0/8\"]".to_owned()),
        ];
        let changes = settings.iter().chain(scanner);
        let changes: Vec<_> = changes.map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let config = around.settings(&changes);
        let gateway = Gateway::start(&config);
        World { around, config, gateway, pages }
    }

    /// A stranger's message with a file; the path of its link, once it has arrived.
    fn receive(&self, name: &str, file: &str) -> String {
        self.pass("mx", ["a@far.example", "bob@example.com"], name, file)
    }

    /// A message of one of ours to a stranger; the path of its link, once it has arrived.
    fn submit(&self, name: &str, file: &str) -> String {
        self.pass("trusted", ["alice@example.com", "friend@far.example"], name, file)
    }

    fn pass(&self, listener: &str, [from, to]: [&str; 2], name: &str, file: &str) -> String {
        let before = self.around.stands.next_hop.messages().len();
        let mut smtp = Smtp::open(self.gateway.address(listener)).expect("it listens");
        let reply = smtp.message(from, to, &message(from, name, file)).expect("it is taken");
        assert!(reply.starts_with("250 "), "{reply}");
        self.around.delivered(before as u64 + 1);
        let text = self.around.stands.next_hop.messages()[before].text();
        let link = text.split_once(&format!("http://{}/", self.pages)).expect("a link").1;
        format!("/{}", &link[..32])
    }

    fn page(&self, link: &str) -> http::Answer {
        send(self.pages, &format!("GET {link} HTTP/1.1"), "text/plain", "")
    }

    fn button(&self, link: &str) -> http::Answer {
        send(self.pages, &format!("POST {link}/0 HTTP/1.1"), "application/x-www-form-urlencoded", "")
    }

    /// The file behind a link, by the page's button.
    fn fetch(&self, link: &str) -> String {
        let button = self.button(link);
        assert_eq!(button.status, 303, "{}", button.body);
        let file = send(self.pages, &format!("GET {} HTTP/1.1", location(&button)), "text/plain", "");
        assert_eq!(file.status, 200);
        file.body
    }

    /// Waits until the scanner has said this of a message's file; the message's id.
    fn checked(&self, name: &str, check: &str) -> String {
        until(&format!("{name}.pdf to be {check}"), || {
            let rows = told(&self.config, "attachments list");
            let rows = rows.as_array().expect("rows");
            let row = rows.iter().find(|row| row["subject"] == name).expect("it was taken");
            (row["files"][0]["check"] == check).then(|| row["message"].as_str().expect("an id").to_owned())
        })
    }
}

fn told(config: &Path, words: &str) -> Value {
    let (code, out, said) = cli(config, &format!("{words} --json"), "");
    assert_eq!((code, said.as_str()), (0, ""), "{words}");
    serde_json::from_str(&out).unwrap_or_else(|fault| panic!("{words}: {fault}\n{out}"))
}

fn refused(config: &Path, words: &str) -> String {
    let (code, _, said) = cli(config, words, "");
    assert_eq!(code, 1, "{words}: {said}");
    said
}

fn location(answer: &http::Answer) -> &str {
    let line = answer.head.lines().find_map(|line| line.strip_prefix("location: "));
    line.unwrap_or_else(|| panic!("no location: {}", answer.head))
}

#[test]
fn an_administrator_releases_and_refuses_what_could_not_be_checked() {
    let at = ("attachments.clamd", "\"unix:/nonexistent/clamd.ctl\"".to_owned());
    let world = World::start(&[at, ("attachments.clamd_size", "\"1 kB\"".to_owned())]);
    let config = world.config.as_path();
    let link = world.receive("plans", &file(SIZE));
    let id = world.checked("plans", "unscannable");
    assert!(world.page(&link).body.contains("could not be checked for viruses"));
    assert_eq!(world.button(&link).status, 403);
    assert_eq!(told(config, "attachments list --check unscannable").as_array().map(Vec::len), Some(1));
    assert!(refused(config, &format!("attachments release {id} --file 7")).contains("has no file 7"));

    assert_eq!(told(config, &format!("attachments release {id}"))["changed"], 1);
    assert!(world.page(&link).body.contains("<button"), "{}", world.page(&link).body);
    assert!(world.fetch(&link) == file(SIZE));
    assert!(refused(config, &format!("attachments release {id}")).contains("none of the files is withheld"));

    assert_eq!(told(config, &format!("attachments refuse {id} --file 0"))["changed"], 1);
    assert!(world.page(&link).body.contains("Withheld by the administrator"));
    assert_eq!(world.button(&link).status, 403);
    // The same content comes again, in another message.
    let again = world.receive("more", &file(SIZE));
    world.checked("more", "refused");
    assert_eq!(world.button(&again).status, 403);

    until("the history to have it", || {
        let history = told(config, "history a@far.example").to_string();
        let said = ["given free", "refused"].map(|said| format!("plans.pdf: {said} by admin command line"));
        said.iter().all(|said| history.contains(said)).then_some(())
    });
    // The message's own lines are found by its id, too.
    let of_it = told(config, &format!("history {id}"));
    let of_it = of_it.as_array().expect("events");
    assert_eq!(of_it.iter().filter(|event| event["kind"] == "scan").count(), 3, "{of_it:?}");
    let (_, log, _) = cli(config, &format!("attachments export --message {id}"), "");
    assert!(
        log.contains("file 0 (plans.pdf): given free") && log.contains("file 0 (plans.pdf): refused"),
        "{log}"
    );
    world.gateway.stop();
}

#[test]
fn what_clamd_finds_is_given_to_nobody_and_what_is_clean_to_everybody() {
    let scratch = Scratch::new();
    let clamd = Clamd::start(&scratch.path("clamd"));
    let world = World::start(&[
        ("attachments.clamd", format!("{:?}", clamd.address())),
        ("attachments.clamd_size", "\"900 KiB\"".to_owned()),
    ]);
    let config = world.config.as_path();
    let clean = file(800_000);
    let link = world.receive("clean", &clean);
    world.checked("clean", "clear");
    assert!(world.page(&link).body.contains("<button"));
    assert!(world.fetch(&link) == clean);

    let harmful =
        [&file(500_000), std::str::from_utf8(HARMFUL).expect("it is text"), &file(300_000)].concat();
    let link = world.receive("gift", &harmful);
    let id = world.checked("gift", "found");
    let page = world.page(&link).body;
    assert!(page.contains("something harmful was found in it") && !page.contains("<button"), "{page}");
    assert_eq!(world.button(&link).status, 403);
    assert!(refused(config, &format!("attachments release {id}")).contains("something harmful was found"));
    let history = told(config, &format!("history {id}")).to_string();
    assert!(history.contains(&format!("gift.pdf: {NAME} was found: nobody gets it")), "{history}");

    // One of ours is told.
    let link = world.submit("report", &format!("{harmful}more"));
    world.checked("report", "found");
    assert_eq!(world.button(&link).status, 403);
    world.around.delivered(4);
    let notice = world.around.stands.next_hop.messages()[3].text();
    for words in ["To: <alice@example.com>", "report.pdf", NAME, "Nobody can download it"] {
        assert!(notice.contains(words), "{words}: {notice}");
    }
    world.gateway.stop();
}
