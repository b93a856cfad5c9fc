//! The PROXY header, versions 1 and 2 (haproxy's proxy-protocol.txt): who the client of a front end is. Read before
//! anything else of a connection, TLS included.
//!
//! Believed from nobody here: the caller asks for it only where the peer is a named proxy. Strict, as proxies make no
//! mistakes: a header that is not whole in [`WAIT`], too long or odd ends the connection. What a version 2 header has
//! beside addresses is skipped. Proof: the tests below, a real HAProxy in `crates/vouchsafe/tests/identity.rs`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::stream::BoxStream;

/// A front end sends its header at once. One that is silent for so long will tell us by XCLIENT, or not at all.
pub const WAIT: Duration = Duration::from_secs(3);
/// Version 1: octets with CRLF, at most (section 2.1).
const V1: usize = 107;
const V1_START: &[u8] = b"PROXY ";
/// Version 2: the signature, then version and command, family, length.
const V2_START: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_FRONT: usize = 16;
/// Version 2: octets behind the front, at most. Certificates of clients stay far below.
const V2: usize = 4096;

/// What a front end told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The client's address.
    Client(SocketAddr),
    /// A header without a client: the front end speaks for itself (health checks).
    Itself,
    /// No header.
    Nothing,
    /// The connection ended without an octet, as health checks do.
    Gone,
}

/// How the octets so far read.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// A header has begun and goes on; nothing yet.
    More,
    /// No header begins so.
    Other,
    /// A header of so many octets.
    Header(usize, Told),
    /// A header that cannot be.
    Odd(&'static str),
}

/// Reads the header. The stream that comes back begins behind it. The error says what was odd.
pub async fn read(mut stream: BoxStream) -> Result<(BoxStream, Told), String> {
    let mut octets = Vec::new();
    let told = timeout(WAIT, async {
        loop {
            match judge(&octets) {
                Read::More => {}
                Read::Other => return Ok((0, Told::Nothing)),
                Read::Header(len, told) => return Ok((len, told)),
                Read::Odd(what) => return Err(what.to_owned()),
            }
            if stream.read_buf(&mut octets).await.map_err(|fault| fault.to_string())? == 0 {
                if octets.is_empty() {
                    return Ok((0, Told::Gone));
                }
                return Err("the connection ended in it".to_owned());
            }
        }
    });
    let (len, told) = match told.await {
        Ok(told) => told?,
        Err(_) if octets.is_empty() => (0, Told::Nothing),
        Err(_) => return Err("it was not whole in time".to_owned()),
    };
    octets.drain(..len);
    match octets.is_empty() {
        true => Ok((stream, told)),
        false => Ok((Box::new(Behind { octets, used: 0, stream }), told)),
    }
}

fn judge(octets: &[u8]) -> Read {
    let begins = |start: &[u8]| octets.iter().zip(start).all(|(is, wanted)| is == wanted);
    if begins(V1_START) {
        if octets.len() < V1_START.len() {
            return Read::More;
        }
        let end = octets.iter().take(V1).position(|octet| *octet == b'\n');
        return match end {
            Some(end) => v1(&octets[..=end]).map_or_else(Read::Odd, |told| Read::Header(end + 1, told)),
            None if octets.len() >= V1 => Read::Odd("version 1: longer than 107 octets"),
            None => Read::More,
        };
    }
    if begins(V2_START) {
        let Some(front) = octets.first_chunk::<V2_FRONT>() else { return Read::More };
        let len = usize::from(u16::from_be_bytes([front[14], front[15]]));
        return match octets.get(V2_FRONT..V2_FRONT + len) {
            _ if len > V2 => Read::Odd("version 2: longer than 4096 octets"),
            None => Read::More,
            Some(rest) => v2(front[12], front[13], rest)
                .map_or_else(Read::Odd, |told| Read::Header(V2_FRONT + len, told)),
        };
    }
    Read::Other
}

/// `PROXY TCP4 source destination port port CRLF`, `PROXY UNKNOWN ... CRLF`.
fn v1(line: &[u8]) -> Result<Told, &'static str> {
    let text = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    let mut words = text.ok_or("version 1: no line of text")?.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    let family = next();
    if family == "UNKNOWN" {
        return Ok(Told::Itself);
    }
    let (source, destination) = (next().parse::<IpAddr>(), next().parse::<IpAddr>());
    let (Ok(source), Ok(destination)) = (source, destination) else { return Err("version 1: no address") };
    let fits =
        |address: IpAddr| matches!((family, address), ("TCP4", IpAddr::V4(_)) | ("TCP6", IpAddr::V6(_)));
    let port = |text: &str| {
        let digits =
            text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
        text.parse::<u16>().ok().filter(|_| digits).ok_or("version 1: no port")
    };
    let (from, _) = (port(next())?, port(next())?);
    if !fits(source) || !fits(destination) || !next().is_empty() {
        return Err("version 1: an odd line");
    }
    Ok(Told::Client(client(source, from)))
}

fn v2(version: u8, family: u8, rest: &[u8]) -> Result<Told, &'static str> {
    let short = "version 2: shorter than its addresses";
    match (version, family) {
        // LOCAL: whatever else it says is not looked at (section 2.2).
        (0x20, _) => Ok(Told::Itself),
        (0x21, 0x11) => {
            let [a, b, c, d, _, _, _, _, high, low, _, _] = *rest.first_chunk().ok_or(short)?;
            Ok(Told::Client(client(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low]))))
        }
        (0x21, 0x21) => {
            let addresses: &[u8; 36] = rest.first_chunk().ok_or(short)?;
            let source: [u8; 16] = *addresses.first_chunk().ok_or(short)?;
            let port = u16::from_be_bytes([addresses[32], addresses[33]]);
            Ok(Told::Client(client(Ipv6Addr::from(source).into(), port)))
        }
        (0x21, 0x00) => Ok(Told::Itself),
        (0x21, _) => Err("version 2: no TCP"),
        _ => Err("version 2: an unknown version or command"),
    }
}

fn client(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

/// A stream of which some octets have been read already.
struct Behind {
    octets: Vec<u8>,
    used: usize,
    stream: BoxStream,
}

impl AsyncRead for Behind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.octets.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, out);
        }
        let rest = &self.octets[self.used..];
        let count = rest.len().min(out.remaining());
        out.put_slice(&rest[..count]);
        self.used += count;
        if self.used == self.octets.len() {
            (self.octets, self.used) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Behind {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncWriteExt, duplex};

    const V4: &[u8] = &[198, 51, 100, 7, 192, 0, 2, 1, 0x9c, 0xbb, 0, 25];

    fn header(version: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_START, &[version, family], &len, rest].concat()
    }

    fn told(octets: &[u8]) -> Read {
        for at in 0..octets.len() {
            assert_eq!(judge(&octets[..at]), Read::More, "after {at} octets");
        }
        let more = [octets, b"EHLO x\r\n"].concat();
        assert_eq!(judge(octets), judge(&more));
        judge(octets)
    }

    fn whole(octets: &[u8], client: &str) {
        assert_eq!(told(octets), Read::Header(octets.len(), Told::Client(client.parse().unwrap())));
    }

    #[test]
    fn both_versions_name_the_client_and_end_where_they_say() {
        whole(b"PROXY TCP4 198.51.100.7 192.0.2.1 40123 25\r\n", "198.51.100.7:40123");
        whole(b"PROXY TCP6 2001:db8::7 2001:db8::1 40123 25\r\n", "[2001:db8::7]:40123");
        whole(b"PROXY TCP6 ::ffff:198.51.100.7 ::1 40123 25\r\n", "198.51.100.7:40123");
        whole(&header(0x21, 0x11, V4), "198.51.100.7:40123");
        whole(&header(0x21, 0x11, &[V4, &[4, 0, 1, 0]].concat()), "198.51.100.7:40123");
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&40123_u16.to_be_bytes());
        whole(&header(0x21, 0x21, &v6), "[2001:db8::7]:40123");
    }

    #[test]
    fn a_front_end_may_speak_for_itself() {
        for octets in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            b"PROXY UNKNOWN 198.51.100.7 192.0.2.1 40123 25\r\n".to_vec(),
            header(0x20, 0, b""),
            header(0x20, 0x11, V4),
            header(0x21, 0, b""),
        ] {
            assert_eq!(told(&octets), Read::Header(octets.len(), Told::Itself));
        }
    }

    #[test]
    fn odd_headers_are_refused() {
        for line in [
            "PROXY TCP4 198.51.100.7 192.0.2.1 40123\r\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 40123 25 x\r\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 +1 25\r\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 01 25\r\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 65536 25\r\n",
            "PROXY TCP4 2001:db8::7 192.0.2.1 40123 25\r\n",
            "PROXY TCP6 198.51.100.7 192.0.2.1 40123 25\r\n",
            "PROXY TCP4  198.51.100.7 192.0.2.1 40123 25\r\n",
            "PROXY UDP4 198.51.100.7 192.0.2.1 40123 25\r\n",
            "PROXY TCP4 198.51.100.7 192.0.2.1 40123 25\n",
            "PROXY \r\n",
        ] {
            assert!(matches!(told(line.as_bytes()), Read::Odd(_)), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert!(matches!(judge(long.as_bytes()), Read::Odd(_)));
        for octets in [
            header(0x21, 0x11, &V4[..11]),
            header(0x21, 0x21, V4),
            header(0x21, 0x12, V4),
            header(0x21, 0x31, &[0; 216]),
            header(0x11, 0x11, V4),
            header(0x22, 0x11, V4),
            header(0x21, 0x11, &[0; V2 + 1]),
        ] {
            assert!(matches!(judge(&octets), Read::Odd(_)), "{octets:?}");
        }
    }

    async fn read_from(octets: &[u8], close: bool) -> Result<(String, Told), String> {
        let (ours, mut theirs) = duplex(4096);
        theirs.write_all(octets).await.unwrap();
        let keep = (!close).then_some(theirs);
        let (mut stream, told) = read(Box::new(ours)).await?;
        drop(keep);
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        Ok((rest, told))
    }

    #[tokio::test(start_paused = true)]
    async fn what_stands_behind_the_header_is_left_and_a_silent_peer_is_not_waited_for() {
        let client = Told::Client("198.51.100.7:40123".parse().unwrap());
        let v1 = b"PROXY TCP4 198.51.100.7 192.0.2.1 40123 25\r\nEHLO x\r\n";
        assert_eq!(read_from(v1, true).await, Ok(("EHLO x\r\n".to_owned(), client)));
        assert_eq!(read_from(b"EHLO x\r\n", true).await, Ok(("EHLO x\r\n".to_owned(), Told::Nothing)));
        assert_eq!(read_from(b"", false).await, Ok((String::new(), Told::Nothing)));
        assert!(read_from(b"PROX", false).await.is_err());
        assert!(read_from(b"PROXY TCP4", true).await.is_err());
        assert_eq!(read_from(b"", true).await, Ok((String::new(), Told::Gone)));
    }
}
