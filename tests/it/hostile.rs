//! Names that are meant to harm: a server that lists a few hundred of them, and links planted on our disk. Nothing outside
//! the root may change (I9), and of every file that is listed there are its bytes and a row, or a reason why not.
//!
//! The corpus is made of families (`corpus`); each name is a source path once, and one in two is an archive path, a primary
//! file, a generated file or a stated local path as well. Every run is done as `names = "auto"` and as `"portable"`, and ends
//! with a second mirror that pulls from the first one: what it is told must be the names the server used.

mod corpus;
mod pairs;
mod planted;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use bytes::Bytes;
use emsync::catalogue::FileRow;
use emsync::config::Names;
use emsync::model::place::{fold, is_portable};
use emsync::model::{FileKind, MediaPath, Timestamp};
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup};
use crate::support::master::Master;
use crate::support::node::Mirror;
use crate::support::said::say;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;
/// A name beside the media root; what is in it must stay as it is.
const SENTINEL: &str = "sentinel";

/// What an asset is listed with: each file must be here, or the asset set aside.
struct Listed {
    asset: String,
    files: Vec<(FileKind, String, Bytes)>,
}

fn members(path: &str, size: usize) -> Value {
    json!({
        "name": "x", "sourcepath": path, "isfolder": false, "filesize": size, "fileformat": "bin",
        "importstatus": "complete", "editstatus": "6",
        "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
    })
}

/// Puts an asset into the server; the files are what it lists for it.
fn put(
    content: &mut Content,
    asset: &str,
    members: Value,
    files: Vec<(FileKind, String)>,
) -> Listed {
    let now = Timestamp::from(std::time::SystemTime::now());
    content.record(Doc::new("asset", asset, CLUSTER, now, members));
    let files = files.into_iter().map(|(kind, path)| {
        let bytes = Bytes::from(format!("{asset} {} {path}", kind.dir()));
        match kind {
            FileKind::Original => content.original(&path, bytes.clone(), MTIME),
            FileKind::Generated => content.generated(&path, bytes.clone(), MTIME),
        }
        (kind, path, bytes)
    });
    Listed {
        asset: asset.to_owned(),
        files: files.collect(),
    }
}

/// The whole corpus in every member of a record or a listing that names a file.
fn fill(content: &mut Content) -> Vec<Listed> {
    let mut listed = Vec::new();
    let original = |path: &str| vec![(FileKind::Original, path.to_owned())];
    // The size is a hint that a server may state as it likes; here it is right, since nothing else proves a content.
    let size = |asset: &str, path: &str| format!("{asset} originals {path}").len();
    for (n, name) in corpus::names().into_iter().enumerate() {
        let id = format!("source-{n}");
        let stated = members(&name, size(&id, &name));
        listed.push(put(content, &id, stated, original(&name)));
        if n % 8 >= 4 {
            continue;
        }
        let id = format!("other-{n}");
        let own = format!("own/{n}.bin");
        let mut stated = members(&own, size(&id, &own));
        match n % 4 {
            0 => {
                // What would be taken lies apart, since on such a server one path is one file.
                let leads_out = MediaPath::new(name.as_str()).is_err();
                let archived = if leads_out {
                    name
                } else {
                    format!("arch/{name}")
                };
                stated["archivesourcepath"] = json!(archived);
                stated["filesize"] = json!(size(&id, &archived));
                listed.push(put(content, &id, stated, original(&archived)));
            }
            1 => {
                let inside = format!("{own}/{name}");
                stated["isfolder"] = json!(true);
                stated["primaryfile"] = json!(name);
                stated["filesize"] = json!(size(&id, &inside));
                listed.push(put(content, &id, stated, original(&inside)));
            }
            2 => {
                let files = vec![
                    (FileKind::Original, own.clone()),
                    (FileKind::Generated, format!("{own}/{name}")),
                ];
                listed.push(put(content, &id, stated, files));
            }
            _ => {
                listed.push(put(content, &id, stated, original(&own)));
                content.listed_at(&id, &name);
            }
        }
    }
    listed
}

/// Everything below a directory: names, and what they hold or lead to.
fn snapshot(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(dir).follow_links(false) {
        let entry = entry.unwrap();
        let held = match entry.file_type() {
            kind if kind.is_file() => fs::read(entry.path()).unwrap(),
            kind if kind.is_symlink() => {
                let to = fs::read_link(entry.path()).unwrap();
                to.into_os_string().into_encoded_bytes()
            }
            _ => Vec::new(),
        };
        let name = entry.path().strip_prefix(dir).unwrap();
        found.insert(name.to_string_lossy().into_owned(), held);
    }
    found
}

/// What lies beside the media root, our own state left out.
struct Outside {
    beside: std::path::PathBuf,
    names: BTreeSet<std::ffi::OsString>,
    sentinel: BTreeMap<String, Vec<u8>>,
}

impl Outside {
    /// Lays out the sentinel of a mirror and remembers everything.
    fn of(mirror: &Mirror) -> Self {
        let beside = mirror.node.config.media.root.parent().unwrap().to_owned();
        let sentinel = beside.join(SENTINEL);
        fs::create_dir_all(sentinel.join("folder")).unwrap();
        fs::write(sentinel.join("secret"), "not for you").unwrap();
        fs::write(sentinel.join("folder/x.bin"), "mine").unwrap();
        Self {
            names: names_in(&beside),
            sentinel: snapshot(&sentinel),
            beside,
        }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        assert_eq!(
            names_in(&self.beside),
            self.names,
            "something new lies beside the root"
        );
        assert_eq!(snapshot(&self.beside.join(SENTINEL)), self.sentinel);
    }
}

fn names_in(dir: &Path) -> BTreeSet<std::ffi::OsString> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

async fn mirror_of(emdb: &Emdb, names: Names) -> Mirror {
    Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.attempts = 2;
        config.limits.publish_batch = 256;
        config.media.names = names;
    })
    .await
}

/// All rows of a node.
async fn rows(mirror: &Mirror) -> Vec<FileRow> {
    let mut all = Vec::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let of_kind = mirror.node.catalogue.files_after(kind, None, 100_000).await;
        all.extend(of_kind.unwrap());
    }
    all
}

/// Names, owners and contents, as peers are told.
fn told(rows: &[FileRow]) -> BTreeSet<(FileKind, String, String, String)> {
    let told = rows.iter().map(|row| {
        let file = &row.file;
        (
            file.kind,
            file.path.to_string(),
            file.asset.to_string(),
            file.sha256.to_string(),
        )
    });
    told.collect()
}

/// Counts of one run.
#[derive(Debug, Default)]
struct Tally {
    here: usize,
    mapped: usize,
    refused: usize,
}

/// Asserts that each listed file is here with its bytes at the place its row says, or its asset set aside with a reason.
#[track_caller]
fn assert_accounted(
    mirror: &Mirror,
    listed: &[Listed],
    rows: &[FileRow],
    aside: &HashMap<String, String>,
) -> Tally {
    let mut tally = Tally::default();
    let by_name: HashMap<_, _> = rows
        .iter()
        .map(|row| {
            (
                (
                    row.file.kind,
                    row.file.path.as_str(),
                    row.file.asset.as_str(),
                ),
                row,
            )
        })
        .collect();
    for Listed { asset, files } in listed {
        for (kind, path, bytes) in files {
            match by_name.get(&(*kind, path.as_str(), asset.as_str())) {
                Some(row) => {
                    let place = row.file.place().as_str();
                    assert_eq!(
                        mirror.read(*kind, place).as_deref(),
                        Some(&bytes[..]),
                        "{path:?} at {place:?}"
                    );
                    tally.here += 1;
                    tally.mapped += usize::from(row.file.place.is_some());
                }
                None => {
                    let reason = aside.get(asset.as_str());
                    assert!(
                        reason.is_some_and(|reason| !reason.is_empty()),
                        "{asset}: {path:?} is lost"
                    );
                    tally.refused += 1;
                }
            }
        }
    }
    tally
}

async fn aside(mirror: &Mirror) -> HashMap<String, String> {
    let aside = mirror
        .node
        .catalogue
        .set_aside(None, None, 100_000)
        .await
        .unwrap();
    aside
        .into_iter()
        .map(|item| (item.asset, item.reason))
        .collect()
}

async fn hostile_names_are_mapped_or_refused(names: Names) {
    let emdb = Emdb::start(Setup::default()).await;
    let listed = emdb.edit(fill);
    assert!(listed.len() >= 400, "only {} assets", listed.len());
    let mirror = mirror_of(&emdb, names).await;
    let outside = Outside::of(&mirror);
    mirror.seed().await;
    let first = rows(&mirror).await;
    mirror.sync().await;
    mirror.verify().await;
    outside.assert_untouched();
    let rows = rows(&mirror).await;
    assert_eq!(
        told(&first),
        told(&rows),
        "a second run changed what is here"
    );
    let tally = assert_accounted(&mirror, &listed, &rows, &aside(&mirror).await);

    let mut places = BTreeSet::new();
    for row in &rows {
        let place = row.file.place();
        assert!(
            place.elements().all(|element| element.len() <= 255),
            "{place}"
        );
        assert!(
            places.insert((row.file.kind, place.to_string())),
            "{place} twice"
        );
    }
    if names == Names::Portable {
        let folded: BTreeSet<_> = places
            .iter()
            .map(|(kind, place)| (*kind, fold(place)))
            .collect();
        assert_eq!(folded.len(), places.len(), "two places are one elsewhere");
        for row in &rows {
            assert!(
                row.file.place().elements().all(is_portable),
                "{}",
                row.file.place()
            );
        }
    }
    let findings = mirror.monitor.seen().findings;
    let reported = findings
        .iter()
        .filter(|text| text.contains("is kept on disk as"))
        .count();
    assert_eq!(reported, tally.mapped, "each mapped file is reported once");

    let served = Master::serving(mirror.node.clone(), 100).await;
    let second = Mirror::with(&served.url, &served.key, None, |config| {
        config.media.names = names
    })
    .await;
    second.seed().await;
    assert_eq!(
        told(&self::rows(&second).await),
        told(&rows),
        "the names did not survive the relay"
    );
    // What could not be used is passed on with its reason to be, and is all that is wrong.
    let parity = second.verify().await;
    let about_files: Vec<_> = (parity.differences.iter())
        .filter(|difference| difference.layer != "records")
        .collect();
    assert!(about_files.is_empty(), "{about_files:#?}");
    served.end().await;
    say(&format!(
        "hostile {names:?}: {} names, {} assets; {} files here, {} of them mapped, {} refused with a reason; 0 outside the root",
        corpus::names().len(),
        listed.len(),
        tally.here,
        tally.mapped,
        tally.refused,
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_mapped_or_refused_where_names_are_bytes() {
    hostile_names_are_mapped_or_refused(Names::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_names_are_mapped_or_refused_where_they_must_be_portable() {
    hostile_names_are_mapped_or_refused(Names::Portable).await;
}
