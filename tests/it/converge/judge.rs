//! What a quiet world must look like: equal in every layer, with nothing lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use emsync::model::{FileKind, Sha256};
use serde_json::{Value, json};

use super::site::Site;
use super::world::{Member, World, files_below};
use crate::support::author::records;

/// More conflicts than any sequence makes.
const CONFLICTS: usize = 10_000;

/// A file as its row says: digest, date.
type Files = BTreeMap<(&'static str, String), (String, i64)>;

/// The four layers of a node: records and deletes; originals and generated files.
struct State {
    records: BTreeMap<(String, String), Value>,
    files: Files,
}

impl World {
    /// Every node equals the first of ours.
    pub(super) async fn equal(&self) -> Result<(), String> {
        let mut reference: Option<(usize, State)> = None;
        for (number, member) in self.members.iter().enumerate() {
            let Member::Ours(site) = member else {
                continue;
            };
            let state = state_of(site)
                .await
                .map_err(|what| format!("node {number}: {what}"))?;
            match &reference {
                None => reference = Some((number, state)),
                Some((first, expected)) => {
                    let of = format!("of nodes {first} and {number}");
                    differ(&expected.records, &state.records, &of)?;
                    differ(&expected.files, &state.files, &of)?;
                }
            }
        }
        let (first, expected) = reference.expect("one node at least is ours");
        for (number, member) in self.members.iter().enumerate() {
            if let Member::Emdb(emdb) = member {
                let of = format!("of node {first} and EMDB {number}");
                differ(&expected.records, &emdb.records(), &of)?;
                let files = emdb.emdb.edit(|content| {
                    let trees = [
                        ("originals", &content.originals),
                        ("generated", &content.generated),
                    ];
                    let mut files = Files::new();
                    for (tree, found) in trees {
                        for (path, file) in found {
                            let digest = Sha256::of(&file.bytes).to_string();
                            files.insert((tree, path.clone()), (digest, file.mtime));
                        }
                    }
                    files
                });
                // It never deletes a file (wire spec 5.2, 7.2).
                let files = files
                    .into_iter()
                    .filter(|(name, _)| expected.files.contains_key(name));
                differ(&expected.files, &files.collect(), &of)?;
            }
        }
        Ok(())
    }

    /// The content of every original ever made is somewhere: among the originals of some node, or in a trash.
    pub(super) fn nothing_lost(&self) -> Result<(), String> {
        let mut there = BTreeSet::new();
        for member in &self.members {
            match member {
                Member::Ours(site) => {
                    let files = files_below(&site.node().config.media.root).into_iter();
                    there.extend(files.map(|path| Sha256::of(&std::fs::read(path).unwrap())));
                }
                Member::Emdb(emdb) => emdb.emdb.edit(|content| {
                    there.extend(
                        content
                            .originals
                            .values()
                            .map(|file| Sha256::of(&file.bytes)),
                    );
                }),
            }
        }
        match self
            .originals
            .iter()
            .find(|(digest, _)| !there.contains(digest))
        {
            Some((digest, name)) => Err(format!("original {name} ({digest}) is nowhere")),
            None => Ok(()),
        }
    }

    /// Every edit is in its record still, or was seen by whoever changed the record after it, or lies in some node's conflict log.
    ///
    /// An EMDB overwrites edits by its row 8 without a word, so that a world with one shows nothing here.
    pub(super) async fn every_loser_logged(&self) -> Result<(), String> {
        if self.layout.emdb.is_some() {
            return Ok(());
        }
        let mut kept = self.seen.clone();
        let mut logged = String::new();
        for member in &self.members {
            if let Member::Ours(site) = member {
                for (_, source) in records(site.node()).await {
                    kept.extend(source["note"].as_str().map(str::to_owned));
                }
                let conflicts = site.node().catalogue.conflicts(CONFLICTS).await.unwrap();
                for conflict in conflicts {
                    logged.push_str(&conflict.local_source);
                    logged.push_str(&conflict.remote_source);
                }
            }
        }
        let lost =
            (self.edits.iter()).find(|(note, _)| !kept.contains(*note) && !logged.contains(*note));
        match lost {
            Some((note, (node, key))) => Err(format!(
                "edit {note} of {key:?}, made at {node}, is in no conflict log"
            )),
            None => Ok(()),
        }
    }
}

/// What a node says it has, each file read again.
async fn state_of(site: &Site) -> Result<State, String> {
    let node = site.node();
    let records = records(node).await;
    let assets = records.keys().filter(|(module, _)| module == "asset");
    let assets: Vec<&str> = assets.map(|(_, id)| id.as_str()).collect();
    let root = node
        .config
        .media
        .root
        .join(node.config.node.catalog.as_str());
    let mut files = Files::new();
    for row in node.catalogue.files_of(&assets).await.unwrap() {
        let file = row.file;
        let tree = match file.kind {
            FileKind::Original => "originals",
            FileKind::Generated => "generated",
        };
        let on_disk = std::fs::read(root.join(tree).join(file.place().as_str()));
        let digest = on_disk.map(|bytes| Sha256::of(&bytes));
        if digest.as_ref().ok() != Some(&file.sha256) {
            return Err(format!(
                "{tree}/{} is not as its row says: {digest:?}",
                file.path
            ));
        }
        let owner = &records[&("asset".to_owned(), file.asset.to_string())];
        if owner["emrecordstatus"]["recorddeleted"] == json!(true) {
            return Err(format!("{tree}/{} belongs to a deleted asset", file.path));
        }
        let state = (file.sha256.to_string(), file.modified.as_millis());
        files.insert((tree, file.path.to_string()), state);
    }
    let originals = files
        .keys()
        .filter(|(tree, _)| *tree == "originals")
        .count();
    let live = records.iter().filter(|((module, _), source)| {
        module == "asset" && source["emrecordstatus"]["recorddeleted"] != json!(true)
    });
    match live.count() == originals {
        true => Ok(State { records, files }),
        false => Err(format!(
            "{originals} originals of other than so many live assets"
        )),
    }
}

/// The first difference of two maps.
fn differ<K: Ord + std::fmt::Debug, V: PartialEq + std::fmt::Debug>(
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
    of: &str,
) -> Result<(), String> {
    let keys: BTreeSet<&K> = ours.keys().chain(theirs.keys()).collect();
    for key in keys {
        let (ours, theirs) = (ours.get(key), theirs.get(key));
        if ours != theirs {
            return Err(format!("{key:?} {of}:\n    {ours:?}\n    {theirs:?}"));
        }
    }
    Ok(())
}
