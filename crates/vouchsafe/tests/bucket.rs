//! Large files in a bucket of a real S3 server, at the real binary: in by a message, out by its link, and gone when erased.

mod support;

use support::http::send;
use support::loopback::Loopback;
use support::smtp::Smtp;
use support::{Gateway, cli, files, free_port, until};
use vouchsafe_testkit::s3::{BUCKET, LOGIN, S3Server};

/// Parts of an upload are 5 MiB: this is two and a piece.
const SIZE: usize = 11_000_000;

/// Text whose every line says where it stands.
fn file() -> String {
    let mut text: String = (0..=SIZE / 10).map(|line| format!("{line:08}\r\n")).collect();
    text.truncate(SIZE);
    text
}

#[test]
fn a_large_file_goes_through_the_bucket_and_leaves_it_when_erased() {
    let server = S3Server::start();
    let around = Loopback::start();
    let pages = ([127, 0, 0, 1], free_port()).into();
    let change = |key: &str, value: String| (key.to_owned(), value);
    let key = around.scratch.write("s3.key", LOGIN.1);
    let config = around.settings(&[
        change("web.downloads", format!("\"{pages}\"")),
        change("web.public_url", format!("\"http://{pages}\"")),
        change("attachments.part_over", "\"1 MB\"".to_owned()),
        change("attachments.inbound", "\"unscanned\"".to_owned()),
        change("attachments.store", format!("\"s3://{BUCKET}/gateway\"")),
        change("attachments.s3_endpoint", format!("{:?}", server.endpoint())),
        change(
            "attachments.s3_login",
            format!("{{ user = \"{}\", password = {{ file = {:?} }} }}", LOGIN.0, key.display().to_string()),
        ),
    ]);
    let gateway = Gateway::start(&config);
    let file = file();
    let message = format!(
        "From: <a@far.example>\r\nSubject: plans\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee it.\r\n\
         --b\r\nContent-Type: application/pdf; name=plans.pdf\r\n\
         Content-Disposition: attachment; filename=plans.pdf\r\n\r\n{file}\r\n--b--\r\n"
    );
    let mut smtp = Smtp::open(gateway.address("mx")).expect("it listens");
    let reply = smtp.message("a@far.example", "bob@example.com", &message).expect("it answers");
    assert!(reply.starts_with("250 "), "{reply}");
    around.delivered(1);
    let text = around.stands.next_hop.messages()[0].text();
    assert!(text.len() < 10_000, "{} octets", text.len());
    let link = text.split_once(&format!("http://{pages}/")).expect("a link").1;
    let link = format!("/{}", &link[..32]);

    // One object, and nothing on our own disk.
    let objects = server.folder("gateway");
    let kept = files(&objects);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::metadata(&kept[0]).expect("it is there").len(), SIZE as u64);
    let here = files(around.places.data_dir.as_ref());
    let in_blobs = |path: &std::path::PathBuf| path.components().any(|name| name.as_os_str() == "blobs");
    assert!(!here.iter().any(in_blobs), "{here:?}");

    let form = "application/x-www-form-urlencoded";
    let button = send(pages, &format!("POST {link}/0 HTTP/1.1"), form, "");
    assert_eq!(button.status, 303, "{}", button.body);
    let place = button.head.lines().find_map(|line| line.strip_prefix("location: ")).expect("a place");
    let get = format!("GET {place} HTTP/1.1");
    assert!(send(pages, &get, form, "").body == file);
    // Across the border of two parts.
    let (from, to) = (5_200_000, 5_300_000);
    let part = send(pages, &format!("{get}\r\nRange: bytes={from}-{}", to - 1), form, "");
    assert!(part.status == 206 && part.body == file[from..to], "{}", part.head);

    let (code, out, said) = cli(&config, "attachments erase --sender a@far.example --yes --json", "");
    assert!(code == 0 && out.contains("\"changed\": 1"), "{out}{said}");
    until("the object to go", || files(&objects).is_empty().then_some(()));
    assert_eq!(send(pages, &get, form, "").status, 404);
    gateway.stop();
}
