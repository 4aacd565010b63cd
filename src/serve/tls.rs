//! The certificate of this node, for TLS 1.2 and 1.3 by rustls: read at the start, and again whenever the configuration is. One that
//! cannot be used takes no other's place; connections keep the one they began with.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::Tls;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{what} {path:?} cannot be used")]
    Pem {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is the matter.
        source: pem::Error,
    },
    /// Certificate and key do not belong together, or are of a kind that is not known.
    #[error("certificate {cert:?} with key {key:?} cannot be used")]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// A certificate with its key, ready for connections. Clones are cheap and are the same.
#[derive(Clone)]
pub struct Certificate(Arc<RwLock<TlsAcceptor>>);

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Reads certificate and key.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(files: &Tls) -> Result<Self, TlsError> {
        Ok(Self(Arc::new(RwLock::new(acceptor(files)?))))
    }

    /// Reads certificate and key again; connections that begin from now on get them.
    ///
    /// # Errors
    /// [`TlsError`] names the file; the former certificate stays.
    pub fn reload(&self, files: &Tls) -> Result<(), TlsError> {
        let new = acceptor(files)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Shakes hands on a new connection.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let acceptor = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        acceptor.accept(stream).await
    }
}

fn acceptor(files: &Tls) -> Result<TlsAcceptor, TlsError> {
    let wrong = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::Pem { what, path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(wrong("certificate", &files.cert))?;
    if chain.is_empty() {
        return Err(wrong("certificate", &files.cert)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(wrong("key", &files.key))?;
    let pair = |source| TlsError::Pair {
        cert: files.cert.clone(),
        key: files.key.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn files(dir: &Path) -> Tls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let files = Tls {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_pair_is_loaded_and_what_is_none_is_told_with_its_file() {
        let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let good = files(dir.path());
        Certificate::load(&good).unwrap();

        let error = |files: &Tls| crate::error::chain(&Certificate::load(files).unwrap_err());
        let mixed = Tls {
            key: files(other.path()).key,
            ..good.clone()
        };
        let text = error(&mixed);
        assert!(
            text.contains("cert.pem") && text.contains("key.pem"),
            "{text}"
        );
        let swapped = Tls {
            cert: good.key.clone(),
            key: good.cert.clone(),
        };
        assert!(
            error(&swapped).contains("certificate"),
            "{}",
            error(&swapped)
        );
        let gone = Tls {
            cert: dir.path().join("none.pem"),
            ..good
        };
        assert!(error(&gone).contains("none.pem"), "{}", error(&gone));
    }
}
