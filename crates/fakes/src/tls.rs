//! A certificate of its own for each fake, and its pin as the gateway's settings write it. For loopback and pipes only.

use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use vouchsafe_smtp::sasl::encode_base64;

/// A self-signed identity.
#[derive(Clone)]
pub struct SelfSigned {
    /// For the fake's `tls`.
    pub config: Arc<ServerConfig>,
    /// The certificate, DER.
    pub certificate: Vec<u8>,
    /// Key and certificate as PEM, for a real server beside the fakes.
    pub pem: String,
    /// SHA-256 of the public key (SubjectPublicKeyInfo).
    pub pin: [u8; 32],
}

impl SelfSigned {
    /// Makes one for `name`; fails only where the crypto library does.
    pub fn new(name: &str) -> Result<SelfSigned, Box<dyn std::error::Error + Send + Sync>> {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec![name.to_owned(), "127.0.0.1".to_owned()])?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        let spki = rcgen::PublicKeyData::subject_public_key_info(&signing_key);
        Ok(SelfSigned {
            config: Arc::new(config),
            pem: signing_key.serialize_pem() + &cert.pem(),
            certificate: cert.der().to_vec(),
            pin: Sha256::digest(spki).into(),
        })
    }
    /// `pin:sha256/BASE64=`, the value of a `tls` setting.
    pub fn setting(&self) -> String {
        format!("pin:sha256/{}", encode_base64(&self.pin))
    }
}
