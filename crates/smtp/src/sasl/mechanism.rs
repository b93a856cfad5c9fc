//! The SASL mechanisms that are known here, and what the gateway must know of each. Nothing is decided here.

use std::fmt;

/// A mechanism. EXTERNAL, GSSAPI and the `-PLUS` forms are none of these: they are bound to the client's own
/// connection or network and cannot be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// As everywhere; never standardised.
    Login,
    /// As Google and Microsoft have it.
    XOAuth2,
    /// RFC 7628.
    OAuthBearer,
    /// RFC 2195.
    CramMd5,
    /// RFC 2831.
    DigestMd5,
    /// RFC 5802.
    ScramSha1,
    /// RFC 7677.
    ScramSha256,
    /// MS-NLMP in MS-SMTPNTLM.
    Ntlm,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Mechanism; 9] = [
        Mechanism::Plain,
        Mechanism::Login,
        Mechanism::XOAuth2,
        Mechanism::OAuthBearer,
        Mechanism::CramMd5,
        Mechanism::DigestMd5,
        Mechanism::ScramSha1,
        Mechanism::ScramSha256,
        Mechanism::Ntlm,
    ];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::XOAuth2 => "XOAUTH2",
            Mechanism::OAuthBearer => "OAUTHBEARER",
            Mechanism::CramMd5 => "CRAM-MD5",
            Mechanism::DigestMd5 => "DIGEST-MD5",
            Mechanism::ScramSha1 => "SCRAM-SHA-1",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::Ntlm => "NTLM",
        }
    }

    /// From its name, in any case.
    pub fn from_name(name: &str) -> Option<Mechanism> {
        Mechanism::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Name and password are there in clear text: they can be asked about in any form.
    pub fn has_password(self) -> bool {
        matches!(self, Mechanism::Plain | Mechanism::Login)
    }

    /// One response holds name and token.
    pub fn has_token(self) -> bool {
        matches!(self, Mechanism::XOAuth2 | Mechanism::OAuthBearer)
    }

    /// The response is made from the server's challenge: only the server that made it can judge.
    pub fn is_challenge(self) -> bool {
        !self.has_password() && !self.has_token()
    }

    /// The client speaks first: without an initial response the challenge is empty.
    pub fn client_first(self) -> bool {
        !matches!(self, Mechanism::Login | Mechanism::CramMd5 | Mechanism::DigestMd5)
    }

    /// What a client answers to the challenge that tells it why its token was refused (RFC 7628 §3.2.3; XOAUTH2: an
    /// empty response).
    pub fn dummy(self) -> &'static [u8] {
        match self {
            Mechanism::OAuthBearer => b"\x01",
            _ => b"",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
