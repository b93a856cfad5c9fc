//! Delivery over a store in memory, scripted next hops in memory, and a clock that stands still: days pass in no time.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

#[path = "delivery/bounce.rs"]
mod bounce;
mod common;
#[path = "delivery/content.rs"]
mod content;
#[path = "delivery/destinations.rs"]
mod destinations;
#[path = "delivery/forms.rs"]
mod forms;
#[path = "delivery/notices.rs"]
mod notices;
#[path = "delivery/refusals.rs"]
mod refusals;
#[path = "delivery/telling.rs"]
mod telling;
#[path = "delivery/world.rs"]
mod world;
