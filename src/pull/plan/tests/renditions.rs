//! Which renditions are made here, and when.

use super::*;

const AT: &str = "x/a.jpg";

/// How many presets are to be made right away, and how many once an original has come.
fn made(asset: &Asset, list: Listed<'_>, own: &[FileRow], generated: Generated) -> (usize, usize) {
    let here = Here { own, ..HERE };
    let policy = Policy {
        generated,
        ..POLICY
    };
    let plan = plan(asset, list, here, policy);
    let presets = |render: &RegenerateJob| render.presets.len();
    let then = plan.fetch.iter().filter_map(|job| job.then.as_ref());
    (
        plan.regenerate.as_ref().map_or(0, presets),
        then.map(presets).sum(),
    )
}

#[test]
fn renditions_are_made_of_pictures_that_can_be_rendered_and_as_the_policy_says() {
    let original = listed(FileKind::Original, AT, "one");
    let own = [row(&original, "a1")];
    let plain = asset(AT);
    let with = |change: fn(&mut Asset)| {
        let mut asset = plain.clone();
        change(&mut asset);
        asset
    };
    let folder = with(|asset| {
        asset.is_folder = true;
        asset.source_path = path("x");
        asset.primary_file = Some(path("a.jpg"));
    });
    let unrenderable = with(|asset| asset.unrenderable = true);
    let text = with(|asset| asset.format = Some("txt".to_owned()));
    let unfinished = with(|asset| asset.unfinished = true);
    let list = |generated| Listed {
        originals: Some(std::slice::from_ref(&original)),
        generated,
    };
    let theirs = [listed(FileKind::Generated, "x/a.jpg/theirs.webp", "g")];
    let (auto, rebuild) = (Generated::Auto, Generated::Rebuild);
    for (what, asset, generated, policy, presets) in [
        ("a picture nobody renders", &plain, Some(&[][..]), auto, 5),
        (
            "a picture its author renders",
            &plain,
            Some(&theirs[..]),
            auto,
            0,
        ),
        ("one whose renditions are not listed", &plain, None, auto, 0),
        (
            "one its author is at work on",
            &unfinished,
            Some(&[][..]),
            auto,
            0,
        ),
        (
            "one its author is at work on",
            &unfinished,
            Some(&[][..]),
            rebuild,
            5,
        ),
        ("all are rebuilt", &plain, Some(&theirs[..]), rebuild, 5),
        ("copies only", &plain, Some(&[][..]), Generated::Copy, 0),
        ("none at all", &plain, Some(&[][..]), Generated::Off, 0),
        ("a folder", &folder, Some(&[][..]), rebuild, 0),
        (
            "known to be unrenderable",
            &unrenderable,
            Some(&[][..]),
            rebuild,
            0,
        ),
        ("no picture", &text, Some(&[][..]), rebuild, 0),
    ] {
        let found = made(asset, list(generated), &own, policy);
        assert_eq!(found, (presets, 0), "{what}");
    }
}

#[test]
fn a_rendition_waits_for_its_original_and_comes_with_that_one_only() {
    let generated = Some(&[][..]);
    let files = [
        listed(FileKind::Original, "x/beside.jpg", "two"),
        listed(FileKind::Original, AT, "one"),
    ];
    let list = Listed {
        originals: Some(&files),
        generated,
    };
    assert_eq!(made(&asset(AT), list, &[], Generated::Auto), (0, 5));
    // An older original is here: nothing is made of it, since the new one is on its way.
    let older = row(&listed(FileKind::Original, AT, "old"), "a1");
    let older = std::slice::from_ref(&older);
    assert_eq!(made(&asset(AT), list, older, Generated::Auto), (0, 5));
    // What is here has the name in the other tree, or another name: it is not the original.
    let none = Listed {
        originals: Some(&[]),
        generated,
    };
    for (kind, at) in [
        (FileKind::Generated, AT),
        (FileKind::Original, "x/beside.jpg"),
    ] {
        let own = [row(&listed(kind, at, "one"), "a1")];
        assert_eq!(
            made(&asset(AT), none, &own, Generated::Auto),
            (0, 0),
            "{kind:?} {at}"
        );
    }
    let own = [row(&listed(FileKind::Original, AT, "one"), "a1")];
    assert_eq!(made(&asset(AT), none, &own, Generated::Auto), (5, 0));
    // Only another file of the asset is on its way.
    let beside = Listed {
        originals: Some(&files[..1]),
        generated,
    };
    assert_eq!(made(&asset(AT), beside, &own, Generated::Auto), (5, 0));
    let mut damaged = own;
    damaged[0].damaged_at = Some(Timestamp::EPOCH);
    assert_eq!(made(&asset(AT), none, &damaged, Generated::Auto), (0, 0));
}

#[test]
fn only_renditions_that_are_not_here_or_not_our_own_are_made() {
    let original = listed(FileKind::Original, AT, "one");
    let mut own: Vec<_> = five(AT, "g").iter().map(|file| row(file, "a1")).collect();
    own.push(row(&original, "a1"));
    let list = Listed {
        originals: Some(std::slice::from_ref(&original)),
        generated: Some(&[]),
    };
    let count = |own: &[FileRow], generated| made(&asset(AT), list, own, generated).0;
    assert_eq!(count(&own, Generated::Auto), 0);
    assert_eq!(
        count(&own, Generated::Rebuild),
        5,
        "copies stand for our own"
    );
    own[..4].iter_mut().for_each(|row| row.file.authored = true);
    assert_eq!(count(&own, Generated::Rebuild), 1);
    own[0].damaged_at = Some(Timestamp::EPOCH);
    assert_eq!(count(&own, Generated::Rebuild), 2);
    assert_eq!(count(&own, Generated::Auto), 1);
    own.remove(1);
    assert_eq!(count(&own, Generated::Auto), 2);
    // A file of the name in the other tree is no rendition.
    let name = image_presets().swap_remove(1).file_name;
    own.push(row(
        &listed(FileKind::Original, &format!("{AT}/{name}"), "g"),
        "a1",
    ));
    assert_eq!(count(&own, Generated::Auto), 2);
}
