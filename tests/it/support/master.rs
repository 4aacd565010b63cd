//! A master of ours, served in this process: records and originals are put in as an import would, without a folder.

use std::time::Duration;

use emsync::catalogue::Scope as KeyScope;
use emsync::model::{
    FileKind, MediaFile, MediaPath, NodeId, Record, RecordKey, RecordStatus, Sha256, Timestamp,
};
use emsync::node::Node;
use emsync::protocol::record::stamped;
use emsync::receive::Inbox;
use emsync::seams::Seams;
use emsync::serve::{self, Settings, make_key};
use emsync::shutdown::Shutdown;
use emsync::store::Publish;
use serde_json::json;
use tokio::task::JoinHandle;

use super::node::{Mirror, new_node};

/// A served node with a key for whoever pulls from it.
pub(crate) struct Master {
    pub(crate) node: Node,
    pub(crate) url: String,
    pub(crate) key: String,
    /// The key `sender`, which may hand changes in.
    pub(crate) write_key: String,
    stop: Shutdown,
    served: JoinHandle<Result<(), serve::Error>>,
    _dir: Option<tempfile::TempDir>,
}

impl Master {
    pub(crate) async fn new(per_page: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = new_node(&dir.path().join("m"), "Master");
        Node::init(&config).await.unwrap();
        let node = Node::open(config, Seams::os()).await.unwrap();
        let mut master = Self::serving(node, per_page).await;
        master._dir = Some(dir);
        master
    }

    /// Serves a node that is there already.
    pub(crate) async fn serving(node: Node, per_page: u64) -> Self {
        let now = node.seams.clock.now();
        let (key, text) = make_key(&node.seams, "tests", KeyScope::Read, now);
        let (writer, write_text) = make_key(&node.seams, "sender", KeyScope::Write, now);
        let mut batch = node.catalogue.batch().await.unwrap();
        batch.put_key(&key).await.unwrap();
        batch.put_key(&writer).await.unwrap();
        batch.commit().await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/{}",
            listener.local_addr().unwrap(),
            node.config.node.site
        );
        let settings = Settings {
            node: node.config.node.cluster_id.clone(),
            site: node.config.node.site.clone(),
            catalog: node.config.node.catalog.clone(),
            relay_tables: Vec::new(),
            per_page,
            margin: Duration::from_secs(60),
        };
        let stop = Shutdown::new();
        let http = serve::Node::new(
            settings,
            node.catalogue.clone(),
            node.store.clone(),
            node.seams.clone(),
            node.throttle.clone(),
        )
        .holding_parts(&node.config.peers)
        .receiving(Inbox::open(&node, &stop).unwrap());
        let served = tokio::spawn(serve::run(listener, http, stop.clone()));
        Self {
            node,
            url,
            key: text,
            write_key: write_text,
            stop,
            served,
            _dir: None,
        }
    }

    pub(crate) fn own(&self) -> &NodeId {
        &self.node.config.node.cluster_id
    }

    pub(crate) fn status(&self, at: Timestamp) -> RecordStatus {
        let own = self.own().clone();
        RecordStatus {
            deleted: false,
            master: own.clone(),
            modified_by: own,
            modified: at,
            master_modified: Some(at),
        }
    }

    /// An asset with an original of `content` at `path`, published as an import would.
    pub(crate) async fn add(&self, id: &str, path: &str, content: &[u8]) -> Record {
        self.add_of_format(id, path, "bin", content).await
    }

    /// The same with a file format of its own.
    pub(crate) async fn add_of_format(
        &self,
        id: &str,
        path: &str,
        format: &str,
        content: &[u8],
    ) -> Record {
        let now = self.node.seams.clock.now();
        let members = json!({"name": path, "sourcepath": path, "isfolder": false, "filesize": content.len(), "fileformat": format,
            "id": id, "assetmodificationdate": Timestamp::from_millis(1_772_201_000_123).to_string()});
        let key = RecordKey::new("asset", id).unwrap();
        let record = stamped(
            members.as_object().unwrap().clone(),
            &key,
            &self.status(now),
        );
        let file = MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(path).unwrap(),
            place: None,
            asset: key.as_asset().unwrap(),
            size: content.len() as u64,
            modified: Timestamp::from_millis(1_772_201_000_123),
            sha256: Sha256::of(content),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let mut staged = self.node.store.staging("test").unwrap().create().unwrap();
        staged.write_all(content).unwrap();
        let publish = Publish {
            content: staged.into(),
            kind: file.kind,
            path: file.path.clone(),
            modified: file.modified,
            keep_replaced: true,
        };
        self.node
            .store
            .publish(vec![publish])
            .pop()
            .unwrap()
            .unwrap();
        let mut batch = self.node.catalogue.batch().await.unwrap();
        batch.put_records(&[&record], "", now).await.unwrap();
        batch.put_file(&file, now).await.unwrap();
        batch.commit().await.unwrap();
        record
    }

    pub(crate) async fn mirror(&self) -> Mirror {
        Mirror::of(&self.url, &self.key, None).await
    }

    pub(crate) async fn end(self) {
        self.stop.request();
        self.served.await.unwrap().unwrap();
    }
}
