//! What to do about files that are damaged here: each is wanted as its row says it was.

use super::{Here, Listed, Plan, Policy, copies, fetch};
use crate::catalogue::FileRow;
use crate::config::Generated;
use crate::model::job::{FetchJob, RegenerateJob};
use crate::model::preset::image_presets;
use crate::model::{Asset, FileKind, ListedFile, MediaFile};

/// The wishes for what is damaged of an asset, when there is no listing of it at hand: each file as its row says it was.
#[must_use]
pub fn mend(asset: &Asset, own: &[FileRow], unrenderable: bool, policy: Policy) -> Plan {
    let mut plan = Plan::default();
    let mut presets = Vec::new();
    for row in own.iter().filter(|row| row.is_damaged()) {
        let file = &row.file;
        let is_wanted = match file.kind {
            FileKind::Original => policy.originals,
            FileKind::Generated => copies(policy.generated) && !file.authored,
        };
        if !asset.names(file.kind, &file.path) {
            // It goes, or is brought here under its new name.
        } else if is_wanted {
            plan.fetch.push(fetch(&as_it_was(file), None));
        } else if file.authored && !unrenderable && policy.generated != Generated::Off {
            presets.extend(preset_of(file));
        }
    }
    let original = asset.original().filter(|_| !presets.is_empty());
    let render = original.map(|original| RegenerateJob {
        original: original.as_str().to_owned(),
        output_dir: asset.source_path.as_str().to_owned(),
        presets,
    });
    let Some(render) = render else { return plan };
    let is_it = |path: &str| path == render.original;
    let coming = plan
        .fetch
        .iter_mut()
        .find(|job| job.kind == FileKind::Original && is_it(&job.path));
    if let Some(coming) = coming {
        coming.then = Some(render);
    } else if (own.iter()).any(|row| {
        row.file.kind == FileKind::Original && is_it(row.file.path.as_str()) && !row.is_damaged()
    }) {
        plan.regenerate = Some(render);
    }
    plan
}

/// What a peer that has the file would list.
fn as_it_was(file: &MediaFile) -> ListedFile {
    ListedFile {
        kind: file.kind,
        path: file.path.clone(),
        size: Some(file.size),
        modified: Some(file.modified),
        sha256: Some(file.sha256),
        md5: file.md5,
        exact: true,
    }
}

/// The id of the preset that a rendition was made by.
fn preset_of(file: &MediaFile) -> Option<String> {
    let made_by = image_presets()
        .into_iter()
        .find(|preset| preset.file_name == file.path.name());
    made_by.map(|preset| preset.id.as_str().to_owned())
}

/// Adds the wishes for damaged files of a kind that the listing says nothing about.
pub(super) fn add_what_is_not_listed(
    plan: &mut Plan,
    asset: &Asset,
    listed: Listed<'_>,
    here: Here<'_>,
    policy: Policy,
) {
    let mended = mend(asset, here.own, here.unrenderable, policy);
    for job in mended.fetch {
        let is_listed = match job.kind {
            FileKind::Original => listed.originals.is_some(),
            FileKind::Generated => listed.generated.is_some(),
        };
        let is_wished =
            |wish: &FetchJob| (wish.kind, wish.path.as_str()) == (job.kind, job.path.as_str());
        if !is_listed && !plan.fetch.iter().any(is_wished) {
            plan.fetch.push(job);
        }
    }
    if listed.generated.is_none() {
        plan.regenerate = plan.regenerate.take().or(mended.regenerate);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Authority, plan};
    use super::*;
    use crate::model::{AssetId, MediaPath, Sha256, Timestamp};

    const POLICY: Policy = Policy {
        originals: true,
        generated: Generated::Auto,
    };
    const ORIGINAL: &str = "x/a.jpg";

    fn asset() -> Asset {
        Asset {
            id: AssetId::new("a1").unwrap(),
            source_path: MediaPath::new(ORIGINAL).unwrap(),
            archive_path: None,
            is_folder: false,
            primary_file: None,
            size: None,
            modified: None,
            md5: None,
            format: Some("jpg".to_owned()),
            marked_deleted: false,
            unrenderable: false,
            unfinished: false,
        }
    }

    fn row(kind: FileKind, path: &str, is_damaged: bool) -> FileRow {
        FileRow {
            file: MediaFile {
                kind,
                path: MediaPath::new(path).unwrap(),
                place: None,
                asset: AssetId::new("a1").unwrap(),
                size: 3,
                modified: Timestamp::from_millis(5_000),
                sha256: Sha256::of(path.as_bytes()),
                md5: None,
                authored: false,
            },
            received_at: Timestamp::EPOCH,
            unlisted_at: None,
            damaged_at: is_damaged.then_some(Timestamp::EPOCH),
        }
    }

    fn made_here(preset: usize, is_damaged: bool) -> FileRow {
        let name = &image_presets()[preset].file_name;
        let path = format!("{ORIGINAL}/{name}");
        let mut row = row(FileKind::Generated, &path, is_damaged);
        row.file.authored = true;
        row
    }

    fn wished(plan: &Plan) -> Vec<&str> {
        plan.fetch.iter().map(|job| job.path.as_str()).collect()
    }

    fn here(own: &[FileRow], authority: Authority) -> Here<'_> {
        Here {
            own,
            others: &[],
            unrenderable: false,
            authority,
            complete_until: Timestamp::EPOCH,
        }
    }

    #[test]
    fn what_is_damaged_is_wished_for_as_its_row_says_and_what_is_sound_is_not() {
        let own = [
            row(FileKind::Original, ORIGINAL, true),
            row(FileKind::Generated, "x/a.jpg/t.webp", true),
            row(FileKind::Generated, "x/a.jpg/u.webp", false),
            row(FileKind::Original, "y/former.jpg", true),
        ];
        let plan = mend(&asset(), &own, false, POLICY);
        assert_eq!(wished(&plan), [ORIGINAL, "x/a.jpg/t.webp"]);
        assert_eq!(plan.fetch[0].sha256, Some(own[0].file.sha256));
        assert_eq!(plan.fetch[0].modified, Some(own[0].file.modified));
        let unwanted = Policy {
            originals: false,
            generated: Generated::Off,
        };
        assert_eq!(mend(&asset(), &own, false, unwanted), Plan::default());
    }

    #[test]
    fn what_was_made_here_is_made_again_once_its_original_is_sound() {
        let mut own = [
            row(FileKind::Original, ORIGINAL, false),
            made_here(0, true),
            made_here(1, false),
        ];
        let wanted = image_presets()[0].id.as_str().to_owned();
        let plan = mend(&asset(), &own, false, POLICY);
        assert_eq!(wished(&plan), Vec::<&str>::new());
        assert_eq!(
            plan.regenerate.unwrap().presets,
            std::slice::from_ref(&wanted)
        );
        assert_eq!(mend(&asset(), &own, true, POLICY), Plan::default());
        own[0].damaged_at = Some(Timestamp::EPOCH);
        let plan = mend(&asset(), &own, false, POLICY);
        assert_eq!(wished(&plan), [ORIGINAL]);
        assert_eq!(plan.fetch[0].then.as_ref().unwrap().presets, [wanted]);
        assert_eq!(plan.regenerate, None);
    }

    #[test]
    fn a_listing_that_is_silent_about_damaged_files_takes_no_wish_back() {
        let own = [
            row(FileKind::Original, ORIGINAL, true),
            row(FileKind::Generated, "x/a.jpg/t.webp", true),
        ];
        let silent = Listed::default();
        let said = plan(&asset(), silent, here(&own, Authority::Decides), POLICY);
        assert_eq!(wished(&said), [ORIGINAL, "x/a.jpg/t.webp"]);
        let lacks = Listed {
            originals: Some(&[]),
            generated: Some(&[]),
        };
        let said = plan(&asset(), lacks, here(&own, Authority::Decides), POLICY);
        assert_eq!(wished(&said), Vec::<&str>::new());
    }

    #[test]
    fn anybody_may_give_back_what_a_damaged_file_was_and_nobody_else_anything_else() {
        let own = [row(FileKind::Original, ORIGINAL, true)];
        let same = as_it_was(&own[0].file);
        let other = ListedFile {
            sha256: Some(Sha256::of(b"another")),
            ..same.clone()
        };
        for authority in [Authority::Supplies, Authority::Replaces, Authority::Decides] {
            let offered = |file: &ListedFile| {
                let listed = Listed {
                    originals: Some(std::slice::from_ref(file)),
                    generated: None,
                };
                let plan = plan(&asset(), listed, here(&own, authority), POLICY);
                plan.fetch.len()
            };
            assert_eq!(offered(&same), 1, "{authority:?}");
            let decides = usize::from(authority == Authority::Decides);
            assert_eq!(offered(&other), decides, "{authority:?}");
        }
    }
}
