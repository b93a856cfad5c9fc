//! The download pages in one process, from stores to answers: what is shown, counted, sent and refused.

mod archives;
mod files;
mod links;
mod world;
