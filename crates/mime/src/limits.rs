//! Named limits of the scanner. Past one of them a part is opaque: passed on as it is, not looked into, not detached.

/// Parts of one message. What comes after is passed on unseen.
pub const PARTS: u32 = 1000;
/// Multiparts within multiparts; a deeper one is not looked into.
pub const DEPTH: usize = 20;
/// Octets of one `Content-` field with its folds.
pub const FIELD: usize = 16 * 1024;
/// Octets of all `Content-` fields of a message.
pub const FIELDS: usize = 256 * 1024;
/// Octets of a boundary. RFC 2046 §5.1.1 says 70; longer ones are met.
pub const BOUNDARY: usize = 200;
/// Blanks behind a boundary on its line (transport padding).
pub const PADDING: usize = 200;
/// Octets of a decoded file name.
pub const NAME: usize = 1024;
/// Changes of line length that a base64 body's layout may have and still be told by rote.
pub const LAYOUT: usize = 4096;
