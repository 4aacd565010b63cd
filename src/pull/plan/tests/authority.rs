//! What a peer may do to files that are here, and what damaged files need.

use super::*;

/// What a peer of some authority is asked for, as paths.
fn asked(
    authority: Authority,
    asset: &Asset,
    listed: Listed<'_>,
    own: &[FileRow],
    others: &[(FileRow, Claim)],
) -> Vec<String> {
    let here = Here {
        own,
        others,
        authority,
        ..HERE
    };
    let policy = Policy {
        generated: Generated::Copy,
        ..POLICY
    };
    let plan = plan(asset, listed, here, policy);
    plan.fetch.into_iter().map(|job| job.path).collect()
}

fn originals(files: &[ListedFile]) -> Listed<'_> {
    Listed {
        originals: Some(files),
        generated: None,
    }
}

const NOTHING: [String; 0] = [];

#[test]
fn who_supplies_takes_no_name_that_another_file_would_lose() {
    let (name, other) = (
        "x/a.jpg",
        row(&listed(FileKind::Original, "x/a.jpg", "old"), "a2"),
    );
    for (claim, states_digest, is_asked) in [
        (Claim::Nobody, true, false),
        (Claim::SamePeer, false, false),
        (Claim::SamePeer, true, true),
        (Claim::Elsewhere, true, true),
    ] {
        let mut file = listed(FileKind::Original, name, "content");
        if !states_digest {
            file.sha256 = None;
        }
        let others = [(other.clone(), claim)];
        let files = [file];
        let say = |authority| asked(authority, &asset(name), originals(&files), &[], &others);
        assert_eq!(say(Authority::Decides), [name], "{claim:?}");
        let expected = if is_asked { vec![name] } else { vec![] };
        assert_eq!(
            say(Authority::Supplies),
            expected,
            "{claim:?} {states_digest}"
        );
    }
}

#[test]
fn who_supplies_fills_a_place_in_one_tree_though_the_other_tree_has_the_name() {
    let mut folder = asset("x");
    folder.is_folder = true;
    let own = [row(&listed(FileKind::Original, "x/t.webp", "o"), "a1")];
    let files = [listed(FileKind::Generated, "x/t.webp", "g")];
    let list = Listed {
        originals: None,
        generated: Some(&files),
    };
    let found = asked(Authority::Supplies, &folder, list, &own, &[]);
    assert_eq!(found, ["x/t.webp"]);
}

#[test]
fn who_replaces_leaves_alone_only_what_the_record_itself_speaks_of() {
    let at = "x/a.jpg";
    let as_recorded = row(&listed(FileKind::Original, at, "one"), "a1");
    let mut older = as_recorded.clone();
    older.file.modified = Timestamp::from_millis(1_000);
    let newer = [listed(FileKind::Original, at, "two")];
    let say = |own: FileRow| {
        asked(
            Authority::Replaces,
            &asset(at),
            originals(&newer),
            &[own],
            &[],
        )
    };
    assert_eq!(say(as_recorded), NOTHING);
    assert_eq!(say(older), [at]);
    // A rendition with the date and size of the original is still no original.
    let rendition = |content| listed(FileKind::Generated, "x/a.jpg/t.webp", content);
    let own = [row(&rendition("one"), "a1")];
    let files = [rendition("two")];
    let list = Listed {
        originals: None,
        generated: Some(&files),
    };
    let found = asked(Authority::Replaces, &asset(at), list, &own, &[]);
    assert!(found.contains(&"x/a.jpg/t.webp".to_owned()), "{found:?}");
}

#[test]
fn what_a_damaged_file_was_may_come_back_from_anybody_and_nothing_else_may() {
    let at = "x/a.jpg";
    let mut damaged = row(&listed(FileKind::Original, at, "one"), "a1");
    damaged.damaged_at = Some(Timestamp::EPOCH);
    let own = [damaged];
    for (content, asked_of_all) in [("one", true), ("two", false)] {
        let files = [listed(FileKind::Original, at, content)];
        let say = |authority| asked(authority, &asset(at), originals(&files), &own, &[]);
        assert_eq!(say(Authority::Decides), [at]);
        let expected = if asked_of_all { vec![at] } else { vec![] };
        for authority in [Authority::Supplies, Authority::Replaces] {
            assert_eq!(say(authority), expected, "{content} of {authority:?}");
        }
    }
}

#[test]
fn a_damaged_file_keeps_no_new_version_of_it_away() {
    let at = "x/a.jpg";
    let mut damaged = row(&listed(FileKind::Original, at, "one"), "a1");
    damaged.damaged_at = Some(Timestamp::EPOCH);
    let mut files = [listed(FileKind::Original, at, "a later one")];
    files[0].modified = Some(Timestamp::from_millis(9_000));
    let mut saved = asset(at);
    (saved.size, saved.modified) = (files[0].size, files[0].modified);
    let own = [damaged];
    let say = |authority| asked(authority, &saved, originals(&files), &own, &[]);
    assert_eq!(say(Authority::Supplies), NOTHING);
    assert_eq!(say(Authority::Replaces), [at]);
    assert_eq!(say(Authority::Decides), [at]);
}

#[test]
fn a_damaged_file_of_a_kind_that_is_not_listed_is_asked_of_who_knows_the_asset() {
    let at = "x/a.jpg";
    let mut damaged = row(&listed(FileKind::Generated, "x/a.jpg/t.webp", "g"), "a1");
    damaged.damaged_at = Some(Timestamp::EPOCH);
    let own = [row(&listed(FileKind::Original, at, "one"), "a1"), damaged];
    let files = [listed(FileKind::Original, at, "one")];
    let say = |authority| asked(authority, &asset(at), originals(&files), &own, &[]);
    assert_eq!(say(Authority::Supplies), NOTHING);
    assert_eq!(say(Authority::Replaces), ["x/a.jpg/t.webp"]);
    assert_eq!(say(Authority::Decides), ["x/a.jpg/t.webp"]);
}

#[test]
fn a_damaged_file_is_fetched_again_though_nothing_about_it_has_changed() {
    let original = listed(FileKind::Original, "x/a.jpg", "one");
    let rendition = listed(FileKind::Generated, "x/a.jpg/t.webp", "g");
    let mut own = [row(&original, "a1"), row(&rendition, "a1")];
    for damaged in [0, 1] {
        own.iter_mut().for_each(|row| row.damaged_at = None);
        own[damaged].damaged_at = Some(Timestamp::EPOCH);
        let (originals, generated) = ([original.clone()], [rendition.clone()]);
        let plan = run(&asset("x/a.jpg"), &originals, &generated, &own, POLICY);
        let fetched: Vec<_> = plan.fetch.iter().map(|job| job.path.as_str()).collect();
        assert_eq!(fetched, [own[damaged].file.path.as_str()]);
    }
}

#[test]
fn what_was_made_here_gives_way_only_with_the_original_that_it_was_made_of() {
    let at = "x/a.jpg";
    let rendition = |content| listed(FileKind::Generated, "x/a.jpg/t.webp", content);
    let original = row(&listed(FileKind::Original, at, "one"), "a1");
    let mut made = row(&rendition("one"), "a1");
    made.file.authored = true;
    let theirs = [rendition("two")];
    let say = |own: &[FileRow], originals: &[ListedFile]| {
        let list = Listed {
            originals: Some(originals),
            generated: Some(&theirs),
        };
        asked(Authority::Replaces, &asset(at), list, own, &[])
    };
    let same = [listed(FileKind::Original, at, "one")];
    assert_eq!(say(&[original.clone(), made.clone()], &same), NOTHING);
    let mut older = original.clone();
    older.file.modified = Timestamp::from_millis(1_000);
    let newer = [listed(FileKind::Original, at, "two")];
    assert_eq!(say(&[older, made.clone()], &newer), [at, "x/a.jpg/t.webp"]);
    made.file.authored = false;
    assert_eq!(say(&[original], &same), ["x/a.jpg/t.webp"], "it is missing");
}
