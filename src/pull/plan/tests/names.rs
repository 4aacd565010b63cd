//! Names of several assets, and names that a listing has or lacks.

use super::*;

const AT: &str = "x/a.jpg";

/// The plan for an original when other assets have files.
fn beside(file: &ListedFile, others: &[(FileRow, Claim)]) -> Plan {
    let here = Here { others, ..HERE };
    let list = Listed {
        originals: Some(std::slice::from_ref(file)),
        generated: None,
    };
    plan(&asset(AT), list, here, POLICY)
}

#[test]
fn only_a_file_of_the_very_name_and_tree_is_shared() {
    let wanted = listed(FileKind::Original, AT, "one");
    for (kind, at, is_shared) in [
        (FileKind::Original, AT, true),
        (FileKind::Original, "x/other.jpg", false),
        (FileKind::Generated, AT, false),
    ] {
        let other = row(&listed(kind, at, "one"), "a2");
        let plan = beside(&wanted, &[(other, Claim::Elsewhere)]);
        let expected = (usize::from(!is_shared), usize::from(is_shared));
        assert_eq!(
            (plan.fetch.len(), plan.shared.len()),
            expected,
            "{kind:?} {at}"
        );
    }
}

#[test]
fn a_shared_file_is_noted_only_while_it_is_wanted_and_the_assets_own_file_is_not_shared() {
    let (original, rendition) = (
        listed(FileKind::Original, AT, "one"),
        listed(FileKind::Generated, "x/a.jpg/t.webp", "g"),
    );
    let of_another = [&original, &rendition].map(|file| (row(file, "a2"), Claim::Elsewhere));
    let own = [&original, &rendition].map(|file| row(file, "a1"));
    let list = Listed {
        originals: Some(std::slice::from_ref(&original)),
        generated: Some(std::slice::from_ref(&rendition)),
    };
    let shared = |own: &[FileRow], originals, generated| {
        let here = Here {
            own,
            others: &of_another,
            ..HERE
        };
        let policy = Policy {
            originals,
            generated,
        };
        plan(&asset(AT), list, here, policy).shared
    };
    let names = [&original, &rendition].map(|file| (file.kind, file.path.clone()));
    assert_eq!(shared(&[], true, Generated::Copy), names);
    assert_eq!(shared(&[], false, Generated::Copy), names[1..]);
    assert_eq!(shared(&[], true, Generated::Off), names[..1]);
    assert_eq!(shared(&own, true, Generated::Copy), []);
    // Beside a rendition that is another asset's there is one that is still to come.
    let both = [
        rendition.clone(),
        listed(FileKind::Generated, "x/a.jpg/u.webp", "u"),
    ];
    let list = Listed {
        originals: None,
        generated: Some(&both),
    };
    let here = Here {
        others: &of_another,
        ..HERE
    };
    let found = plan(&asset(AT), list, here, POLICY);
    assert_eq!(
        (found.fetch.len(), found.shared.as_slice()),
        (1, &names[..])
    );
    let elsewhere = [row(&listed(FileKind::Original, AT, "two"), "a2")];
    let plan = beside(&original, &elsewhere.map(|row| (row, Claim::Elsewhere)));
    assert_eq!(
        (plan.fetch.len(), plan.shared.len()),
        (1, 0),
        "it is fetched and shared"
    );
}

#[test]
fn a_record_is_behind_only_without_a_digest_with_an_older_date_and_no_other_md5() {
    let mut here = row(&listed(FileKind::Original, AT, "longer"), "a2");
    here.file.md5 = Some(md5(1));
    let stated = |seconds: i64, sha256: bool, md5| ListedFile {
        modified: Some(Timestamp::from_millis(5_000 + seconds * 1_000)),
        sha256: sha256.then(|| Sha256::of(b"one")),
        md5,
        ..listed(FileKind::Original, AT, "one")
    };
    for (what, file, waits) in [
        ("an older date", stated(-1, false, None), true),
        ("the same date", stated(0, false, None), false),
        ("a newer date", stated(1, false, None), false),
        ("an older date and a digest", stated(-1, true, None), false),
        (
            "an older date and another MD5",
            stated(-1, false, Some(md5(2))),
            false,
        ),
        (
            "an older date and this MD5",
            stated(-1, false, Some(md5(1))),
            true,
        ),
    ] {
        assert_eq!(is_behind(&file, &here), waits, "{what}");
        let plan = beside(&file, &[(here.clone(), Claim::SamePeer)]);
        assert_eq!(plan.fetch.is_empty(), waits, "{what}");
    }
    here.file.md5 = None;
    assert!(
        is_behind(&stated(-1, false, Some(md5(2))), &here),
        "one side alone knows an MD5"
    );
}

#[test]
fn a_rendition_of_another_content_lies_beside_the_one_of_another_asset() {
    let rendition = listed(FileKind::Generated, "x/a.jpg/t.webp", "g");
    let others = [(
        row(&listed(FileKind::Generated, "x/a.jpg/t.webp", "h"), "a2"),
        Claim::Elsewhere,
    )];
    let here = Here {
        others: &others,
        ..HERE
    };
    let list = Listed {
        originals: None,
        generated: Some(std::slice::from_ref(&rendition)),
    };
    let plan = plan(&asset(AT), list, here, POLICY);
    let fetched: Vec<_> = plan.fetch.iter().map(|job| job.kind).collect();
    assert_eq!(fetched, [FileKind::Original, FileKind::Generated]);
}

#[test]
fn an_original_of_a_folder_goes_only_after_two_listings_of_originals_lacked_it() {
    let mut folder = asset("x");
    folder.is_folder = true;
    let page = |n: u8| listed(FileKind::Original, &format!("x/{n}.jpg"), "page");
    let mut own = [row(&page(1), "a1"), row(&page(2), "a1")];
    let list = [page(1)];
    let first = run(&folder, &list, &[], &own, POLICY);
    assert_eq!(first.unlisted, [(FileKind::Original, path("x/2.jpg"))]);
    assert_eq!((first.gone.len(), first.remove.len()), (0, 0));
    own[1].unlisted_at = Some(COMPLETE);
    let second = run(&folder, &list, &[], &own, POLICY);
    assert_eq!(second.gone, [RemoveJob::of(&own[1].file)]);
    // A peer that lists no originals says nothing about any that is missing.
    let here = Here { own: &own, ..HERE };
    let silent = plan(&folder, Listed::default(), here, POLICY);
    assert_eq!(silent, Plan::default());
}

#[test]
fn a_rendition_that_was_made_here_is_not_missed_in_a_listing() {
    let original = listed(FileKind::Original, AT, "one");
    let mut made = row(&listed(FileKind::Generated, "x/a.jpg/t.webp", "g"), "a1");
    made.file.authored = true;
    let mut own = [row(&original, "a1"), made];
    let policy = Policy {
        generated: Generated::Copy,
        ..POLICY
    };
    for noted in [None, Some(COMPLETE)] {
        own[1].unlisted_at = noted;
        let plan = run(
            &asset(AT),
            std::slice::from_ref(&original),
            &[],
            &own,
            policy,
        );
        assert_eq!(plan, Plan::default());
    }
}

#[test]
fn bookkeeping_is_never_wanted() {
    let of = |kind, at| listed(kind, at, "v");
    let originals = [
        of(FileKind::Original, "x/.versions/a.jpg"),
        of(FileKind::Original, AT),
    ];
    let generated = [of(FileKind::Generated, "x/a.jpg/.versions/t.webp")];
    let plan = run(&asset(AT), &originals, &generated, &[], POLICY);
    let fetched: Vec<_> = plan.fetch.iter().map(|job| job.path.as_str()).collect();
    assert_eq!(fetched, [AT]);
}

#[test]
fn what_the_policy_leaves_out_is_neither_fetched_nor_removed() {
    let originals = [listed(FileKind::Original, AT, "one")];
    let generated = [listed(FileKind::Generated, "x/a.jpg/t.webp", "g")];
    let own = [row(&listed(FileKind::Generated, "old/t.webp", "g"), "a1")];
    for (with_originals, of_generated, fetched, removed) in [
        (true, Generated::Copy, 2, 1),
        (false, Generated::Copy, 1, 1),
        (true, Generated::Off, 1, 0),
        (true, Generated::Rebuild, 1, 0),
        (false, Generated::Off, 0, 0),
    ] {
        let policy = Policy {
            originals: with_originals,
            generated: of_generated,
        };
        let plan = run(&asset(AT), &originals, &generated, &own, policy);
        let found = (plan.fetch.len(), plan.remove.len());
        assert_eq!(found, (fetched, removed), "{policy:?}");
    }
}
