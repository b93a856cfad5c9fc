//! Transfer codings: any cut decodes to the same octets, and what can be written again is written as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vouchsafe_mime::coding::Restorer;
use vouchsafe_mime::{Coding, Decoder};

fn decode(coding: Coding, body: &[u8], piece: usize) -> Option<(Decoder, Vec<u8>)> {
    let (mut decoder, mut decoded) = (Decoder::new(coding), Vec::new());
    for octets in body.chunks(piece) {
        decoder.push(octets, &mut decoded).ok()?;
    }
    decoder.finish().ok()?;
    Some((decoder, decoded))
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, base64, body) = input;
    let coding = if base64 { Coding::Base64 } else { Coding::QuotedPrintable };
    let whole = decode(coding, body, body.len().max(1));
    let cut = decode(coding, body, usize::from(piece).max(1));
    assert_eq!(whole.as_ref().map(|(_, decoded)| decoded), cut.as_ref().map(|(_, decoded)| decoded));
    let Some((decoder, decoded)) = whole else { return };
    if !decoder.is_restorable(usize::MAX) {
        return;
    }
    let (mut restorer, mut raw) = (Restorer::new(decoder).expect("it is restorable"), Vec::new());
    decoded.chunks(usize::from(piece).max(1)).for_each(|octets| restorer.push(octets, &mut raw));
    restorer.finish(&mut raw);
    assert!(raw == body);
});
