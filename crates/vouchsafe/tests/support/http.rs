//! HTTP/1.1 written by hand, one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Gateway, PATIENCE, Scratch};

/// What came back.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault}: {}", self.body))
    }
}

/// Sends a request line with header lines beneath it, and a body of this type.
pub fn send(at: SocketAddr, head: &str, kind: &str, body: &str) -> Answer {
    let mut stream = TcpStream::connect(at).expect("the page listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let length = body.len();
    let text = format!(
        "{head}\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {length}\r\nContent-Type: {kind}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).expect("the page reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the page answers");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// A gateway with a page and one listener, `more` beneath its settings; where its page is, and its settings.
pub fn with_page(scratch: &Scratch, more: &str) -> (Gateway, SocketAddr, std::path::PathBuf) {
    let config = scratch.write(
        "settings.toml",
        &format!(
            "data_dir = \"{}\"\nhostname = \"gw.example.com\"\n[[listener]]\nname = \"mx\"\nkind = \"mx\"\n\
             address = \"127.0.0.1:0\"\n[limits]\nfree_space = \"0 B\"\n[web]\naddress = \"127.0.0.1:0\"\n{more}",
            scratch.path("data").display()
        ),
    );
    let gateway = Gateway::start(&config);
    let at = gateway.log.wait("the page", |lines| {
        lines.iter().find_map(|line| line.split_once("page: http://")?.1.strip_suffix('/')?.parse().ok())
    });
    (gateway, at, config)
}
