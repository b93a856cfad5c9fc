//! This machine's own addresses, found out without a packet.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Only an address of this machine can be bound.
pub fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The address that this machine uses towards another one.
pub fn address_towards(server: &SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(SocketAddr::new(server.ip(), 25)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
