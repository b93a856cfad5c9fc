//! The running gateway: reception, delegate, delivery, control, and the supervisor that owns every task.
//!
//! Invariant: stores are known by their ports alone; what is decided about mail is decided in `vouchsafe_core`.

pub mod admin;
pub mod aliases;
mod collecting;
pub mod control;
pub mod control_socket;
pub mod delegate;
pub mod delivery;
mod detaching;
pub mod doctor;
pub mod downloads;
pub mod examination;
pub mod gateway;
mod housekeeping;
pub mod intake;
pub mod lists;
pub mod meter;
pub mod passwords;
mod quota;
mod readiness;
pub mod reception;
pub mod running;
pub mod scanning;
mod share_mails;
pub mod shares;
pub mod sources;
mod spool;
pub mod stored;
pub mod supervisor;
pub mod tasks;
pub mod trace;
pub mod users;

pub use vouchsafe_net::process;
