//! File names and encoded words (RFC 2047, RFC 2231): whatever a part's header says, the name is safe to show and to save.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vouchsafe_mime::{Event, Scanner, Sink, name};

struct Names;

impl Sink for Names {
    fn event(&mut self, event: Event<'_>) {
        let Event::Begin(part) = event else { return };
        let safe = name::safe(part.header.name.as_deref(), &part.header.media_type());
        assert!(!safe.is_empty() && !safe.starts_with(['.', '-']), "{safe:?}");
        assert!(!safe.chars().any(|c| c.is_control() || c == '/' || c == '\\'), "{safe:?}");
        let field = name::content_disposition(&safe);
        assert!(field.is_ascii() && !field.contains(['\r', '\n']), "{field:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let message = [b"Content-Type: application/pdf; name", input, b"\r\n\r\n"].concat();
    let mut scanner = Scanner::default();
    scanner.push(&message, &mut Names);
    scanner.finish(&mut Names);
});
