//! A large file through the real binary: in by SMTP, a link at the next hop, the page, the same octets back; in pieces, by
//! HTTP/1.1 and HTTP/2, and after a restart; over TLS with a certificate of our own.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use support::smtp::Smtp;
use support::{Gateway, PATIENCE, Scratch, free_port};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vouchsafe_fakes::tls::SelfSigned;
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
    parsed(answer)
}

fn parsed(mut answer: Vec<u8>) -> Answer {
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

/// A gateway that has delivered a link.
struct Delivered {
    gateway: Gateway,
    config: PathBuf,
    at: SocketAddr,
    /// The link's path.
    link: String,
}

/// Sends the message through a gateway with these further lines of settings, the first of them of `[web]`.
async fn delivered(scratch: &Scratch, scheme: &str, more: &str) -> Delivered {
    let next_hop = NextHop::new(Behaviour::new("hop.example"));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let hop = listener.local_addr().expect("it is bound");
    tokio::spawn(serve_tcp(listener, next_hop.clone()));
    let at: SocketAddr = ([127, 0, 0, 1], free_port()).into();
    let config = scratch.write(
        "vouchsafe.toml",
        &format!(
            "hostname = \"gate.example\"\ndata_dir = \"{}\"\n[[listener]]\nname = \"in\"\nkind = \"trusted\"\n\
             address = \"127.0.0.1:0\"\ntls = \"off\"\n[relay]\nnext_hop = {{ host = \"{hop}\", tls = \"off\" }}\n\
             trusted_networks = [\"127.0.0.1\"]\n[limits]\nfree_space = \"0 B\"\n[attachments]\n\
             part_over = \"100 kB\"\n[web]\naddress = \"off\"\ndownloads = \"{at}\"\n\
             public_url = \"{scheme}://{at}\"\n{more}",
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
    let link = text.split_once(&format!("{scheme}://{at}/")).expect("a link").1;
    let link = format!("/{}", &link[..32]);
    Delivered { gateway, config, at, link }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_comes_out_as_it_went_in() {
    let scratch = Scratch::new();
    let Delivered { gateway, config, at, link } = delivered(&scratch, "http", "").await;

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
    let address = format!("http://{at}{file}");
    for (status, body) in by_http2(stream, [(&*address, ""), (&*address, "")]).await {
        assert!(status == 200 && body == octets(), "{status}, {} octets", body.len());
    }

    assert_eq!(ask(at, "GET", "/nothing", "").status, 404);
    gateway.stop();
}

/// GETs, one after the other, on one connection of HTTP/2: address and Range of each.
async fn by_http2(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    requests: [(&str, &str); 2],
) -> Vec<(u16, Vec<u8>)> {
    let (client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let driving = tokio::spawn(connection);
    let mut client = client.ready().await.expect("it is ready");
    let mut answers = Vec::new();
    for (address, range) in requests {
        let mut request = http::Request::get(address);
        if !range.is_empty() {
            request = request.header("range", range);
        }
        let (answer, _) =
            client.send_request(request.body(()).expect("a request"), true).expect("it is sent");
        let answer = answer.await.expect("it is answered");
        let status = answer.status().as_u16();
        let (mut body, mut fetched) = (answer.into_body(), Vec::new());
        while let Some(chunk) = body.data().await {
            let chunk = chunk.expect("it is sent whole");
            fetched.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len()).expect("it was taken");
        }
        answers.push((status, fetched));
    }
    driving.abort();
    answers
}

/// A TLS connection that trusts nothing but this certificate, and offers these protocols.
async fn secured(
    at: SocketAddr,
    certificate: &[u8],
    protocols: &[&[u8]],
) -> TlsStream<tokio::net::TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(certificate.to_vec())).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.expect("TLS 1.2 and 1.3").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = tokio::net::TcpStream::connect(at).await.expect("the pages are served");
    let name = ServerName::try_from("files.example").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("our certificate")
}

/// One request by hand over TLS.
async fn ask_secured(mut stream: TlsStream<tokio::net::TcpStream>, head: &str) -> Answer {
    let text = format!("{head}\r\nHost: files.example\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.expect("it is read");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    read.expect("it ends").expect("with a close_notify");
    parsed(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_the_same_file_comes_with_our_certificate() {
    let scratch = Scratch::new();
    let identity = SelfSigned::new("files.example").expect("a certificate");
    let pem = scratch.write("identity.pem", &identity.pem);
    let tls = format!("downloads_tls = \"on\"\n[tls]\ncertificate = \"{0}\"\nkey = \"{0}\"\n", pem.display());
    let Delivered { gateway, at, link, .. } = delivered(&scratch, "https", &tls).await;

    // Who names no protocol gets HTTP/1.1.
    let stream = secured(at, &identity.certificate, &[]).await;
    let page = ask_secured(stream, &format!("GET {link} HTTP/1.1")).await;
    assert!(page.status == 200 && String::from_utf8_lossy(&page.body).contains("plan.pdf"));
    let stream = secured(at, &identity.certificate, &[b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let button = ask_secured(stream, &format!("POST {link}/0 HTTP/1.1")).await;
    assert_eq!(button.status, 303);
    let file = button.field("location").to_owned();
    let stream = secured(at, &identity.certificate, &[b"http/1.1"]).await;
    let whole = ask_secured(stream, &format!("GET {file} HTTP/1.1")).await;
    assert!(whole.status == 200 && whole.body == octets(), "{} octets", whole.body.len());
    let stream = secured(at, &identity.certificate, &[b"http/1.1"]).await;
    let range = format!("GET {file} HTTP/1.1\r\nRange: bytes=1000000-1999999");
    let part = ask_secured(stream, &range).await;
    assert_eq!((part.status, part.field("content-range")), (206, "bytes 1000000-1999999/3000000"));
    assert!(part.body == octets()[1_000_000..2_000_000]);

    // Who speaks both gets HTTP/2.
    let stream = secured(at, &identity.certificate, &[b"h2", b"http/1.1"]).await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let address = format!("https://files.example{file}");
    let answers = by_http2(stream, [(&address, ""), (&address, "bytes=-1000")]).await;
    assert!(answers[0].0 == 200 && answers[0].1 == octets(), "{} octets", answers[0].1.len());
    assert!(answers[1].0 == 206 && answers[1].1 == octets()[SIZE - 1_000..]);

    // In clear nothing is said there.
    let mut clear = TcpStream::connect(at).expect("it listens");
    clear.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    clear.write_all(format!("GET {file} HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes()).expect("it is read");
    let mut said = Vec::new();
    // It may be reset, too: the request was never read to its end.
    let _ = clear.read_to_end(&mut said);
    assert!(!String::from_utf8_lossy(&said).contains("HTTP/"), "{said:?}");
    gateway.stop();
}
