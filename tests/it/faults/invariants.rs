//! What must hold after every pass, whatever went wrong in it.
//!
//! I1: every file under a final name belongs to a row with its size and SHA-256, and no row is without its file. I2: a
//! checkpoint that moved has passed nothing that is neither here, nor wished for, nor set aside. I4: nothing is gone but what may
//! go, and originals that went are in the trash. I9: nothing lies outside the node's own folders. I10: requests are bounded.
//! I13: no log line, error, finding or reason holds the key.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, Once};

use emsync::catalogue::{Checkpoint, FileRow};
use emsync::model::{FileKind, RecordKey, Sha256};
use emsync::pull::metadata::FEED;
use tracing_subscriber::EnvFilter;

use super::world::World;
use crate::support::emdb::{Doc, KEY};
use crate::support::node::{MASTER, Mirror};

const KINDS: [FileKind; 2] = [FileKind::Original, FileKind::Generated];

/// What a pass may take away.
#[derive(Debug, Clone, Default)]
pub(super) struct MayGo {
    /// Assets.
    pub(super) assets: Vec<String>,
    /// Files of these paths, or below them; `@id` stands for all files of an asset.
    pub(super) paths: Vec<String>,
}

impl MayGo {
    /// These assets and these paths.
    pub(super) fn of(assets: &[&str], paths: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            assets: owned(assets),
            paths: owned(paths),
        }
    }
}

/// A mirror as it stood at one moment.
pub(super) struct Before {
    pub(super) checkpoint: Option<Checkpoint>,
    pub(super) rows: BTreeMap<(FileKind, String), FileRow>,
    live: BTreeSet<String>,
    requests: usize,
    findings: usize,
}

/// Looks at a mirror before a pass.
pub(super) async fn before(world: &World) -> Before {
    Before {
        checkpoint: checkpoint(&world.mirror).await,
        rows: rows(&world.mirror).await,
        live: live(world).await,
        requests: world.emdb.requests("").len(),
        findings: world.mirror.monitor.seen().findings.len(),
    }
}

/// Holds a mirror after a pass against what it was before. `said` is what the pass ended with.
pub(super) async fn hold(
    world: &World,
    before: &Before,
    may_go: &MayGo,
    most_requests: usize,
    said: &str,
) {
    files_are_what_rows_say(&world.mirror).await;
    if checkpoint(&world.mirror).await != before.checkpoint {
        nothing_was_passed(world).await;
    }
    nothing_went(world, before, may_go).await;
    nothing_is_outside(&world.mirror);
    let requests = world.emdb.requests("").len() - before.requests;
    assert!(
        requests <= most_requests,
        "{requests} requests, more than {most_requests}"
    );
    no_key(world, before, said).await;
}

/// Where the last whole listing of the master ended.
pub(super) async fn checkpoint(mirror: &Mirror) -> Option<Checkpoint> {
    mirror
        .node
        .catalogue
        .checkpoint(MASTER, FEED)
        .await
        .unwrap()
}

/// Every file row.
pub(super) async fn rows(mirror: &Mirror) -> BTreeMap<(FileKind, String), FileRow> {
    let mut rows = BTreeMap::new();
    for kind in KINDS {
        let of_kind = mirror
            .node
            .catalogue
            .files_after(kind, None, 100_000)
            .await
            .unwrap();
        rows.extend(
            of_kind
                .into_iter()
                .map(|row| ((kind, row.file.path.to_string()), row)),
        );
    }
    rows
}

async fn live(world: &World) -> BTreeSet<String> {
    let all = world
        .mirror
        .node
        .catalogue
        .records_after(None, None, 100_000)
        .await
        .unwrap();
    let assets = all
        .iter()
        .filter(|stored| stored.record.key.module.is_asset());
    let live = assets.filter(|stored| !stored.record.is_deleted());
    live.map(|stored| stored.record.key.id.clone()).collect()
}

async fn files_are_what_rows_say(mirror: &Mirror) {
    let mut rows = rows(mirror).await;
    for kind in KINDS {
        let tree = mirror.path(kind, "");
        for entry in walkdir::WalkDir::new(&tree) {
            let entry = entry.unwrap();
            if entry.file_type().is_dir() {
                continue;
            }
            assert!(
                entry.file_type().is_file(),
                "{} is no plain file",
                entry.path().display()
            );
            let path = entry.path().strip_prefix(&tree).unwrap().to_str().unwrap();
            let row = rows.remove(&(kind, path.to_owned()));
            let row = row
                .unwrap_or_else(|| panic!("{}/{path} has no row", kind.dir()))
                .file;
            let bytes = fs::read(entry.path()).unwrap();
            let is = (bytes.len() as u64, Sha256::of(&bytes));
            assert_eq!(
                is,
                (row.size, row.sha256),
                "{}/{path} is not what its row says",
                kind.dir()
            );
        }
    }
    assert!(rows.is_empty(), "rows without files: {:?}", rows.keys());
}

/// Every record and file of the master is here, wished for, or set aside.
async fn nothing_was_passed(world: &World) {
    let (docs, originals, generated) = world.emdb.edit(|content| {
        (
            content.docs.clone(),
            content.originals.clone(),
            content.generated.clone(),
        )
    });
    let rows = rows(&world.mirror).await;
    let ids: Vec<&str> = docs.iter().map(|doc| doc.id.as_str()).collect();
    let wishes = world
        .mirror
        .node
        .catalogue
        .wishes_of(MASTER, &ids)
        .await
        .unwrap();
    let wished = |id: &str| wishes.iter().any(|(of, _)| of == id);
    for doc in &docs {
        let id = doc.id.as_str();
        let Ok(key) = RecordKey::new(&doc.module, id) else {
            assert!(wished(id), "{}/{id} is nowhere", doc.module);
            continue;
        };
        let here = world.mirror.node.catalogue.record(&key).await.unwrap();
        assert!(here.is_some() || wished(id), "{key} is nowhere");
        let deleted = doc.source["emrecordstatus"]["recorddeleted"] == true;
        if doc.module != "asset"
            || deleted
            || wished(id)
            || here.is_some_and(|here| here.record.is_deleted())
        {
            continue;
        }
        let original = path_of(doc);
        if originals.contains_key(original) {
            assert!(
                rows.contains_key(&(FileKind::Original, original.to_owned())),
                "{original} is nowhere"
            );
        }
        let below = format!("{}/", doc.source["sourcepath"].as_str().unwrap_or_default());
        for path in generated.keys().filter(|path| path.starts_with(&below)) {
            let there = rows.contains_key(&(FileKind::Generated, path.clone()));
            assert!(there, "{path} is nowhere");
        }
    }
}

/// Where a record says that its original lies.
pub(super) fn path_of(doc: &Doc) -> &str {
    let archived = doc.source["archivesourcepath"].as_str();
    archived
        .or(doc.source["sourcepath"].as_str())
        .unwrap_or_default()
}

async fn nothing_went(world: &World, before: &Before, may_go: &MayGo) {
    let live = live(world).await;
    for gone in before.live.difference(&live) {
        assert!(may_go.assets.contains(gone), "{gone} was deleted");
    }
    let now = rows(&world.mirror).await;
    let kept: BTreeSet<Sha256> = now.values().map(|row| row.file.sha256).collect();
    let trash = trash(&world.mirror);
    for ((kind, path), row) in &before.rows {
        if !now.contains_key(&(*kind, path.clone())) {
            let may = |top: &String| match top.strip_prefix('@') {
                Some(asset) => row.file.asset.as_str() == asset,
                None => path == top.as_str() || path.starts_with(&format!("{top}/")),
            };
            assert!(
                may_go.paths.iter().any(may),
                "{}/{path} was taken away",
                kind.dir()
            );
        }
        let content = row.file.sha256;
        if *kind == FileKind::Original && !kept.contains(&content) {
            assert!(
                trash.contains(&content),
                "the content of {path} is not even in the trash"
            );
        }
    }
}

/// Digests of everything in the trash.
pub(super) fn trash(mirror: &Mirror) -> BTreeSet<Sha256> {
    let entries = walkdir::WalkDir::new(mirror.node.config.media.root.join(".emsync/trash"));
    let files = entries
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| Sha256::of(&fs::read(entry.path()).unwrap()))
        .collect()
}

/// The node's folder holds nothing but what `init` makes there.
fn nothing_is_outside(mirror: &Mirror) {
    let config = &mirror.node.config;
    let node = config.file.parent().unwrap();
    let names = |folder: &Path| -> BTreeSet<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    let of = |names: &[&str]| -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    assert_eq!(names(node.parent().unwrap()), of(&["r"]), "beside the node");
    let own = of(&["emsync.toml", "media", "state"]);
    assert!(
        names(node).is_subset(&own),
        "in the node's folder: {:?}",
        names(node)
    );
    let site = config.node.catalog.as_str().split('/').next().unwrap();
    assert!(
        names(&config.media.root).is_subset(&of(&[site, ".emsync"])),
        "in the media root"
    );
}

async fn no_key(world: &World, before: &Before, said: &str) {
    let aside = world.mirror.set_aside().await;
    let findings = world
        .mirror
        .monitor
        .seen()
        .findings
        .split_off(before.findings);
    for text in aside
        .iter()
        .chain(&findings)
        .map(String::as_str)
        .chain([said])
    {
        assert!(!text.contains(KEY), "the key is in {text:?}");
    }
    let leaks = LEAKS.lock().unwrap();
    assert!(leaks.is_empty(), "the key was logged: {leaks:?}");
}

static LEAKS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Looks at every line that is logged in this process from now on; those with the key are kept.
pub(super) fn watch_the_log() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::new(
            "emsync=trace,reqwest=trace,hyper=debug,hyper_util=debug,rustls=debug,warn",
        );
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(|| Watch);
        log.with_ansi(false).init();
    });
}

struct Watch;

impl Write for Watch {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        if text.contains(KEY) {
            LEAKS.lock().unwrap().push(text.into_owned());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
