//! SASL payloads: PLAIN (RFC 4616), the base64 of RFC 4954, and the name in the responses of other mechanisms
//! ([`Names`]). Nothing is decided here.
//!
//! What a peer sent is decoded and checked, then encoded anew for anyone else: octets are never copied through.
//! Proof: `transcripts/server/auth_*`.

mod mechanism;
mod names;

pub use mechanism::Mechanism;
pub use names::{Names, Unfit};

use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A PLAIN response, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// Who to act as; empty: the same as `authcid`.
    pub authzid: String,
    /// Who is logging in.
    pub authcid: String,
    /// The password, octets as they came.
    pub password: Secret,
}

/// A SASL payload that is not what its mechanism says; the text is fit for a 501 reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSasl(pub &'static str);

/// Takes `[authzid] NUL authcid NUL password` apart (RFC 4616 §2). Names are UTF-8 without control characters, so
/// that they cannot end a line anywhere; name and password are never empty.
pub fn decode_plain(response: &[u8]) -> Result<Plain, BadSasl> {
    const BAD: BadSasl = BadSasl("Malformed PLAIN response");
    let mut fields = response.split(|octet| *octet == 0);
    let (Some(authzid), Some(authcid), Some(password), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(BAD);
    };
    let name = |octets: &[u8]| match std::str::from_utf8(octets) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(BAD),
    };
    let plain = Plain { authzid: name(authzid)?, authcid: name(authcid)?, password: Secret::new(password) };
    if plain.authcid.is_empty() || plain.password.expose().is_empty() {
        return Err(BAD);
    }
    Ok(plain)
}

/// The PLAIN response for these credentials, not yet in base64. `Err` if a field holds a NUL, which PLAIN cannot say.
pub fn encode_plain(plain: &Plain) -> Result<Secret, BadSasl> {
    let fields = [plain.authzid.as_bytes(), plain.authcid.as_bytes(), plain.password.expose()];
    if fields.iter().any(|field| field.contains(&0)) {
        return Err(BadSasl("NUL in a credential"));
    }
    Ok(Secret::new(fields.join(&0)))
}

/// Strict base64 (RFC 4954 §4): the standard alphabet, padded, nothing else. An empty text is an empty payload.
pub fn decode_base64(text: &[u8]) -> Result<Secret, BadSasl> {
    STANDARD.decode(text).map(Secret::new).map_err(|_| BadSasl("Invalid base64"))
}

/// The initial response behind `AUTH MECHANISM`: base64, or `=` for an empty one (RFC 4954 §4).
pub fn decode_initial(text: &[u8]) -> Result<Secret, BadSasl> {
    if text == b"=" { Ok(Secret::new([])) } else { decode_base64(text) }
}

/// Base64 as challenges and responses carry it.
pub fn encode_base64(payload: &[u8]) -> String {
    STANDARD.encode(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_comes_back_as_it_went() {
        let plain =
            Plain { authzid: String::new(), authcid: "alice".into(), password: Secret::new(*b"p w\xff") };
        assert_eq!(encode_plain(&plain).unwrap().expose(), b"\0alice\0p w\xff");
        assert_eq!(decode_plain(b"\0alice\0p w\xff"), Ok(plain));
    }

    #[test]
    fn plain_that_is_not_three_fields_is_refused() {
        for bad in [
            &b""[..],
            b"alice",
            b"\0alice",
            b"\0\0pw",
            b"\0alice\0",
            b"\0a\0b\0c",
            b"\0a\r\n\0b",
            b"\0\xff\0b",
        ] {
            assert!(decode_plain(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode_base64(b"YQ==").unwrap().expose(), b"a");
        assert_eq!(decode_base64(b"").unwrap().expose(), b"");
        assert_eq!(decode_initial(b"=").unwrap().expose(), b"");
        for bad in
            [&b"YQ="[..], b"YQ", b"Y=Q=", b"YR==", b"YQ==YQ==", b"Y Q==", b"YQ==\n", b"=", b"Y-Q_", b"*"]
        {
            assert!(decode_base64(bad).is_err(), "{bad:?}");
        }
    }
}
