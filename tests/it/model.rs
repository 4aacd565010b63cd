//! A model of a mirror against the engine: random sequences of operations over a handful of ids and paths, so that they meet.
//!
//! The model is [`reference`]: records by the conflict rule, originals and renditions by path, what must be in the trash, deletes
//! by tombstone and by two listings. The engine is a real mirror that pulls from the scripted EMDB and from a served node of ours.
//! After every pull both are compared, byte for byte; a pull may need a second one behind it (I6), which is counted. In the end,
//! with a quiet master, two passes bring parity and a further one moves nothing (I5).
//!
//! A sequence that fails is made smaller and printed with its seed. `EMSYNC_MODEL_SEED=n cargo test model` runs that one again,
//! `EMSYNC_MODEL_SEQUENCES=2000 cargo test model` many, from the seed that `EMSYNC_MODEL_FROM` names, else from 1.

mod ops;
mod peers;
mod reference;
mod world;

use std::sync::Arc;
use std::time::Instant;

use emsync::model::RecordStatus;
use emsync::pull::metadata::Scope;
use emsync::seams::Seams;
use emsync::store::RealSys;
use futures_util::StreamExt as _;

use crate::support::node::{Mirror, chain};
use crate::support::said::say;
use ops::{Damage, Op, sequence};
use peers::{Peer, Sort};
use reference::Reference;
use world::World;

/// Sequences against each kind of master when nothing else is said.
const SEQUENCES: u64 = 24;
/// Sequences that run side by side.
const AT_ONCE: usize = 3;
/// Reruns that making a sequence smaller may cost.
const RERUNS: usize = 80;

/// What a sequence amounted to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    operations: u64,
    compared: u64,
    /// Pulls that needed another one behind them.
    second_pulls: u64,
}

/// A master, its mirror and the model of it.
struct Trial {
    world: World,
    peer: Peer,
    mirror: Option<Mirror>,
    reference: Reference,
    second_pulls: u64,
}

impl Trial {
    async fn start(sort: Sort) -> Self {
        let peer = Peer::start(sort).await;
        let world = World::new(peer.own());
        peer.change(&World::nothing(peer.own()), &world).await;
        let mirror = Some(peer.mirror().await);
        Self {
            world,
            peer,
            mirror,
            reference: Reference::default(),
            second_pulls: 0,
        }
    }

    fn mirror(&self) -> &Mirror {
        self.mirror.as_ref().expect("open between operations")
    }

    async fn step(&mut self, op: Op) -> Result<(), String> {
        match op {
            Op::Restart => self.restart().await,
            Op::Sync => self.pull(Scope::Changes).await?,
            Op::Seed => self.pull(Scope::Everything).await?,
            Op::Verify => drop(self.mirror().verify().await),
            Op::EditHere(id) => self.edit_here(id).await,
            Op::Faults(seed) => self.pull_with_faults(seed).await?,
            Op::Damage(pick, how) => self.damage(pick, how).await?,
            op => {
                let old = self.world.clone();
                let reference = &self.reference;
                self.world.apply(op, |rec| reference.has(rec));
                self.peer.change(&old, &self.world).await;
            }
        }
        Ok(())
    }

    async fn restart(&mut self) {
        let dir = self.mirror.take().expect("open").close().await;
        let opened = Mirror::open_in(dir, Seams::os(), Arc::new(RealSys)).await;
        self.mirror = Some(opened.map_err(|(_, error)| error).unwrap());
    }

    /// A file of the mirror that its master has just so is damaged; a look finds it, and the next pull brings it back.
    async fn damage(&mut self, pick: usize, how: Damage) -> Result<(), String> {
        let mirror = self.mirror();
        let here = self.reference.files_here(&self.world, mirror).await;
        let Some(file) = here.get(pick % here.len().max(1)) else {
            return Ok(());
        };
        how.strike(&mirror.path(file.kind, file.place().as_str()));
        let parity = mirror.verify().await;
        let name = format!("{}/{}", file.kind.dir(), file.path);
        if parity.in_sync {
            return Err(format!("{how:?} of {name} was not seen"));
        }
        self.pull(Scope::Changes)
            .await
            .map_err(|error| format!("after {how:?} of {name}: {error}"))
    }

    async fn edit_here(&mut self, id: usize) {
        let Some(mut rec) = self.reference.editable(&world::asset(id)) else {
            return;
        };
        let mirror = self.mirror.as_ref().expect("open");
        rec.title = self.world.number();
        rec.status = RecordStatus {
            modified_by: mirror.node.config.node.cluster_id.clone(),
            modified: self.world.tick(),
            ..rec.status
        };
        self.reference.edit(mirror, rec).await;
    }

    async fn compare(&mut self) -> Result<(), String> {
        let mirror = self.mirror.as_ref().expect("open");
        self.reference.compare(mirror).await
    }

    /// A pull that must go well, after which the mirror is as the model says; a second one may be needed for that.
    async fn pull(&mut self, scope: Scope) -> Result<(), String> {
        self.pull_once(scope, true).await?;
        let Err(first) = self.compare().await else {
            return Ok(());
        };
        self.second_pulls += 1;
        self.pull_once(scope, false).await?;
        let second = self.compare().await;
        second.map_err(|error| format!("{error}\n  (after the first pull: {first})"))
    }

    /// A file may have to wait for a second listing that lacks a record whose files stand where its folder is to be, or the
    /// reverse: `may_wait` says that there is one to come.
    async fn pull_once(&mut self, scope: Scope, may_wait: bool) -> Result<(), String> {
        let outcome = self.mirror().attempt(scope).await;
        let outcome = outcome.map_err(|error| chain(&error))?;
        if let Some(error) = &outcome.error {
            return Err(format!("a pull failed: {}", chain(error)));
        }
        if outcome.report.quarantined > 0 || outcome.deletes.held > 0 {
            let aside = self.mirror().set_aside().await;
            let held = outcome.deletes.held;
            let waits = |text: &String| text.contains("cannot be placed");
            let is_expected =
                may_wait && held == 0 && self.reference.awaits_an_absence(&self.world);
            if !is_expected || !aside.iter().all(waits) {
                return Err(format!("set aside {aside:?}, held {held}"));
            }
        }
        let is_whole = scope == Scope::Everything;
        self.reference.pulled(&self.world, is_whole);
        Ok(())
    }

    async fn pull_with_faults(&mut self, seed: u64) -> Result<(), String> {
        if self.peer.falter(seed) {
            // However it ends: what matters is what it leaves.
            let _ = self.mirror().attempt(Scope::Changes).await;
            self.peer.recover();
            self.reference.pulled(&self.world, false);
        }
        self.pull(Scope::Changes).await
    }

    /// The master is quiet: two passes bring parity, and another one has nothing to do.
    async fn finish(&mut self) -> Result<(), String> {
        let old = self.world.clone();
        for rec in self.reference.edited() {
            // Our own edit keeps a record that vanished; only its master can end that.
            if !self.world.records.contains_key(&rec.key) {
                self.world.put_back(rec);
            }
        }
        self.world.save_all();
        self.peer.change(&old, &self.world).await;
        self.pull_once(Scope::Everything, true).await?;
        self.pull_once(Scope::Everything, false).await?;
        self.reference.nothing_lingers();
        self.compare().await?;
        let parity = self.mirror().verify().await;
        if !parity.in_sync {
            let differences = parity.differences;
            return Err(format!("no parity after two passes: {differences:#?}"));
        }
        for scope in [Scope::Changes, Scope::Everything] {
            let outcome = self.mirror().attempt(scope).await;
            let outcome = outcome.map_err(|error| chain(&error))?;
            let report = &outcome.report;
            let moved = (report.bytes_received, report.files_written);
            if outcome.error.is_some() || moved != (0, 0) || report.deleted != 0 {
                return Err(format!("a pass of equal nodes did something: {report:?}"));
            }
        }
        Ok(())
    }
}

/// Runs a sequence.
async fn run(sort: Sort, ops: &[Op]) -> Result<Tally, String> {
    let mut trial = Trial::start(sort).await;
    for (at, op) in ops.iter().enumerate() {
        let done = trial.step(*op).await;
        done.map_err(|error| format!("at operation {at}, {op:?}: {error}"))?;
    }
    let ended = trial.finish().await;
    ended.map_err(|error| format!("at the end: {error}"))?;
    let tally = Tally {
        operations: ops.len() as u64,
        compared: trial.reference.compared,
        second_pulls: trial.second_pulls,
    };
    drop(trial.mirror.take());
    trial.peer.end().await;
    Ok(tally)
}

/// Leaves out what a failing sequence does not need: halves, quarters, single operations.
async fn smaller(sort: Sort, mut ops: Vec<Op>, mut error: String) -> (Vec<Op>, String) {
    let (mut length, mut reruns) = (ops.len() / 2, 0);
    while length > 0 && reruns < RERUNS {
        let mut at = 0;
        while at < ops.len() && reruns < RERUNS {
            let mut fewer = ops.clone();
            fewer.drain(at..(at + length).min(ops.len()));
            reruns += 1;
            match run(sort, &fewer).await {
                Err(found) => (ops, error) = (fewer, found),
                Ok(_) => at += length,
            }
        }
        length /= 2;
    }
    (ops, error)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{variable}: {error}")))
}

async fn sequences_against(sort: Sort) {
    let began = Instant::now();
    let only = number("EMSYNC_MODEL_SEED");
    let first = only.or(number("EMSYNC_MODEL_FROM")).unwrap_or(1);
    let count = match only {
        Some(_) => 1,
        None => number("EMSYNC_MODEL_SEQUENCES").unwrap_or(SEQUENCES),
    };
    let mut total = Tally::default();
    // Most of a sequence is waiting for a disk.
    let mut runs = futures_util::stream::iter(first..first + count)
        .map(|seed| async move { (seed, run(sort, &sequence(seed)).await) })
        .buffer_unordered(AT_ONCE);
    while let Some((seed, ran)) = runs.next().await {
        match ran {
            Ok(tally) => {
                total.operations += tally.operations;
                total.compared += tally.compared;
                total.second_pulls += tally.second_pulls;
            }
            Err(error) => {
                drop(runs);
                let (ops, error) = smaller(sort, sequence(seed), error).await;
                panic!(
                    "{sort:?}: {ops:?}\n{error}\nagain: EMSYNC_MODEL_SEED={seed} cargo test --test it model"
                );
            }
        }
    }
    say(&format!(
        "model against {sort:?}: {count} sequences from seed {first}, {} operations, {} comparisons, {} second pulls, 0 violations, {:.1} s",
        total.operations,
        total.compared,
        total.second_pulls,
        began.elapsed().as_secs_f64()
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_of_an_emdb_holds_what_the_model_says_after_every_pull() {
    sequences_against(Sort::Emdb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_of_an_emsync_node_holds_what_the_model_says_after_every_pull() {
    sequences_against(Sort::Emsync).await;
}
