//! Where another server is and how it is spoken to.

use std::fmt;
use vouchsafe_smtp::Secret;

/// How TLS is used towards an endpoint (FACTS section 2, DESIGN section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// STARTTLS (or implicit TLS) is required; the chain and the name are verified against the system's anchors.
    Verify,
    /// TLS is required; the certificate's public key (SHA-256 of SubjectPublicKeyInfo) must be this one.
    Pin([u8; 32]),
    /// TLS when offered, whatever the certificate; clear text otherwise.
    Opportunistic,
    /// Never.
    Off,
}

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// SMTP.
    #[default]
    Smtp,
    /// LMTP (RFC 2033): asked about recipients.
    Lmtp,
    /// IMAP over TLS: asked about logins.
    Imap,
}

/// Whether a server is told for which client we speak, where it wants to hear it (FACTS 6.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tell {
    /// It sees us.
    #[default]
    Nothing,
    /// XCLIENT: it treats the session as the client's own.
    XClient,
    /// XFORWARD: it logs and judges by the client.
    XForward,
}

/// One server: host, port, TLS, and our own login there if it wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Host name or IP address (no brackets).
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS mode.
    pub tls: TlsMode,
    /// TLS from the first octet (port 465) instead of STARTTLS.
    pub implicit_tls: bool,
    /// Our own user name and password, at a next hop or where we ask about recipients.
    pub login: Option<(String, Secret)>,
    /// Whether it is told of the client.
    pub tell: Tell,
}

/// `host:port`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}
