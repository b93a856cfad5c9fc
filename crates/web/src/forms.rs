//! Forms: the token that only our own pages know, and fields whose names are not known beforehand.

use std::collections::BTreeMap;

/// A form as it came.
pub(crate) type Form = axum::extract::Form<BTreeMap<String, String>>;

/// A field, empty if it is not there.
pub(crate) fn field<'a>(form: &'a Form, name: &str) -> &'a str {
    form.get(name).map_or("", String::as_str)
}

/// A query's value for a link.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::new();
    for octet in text.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(octet))
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}
