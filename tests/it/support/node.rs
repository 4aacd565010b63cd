//! A real node in a temporary directory, driven in this process through the same drivers that the commands use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};
use std::time::Duration;

use emsync::config::edit::add_peer;
use emsync::config::init::{NewNode, write};
use emsync::config::{Config, KeySource, NewPeer, Peer, Secret};
use emsync::model::{FileKind, MediaPath, RecordKey};
use emsync::monitor::TestMonitor;
use emsync::node::{self, Node};
use emsync::pipeline::{self, Options, Outcome};
use emsync::pull::metadata::Scope;
use emsync::reconcile::verify::Parity;
use emsync::seams::Seams;
use emsync::shutdown::Shutdown;
use emsync::store::Sys;
use tokio::sync::OnceCell;

/// The name that tests give the node they pull from.
pub(crate) const MASTER: &str = "master";

/// A node that pulls.
pub(crate) struct Mirror {
    pub(crate) node: Node,
    pub(crate) monitor: Arc<TestMonitor>,
    pub(crate) shutdown: Shutdown,
    _dir: tempfile::TempDir,
}

impl Mirror {
    /// A new node with one peer, `master`.
    pub(crate) async fn of(url: &str, key: &str, cluster_id: Option<&str>) -> Self {
        Self::with(url, key, cluster_id, |_| {}).await
    }

    /// The same, with its configuration changed before it is opened.
    pub(crate) async fn with(
        url: &str,
        key: &str,
        cluster_id: Option<&str>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::inside(dir, (url, key, cluster_id), change).await
    }

    /// The same in a folder of the test's choice.
    pub(crate) async fn inside(
        dir: tempfile::TempDir,
        (url, key, cluster_id): (&str, &str, Option<&str>),
        change: impl FnOnce(&mut Config),
    ) -> Self {
        use_one_tls_provider();
        let mut config = new_node(&dir.path().join("r"), "Mirror");
        add_peer(
            &config.file,
            &NewPeer {
                name: MASTER.to_owned(),
                url: url.to_owned(),
                key: KeySource::Inline(Secret::new(key)),
                cluster_id: cluster_id.map(str::to_owned),
                push: false,
                push_originals: None,
                sidecar: false,
                ca_file: None,
            },
        )
        .unwrap();
        config = Config::load(&config.file).unwrap();
        // Failures in these tests are scripted, so waiting long for their end would only cost time.
        config.limits.retry_base = Duration::from_millis(1);
        config.limits.retry_cap = Duration::from_millis(5);
        change(&mut config);
        Node::init(&config).await.unwrap();
        let node = Node::open(config, Seams::os()).await.unwrap();
        Self {
            node,
            monitor: Arc::new(TestMonitor::default()),
            shutdown: Shutdown::new(),
            _dir: dir,
        }
    }

    /// The node `r` in `dir`, opened on a disk that may fail.
    pub(crate) async fn open_in(
        dir: tempfile::TempDir,
        seams: Seams,
        sys: Arc<dyn Sys>,
    ) -> Result<Self, (tempfile::TempDir, node::Error)> {
        use_one_tls_provider();
        let mut config = Config::load(&dir.path().join("r/emsync.toml")).unwrap();
        config.limits.retry_base = Duration::from_millis(1);
        config.limits.retry_cap = Duration::from_millis(5);
        match Node::open_with(config, seams, sys).await {
            Ok(node) => Ok(Self {
                node,
                monitor: Arc::new(TestMonitor::default()),
                shutdown: Shutdown::new(),
                _dir: dir,
            }),
            Err(error) => Err((dir, error)),
        }
    }

    /// Gives the node other settings from the next run on.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.node.config).clone();
        change(&mut config);
        self.node.config = config.into();
    }

    /// Closes the node; its directory stays.
    pub(crate) async fn close(self) -> tempfile::TempDir {
        self.node.catalogue.close().await;
        self._dir
    }

    /// The same node, as a new process would find it.
    pub(crate) fn restarted(mut self) -> Self {
        self.shutdown = Shutdown::new();
        self
    }

    pub(crate) fn peer(&self) -> Peer {
        self.node.config.peer(MASTER).unwrap().clone()
    }

    /// Pulls everything or what changed, and answers how it ended.
    pub(crate) async fn run(&self, scope: Scope) -> Outcome {
        self.attempt(scope).await.unwrap()
    }

    /// The same, for a run that may not even begin.
    pub(crate) async fn attempt(&self, scope: Scope) -> Result<Outcome, pipeline::Error> {
        let options = Options::of(scope);
        pipeline::sync_peer(
            &self.node,
            &self.peer(),
            options,
            self.monitor.clone(),
            &self.shutdown,
        )
        .await
    }

    /// Pulls everything, which must go well.
    #[track_caller]
    pub(crate) fn seed(&self) -> impl Future<Output = Outcome> {
        self.well(Scope::Everything)
    }

    /// Pulls what changed, which must go well.
    #[track_caller]
    pub(crate) fn sync(&self) -> impl Future<Output = Outcome> {
        self.well(Scope::Changes)
    }

    #[track_caller]
    fn well(&self, scope: Scope) -> impl Future<Output = Outcome> {
        let caller = std::panic::Location::caller();
        async move {
            let outcome = self.run(scope).await;
            if let Some(error) = &outcome.error {
                panic!("{caller}: {}", chain(error));
            }
            outcome
        }
    }

    pub(crate) async fn verify(&self) -> Parity {
        pipeline::verify_peer(
            &self.node,
            &self.peer(),
            pipeline::Look {
                checksum: true,
                in_full: false,
            },
            &*self.monitor,
            &self.shutdown,
        )
        .await
        .unwrap()
    }

    /// Whether this node equals its peer in every layer, every file read again.
    #[track_caller]
    pub(crate) fn assert_in_sync(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let parity = self.verify().await;
            assert!(parity.in_sync, "{caller}: {:#?}", parity.differences);
        }
    }

    /// Where a file lies on disk.
    pub(crate) fn path(&self, kind: FileKind, path: &str) -> PathBuf {
        let config = &self.node.config;
        config
            .media
            .root
            .join(config.node.catalog.as_str())
            .join(kind.dir())
            .join(path)
    }

    /// A file's bytes, or nothing.
    pub(crate) fn read(&self, kind: FileKind, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.path(kind, path)).ok()
    }

    /// Whether there is a live record.
    pub(crate) async fn has_live(&self, module: &str, id: &str) -> bool {
        let key = RecordKey::new(module, id).unwrap();
        self.node
            .catalogue
            .record(&key)
            .await
            .unwrap()
            .is_some_and(|stored| !stored.record.is_deleted())
    }

    /// The row of a file.
    pub(crate) async fn row(
        &self,
        kind: FileKind,
        path: &str,
    ) -> Option<emsync::catalogue::FileRow> {
        self.node
            .catalogue
            .file_named(kind, &MediaPath::new(path).unwrap(), None)
            .await
            .unwrap()
    }

    /// Reasons of everything that was set aside.
    pub(crate) async fn set_aside(&self) -> Vec<String> {
        let aside = self
            .node
            .catalogue
            .set_aside(None, None, 1_000)
            .await
            .unwrap();
        aside
            .into_iter()
            .map(|item| format!("{}: {}", item.subject, item.reason))
            .collect()
    }
}

/// The configuration of a new node.
pub(crate) fn new_node(dir: &Path, name: &str) -> Config {
    new_node_as(dir, name, None)
}

/// One with a cluster id of the test's choice.
pub(crate) fn new_node_as(dir: &Path, name: &str, cluster_id: Option<&str>) -> Config {
    let new = NewNode {
        dir: dir.to_owned(),
        name: name.to_owned(),
        catalog: None,
        cluster_id: cluster_id.map(str::to_owned),
        media: None,
    };
    write(&new, &Seams::os()).unwrap()
}

/// [`Node::init`] over a catalogue whose schema is there already: half of what a small world costs is otherwise to make it again
/// for each of its nodes.
pub(crate) async fn init_from_template(config: &Config) {
    static EMPTY: OnceCell<Vec<u8>> = OnceCell::const_new();
    let empty = EMPTY
        .get_or_init(|| async {
            let dir = tempfile::tempdir().unwrap();
            let config = new_node(&dir.path().join("n"), "Template");
            Node::init(&config).await.unwrap();
            std::fs::read(config.state.join("emsync.db")).unwrap()
        })
        .await;
    std::fs::create_dir_all(&config.state).unwrap();
    std::fs::write(config.state.join("emsync.db"), empty).unwrap();
    Node::init(config).await.unwrap();
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// The TLS back end is one for the process; the program sets it first thing, and so do the tests.
pub(crate) fn use_one_tls_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
