//! Connections in memory: `host:port` is a fake, no port is opened. What is not named does not resolve.

use crate::serve::Peer;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use vouchsafe_core::ports::BoxFuture;
use vouchsafe_net::stream::{BoxStream, Dial};

/// Octets that a pipe holds in each direction, as a small socket buffer would.
const PIPE: usize = 64 * 1024;

/// A dialer whose names are fakes. Each connection is served by a task of its own that ends with the connection.
#[derive(Clone, Default)]
pub struct PipeDialer {
    peers: HashMap<String, Arc<dyn Peer>>,
}

impl PipeDialer {
    /// A dialer that reaches nobody.
    pub fn new() -> PipeDialer {
        PipeDialer::default()
    }
    /// Puts `peer` at `address`, which is `host:port`.
    pub fn with<P: Peer + Clone + 'static>(mut self, address: &str, peer: &P) -> PipeDialer {
        self.peers.insert(address.to_ascii_lowercase(), Arc::new(peer.clone()));
        self
    }
}

impl Dial for PipeDialer {
    fn dial<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<BoxStream>> {
        let peer = self.peers.get(&format!("{}:{port}", host.to_ascii_lowercase())).cloned();
        Box::pin(async move {
            let peer = peer.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "name not known"))?;
            if peer.is_down() {
                return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused"));
            }
            let (ours, theirs) = tokio::io::duplex(PIPE);
            tokio::spawn(peer.session(Box::new(theirs), IpAddr::V4(Ipv4Addr::LOCALHOST)));
            Ok(Box::new(ours) as BoxStream)
        })
    }
}
