//! A large file through the real binary: in by SMTP, a link at the next hop, the page, the same octets back; in pieces, by
//! HTTP/1.1 and HTTP/2, and after a restart.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use support::smtp::Smtp;
use support::{Gateway, PATIENCE, Scratch, free_port};
use tokio::net::TcpListener;
use vouchsafe_fakes::{NextHop, next_hop::Behaviour, serve_tcp};

/// Octets of the file.
const SIZE: usize = 3_000_000;

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> &str {
        let named =
            |line: &&str| line.split(':').next().is_some_and(|field| field.eq_ignore_ascii_case(name));
        self.head.lines().find(named).map_or("", |line| line[name.len() + 1..].trim())
    }
}

/// One request by hand, on a connection of its own.
fn ask(at: SocketAddr, method: &str, path: &str, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(at).expect("the pages are served");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let text = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: 0\r\n{fields}\r\n"
    );
    stream.write_all(text.as_bytes()).expect("it is read");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it is answered");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head ends");
    let head = String::from_utf8(answer[..end].to_vec()).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head, body: answer.split_off(end + 4) }
}

fn octets() -> Vec<u8> {
    (0..SIZE as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn base64(octets: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    // 57 octets make a line of 76 digits; the file's length is a multiple of 3.
    for line in octets.chunks(57) {
        for three in line.chunks(3) {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            (0..4).rev().for_each(|place| text.push(char::from(DIGITS[(bits >> (6 * place)) as usize & 63])));
        }
        text.push_str("\r\n");
    }
    text
}

fn message() -> String {
    format!(
        "From: ann@sender.example\r\nTo: bob@far.example\r\nSubject: =?utf-8?Q?Pl=C3=A4ne?= for\r\n the hall\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
         Here they are.\r\n--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=plan.pdf\r\n\r\n{}--b--\r\n",
        base64(&octets())
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_out_as_it_went_in() {
    let next_hop = NextHop::new(Behaviour::new("hop.example"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let hop = listener.local_addr().expect("it is bound");
    tokio::spawn(serve_tcp(listener, next_hop.clone()));
    let scratch = Scratch::new();
    let at: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let config = scratch.write(
        "vouchsafe.toml",
        &format!(
            "hostname = \"gate.example\"\ndata_dir = \"{}\"\n[[listener]]\nname = \"in\"\nkind = \"trusted\"\n\
             address = \"127.0.0.1:0\"\ntls = \"off\"\n[relay]\nnext_hop = {{ host = \"{hop}\", tls = \"off\" }}\n\
             trusted_networks = [\"127.0.0.1\"]\n[limits]\nfree_space = \"0 B\"\n[web]\naddress = \"off\"\n\
             downloads = \"{at}\"\npublic_url = \"http://{at}\"\n[attachments]\npart_over = \"100 kB\"\n",
            scratch.path("data").display()
        ),
    );
    let gateway = Gateway::start(&config);
    let mut smtp = Smtp::open(gateway.address("in")).expect("it greets");
    let reply = smtp.message("ann@sender.example", "bob@far.example", &message()).expect("it answers");
    assert!(reply.starts_with("250"), "{reply}");
    let arrived =
        tokio::time::timeout(Duration::from_secs(30), next_hop.wait(|seen| seen.messages == 1)).await;
    arrived.expect("it is delivered");
    let text = next_hop.messages()[0].text();
    assert!(text.len() < 5_000, "{text}");
    let start = format!("http://{at}/");
    let link = text.split_once(&start).expect("a link").1;
    let link = format!("/{}", &link[..32]);

    let page = ask(at, "GET", &link, "");
    let html = String::from_utf8(page.body).expect("a page is text");
    assert!(
        page.status == 200 && html.contains("plan.pdf") && html.contains("<h1>Pläne for the hall</h1>"),
        "{html}"
    );
    let button = ask(at, "POST", &format!("{link}/0"), "");
    assert_eq!(button.status, 303);
    let file = button.field("location").to_owned();
    let whole = ask(at, "GET", &file, "");
    assert_eq!((whole.status, whole.field("content-type")), (200, "application/pdf"));
    assert!(whole.body == octets(), "{} octets", whole.body.len());

    // The connection is cut half-way, the gateway starts anew, the rest is fetched.
    let mut cut = TcpStream::connect(at).expect("the pages are served");
    write!(cut, "GET {file} HTTP/1.1\r\nHost: {at}\r\n\r\n").expect("it is read");
    let mut half = vec![0; 1_000_000];
    cut.read_exact(&mut half).expect("it is sent");
    drop(cut);
    gateway.stop();
    let gateway = Gateway::start(&config);
    let fields = format!("Range: bytes=1000000-\r\nIf-Range: {}\r\n", whole.field("etag"));
    let rest = ask(at, "GET", &file, &fields);
    assert_eq!((rest.status, rest.field("content-range")), (206, "bytes 1000000-2999999/3000000"));
    assert!(rest.body == octets()[1_000_000..]);

    // The same twice on one connection of HTTP/2.
    let stream = tokio::net::TcpStream::connect(at).await.expect("the pages are served");
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let mut client = client.ready().await.expect("it is ready");
    for _ in 0..2 {
        let request = http::Request::get(format!("http://{at}{file}")).body(()).expect("a request");
        let (answer, _) = client.send_request(request, true).expect("it is sent");
        let mut body = answer.await.expect("it is answered").into_body();
        let mut fetched = Vec::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk.expect("it is sent whole");
            fetched.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len()).expect("it was taken");
        }
        assert!(fetched == octets(), "{} octets", fetched.len());
    }
    driving.abort();

    assert_eq!(ask(at, "GET", "/nothing", "").status, 404);
    gateway.stop();
}
