//! The store's tests: one suite that every implementation passes, and what only the disk can do wrong.

mod conformance;
mod crash;
mod given;
mod sqlite;
