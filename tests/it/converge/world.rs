//! Nodes and what connects them, the time they share, and what was done so far that must not be lost.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use emsync::model::Sha256;
use emsync::pull::metadata::Scope;
use serde_json::{Value, json};

use super::edits::{Edits, Key, Records};
use super::foreign::Foreign;
use super::hostile::Stranger;
use super::ops::Op;
use super::site::{Made, Reached, Site, Skewed, name_of};
use crate::support::author::{crop, delete, put, records};
use crate::support::chance::Chance;
use crate::support::fault::Fault;
use crate::support::node::chain;

/// Between two operations: more than EMDB needs to refresh its index, and to tell two dates apart.
const STEP_MS: i64 = 2_500;
/// What a clock may be off at most.
const SKEW_MINUTES: usize = 10;
/// What two clocks may be apart: nodes that are further apart refuse each other (design section 8, Times).
const APART_MINUTES: usize = 14;

/// More bytes than a picture has, ere its length is made its own.
const PICTURE: usize = 4_000;

/// Who pulls from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topology {
    /// Everybody exchanges with the first.
    Hub,
    /// Everybody exchanges with the next.
    Chain,
    /// Everybody pulls from the one before, and the first from the last.
    Ring,
    /// Files are imported at the first two alone; everybody exchanges with both.
    TwoMasters,
}

/// What a seed makes of a world, apart from what is done in it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) nodes: usize,
    pub(super) topology: Topology,
    /// Which of them is an EMDB.
    pub(super) emdb: Option<usize>,
    /// Whether those at the rim push to those they pull from, who then pull from nobody there.
    pub(super) pushes: bool,
    /// Who has a key of a stranger that means harm, and pushes to it.
    pub(super) victim: Option<usize>,
    /// Whether it is shown that a third pass moves nothing, which takes a fifth of a world's time.
    pub(super) passes_thrice: bool,
    offsets_ms: Vec<i64>,
    /// Cluster ids, and with them the ids of assets and their order, which a number picks from.
    ids: Vec<String>,
}

impl Layout {
    pub(super) fn of(seed: u64) -> Self {
        let mut chance = Chance::new(seed).fork("layout");
        let nodes = 3 + chance.below(3);
        let topology = *chance.pick(&[
            Topology::Hub,
            Topology::Chain,
            Topology::Ring,
            Topology::TwoMasters,
        ]);
        let emdb = seed.is_multiple_of(3).then(|| chance.below(nodes));
        // Some are early by up to ten minutes and none late by more than four, or the reverse.
        let sign = if chance.percent(50) { 1 } else { -1 };
        let offset = |chance: &mut Chance| {
            let seconds = chance.below(APART_MINUTES * 60) as i64 - SKEW_MINUTES as i64 * 60;
            sign * seconds * 1_000
        };
        let mut offsets_ms: Vec<i64> = (0..nodes).map(|_| offset(&mut chance)).collect();
        if let Some(emdb) = emdb {
            // An EMDB keeps an edit of a replaced version against everybody for as long as its date is ahead (row 9): with clocks that
            // are minutes apart nearly every edit that crosses another one. So beside an EMDB ours go alike, and it by a clock of its own.
            let (ours, its) = (offsets_ms[(emdb + 1) % nodes], offsets_ms[emdb]);
            offsets_ms.fill(ours);
            offsets_ms[emdb] = its;
        }
        // An EMDB pushes originals of its own assets alone (wire spec 8.2), so that beyond it nobody's would come in.
        let is_between =
            topology == Topology::Chain && emdb.is_some_and(|emdb| emdb > 0 && emdb + 1 < nodes);
        let pushes = chance.percent(50) && topology != Topology::Ring && !is_between;
        let victim = seed.is_multiple_of(4).then(|| chance.below(nodes));
        let victim = victim.filter(|victim| emdb != Some(*victim));
        let mut names = Chance::new(seed).fork("ids");
        let ids = (0..nodes).map(|node| format!("node-{node}-{:08x}", names.next() as u32));
        Self {
            ids: ids.collect(),
            nodes,
            topology,
            emdb,
            pushes,
            victim,
            passes_thrice: (seed / 3).is_multiple_of(3),
            offsets_ms,
        }
    }

    /// Whom a node pulls from.
    pub(super) fn peers(&self, node: usize) -> Vec<usize> {
        let (last, others) = (self.nodes - 1, |node| {
            (0..self.nodes).filter(move |n| *n != node)
        });
        let all = match self.topology {
            Topology::Hub if node == 0 => others(0).collect(),
            Topology::Hub => vec![0],
            Topology::Chain => others(node).filter(|n| n.abs_diff(node) == 1).collect(),
            Topology::Ring if node == 0 => vec![last],
            Topology::Ring => vec![node - 1],
            Topology::TwoMasters if node < 2 => others(node).collect(),
            Topology::TwoMasters => vec![0, 1],
        };
        let inwards = |peer: &usize| !self.pushes || *peer < node;
        all.into_iter().filter(inwards).collect()
    }

    /// Who pulls from whom, one after the other, so that whatever one node has reaches all.
    pub(super) fn pass(&self) -> Vec<(usize, usize)> {
        let all = 0..self.nodes;
        if self.pushes {
            // Outside in, then inside out.
            let towards = |node| self.peers(node).into_iter().map(move |peer| (node, peer));
            let out = all.clone().flat_map(towards);
            return all.rev().flat_map(towards).chain(out).collect();
        }
        let spokes = |hub: usize| (1..self.nodes).map(move |node| (node, hub));
        match self.topology {
            Topology::Hub => {
                let collect = (1..self.nodes).map(|node| (0, node));
                collect.chain(spokes(0)).collect()
            }
            Topology::Chain => {
                let there = (1..self.nodes).map(|node| (node, node - 1));
                let back = (0..self.nodes - 1).rev().map(|node| (node, node + 1));
                there.chain(back).collect()
            }
            Topology::Ring => {
                let round = all.map(|node| (node, self.peers(node)[0]));
                round.clone().chain(round).collect()
            }
            Topology::TwoMasters => {
                let collect = self.peers(0).into_iter().map(|peer| (0, peer));
                let other = self.peers(1).into_iter().map(|peer| (1, peer));
                let mirrors = spokes(0).skip(1).chain(spokes(1).skip(1));
                collect
                    .chain(other)
                    .chain([(0, 1)])
                    .chain(mirrors)
                    .collect()
            }
        }
    }

    /// Whether nodes of ours push to an EMDB. What they bring gets the date of its arrival there, and a file of the same length as the
    /// one that is there is not asked for (H-11).
    pub(super) fn pushes_to_emdb(&self) -> bool {
        let with = |emdb| (0..self.nodes).any(|node| self.peers(node).contains(&emdb));
        self.pushes && self.emdb.is_some_and(with)
    }

    /// Whether an EMDB among them replaces originals of its own. It takes every original that is listed with another date, whoever
    /// its master is (wire spec 9), and with that its own former version back; unless whoever it pulls from has the new one before.
    fn may_replace(&self, emdb: usize) -> bool {
        let peers = self.peers(emdb);
        peers.iter().all(|peer| self.peers(*peer).contains(&emdb))
    }

    fn imports(&self, node: usize) -> bool {
        self.topology != Topology::TwoMasters || node < 2
    }
}

/// A node of either kind.
pub(super) enum Member {
    Ours(Box<Site>),
    Emdb(Box<Foreign>),
}

/// See the head of this file.
pub(super) struct World {
    pub(super) layout: Layout,
    pub(super) members: Vec<Member>,
    stranger: Option<Stranger>,
    time: Arc<AtomicI64>,
    /// Numbers contents and edits.
    made: u64,
    /// Digests of the originals that were imported into nodes of ours.
    pub(super) originals: BTreeMap<Sha256, String>,
    pub(super) edits: Edits,
}

impl World {
    pub(super) async fn new(layout: Layout) -> Self {
        let time = Arc::new(AtomicI64::new(0));
        let (mut made, mut foreign, mut reached) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..layout.nodes {
            let offset_ms = layout.offsets_ms[number];
            if layout.emdb == Some(number) {
                let emdb = Foreign::new(number, offset_ms).await;
                reached.push(vec![emdb.reached(); layout.nodes]);
                foreign.push(emdb);
            } else {
                let world = Arc::clone(&time);
                let clock = Skewed { world, offset_ms };
                let node = Made::new((number, &layout.ids[number]), layout.nodes + 1, clock).await;
                reached.push(node.reached.clone());
                made.push(node);
            }
        }
        let stranger = match layout.victim {
            // Its number is one that no node has.
            Some(victim) => {
                let reached = reached[victim][layout.nodes].clone();
                Some(Stranger::new(name_of(layout.nodes), reached).await)
            }
            None => None,
        };
        let (mut made, mut foreign) = (made.into_iter(), foreign.into_iter());
        let mut members = Vec::new();
        #[expect(
            clippy::needless_range_loop,
            reason = "`reached` is looked up by both numbers"
        )]
        for number in 0..layout.nodes {
            let peers = layout.peers(number).into_iter();
            let mut peers: Vec<(usize, Reached)> = peers
                .map(|peer| (peer, reached[peer][number].clone()))
                .collect();
            members.push(if layout.emdb == Some(number) {
                let mut emdb = foreign.next().expect("made above");
                emdb.open(&peers, layout.pushes);
                Member::Emdb(Box::new(emdb))
            } else {
                let made = made.next().expect("made above");
                let stranger = stranger.iter().filter(|_| layout.victim == Some(number));
                peers.extend(stranger.map(|stranger| (layout.nodes, stranger.reached())));
                let push = |peer| layout.pushes || peer == layout.nodes;
                Member::Ours(Box::new(made.open(&peers, push).await))
            });
        }
        let mut world = Self {
            layout,
            members,
            stranger,
            time,
            made: 0,
            originals: BTreeMap::new(),
            edits: Edits::default(),
        };
        world.tick();
        for node in 0..world.layout.nodes {
            // A folder is never empty.
            world.put_file(node, None, false);
        }
        world
    }

    /// Time goes on.
    pub(super) fn tick(&self) {
        let ahead = self.time.fetch_add(STEP_MS, Ordering::SeqCst) + STEP_MS;
        for member in &self.members {
            if let Member::Emdb(emdb) = member {
                emdb.ahead(ahead);
            }
        }
    }

    /// What a record of each kind is known by.
    pub(super) async fn records(&self, node: usize) -> Records {
        match &self.members[node] {
            Member::Ours(site) => records(site.node()).await,
            Member::Emdb(emdb) => emdb.records(),
        }
    }

    /// What these two hold of their own by now; only an EMDB overwrites it without a word.
    async fn look(&mut self, nodes: [usize; 2]) {
        if self.layout.emdb.is_none() {
            return;
        }
        for node in nodes {
            let records = self.records(node).await;
            self.edits.holds(&self.own(node), &records);
        }
    }

    pub(super) async fn step(&mut self, op: Op) -> Result<(), String> {
        self.tick();
        match op {
            Op::Sync(node, peer) | Op::Seed(node, peer) => {
                let Some(peer) = self.peer(node, peer) else {
                    return Ok(());
                };
                let scope = match op {
                    Op::Seed(..) => Scope::Everything,
                    _ => Scope::Changes,
                };
                self.sync(node, peer, scope).await?;
                self.look([node, peer]).await;
                Ok(())
            }
            Op::Kill(node, peer, calls) => {
                let peer = self.peer(node, peer);
                if let (Some(peer), Member::Ours(site)) = (peer, &mut self.members[node]) {
                    let run = async |site: &Site| {
                        let _ = site.sync(peer, Scope::Changes).await;
                    };
                    site.dies_in(calls, run).await;
                    self.look([node, peer]).await;
                }
                Ok(())
            }
            Op::Attack(_, pick) => self.attack(pick).await,
            Op::Pass => {
                for (node, peer) in self.layout.pass() {
                    self.tick();
                    self.sync(node, peer, Scope::Changes).await?;
                    self.look([node, peer]).await;
                }
                Ok(())
            }
            Op::Cut(node, peer, bytes) => {
                if let Some(peer) = self.peer(node, peer) {
                    self.sync_cut(node, peer, bytes).await;
                    self.look([node, peer]).await;
                }
                Ok(())
            }
            op => {
                let node = op.node();
                let before = self.records(node).await;
                self.act(node, op).await?;
                let after = self.records(node).await;
                let is_delete = matches!(op, Op::Delete(..));
                self.edits.acted(node, is_delete, &before, &after);
                Ok(())
            }
        }
    }

    fn peer(&self, node: usize, peer: usize) -> Option<usize> {
        let peers = self.layout.peers(node);
        peers.get(peer % peers.len().max(1)).copied()
    }

    /// One exchange between two nodes, which may leave single items for the next one.
    async fn sync(&self, node: usize, peer: usize, scope: Scope) -> Result<(), String> {
        match &self.members[node] {
            Member::Ours(site) => {
                let outcomes = site.sync(peer, scope).await?;
                match outcomes.iter().find_map(|outcome| outcome.error.as_ref()) {
                    Some(error) => Err(format!("{node} with {peer}: {}", chain(error))),
                    None => Ok(()),
                }
            }
            Member::Emdb(emdb) => emdb.pull(peer, false).await.map(drop),
        }
    }

    /// What a node does with a peer in a quiet world: all of it must succeed. Answers what moved.
    pub(super) async fn exchange(&mut self, node: usize, peer: usize) -> Result<Moved, String> {
        let moved = self.exchanged(node, peer).await?;
        self.look([node, peer]).await;
        Ok(moved)
    }

    async fn exchanged(&self, node: usize, peer: usize) -> Result<Moved, String> {
        self.tick();
        let trouble = |what: String| format!("{node} with {peer}: {what}");
        let site = match &self.members[node] {
            Member::Emdb(emdb) => {
                let files = emdb.pull(peer, true).await.map_err(trouble)? as u64;
                return Ok(Moved {
                    files,
                    ..Moved::default()
                });
            }
            Member::Ours(site) => site,
        };
        // An EMDB passes nothing on that is older than a window (H-4).
        let scope = match self.layout.emdb == Some(peer) {
            true => Scope::Everything,
            false => Scope::Changes,
        };
        let mut moved = Moved::default();
        for outcome in site.sync(peer, scope).await.map_err(trouble)? {
            if let Some(error) = &outcome.error {
                return Err(trouble(chain(error)));
            }
            if outcome.deletes.held > 0 {
                return Err(trouble(format!("{} deletes held", outcome.deletes.held)));
            }
            moved.files += outcome.report.files_written;
            moved.bytes += outcome.report.bytes_received + outcome.report.bytes_sent;
            moved.deleted += outcome.report.deleted;
        }
        Ok(moved)
    }

    async fn sync_cut(&self, node: usize, peer: usize, bytes: i64) {
        let Member::Ours(site) = &self.members[node] else {
            // What EMDB misses once it never asks for again (H-2).
            return;
        };
        match &self.members[peer] {
            Member::Ours(server) => {
                server.wire.cut_after(bytes);
                let _ = site.sync(peer, Scope::Changes).await;
                server.wire.mend();
            }
            Member::Emdb(emdb) => {
                let menu = vec![
                    Fault::Unavailable(None),
                    Fault::Reset,
                    Fault::CutAfter(100),
                    Fault::TruncatedJson,
                ];
                emdb.emdb.faults().by_chance(bytes.unsigned_abs(), 25, menu);
                let _ = site.sync(peer, Scope::Changes).await;
                emdb.emdb.faults().clear();
            }
        }
    }

    async fn attack(&self, pick: usize) -> Result<(), String> {
        let Some((stranger, victim)) = self.stranger.as_ref().zip(self.layout.victim) else {
            return Ok(());
        };
        match &self.members[victim] {
            Member::Ours(site) => stranger.attack(site, pick).await,
            Member::Emdb(_) => Ok(()),
        }
    }

    async fn act(&mut self, node: usize, op: Op) -> Result<(), String> {
        match op {
            Op::Write(_, file) | Op::Draw(_, file) => {
                let is_picture = matches!(op, Op::Draw(..));
                if self.layout.imports(node) {
                    let is_new = self.put_file(node, Some(file), is_picture);
                    self.import(node).await?;
                    if let (Member::Emdb(_), false) = (&self.members[node], is_new) {
                        for peer in self.layout.peers(node) {
                            self.tick();
                            self.sync(peer, node, Scope::Changes).await?;
                        }
                    }
                }
            }
            Op::KillImport(_, file, calls) => {
                if self.layout.imports(node) && matches!(self.members[node], Member::Ours(_)) {
                    self.put_file(node, Some(file), false);
                    let Member::Ours(site) = &mut self.members[node] else {
                        return Ok(());
                    };
                    let run = async |site: &Site| {
                        let _ = site.import().await;
                    };
                    site.dies_in(calls, run).await;
                }
            }
            Op::Remove(_, file) => match &self.members[node] {
                Member::Emdb(emdb) => emdb.remove(file),
                Member::Ours(site) => {
                    for is_picture in [false, true] {
                        let _ = std::fs::remove_file(
                            site.folder.join(place(node, &name(file, is_picture))),
                        );
                    }
                    self.import(node).await?;
                }
            },
            Op::Move(_, from, to) => {
                if let Member::Ours(site) = &self.members[node] {
                    let at = |file| site.folder.join(place(node, &name(file, false)));
                    let _ = std::fs::rename(at(from), at(to));
                    self.import(node).await?;
                }
            }
            Op::Edit(_, pick) => {
                let modules = ["asset", "librarycollection"];
                let may = |(module, _): &Key, source: &Value| {
                    modules.contains(&module.as_str()) && self.may_edit(node, source)
                };
                if let Some(key) = self.pick(node, pick, may).await {
                    self.edit(node, key).await?;
                }
            }
            Op::Collect(_) => {
                let id = format!("c{}-{node}", self.made);
                self.edit(node, ("librarycollection".to_owned(), id))
                    .await?;
            }
            Op::Delete(_, pick) => {
                let modules = ["asset", "librarycollection"];
                let may = |(module, _): &Key, source: &Value| {
                    modules.contains(&module.as_str()) && self.may_edit(node, source)
                };
                if let Some((module, id)) = self.pick(node, pick, may).await {
                    match &self.members[node] {
                        Member::Emdb(emdb) => emdb.delete((&module, &id)),
                        Member::Ours(site) => delete(site.node(), (&module, &id))
                            .await
                            .map_err(|error| chain(&error))?,
                    }
                }
            }
            Op::Crop(_, pick, corner) => {
                let own = self.own(node);
                let drawn = |(module, _): &Key, source: &Value| {
                    module == "asset"
                        && source["fileformat"] == "png"
                        && source["emrecordstatus"]["mastereditclusterid"] == json!(own)
                };
                let picked = self.pick(node, pick, drawn).await;
                if let (Some((_, id)), Member::Ours(site)) = (picked, &self.members[node]) {
                    let rectangle = format!("16x12+{corner}+{corner}");
                    let cropped = crop(site.node(), &id, "webpthumbimage", &rectangle).await;
                    cropped.map_err(|error| chain(&error))?;
                }
            }
            Op::Sync(..)
            | Op::Seed(..)
            | Op::Kill(..)
            | Op::Cut(..)
            | Op::Attack(..)
            | Op::Pass => {}
        }
        Ok(())
    }

    /// An EMDB edits what is its own, or what a node that pulls from it is the master of: a master that refuses an edit says so by
    /// a younger date. Without it an EMDB keeps an edit of an older version, made by a clock that is early, against everybody (row 9).
    fn may_edit(&self, node: usize, source: &Value) -> bool {
        let master = &source["emrecordstatus"]["mastereditclusterid"];
        let pulls = |other: &usize| self.layout.peers(*other).contains(&node);
        matches!(self.members[node], Member::Ours(_))
            || *master == json!(self.own(node))
            || (0..self.layout.nodes)
                .filter(pulls)
                .any(|other| *master == json!(self.own(other)))
    }

    /// Its cluster id.
    pub(super) fn own(&self, node: usize) -> String {
        match &self.members[node] {
            Member::Ours(site) => site.node().config.node.cluster_id.to_string(),
            Member::Emdb(emdb) => emdb.emdb.own().to_owned(),
        }
    }

    /// One of the live records of a node that are of a kind.
    async fn pick(
        &self,
        node: usize,
        pick: usize,
        is: impl Fn(&Key, &Value) -> bool,
    ) -> Option<Key> {
        let records = self.records(node).await;
        let live = records.iter().filter(|(key, source)| {
            source["emrecordstatus"]["recorddeleted"] != json!(true) && is(key, source)
        });
        let live: Vec<_> = live.map(|(key, _)| key.clone()).collect();
        live.get(pick % live.len().max(1)).cloned()
    }

    async fn edit(&mut self, node: usize, key: Key) -> Result<(), String> {
        self.made += 1;
        let note = format!("note-{}-", self.made);
        let members = json!({ "note": note });
        match &self.members[node] {
            Member::Emdb(emdb) => emdb.put((&key.0, &key.1), &members),
            Member::Ours(site) => {
                let put = put(site.node(), (&key.0, &key.1), &members).await;
                put.map_err(|error| chain(&error))?;
            }
        }
        Ok(())
    }

    /// A file of new content in the folder of a node, or on an EMDB right away; `None` for the one that is never removed. Whether it
    /// replaces none.
    fn put_file(&mut self, node: usize, file: Option<usize>, is_picture: bool) -> bool {
        self.made += 1;
        let bytes = match is_picture {
            true => picture(self.made),
            false => Chance::new(self.made).noise(300 + self.made as usize % 700),
        };
        match &mut self.members[node] {
            Member::Emdb(emdb) => {
                let replaced = file.filter(|_| self.layout.may_replace(node));
                emdb.write(replaced, bytes, is_picture)
            }
            Member::Ours(site) => {
                let name = file.map_or("kept.bin".to_owned(), |file| name(file, is_picture));
                let path = site.folder.join(place(node, &name));
                std::fs::create_dir_all(path.parent().expect("below the folder")).unwrap();
                std::fs::write(&path, &bytes).unwrap();
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                let ahead = Duration::from_millis(self.time.load(Ordering::SeqCst).unsigned_abs());
                file.set_modified(SystemTime::now() + ahead).unwrap();
                true
            }
        }
    }

    /// Imports what an import that died left in a node's folder: it may bring back what was deleted meanwhile, and knows of the delete.
    pub(super) async fn take_in(&mut self, node: usize) -> Result<(), String> {
        let before = self.records(node).await;
        self.import(node).await?;
        let after = self.records(node).await;
        self.edits.acted(node, false, &before, &after);
        Ok(())
    }

    /// Imports a node's folder; what is in it then must never be lost.
    pub(super) async fn import(&mut self, node: usize) -> Result<(), String> {
        let Member::Ours(site) = &self.members[node] else {
            return Ok(());
        };
        let report = site.import().await.map_err(|error| chain(&error))?;
        if report.held + report.refused > 0 {
            return Err(format!("import at {node}: {report:?}"));
        }
        for path in files_below(&site.folder) {
            let digest = Sha256::of(&std::fs::read(&path).unwrap());
            let name = path
                .strip_prefix(&site.folder)
                .unwrap()
                .display()
                .to_string();
            self.originals.insert(digest, name);
        }
        Ok(())
    }

    pub(super) async fn end(self) {
        for member in self.members {
            if let Member::Ours(site) = member {
                site.end().await;
            }
        }
    }
}

/// What came in an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Moved {
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) deleted: u64,
}

fn name(file: usize, is_picture: bool) -> String {
    format!("f{file}.{}", if is_picture { "png" } else { "bin" })
}

/// Where a node's file lies in its folder: no two nodes have the same.
fn place(node: usize, name: &str) -> String {
    format!("n{node}/{name}")
}

pub(super) fn files_below(dir: &std::path::Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(dir)
        .into_iter()
        .filter_map(Result::ok);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files.map(walkdir::DirEntry::into_path).collect()
}

/// A small picture, another one of another length for each number.
fn picture(number: u64) -> Vec<u8> {
    let hue = (number % 251) as u8;
    let picture = image::ImageBuffer::from_fn(32, 24, |x, y| {
        image::Rgb([x as u8 ^ hue, y as u8, (number / 251) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    let mut bytes = bytes.into_inner();
    bytes.resize(PICTURE + number as usize, 0);
    bytes
}
