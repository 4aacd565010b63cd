//! What a mirror must hold, in as few words as possible, and the comparison of a real mirror with it.
//!
//! Left open on purpose, because the promises leave it open: whether a record that vanished is gone after its second listing
//! already (a pull of changes need not list everything), and whether a rendition that its master dropped is. Both must be gone
//! after two listings of everything.

use std::collections::{BTreeMap, BTreeSet};

use emsync::catalogue::Conflict;
use emsync::model::{FileKind, MediaFile, RecordStatus, Sha256, Timestamp};
use serde_json::Value;

use super::peers::{in_trash, on_disk};
use super::world::{Key, Rec, World};
use crate::support::node::{MASTER, Mirror};

/// A record as the mirror has it.
#[derive(Debug, Clone)]
struct Held {
    rec: Rec,
    /// It holds an edit that was made at the mirror and that nobody else has.
    is_edited: bool,
    /// Its master still had it at the last pull; an edit keeps it here even where not.
    is_listed: bool,
}

/// Pulls since a record vanished.
#[derive(Debug, Clone, Copy, Default)]
struct Missed {
    pulls: u32,
    seeds: u32,
}

/// A file: kind, name, content.
type Named = (FileKind, String, Vec<u8>);

/// See the head of this file.
#[derive(Debug, Default)]
pub(super) struct Reference {
    held: BTreeMap<Key, Held>,
    vanished: BTreeMap<Key, Missed>,
    /// Renditions that were held once: they may stay for two listings.
    lingering: BTreeSet<(String, Vec<u8>)>,
    /// Files of records that vanished and are kept here for an edit, whose names a new asset has had since.
    displaced: BTreeSet<Named>,
    /// Every original that was ever seen here: none of them may be lost.
    seen: BTreeSet<Sha256>,
    /// Titles of edits that lost: each must be kept among the conflicts.
    lost: BTreeSet<u64>,
    /// Comparisons made.
    pub(super) compared: u64,
}

/// Wire spec section 6, for records that all carry a status, with the additions of design section 8: whether the record that
/// arrives takes the place of ours.
fn is_taken(ours: &RecordStatus, theirs: &RecordStatus, is_edited: bool) -> bool {
    if theirs.master_modified < ours.master_modified {
        return false;
    }
    if theirs.modified == ours.modified {
        return theirs.modified_by > ours.modified_by;
    }
    // A master that saved since takes the place of an edit that never reached it; the edit is kept.
    theirs.modified > ours.modified || is_edited && theirs.master_modified > ours.master_modified
}

impl Reference {
    /// Whether the mirror has a record just as the master has it.
    pub(super) fn has(&self, rec: &Rec) -> bool {
        self.held.get(&rec.key).is_some_and(|held| held.rec == *rec)
    }

    /// A record of the mirror that can be edited there.
    pub(super) fn editable(&self, key: &Key) -> Option<Rec> {
        let held = self.held.get(key)?;
        let is_sure = held.rec.is_live() && !self.vanished.contains_key(key);
        is_sure.then(|| held.rec.clone())
    }

    /// Edits a record at the mirror.
    pub(super) async fn edit(&mut self, mirror: &Mirror, rec: Rec) {
        let catalogue = &mirror.node.catalogue;
        let now = mirror.node.seams.clock.now();
        let mut batch = catalogue.batch().await.unwrap();
        let edited = rec.record();
        batch.put_records(&[&edited], MASTER, now).await.unwrap();
        batch.commit().await.unwrap();
        let held = Held {
            rec: rec.clone(),
            is_edited: true,
            is_listed: true,
        };
        self.held.insert(rec.key, held);
    }

    /// What was edited here and not taken by the master since.
    pub(super) fn edited(&self) -> Vec<Rec> {
        let edited = self.held.values().filter(|held| held.is_edited);
        edited.map(|held| held.rec.clone()).collect()
    }

    /// Whether a record is here that its master has no more, and that one more listing has to lack.
    pub(super) fn awaits_an_absence(&self, world: &World) -> bool {
        let gone = |(key, held): (&Key, &Held)| {
            held.rec.is_live() && !held.is_edited && !world.records.contains_key(key)
        };
        self.held.iter().any(gone)
    }

    /// The files of the mirror that belong to records which the master has just so, contents included.
    pub(super) async fn files_here(&self, world: &World, mirror: &Mirror) -> Vec<MediaFile> {
        let mut found = Vec::new();
        for rec in world.records.values().filter(|rec| self.has(rec)) {
            let contents: BTreeSet<_> = rec
                .original
                .iter()
                .map(|file| {
                    (
                        FileKind::Original,
                        file.path.clone(),
                        Sha256::of(&file.bytes),
                    )
                })
                .chain(
                    rec.generated()
                        .map(|(path, (bytes, _))| (FileKind::Generated, path, Sha256::of(bytes))),
                )
                .collect();
            let rows = mirror
                .node
                .catalogue
                .files_of(&[rec.key.1.as_str()])
                .await
                .unwrap();
            let files = rows.into_iter().map(|row| row.file);
            found.extend(files.filter(|file| {
                contents.contains(&(file.kind, file.path.to_string(), file.sha256))
            }));
        }
        found
    }

    /// The mirror pulled, perhaps more than once; `is_whole` when everything was listed and nothing failed.
    pub(super) fn pulled(&mut self, world: &World, is_whole: bool) {
        for (key, rec) in &world.records {
            self.vanished.remove(key);
            if let Some(local) = self.held.get(key) {
                let (ours, theirs) = (&local.rec.status, &rec.status);
                if !is_taken(ours, theirs, local.is_edited) {
                    continue;
                }
                if local.is_edited && theirs.master_modified > ours.master_modified {
                    self.lost.insert(local.rec.title);
                }
                let renditions = local.rec.generated();
                let renditions = renditions.map(|(path, (bytes, _))| (path, bytes.clone()));
                self.lingering.extend(renditions);
            }
            let held = Held {
                rec: rec.clone(),
                is_edited: false,
                is_listed: true,
            };
            self.held.insert(key.clone(), held);
        }
        for (key, held) in &mut self.held {
            held.is_listed = world.records.contains_key(key);
            if held.rec.is_live() && !held.is_edited && !world.records.contains_key(key) {
                let missed = self.vanished.entry(key.clone()).or_default();
                missed.pulls += 1;
                missed.seeds += u32::from(is_whole);
            }
        }
    }

    /// Compares a mirror with this. What vanished and is gone is forgotten here as well.
    ///
    /// # Errors
    /// The first difference.
    pub(super) async fn compare(&mut self, mirror: &Mirror) -> Result<(), String> {
        self.compared += 1;
        self.compare_records(mirror).await?;
        self.compare_files(mirror).await?;
        self.compare_conflicts(mirror).await
    }

    async fn compare_records(&mut self, mirror: &Mirror) -> Result<(), String> {
        let catalogue = &mirror.node.catalogue;
        let mut gone = Vec::new();
        for (key, held) in &self.held {
            let stored = catalogue.record(&held.rec.record_key()).await.unwrap();
            let expected = held.rec.record();
            match (stored, self.vanished.get(key)) {
                (None, Some(missed)) if missed.pulls >= 2 => gone.push(key.clone()),
                (None, missed) => return Err(format!("record {key:?} is gone; missed {missed:?}")),
                (Some(_), Some(missed)) if missed.seeds >= 2 => {
                    return Err(format!("record {key:?} is here after {missed:?}"));
                }
                (Some(stored), _) => {
                    let found = stored.record;
                    let of = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                    if of(&found.source) != of(&expected.source) || found.status != expected.status
                    {
                        return Err(format!(
                            "record {key:?}\n  is        {}\n  should be {}",
                            found.source, expected.source
                        ));
                    }
                }
            }
        }
        for key in gone {
            self.vanished.remove(&key);
            self.held.remove(&key);
        }
        let counted = catalogue.count_records().await.unwrap();
        let here: u64 = counted
            .iter()
            .map(|(_, count)| count.live + count.deleted)
            .sum();
        if here != self.held.len() as u64 {
            return Err(format!("{here} records, should be {}", self.held.len()));
        }
        Ok(())
    }

    async fn compare_files(&mut self, mirror: &Mirror) -> Result<(), String> {
        let mut disk = on_disk(mirror);
        let mut rows = BTreeMap::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            let stored = mirror.node.catalogue.files_after(kind, None, 10_000).await;
            for row in stored.unwrap() {
                let file = row.file;
                let Some(bytes) = disk.remove(&(kind, file.place().to_string())) else {
                    return Err(format!("a row without a file, or two of one: {file:?}"));
                };
                if Sha256::of(&bytes) != file.sha256 || bytes.len() as u64 != file.size {
                    return Err(format!("other bytes than those of its row: {file:?}"));
                }
                rows.insert((kind, file.path.to_string(), bytes), file.modified);
            }
        }
        if let Some((place, _)) = disk.pop_first() {
            return Err(format!("a file without a row: {place:?}"));
        }
        self.compare_rows(&rows)?;
        let originals = rows
            .keys()
            .filter(|(kind, ..)| *kind == FileKind::Original)
            .map(|(_, _, bytes)| Sha256::of(bytes));
        let (here, trash) = (originals.collect::<BTreeSet<_>>(), in_trash(mirror));
        let kept = |digest: &Sha256| here.contains(digest) || trash.contains(digest);
        if let Some(lost) = self.seen.iter().find(|digest| !kept(digest)) {
            return Err(format!(
                "an original is neither here nor in the trash: {lost}"
            ));
        }
        self.seen.extend(here);
        Ok(())
    }

    /// Every file that must be here, with its date, and whether it surely must.
    fn wanted(&self) -> BTreeMap<Named, (i64, bool)> {
        let mut wanted = BTreeMap::new();
        for held in self.held.values() {
            let is_sure = held.is_listed;
            if let Some(file) = &held.rec.original {
                let named = (FileKind::Original, file.path.clone(), file.bytes.clone());
                wanted.insert(named, (file.mtime, is_sure));
            }
            for (path, (bytes, mtime)) in held.rec.generated() {
                let named = (FileKind::Generated, path, bytes.clone());
                wanted.insert(named, (*mtime, is_sure));
            }
        }
        wanted
    }

    fn compare_rows(&mut self, rows: &BTreeMap<Named, Timestamp>) -> Result<(), String> {
        let wanted = self.wanted();
        for (named, (mtime, is_sure)) in &wanted {
            let (kind, path, _) = named;
            // A new asset may have taken the name of one that vanished; the trash has the bytes then.
            let heirs = wanted.iter().filter(|(_, (_, is_sure))| *is_sure);
            let has_heir = heirs
                .map(|((kind, path, _), _)| (kind, path))
                .any(|name| name == (kind, path));
            match rows.get(named) {
                None if !is_sure && (has_heir || self.displaced.contains(named)) => {
                    self.displaced.insert(named.clone());
                }
                None => return Err(format!("{kind:?} {path} is missing, or has other bytes")),
                Some(modified) if modified.as_millis() / 1_000 != mtime / 1_000 => {
                    return Err(format!("{kind:?} {path} is dated {modified}, not {mtime}"));
                }
                Some(_) => {}
            }
        }
        let lingers = |(kind, path, bytes): &Named| {
            *kind == FileKind::Generated && self.lingering.contains(&(path.clone(), bytes.clone()))
        };
        let extra = rows
            .keys()
            .find(|named| !wanted.contains_key(*named) && !lingers(named));
        extra.map_or(Ok(()), |(kind, path, _)| {
            Err(format!(
                "{kind:?} {path} should not be here, or has other bytes"
            ))
        })
    }

    async fn compare_conflicts(&self, mirror: &Mirror) -> Result<(), String> {
        let conflicts = mirror.node.catalogue.conflicts(10_000).await.unwrap();
        let title = |conflict: &Conflict| {
            serde_json::from_str::<Value>(&conflict.local_source).unwrap()["title"].as_u64()
        };
        let kept: BTreeSet<u64> = conflicts.iter().filter_map(title).collect();
        let missing = self.lost.difference(&kept).next();
        missing.map_or(Ok(()), |title| {
            Err(format!("the edit {title} lost and was not kept"))
        })
    }

    /// At the end nothing is left open: no rendition lingers any more.
    pub(super) fn nothing_lingers(&mut self) {
        self.lingering.clear();
    }
}
