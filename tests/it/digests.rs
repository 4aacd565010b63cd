//! Verify between two nodes of ours: what digests tell is what a full listing would, whatever differs and whoever lies.

use std::collections::BTreeMap;

use emsync::catalogue::Catalogue;
use emsync::model::{
    AssetId, FileKind, MediaFile, MediaPath, NodeId, Record, RecordKey, RecordStatus, Sha256,
    Timestamp,
};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::support::between::{Between, Lie};
use crate::support::chance::Chance;
use crate::support::pair::{assert_equal, key, master, mirror, put, seed, verify};
use crate::support::process::{Place, Serving, text};

/// Records of a table that both nodes have.
const RECORDS: u64 = 3_000;
/// Files of the master's folder.
const FILES: u64 = 24;

/// A seeded mirror with a node between it and its master.
pub(crate) struct World {
    pub(crate) between: Between,
    serving: Serving,
    pub(crate) runtime: Runtime,
    pub(crate) place: Place,
}

impl World {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let names: Vec<_> = (0..FILES).map(|n| format!("d{}/f{n}.bin", n % 3)).collect();
        let files: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), name.as_bytes()))
            .collect();
        let serving = master(&place, &files);
        let runtime = Runtime::new().unwrap();
        let (target, _) = serving.base.rsplit_once('/').unwrap();
        let between = runtime.block_on(Between::start(target));
        mirror(
            &place,
            &format!("http://{}/assets", between.address),
            &key(&place),
        );
        seed(&place).ends(0);
        Self {
            between,
            serving,
            runtime,
            place,
        }
    }

    /// Writes into the catalogue of one node, behind its back.
    fn write(&self, node: &str, records: &[Record], files: &[MediaFile]) {
        self.write_at(
            node,
            records,
            files,
            Timestamp::from_millis(1_700_000_000_000),
        );
    }

    /// The same at a time that windows may reach back to.
    pub(crate) fn write_at(
        &self,
        node: &str,
        records: &[Record],
        files: &[MediaFile],
        now: Timestamp,
    ) {
        self.runtime.block_on(async {
            let catalogue = self.open(node).await;
            let mut batch = catalogue.batch().await.unwrap();
            batch
                .put_records(&records.iter().collect::<Vec<_>>(), "master", now)
                .await
                .unwrap();
            for file in files {
                batch.put_file(file, now).await.unwrap();
            }
            batch.commit().await.unwrap();
            catalogue.close().await;
        });
    }

    pub(crate) async fn open(&self, node: &str) -> Catalogue {
        let path = self.place.path(node).join("state/emsync.db");
        Catalogue::open(&path).await.unwrap()
    }

    /// The same records on both sides.
    pub(crate) fn both(&self, records: &[Record]) {
        self.write("m", records, &[]);
        self.write("r", records, &[]);
    }

    fn files(&self, node: &str) -> Vec<MediaFile> {
        self.runtime.block_on(async {
            let catalogue = self.open(node).await;
            let rows = catalogue
                .files_after(FileKind::Original, None, 1_000)
                .await
                .unwrap();
            catalogue.close().await;
            rows.into_iter().map(|row| row.file).collect()
        })
    }

    fn forget(&self, node: &str, file: &MediaFile) {
        self.runtime.block_on(async {
            let catalogue = self.open(node).await;
            let mut batch = catalogue.batch().await.unwrap();
            let now = Timestamp::from_millis(1_700_000_000_000);
            let gone = batch
                .forget_file(file.kind, &file.path, &file.asset, &file.sha256, now)
                .await;
            gone.unwrap().expect("it had a row");
            batch.commit().await.unwrap();
            catalogue.close().await;
        });
    }

    /// What the mirror says of itself and the master, and what went over the wire for it.
    fn verify(&self) -> (Value, Vec<crate::support::between::Passed>) {
        self.between.passed();
        let ran = self.place.run(&["-C", "r", "verify", "master", "--json"]);
        assert!(
            matches!(ran.code, Some(0 | 26)),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
        (ran.json(), self.between.passed())
    }
}

pub(crate) fn record(table: &str, id: &str, at: i64, by: &str, deleted: bool) -> Record {
    let source = format!(r#"{{"id":"{id}","at":{at},"sourcepath":"d/{id}.bin"}}"#);
    stated(table, id, at, by, deleted, &source)
}

fn stated(table: &str, id: &str, at: i64, by: &str, deleted: bool, source: &str) -> Record {
    let node = |name: &str| NodeId::new(name).unwrap();
    let status = RecordStatus {
        deleted,
        master: node("somebody"),
        modified_by: node(by),
        modified: Timestamp::from_millis(at),
        master_modified: Some(Timestamp::from_millis(at)),
    };
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(source).unwrap();
    members.remove("emrecordstatus");
    emsync::protocol::record::stamped(members, &RecordKey::new(table, id).unwrap(), &status)
}

pub(crate) fn notes() -> Vec<Record> {
    (0..RECORDS)
        .map(|n| record("note", &format!("n{n:05}"), 1_000, "somebody", n % 50 == 0))
        .collect()
}

fn file(asset: &str, path: &str, fill: u64) -> MediaFile {
    MediaFile {
        place: None,
        kind: FileKind::Original,
        path: MediaPath::new(path).unwrap(),
        asset: AssetId::new(asset).unwrap(),
        size: fill,
        modified: Timestamp::from_millis(5_000),
        sha256: Sha256::of(&fill.to_be_bytes()),
        md5: None,
        authored: false,
        fingerprint: None,
    }
}

fn below(chance: &mut Chance, bound: u64) -> u64 {
    chance.next() % bound
}

fn listings(passed: &[crate::support::between::Passed]) -> usize {
    passed.iter().filter(|passed| passed.is_listing()).count()
}

#[test]
fn equal_nodes_list_nothing_and_say_the_same_as_if_they_had() {
    let world = World::new();
    world.both(&notes());
    let (parity, passed) = world.verify();
    assert_equal(&parity);
    assert_eq!(parity["layers"]["originals"]["here"], FILES);
    assert_eq!(parity["layers"]["deletes"]["here"], RECORDS / 50);
    assert_eq!(listings(&passed), 0, "{passed:?}");
    let bytes: usize = passed.iter().map(|passed| passed.bytes).sum();
    assert!(bytes < 4_000, "{bytes} bytes: {passed:?}");
    assert_equal(&verify(&world.place, &[]).json());
}

#[test]
fn a_few_differences_among_many_records_are_found_in_a_few_kilobytes() {
    let world = World::new();
    world.both(&notes());
    let edited: Vec<_> = (0..10)
        .map(|n| {
            record(
                "note",
                &format!("n{:05}", n * 271 + 1),
                2_000,
                "somebody",
                false,
            )
        })
        .collect();
    world.write("m", &edited, &[]);
    let (parity, passed) = world.verify();
    assert_eq!(parity["differences_total"], 10);
    assert_eq!(parity["layers"]["records"]["differing"], 10);
    assert_eq!(listings(&passed), 0, "{passed:?}");
    let bytes: usize = passed.iter().map(|passed| passed.bytes).sum();
    assert!(bytes < 30_000, "{bytes} bytes: {passed:?}");
    verify(&world.place, &[]).ends(26);
}

/// Whatever two catalogues may hold of one record and its files, on either side or on both.
#[test]
fn whatever_differs_is_told_as_a_full_listing_tells_it() {
    let mut chance = Chance::new(11);
    for _ in 0..4 {
        let world = World::new();
        world.both(&notes());
        let mut sides = BTreeMap::from([("m", Vec::new()), ("r", Vec::new())]);
        for n in 0..40 {
            let id = format!("n{:05}", below(&mut chance, RECORDS));
            let new = format!("x{n}");
            let own = text(&world.place.path("r/emsync.toml"));
            let own = own
                .lines()
                .find_map(|line| line.strip_prefix("cluster_id = \""))
                .unwrap();
            let own = own.trim_end_matches('"');
            for (node, records) in &mut sides {
                let bare = |mut record: Record| {
                    record.status = None;
                    record
                };
                let at = i64::try_from(below(&mut chance, 3)).unwrap() + 1_000;
                match below(&mut chance, 12) {
                    0 => records.push(record("note", &id, at, "somebody", false)),
                    1 => records.push(record("note", &id, at, "somebody", true)),
                    2 => records.push(record("note", &new, at, "somebody", false)),
                    3 => records.push(record("note", &new, at, own, false)),
                    4 => records.push(bare(record("note", &new, at, "somebody", false))),
                    5 => records.push(record("user", &id, at, "somebody", false)),
                    6 => records.push(record("asset", &new, at, "somebody", false)),
                    7 => records.push(stated(
                        "asset",
                        &new,
                        at,
                        "somebody",
                        false,
                        r#"{"sourcepath":"../x"}"#,
                    )),
                    8 => records.push(stated(
                        "note",
                        &id,
                        1_000,
                        "somebody",
                        false,
                        r#"{"other":1}"#,
                    )),
                    9 if *node == "m" => {
                        records.push(record(&format!("table{n}"), &new, at, "somebody", false))
                    }
                    10 => records.push(record("asset", &new, at, "somebody", true)),
                    _ => {}
                }
            }
        }
        for (node, records) in sides {
            let by_key: BTreeMap<_, _> = records
                .into_iter()
                .map(|record| (record.key.clone(), record))
                .collect();
            let records: Vec<_> = by_key.into_values().collect();
            let mut files = Vec::new();
            for n in 0..40 {
                let path =
                    ["d/", "e/", "d/.versions/"][usize::try_from(below(&mut chance, 3)).unwrap()];
                match below(&mut chance, 4) {
                    0 => files.push(file(
                        &format!("x{n}"),
                        &format!("{path}x{n}.bin"),
                        below(&mut chance, 2),
                    )),
                    1 => files.push(file(&format!("none{n}"), &format!("e/{n}.bin"), 1)),
                    _ => {}
                }
            }
            world.write(node, &records, &files);
        }
        let there = world.files("m");
        for file in there
            .iter()
            .filter(|file| file.path.as_str().ends_with(".bin"))
            .take(8)
        {
            match below(&mut chance, 3) {
                0 => world.forget("m", file),
                1 => {
                    let mut other = file.clone();
                    other.sha256 = Sha256::of(b"other");
                    world.write("m", &[], &[other]);
                }
                _ => {
                    // The same file, for another asset.
                    world.forget("m", file);
                    let mut moved = file.clone();
                    moved.asset = AssetId::new("x1").unwrap();
                    world.write(
                        "m",
                        &[record("asset", "x1", 1_000, "somebody", false)],
                        &[moved],
                    );
                }
            }
        }
        // Twice: what was told once is known, and must still be told.
        verify(&world.place, &[]).ends(26);
        let (_, passed) = world.verify();
        assert_eq!(listings(&passed), 0);
        verify(&world.place, &["--checksum"]).ends(26);
    }
}

#[test]
fn answers_that_are_not_what_they_should_be_lead_to_a_full_listing_and_to_no_false_word() {
    let world = World::new();
    // More than a page, and few enough to be listed twelve times.
    world.both(&notes()[..1_200]);
    world.write(
        "m",
        &[record("note", "n00007", 2_000, "somebody", false)],
        &[],
    );
    let is = |what: &'static str| move |asked: &str| asked.contains(&format!("what={what}"));
    type Of = fn(Vec<u8>) -> (u16, Vec<u8>);
    let lies: [(&str, Of); 12] = [
        ("tables", |_| (404, Vec::new())),
        ("tables", |_| (500, Vec::new())),
        ("tables", |_| (200, b"<html>".to_vec())),
        ("tables", |_| {
            (200, br#"{"tables":[{"table":"../x","tag":"AA"}]}"#.to_vec())
        }),
        ("groups", |_| (200, vec![1; 17])),
        ("groups", |_| (200, vec![1; 16])),
        ("groups", |_| (200, vec![0; 33 << 20])),
        ("spans", |_| (200, Vec::new())),
        ("spans", |_| (200, u32::MAX.to_be_bytes().repeat(3))),
        ("spans", |mut body| {
            let last = body.len() - 1;
            body[last] ^= 1;
            (200, body)
        }),
        ("tags", |body| (200, body[..body.len() - 1].to_vec())),
        ("items", |body| {
            (
                200,
                String::from_utf8(body)
                    .unwrap()
                    .replace("false", "true")
                    .into_bytes(),
            )
        }),
    ];
    for (n, (what, of)) in lies.into_iter().enumerate() {
        let matches = is(what);
        let lie: Lie = Box::new(move |asked, body| {
            if matches(asked) {
                of(body)
            } else {
                (200, body)
            }
        });
        world.between.lie(Some(lie));
        let (parity, passed) = world.verify();
        assert_eq!(parity["differences_total"], 1, "{n} {what}: {parity}");
        assert!(listings(&passed) > 0, "{n} {what}: nothing was listed");
    }
    world.between.lie(None);
    let (parity, passed) = world.verify();
    assert_eq!(
        (&parity["differences_total"], listings(&passed)),
        (&json!(1), 0)
    );
}

#[test]
fn everything_is_listed_when_it_is_asked_for() {
    let world = World::new();
    world.between.passed();
    world
        .place
        .run(&["-C", "r", "verify", "master", "--full-listing"])
        .ends(0);
    let passed = world.between.passed();
    assert!(listings(&passed) > 0 && !passed.iter().any(|passed| passed.path.contains("digest")));
    put(&world.place.path("photos"), "late.bin", b"late");
    drop(world.serving);
    world
        .place
        .run(&["-C", "r", "verify", "--full-listing", "--report", "x"])
        .ends(2);
}
