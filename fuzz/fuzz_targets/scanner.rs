//! The MIME scanner: every octet comes out once and in order, and any cut tells of the same parts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vouchsafe_mime::{Event, Scanner, Sink};

#[derive(Default)]
struct Seen {
    octets: Vec<u8>,
    /// Of each part: where its body begins and ends, whether that is in doubt.
    parts: Vec<(u64, u64, bool)>,
}

impl Sink for Seen {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Begin(part) => self.parts.push((part.body_at, 0, false)),
            Event::Body(octets) | Event::Frame(octets) => self.octets.extend_from_slice(octets),
            Event::End { id, body_end, doubt } => {
                let part = &mut self.parts[id as usize];
                assert!(part.0 <= body_end);
                (part.1, part.2) = (body_end, doubt.is_some());
            }
        }
    }
}

fn scan(message: &[u8], piece: usize) -> Seen {
    let (mut scanner, mut seen) = (Scanner::default(), Seen::default());
    message.chunks(piece).for_each(|octets| scanner.push(octets, &mut seen));
    scanner.finish(&mut seen);
    assert!(seen.octets == message);
    seen
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, message) = input;
    let whole = scan(message, message.len().max(1));
    let cut = scan(message, usize::from(piece).max(1));
    assert_eq!(whole.parts, cut.parts);
});
