//! Our own DKIM signatures (RFC 6376, RFC 8463): keys by domain, and a signature over a message that is read once
//! through, holding no more than its header. ARC seals are made so, too; what they are is told by `arc`.
//!
//! `l=` is never used: what is added behind a signed body must break the signature. Fields that a reader sees are signed
//! once more than they are there, so that a second one breaks it too (RFC 6376 §8.15).
//! Proof: tests below, `tests/authentication.rs`.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use mail_auth::common::crypto::{Algorithm, DkimKey, Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{HeaderWriter, Writable};
use mail_auth::dkim::{DkimSigner, DkimSigningStream, Done};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use rcgen::PublicKeyData;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use vouchsafe_core::Timestamp;
use vouchsafe_smtp::sasl::encode_base64;

use super::arc::Seal;
use super::gathering::{Gathered, Gathering};

/// Octets of a header; a message with a longer one, or without an end of it, is not signed.
const HEADER: usize = 2 * 1024 * 1024;
/// What is signed (RFC 6376 §5.4.1), and signed again as missing.
pub(super) const TWICE: [&str; 10] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Reply-To",
    "Message-ID",
    "MIME-Version",
    "Content-Type",
    "Sender",
];
/// What is signed where it is there, and as missing where not.
pub(super) const ONCE: [&str; 3] = ["Content-Transfer-Encoding", "In-Reply-To", "References"];
/// What a mailing list adds: signed only where it is there already (RFC 8058 §4 wants it signed then).
pub(super) const LIST: [&str; 2] = ["List-Unsubscribe", "List-Unsubscribe-Post"];

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RSA with 2048 bits: every receiver knows it.
    Rsa,
    /// Ed25519 (RFC 8463): short records; some receivers do not know it yet.
    Ed25519,
}

/// A fresh private key, PEM (PKCS #8).
pub fn make(kind: Kind) -> Result<String, String> {
    let made = match kind {
        Kind::Rsa => rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048),
        Kind::Ed25519 => rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519),
    };
    made.map(|pair| pair.serialize_pem()).map_err(|fault| fault.to_string())
}

/// A key that several signers hold.
#[derive(Clone)]
pub(super) struct Shared(Arc<DkimKey>);

impl SigningKey for Shared {
    type Hasher = Sha256;
    fn sign(&self, input: impl Writable) -> mail_auth::Result<Vec<u8>> {
        self.0.sign(input)
    }
    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }
}

type Signer = DkimSigner<Shared, Done>;

/// A key that signs for a domain.
pub struct Key {
    pub(super) domain: String,
    pub(super) selector: String,
    pub(super) key: Shared,
    record: String,
    plain: Signer,
    list: Signer,
}

impl std::fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.name())
    }
}

impl Key {
    /// A private key in PEM (PKCS #8, or PKCS #1 for RSA) that signs for `domain` under `selector`.
    pub fn from_pem(domain: &str, selector: &str, pem: &str) -> Result<Key, String> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|fault| format!("no private key in PEM: {fault}"))?;
        let pair =
            rcgen::KeyPair::try_from(&der).map_err(|fault| format!("no key that can sign: {fault}"))?;
        let is_ed25519 = pair.is_compatible(&rcgen::PKCS_ED25519);
        let (key, record) = if is_ed25519 {
            let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_der()).map(DkimKey::Ed25519);
            // RFC 8463 §4: the 32 octets alone.
            (key, format!("v=DKIM1; k=ed25519; p={}", encode_base64(pair.public_key_raw())))
        } else {
            (
                RsaKey::from_key_der(der).map(DkimKey::Rsa),
                format!("v=DKIM1; k=rsa; p={}", encode_base64(&pair.subject_public_key_info())),
            )
        };
        let key =
            Shared(Arc::new(key.map_err(|_| "neither an RSA key of 2048 bits or more nor an Ed25519 key")?));
        let fields = || TWICE.into_iter().chain(TWICE).chain(ONCE);
        let signer = || DkimSigner::from_key(key.clone()).domain(domain).selector(selector);
        Ok(Key {
            domain: domain.to_owned(),
            selector: selector.to_owned(),
            record,
            plain: signer().headers(fields()),
            list: signer().headers(fields().chain(LIST)),
            key,
        })
    }

    /// Reads a key file. The error says which and what is wrong with it.
    pub fn from_file(domain: &str, selector: &str, path: &Path) -> Result<Key, String> {
        let pem = std::fs::read_to_string(path).map_err(|fault| format!("{}: {fault}", path.display()))?;
        Key::from_pem(domain, selector, &pem).map_err(|fault| format!("{}: {fault}", path.display()))
    }

    /// Where its record stands in DNS: `selector._domainkey.example.com`.
    pub fn name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// Its TXT record.
    pub fn record(&self) -> &str {
        &self.record
    }

    /// Its record as a line of a zone file: texts of at most 255 octets (RFC 6376 §3.6.2.2).
    pub fn zone_line(&self) -> String {
        let mut line = format!("{}. IN TXT (", self.name());
        for text in self.record.as_bytes().chunks(200) {
            let _ = write!(line, " \"{}\"", String::from_utf8_lossy(text));
        }
        line + " )"
    }

    /// Signs a message and has it verified by what stands in DNS, as a receiver would. The error says what it saw.
    pub async fn check(&self, resolver: &MessageAuthenticator) -> Result<(), String> {
        let message = format!("From: <postmaster@{}>\r\nSubject: test\r\n\r\ntest\r\n", self.domain);
        let mut stream = self.plain.sign_streaming();
        stream.write(message.as_bytes());
        let signature = stream.finish().map_err(|fault| fault.to_string())?.to_header();
        let signed = signature + &message;
        let message =
            AuthenticatedMessage::parse(signed.as_bytes()).ok_or("our own message does not parse")?;
        match resolver.verify_dkim(&message).await.first().map(|output| output.result().clone()) {
            Some(DkimResult::Pass) => Ok(()),
            Some(other) => Err(other.to_string()),
            None => Err("our own signature was not found".to_owned()),
        }
    }
}

/// The keys of the gateway.
#[derive(Debug, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads them all. The error names the first file that is none.
    pub fn load<'a>(places: impl IntoIterator<Item = (&'a str, &'a str, &'a Path)>) -> Result<Keys, String> {
        let read = |(domain, selector, file)| Key::from_file(domain, selector, file);
        places.into_iter().map(read).collect::<Result<_, _>>().map(Keys)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Begins to read a message that is to be signed.
    pub fn begin(&self) -> Signing<'_> {
        Signing::new(Wanted::Signatures(self))
    }

    /// Begins to read a message that is to be sealed, the first `own` octets of which we have written. `None`: there is
    /// no key of these domains, those of its recipients.
    pub fn begin_seal<'d>(
        &self,
        domains: impl IntoIterator<Item = &'d str>,
        own: usize,
        now: Timestamp,
    ) -> Option<Signing<'_>> {
        // One seal a set: by the key that every receiver knows, if there is one.
        let best = |domain| self.of(domain).min_by_key(|key| key.key.algorithm() != Algorithm::RsaSha256);
        let key = domains.into_iter().find_map(best)?;
        Some(Signing::new(Wanted::Seal { key, own, now }))
    }

    /// Signatures under way over a message of this header.
    fn signatures(&self, header: &[u8]) -> Vec<Stream<'_>> {
        let Some(message) = AuthenticatedMessage::parse(header) else { return Vec::new() };
        let has = |name: &&str| {
            message.headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
        };
        let list = LIST.iter().all(has);
        let mut streams = Vec::new();
        for key in self.of_author(&message) {
            let mut stream = if list { &key.list } else { &key.plain }.sign_streaming();
            stream.write(header);
            streams.push(Stream::Signature(stream));
        }
        streams
    }

    /// Those of the domain that all authors are of.
    fn of_author(&self, message: &AuthenticatedMessage<'_>) -> Vec<&Key> {
        let mut domains =
            message.from.iter().filter_map(|from| from.rsplit_once('@')).map(|(_, domain)| domain);
        let Some(first) = domains.next() else { return Vec::new() };
        if !domains.all(|other| other.eq_ignore_ascii_case(first)) {
            return Vec::new();
        }
        self.of(first).collect()
    }

    fn of<'k>(&'k self, domain: &str) -> impl Iterator<Item = &'k Key> {
        self.0.iter().filter(move |key| key.domain.eq_ignore_ascii_case(domain))
    }
}

/// What is to be made.
enum Wanted<'k> {
    Signatures(&'k Keys),
    Seal { key: &'k Key, own: usize, now: Timestamp },
}

#[derive(PartialEq, Eq)]
enum Stage {
    Header,
    Body,
    /// There is no key for it, or no end of its header.
    Unsigned,
}

/// What is made while the body is read.
enum Stream<'k> {
    Signature(DkimSigningStream<'k, Shared>),
    Seal(Seal<'k>),
}

impl Stream<'_> {
    fn write(&mut self, octets: &[u8]) {
        match self {
            Stream::Signature(stream) => stream.write(octets),
            Stream::Seal(seal) => seal.write(octets),
        }
    }

    fn finish(self) -> mail_auth::Result<String> {
        match self {
            Stream::Signature(stream) => stream.finish().map(|signature| signature.to_header()),
            Stream::Seal(seal) => seal.finish(),
        }
    }
}

/// A message that is read to be signed.
pub struct Signing<'k> {
    wanted: Wanted<'k>,
    header: Gathering<HEADER>,
    streams: Vec<Stream<'k>>,
    stage: Stage,
}

impl<'k> Signing<'k> {
    fn new(wanted: Wanted<'k>) -> Signing<'k> {
        Signing { wanted, header: Gathering::default(), streams: Vec::new(), stage: Stage::Header }
    }

    /// Takes octets, in order.
    pub fn push(&mut self, octets: &[u8]) {
        match self.stage {
            Stage::Unsigned => {}
            Stage::Body => self.streams.iter_mut().for_each(|stream| stream.write(octets)),
            Stage::Header => match self.header.push(octets) {
                Gathered::Header => {}
                Gathered::TooLong => self.stage = Stage::Unsigned,
                Gathered::Body(body) => {
                    self.begin_body();
                    self.push(&body);
                }
            },
        }
    }

    /// False once nothing more need be read: it will not be signed.
    pub fn goes_on(&self) -> bool {
        self.stage != Stage::Unsigned
    }

    fn begin_body(&mut self) {
        let header = std::mem::take(&mut self.header).into_octets();
        self.streams = match self.wanted {
            Wanted::Signatures(keys) => keys.signatures(&header),
            Wanted::Seal { key, own, now } => {
                Seal::begin(key, &header, own, now).map(Stream::Seal).into_iter().collect()
            }
        };
        self.stage = if self.streams.is_empty() { Stage::Unsigned } else { Stage::Body };
    }

    /// The message has ended: the fields to put on top, each ending in CRLF; empty where there is no key for its author,
    /// or it is not to be sealed. The error is for the log.
    pub fn finish(mut self) -> Result<String, String> {
        if self.stage == Stage::Header {
            self.begin_body();
        }
        let made = self.streams.into_iter().map(Stream::finish);
        made.collect::<Result<String, _>>().map_err(|fault| fault.to_string())
    }
}
