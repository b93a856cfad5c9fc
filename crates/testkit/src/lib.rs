//! What tests share: the transcript format and, on top of it, the runners' common parts.
//!
//! No runtime but behind the feature `whole`: the machine's rung runs in microseconds and depends on this crate too.

pub mod clamd;
pub mod client_script;
pub mod client_world;
#[cfg(feature = "s3")]
pub mod s3;
pub mod script;
#[cfg(feature = "whole")]
pub mod whole;
