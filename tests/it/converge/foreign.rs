//! An EMDB among the nodes: it serves, pulls and edits by its own rule, which has none of our additions.

use std::collections::BTreeMap;

use emsync::model::Timestamp;
use serde_json::{Value, json};

use super::site::Reached;
use crate::support::emdb::{Client, Content, Emdb, KEY, Peer, Setup};

/// See the head of this file.
pub(super) struct Foreign {
    pub(super) emdb: Emdb,
    clients: BTreeMap<usize, Client>,
    number: usize,
    offset_ms: i64,
    /// Ids of the assets that it made.
    assets: Vec<String>,
}

impl Foreign {
    pub(super) async fn new(number: usize, offset_ms: i64) -> Self {
        let setup = Setup {
            page_size: 5,
            secure_cookie: false,
        };
        let emdb = Emdb::start_as(setup, &format!("emdb-{number}")).await;
        let foreign = Self {
            emdb,
            clients: BTreeMap::new(),
            number,
            offset_ms,
            assets: Vec::new(),
        };
        foreign.ahead(0);
        foreign
    }

    /// The world's time is so far ahead of ours.
    pub(super) fn ahead(&self, ms: i64) {
        self.emdb.set_clock_offset(ms + self.offset_ms);
    }

    pub(super) fn reached(&self) -> Reached {
        Reached {
            url: self.emdb.base().to_owned(),
            key: KEY.to_owned(),
            cluster: self.emdb.own().to_owned(),
        }
    }

    /// With these peers, to whom it may push.
    pub(super) fn open(&mut self, peers: &[(usize, Reached)], push: bool) {
        for (number, peer) in peers {
            let peer = Peer {
                pull_data_only: !push,
                push_originals: push,
                ..Peer::pulled(&peer.url, &peer.key, &peer.cluster)
            };
            self.clients.insert(*number, self.emdb.client(peer));
        }
    }

    /// Pulls from a peer, and pushes to it where it may; answers how many files moved. `whole` as an operator does who trusts no relay (H-4).
    pub(super) async fn pull(&self, peer: usize, whole: bool) -> Result<usize, String> {
        let client = &self.clients[&peer];
        if whole {
            client.whole_history();
        }
        let mut moved = 0;
        for ran in client.all().await {
            if let Some(error) = ran.error {
                return Err(error);
            }
            if ran.leaked > 0 {
                return Err(format!("EMDB lost places in its pool: {ran:?}"));
            }
            moved += ran.downloaded.len() + ran.uploaded.len();
        }
        self.emdb.refresh();
        Ok(moved)
    }

    fn save(&self, (module, id): (&str, &str), deleted: bool, change: impl FnOnce(&mut Value)) {
        let now = self.emdb.now();
        let own = self.emdb.own();
        self.emdb
            .edit(|content| content.save(own, now, (module, id), deleted, change));
    }

    /// A new asset, or another original of an asset that it made, but for the first; whether it is a new one.
    pub(super) fn write(
        &mut self,
        replaced: Option<usize>,
        bytes: Vec<u8>,
        with_rendition: bool,
    ) -> bool {
        let number = replaced.map(|file| 1 + file);
        let number = number.filter(|number| *number < self.assets.len());
        let is_new = number.is_none();
        let name = format!("f{}", number.unwrap_or(self.assets.len()));
        let path = format!("n{}/{name}.bin", self.number);
        let id = format!("emdb{}{name}", self.number);
        let (size, mtime) = (bytes.len(), self.emdb.now().as_millis());
        self.emdb.edit(|content| {
            if with_rendition {
                let rendition: Vec<u8> = bytes.iter().rev().copied().collect();
                content.generated(&format!("{path}/image200x200.webp"), rendition, mtime);
            }
            content.original(&path, bytes, mtime);
        });
        self.save(("asset", &id), false, |source| {
            let made = json!({
                "sourcepath": path, "name": path, "isfolder": false, "filesize": size, "fileformat": "bin", "importstatus": "complete",
                "editstatus": "6", "assetmodificationdate": Timestamp::from_millis(mtime).to_string(),
            });
            for (name, value) in made.as_object().expect("an object") {
                source[name] = value.clone();
            }
        });
        if is_new {
            self.assets.push(id);
        }
        is_new
    }

    /// A delete in its pages takes the renditions and leaves the original (wire spec 7.1).
    pub(super) fn delete(&self, (module, id): (&str, &str)) {
        let below = self.emdb.edit(|content| {
            let doc = content.doc(module, id);
            doc.and_then(|doc| Some(format!("{}/", doc.source["sourcepath"].as_str()?)))
        });
        if let Some(below) = below {
            let goes = |path: &String| path.starts_with(&below);
            self.emdb
                .edit(|content| content.generated.retain(|path, _| !goes(path)));
        }
        self.save((module, id), true, |_| {});
    }

    pub(super) fn remove(&self, pick: usize) {
        // The first one stays.
        let Some(id) = self.assets.get(1 + pick) else {
            return;
        };
        let is_live = self.emdb.edit(|content| {
            let doc = content.doc("asset", id);
            doc.is_some_and(|doc| doc.source["emrecordstatus"]["recorddeleted"] == json!(false))
        });
        if is_live {
            self.delete(("asset", id));
        }
    }

    pub(super) fn put(&self, key: (&str, &str), members: &Value) {
        self.save(key, false, |source| {
            for (name, value) in members.as_object().expect("an object") {
                source[name] = value.clone();
            }
        });
    }

    pub(super) fn records(&self) -> BTreeMap<(String, String), Value> {
        self.emdb.edit(|content: &mut Content| {
            content.refresh();
            let docs = content.docs.iter().cloned();
            docs.map(|doc| ((doc.module, doc.id), doc.source)).collect()
        })
    }
}
