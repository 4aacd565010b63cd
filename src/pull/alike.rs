//! Whether everything that a peer lists is here already, told by digests (`protocol::digests`) instead of by listing it.
//!
//! ```text
//! nothing open:  no job of the peer, no note of an absence, no damage; everything was last planned by the rules of today
//! tables here ┐
//!             ├─ each table that the peer lists has the tag that ours has, and nothing here is odd
//! peer's tags ┘
//! ```
//!
//! A tag covers what a complete listing says of a table: every record with its dates and its content, every tombstone, every file
//! with its size, date and digests. Equal tags, then, are as good as a listing in which each record is the one that is here: by the
//! conflict rule nothing is stored, and what is planned from the same record, the same listing and the same files by the same
//! rules was planned before. What is left of it is settled, or it would be open. So the checkpoint may move to the moment before
//! the question (I2), and nothing is absent at that moment.
//!
//! Only that everything is equal is ever concluded here. Anything else, a peer that answers nonsense included, is answered by a
//! listing: no delete follows from a digest (I4).

use std::collections::HashMap;

use super::{Error, Policy, Pull};
use crate::catalogue::{Batch, Catalogue, TableSum};
use crate::config::Generated;
use crate::error::{Class, chain};
use crate::model::preset::PresetTable;
use crate::model::{Module, Selection, Sha256};
use crate::peer::Peer;

/// What is equal here and there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alike {
    /// Live assets.
    pub live_assets: u64,
}

/// How much of what is here must be listed by the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What the peer lists is here; there may be tables that only we have.
    Theirs,
    /// And everything that is here is listed by the peer.
    Both,
}

/// What decides, besides records, listings and files, what a listing leads to: another policy, other presets or another program may
/// want something of records that have not changed at all.
pub(super) fn rules(pull: &Pull) -> Sha256 {
    rules_of(&wanted_text(pull.policy, &pull.selection()), &pull.presets)
}

fn rules_of(wanted: &str, presets: &PresetTable) -> Sha256 {
    let mut text = format!("{}\n{wanted}", env!("CARGO_PKG_VERSION"));
    for preset in presets.all_renditions() {
        text.push_str(&format!("\n{} {}", preset.id, preset.file_name));
    }
    // A program that was installed since lets us make what was copied before.
    for format in presets.by_programs() {
        text.push_str(&format!("\n+ {format}"));
    }
    Sha256::of(text.as_bytes())
}

/// Which files are wanted of a peer, whoever makes them.
fn wanted_text(policy: Policy, selection: &Selection) -> String {
    let generated = match policy.generated {
        Generated::Copy => "copy",
        Generated::Rebuild => "rebuild",
        Generated::Auto => "auto",
        Generated::Off => "off",
    };
    format!("{}\n{generated}{}", policy.originals, selection.identity())
}

/// Forgets that everything was planned, if that was by other rules than those of this run.
pub(super) async fn plan_by_rules(pull: &Pull) -> Result<(), Error> {
    let (peer, rules) = (pull.peer.name(), rules(pull));
    if !pull.catalogue.was_planned_otherwise(peer, &rules).await? {
        return Ok(());
    }
    let mut batch = pull.catalogue.batch().await?;
    batch.plan_by(peer, &rules).await?;
    Ok(batch.commit().await?)
}

/// Under which name is noted which files were wanted when everything was last listed; no peer is called so.
fn wanted_of(peer: &str) -> String {
    format!("{peer} wanted")
}

/// The policy and the filter alone: another version, preset or program is no reason to list a whole archive.
fn wanted(pull: &Pull) -> Sha256 {
    Sha256::of(wanted_text(pull.policy, &pull.selection()).as_bytes())
}

/// Whether other files are wanted now than when everything was last listed: of records that have not changed for years.
///
/// # Errors
/// The catalogue's.
pub async fn wants_otherwise(pull: &Pull) -> Result<bool, Error> {
    let name = wanted_of(pull.peer.name());
    Ok((pull.catalogue.was_planned_otherwise(&name, &wanted(pull))).await?)
}

/// Files that a selection leaves out are about to go: unless everything was last listed for that selection, whatever is wanted next has
/// to be looked for in a listing of everything, since what was wanted then is not all here any more.
///
/// # Errors
/// The catalogue's.
pub async fn give_up_all_but(
    catalogue: &Catalogue,
    peer: &str,
    policy: Policy,
    selection: &Selection,
) -> Result<(), Error> {
    let (name, kept) = (wanted_of(peer), wanted_text(policy, selection));
    if !(catalogue.was_planned_otherwise(&name, &Sha256::of(kept.as_bytes()))).await? {
        return Ok(());
    }
    let mut batch = catalogue.batch().await?;
    // What nothing is ever wanted by.
    batch.begin_everything_by(&name, &Sha256::of(b"")).await?;
    Ok(batch.commit().await?)
}

/// A listing of everything begins.
pub(super) async fn begin_everything(pull: &Pull, batch: &mut Batch) -> Result<(), Error> {
    let peer = pull.peer.name();
    batch.begin_everything_by(peer, &rules(pull)).await?;
    let name = wanted_of(peer);
    Ok(batch.begin_everything_by(&name, &wanted(pull)).await?)
}

/// A listing of everything is over.
pub(super) async fn end_everything(pull: &Pull, batch: &mut Batch) -> Result<(), Error> {
    let peer = pull.peer.name();
    batch.end_everything(peer).await?;
    Ok(batch.end_everything(&wanted_of(peer)).await?)
}

/// Whether a listing of what is here already would lead to nothing.
///
/// # Errors
/// The catalogue's.
pub async fn is_settled(pull: &Pull) -> Result<bool, Error> {
    let (catalogue, peer) = (&pull.catalogue, pull.peer.name());
    Ok(catalogue.was_planned_by(peer, &rules(pull)).await?
        && !catalogue.has_open_ends(peer).await?)
}

/// Whether to find out by digests costs less than a listing of so many records: changed stretches have to be read for it.
pub(super) async fn is_worth_it(pull: &Pull, listed: u64) -> Result<bool, Error> {
    let mut unread = 0;
    for table in pull.catalogue.tables().await? {
        unread += pull.catalogue.unread_records(&table).await?;
    }
    Ok(unread <= listed)
}

/// Asks a peer that tells digests. `None` when something differs, or cannot be told; then a listing tells.
///
/// # Errors
/// The catalogue's, and [`Error::Cancelled`].
pub async fn ask(pull: &Pull, extent: Extent) -> Result<Option<Alike>, Error> {
    if !is_settled(pull).await? {
        return Ok(None);
    }
    // Each side reads what changed since it was last asked, at the same time.
    let mut nothing = ();
    let (own, theirs) = tokio::join!(
        own_tables(pull),
        pull.peer
            .patiently(pull.patience(), &mut nothing, Peer::table_tags)
    );
    let Some(own) = own? else { return Ok(None) };
    let theirs = match theirs {
        Ok(theirs) => theirs,
        Err(error) if error.class() == Class::Cancelled => return Err(error.into()),
        Err(error) => {
            tracing::warn!(peer = pull.peer.name(), reason = %chain(&error), "digests are of no use; records are listed");
            return Ok(None);
        }
    };
    let is_whole = extent == Extent::Theirs || own.len() == theirs.len();
    let is_equal = |(table, tag): &(Module, _)| {
        (own.get(table)).is_some_and(|own| own.tag == *tag && !own.is_odd)
    };
    if !is_whole || theirs.is_empty() || !theirs.iter().all(is_equal) || !is_settled(pull).await? {
        return Ok(None);
    }
    let assets = own.get(&Module::asset());
    Ok(assets.map(|assets| Alike {
        live_assets: assets.counts[0],
    }))
}

async fn own_tables(pull: &Pull) -> Result<Option<HashMap<Module, TableSum>>, Error> {
    let mut tables = HashMap::new();
    for table in pull.catalogue.tables().await? {
        let Some(sum) = pull.catalogue.table_sum(&table).await? else {
            return Ok(None);
        };
        tables.insert(table, sum);
    }
    Ok(Some(tables))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::Shipped;

    #[test]
    fn every_policy_with_every_set_of_presets_and_programs_is_a_rule_of_its_own() {
        let mut all = std::collections::HashSet::new();
        let everything = Selection::default();
        for originals in [true, false] {
            for generated in [
                Generated::Copy,
                Generated::Rebuild,
                Generated::Auto,
                Generated::Off,
            ] {
                for set in [Shipped::Webp, Shipped::Jpg] {
                    let policy = Policy {
                        originals,
                        generated,
                    };
                    let table = PresetTable::shipped(set);
                    let wanted = wanted_text(policy, &everything);
                    all.insert(rules_of(&wanted, &table));
                    all.insert(rules_of(&wanted, &table.with_programs_for(["heic"])));
                }
            }
        }
        assert_eq!(all.len(), 32);
    }
}
