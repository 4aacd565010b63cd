//! The two kinds of master that a mirror is tried against: the scripted EMDB and a served node of ours. Each is told what
//! changed between two states of the world, and puts it where its mirrors find it.

use std::collections::{BTreeMap, BTreeSet};

use emsync::model::{AssetId, FileKind, MediaFile, MediaPath, NodeId, Sha256, Timestamp};
use emsync::store::Publish;

use super::world::{Key, Rec, World};
use crate::support::emdb::{Doc, Emdb, KEY, Setup};
use crate::support::fault::Fault;
use crate::support::master::Master;
use crate::support::node::Mirror;

const CLUSTER: &str = "node-m";

/// Which kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Emdb,
    Emsync,
}

/// A master at work.
pub(super) enum Peer {
    Emdb(Emdb),
    Emsync(Box<Master>),
}

/// A file of the master: kind, path, owner, content, date.
type Lying = (FileKind, String, Key, Vec<u8>, i64);

/// What is different between two states of the world.
struct Change<'a> {
    saved: Vec<&'a Rec>,
    vanished: Vec<&'a Rec>,
    gone: Vec<Lying>,
    come: Vec<Lying>,
}

impl<'a> Change<'a> {
    fn between(old: &'a World, new: &'a World) -> Self {
        let saved = new.records.values();
        let vanished = old.records.values();
        let (before, after) = (files(old), files(new));
        Self {
            saved: saved
                .filter(|rec| old.records.get(&rec.key) != Some(rec))
                .collect(),
            vanished: vanished
                .filter(|rec| !new.records.contains_key(&rec.key))
                .collect(),
            gone: before.difference(&after).cloned().collect(),
            come: after.difference(&before).cloned().collect(),
        }
    }
}

fn files(world: &World) -> BTreeSet<Lying> {
    world.records.values().flat_map(files_of).collect()
}

fn files_of(rec: &Rec) -> Vec<Lying> {
    let original = rec.original.iter().map(|file| {
        let content = (file.bytes.clone(), file.mtime);
        (FileKind::Original, file.path.clone(), content)
    });
    let generated = rec.generated();
    let generated = generated.map(|(path, file)| (FileKind::Generated, path, file.clone()));
    original
        .chain(generated)
        .map(|(kind, path, (bytes, mtime))| (kind, path, rec.key.clone(), bytes, mtime))
        .collect()
}

impl Peer {
    pub(super) async fn start(sort: Sort) -> Self {
        let setup = Setup {
            page_size: 4,
            ..Setup::default()
        };
        match sort {
            Sort::Emdb => Self::Emdb(Emdb::start(setup).await),
            Sort::Emsync => Self::Emsync(Box::new(Master::new(4).await)),
        }
    }

    pub(super) fn own(&self) -> NodeId {
        match self {
            Self::Emdb(_) => NodeId::new(CLUSTER).unwrap(),
            Self::Emsync(master) => master.own().clone(),
        }
    }

    pub(super) async fn mirror(&self) -> Mirror {
        match self {
            Self::Emdb(emdb) => Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await,
            Self::Emsync(master) => master.mirror().await,
        }
    }

    /// Takes a change in.
    pub(super) async fn change(&self, old: &World, new: &World) {
        let change = Change::between(old, new);
        match self {
            Self::Emdb(emdb) => change_emdb(emdb, &change),
            Self::Emsync(master) => change_emsync(master, &change).await,
        }
    }

    /// Lets requests fail by chance; whether this kind can.
    pub(super) fn falter(&self, seed: u64) -> bool {
        let Self::Emdb(emdb) = self else {
            return false;
        };
        let menu = vec![
            Fault::Unavailable(None),
            Fault::Reset,
            Fault::CutAfter(100),
            Fault::ShortBody(40),
            Fault::TruncatedJson,
        ];
        emdb.faults().by_chance(seed, 25, menu);
        // Of originals alone: EMDB states no digest of a rendition, so nothing could tell (H-11).
        emdb.faults()
            .once("downloads/originals", 1, Fault::WrongBytes);
        true
    }

    /// Faults stop.
    pub(super) fn recover(&self) {
        if let Self::Emdb(emdb) = self {
            emdb.faults().clear();
        }
    }

    pub(super) async fn end(self) {
        if let Self::Emsync(master) = self {
            master.end().await;
        }
    }
}

fn change_emdb(emdb: &Emdb, change: &Change<'_>) {
    emdb.edit(|content| {
        for (kind, path, ..) in &change.gone {
            match kind {
                FileKind::Original => content.originals.remove(path),
                FileKind::Generated => content.generated.remove(path),
            };
        }
        for (kind, path, _, bytes, mtime) in &change.come {
            match kind {
                FileKind::Original => content.original(path, bytes.clone(), *mtime),
                FileKind::Generated => content.generated(path, bytes.clone(), *mtime),
            }
        }
        for rec in &change.vanished {
            content.hard_delete(rec.key.0, &rec.key.1);
        }
        for rec in &change.saved {
            content.record(Doc {
                module: rec.key.0.to_owned(),
                id: rec.key.1.clone(),
                source: serde_json::from_str(&rec.record().source).unwrap(),
            });
        }
    });
}

async fn change_emsync(master: &Master, change: &Change<'_>) {
    let node = &master.node;
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await.unwrap();
    for (kind, path, owner, bytes, _) in &change.gone {
        let (name, content) = (MediaPath::new(path).unwrap(), Sha256::of(bytes));
        let owner = AssetId::new(owner.1.as_str()).unwrap();
        let forgotten = batch.forget_file(*kind, &name, &owner, &content, now).await;
        forgotten.unwrap();
        clear(master, *kind, path);
    }
    for lying in &change.come {
        let file = publish(master, lying);
        batch.put_file(&file, now).await.unwrap();
    }
    for rec in &change.vanished {
        let key = rec.record_key();
        batch.take_record_away(&key, "nobody", now).await.unwrap();
    }
    let records: Vec<_> = change.saved.iter().map(|rec| rec.record()).collect();
    let records: Vec<_> = records.iter().collect();
    batch.put_records(&records, "", now).await.unwrap();
    batch.commit().await.unwrap();
}

/// Removes a file of the master, and folders that it leaves empty: they may be in the way of a file.
fn clear(master: &Master, kind: FileKind, path: &str) {
    let config = &master.node.config;
    let root = config.media.root.join(config.node.catalog.as_str());
    let tree = root.join(kind.dir());
    let place = tree.join(path);
    std::fs::remove_file(&place).unwrap();
    let folders = place.ancestors().skip(1).take_while(|dir| *dir != tree);
    for folder in folders {
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// Puts a file of the master's own under its name; answers its row.
fn publish(master: &Master, (kind, path, owner, bytes, mtime): &Lying) -> MediaFile {
    let store = &master.node.store;
    let mut staged = store.staging("model").unwrap().create().unwrap();
    staged.write_all(bytes).unwrap();
    let file = MediaFile {
        kind: *kind,
        path: MediaPath::new(path).unwrap(),
        place: None,
        asset: AssetId::new(owner.1.as_str()).unwrap(),
        size: bytes.len() as u64,
        modified: Timestamp::from_millis(*mtime),
        sha256: Sha256::of(bytes),
        md5: None,
        authored: *kind == FileKind::Generated,
        fingerprint: None,
    };
    let publish = Publish {
        content: staged.into(),
        kind: file.kind,
        path: file.path.clone(),
        modified: file.modified,
        keep_replaced: false,
    };
    store.publish(vec![publish]).pop().unwrap().unwrap();
    file
}

/// Files by place, as they lie on a mirror's disk.
pub(super) fn on_disk(mirror: &Mirror) -> BTreeMap<(FileKind, String), Vec<u8>> {
    let mut found = BTreeMap::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let tree = mirror.path(kind, "");
        for entry in walkdir::WalkDir::new(&tree).into_iter().flatten() {
            if entry.file_type().is_file() {
                let path = entry.path().strip_prefix(&tree).unwrap();
                let path = path.to_str().unwrap().to_owned();
                found.insert((kind, path), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

/// Digests of what lies in a mirror's trash.
pub(super) fn in_trash(mirror: &Mirror) -> BTreeSet<Sha256> {
    let trash = mirror.node.config.media.root.join(".emsync/trash");
    let entries = walkdir::WalkDir::new(trash).into_iter().flatten();
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| Sha256::of(&std::fs::read(entry.path()).unwrap()))
        .collect()
}
