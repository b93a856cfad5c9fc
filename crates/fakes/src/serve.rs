//! A fake on a TCP port. Ends when its future is dropped, and its sessions with it.

use std::io;
use std::net::IpAddr;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_net::stream::BoxStream;

/// A fake host: something that can be connected to.
pub trait Peer: Send + Sync {
    /// Runs one session to its end.
    fn session(&self, stream: BoxStream, source: IpAddr) -> BoxFuture<'static, ()>;
    /// Whether connections are refused now.
    fn is_down(&self) -> bool;
}

/// Serves `peer` on `listener` until dropped. While the peer is down, connections are taken and cut at once, as a
/// kernel without a listener would refuse them. Cancel safe.
pub async fn serve_tcp(listener: TcpListener, peer: impl Peer) -> io::Result<()> {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
        };
        match accepted {
            Ok((stream, source)) if !peer.is_down() => {
                stream.set_nodelay(true)?;
                sessions.spawn(peer.session(Box::new(stream), source.ip()));
            }
            Ok(_) => {}
            // The peer has gone before we took it: no reason to stop serving others.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => return Err(error),
        }
    }
}
