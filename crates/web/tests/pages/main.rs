//! The pages over a whole gateway in this process: each section, what its forms do, what a page may cost.

mod attachments;
mod live;
mod overview;
mod readiness;
mod sections;
mod setup;
mod world;

/// Listeners as `serve` has them without a file.
const LISTENERS: &str = "[[listener]]\nname = \"mx\"\nkind = \"mx\"\naddress = \"127.0.0.1:2525\"\n\
     [[listener]]\nname = \"submission\"\nkind = \"submission\"\naddress = \"127.0.0.1:2587\"\n";
