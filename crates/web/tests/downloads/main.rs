//! The download pages in one process, from stores to answers: what is shown, counted, sent and refused.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod archives;
mod files;
mod links;
mod world;
