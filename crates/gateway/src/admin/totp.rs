//! One-time codes of an authenticator app (RFC 6238 over RFC 4226): SHA-1, six digits, thirty seconds, as all apps read.
//!
//! A code counts once and one step early or late. Proof: the vectors of RFC 6238 below.

use aws_lc_rs::hmac;
use vouchsafe_core::Timestamp;

const STEP: u64 = 30;
const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A fresh secret: 160 bits, as RFC 4226 §4 recommends.
pub fn secret() -> [u8; 20] {
    rand::random()
}

/// The step that the code belongs to, if it is that of now, the one before or the one after, and later than `used`.
pub fn check(secret: &[u8], code: &str, now: Timestamp, used: u64) -> Option<u64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let step = u64::try_from(now.0).unwrap_or(0) / 1_000_000 / STEP;
    let near = [step, step.saturating_sub(1), step + 1];
    near.into_iter().find(|step| *step > used && constant_time_equal(&at(secret, *step), &code))
}

/// The code of a step (RFC 4226 §5.3).
fn at(secret: &[u8], step: u64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes([tag[offset] & 0x7f, tag[offset + 1], tag[offset + 2], tag[offset + 3]]);
    format!("{:06}", number % 1_000_000)
}

fn constant_time_equal(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

/// The secret as apps take it by hand (RFC 4648 §6, no padding).
pub fn base32(octets: &[u8]) -> String {
    let mut out = String::new();
    let (mut held, mut bits) = (0_u32, 0);
    for octet in octets {
        held = held << 8 | u32::from(*octet);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits & 31) as usize]));
        }
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(held << (5 - bits) & 31) as usize]));
    }
    out
}

/// As it was written by [`base32`].
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for letter in text.bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter)?;
        held = (held << 5 | u32::try_from(value).ok()?) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 255) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn codes_are_those_of_rfc_6238_appendix_b() {
        // The last six of its eight digits.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(at(SECRET, seconds / STEP), code);
        }
    }

    #[test]
    fn a_code_counts_one_step_early_or_late_and_once() {
        let now = Timestamp(59_000_000);
        assert_eq!(check(SECRET, "287 082", now, 0), Some(1));
        assert_eq!(check(SECRET, "287082", now, 1), None);
        assert_eq!(check(SECRET, "287082", Timestamp(89_000_000), 0), Some(1));
        assert_eq!(check(SECRET, "287082", Timestamp(129_000_000), 0), None);
    }

    #[test]
    fn base32_reads_what_it_wrote() {
        assert_eq!(base32(b"foobar"), "MZXW6YTBOI");
        let secret = secret();
        assert_eq!(from_base32(&base32(&secret)).as_deref(), Some(&secret[..]));
        assert_eq!(from_base32("1"), None);
    }
}
