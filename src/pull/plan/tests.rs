//! What the plan wishes for, asset by asset.

mod authority;
mod mend;
mod moves;
mod names;
mod renditions;

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::model::preset::{Shipped, image_presets};
use crate::model::{AssetId, Md5, MediaFile, Sha256};

const POLICY: Policy = Policy {
    originals: true,
    generated: Generated::Auto,
};

const COMPLETE: Timestamp = Timestamp::from_millis(1_000);

/// Nothing is here, and the peer decides.
const HERE: Here<'static> = Here {
    own: &[],
    others: &[],
    unrenderable: false,
    authority: Authority::Decides,
    complete_until: COMPLETE,
};

/// By the presets EMDB ships.
fn plan(asset: &Asset, listed: Listed<'_>, here: Here<'_>, policy: Policy) -> Plan {
    super::plan(asset, listed, here, policy, &SHIPPED)
}

/// Read once: properties are tried with many plans.
static SHIPPED: LazyLock<PresetTable> = LazyLock::new(|| PresetTable::shipped(Shipped::Webp));

fn path(text: &str) -> MediaPath {
    MediaPath::new(text).unwrap()
}

fn md5(n: u8) -> Md5 {
    Md5::from_bytes([n; 16])
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
        categories: Vec::new(),
        pages: 0,
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
            fingerprint: None,
        },
        received_at: Timestamp::EPOCH,
        unlisted_at: None,
        damaged_at: None,
        evicted: false,
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
    plan(asset, listed, Here { own, ..HERE }, policy)
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
        unrenderable: true,
        ..HERE
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
        others: &others,
        ..HERE
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
            others: &others,
            ..HERE
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
            others: &others,
            ..HERE
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
            authority,
            ..HERE
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
