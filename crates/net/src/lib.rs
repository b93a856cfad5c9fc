//! Sockets, TLS, clocks: drivers around the machines of `vouchsafe_smtp`.
//!
//! Invariant: the only system clocks and the only sockets of the workspace are here. Nothing is decided here.

pub mod authentication;
pub mod certificate;
pub mod clamd;
pub mod client;
pub mod clock;
pub mod dial;
pub mod http;
pub mod imap;
pub mod listener;
pub mod local;
pub mod machine;
mod own;
pub mod process;
pub mod proxy;
pub mod server;
pub mod server_tls;
pub mod stall;
pub mod stream;
pub mod tls;
