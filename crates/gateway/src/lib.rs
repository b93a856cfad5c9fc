//! gateway

pub mod delivery;
