//! The store's tests: one suite that every implementation passes, and what only the disk can do wrong.

// Helpers of tests are tests, which clippy cannot see here.
#![allow(clippy::unwrap_used)]

mod conformance;
mod crash;
mod given;
mod s3;
mod sealed;
mod shares;
mod sqlite;
