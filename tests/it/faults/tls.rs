//! A certificate that runs out, over real TLS. The set of trusted authorities belongs to a process, so this one case drives the
//! program itself, and looks at what is on disk afterwards.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

use super::world::{Door, World};
use crate::support::emdb::KEY;
use crate::support::node::use_one_tls_provider;
use crate::support::program::Program;

/// An authority that nobody knows but who is told.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    /// A server with a certificate that is good until the first day of a year.
    fn until(&self, year: i32) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certificate.der().clone()], key.into());
        TlsAcceptor::from(Arc::new(config.unwrap()))
    }
}

pub(super) fn expires() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async {
        use_one_tls_provider();
        let world = World::new(3, 1_000, Door::Open, |_| {}).await;
        let front = world.front.as_ref().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let trusted = dir.path().join("authority.pem");
        std::fs::write(&trusted, &authority.pem).unwrap();
        let url = format!("https://{}/finder", front.address);
        let mirror = Program::init(&dir.path().join("mirror"), "mirror-0001");
        let key = dir.path().join("key");
        std::fs::write(&key, KEY).unwrap();
        let add = [
            "peer",
            "add",
            "master",
            "--url",
            &url,
            "--cluster-id",
            super::world::CLUSTER,
        ];
        mirror
            .run(&[&add[..], &["--key-file", key.to_str().unwrap()]].concat())
            .well();
        mirror.limit("attempts = 2\nretry_base = \"1ms\"\nretry_cap = \"5ms\"");

        front.want_tls(authority.until(2099));
        let first = mirrored(&mirror, &trusted).await;
        assert_eq!(first.code, Some(0), "{}", first.stderr);
        let files = mirror.files();
        assert_eq!(files.len(), 6);

        world.add("new", "Album/new.bin", "new");
        front.want_tls(authority.until(2021));
        let expired = mirrored(&mirror, &trusted).await;
        assert_eq!(expired.code, Some(5), "{}", expired.stderr);
        assert!(
            expired.stderr.contains("certificate expired"),
            "{}",
            expired.stderr
        );
        assert!(!expired.stderr.contains(KEY));
        assert_eq!(mirror.files(), files, "something moved");

        front.want_tls(authority.until(2099));
        let renewed = mirrored(&mirror, &trusted).await;
        assert_eq!(renewed.code, Some(0), "{}", renewed.stderr);
        assert_eq!(mirror.files().len(), 8);
    })
}

/// One `sync`, in a thread, since the master answers from this runtime.
async fn mirrored(mirror: &Program, trusted: &Path) -> crate::support::program::Done {
    tokio::task::block_in_place(|| {
        mirror.run_with(
            &["sync", "master"],
            &[("SSL_CERT_FILE", trusted.as_os_str())],
        )
    })
}
