//! A node of ours: a folder, a catalogue and media in a temporary directory, served on a port of its own behind a wire that may be
//! cut, and driven as by commands: by a second opening of the same node, which may die.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use emsync::catalogue::{AccessKey, Scope as KeyScope};
use emsync::config::{Config, Generated};
use emsync::model::Timestamp;
use emsync::monitor::Silent;
use emsync::node::Node;
use emsync::pipeline::{self, Options, Outcome};
use emsync::pull::metadata::Scope;
use emsync::receive::Inbox;
use emsync::seams::{Clock, Os, Seams};
use emsync::serve::{self, Settings, make_key};
use emsync::shutdown::Shutdown;
use emsync::store::RealSys;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::mortal::Mortal;
use super::wire::Wire;
use crate::support::node::{chain, init_from_template, new_node_as, use_one_tls_provider};
use crate::support::site::import_folder;

/// Records of a page.
const PER_PAGE: u64 = 5;

/// The time of the world as a node's clock shows it, which may be off.
///
/// It goes on by itself, since jobs wait for their next try by it, and leaps with every operation.
#[derive(Debug, Clone)]
pub(super) struct Skewed {
    /// How far the world's time is ahead of ours by now, ms.
    pub(super) world: Arc<AtomicI64>,
    pub(super) offset_ms: i64,
}

impl Clock for Skewed {
    fn now(&self) -> Timestamp {
        let ahead = self.world.load(Ordering::SeqCst) + self.offset_ms;
        Timestamp::from_millis(Os.now().as_millis() + ahead)
    }
}

/// How a peer is reached.
#[derive(Debug, Clone)]
pub(super) struct Reached {
    pub(super) url: String,
    pub(super) key: String,
    pub(super) cluster: String,
}

/// A node that is made, and not opened yet.
pub(super) struct Made {
    dir: tempfile::TempDir,
    config: PathBuf,
    clock: Skewed,
    listener: TcpListener,
    server: TcpListener,
    /// For each other node its own: what is handed in goes by the name of the key.
    keys: Vec<AccessKey>,
    pub(super) reached: Vec<Reached>,
}

impl Made {
    /// Of a number and a cluster id; `nodes` of them will reach it.
    pub(super) async fn new((number, id): (usize, &str), nodes: usize, clock: Skewed) -> Self {
        use_one_tls_provider();
        // Thousands of small files: where memory can hold them, it does.
        let memory = Path::new("/dev/shm");
        let dir = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let dir = dir.unwrap();
        let name = format!("Node {number}");
        let config = new_node_as(&dir.path().join("n"), &name, Some(id));
        init_from_template(&config).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let seams = Seams::os();
        let (address, site) = (listener.local_addr().unwrap(), &config.node.site);
        let (mut keys, mut reached) = (Vec::new(), Vec::new());
        for other in 0..nodes {
            let (key, text) = make_key(&seams, &name_of(other), KeyScope::Write, clock.now());
            keys.push(key);
            reached.push(Reached {
                url: format!("http://{address}/{site}"),
                key: text,
                cluster: config.node.cluster_id.to_string(),
            });
        }
        Self {
            dir,
            config: config.file.clone(),
            clock,
            listener,
            server,
            keys,
            reached,
        }
    }

    /// Opens and serves it, with these peers, and those it pushes to.
    pub(super) async fn open(
        self,
        peers: &[(usize, Reached)],
        push: impl Fn(usize) -> bool,
    ) -> Site {
        // As `peer add` writes them, which reads and checks everything again for each.
        let mut text = std::fs::read_to_string(&self.config).unwrap();
        for (number, peer) in peers {
            let (name, push) = (name_of(*number), push(*number));
            let Reached { url, key, cluster } = peer;
            let section = format!(
                "\n[[peer]]\nname = {name:?}\nbase_url = {url:?}\nkey = {key:?}\ncluster_id = {cluster:?}\npush = {push}\n"
            );
            text.push_str(&section);
        }
        std::fs::write(&self.config, text).unwrap();
        let mut config = Config::load(&self.config).unwrap();
        config.limits.retry_base = Duration::from_millis(1);
        config.limits.retry_cap = Duration::from_millis(3);
        config.media.thumb_threads = 1;
        for peer in &mut config.peers {
            // One author for each file: what a peer lacks is not made elsewhere.
            peer.generated = Generated::Copy;
        }
        let folder = self.dir.path().join("photos");
        std::fs::create_dir(&folder).unwrap();
        let mut seams = Seams::os();
        seams.clock = Arc::new(self.clock.clone());
        let serving = Node::open_with(config.clone(), seams.clone(), Arc::new(RealSys));
        let serving = serving.await.unwrap();
        let mut batch = serving.catalogue.batch().await.unwrap();
        for key in &self.keys {
            batch.put_key(key).await.unwrap();
        }
        batch.commit().await.unwrap();
        let wire = Wire::new(self.listener, self.server.local_addr().unwrap());
        let stop = Shutdown::new();
        let settings = Settings {
            node: config.node.cluster_id.clone(),
            site: config.node.site.clone(),
            catalog: config.node.catalog.clone(),
            relay_tables: Vec::new(),
            per_page: PER_PAGE,
            margin: Duration::from_secs(60),
        };
        let http = serve::Node::new(
            settings,
            serving.catalogue.clone(),
            serving.store.clone(),
            serving.seams.clone(),
            serving.throttle.clone(),
        )
        .receiving(Inbox::open(&serving, &stop).unwrap());
        let served = tokio::spawn(serve::run(self.server, http, stop.clone()));
        let mut site = Site {
            folder,
            config,
            seams,
            serving,
            served,
            stop,
            wire,
            driven: None,
            dir: self.dir,
        };
        site.driven = Some(site.opened().await);
        site
    }
}

pub(super) fn name_of(peer: usize) -> String {
    format!("n{peer}")
}

/// See the head of this file.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    config: Config,
    seams: Seams,
    serving: Node,
    served: JoinHandle<Result<(), serve::Error>>,
    stop: Shutdown,
    pub(super) wire: Wire,
    driven: Option<(Node, Arc<Mortal>)>,
    dir: tempfile::TempDir,
}

impl Site {
    async fn opened(&self) -> (Node, Arc<Mortal>) {
        let mortal = Arc::new(Mortal::new());
        let (config, seams) = (self.config.clone(), self.seams.clone());
        let node = Node::open_with(config, seams, mortal.clone()).await;
        (node.unwrap(), mortal)
    }

    /// Where everything of it is.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn node(&self) -> &Node {
        &self.driven.as_ref().expect("open between operations").0
    }

    /// A pull from a peer and, where it may, a push to it: what came of both, or of the pull alone where that failed.
    pub(super) async fn sync(&self, peer: usize, scope: Scope) -> Result<Vec<Outcome>, String> {
        let node = self.node();
        let settings = node.config.peer(&name_of(peer)).unwrap().clone();
        let (silent, stop) = (Arc::new(Silent), Shutdown::new());
        let pull = pipeline::sync_peer(node, &settings, Options::of(scope), silent.clone(), &stop);
        let mut outcomes = vec![pull.await.map_err(|error| chain(&error))?];
        if settings.push && outcomes[0].error.is_none() {
            let options = Options::of(Scope::Changes);
            let push = pipeline::push_peer(node, &settings, &options, silent, &stop);
            outcomes.push(push.await.map_err(|error| chain(&error))?);
        }
        Ok(outcomes)
    }

    pub(super) async fn import(&self) -> Result<emsync::import::Report, emsync::import::Error> {
        import_folder(self.node(), &self.folder).await
    }

    /// Lets `run` go on until it ends, or its disk has seen so many changes: then it is dropped where it stands, and whoever comes
    /// next opens the node anew.
    pub(super) async fn dies_in<T>(&mut self, calls: u64, run: impl AsyncFnOnce(&Self) -> T) {
        let mortal = Arc::clone(&self.driven.as_ref().expect("open").1);
        mortal.dies_after(calls);
        tokio::select! {
            _ = run(self) => {}
            () = mortal.death() => {}
        }
        let (node, _) = self.driven.take().expect("open");
        node.catalogue.close().await;
        self.driven = Some(self.opened().await);
    }

    pub(super) async fn end(mut self) {
        self.stop.request();
        if let Some((node, _)) = self.driven.take() {
            node.catalogue.close().await;
        }
        self.served.await.unwrap().unwrap();
        self.serving.catalogue.close().await;
    }
}
