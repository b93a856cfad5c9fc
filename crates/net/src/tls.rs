//! TLS towards other servers: verified, pinned, or opportunistic (`vouchsafe_core::TlsMode`).
//!
//! TLS 1.2 and 1.3 only (RFC 8996, RFC 9325), sessions are resumed. Whoever the peer is, it must prove that it holds
//! the key of the certificate it shows. Never falls back: a handshake that fails ends the connection.
//! Proof: `tests/client.rs`.

use crate::certificate::{self, Certificate};
use crate::stream::BoxStream;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_platform_verifier::Verifier;
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;
use vouchsafe_core::TlsMode;
use vouchsafe_smtp::sasl::encode_base64;

/// What is known of a TLS session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFacts {
    /// `TLSv1_3`.
    pub version: String,
    /// `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// SHA-256 of the peer's SubjectPublicKeyInfo: what `tls = "pin:sha256/BASE64"` compares.
    pub spki_pin: [u8; 32],
    /// The certificates that the peer showed, its own first.
    chain: Vec<CertificateDer<'static>>,
}

impl TlsFacts {
    /// The key as the settings name it: `pin:sha256/BASE64`.
    pub fn pin_setting(&self) -> String {
        format!("pin:sha256/{}", encode_base64(&self.spki_pin))
    }

    /// Whether `tls = "verify"` would take this peer for `host`; if not, why not, in words.
    pub fn verify(&self, host: &str) -> Result<(), String> {
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name for TLS"))?;
        let (own, others) = self.chain.split_first().ok_or("no certificate was shown")?;
        let verifier =
            Verifier::new(Arc::new(aws_lc_rs::default_provider())).map_err(|fault| fault.to_string())?;
        match verifier.verify_server_cert(own, others, &name, &[], UnixTime::now()) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InvalidCertificate(fault)) => Err(told(&fault, host)),
            Err(fault) => Err(fault.to_string()),
        }
    }

    /// The names and the end of the peer's own certificate.
    pub fn certificate(&self) -> Certificate {
        self.chain.first().map(|own| certificate::read(own)).unwrap_or_default()
    }
}

impl fmt::Display for TlsFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}

/// What is wrong with a certificate, as an administrator would say it.
fn told(fault: &CertificateError, host: &str) -> String {
    match fault {
        CertificateError::UnknownIssuer => "nobody whom this machine trusts signed it".to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is not for the name {host}")
        }
        other => other.to_string(),
    }
}

/// The client configurations, one a mode and pin, each made when first needed: sessions are resumed only where they
/// were verified in the same way.
#[derive(Default)]
pub struct TlsClients {
    made: Mutex<HashMap<Mode, Arc<ClientConfig>>>,
}

#[derive(PartialEq, Eq, Hash)]
enum Mode {
    Verify,
    Pin([u8; 32]),
    AnyKey,
}

impl TlsClients {
    /// Shakes hands over `stream`. `Err` says what failed, in words.
    pub async fn connect(
        &self,
        mode: &TlsMode,
        host: &str,
        stream: BoxStream,
    ) -> Result<(BoxStream, TlsFacts), String> {
        let config = self.config(mode)?;
        let name =
            ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is no name for TLS"))?;
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|fault| format!("handshake: {fault}"))?;
        let facts = facts(stream.get_ref().1)?;
        Ok((Box::new(stream), facts))
    }

    fn config(&self, mode: &TlsMode) -> Result<Arc<ClientConfig>, String> {
        let mode = match mode {
            TlsMode::Verify => Mode::Verify,
            TlsMode::Pin(pin) => Mode::Pin(*pin),
            TlsMode::Opportunistic | TlsMode::Off => Mode::AnyKey,
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&mode) {
            return Ok(config.clone());
        }
        let config = Arc::new(make(&mode).map_err(|fault| fault.to_string())?);
        made.insert(mode, config.clone());
        Ok(config)
    }
}

/// What rustls has, on either side, AES-128 with SHA-256 first: the suite that everybody has (RFC 8446 §9.1). Processors have
/// instructions for its digest; keys derived with SHA-384 made a login take a seventh longer. It also takes an eighth
/// more octets a second than AES-256 does.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let first = aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| *suite != first);
    Arc::new(provider)
}

fn make(mode: &Mode) -> Result<ClientConfig, rustls::Error> {
    let provider = provider();
    let verifier: Arc<dyn ServerCertVerifier> = match mode {
        Mode::Verify => Arc::new(Verifier::new(provider.clone())?),
        Mode::Pin(pin) => Arc::new(KeyVerifier { pin: Some(*pin), provider: provider.clone() }),
        Mode::AnyKey => Arc::new(KeyVerifier { pin: None, provider: provider.clone() }),
    };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth())
}

fn facts(session: &rustls::ClientConnection) -> Result<TlsFacts, String> {
    let version = session.protocol_version().and_then(|version| version.as_str().map(str::to_owned));
    let cipher =
        session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str().map(str::to_owned));
    let chain: Vec<_> =
        session.peer_certificates().unwrap_or_default().iter().map(|one| one.clone().into_owned()).collect();
    let own = chain.first().ok_or("no certificate was shown")?;
    let spki_pin = pin_of(own).map_err(|fault| fault.to_string())?;
    Ok(TlsFacts { version: version.unwrap_or_default(), cipher: cipher.unwrap_or_default(), spki_pin, chain })
}

fn pin_of(certificate: &CertificateDer<'_>) -> Result<[u8; 32], rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(Sha256::digest(parsed.subject_public_key_info()).into())
}

/// Looks at the key alone: the pinned one, or any. Stock Exchange has a self-signed certificate (DESIGN section 4).
#[derive(Debug)]
struct KeyVerifier {
    pin: Option<[u8; 32]>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for KeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = pin_of(end_entity)?;
        match self.pin {
            Some(pin) if pin != shown => {
                let shown = encode_base64(&shown);
                Err(rustls::Error::General(format!("the key shown is sha256/{shown}, not the pinned one")))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn our_first_suite_is_agreed_on_whatever_the_client_prefers() {
        let dir = tempfile::tempdir().unwrap();
        let acceptor = crate::server_tls::self_signed(dir.path(), "mail.example.com").unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = KeyVerifier { pin: None, provider: provider.clone() };
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from("mail.example.com").unwrap();
        let connector = TlsConnector::from(Arc::new(client));
        let (client, server) = tokio::join!(connector.connect(name, near), acceptor.accept(far));
        let facts = facts(client.unwrap().get_ref().1).unwrap();
        assert_eq!(facts.to_string(), "TLSv1_3 TLS13_AES_128_GCM_SHA256");
        drop(server.unwrap());
    }
}
