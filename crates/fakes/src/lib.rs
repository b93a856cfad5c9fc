//! Stand-ins for the two servers that the gateway talks to: the [`delegate`] that is asked about logins and
//! recipients, and the [`next_hop`] that takes mail. For the demo, the benches and the tests.
//!
//! Invariant: nothing here is built on the gateway's own server machine, so a fault there is not mirrored here.
//! They speak over any stream, so a test needs no port ([`dial::PipeDialer`]), and over TCP ([`serve_tcp`]).
//! A name server for the tests of authentication is [`dns`].
//! Every odd thing that a real server does is a field of `Behaviour` or a [`fault::Fault`]; some recipients and
//! logins tell the fake what to do by their name (`bob+550@`, `slow@`, `down@`: see [`telling`]).
//!
//! ```
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
//! # runtime.block_on(async {
//! use vouchsafe_fakes::{Delegate, NextHop, PipeDialer};
//! let (delegate, next_hop) = (Delegate::demo(), NextHop::demo());
//! let dialer = PipeDialer::new().with("delegate.example:587", &delegate).with("spam.example:25", &next_hop);
//! // ... hand `dialer` to the gateway, send a message, then:
//! // next_hop.wait(|counters| counters.messages == 1).await;
//! # let _ = dialer;
//! # });
//! ```

pub mod delegate;
pub mod dial;
pub mod dialogue;
pub mod dns;
pub mod fault;
mod host;
pub mod next_hop;
mod serve;
mod session;
mod talk;
pub mod telling;
pub mod tls;
mod wire;

pub use delegate::Delegate;
pub use dial::PipeDialer;
pub use fault::{Action, Fault, Point};
pub use next_hop::NextHop;
pub use serve::{Peer, serve_tcp};
