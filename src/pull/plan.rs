//! What to do about the files of one asset, decided from three things only: the record, what the peer lists, what is here.
//!
//! Pure: no clock, no I/O. The order of work is decided by the job table (oldest wish first, small and large files in
//! lanes of their own); this decides which wishes there are.

mod mend;
mod moves;
mod renditions;

pub use mend::mend;
pub use renditions::wanted_renditions;

use moves::pair_moves;
use renditions::missing_renditions;

use crate::catalogue::FileRow;
use crate::config::Generated;
use crate::model::job::{FetchJob, RegenerateJob, RemoveJob};
use crate::model::preset::PresetTable;
use crate::model::{Asset, FileKind, Filter, ListedFile, MediaPath, Timestamp};

/// What is wanted of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether originals are fetched.
    pub originals: bool,
    /// Where generated files come from.
    pub generated: Generated,
}

impl Policy {
    /// What is wanted of an asset that a filter leaves out. Without its original a rendition can only be copied.
    #[must_use]
    pub fn left_out(self, filter: &Filter) -> Self {
        Self {
            originals: false,
            generated: if filter.all_renditions && self.generated != Generated::Off {
                Generated::Copy
            } else {
                Generated::Off
            },
        }
    }
}

/// What a peer lists for one asset; `None` where its listing says nothing about that kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Listed<'a> {
    /// Every original, as emsync nodes list them; EMDB leaves them to be derived from the record.
    pub originals: Option<&'a [ListedFile]>,
    /// Every generated file.
    pub generated: Option<&'a [ListedFile]>,
}

/// How much a peer's listing of an asset decides about files that are here. A mirror that is behind lists what it has so far;
/// only the asset's author, or whom we have the record from, can say that a file is old or gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Authority {
    /// Only what is missing here is taken.
    Supplies,
    /// Files are taken and replaced; that one is absent proves nothing.
    Replaces,
    /// The listing is the truth.
    Decides,
}

/// Who else wants the name of a file that belongs to another asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// The owner does not name it any more, or is gone.
    Nobody,
    /// The owner still names it, and is this peer's as well: two records of one file.
    SamePeer,
    /// The owner still names it, and is ours or another peer's.
    Elsewhere,
}

/// What is here.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The asset's own files.
    pub own: &'a [FileRow],
    /// Files under listed names that belong to other assets.
    pub others: &'a [(FileRow, Claim)],
    /// Whether the original that is here was found unrenderable.
    pub unrenderable: bool,
    /// What the listing may do to them.
    pub authority: Authority,
    /// When the last complete listing began: what was noted as absent by then was absent from a whole one.
    pub complete_until: Timestamp,
}

impl<'a> Here<'a> {
    /// The asset's own file of a listed name.
    fn own(&self, file: &ListedFile) -> Option<&'a FileRow> {
        (self.own.iter()).find(|row| row.file.kind == file.kind && row.file.path == file.path)
    }

    /// Files of a listed name that other assets have.
    fn others(&self, file: &ListedFile) -> impl Iterator<Item = (&'a FileRow, Claim)> {
        (self.others.iter().map(|(row, claim)| (row, *claim)))
            .filter(|(row, _)| row.file.kind == file.kind && row.file.path == file.path)
    }
}

/// The wishes of one asset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Files to bring here.
    pub fetch: Vec<FetchJob>,
    /// Renditions to make of an original that is here already.
    pub regenerate: Option<RegenerateJob>,
    /// Files the record no longer names.
    pub remove: Vec<RemoveJob>,
    /// Files the record names and two listings lacked: these pass the guard.
    pub gone: Vec<RemoveJob>,
    /// Files that this listing lacks for the first time.
    pub unlisted: Vec<(FileKind, MediaPath)>,
    /// Files that an earlier listing lacked and this one has.
    pub relisted: Vec<(FileKind, MediaPath)>,
    /// Files that another asset has for this one as well.
    pub shared: Vec<(FileKind, MediaPath)>,
}

/// Decides about one live asset. What is rendered here is rendered by `presets`.
#[must_use]
pub fn plan(
    asset: &Asset,
    listed: Listed<'_>,
    here: Here<'_>,
    policy: Policy,
    presets: &PresetTable,
) -> Plan {
    let mut plan = Plan::default();
    let render = wanted_renditions(asset, listed, policy, presets);
    if policy.originals {
        plan_originals(&mut plan, asset, listed, here, render.as_ref());
    }
    if let (Some(generated), true) = (listed.generated, copies(policy.generated)) {
        plan_generated(&mut plan, asset, generated, here);
    }
    if let Some(render) = render {
        let presets = presets.renditions(asset.format.as_deref());
        plan.regenerate = missing_renditions(&plan, render, here, policy, presets);
    }
    if here.authority > Authority::Supplies {
        mend::add_what_is_not_listed(&mut plan, asset, listed, here, policy, presets);
    }
    limit_to(&mut plan, asset, here);
    plan.shared = shared(&plan, asset, listed, here, policy);
    pair_moves(&mut plan, here);
    plan
}

/// The files that are wanted and left to another asset that has one of the name: when that one loses it, this one inherits it.
fn shared(
    plan: &Plan,
    asset: &Asset,
    listed: Listed<'_>,
    here: Here<'_>,
    policy: Policy,
) -> Vec<(FileKind, MediaPath)> {
    let mut wanted = Vec::new();
    if policy.originals {
        wanted = wanted_originals(asset, listed);
    }
    if copies(policy.generated) {
        wanted.extend(listed.generated.into_iter().flatten().cloned());
    }
    let is_wished = |file: &ListedFile| {
        let mut wishes = plan.fetch.iter();
        wishes.any(|job| job.kind == file.kind && job.path == file.path.as_str())
    };
    let left = wanted.into_iter().filter(|file| {
        here.own(file).is_none() && here.others(file).next().is_some() && !is_wished(file)
    });
    left.map(|file| (file.kind, file.path)).collect()
}

/// Whether a wanted file is what a row says, by the closest thing that is stated of both.
fn states_content_of(job: &FetchJob, row: &FileRow) -> bool {
    match (job.sha256, job.md5, row.file.md5) {
        (Some(sha256), ..) => sha256 == row.file.sha256,
        (None, Some(theirs), Some(ours)) => theirs == ours,
        _ => job.size == Some(row.file.size),
    }
}

/// Takes back what this peer has no say in.
fn limit_to(plan: &mut Plan, asset: &Asset, here: Here<'_>) {
    if here.authority == Authority::Decides {
        return;
    }
    plan.remove.clear();
    plan.gone.clear();
    plan.unlisted.clear();
    let stated = asset.stated_original();
    plan.fetch.retain(|job| {
        // Of other assets' files only one that gives way would be replaced; beside the others there is room.
        let replaced = (here.others.iter())
            .filter(|(_, claim)| match claim {
                Claim::Nobody => true,
                Claim::SamePeer => job.sha256.is_none(),
                Claim::Elsewhere => false,
            })
            .map(|(row, _)| row);
        let row = (here.own.iter().chain(replaced))
            .find(|row| row.file.kind == job.kind && row.file.path.as_str() == job.path);
        match (row, here.authority) {
            (None, _) => true,
            // What it was may come back from anybody.
            (Some(row), _) if row.is_damaged() && states_content_of(job, row) => true,
            (Some(_), Authority::Supplies) => false,
            // What is here is what the record speaks of, whatever this peer has.
            (Some(row), _) => !stated
                .as_ref()
                .is_some_and(|stated| stated.path == row.file.path && stated.is(&row.file)),
        }
    });
    // What was made here of an original that stays gives way to nobody's.
    let brings_original = (plan.fetch.iter()).any(|job| job.kind == FileKind::Original);
    plan.fetch.retain(|job| {
        let mut own = here.own.iter();
        let row = own.find(|row| row.file.kind == job.kind && row.file.path.as_str() == job.path);
        brings_original || row.is_none_or(|row| !row.file.authored || row.is_damaged())
    });
}

/// The originals that the asset should have here: what an emsync peer lists, or what the record says (wire spec 11.2, 5).
#[must_use]
pub fn wanted_originals(asset: &Asset, listed: Listed<'_>) -> Vec<ListedFile> {
    if let Some(originals) = listed.originals {
        return originals
            .iter()
            .filter(|file| !file.path.is_bookkeeping())
            .cloned()
            .collect();
    }
    asset.stated_original().into_iter().collect()
}

fn plan_originals(
    plan: &mut Plan,
    asset: &Asset,
    listed: Listed<'_>,
    here: Here<'_>,
    render: Option<&RegenerateJob>,
) {
    let wanted = wanted_originals(asset, listed);
    for file in &wanted {
        match here.own(file) {
            Some(row) if file.is(&row.file) && !row.is_damaged() => continue,
            // A file of the right content whose owner left it changes hands, or its removal would take it along. Any other
            // stays where it is: of two files of one name the second gets a place of its own.
            Some(_) => {}
            // Two records of one file: were it to change hands, it would in every listing.
            None if (here.others(file)).any(|(row, claim)| {
                claim != Claim::Nobody && file.has_content_of(&row.file)
                    || claim == Claim::SamePeer && is_behind(file, row)
            }) =>
            {
                continue;
            }
            None => {}
        }
        let then = render
            .filter(|render| render.original == file.path.as_str())
            .cloned();
        plan.fetch.push(fetch(file, then));
    }
    for row in here
        .own
        .iter()
        .filter(|row| row.file.kind == FileKind::Original)
    {
        if !asset.names_original(&row.file.path) {
            plan.remove.push(RemoveJob::of(&row.file));
        } else if listed.originals.is_some() {
            // Only a listing that names every original can say that one is gone.
            let is_listed = wanted.iter().any(|file| file.path == row.file.path);
            if judge_absence(plan, row, is_listed, here.complete_until) {
                plan.gone.push(RemoveJob::of(&row.file));
            }
        }
    }
}

/// Whether a record is behind the one that a file is here for. A peer that states no SHA-256 has one file for both; were each
/// to take it by its own date, it would be fetched in every listing. An MD5 that says otherwise still decides.
fn is_behind(stated: &ListedFile, row: &FileRow) -> bool {
    let is_older = (stated.modified)
        .is_some_and(|time| time.whole_second() < row.file.modified.whole_second());
    let differs =
        matches!((stated.md5, row.file.md5), (Some(theirs), Some(ours)) if theirs != ours);
    stated.sha256.is_none() && is_older && !differs
}

fn plan_generated(plan: &mut Plan, asset: &Asset, listed: &[ListedFile], here: Here<'_>) {
    for file in listed.iter().filter(|file| !file.path.is_bookkeeping()) {
        let is_here = match here.own(file) {
            Some(row) => file.is(&row.file) && !row.is_damaged(),
            // One whose owner left it goes with its owner's row, unless it changes hands; a kept one is shared by its content.
            None => (here.others(file))
                .any(|(row, claim)| claim != Claim::Nobody && file.has_content_of(&row.file)),
        };
        if !is_here {
            plan.fetch.push(fetch(file, None));
        }
    }
    for row in here
        .own
        .iter()
        .filter(|row| row.file.kind == FileKind::Generated)
    {
        if row.file.path.below(&asset.source_path).is_none() {
            plan.remove.push(RemoveJob::of(&row.file));
        } else if !row.file.authored {
            let is_listed = listed.iter().any(|file| file.path == row.file.path);
            if judge_absence(plan, row, is_listed, here.complete_until) {
                plan.gone.push(RemoveJob::of(&row.file));
            }
        }
    }
}

/// Absence in one listing is a note, absence in the next one too is a removal (I4); whether it has come to that. A listing
/// that was begun again, or shows an asset twice, is no second one.
fn judge_absence(
    plan: &mut Plan,
    row: &FileRow,
    is_listed: bool,
    complete_until: Timestamp,
) -> bool {
    let name = || (row.file.kind, row.file.path.clone());
    match (is_listed, row.unlisted_at) {
        (true, Some(_)) => plan.relisted.push(name()),
        (false, Some(noted)) => return noted <= complete_until,
        (false, None) => plan.unlisted.push(name()),
        (true, None) => {}
    }
    false
}

fn copies(generated: Generated) -> bool {
    matches!(generated, Generated::Copy | Generated::Auto)
}

fn fetch(file: &ListedFile, then: Option<RegenerateJob>) -> FetchJob {
    FetchJob {
        kind: file.kind,
        path: file.path.as_str().to_owned(),
        size: file.size,
        exact: file.exact,
        modified: file.modified,
        sha256: file.sha256,
        md5: file.md5,
        from: None,
        then,
    }
}

#[cfg(test)]
mod tests;
