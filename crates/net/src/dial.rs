//! TCP connections out.

use crate::stream::{BoxStream, Dial};
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use vouchsafe_core::ports::BoxFuture;

/// Dials with the system's resolver and TCP. Tries every address of a name in the resolver's order.
pub struct TcpDialer {
    timeout: Duration,
}

impl TcpDialer {
    /// 10 s for all addresses of a name together; each gets an equal share of what is left, so that one dead address
    /// never uses up the time of the next.
    pub fn new() -> TcpDialer {
        TcpDialer { timeout: Duration::from_secs(10) }
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
            Ok(Box::new(stream) as BoxStream)
        })
    }
}
