//! Which file that is about to go a wanted one was.

use super::*;
use crate::pull::plan::moves::former;

/// What is known of a file: its content, whether the SHA-256 and the MD5 are stated, and its second.
struct Known {
    content: &'static str,
    sha256: bool,
    md5: Option<u8>,
    second: i64,
}

const KNOWN: Known = Known {
    content: "one",
    sha256: false,
    md5: None,
    second: 5,
};

impl Known {
    fn listed(&self, at: &str) -> ListedFile {
        ListedFile {
            sha256: self.sha256.then(|| Sha256::of(self.content.as_bytes())),
            md5: self.md5.map(md5),
            modified: Some(Timestamp::from_millis(self.second * 1_000)),
            ..listed(FileKind::Original, at, self.content)
        }
    }

    fn row(&self, at: &str) -> FileRow {
        let whole = ListedFile {
            sha256: Some(Sha256::of(self.content.as_bytes())),
            ..self.listed(at)
        };
        let mut row = row(&whole, "a1");
        row.file.md5 = whole.md5;
        row
    }
}

/// Where a wanted file lay, by the rows that are about to go.
fn lay_at(wanted: &ListedFile, leaving: &[FileRow]) -> Option<String> {
    let leaving: Vec<_> = leaving.iter().collect();
    former(&fetch(wanted, None), &leaving).map(|row| row.file.path.to_string())
}

#[test]
fn a_former_file_is_told_by_the_best_that_both_sides_state_of_it() {
    let md5 = Some(1);
    for (what, wanted, here, is_it) in [
        (
            "a SHA-256, whatever the time",
            Known {
                sha256: true,
                second: 9,
                ..KNOWN
            },
            KNOWN,
            true,
        ),
        (
            "another SHA-256, whatever the MD5",
            Known {
                sha256: true,
                md5,
                content: "two",
                ..KNOWN
            },
            Known { md5, ..KNOWN },
            false,
        ),
        (
            "an MD5, whatever the time and size",
            Known {
                md5,
                second: 9,
                content: "longer",
                ..KNOWN
            },
            Known { md5, ..KNOWN },
            true,
        ),
        (
            "another MD5, whatever the time and size",
            Known { md5, ..KNOWN },
            Known {
                md5: Some(2),
                ..KNOWN
            },
            false,
        ),
        ("time and size", KNOWN, KNOWN, true),
        (
            "an MD5 on one side, time and size",
            Known { md5, ..KNOWN },
            KNOWN,
            true,
        ),
        (
            "an MD5 on one side, but another time",
            Known {
                md5,
                second: 9,
                ..KNOWN
            },
            KNOWN,
            false,
        ),
        ("size alone", Known { second: 9, ..KNOWN }, KNOWN, false),
        (
            "time alone",
            Known {
                content: "longer",
                ..KNOWN
            },
            KNOWN,
            false,
        ),
    ] {
        let found = lay_at(&wanted.listed("y/b.jpg"), &[here.row("x/a.jpg")]);
        assert_eq!(found.is_some(), is_it, "{what}");
    }
}

#[test]
fn of_several_that_a_file_may_have_been_its_name_decides_or_else_equal_digests_do() {
    let wanted = |sha256| Known { sha256, ..KNOWN }.listed("y/b.jpg");
    let rows = |names: [&str; 2]| names.map(|at| KNOWN.row(at));
    for sha256 in [true, false] {
        let found = lay_at(&wanted(sha256), &rows(["x/a.jpg", "x/b.jpg"]));
        assert_eq!(found.as_deref(), Some("x/b.jpg"));
    }
    let others = rows(["x/a.jpg", "x/c.jpg"]);
    let found = lay_at(&wanted(true), &others);
    assert_eq!(found.as_deref(), Some("x/a.jpg"));
    assert_eq!(lay_at(&wanted(false), &others), None, "it was guessed");
}

#[test]
fn a_file_of_the_other_tree_is_no_former_one() {
    let wanted = listed(FileKind::Original, "y/b.jpg", "one");
    let here = row(&listed(FileKind::Generated, "x/b.jpg", "one"), "a1");
    assert_eq!(lay_at(&wanted, &[here]), None);
}

#[test]
fn a_moved_asset_says_of_each_file_where_it_lay_and_takes_nothing_that_stays_or_is_damaged() {
    let (from, to) = ("x/a.jpg", "y/b.jpg");
    let original = |at| listed(FileKind::Original, at, "one");
    let mut own = vec![row(&original(from), "a1")];
    let each = |at: &str, n: usize| format!("{at}/{n}.webp");
    let rendition = |at: &str, n| listed(FileKind::Generated, &each(at, n), &format!("g{n}"));
    own.extend((0..4).map(|n| row(&rendition(from, n), "a1")));
    own[4].damaged_at = Some(Timestamp::EPOCH);
    // This one lies under the new name already and stays, though another file is to have its content.
    own.push(row(
        &listed(FileKind::Generated, "y/b.jpg/stays", "g9"),
        "a1",
    ));
    let mut generated: Vec<_> = (0..4).map(|n| rendition(to, n)).collect();
    generated.push(listed(FileKind::Generated, "y/b.jpg/stays", "g9"));
    generated.push(listed(FileKind::Generated, "y/b.jpg/twin", "g9"));
    let plan = run(&asset(to), &[original(to)], &generated, &own, POLICY);
    let told: Vec<_> = plan
        .fetch
        .iter()
        .map(|job| (job.path.clone(), job.from.clone()))
        .collect();
    let mut expected = vec![(to.to_owned(), Some(from.to_owned()))];
    expected.extend((0..3).map(|n| (each(to, n), Some(each(from, n)))));
    expected.push((each(to, 3), None));
    expected.push(("y/b.jpg/twin".to_owned(), None));
    assert_eq!(told, expected);
}
