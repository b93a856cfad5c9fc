//! One type for every connection: TCP, TLS over it, or a pipe in memory.

use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use vouchsafe_core::ports::BoxFuture;

/// A connection's two directions.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A boxed connection.
pub type BoxStream = Box<dyn Stream>;

/// Opens connections: the system's TCP in `serve`, pipes to the fakes in the in-process tests.
pub trait Dial: Send + Sync {
    /// Connects to `host:port`; name errors, refusals and time-outs are `io::Error`s in words.
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>>;
    /// True if the connection that `peer` opened, and that arrived at `at` (`None`: at a front end), was dialled here and
    /// is still open. Pipes are not.
    fn is_ours(&self, _peer: SocketAddr, _at: Option<SocketAddr>) -> bool {
        false
    }
}
