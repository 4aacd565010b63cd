//! Whole passes against a scripted EMDB: records come, go with and without a trace, and come back; replies fail now and then,
//! and the volume is not mounted at times. Nothing goes that the master has, and nothing for one listing's sake.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use emsync::model::{FileKind, Timestamp};
use emsync::pull::metadata::Scope;
use serde_json::json;

use super::{Named, say, seeds};
use crate::support::chance::Chance;
use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup};
use crate::support::fault::Fault;
use crate::support::node::Mirror;

const SEEDS: u64 = 16;
const ASSETS: usize = 12;
const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

#[derive(Default)]
struct Counts {
    passes: u64,
    failed: u64,
    unmounted: u64,
    faults: u64,
    gone: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_goes_that_the_master_has_whatever_its_replies_look_like() {
    let mut counts = Counts::default();
    let seeds = seeds(SEEDS);
    for seed in seeds.clone() {
        let _named = Named(seed, "passes");
        run(seed, &mut counts).await;
    }
    say(&format!(
        "delete passes: {} seeds, {} passes, {} of them failed, {} without the volume, {} faults met, {} records gone by I4, 0 files and 0 records gone outside it",
        seeds.end - seeds.start,
        counts.passes,
        counts.failed,
        counts.unmounted,
        counts.faults,
        counts.gone
    ));
    assert!(seeds.end - seeds.start < SEEDS || counts.gone > 0 && counts.faults > 0);
}

fn path(n: usize) -> String {
    format!("f{n:02}.bin")
}

fn id(n: usize) -> String {
    format!("a{n:02}")
}

fn doc(n: usize) -> Doc {
    let now = std::time::SystemTime::now().into();
    let members = json!({
        "sourcepath": path(n), "isfolder": false, "filesize": text(n).len(), "fileformat": "bin",
        "importstatus": "complete", "editstatus": "6",
        "assetmodificationdate": Timestamp::from_millis(MTIME).to_string(),
    });
    Doc::new("asset", &id(n), CLUSTER, now, members)
}

fn text(n: usize) -> String {
    format!("content {n}")
}

fn add(content: &mut Content, n: usize) {
    content.record(doc(n));
    content.original(&path(n), Bytes::from(text(n)), MTIME);
}

/// What the master did to its records.
#[derive(Default)]
struct Fates {
    /// Deleted without a trace, and how many passes began since.
    vanished: BTreeMap<usize, u64>,
    /// Deleted with a tombstone.
    buried: BTreeSet<usize>,
    /// Restored, and not seen here since: they may have gone before.
    back: BTreeSet<usize>,
}

async fn run(seed: u64, counts: &mut Counts) {
    let mut chance = Chance::new(seed);
    let page_size = 1 + chance.below(6);
    let emdb = Emdb::start(Setup {
        page_size,
        ..Setup::default()
    })
    .await;
    emdb.edit(|content| (0..ASSETS).for_each(|n| add(content, n)));
    let mirror = Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await;
    mirror.seed().await;
    let mut master = Fates::default();
    for _ in 0..6 {
        change(&emdb, &mut chance, &mut master);
        let menu = vec![
            Fault::Unavailable(None),
            Fault::TooManyRequests(None),
            Fault::Reset,
            Fault::TruncatedJson,
            Fault::RepeatPage,
        ];
        let percent = *chance.pick(&[0, 0, 10, 30]);
        emdb.faults().by_chance(chance.next(), percent, menu);
        let scope = *chance.pick(&[Scope::Changes, Scope::Everything]);
        let is_unmounted = chance.percent(15);
        master.vanished.values_mut().for_each(|passes| *passes += 1);
        pass(&mirror, scope, is_unmounted, counts).await;
        counts.faults += emdb.faults().clear();
        check(&mirror, &mut master).await;
    }
    // All is well again: what went is gone after two more listings at most, and all else is here.
    for _ in 0..3 {
        master.vanished.values_mut().for_each(|passes| *passes += 1);
        mirror.sync().await;
        check(&mirror, &mut master).await;
    }
    counts.gone += (master.vanished.len() + master.buried.len()) as u64;
    mirror.assert_in_sync().await;
}

/// The master deletes, with or without a trace, and restores.
fn change(emdb: &Emdb, chance: &mut Chance, master: &mut Fates) {
    for _ in 0..chance.below(3) {
        let n = chance.below(ASSETS);
        emdb.edit(|content| {
            if master.vanished.remove(&n).is_some() | master.buried.remove(&n) {
                add(content, n);
                master.back.insert(n);
                return;
            }
            content.remove_file(&path(n));
            if chance.percent(30) {
                content.record(doc(n).deleted());
                master.buried.insert(n);
            } else {
                content.hard_delete("asset", &id(n));
                master.vanished.insert(n, 0);
            }
        });
    }
}

async fn pass(mirror: &Mirror, scope: Scope, is_unmounted: bool, counts: &mut Counts) {
    let marker = mirror.node.config.media.root.join(".emsync/root.json");
    let aside = marker.with_extension("aside");
    if is_unmounted {
        std::fs::rename(&marker, &aside).unwrap();
    }
    let before = live(mirror).await;
    let ended = mirror.attempt(scope).await;
    let is_well = ended.as_ref().is_ok_and(|outcome| outcome.error.is_none());
    if is_unmounted {
        std::fs::rename(&aside, &marker).unwrap();
        assert!(!is_well, "a pass without its volume went well");
        assert!(
            before.is_subset(&live(mirror).await),
            "records went with the volume"
        );
        counts.unmounted += 1;
    }
    counts.passes += 1;
    counts.failed += u64::from(!is_well);
}

async fn live(mirror: &Mirror) -> BTreeSet<usize> {
    let mut live = BTreeSet::new();
    for n in 0..ASSETS {
        if mirror.has_live("asset", &id(n)).await {
            live.insert(n);
        }
    }
    live
}

async fn check(mirror: &Mirror, master: &mut Fates) {
    let live = live(mirror).await;
    for n in (0..ASSETS).filter(|n| !master.buried.contains(n)) {
        if master.vanished.get(&n).is_some_and(|passes| *passes >= 2) {
            continue;
        }
        let has_file = mirror.read(FileKind::Original, &path(n)).is_some();
        let is_here = live.contains(&n) && has_file;
        if is_here {
            master.back.remove(&n);
        }
        let is_due = is_here || master.back.contains(&n);
        assert!(is_due, "record or file {n} is gone outside I4");
    }
}
