//! Random listings against the audit of a real catalogue, held to the model after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use emsync::catalogue::Catalogue;
use emsync::model::job::Work;
use emsync::model::{NodeId, Record, RecordKey, RecordStatus, Timestamp};
use emsync::monitor::Silent;
use emsync::protocol::record::stamped;
use emsync::reconcile::absence::{Auditor, Complete, Testimony};
use serde_json::{Map, json};

use super::model::{Kept, Model, Said};
use super::{Named, say, seeds};
use crate::support::chance::Chance;

/// Catalogues take a while to make, so each serves many cases, each with a peer of its own.
const CASES: u64 = 260;
const STEPS: usize = 16;
/// As many as the audit asks the peer's search for, so that a truthful search leaves no doubt.
const RECORDS: usize = 8;

#[derive(Default)]
struct Counts {
    steps: u64,
    audits: u64,
    believed: u64,
    queued: u64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_two_believed_listings_lacked_is_ever_queued_for_deletion() {
    let shared = Path::new("/dev/shm");
    let dir = match shared.is_dir() {
        true => tempfile::tempdir_in(shared),
        false => tempfile::tempdir(),
    };
    let dir = dir.unwrap();
    let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
        .await
        .unwrap();
    let mut counts = Counts::default();
    let seeds = seeds(CASES);
    for seed in seeds.clone() {
        let _named = Named(seed, "audits");
        let mut case = Case::new(seed, &catalogue);
        case.run(&mut counts).await;
    }
    say(&format!(
        "delete audits: {} cases, {} steps, {} audits, {} of them believed, {} records queued, 0 violations",
        seeds.end - seeds.start,
        counts.steps,
        counts.audits,
        counts.believed,
        counts.queued
    ));
    assert!(seeds.end - seeds.start < 20 || counts.queued > 0 && counts.believed < counts.audits);
}

/// The peer counts assets alone.
fn is_asset(id: u32) -> bool {
    id % 4 != 3
}

/// A record at the master.
#[derive(Debug, Clone, Copy)]
struct There {
    version: u32,
    is_live: bool,
    is_stamped: bool,
}

struct Case<'a> {
    chance: Chance,
    catalogue: &'a Catalogue,
    peer: String,
    own: NodeId,
    /// Whether count and search say what is so, as far as they say anything.
    is_truthful: bool,
    now: Timestamp,
    master: BTreeMap<u32, There>,
    /// The states that the master was in, for stale listings.
    before: Vec<BTreeMap<u32, There>>,
    model: Model,
}

impl<'a> Case<'a> {
    fn new(seed: u64, catalogue: &'a Catalogue) -> Self {
        let mut chance = Chance::new(seed);
        let is_truthful = chance.percent(50);
        Self {
            chance,
            catalogue,
            peer: format!("peer{seed}"),
            own: NodeId::new("mirror-1").unwrap(),
            is_truthful,
            now: Timestamp::from_millis(1_000_000),
            master: BTreeMap::new(),
            before: Vec::new(),
            model: Model::default(),
        }
    }

    fn key(&self, id: u32) -> RecordKey {
        let module = if is_asset(id) { "asset" } else { "category" };
        RecordKey::new(module, format!("{}x{id}", self.peer)).unwrap()
    }

    fn record(&self, id: u32, there: There, by: &str) -> Record {
        let key = self.key(id);
        let mut members = Map::new();
        members.insert("id".into(), json!(key.id));
        members.insert("version".into(), json!(there.version));
        let status = RecordStatus {
            deleted: !there.is_live,
            master: NodeId::new("node-a").unwrap(),
            modified_by: NodeId::new(by).unwrap(),
            modified: self.now,
            master_modified: Some(self.now),
        };
        let record = stamped(members, &key, &status);
        Record {
            status: there.is_stamped.then_some(status),
            ..record
        }
    }

    async fn run(&mut self, counts: &mut Counts) {
        for _ in 0..3 + self.chance.below(5) {
            self.add();
        }
        if self.is_truthful {
            // Known from a time when all was well: otherwise nobody knows how many the peer usually keeps to itself.
            let said = self.whole();
            self.list(&said, counts).await;
        }
        for _ in 0..STEPS {
            counts.steps += 1;
            self.before.push(self.master.clone());
            match self.chance.below(10) {
                0..=2 => self.change(),
                3 => self.edit_here().await,
                4 => self.of_another_origin().await,
                _ => {
                    let said = self.listing();
                    let times = 1 + self.chance.below(2);
                    for _ in 0..times {
                        self.list(&said, counts).await;
                    }
                }
            }
            self.check().await;
        }
    }

    fn add(&mut self) {
        let id = u32::try_from(self.chance.below(RECORDS)).unwrap();
        let version = self.chance.next() as u32;
        let is_stamped = self.chance.percent(90);
        let there = There {
            version,
            is_live: true,
            is_stamped,
        };
        self.master.insert(id, there);
    }

    /// The master adds or restores, deletes with a tombstone, or without a trace.
    fn change(&mut self) {
        let ids: Vec<u32> = self.master.keys().copied().collect();
        if ids.is_empty() || self.chance.percent(40) {
            return self.add();
        }
        let id = *self.chance.pick(&ids);
        if self.chance.percent(30) {
            let there = self.master.get_mut(&id).unwrap();
            (there.is_live, there.is_stamped) = (false, true);
        } else {
            self.master.remove(&id);
        }
    }

    fn live_assets(&self) -> u64 {
        let live = self
            .master
            .iter()
            .filter(|(id, there)| there.is_live && is_asset(**id));
        live.count() as u64
    }

    fn whole(&mut self) -> Vec<(u32, There)> {
        self.master
            .iter()
            .map(|(id, there)| (*id, *there))
            .collect()
    }

    /// What the peer shows: all, another order, a part, nothing, or what once was.
    fn listing(&mut self) -> Vec<(u32, There)> {
        let mut shown = self.whole();
        match self.chance.below(10) {
            0..=3 => {}
            4 => shown.reverse(),
            5..=7 => shown.retain(|_| self.chance.percent(70)),
            8 => shown.clear(),
            _ => {
                let then = self.chance.pick(&self.before);
                shown = then.iter().map(|(id, there)| (*id, *there)).collect();
            }
        }
        shown
    }

    /// One listing into the catalogue as the metadata pass takes it in, and, if it is not interrupted, its audit.
    async fn list(&mut self, shown: &[(u32, There)], counts: &mut Counts) {
        self.now = self.now.plus(Duration::from_secs(60));
        let mut said = Said {
            shown: shown
                .iter()
                .map(|(id, there)| (*id, there.is_live))
                .collect(),
            unkeyed: u64::from(self.chance.percent(8)),
            is_told: self.chance.percent(15),
            ..Said::default()
        };
        self.take_in(shown).await;
        self.model.show(&said);
        if self.chance.percent(10) {
            return;
        }
        self.testify(&mut said);
        let complete = Complete {
            started_at: self.now,
            unkeyed: said.unkeyed,
        };
        let testimony = Testimony {
            counted: said.counted,
            contradicts: said.contradicts,
        };
        let auditor = Auditor {
            peer: &self.peer,
            own: &self.own,
            catalogue: self.catalogue,
            monitor: &Silent,
            is_told: said.is_told,
        };
        let audited = auditor
            .conclude(complete, testimony, self.now)
            .await
            .unwrap();
        let before = self.model.queued.clone();
        let believed = self.model.audit(&said, is_asset);
        assert_eq!(audited.doubt.is_none(), believed, "{said:?}: {audited:?}");
        let new: BTreeSet<u32> = &self.model.queued - &before;
        assert!(
            !said.shown.is_empty() || said.is_told || new.is_empty(),
            "an empty listing queued {new:?}"
        );
        let still = |id: &u32| self.master.get(id).is_some_and(|there| there.is_live);
        assert!(
            !self.is_truthful || !new.iter().any(still),
            "the master still has some of {new:?}"
        );
        counts.audits += 1;
        counts.believed += u64::from(believed);
        counts.queued += new.len() as u64;
        self.check().await;
    }

    /// What the peer's count and search say.
    fn testify(&mut self, said: &mut Said) {
        said.counted = match self.chance.below(10) {
            0 => None,
            1 | 2 if !self.is_truthful => Some(self.chance.next() % 10),
            _ => Some(self.live_assets()),
        };
        let live = |id: &u32| self.master.get(id).is_some_and(|there| there.is_live);
        said.contradicts = match self.is_truthful {
            true => self.model.second(said).iter().any(live),
            false => self.chance.percent(8),
        };
    }

    /// As a page does: records, what they withdraw, what was seen, and no note of what is there.
    async fn take_in(&mut self, shown: &[(u32, There)]) {
        let mut batch = self.catalogue.batch().await.unwrap();
        batch.end_listing(&self.peer).await.unwrap();
        let mut seen = Vec::new();
        for (id, there) in shown {
            let key = self.key(*id);
            seen.push((key.clone(), there.is_live));
            let kept = self.model.here.get(id).copied();
            if kept.is_none_or(|kept| kept.is_theirs && !kept.is_edited_here) {
                let record = self.record(*id, *there, "node-a");
                batch
                    .put_records(&[&record], &self.peer, self.now)
                    .await
                    .unwrap();
                let kept = Kept {
                    is_live: !record.is_deleted(),
                    is_theirs: true,
                    is_edited_here: false,
                    is_stamped: there.is_stamped,
                    is_noted: false,
                };
                self.model.here.insert(*id, kept);
            }
        }
        batch.see(&self.peer, &seen).await.unwrap();
        let keys: Vec<&RecordKey> = seen.iter().map(|(key, _)| key).collect();
        batch.note_present(&keys).await.unwrap();
        let subjects: Vec<String> = keys.iter().map(|key| format!("absent:{key}")).collect();
        batch.withdraw(&self.peer, &subjects).await.unwrap();
        batch.commit().await.unwrap();
    }

    /// Somebody edits a record here: it is ours to keep, whatever the peer lists.
    async fn edit_here(&mut self) {
        let own = self.own.to_string();
        self.put_one(&own, |kept| kept.is_edited_here = true).await;
    }

    /// A record turns out to come from another peer.
    async fn of_another_origin(&mut self) {
        self.put_one("", |kept| kept.is_theirs = false).await;
    }

    async fn put_one(&mut self, by: &str, change: impl FnOnce(&mut Kept)) {
        let live = self.model.here.iter().filter(|(_, kept)| kept.is_live);
        let ids: Vec<u32> = live.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return;
        }
        let id = *self.chance.pick(&ids);
        let there = There {
            version: self.chance.next() as u32,
            is_live: true,
            is_stamped: true,
        };
        let kept = self.model.here.get_mut(&id).unwrap();
        change(kept);
        (kept.is_noted, kept.is_stamped) = (false, true);
        let origin = if kept.is_theirs {
            self.peer.clone()
        } else {
            "elsewhere".to_owned()
        };
        let by = if kept.is_edited_here {
            self.own.to_string()
        } else if by.is_empty() {
            "node-b".to_owned()
        } else {
            by.to_owned()
        };
        let record = self.record(id, there, &by);
        let mut batch = self.catalogue.batch().await.unwrap();
        batch
            .put_records(&[&record], &origin, self.now)
            .await
            .unwrap();
        batch.commit().await.unwrap();
    }

    /// The deletes that wait are those of the model; and one whose record was changed since would not be carried out.
    async fn check(&self) {
        let jobs = self
            .catalogue
            .jobs_after(&self.peer, "", 1_000)
            .await
            .unwrap();
        let mut queued = BTreeSet::new();
        let mut batch = self.catalogue.batch().await.unwrap();
        for job in &jobs {
            let Work::Absent(absent) = &job.work else {
                panic!("{job:?}");
            };
            let (_, id) = absent.id.split_once('x').unwrap();
            let id: u32 = id.parse().unwrap();
            queued.insert(id);
            let would_go = batch
                .is_absent(&self.peer, &self.key(id), &absent.content)
                .await
                .unwrap();
            let kept = &self.model.here[&id];
            assert_eq!(
                would_go,
                kept.is_noted && kept.is_theirs,
                "{job:?}: {kept:?}"
            );
        }
        assert_eq!(queued, self.model.queued, "{:?}", self.model);
    }
}
