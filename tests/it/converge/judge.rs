//! What a quiet world must look like: equal in every layer, with nothing lost on the way.

use std::collections::{BTreeMap, BTreeSet};

use emsync::model::{FileKind, Sha256};
use emsync::protocol::lenient::parse_date;
use serde_json::{Value, json};

use super::edits::{Key, Made, Records, Traces};
use super::site::Site;
use super::world::{Member, World, files_below};
use crate::support::author::records;

/// More conflicts than any sequence makes.
const CONFLICTS: usize = 10_000;

/// Tree and path.
type Name = (&'static str, String);
type Files = BTreeMap<Name, File>;

/// A file as its row says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    digest: String,
    size: u64,
    /// When, ms.
    modified: i64,
}

/// The four layers of a node: records and deletes; originals and generated files.
struct State {
    records: Records,
    files: Files,
}

/// Records that an EMDB keeps against their owner, and where their files lie.
#[derive(Default)]
struct Disputed {
    keys: BTreeSet<Key>,
    paths: BTreeSet<String>,
}

impl Disputed {
    fn others(&self, mut records: Records) -> Records {
        records.retain(|key, _| !self.keys.contains(key));
        records
    }

    fn other_files(&self, mut files: Files) -> Files {
        let is_of = |path: &str, asset: &String| {
            let rest = path.strip_prefix(asset.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        files.retain(|(_, path), _| !self.paths.iter().any(|asset| is_of(path, asset)));
        files
    }
}

impl World {
    /// Every node equals the first of ours. Where an EMDB is pushed to, files are compared by their lengths, as there (H-11).
    pub(super) async fn equal(&self) -> Result<(), String> {
        let disputed = self.disputed().await;
        let mut reference: Option<(usize, State)> = None;
        for (number, member) in self.members.iter().enumerate() {
            let Member::Ours(site) = member else {
                continue;
            };
            let state = state_of(site)
                .await
                .map_err(|what| format!("node {number}: {what}"))?;
            let state = State {
                records: disputed.others(state.records),
                files: disputed.other_files(self.comparable(state.files)),
            };
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
                let records = disputed.others(emdb.records());
                differ(&expected.records, &records, &of)?;
                let files = emdb.emdb.edit(|content| {
                    let trees = [
                        ("originals", &content.originals),
                        ("generated", &content.generated),
                    ];
                    let mut files = Files::new();
                    for (tree, found) in trees {
                        for (path, file) in found {
                            let file = File {
                                digest: Sha256::of(&file.bytes).to_string(),
                                size: file.bytes.len() as u64,
                                modified: file.mtime,
                            };
                            files.insert((tree, path.clone()), file);
                        }
                    }
                    files
                });
                // It never deletes a file (wire spec 5.2, 7.2).
                let files = files
                    .into_iter()
                    .filter(|(name, _)| expected.files.contains_key(name));
                let files = disputed.other_files(self.comparable(files.collect()));
                differ(&expected.files, &files, &of)?;
            }
        }
        Ok(())
    }

    /// What an EMDB holds of records whose owner does not pull from it, and keeps against everybody: edits of a replaced version whose
    /// date is ahead of the new version's (wire spec 6, row 9). The owner alone could end that, by a younger date, and never meets
    /// them. Whoever hears of the record from the EMDB alone has them, too.
    async fn disputed(&self) -> Disputed {
        let mut disputed = Disputed::default();
        let Some((emdb, Member::Emdb(foreign))) = self.layout.emdb.map(|n| (n, &self.members[n]))
        else {
            return disputed;
        };
        let its = foreign.records();
        for owner in (0..self.layout.nodes).filter(|node| *node != emdb) {
            if self.layout.peers(owner).contains(&emdb) {
                continue;
            }
            let own = json!(self.own(owner));
            for (key, ours) in self.records(owner).await {
                let is_kept = |its: &Value| {
                    let status = |source: &Value, member| source["emrecordstatus"][member].clone();
                    let date =
                        |source, member| status(source, member).as_str().and_then(parse_date);
                    let is_stale = date(its, "masterrecordmodificationdate")
                        < date(&ours, "masterrecordmodificationdate");
                    let is_ahead =
                        date(its, "recordmodificationdate") > date(&ours, "recordmodificationdate");
                    status(its, "mastereditclusterid") == own
                        && status(its, "lastmodifiedclusterid") != own
                        && (is_stale && is_ahead)
                };
                if let Some(its) = its.get(&key).filter(|its| is_kept(its)) {
                    let paths = [its, &ours].map(|source| source["sourcepath"].as_str());
                    disputed
                        .paths
                        .extend(paths.into_iter().flatten().map(str::to_owned));
                    disputed.keys.insert(key);
                }
            }
        }
        disputed
    }

    /// Every original ever made has a length of its own; renditions have not.
    fn comparable(&self, mut files: Files) -> Files {
        if self.layout.pushes_to_emdb() {
            for ((tree, _), file) in &mut files {
                file.modified = 0;
                if *tree == "generated" {
                    file.digest.clear();
                }
            }
        }
        files
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

    /// Every edit and every delete is in its record still, or was seen by whoever changed the record after it, or lies in some
    /// node's conflict log.
    pub(super) async fn every_loser_logged(&self) -> Result<(), String> {
        let mut kept = Traces::default();
        for (number, member) in self.members.iter().enumerate() {
            for (key, source) in self.records(number).await {
                kept.add(&key, &source);
            }
            match member {
                Member::Ours(site) => {
                    let conflicts = site.node().catalogue.conflicts(CONFLICTS).await.unwrap();
                    for conflict in conflicts {
                        let key = (conflict.key.module.to_string(), conflict.key.id);
                        for side in [conflict.local_source, conflict.remote_source] {
                            kept.add(&key, &serde_json::from_str(&side).unwrap());
                        }
                    }
                }
                // What it refuses; its own side, which stays, is in its record (wire spec 6).
                Member::Emdb(emdb) => emdb.emdb.edit(|content| {
                    for row in &content.conflicts {
                        let text = |member: &str| row[member].as_str().unwrap().to_owned();
                        let source = serde_json::from_str(&text("remotesource")).unwrap();
                        kept.add(&(text("searchtype"), text("dataid")), &source);
                    }
                }),
            }
        }
        let lost =
            self.edits.made.iter().find(|made| {
                !kept.show(made) && !self.edits.seen.show(made) && !self.may_vanish(made)
            });
        match lost {
            Some(made) => Err(format!("{made:?} is in no conflict log")),
            None => Ok(()),
        }
    }

    /// What an EMDB alone had: it overwrites by row 8 without a word, whoever made what was there. So an edit of its record that it
    /// took is its own affair, and its edit of ours is kept once the owner has it.
    fn may_vanish(&self, made: &Made) -> bool {
        let Some(emdb) = self.layout.emdb else {
            return false;
        };
        let is_taken = self.edits.taken.show(made);
        match (made.node == emdb, made.owner == self.own(emdb)) {
            (false, true) => is_taken,
            (true, false) => !is_taken,
            _ => false,
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
        let state = File {
            digest: file.sha256.to_string(),
            size: file.size,
            modified: file.modified.as_millis(),
        };
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
