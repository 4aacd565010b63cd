//! What damaged files need when no listing of their asset is at hand.

use super::*;
use crate::pull::plan::mend::mend;

const AT: &str = "x/a.jpg";

/// A file of the asset, damaged or sound.
fn file(kind: FileKind, at: &str, is_damaged: bool) -> FileRow {
    let mut row = row(&listed(kind, at, "content"), "a1");
    row.damaged_at = is_damaged.then_some(Timestamp::EPOCH);
    row
}

fn original(is_damaged: bool) -> FileRow {
    file(FileKind::Original, AT, is_damaged)
}

/// A rendition that was made here, of the preset with this number.
fn made(preset: usize, is_damaged: bool) -> FileRow {
    let name = image_presets().swap_remove(preset).file_name;
    let mut row = file(FileKind::Generated, &format!("{AT}/{name}"), is_damaged);
    row.file.authored = true;
    row
}

fn mended(own: &[FileRow], unrenderable: bool, originals: bool, generated: Generated) -> Plan {
    let policy = Policy {
        originals,
        generated,
    };
    mend(&asset(AT), own, unrenderable, policy, &SHIPPED)
}

/// The wish for the presets with these numbers.
fn render(presets: &[usize]) -> RegenerateJob {
    let all = image_presets();
    let ids = presets.iter().map(|n| all[*n].id.as_str().to_owned());
    RegenerateJob {
        original: AT.to_owned(),
        output_dir: AT.to_owned(),
        presets: ids.collect(),
    }
}

#[test]
fn what_is_sound_needs_nothing() {
    let own = [original(false), made(0, false)];
    assert_eq!(mended(&own, false, true, Generated::Auto), Plan::default());
}

#[test]
fn a_copied_file_is_wanted_exactly_as_its_row_says_it_was() {
    let mut row = file(FileKind::Generated, "x/a.jpg/t.webp", true);
    row.file.md5 = Some(md5(1));
    let plan = mended(std::slice::from_ref(&row), false, true, Generated::Copy);
    let [job] = plan.fetch.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!((job.sha256, job.md5), (Some(row.file.sha256), row.file.md5));
    assert_eq!((job.size, job.exact), (Some(row.file.size), true));
    assert_eq!(job.modified, Some(row.file.modified));
    assert_eq!(
        (job.kind, job.path.as_str()),
        (row.file.kind, "x/a.jpg/t.webp")
    );
}

#[test]
fn a_kind_that_is_not_wanted_of_the_peer_is_not_asked_of_it() {
    let own = [
        original(true),
        file(FileKind::Generated, "x/a.jpg/t.webp", true),
    ];
    for (originals, generated, kinds) in [
        (
            true,
            Generated::Copy,
            &[FileKind::Original, FileKind::Generated][..],
        ),
        (false, Generated::Auto, &[FileKind::Generated]),
        (true, Generated::Rebuild, &[FileKind::Original]),
        (true, Generated::Off, &[FileKind::Original]),
    ] {
        let plan = mended(&own, false, originals, generated);
        let found: Vec<_> = plan.fetch.iter().map(|job| job.kind).collect();
        assert_eq!(found, kinds, "{originals} {generated:?}");
        assert_eq!(plan.regenerate, None, "a copy is not ours to make");
    }
}

#[test]
fn a_name_that_the_record_gives_up_is_not_mended() {
    let own = [file(FileKind::Original, "old/a.jpg", true)];
    assert_eq!(mended(&own, false, true, Generated::Copy), Plan::default());
}

#[test]
fn renditions_made_here_are_made_again_as_far_as_they_are_damaged() {
    let own = [
        original(false),
        made(0, true),
        made(1, false),
        made(3, true),
    ];
    let plan = mended(&own, false, true, Generated::Copy);
    assert_eq!(
        (plan.regenerate, plan.fetch.len()),
        (Some(render(&[0, 3])), 0)
    );
    for (unrenderable, generated) in [(true, Generated::Copy), (false, Generated::Off)] {
        let plan = mended(&own, unrenderable, true, generated);
        assert_eq!(plan, Plan::default(), "{unrenderable} {generated:?}");
    }
}

#[test]
fn a_file_no_preset_makes_is_not_made_again() {
    let mut strange = file(FileKind::Generated, "x/a.jpg/strange.webp", true);
    strange.file.authored = true;
    let own = [original(false), strange];
    assert_eq!(mended(&own, false, true, Generated::Auto), Plan::default());
}

#[test]
fn renditions_wait_for_the_original_they_are_made_of_where_it_is_damaged_too() {
    // A copied rendition comes first and is not what they are made of.
    let copied = file(FileKind::Generated, "x/a.jpg/t.webp", true);
    let own = [copied, original(true), made(0, true)];
    let plan = mended(&own, false, true, Generated::Auto);
    let then: Vec<_> = plan.fetch.iter().map(|job| job.then.clone()).collect();
    assert_eq!(then, [None, Some(render(&[0]))]);
    assert_eq!(plan.regenerate, None);
    // It is damaged and not wanted of this peer, so they cannot be made.
    let plan = mended(&own[1..], false, false, Generated::Auto);
    assert_eq!(plan, Plan::default());
}

#[test]
fn nothing_is_made_of_another_file_than_the_original() {
    let mut folder = asset("x");
    folder.is_folder = true;
    folder.primary_file = Some(path("a.jpg"));
    let mut rendition = file(FileKind::Generated, "x/image3000x3000.webp", true);
    rendition.file.authored = true;
    for (kind, at, is_made) in [
        (FileKind::Original, "x/a.jpg", true),
        (FileKind::Original, "x/b.jpg", false),
        (FileKind::Generated, "x/a.jpg", false),
    ] {
        let own = [file(kind, at, false), rendition.clone()];
        let plan = mend(&folder, &own, false, POLICY, &SHIPPED);
        assert_eq!(plan.regenerate.is_some(), is_made, "{kind:?} {at}");
        // Nor of one that is on its way.
        let own = [file(kind, at, true), rendition.clone()];
        let plan = mend(&folder, &own, false, POLICY, &SHIPPED);
        let then = plan.fetch.iter().find_map(|job| job.then.as_ref());
        assert_eq!(then.is_some(), is_made, "{kind:?} {at}");
        assert_eq!(plan.regenerate, None);
    }
}

#[test]
fn what_is_damaged_is_asked_for_once_beside_what_the_listing_wishes() {
    let (one, two) = ("x/a.jpg/1.webp", "x/a.jpg/2.webp");
    let own = [
        original(true),
        file(FileKind::Generated, one, true),
        file(FileKind::Generated, two, true),
        made(0, true),
    ];
    let wishes = |originals, generated| {
        let here = Here { own: &own, ..HERE };
        let list = Listed {
            originals,
            generated,
        };
        let policy = Policy {
            generated: Generated::Copy,
            ..POLICY
        };
        let plan = plan(&asset(AT), list, here, policy);
        let paths: Vec<_> = plan.fetch.into_iter().map(|job| job.path).collect();
        paths.join(" ")
    };
    let (originals, generated) = (
        [listed(FileKind::Original, AT, "content")],
        [listed(FileKind::Generated, one, "content")],
    );
    assert_eq!(wishes(Some(&originals), None), format!("{AT} {one} {two}"));
    // A record states the original that no listing speaks of.
    assert_eq!(wishes(None, None), format!("{AT} {one} {two}"));
    // What a listing of its kind lacks is not asked for, since the peer has it not.
    assert_eq!(
        wishes(Some(&originals), Some(&generated)),
        format!("{AT} {one}")
    );
    assert_eq!(wishes(Some(&[]), Some(&generated)), one);
}
