//! A real HAProxy in front of our listeners.

use super::{Scratch, free_port, program, until};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

/// A running HAProxy. Where each of its front ends listens, in the order given.
pub struct HaProxy {
    child: Child,
    pub fronts: Vec<SocketAddr>,
}

impl HaProxy {
    /// Starts one with a front end for each server and its options, such as `send-proxy`.
    pub fn start(scratch: &Scratch, servers: &[(SocketAddr, &str)]) -> HaProxy {
        let ports: Vec<u16> = servers.iter().map(|_| free_port()).collect();
        HaProxy::start_at(scratch, servers, &ports)
    }
    /// The same at these ports.
    pub fn start_at(scratch: &Scratch, servers: &[(SocketAddr, &str)], ports: &[u16]) -> HaProxy {
        let mut text =
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
                .to_owned();
        let mut fronts = Vec::new();
        for (number, ((server, options), port)) in servers.iter().zip(ports).enumerate() {
            let front = SocketAddr::from(([127, 0, 0, 1], *port));
            text.push_str(&format!(
                "listen front{number}\n  bind {front}\n  server ours {server} {options}\n"
            ));
            fronts.push(front);
        }
        let config = scratch.write("haproxy.cfg", &text);
        let child = Command::new(program("haproxy"))
            .arg("-db")
            .arg("-f")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("haproxy runs");
        let proxy = HaProxy { child, fronts };
        for front in &proxy.fronts {
            until("haproxy to listen", || TcpStream::connect(front).ok());
        }
        proxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
