//! The server's side of TLS: certificate files, or a self-signed pair made at the first start.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::tls::provider;

/// Loads a chain and its key. TLS 1.2 and 1.3 (RFC 8996, RFC 9325). Errors say which file and what is wrong with it.
pub fn from_files(certificate: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|fault| format!("{}: {fault}", certificate.display()))?;
    if chain.is_empty() {
        return Err(format!("{}: no certificate in it", certificate.display()));
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|fault| format!("{}: {fault}", key.display()))?;
    acceptor(chain, key_der)
        .map_err(|fault| format!("{} with {}: {fault}", certificate.display(), key.display()))
}

/// The self-signed pair in `dir` (`self-signed.pem`, `self-signed.key`, 0600), made for `hostname` if it is not there.
pub fn self_signed(dir: &Path, hostname: &str) -> Result<TlsAcceptor, String> {
    let (certificate, key) = (dir.join("self-signed.pem"), dir.join("self-signed.key"));
    if !certificate.exists() || !key.exists() {
        let made = rcgen::generate_simple_self_signed(vec![hostname.to_owned()])
            .map_err(|fault| format!("self-signed certificate for {hostname}: {fault}"))?;
        write_private(&key, &made.signing_key.serialize_pem())?;
        write_private(&certificate, &made.cert.pem())?;
    }
    from_files(&certificate, &key)
}

fn write_private(path: &Path, text: &str) -> Result<(), String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|fault| format!("{}: {fault}", path.display()))
}

fn acceptor(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<TlsAcceptor, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.ignore_client_order = true;
    // Each session brings one for the next; a mail client seldom opens two at a time.
    config.send_tls13_tickets = 1;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
