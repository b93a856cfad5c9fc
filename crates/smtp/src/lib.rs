//! SMTP as data, and two machines without I/O: the server's side and the client's side of a session.
//!
//! Invariant: no clock, no file, no socket, no runtime. Bytes and times come in, replies and questions go out.
//! Who may relay, what exists and where mail goes is never decided here (`vouchsafe_core`).

pub mod address;
pub mod client;
mod command;
pub mod data;
pub mod extension;
pub mod limits;
pub mod params;
pub mod reply;
pub mod sasl;
pub mod secret;
pub mod server;
pub mod stuff;
pub mod time;

pub use address::{Mailbox, ReversePath};
pub use params::{BodyKind, MailFrom, Notify, Orcpt, RcptTo, Ret};
pub use reply::{Enhanced, Reply};
pub use secret::Secret;
pub use time::Tick;
