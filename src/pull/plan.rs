//! What to do about the files of one asset, decided from three things only: the record, what the peer lists, what is here.
//!
//! Pure: no clock, no I/O. The order of work is decided by the job table (oldest wish first, small and large files in
//! lanes of their own); this decides which wishes there are.

mod mend;

pub use mend::mend;

use crate::catalogue::FileRow;
use crate::config::Generated;
use crate::model::job::{FetchJob, RegenerateJob, RemoveJob};
use crate::model::preset::{image_presets, is_image_format};
use crate::model::{Asset, FileKind, ListedFile, MediaPath, Timestamp};

/// What is wanted of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether originals are fetched.
    pub originals: bool,
    /// Where generated files come from.
    pub generated: Generated,
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

/// Decides about one live asset.
#[must_use]
pub fn plan(asset: &Asset, listed: Listed<'_>, here: Here<'_>, policy: Policy) -> Plan {
    let mut plan = Plan::default();
    let render = wanted_renditions(asset, listed, policy);
    if policy.originals {
        plan_originals(&mut plan, asset, listed, here, render.as_ref());
    }
    if let (Some(generated), true) = (listed.generated, copies(policy.generated)) {
        plan_generated(&mut plan, asset, generated, here);
    }
    if let Some(render) = render {
        plan.regenerate = missing_renditions(&plan, render, here, policy);
    }
    if here.authority > Authority::Supplies {
        mend::add_what_is_not_listed(&mut plan, asset, listed, here, policy);
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

/// Tells each wanted file which of the asset's files that are about to go has its content: then it need not be fetched.
fn pair_moves(plan: &mut Plan, here: Here<'_>) {
    let leaving: Vec<&FileRow> = here
        .own
        .iter()
        .filter(|row| {
            let is_it =
                |job: &RemoveJob| job.kind == row.file.kind && job.path == row.file.path.as_str();
            !row.is_damaged() && plan.remove.iter().any(is_it)
        })
        .collect();
    for job in &mut plan.fetch {
        job.from = former(job, &leaving).map(|row| row.file.path.as_str().to_owned());
    }
}

/// The file that a wanted one was, if exactly one can have been it. The same file name decides between equals.
fn former<'a>(job: &FetchJob, leaving: &[&'a FileRow]) -> Option<&'a FileRow> {
    let may_be = |row: &&&FileRow| {
        let file = &row.file;
        let same_time = job
            .modified
            .is_some_and(|time| time.whole_second() == file.modified.whole_second());
        let is_vouched = job.sha256.is_some() || job.md5.is_some() && file.md5.is_some();
        file.kind == job.kind && states_content_of(job, row) && (is_vouched || same_time)
    };
    let name = job.path.rsplit('/').next();
    let found: Vec<_> = leaving.iter().filter(may_be).copied().collect();
    let mut same_name = found
        .iter()
        .filter(|row| Some(row.file.path.name()) == name);
    match (same_name.next(), found.as_slice()) {
        (Some(row), _) => Some(row),
        (None, [row]) => Some(row),
        (None, [first, ..]) if job.sha256.is_some() => Some(first),
        _ => None,
    }
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
            (Some(row), _) if row.is_damaged() => states_content_of(job, row),
            (Some(_), Authority::Supplies) => false,
            // What is here is what the record speaks of, whatever this peer has.
            (Some(row), _) => !stated
                .as_ref()
                .is_some_and(|stated| stated.path == row.file.path && stated.is(&row.file)),
        }
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
            plan.remove.push(remove(row));
        } else if listed.originals.is_some() {
            // Only a listing that names every original can say that one is gone.
            let is_listed = wanted.iter().any(|file| file.path == row.file.path);
            if judge_absence(plan, row, is_listed, here.complete_until) {
                plan.gone.push(remove(row));
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
            plan.remove.push(remove(row));
        } else if !row.file.authored {
            let is_listed = listed.iter().any(|file| file.path == row.file.path);
            if judge_absence(plan, row, is_listed, here.complete_until) {
                plan.gone.push(remove(row));
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

/// What this node should derive itself: everything under `rebuild`; under `auto` where the author is done and lists nothing.
fn wanted_renditions(asset: &Asset, listed: Listed<'_>, policy: Policy) -> Option<RegenerateJob> {
    let renderable = !asset.is_folder
        && !asset.unrenderable
        && asset.format.as_deref().is_some_and(is_image_format);
    if !renderable {
        return None;
    }
    // An author that lists anything renders by its own presets, which need not be ours: what it made is copied, not completed.
    let authored_there = listed.generated.is_none_or(|files| !files.is_empty());
    let by_us = match policy.generated {
        Generated::Rebuild => true,
        Generated::Auto => !authored_there && !asset.unfinished,
        Generated::Copy | Generated::Off => false,
    };
    if !by_us {
        return None;
    }
    let presets = image_presets()
        .into_iter()
        .map(|preset| preset.id.as_str().to_owned())
        .collect();
    let original = asset.original()?.as_str().to_owned();
    Some(RegenerateJob {
        original,
        output_dir: asset.source_path.as_str().to_owned(),
        presets,
    })
}

/// Of the wanted renditions, those that can be made right away because the original is here and current.
fn missing_renditions(
    plan: &Plan,
    mut render: RegenerateJob,
    here: Here<'_>,
    policy: Policy,
) -> Option<RegenerateJob> {
    let on_its_way = plan
        .fetch
        .iter()
        .any(|job| job.kind == FileKind::Original && job.path == render.original);
    let original_here = here.own.iter().any(|row| {
        let file = &row.file;
        file.kind == FileKind::Original
            && file.path.as_str() == render.original
            && !row.is_damaged()
    });
    if on_its_way || !original_here || here.unrenderable {
        return None;
    }
    let made = |preset: &str| {
        let name = image_presets()
            .into_iter()
            .find(|known| known.id.as_str() == preset)
            .map(|known| known.file_name);
        name.is_some_and(|name| {
            let path = format!("{}/{name}", render.output_dir);
            let row = here
                .own
                .iter()
                .find(|row| row.file.kind == FileKind::Generated && row.file.path.as_str() == path);
            row.filter(|row| !row.is_damaged())
                .is_some_and(|row| row.file.authored || policy.generated != Generated::Rebuild)
        })
    };
    let presets: Vec<String> = render
        .presets
        .iter()
        .filter(|preset| !made(preset))
        .cloned()
        .collect();
    render.presets = presets;
    (!render.presets.is_empty()).then_some(render)
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

fn remove(row: &FileRow) -> RemoveJob {
    RemoveJob {
        kind: row.file.kind,
        path: row.file.path.as_str().to_owned(),
        sha256: row.file.sha256,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{AssetId, MediaFile, Sha256};

    const POLICY: Policy = Policy {
        originals: true,
        generated: Generated::Auto,
    };

    const COMPLETE: Timestamp = Timestamp::from_millis(1_000);

    fn path(text: &str) -> MediaPath {
        MediaPath::new(text).unwrap()
    }

    fn asset(at: &str) -> Asset {
        Asset {
            id: AssetId::new("a1").unwrap(),
            source_path: path(at),
            archive_path: None,
            is_folder: false,
            primary_file: None,
            size: Some(3),
            modified: Some(Timestamp::from_millis(5_000)),
            md5: None,
            format: Some("jpg".to_owned()),
            marked_deleted: false,
            unrenderable: false,
            unfinished: false,
        }
    }

    fn listed(kind: FileKind, at: &str, content: &str) -> ListedFile {
        ListedFile {
            kind,
            path: path(at),
            size: Some(content.len() as u64),
            modified: Some(Timestamp::from_millis(5_000)),
            sha256: Some(Sha256::of(content.as_bytes())),
            md5: None,
            exact: true,
        }
    }

    fn row(file: &ListedFile, owner: &str) -> FileRow {
        FileRow {
            file: MediaFile {
                kind: file.kind,
                path: file.path.clone(),
                place: None,
                asset: AssetId::new(owner).unwrap(),
                size: file.size.unwrap(),
                modified: file.modified.unwrap(),
                sha256: file.sha256.unwrap(),
                md5: None,
                authored: false,
            },
            received_at: Timestamp::EPOCH,
            unlisted_at: None,
            damaged_at: None,
        }
    }

    fn five(at: &str, content: &str) -> Vec<ListedFile> {
        image_presets()
            .iter()
            .map(|preset| {
                listed(
                    FileKind::Generated,
                    &format!("{at}/{}", preset.file_name),
                    content,
                )
            })
            .collect()
    }

    fn run(
        asset: &Asset,
        originals: &[ListedFile],
        generated: &[ListedFile],
        own: &[FileRow],
        policy: Policy,
    ) -> Plan {
        let listed = Listed {
            originals: Some(originals),
            generated: Some(generated),
        };
        plan(
            asset,
            listed,
            Here {
                own,
                others: &[],
                authority: Authority::Decides,
                complete_until: COMPLETE,
                unrenderable: false,
            },
            policy,
        )
    }

    #[test]
    fn a_new_asset_wants_everything_that_is_listed_and_nothing_else() {
        let original = listed(FileKind::Original, "x/a.jpg", "one");
        let generated = five("x/a.jpg", "g");
        let plan = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &generated,
            &[],
            POLICY,
        );
        assert_eq!(plan.fetch.len(), 6);
        assert!(
            plan.fetch.iter().all(|job| job.then.is_none()),
            "what the author lists was to be made here as well"
        );
        assert_eq!((plan.remove.len(), plan.regenerate), (0, None));
    }

    #[test]
    fn an_equal_asset_wants_nothing() {
        let original = listed(FileKind::Original, "x/a.jpg", "one");
        let generated = five("x/a.jpg", "g");
        let own: Vec<_> = generated
            .iter()
            .chain([&original])
            .map(|file| row(file, "a1"))
            .collect();
        assert_eq!(
            run(&asset("x/a.jpg"), &[original], &generated, &own, POLICY),
            Plan::default()
        );
    }

    #[test]
    fn a_moved_asset_fetches_its_new_names_and_removes_its_old_ones() {
        let own: Vec<_> = [listed(FileKind::Original, "x/a.jpg", "one")]
            .iter()
            .chain(&five("x/a.jpg", "g"))
            .map(|file| row(file, "a1"))
            .collect();
        let plan = run(
            &asset("y/b.jpg"),
            &[listed(FileKind::Original, "y/b.jpg", "one")],
            &five("y/b.jpg", "g"),
            &own,
            POLICY,
        );
        assert_eq!((plan.fetch.len(), plan.remove.len()), (6, 6));
        assert!(
            plan.remove
                .iter()
                .all(|job| job.path.starts_with("x/a.jpg"))
        );
    }

    #[test]
    fn a_file_must_be_absent_from_two_listings_before_it_goes() {
        let original = listed(FileKind::Original, "x/a.jpg", "one");
        let generated = five("x/a.jpg", "g");
        let mut own: Vec<_> = generated
            .iter()
            .chain([&original])
            .map(|file| row(file, "a1"))
            .collect();
        let first = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &generated[1..],
            &own,
            Policy {
                generated: Generated::Copy,
                ..POLICY
            },
        );
        assert_eq!((first.unlisted.len(), first.gone.len()), (1, 0));
        own[0].unlisted_at = Some(COMPLETE.plus(std::time::Duration::from_millis(1)));
        let same = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &generated[1..],
            &own,
            Policy {
                generated: Generated::Copy,
                ..POLICY
            },
        );
        assert_eq!(same, Plan::default(), "the first listing was not over");
        own[0].unlisted_at = Some(COMPLETE);
        let second = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &generated[1..],
            &own,
            Policy {
                generated: Generated::Copy,
                ..POLICY
            },
        );
        assert_eq!((second.unlisted.len(), second.gone.len()), (0, 1));
        let back = run(&asset("x/a.jpg"), &[original], &generated, &own, POLICY);
        assert_eq!((back.relisted.len(), back.gone.len()), (1, 0));
    }

    #[test]
    fn renditions_the_author_lacks_are_made_here_once_the_original_is_here() {
        let original = listed(FileKind::Original, "x/a.jpg", "one");
        let arriving = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &[],
            &[],
            POLICY,
        );
        assert_eq!(
            arriving.fetch[0].then.as_ref().map(|job| job.presets.len()),
            Some(5)
        );
        let own = [row(&original, "a1")];
        let here = run(
            &asset("x/a.jpg"),
            std::slice::from_ref(&original),
            &[],
            &own,
            POLICY,
        );
        assert_eq!(
            (
                here.fetch.len(),
                here.regenerate.map(|job| job.presets.len())
            ),
            (0, Some(5))
        );
        let broken = Here {
            own: &own,
            others: &[],
            unrenderable: true,
            authority: Authority::Decides,
            complete_until: COMPLETE,
        };
        let list = Listed {
            originals: Some(std::slice::from_ref(&original)),
            generated: Some(&[]),
        };
        assert_eq!(
            plan(&asset("x/a.jpg"), list, broken, POLICY).regenerate,
            None
        );
    }

    #[test]
    fn an_emdb_original_is_derived_from_its_record() {
        let mut folder = asset("Folders/Set1");
        folder.is_folder = true;
        folder.primary_file = Some(path("page1.jpg"));
        let wanted = wanted_originals(&folder, Listed::default());
        assert_eq!(wanted[0].path.as_str(), "Folders/Set1/page1.jpg");
        assert!(!wanted[0].exact);
        let mut link = asset("x/video");
        (link.size, link.modified, link.format) = (None, None, None);
        assert!(wanted_originals(&link, Listed::default()).is_empty());
    }

    fn of_another(content: &str, claim: Claim) -> Plan {
        let original = listed(FileKind::Original, "x/a.jpg", "one");
        let others = [(
            row(&listed(FileKind::Original, "x/a.jpg", content), "a2"),
            claim,
        )];
        let here = Here {
            own: &[],
            others: &others,
            unrenderable: false,
            authority: Authority::Decides,
            complete_until: COMPLETE,
        };
        let list = Listed {
            originals: Some(std::slice::from_ref(&original)),
            generated: None,
        };
        plan(&asset("x/a.jpg"), list, here, POLICY)
    }

    #[test]
    fn a_file_that_changes_hands_is_claimed_though_its_content_is_right() {
        assert_eq!(of_another("one", Claim::Nobody).fetch.len(), 1);
    }

    #[test]
    fn two_records_of_one_file_do_not_take_it_from_each_other() {
        for claim in [Claim::SamePeer, Claim::Elsewhere] {
            let plan = of_another("one", claim);
            assert_eq!((plan.fetch.len(), plan.shared.len()), (0, 1));
        }
        assert_eq!(of_another("two", Claim::SamePeer).fetch.len(), 1);
    }

    #[test]
    fn of_two_records_of_one_file_the_one_with_the_older_date_waits() {
        let mut record = asset("x/a.jpg");
        let mut here = row(&listed(FileKind::Original, "x/a.jpg", "one"), "a2");
        let mut wanted = |by: i64, claim| {
            record.modified = Some(here.file.modified.plus(std::time::Duration::from_secs(10)));
            here.file.modified = Timestamp::from_millis(record.modified.unwrap().as_millis() + by);
            let others = [(here.clone(), claim)];
            let here = Here {
                own: &[],
                others: &others,
                unrenderable: false,
                authority: Authority::Decides,
                complete_until: COMPLETE,
            };
            plan(&record, Listed::default(), here, POLICY).fetch.len()
        };
        assert_eq!(wanted(2_000, Claim::SamePeer), 0);
        assert_eq!(wanted(-2_000, Claim::SamePeer), 1);
        assert_eq!(wanted(2_000, Claim::Elsewhere), 1, "that is another file");
    }

    #[test]
    fn a_rendition_of_two_records_is_shared_by_its_content_and_goes_to_who_still_names_it() {
        let rendition = listed(FileKind::Generated, "x/a.jpg/t.webp", "g");
        let mut here = row(&rendition, "a2");
        here.file.modified = Timestamp::from_millis(9_000);
        let list = Listed {
            originals: Some(&[]),
            generated: Some(std::slice::from_ref(&rendition)),
        };
        let wanted = |claim| {
            let others = [(here.clone(), claim)];
            let here = Here {
                own: &[],
                others: &others,
                unrenderable: false,
                authority: Authority::Decides,
                complete_until: COMPLETE,
            };
            plan(&asset("x/a.jpg"), list, here, POLICY).fetch.len()
        };
        assert_eq!(wanted(Claim::SamePeer), 0);
        assert_eq!(wanted(Claim::Elsewhere), 0);
        assert_eq!(wanted(Claim::Nobody), 1);
    }

    #[test]
    fn a_name_that_another_asset_keeps_is_fetched_to_lie_beside_it() {
        assert_eq!(of_another("two", Claim::Elsewhere).fetch.len(), 1);
    }

    #[test]
    fn who_does_not_decide_replaces_little_and_removes_nothing() {
        let own = [
            row(&listed(FileKind::Original, "x/a.jpg", "one"), "a1"),
            row(&listed(FileKind::Generated, "x/a.jpg/gone.webp", "g"), "a1"),
            row(&listed(FileKind::Original, "y/old.jpg", "old"), "a1"),
        ];
        let mut own = own.to_vec();
        own[1].unlisted_at = Some(Timestamp::EPOCH);
        let originals = [listed(FileKind::Original, "x/a.jpg", "two")];
        let generated = [listed(FileKind::Generated, "x/a.jpg/new.webp", "n")];
        let say = |authority| {
            let list = Listed {
                originals: Some(&originals),
                generated: Some(&generated),
            };
            let here = Here {
                own: &own,
                others: &[],
                unrenderable: false,
                authority,
                complete_until: COMPLETE,
            };
            let policy = Policy {
                generated: Generated::Copy,
                ..POLICY
            };
            let plan = plan(&asset("x/a.jpg"), list, here, policy);
            let paths: Vec<_> = plan.fetch.into_iter().map(|job| job.path).collect();
            (paths.join(" "), plan.remove.len() + plan.gone.len())
        };
        let (new, both) = ("x/a.jpg/new.webp", "x/a.jpg x/a.jpg/new.webp");
        assert_eq!(say(Authority::Decides), (both.to_owned(), 2));
        // Size and time are as the record says, so this is the original it speaks of.
        assert_eq!(say(Authority::Replaces), (new.to_owned(), 0));
        assert_eq!(say(Authority::Supplies), (new.to_owned(), 0));
    }

    #[test]
    fn without_a_sha256_time_size_and_md5_decide_as_far_as_they_are_known() {
        let mut file = listed(FileKind::Generated, "x/a.jpg/t.webp", "one");
        let here = row(&file, "a1");
        file.sha256 = None;
        assert!(file.is(&here.file));
        file.modified = Some(Timestamp::from_millis(5_999));
        assert!(file.is(&here.file), "EMDB compares whole seconds");
        file.modified = Some(Timestamp::from_millis(6_000));
        assert!(!file.is(&here.file));
        file.modified = None;
        file.size = Some(9);
        assert!(!file.is(&here.file));
        file.exact = false;
        assert!(file.is(&here.file), "a record's size is a hint");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Doing what the plan says leaves nothing to do (I5), and never removes what is listed (I4).
        #[test]
        fn a_plan_carried_out_is_a_plan_fulfilled(names in prop::collection::btree_set("[ab]{1,2}", 0..4),
                                                  here_names in prop::collection::btree_set("[ab]{1,2}", 0..4),
                                                  content in "[xy]", old in "[xy]") {
            let asset = asset("s/a.jpg");
            let policy = Policy { originals: true, generated: Generated::Copy };
            let original = [listed(FileKind::Original, "s/a.jpg", &content)];
            let generated: Vec<_> = names.iter().map(|name| listed(FileKind::Generated, &format!("s/a.jpg/{name}"), &content)).collect();
            let mut own: Vec<_> =
                here_names.iter().map(|name| row(&listed(FileKind::Generated, &format!("s/a.jpg/{name}"), &old), "a1")).collect();
            for _ in 0..2 {
                let plan = run(&asset, &original, &generated, &own, policy);
                for job in plan.remove.iter().chain(&plan.gone) {
                    prop_assert!(!generated.iter().any(|file| file.path.as_str() == job.path));
                    own.retain(|row| row.file.path.as_str() != job.path);
                }
                for (_, path) in &plan.unlisted {
                    own.iter_mut().filter(|row| row.file.path == *path).for_each(|row| row.unlisted_at = Some(Timestamp::EPOCH));
                }
                for job in &plan.fetch {
                    let file = generated.iter().chain(&original).find(|file| file.path.as_str() == job.path).unwrap();
                    own.retain(|row| row.file.path != file.path || row.file.kind != file.kind);
                    own.push(row(file, "a1"));
                }
            }
            prop_assert_eq!(run(&asset, &original, &generated, &own, policy), Plan::default());
            prop_assert_eq!(own.len(), generated.len() + 1);
        }
    }
}
