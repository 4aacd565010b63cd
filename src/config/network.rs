//! How this node reaches others: `[network]`, a proxy in between and a certificate authority of one's own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::error::{Error, Problem};
use super::read::At;
use super::secret::Secret;
use super::{file, path};

/// How this node reaches others.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Whether a proxy is asked.
    pub proxy: Proxy,
    /// Whose certificates are trusted besides those that the system trusts.
    pub ca: Option<CaFile>,
}

/// Whether a proxy is asked. This machine itself is reached without one in any case, and what `NO_PROXY` names.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// The one that `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY` names.
    #[default]
    Environment,
    /// None, whatever the environment says.
    Off,
    /// This one, as a URL. It may hold a password.
    At(Secret),
}

/// Certificates of a certificate authority, read and looked through when the configuration was loaded.
#[derive(Debug, Clone)]
pub struct CaFile {
    path: PathBuf,
    certificates: Arc<[CertificateDer<'static>]>,
}

impl CaFile {
    /// The PEM file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The certificates in it, as DER; one at least.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    fn read(path: PathBuf) -> Result<Self, Problem> {
        let unusable = |why: String| Problem::CaFile {
            path: path.clone(),
            why,
        };
        let certificates: Vec<_> = CertificateDer::pem_file_iter(&path)
            .and_then(Iterator::collect)
            .map_err(|error| unusable(error.to_string()))?;
        if certificates.is_empty() {
            return Err(unusable("it holds no certificate".to_owned()));
        }
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            let added = store.add(certificate.clone());
            added.map_err(|error| unusable(error.to_string()))?;
        }
        Ok(Self {
            path,
            certificates: certificates.into(),
        })
    }
}

impl Network {
    pub(super) fn resolve(written: &file::Network, dir: &Path) -> Result<Self, Error> {
        let proxy = match &written.proxy {
            None => Proxy::Environment,
            Some(at) => at.check(|secret| match secret.expose().trim() {
                "none" => Ok(Proxy::Off),
                text => match proxy_address(text) {
                    Some(url) => Ok(Proxy::At(Secret::new(url.as_str()))),
                    None => Err(Problem::Proxy),
                },
            })?,
        };
        Ok(Self {
            proxy,
            ca: ca_file(&written.ca_file, dir)?,
        })
    }

    /// The same for one peer, which may have an authority of its own.
    pub(super) fn for_peer(&self, written: &Option<At<String>>, dir: &Path) -> Result<Self, Error> {
        let own = ca_file(written, dir)?;
        Ok(Self {
            proxy: self.proxy.clone(),
            ca: own.or_else(|| self.ca.clone()),
        })
    }
}

fn ca_file(written: &Option<At<String>>, dir: &Path) -> Result<Option<CaFile>, Error> {
    let read = |at: &At<String>| at.check(|text| path(text, dir).and_then(CaFile::read));
    written.as_ref().map(read).transpose()
}

/// The address of a proxy, `http://[USER:PASSWORD@]HOST:PORT`; the scheme may be left out. `None` for anything else.
#[must_use]
pub fn proxy_address(text: &str) -> Option<Url> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("http://{text}"),
    };
    let url = Url::parse(&whole).ok()?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let is_blank = text.chars().any(|c| c.is_whitespace() || c.is_control());
    (url.scheme() == "http" && url.has_host() && is_plain && !is_blank).then_some(url)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::Config;

    fn parse(dir: &Path, lines: &str) -> Result<Config, Error> {
        let text = format!("node = {{ name = \"a\", cluster_id = \"a-1\" }}\n{lines}");
        Config::parse(&text, &dir.join("emsync.toml"))
    }

    #[test]
    fn addresses_of_proxies_are_told_from_other_texts() {
        for (text, read) in [
            ("http://proxy:3128", Some("http://proxy:3128/")),
            (
                "proxy.example.org:3128",
                Some("http://proxy.example.org:3128/"),
            ),
            (
                "http://u:p@10.0.0.1:8080/",
                Some("http://u:p@10.0.0.1:8080/"),
            ),
            ("http://[::1]:8080", Some("http://[::1]:8080/")),
            ("socks5://proxy:1080", None),
            ("https://proxy:1080", None),
            ("http://proxy/path", None),
            ("http://", None),
            ("two words", None),
            ("", None),
        ] {
            let url = proxy_address(text);
            assert_eq!(url.as_ref().map(Url::as_str), read, "{text}");
        }
    }

    #[test]
    fn a_wrong_proxy_is_told_without_its_password() {
        let dir = tempfile::tempdir().unwrap();
        let error = parse(dir.path(), "[network]\nproxy = \"ftp://u:planted@proxy\"\n");
        let said = error.unwrap_err().report();
        assert!(
            said.contains("network.proxy") && said.contains("none"),
            "{said}"
        );
        assert!(!said.contains("planted"), "{said}");
        let config = parse(
            dir.path(),
            "[network]\nproxy = \"http://u:planted@proxy:1\"\n",
        )
        .unwrap();
        assert!(!format!("{config:?}").contains("planted"));
    }

    #[test]
    fn an_authority_is_looked_at_when_the_file_is_loaded_and_a_peer_may_have_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let pem = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
            fs::write(dir.path().join(name), made.cert.pem()).unwrap();
        };
        pem("ours");
        pem("theirs");
        let peers = "[network]\nca_file = \"ours\"\n\
            [[peer]]\nname = \"a\"\nbase_url = \"https://a/s\"\n\
            [[peer]]\nname = \"b\"\nbase_url = \"https://b/s\"\nca_file = \"theirs\"\n";
        let config = parse(dir.path(), peers).unwrap();
        let of = |index: usize| {
            let ca = config.peers[index].network.ca.as_ref().unwrap();
            assert_eq!(ca.certificates().len(), 1);
            ca.path().file_name().unwrap().to_owned()
        };
        assert_eq!((of(0), of(1)), ("ours".into(), "theirs".into()));

        fs::write(dir.path().join("none"), "no certificate").unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        fs::write(dir.path().join("broken"), broken).unwrap();
        for name in ["missing", "none", "broken"] {
            let lines = format!("[network]\nca_file = \"{name}\"\n");
            let said = parse(dir.path(), &lines).unwrap_err().report();
            assert!(
                said.contains("network.ca_file") && said.contains("PEM"),
                "{said}"
            );
            assert!(said.contains(name), "{said}");
        }
    }
}
