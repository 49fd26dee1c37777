//! Certificate and key of the listener.

use std::sync::Arc;

use anyhow::Context as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::config::Tls;

/// Reads certificate and key.
///
/// # Errors
/// A file cannot be read, holds no PEM of that kind, or the two do not belong together.
pub fn tls(config: &Tls) -> anyhow::Result<TlsAcceptor> {
    let cert = || format!("server.tls.cert: {}", config.cert.display());
    let key = || format!("server.tls.key: {}", config.key.display());
    let chain = CertificateDer::pem_file_iter(&config.cert).with_context(cert)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().with_context(cert)?;
    anyhow::ensure!(!chain.is_empty(), "{}: there is no certificate in it", cert());
    let private = PrivateKeyDer::from_pem_file(&config.key).with_context(key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut server = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(key)?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}
