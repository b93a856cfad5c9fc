//! clamd, asked by INSTREAM (clamd(8)): `zINSTREAM\0`, then chunks behind their lengths, an empty one at the end; one line
//! comes back. What the line means is `vouchsafe_core::scan`'s to say.
//!
//! A clamd that has had enough says so in the middle and hangs up: its words are read even so.
//! Proof: the tests below, and `crates/gateway/tests/scanning.rs` with the real one.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use vouchsafe_core::scan::ScannerAt;

use crate::stream::BoxStream;

/// It is reached after this long.
const CONNECT: Duration = Duration::from_secs(10);
/// It takes a chunk within this long.
const STALL: Duration = Duration::from_secs(60);
/// It has looked at a whole file after this long: above clamd's own MaxScanTime of two minutes.
const THINKING: Duration = Duration::from_secs(300);
/// Octets of an answer that are read.
const ANSWER: u64 = 4096;

/// A file on its way through clamd.
pub struct Instream {
    stream: BoxStream,
    /// It took no more.
    refused: bool,
}

async fn within<T>(time: Duration, what: &str, job: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late =
        || io::Error::new(io::ErrorKind::TimedOut, format!("{what} took more than {} s", time.as_secs()));
    timeout(time, job).await.map_err(|_| late())?
}

impl Instream {
    /// Connects and begins.
    pub async fn begin(at: &ScannerAt) -> io::Result<Instream> {
        let connect = async {
            Ok::<BoxStream, io::Error>(match at {
                ScannerAt::Unix(path) => Box::new(UnixStream::connect(path).await?),
                ScannerAt::Tcp(host, port) => Box::new(TcpStream::connect((host.as_str(), *port)).await?),
            })
        };
        let mut stream = within(CONNECT, "the connection", connect).await?;
        within(STALL, "the command", stream.write_all(b"zINSTREAM\0")).await?;
        Ok(Instream { stream, refused: false })
    }

    /// Sends a stretch of the file. False if clamd takes no more: then [`Instream::finish`] tells why.
    pub async fn send(&mut self, octets: &[u8]) -> io::Result<bool> {
        if octets.is_empty() || self.refused {
            return Ok(!self.refused);
        }
        let len = u32::try_from(octets.len()).map_err(io::Error::other)?.to_be_bytes();
        let job = async {
            self.stream.write_all(&len).await?;
            self.stream.write_all(octets).await
        };
        match within(STALL, "a chunk", job).await {
            Ok(()) => Ok(true),
            Err(error) if is_hung_up(&error) => {
                self.refused = true;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the file and answers with clamd's line.
    pub async fn finish(mut self) -> io::Result<String> {
        if !self.refused {
            match within(STALL, "the end", self.stream.write_all(&[0; 4])).await {
                Err(error) if !is_hung_up(&error) => return Err(error),
                _ => {}
            }
        }
        let mut answer = Vec::new();
        let mut reading = (&mut self.stream).take(ANSWER);
        let job = async {
            loop {
                let octet = match reading.read_u8().await {
                    Ok(octet) => octet,
                    Err(error) if !answer.is_empty() && is_hung_up(&error) => break,
                    Err(error) => return Err(error),
                };
                match octet {
                    0 => break,
                    octet => answer.push(octet),
                }
            }
            Ok(())
        };
        within(THINKING, "the answer", job).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }
}

fn is_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    /// A clamd that takes so many octets of file and then says this; also what it was sent.
    async fn scripted(take: usize, say: &'static [u8]) -> (ScannerAt, tokio::task::JoinHandle<Vec<u8>>) {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("clamd-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let kept = path.clone();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            std::fs::remove_file(kept).unwrap();
            let mut command = [0; 10];
            stream.read_exact(&mut command).await.unwrap();
            assert_eq!(&command, b"zINSTREAM\0");
            let mut file = Vec::new();
            while file.len() < take {
                let len = stream.read_u32().await.unwrap() as usize;
                if len == 0 {
                    break;
                }
                let start = file.len();
                file.resize(start + len, 0);
                stream.read_exact(&mut file[start..]).await.unwrap();
            }
            stream.write_all(say).await.unwrap();
            file
        });
        (ScannerAt::Unix(path), task)
    }

    #[tokio::test]
    async fn a_file_goes_over_in_chunks_and_a_line_comes_back() {
        let (at, clamd) = scripted(usize::MAX, b"stream: OK\0").await;
        let mut scan = Instream::begin(&at).await.unwrap();
        assert!(scan.send(b"first").await.unwrap() && scan.send(b"").await.unwrap());
        assert!(scan.send(b" second").await.unwrap());
        assert_eq!(scan.finish().await.unwrap(), "stream: OK");
        assert_eq!(clamd.await.unwrap(), b"first second");
    }

    #[tokio::test]
    async fn who_has_had_enough_is_heard() {
        let (at, clamd) = scripted(100_000, b"INSTREAM size limit exceeded. ERROR\0").await;
        let mut scan = Instream::begin(&at).await.unwrap();
        let chunk = vec![7; 50_000];
        while scan.send(&chunk).await.unwrap() {}
        assert!(!scan.send(&chunk).await.unwrap());
        assert_eq!(scan.finish().await.unwrap(), "INSTREAM size limit exceeded. ERROR");
        clamd.await.unwrap();
    }

    #[tokio::test]
    async fn silence_is_no_answer() {
        let (at, clamd) = scripted(usize::MAX, b"").await;
        let scan = Instream::begin(&at).await.unwrap();
        assert!(scan.finish().await.is_err());
        clamd.await.unwrap();
        assert!(Instream::begin(&ScannerAt::Unix("/nowhere/clamd.ctl".into())).await.is_err());
    }
}
