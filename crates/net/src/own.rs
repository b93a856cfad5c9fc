//! Connections that we have opened ourselves, by both their ends: a listener that accepts one of them is talking to
//! us, so a delegate or next hop of the settings leads back here (the loop guard).
//!
//! Exact, and harmless to others: nothing is said on the wire, unlike a token in EHLO, which servers that look names up
//! would refuse. It sees this machine only; behind address translation it sees nothing, and two gateways that ask each
//! other are held by their session caps and by the count of Received fields. Proof: `crates/net/tests/own.rs`,
//! `crates/vouchsafe/tests/identity.rs`.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection's ends: who opened it from where, and to where. One alone is not enough: a system gives the same local
/// port to connections that lead to different places.
type Ends = (SocketAddr, SocketAddr);

/// Our own connections that are open now.
#[derive(Clone, Default)]
pub(crate) struct Own(Arc<Mutex<HashSet<Ends>>>);

impl Own {
    fn open(&self) -> MutexGuard<'_, HashSet<Ends>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the connection that `peer` opened, and that arrived at `at`, is one of ours. Where it arrived is not known
    /// behind a front end: then it is one of ours if any from there is.
    pub fn has(&self, peer: SocketAddr, at: Option<SocketAddr>) -> bool {
        let (peer, open) = (canonical(peer), self.open());
        match at {
            Some(at) => open.contains(&(peer, canonical(at))),
            None => open.iter().any(|(local, _)| *local == peer),
        }
    }

    /// Counts a connection as ours until it is dropped.
    pub fn of(&self, stream: TcpStream) -> io::Result<OwnStream> {
        let ends = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
        self.open().insert(ends);
        Ok(OwnStream { stream, ends, own: self.clone() })
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection that we have opened.
pub(crate) struct OwnStream {
    stream: TcpStream,
    ends: Ends,
    own: Own,
}

impl Drop for OwnStream {
    fn drop(&mut self) {
        self.own.open().remove(&self.ends);
    }
}

impl AsyncRead for OwnStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

impl AsyncWrite for OwnStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
