//! MIME as a stream of octets: what a message's parts are and where they lie, their transfer codings, their names.
//!
//! No I/O, no clock, no runtime; memory does not grow with the message. Nothing here fails on input: what cannot be
//! parsed without doubt is marked [`Header::ambiguous`] and left to be passed on as it is.

pub mod base64;
pub mod charset;
pub mod coding;
pub mod header;
pub mod limits;
pub mod name;
mod params;
pub mod quoted;
pub mod scanner;
pub mod words;

pub use coding::{Coding, Decoder, Unclean};
pub use header::{Disposition, Field, Header};
pub use scanner::{Event, Part, Scanner, Sink};
