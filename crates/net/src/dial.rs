//! TCP connections out. Decides nothing but the order of addresses. Proof: the tests below.

use crate::own::Own;
use crate::stream::{BoxStream, Dial};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use vouchsafe_core::ports::BoxFuture;

/// Dials with the system's resolver and TCP. Tries every address of a name in the resolver's order.
pub struct TcpDialer {
    timeout: Duration,
    own: Own,
}

impl TcpDialer {
    /// 10 s for all addresses of a name together; each gets an equal share of what is left, so that one dead address
    /// never uses up the time of the next.
    pub fn new() -> TcpDialer {
        TcpDialer { timeout: Duration::from_secs(10), own: Own::default() }
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.timeout;
        let late = |what: String| io::Error::new(io::ErrorKind::TimedOut, what);
        let found = timeout(self.timeout, lookup_host((host, port)))
            .await
            .map_err(|_| late(format!("{host}: no answer from the name service")))?
            .map_err(|e| io::Error::new(e.kind(), format!("{host}: {e}")))?;
        let addresses: Vec<_> = found.collect();
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{host}: no address"));
        for (n, address) in addresses.iter().enumerate() {
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(addresses.len() - n).unwrap_or(1);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(e)) => last = io::Error::new(e.kind(), format!("{address}: {e}")),
                Err(_) => last = late(format!("{address}: no answer")),
            }
        }
        Err(last)
    }
}

impl Default for TcpDialer {
    fn default() -> TcpDialer {
        TcpDialer::new()
    }
}

impl Dial for TcpDialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        Box::pin(async move {
            let stream = self.connect(host, port).await?;
            // The machine writes whole groups of commands: waiting for more to send would only add 40 ms.
            stream.set_nodelay(true)?;
            Ok(Box::new(self.own.of(stream)?) as BoxStream)
        })
    }

    fn is_ours(&self, peer: SocketAddr, at: Option<SocketAddr>) -> bool {
        self.own.has(peer, at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn addresses_and_names_are_dialled() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost"] {
            assert!(TcpDialer::new().dial(host, port).await.is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn a_refusal_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let fault = TcpDialer::new().dial("127.0.0.1", port).await.err().unwrap();
        assert!(fault.to_string().starts_with("127.0.0.1:"), "{fault}");
    }

    #[tokio::test]
    async fn an_ipv6_literal_needs_no_brackets() {
        let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
        let port = listener.local_addr().unwrap().port();
        assert!(TcpDialer::new().dial("::1", port).await.is_ok());
    }
}
