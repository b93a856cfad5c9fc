//! TLS towards other servers: verified, pinned, or opportunistic.

/// What is known of a TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1.3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// SHA-256 of the peer's SubjectPublicKeyInfo: what `tls = "pin:sha256/BASE64"` compares.
    pub spki_pin: [u8; 32],
}
