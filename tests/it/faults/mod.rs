//! Everything that can go wrong between us and a peer, as data: each entry of the fault catalogue is declared in
//! [`catalogue`], exercised by at least one named case of [`transport`], [`listing`] or [`state`], and held to the invariants
//! after every pass. Beside them a random mix of content and faults ([`random`]).
//!
//! ```text
//! EMSYNC_FAULT_SEEDS=20000   so many seeds of the random mix, instead of as many as fit 20 s
//! EMSYNC_FAULT_SEED=123      this seed alone: what a failing one prints
//! EMSYNC_FAULT_CASE=text     only cases whose name or entry contains the text
//! EMSYNC_FAULT_LOG=1         the log on stderr
//! ```

mod case;
mod catalogue;
mod faulty;
mod invariants;
mod listing;
mod names;
mod random;
mod replies;
mod server;
mod state;
mod tls;
mod transport;
mod twice;
mod world;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use case::Case;
use catalogue::{Entry, Group};
use futures_util::StreamExt as _;

use crate::support::said::say;

/// Cases that run at once; most of them wait.
const AT_ONCE: usize = 8;
/// Cases that take longer are named.
const SLOW: Duration = Duration::from_secs(2);

fn cases(group: Group) -> Vec<Case> {
    match group {
        Group::Transport => transport::cases(),
        Group::Listing => listing::cases().into_iter().chain(names::cases()).collect(),
        Group::State => state::cases(),
    }
}

/// Runs every case of a group, each to its end whatever becomes of the others.
async fn run(group: Group) {
    let only = std::env::var("EMSYNC_FAULT_CASE").unwrap_or_default();
    let cases = cases(group).into_iter().filter(|case| {
        let entry = format!("{:?} {}", case.entry, case.entry.words());
        case.name.contains(&only) || entry.contains(&only)
    });
    let mut exercised = BTreeSet::new();
    let mut failed = Vec::new();
    let mut ran = 0;
    let (pending, cases): (Vec<_>, Vec<_>) =
        cases.partition(|case| state::PENDING.contains(&case.name));
    for case in &pending {
        say(&format!("pending: {:?}: {}", case.entry, case.name));
    }
    let pending: BTreeSet<Entry> = pending.iter().map(|case| case.entry).collect();
    let mut running = futures_util::stream::iter(cases)
        .map(|case| {
            let (entry, name) = (case.entry, case.name);
            let began = Instant::now();
            let run = tokio::spawn(case::run(case));
            async move { (entry, name, run.await, began.elapsed()) }
        })
        .buffer_unordered(AT_ONCE);
    while let Some((entry, name, result, took)) = running.next().await {
        if took > SLOW {
            say(&format!("{took:?}: {entry:?}: {name}"));
        }
        ran += 1;
        exercised.insert(entry);
        if let Err(panic) = result {
            let panic = panic.into_panic();
            let said = panic.downcast_ref::<String>().cloned();
            let said = said.or(panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            failed.push(format!(
                "{entry:?}: {name}\n    {}",
                said.unwrap_or_default()
            ));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {ran} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
    let declared = Entry::ALL.iter().filter(|entry| entry.group() == group);
    let declared: BTreeSet<Entry> = declared.copied().collect();
    say(&format!(
        "{group:?}: {ran} cases, {} of {} declared entries exercised, {} pending",
        exercised.len(),
        declared.len(),
        pending.difference(&exercised).count()
    ));
    let accounted: BTreeSet<Entry> = exercised.union(&pending).copied().collect();
    assert!(
        !only.is_empty() || accounted == declared,
        "missing: {:?}",
        declared.difference(&accounted)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_the_transport_ends_as_it_must() {
    run(Group::Transport).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_listing_ends_as_it_must() {
    run(Group::Listing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_state_of_a_master_ends_as_it_must() {
    run(Group::State).await;
}

#[test]
fn every_declared_fault_has_a_case() {
    let all = [Group::Transport, Group::Listing, Group::State].map(cases);
    let cases: Vec<&Case> = all.iter().flatten().collect();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases of one name");
    let exercised: BTreeSet<Entry> = cases.iter().map(|case| case.entry).collect();
    let declared: BTreeSet<Entry> = Entry::ALL.iter().copied().collect();
    assert_eq!(
        declared.difference(&exercised).collect::<Vec<_>>(),
        Vec::<&Entry>::new()
    );
    say(&format!(
        "{} entries declared, {} exercised by {} cases",
        declared.len(),
        exercised.len(),
        cases.len()
    ));
}
