//! How long trashed files stay: as long as [`Retention`] says for why they went, less when the disk reserve needs the room, and never a
//! moment longer than a person wants.
//!
//! What went before both of its moments ends unlooked at. In between each file is looked up once: what it stays for does not change,
//! so the next emptying begins where this one ended, unless the settings are others.
//!
//! Bytes go first, then the rows that say what they were; a kill in between leaves rows that the next emptying past their
//! time takes along.

use super::list::nearest;
use super::{Error, blocking, clock};
use crate::catalogue::{Catalogue, Reason};
use crate::config::Retention;
use crate::model::Timestamp;
use crate::monitor::Monitor;
use crate::store::{self, Emptied, Slot, Slots, Store, Trashed};

/// Slots emptied at once.
const SLOTS: usize = 32;
/// Files looked up at once.
const ITEMS: usize = 1_000;
/// Reasons that are kept of files that stay against our will.
const REASONS: usize = 20;

/// Which slots are to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that went before a moment.
    Before(Timestamp),
    /// Those that are past their time at a moment, by why they went.
    Expired(Retention, Timestamp),
    /// The oldest, until so many bytes are freed.
    Room(u64),
}

/// What an emptying did, or would do.
#[derive(Debug, Default)]
pub struct Swept {
    /// Files that ended.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Things that could not be removed.
    pub left: u64,
    /// Why, of the first few.
    pub reasons: Vec<String>,
}

/// Empties slots, oldest first; with `looks_only` it only says which. `seen` is told each file that ends.
///
/// # Errors
/// [`Error`]; what ended until then has ended.
pub async fn sweep(
    store: &Store,
    catalogue: &Catalogue,
    which: Which,
    looks_only: bool,
    seen: &mut (dyn FnMut(&Trashed) -> Result<(), Error> + Send),
) -> Result<Swept, Error> {
    if let Which::Expired(retention, now) = which {
        return sweep_expired(store, catalogue, (retention, now), looks_only, seen).await;
    }
    let mut swept = Swept::default();
    let store = store.clone();
    let mut slots = blocking({
        let store = store.clone();
        move || store.slots()
    })
    .await??;
    loop {
        let (store, so_far) = (store.clone(), swept.bytes);
        let (rest, some, at_end) =
            blocking(move || some(&store, slots, which, so_far, looks_only)).await??;
        slots = rest;
        swept.left += some.left.len() as u64;
        let reasons = some.left.iter().map(store::Error::to_string);
        swept.reasons.extend(reasons);
        swept.reasons.truncate(REASONS);
        for item in &some.gone {
            swept.files += 1;
            swept.bytes = swept.bytes.saturating_add(item.stat.size);
            seen(item)?;
        }
        if !looks_only {
            forget(catalogue, &some.gone).await?;
        }
        if let Some(error) = some.left.into_iter().find(store::Error::stops_the_pass) {
            return Err(error.into());
        }
        if at_end {
            break;
        }
    }
    if let (Which::Before(time), false) = (which, looks_only) {
        let mut batch = catalogue.batch().await?;
        batch.forget_former_before(time).await?;
        batch.commit().await?;
    }
    Ok(swept)
}

/// Ends what is past its time: all that is past both times, and of the rest what is past its own.
async fn sweep_expired(
    store: &Store,
    catalogue: &Catalogue,
    (retention, now): (Retention, Timestamp),
    looks_only: bool,
    seen: &mut (dyn FnMut(&Trashed) -> Result<(), Error> + Send),
) -> Result<Swept, Error> {
    let (versions, others) = retention.cuts(now);
    let (both, one) = (versions.min(others), versions.max(others));
    let which = Which::Before(both);
    let mut swept = Box::pin(sweep(store, catalogue, which, looks_only, seen)).await?;
    if both == one {
        return Ok(swept);
    }
    let judged = catalogue.trash_judged(&retention).await?;
    let from = judged.map_or(both, |judged| judged.max(both));
    let slots = {
        let store = store.clone();
        blocking(move || store.slots()).await??
    };
    let mut slots = Some(slots);
    while let Some(mut rest) = slots.take() {
        let page = store.clone();
        let (rest, items, at_end) = blocking(move || {
            let (mut items, mut at_end) = (Vec::new(), true);
            for slot in rest.by_ref() {
                let Ok(slot) = slot else { continue };
                if slot.when >= one {
                    break;
                }
                if slot.when >= from {
                    items.extend(page.trashed_in(&slot).filter_map(Result::ok));
                }
                if items.len() >= ITEMS {
                    at_end = false;
                    break;
                }
            }
            (rest, items, at_end)
        })
        .await?;
        if !at_end {
            slots = Some(rest);
        }
        let mut gone = Vec::new();
        for item in items {
            let former = nearest(catalogue, &item).await?;
            let is_version = former.is_some_and(|former| former.reason == Reason::Replaced);
            let cut = if is_version { versions } else { others };
            if item.slot.when >= cut {
                continue;
            }
            if !looks_only {
                let (store, one) = (store.clone(), item.clone());
                if let Err(error) = blocking(move || store.empty_one(&one)).await? {
                    swept.left += 1;
                    swept.reasons.push(error.to_string());
                    swept.reasons.truncate(REASONS);
                    continue;
                }
            }
            swept.files += 1;
            swept.bytes = swept.bytes.saturating_add(item.stat.size);
            seen(&item)?;
            gone.push(item);
        }
        if !looks_only {
            forget(catalogue, &gone).await?;
        }
    }
    if !looks_only && swept.left == 0 {
        let mut batch = catalogue.batch().await?;
        batch.note_trash_judged(&retention, one).await?;
        batch.commit().await?;
    }
    Ok(swept)
}

/// Empties the next few slots; answers whether those were the last.
fn some(
    store: &Store,
    mut slots: Slots,
    which: Which,
    so_far: u64,
    looks_only: bool,
) -> Result<(Slots, Emptied, bool), store::Error> {
    let (mut all, mut bytes) = (Emptied::default(), so_far);
    for _ in 0..SLOTS {
        let slot = match slots.next() {
            None => return Ok((slots, all, true)),
            Some(Err(error)) => {
                all.left.push(error);
                continue;
            }
            Some(Ok(slot)) => slot,
        };
        let is_over = match which {
            Which::All => false,
            Which::Before(time) => slot.when >= time,
            Which::Room(wanted) => bytes >= wanted,
            Which::Expired(..) => unreachable!("taken apart before"),
        };
        if is_over {
            return Ok((slots, all, true));
        }
        let one = if looks_only {
            look(store, &slot)
        } else {
            store.empty(&slot)?
        };
        bytes = (one.gone.iter()).fold(bytes, |sum, item| sum.saturating_add(item.stat.size));
        all.gone.extend(one.gone);
        all.left.extend(one.left);
    }
    Ok((slots, all, false))
}

fn look(store: &Store, slot: &Slot) -> Emptied {
    let mut emptied = Emptied::default();
    for item in store.trashed_in(slot) {
        match item {
            Ok(item) => emptied.gone.push(item),
            Err(error) => emptied.left.push(error),
        }
    }
    emptied
}

async fn forget(catalogue: &Catalogue, gone: &[Trashed]) -> Result<(), Error> {
    let mut ids = Vec::with_capacity(gone.len());
    for item in gone {
        ids.extend(nearest(catalogue, item).await?.map(|former| former.id));
    }
    if ids.is_empty() {
        return Ok(());
    }
    let mut batch = catalogue.batch().await?;
    batch.forget_former(&ids).await?;
    Ok(batch.commit().await?)
}

/// Ends what is past its time, with what records were as long ago; nothing while the clock may be wrong. To be called after every run
/// and import.
///
/// # Errors
/// [`Error`].
pub async fn expire(
    store: &Store,
    catalogue: &Catalogue,
    retention: Retention,
    now: Timestamp,
) -> Result<Swept, Error> {
    if !clock::is_believed(catalogue, now).await? {
        return Ok(Swept::default());
    }
    let (versions, _) = retention.cuts(now);
    if catalogue.has_versions_before(versions).await? {
        let mut batch = catalogue.batch().await?;
        batch.forget_versions_before(versions).await?;
        batch.commit().await?;
    }
    if retention == Retention::days(0) {
        return Ok(Swept::default());
    }
    let which = Which::Expired(retention, now);
    let swept = sweep(store, catalogue, which, false, &mut |_| Ok(())).await?;
    if swept.files > 0 {
        tracing::info!(
            files = swept.files,
            bytes = swept.bytes,
            "the trash let go what is past its days"
        );
    }
    for reason in &swept.reasons {
        tracing::warn!("in the trash: {reason}");
    }
    Ok(swept)
}

/// Frees `wanted` bytes for the disk reserve: the oldest trash goes first, as far as needed. When all of it would not do,
/// nothing goes, since that would help nobody. Answers the bytes that were freed.
///
/// # Errors
/// [`Error`].
pub async fn make_room(
    store: &Store,
    catalogue: &Catalogue,
    wanted: u64,
    monitor: &dyn Monitor,
) -> Result<u64, Error> {
    let which = Which::Room(wanted);
    let there = sweep(store, catalogue, which, true, &mut |_| Ok(())).await?;
    if there.bytes < wanted {
        tracing::debug!(
            wanted,
            bytes = there.bytes,
            "the trash is too small to make room"
        );
        return Ok(0);
    }
    let swept = sweep(store, catalogue, which, false, &mut |_| Ok(())).await?;
    let text = format!(
        "limits.reserve needs {wanted} bytes: the {} oldest files of the trash ({} bytes) had to go before their time",
        swept.files, swept.bytes
    );
    monitor.finding(&text);
    tracing::warn!(
        files = swept.files,
        bytes = swept.bytes,
        wanted,
        "the trash made room for the disk reserve"
    );
    Ok(swept.bytes)
}
