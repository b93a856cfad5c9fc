//! A long way to a server: what goes through arrives a fixed time later. On threads of their own: a runtime's timer rings up
//! to a millisecond late, each way, and that would count as distance.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A way to this server that takes `way` in each direction; open until the program ends.
pub fn far(server: SocketAddr, way: Duration) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            // If nothing comes of it, `near` is closed, and who opened it sees that.
            let _ = both_ways(near, server, way);
        }
    });
    Ok(address)
}

fn both_ways(near: TcpStream, server: SocketAddr, way: Duration) -> io::Result<()> {
    let far = TcpStream::connect(server)?;
    // Without it the way would be longer at times; the figure would tell.
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    carry(near.try_clone()?, far.try_clone()?, way);
    carry(far, near, way);
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a thread of its own, which does nothing but be late by so much"
)]
fn carry(mut from: TcpStream, mut to: TcpStream, way: Duration) {
    let (give, take) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, octets) in take {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&octets).is_err() {
                return;
            }
        }
        // The other side has gone, or learns that this one has.
        let _ = to.shutdown(Shutdown::Write);
    });
    thread::spawn(move || {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if give.send((Instant::now() + way, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}
