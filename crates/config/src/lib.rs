//! Each setting once: text in, typed settings out, every fault told with line and advice.
//! Pure: reads no file, no environment, no clock; secrets come through a lookup that the caller gives.

mod settings;

pub use settings::*;
