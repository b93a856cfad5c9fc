//! The client's driver over pipes in memory: TLS modes, deadlines, bodies, kept sessions.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a panic, in helpers too")]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio_rustls::TlsAcceptor;
use vouchsafe_core::ports::{BodyReader, BoxFuture, StoreFault};
use vouchsafe_core::{Endpoint, Tell, TlsMode};
use vouchsafe_net::client::{Connection, Connector, Fault, FaultKind, Hello, Phase, Timeouts, TraceSink};
use vouchsafe_net::stream::{BoxStream, Dial};
use vouchsafe_smtp::{MailFrom, Mailbox, RcptTo, ReversePath, Secret};

type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// Gives out one prepared connection and keeps what was written, write by write.
struct Pipe {
    stream: Mutex<Option<DuplexStream>>,
    writes: Writes,
}

impl Dial for Pipe {
    fn dial<'a>(&'a self, _host: &'a str, _port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let stream = self.stream.lock().unwrap().take();
        let writes = self.writes.clone();
        Box::pin(async move {
            let stream = stream.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(Recorded { stream, writes }) as BoxStream)
        })
    }
}

struct Recorded {
    stream: DuplexStream,
    writes: Writes,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let Poll::Ready(Ok(count)) = &done {
            self.writes.lock().unwrap().push(buf[..*count].to_vec());
        }
        done
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Our end's connector, the peer's end, and the writes.
fn pipe(capacity: usize) -> (Connector, DuplexStream, Writes) {
    let (ours, theirs) = duplex(capacity);
    let writes = Writes::default();
    let pipe = Pipe { stream: Mutex::new(Some(ours)), writes: writes.clone() };
    (Connector::new(Arc::new(pipe)), theirs, writes)
}

/// Plays the peer: says each text, then waits for the octets behind it.
async fn play<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, lines: &[(&str, &str)]) {
    for (say, expect) in lines {
        stream.write_all(say.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let mut heard = vec![0; expect.len()];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&heard), *expect);
    }
}

const OPEN: [(&str, &str); 2] =
    [("220 mail.example\r\n", "EHLO gate.example\r\n"), ("250-mail.example\r\n250 PIPELINING\r\n", "")];
const TALK: &str = "MAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\nRSET\r\n";

fn endpoint(tls: TlsMode) -> Endpoint {
    Endpoint {
        protocol: vouchsafe_core::Protocol::Smtp,
        host: "mail.example".to_owned(),
        port: 25,
        tls,
        implicit_tls: false,
        login: None,
        tell: Tell::Nothing,
    }
}

async fn open(connector: &Connector, endpoint: &Endpoint, trace: TraceSink) -> Result<Connection, Fault> {
    let hello = Hello { name: "gate.example".to_owned() };
    Connection::open(connector, endpoint, &hello, &Timeouts::default(), trace).await
}

fn fault_of<T>(result: Result<T, Fault>) -> Fault {
    match result {
        Ok(_) => panic!("no fault"),
        Err(fault) => fault,
    }
}

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text, false).unwrap()
}

async fn ask(connection: &mut Connection) -> Result<Vec<u16>, Fault> {
    let mut codes = Vec::new();
    let recipients = [mailbox("b@x.example")];
    connection.callout(&ReversePath::Null, &recipients, &mut |_, reply| codes.push(reply.code)).await?;
    Ok(codes)
}

/// A self-signed certificate's acceptor and its pin.
fn self_signed() -> (TlsAcceptor, [u8; 32]) {
    use rcgen::PublicKeyData;
    use sha2::Digest;
    let made = rcgen::generate_simple_self_signed(vec!["mail.example".to_owned()]).unwrap();
    let pin = sha2::Sha256::digest(made.signing_key.subject_public_key_info()).into();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), pin)
}

/// Opens in `mode` against a peer with STARTTLS and a self-signed certificate; then logs in.
async fn open_with_starttls(mode: impl FnOnce([u8; 32]) -> TlsMode) -> Result<(Connection, [u8; 32]), Fault> {
    let (acceptor, pin) = self_signed();
    let (connector, mut theirs, _) = pipe(64 * 1024);
    let peer = tokio::spawn(async move {
        let offer = "250-mail.example\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n";
        play(&mut theirs, &[OPEN[0], (offer, "STARTTLS\r\n"), ("220 go\r\n", "")]).await;
        let Ok(mut theirs) = acceptor.accept(theirs).await else { return };
        let login = "AUTH LOGIN\r\n";
        let talk = [
            ("", "EHLO gate.example\r\n"),
            ("250-mail.example\r\n250 AUTH LOGIN\r\n", login),
            ("334 VXNlcm5hbWU6\r\n", "YWxpY2U=\r\n"),
            ("334 UGFzc3dvcmQ6\r\n", "c2VjcmV0\r\n"),
            ("235 2.7.0 ok\r\n", "QUIT\r\n"),
            ("221 bye\r\n", ""),
        ];
        play(&mut theirs, &talk).await;
    });
    let mut connection = match open(&connector, &endpoint(mode(pin)), None).await {
        Ok(connection) => connection,
        Err(fault) => {
            peer.await.unwrap();
            return Err(fault);
        }
    };
    let reply = connection.auth("alice", &Secret::new(*b"secret")).await?;
    assert_eq!(reply.code, 235);
    let shown = connection.tls().unwrap().spki_pin;
    Ok((connection, shown))
}

#[tokio::test]
async fn a_pinned_key_is_taken_and_shown() {
    let mut wanted = None;
    let (connection, shown) = open_with_starttls(|pin| {
        wanted = Some(pin);
        TlsMode::Pin(pin)
    })
    .await
    .unwrap();
    assert_eq!(Some(shown), wanted);
    assert_eq!(connection.tls().unwrap().version, "TLSv1_3");
    assert!(connection.tls().unwrap().pin_setting().starts_with("pin:sha256/"));
    connection.quit().await;
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_with_its_name() {
    let fault = fault_of(open_with_starttls(|_| TlsMode::Pin([7; 32])).await);
    assert_eq!(fault.phase, Phase::StartTls);
    assert!(matches!(&fault.kind, FaultKind::TlsRefused(why) if why.contains("sha256/")), "{fault}");
}

#[tokio::test]
async fn a_self_signed_certificate_does_not_verify() {
    let fault = fault_of(open_with_starttls(|_| TlsMode::Verify).await);
    assert_eq!(fault.phase, Phase::StartTls);
    assert!(matches!(&fault.kind, FaultKind::TlsRefused(_)), "{fault}");
}

#[tokio::test]
async fn opportunistic_takes_any_certificate() {
    let (connection, _) = open_with_starttls(|_| TlsMode::Opportunistic).await.unwrap();
    connection.quit().await;
}

#[tokio::test]
async fn tls_from_the_first_octet() {
    let (acceptor, pin) = self_signed();
    let (connector, theirs, _) = pipe(64 * 1024);
    tokio::spawn(async move {
        let mut theirs = acceptor.accept(theirs).await.unwrap();
        play(&mut theirs, &OPEN).await;
    });
    let endpoint = Endpoint { implicit_tls: true, ..endpoint(TlsMode::Pin(pin)) };
    let connection = open(&connector, &endpoint, None).await.unwrap();
    assert_eq!(connection.tls().unwrap().spki_pin, pin);
    assert!(connection.capabilities().pipelining);
}

#[tokio::test]
async fn a_kept_session_asks_again_and_notices_its_end() {
    let (connector, mut theirs, writes) = pipe(4096);
    let peer = tokio::spawn(async move {
        let replies = "250 ok\r\n550 5.1.1 no\r\n250 ok\r\n";
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, TALK), (replies, TALK), (replies, "")]).await;
        theirs
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    assert_eq!(ask(&mut connection).await.unwrap(), [550]);
    assert!(connection.is_ready());
    assert_eq!(ask(&mut connection).await.unwrap(), [550]);
    // MAIL, RCPT and RSET leave in one write.
    assert_eq!(writes.lock().unwrap().last().unwrap(), TALK.as_bytes());
    let mut theirs = peer.await.unwrap();
    theirs.write_all(b"421 4.4.2 timeout\r\n").await.unwrap();
    drop(theirs);
    assert!(!connection.is_ready());
    let fault = fault_of(ask(&mut connection).await);
    assert!(fault.is_stale_session(), "{fault}");
    assert_eq!(fault.to_string(), "mail.example:25 refused RSET (421 4.4.2 timeout)");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_waited_for_and_then_left() {
    let (connector, mut theirs, _) = pipe(4096);
    let peer = tokio::spawn(async move {
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, TALK)]).await;
        theirs
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let before = tokio::time::Instant::now();
    let fault = fault_of(ask(&mut connection).await);
    assert_eq!((fault.phase, fault.kind), (Phase::Mail, FaultKind::Timeout));
    assert_eq!(before.elapsed().as_secs(), 60);
    let mut theirs = peer.await.unwrap();
    // Closed, not kept.
    assert_eq!(theirs.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(fault_of(ask(&mut connection).await).kind, FaultKind::Closed);
}

#[tokio::test]
async fn a_session_whose_question_was_dropped_is_not_used_again() {
    let (connector, mut theirs, _) = pipe(4096);
    tokio::spawn(async move {
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, TALK), ("250 ok\r\n", "never said")]).await;
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(1), ask(&mut connection)).await.is_err());
    assert!(!connection.is_ready());
    assert!(matches!(fault_of(ask(&mut connection).await).kind, FaultKind::Local(_)));
}

#[tokio::test]
async fn the_trace_holds_the_dialogue_and_no_secret() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = lines.clone();
    let trace: TraceSink = Some(Arc::new(move |sent, line: &str| {
        sink.lock().unwrap().push(format!("{} {line}", if sent { '>' } else { '<' }));
    }));
    let (connector, mut theirs, _) = pipe(4096);
    tokio::spawn(async move {
        let offer = "250-mail.example\r\n250 AUTH PLAIN\r\n";
        let login = "AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n";
        play(&mut theirs, &[OPEN[0], (offer, login), ("535 5.7.8 no\r\n", "")]).await;
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), trace).await.unwrap();
    assert_eq!(connection.auth("alice", &Secret::new(*b"secret")).await.unwrap().code, 535);
    let expected = [
        "< 220 mail.example",
        "> EHLO gate.example",
        "< 250-mail.example",
        "< 250 AUTH PLAIN",
        "> AUTH PLAIN ***",
        "< 535 5.7.8 no",
    ];
    assert_eq!(*lines.lock().unwrap(), expected);
}

struct Chunks(Vec<Result<Bytes, StoreFault>>);
impl Chunks {
    fn new(chunks: impl IntoIterator<Item = Result<Bytes, StoreFault>>) -> Chunks {
        let mut chunks: Vec<_> = chunks.into_iter().collect();
        chunks.reverse();
        Chunks(chunks)
    }
}
impl BodyReader for Chunks {
    fn next(&mut self) -> BoxFuture<'_, Result<Option<Bytes>, StoreFault>> {
        let next = self.0.pop().transpose();
        Box::pin(async move { next })
    }
}

fn mail() -> MailFrom {
    MailFrom::new(ReversePath::Null)
}

fn rcpt() -> [RcptTo; 1] {
    [RcptTo { mailbox: mailbox("b@x.example"), notify: None, orcpt: None }]
}

const SEND: &str = "MAIL FROM:<>\r\nRCPT TO:<b@x.example>\r\nDATA\r\n";
const GO: &str = "250 ok\r\n250 ok\r\n354 go\r\n";

#[tokio::test]
async fn a_small_message_leaves_in_two_writes_the_dot_with_its_end() {
    let (connector, mut theirs, writes) = pipe(64 * 1024);
    tokio::spawn(async move {
        let body = "Subject: x\r\n\r\nhello\r\n.\r\n";
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, SEND), (GO, body), ("250 2.0.0 queued\r\n", "")]).await;
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let chunks =
        ["Subject: x\r\n\r\n", "", "hello\r\n", ""].map(|text| Ok(Bytes::from_static(text.as_bytes())));
    let replies = connection.deliver(&mail(), &rcpt(), 21, &mut Chunks::new(chunks)).await.unwrap();
    assert_eq!(replies.data.unwrap().code, 250);
    assert!(replies.reusable);
    let writes = writes.lock().unwrap();
    assert_eq!(writes.len(), 3, "EHLO, the group of commands, the body");
    assert!(writes[2].ends_with(b"hello\r\n.\r\n"));
}

/// 3.3 MB of lines that start with a dot; the writes of it.
async fn send_large(capacity: usize) -> Writes {
    let (connector, mut theirs, writes) = pipe(capacity);
    let line = ".0123456789".repeat(8) + "\r\n";
    let chunk = Bytes::from(line.repeat(2000));
    let expected = format!(".{line}").repeat(40_000) + ".\r\n";
    let peer = tokio::spawn(async move {
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, SEND), (GO, &expected), ("250 ok\r\n", "")]).await;
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let mut body = Chunks::new(std::iter::repeat_n(Ok(chunk), 20));
    let replies = connection.deliver(&mail(), &rcpt(), 0, &mut body).await.unwrap();
    assert_eq!(replies.data.unwrap().code, 250);
    peer.await.unwrap();
    writes
}

#[tokio::test]
async fn a_large_message_streams_whole_through_a_narrow_pipe() {
    send_large(1000).await;
}

#[tokio::test]
async fn the_dot_of_a_large_message_leaves_with_its_last_chunk() {
    let writes = send_large(1 << 20).await;
    let writes = writes.lock().unwrap();
    let longest = writes.iter().map(Vec::len).max().unwrap();
    assert!(longest < 512 * 1024, "the whole message is never in memory: {longest}");
    assert!(writes.last().unwrap().len() > 100_000, "{}", writes.last().unwrap().len());
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_body_is_heard() {
    let (connector, mut theirs, _) = pipe(1000);
    tokio::spawn(async move {
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, SEND), (GO, "xxxx"), ("552 5.3.4 too big\r\n", "")]).await;
        tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await.unwrap();
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let chunk = Bytes::from(vec![b'x'; 256 * 1024]);
    let mut body = Chunks::new(std::iter::repeat_n(Ok(chunk), 20));
    let fault = fault_of(connection.deliver(&mail(), &rcpt(), 0, &mut body).await);
    assert_eq!(fault.phase, Phase::Body);
    assert!(matches!(fault.kind, FaultKind::Refused(reply) if reply.code == 552));
}

#[tokio::test]
async fn a_body_that_cannot_be_read_gets_no_final_dot() {
    let (connector, mut theirs, writes) = pipe(64 * 1024);
    tokio::spawn(async move {
        play(&mut theirs, &[OPEN[0], (OPEN[1].0, SEND), (GO, "")]).await;
        tokio::io::copy(&mut theirs, &mut tokio::io::sink()).await.unwrap();
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let corrupt = || Err(StoreFault::Corrupt("crc".to_owned()));
    let mut body = Chunks::new([Ok(Bytes::from_static(b"a\r\n")), corrupt()]);
    let fault = fault_of(connection.deliver(&mail(), &rcpt(), 3, &mut body).await);
    assert_eq!(fault.phase, Phase::Body);
    assert!(matches!(fault.kind, FaultKind::Local(_)));
    assert!(!writes.lock().unwrap().iter().any(|write| write.ends_with(b".\r\n")));

    // Unreadable from the first chunk on: the peer hears nothing at all.
    let (connector, mut theirs, writes) = pipe(64 * 1024);
    tokio::spawn(async move {
        play(&mut theirs, &OPEN).await;
        theirs.read_u8().await
    });
    let mut connection = open(&connector, &endpoint(TlsMode::Off), None).await.unwrap();
    let fault = fault_of(connection.deliver(&mail(), &rcpt(), 3, &mut Chunks::new([corrupt()])).await);
    assert_eq!(fault.phase, Phase::Mail);
    assert_eq!(writes.lock().unwrap().len(), 1, "EHLO alone");
    assert!(connection.is_ready());
}

#[tokio::test]
async fn a_dead_end_is_unreachable() {
    let (connector, theirs, _) = pipe(1);
    drop(theirs);
    let fault = fault_of(open(&connector, &endpoint(TlsMode::Off), None).await);
    assert_eq!(fault.phase, Phase::Banner);
    let fault = fault_of(open(&connector, &endpoint(TlsMode::Off), None).await);
    assert!(matches!((fault.phase, fault.kind), (Phase::Connect, FaultKind::Unreachable(_))));
}
