//! Files that have their final names already, and what is kept of files that a new one replaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::super::conformance::{Fixture, KIND, TIME, path};
use super::super::dirs::Resolver;
use super::super::faults::{Call, Faulty};
use super::super::{RealSys, Sys};
use super::*;

fn fixture(sys: &Arc<Faulty>) -> Fixture {
    Fixture::with(Resolver::Steps, Arc::clone(sys) as Arc<dyn Sys>)
}

fn sound() -> (Fixture, Arc<Faulty>) {
    let sys = Arc::new(Faulty::at(0, Errno::IO));
    (fixture(&sys), sys)
}

/// Lays a file where it goes, as somebody else would, and takes it from there.
fn found(f: &Fixture, name: &str, modified: Timestamp) -> Result<Publish, Error> {
    fs::create_dir_all(f.on_disk(name).parent().unwrap()).unwrap();
    fs::write(f.on_disk(name), "found").unwrap();
    let file = fs::File::options().write(true).open(f.on_disk(name));
    let time = std::time::UNIX_EPOCH
        + std::time::Duration::from_millis(modified.as_millis().try_into().unwrap());
    file.unwrap().set_modified(time).unwrap();
    let candidate = f.store.candidate(KIND, &path(name))?.unwrap();
    let staged = candidate.adopt(&f.store.staging("test")?)?.unwrap();
    Ok(Publish {
        content: staged.into(),
        kind: KIND,
        path: path(name),
        modified: TIME,
        keep_replaced: true,
    })
}

fn publish_one(f: &Fixture, item: Publish) -> Result<(), Error> {
    f.store.publish(vec![item]).remove(0)
}

fn date(f: &Fixture, name: &str) -> Timestamp {
    let stat = f.store.stat(KIND, &path(name)).unwrap();
    stat.unwrap().modified
}

#[test]
fn a_file_in_its_place_stays_there_durably_and_gets_its_date() {
    let (f, sys) = sound();
    let item = found(&f, "a/b", Timestamp::from_millis(1_000)).unwrap();
    let before = fs::metadata(f.on_disk("a/b")).unwrap();
    publish_one(&f, item).unwrap();
    let after = fs::metadata(f.on_disk("a/b")).unwrap();
    assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()));
    assert_eq!(f.read("a/b").unwrap(), b"found");
    assert_eq!(date(&f, "a/b"), TIME);
    assert_eq!(f.trashed(), [], "it replaced itself");
    let dir = fs::metadata(f.on_disk("a")).unwrap().ino();
    let calls = sys.calls();
    assert!(calls.contains(&Call::SyncFile { file: after.ino() }));
    assert!(calls.contains(&Call::SyncDir { dir }));
}

#[test]
fn a_file_in_its_place_keeps_a_date_that_is_right_to_the_second() {
    let (f, _) = sound();
    let close = TIME.plus(std::time::Duration::from_millis(500));
    assert_eq!(close.whole_second(), TIME.whole_second());
    publish_one(&f, found(&f, "a", close).unwrap()).unwrap();
    assert_eq!(date(&f, "a"), close);
}

#[test]
fn a_name_that_stands_for_another_file_by_then_is_not_vouched_for() {
    let (f, _) = sound();
    let item = found(&f, "a", TIME).unwrap();
    fs::write(f.on_disk("new"), "another").unwrap();
    fs::rename(f.on_disk("new"), f.on_disk("a")).unwrap();
    let answer = publish_one(&f, item);
    assert!(
        matches!(&answer, Err(Error::Vanished { path }) if path == "originals/a"),
        "{answer:?}"
    );
    assert_eq!(f.read("a").unwrap(), b"another");
}

#[test]
fn whatever_call_fails_a_file_in_its_place_stays_whole_and_is_vouched_for_only_when_durable() {
    let (mut doubtful, mut n) = (0, 0);
    loop {
        n += 1;
        assert!(n < 100, "it never gets through");
        let sys = Arc::new(Faulty::at(n, Errno::IO));
        let f = fixture(&sys);
        let answer =
            found(&f, "a", Timestamp::from_millis(1_000)).and_then(|item| publish_one(&f, item));
        assert_eq!(fs::read(f.on_disk("a")).unwrap(), b"found");
        assert_eq!(answer.is_err(), sys.fired(), "{answer:?}");
        let candidate = f.store.candidate(KIND, &path("a")).unwrap().unwrap();
        let calls = sys.calls();
        let is_dated = calls.contains(&Call::Other("set_modified"));
        let is_synced = calls
            .iter()
            .any(|call| matches!(call, Call::SyncFile { .. }));
        if is_dated && !is_synced {
            // The kernel may have forgotten its bytes, and what is read now may be on no disk.
            assert!(!candidate.is_adoptable(TIME));
            doubtful += 1;
        }
        if !sys.fired() {
            break;
        }
    }
    assert_eq!(doubtful, 1, "its sync was never the call to fail");
}

#[test]
fn only_what_is_replaced_and_asked_for_is_kept() {
    for (keep_replaced, lay, kept) in [
        (true, true, 1),
        (true, false, 0),
        (false, true, 0),
        (false, false, 0),
    ] {
        let (f, _) = sound();
        if lay {
            fs::write(f.on_disk("a"), "old").unwrap();
        }
        let item = Publish {
            keep_replaced,
            ..f.item("a", b"new")
        };
        publish_one(&f, item).unwrap();
        assert_eq!(f.read("a").unwrap(), b"new");
        assert_eq!(f.trashed().len(), kept, "{keep_replaced} {lay}");
        let slots = f.store.slots().unwrap().count();
        assert_eq!(slots, kept, "a slot that nothing needs was made");
    }
}

/// The move into the trash, the way back included.
#[test]
fn whatever_call_fails_without_second_names_the_old_file_is_whole_and_no_name_goes_empty() {
    let (mut moved_back, mut n) = (0, 0);
    loop {
        n += 1;
        assert!(n < 100, "it never gets through");
        let sys = Arc::new(Faulty::without_links(n, Errno::IO));
        let f = fixture(&sys);
        fs::write(f.on_disk("a"), "old").unwrap();
        let item = f.try_item("a", b"new").map(|item| Publish {
            keep_replaced: true,
            ..item
        });
        let answer = item.and_then(|item| publish_one(&f, item));
        let (here, trashed) = (f.read("a"), f.trashed());
        let kept = trashed
            .iter()
            .any(|(name, bytes)| name == "a" && bytes == b"old");
        match here.as_deref() {
            Some(b"old") => assert!(answer.is_err() && !kept),
            Some(b"new") => assert!(kept, "the old file is gone"),
            other => panic!("the name holds {other:?} after {answer:?}"),
        }
        let was_moved = sys
            .calls()
            .iter()
            .any(|call| matches!(call, Call::Rename { name, .. } if name == "a"));
        moved_back += usize::from(was_moved && here.as_deref() == Some(b"old"));
        if !sys.fired() {
            answer.unwrap();
            assert!(kept);
            break;
        }
    }
    assert!(moved_back >= 2, "it never had to go back: {moved_back}");
}

#[test]
fn a_file_that_goes_before_it_is_kept_is_not_missed() {
    for sys in [
        Faulty::at(0, Errno::IO),
        Faulty::without_links(0, Errno::IO),
    ] {
        let sys = Arc::new(sys);
        let f = fixture(&sys);
        fs::write(f.on_disk("a"), "old").unwrap();
        let item = Publish {
            keep_replaced: true,
            ..f.item("a", b"new")
        };
        let old = f.on_disk("a");
        sys.before_name(move || fs::remove_file(old).unwrap());
        publish_one(&f, item).unwrap();
        assert_eq!(f.read("a").unwrap(), b"new");
        assert_eq!(f.trashed(), []);
    }
}

#[test]
fn a_place_that_is_removed_again_and_again_is_given_up_with_an_answer() {
    let (f, sys) = sound();
    let item = f.item("a/b", b"new");
    let folder = f.on_disk("a");
    sys.before_each_name(move || fs::remove_dir(&folder).unwrap());
    let answer = publish_one(&f, item);
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(f.read("a/b"), None);
    assert_eq!(f.staged_names(), Vec::<String>::new());
    let synced = sys.calls();
    let made = synced
        .iter()
        .filter(|call| matches!(call, Call::Mkdir { name, .. } if name == "a"));
    assert_eq!(made.count(), TRIES);
}

/// The order of a batch is the order of its answers, also when places repeat and some members fail.
#[test]
fn every_answer_stands_where_its_member_stood() {
    let (f, _) = sound();
    for blocked in ["x", "y"] {
        fs::create_dir(f.on_disk(blocked)).unwrap();
    }
    let names = ["a", "x", "b", "a", "y", "c", "b"];
    let bytes: Vec<_> = (0..names.len()).map(|n| format!("content {n}")).collect();
    let batch = names.iter().zip(&bytes);
    let batch = batch.map(|(name, bytes)| f.item(name, bytes.as_bytes()));
    let answers = f.store.publish(batch.collect());
    let failed: Vec<_> = answers.iter().map(Result::is_err).collect();
    assert_eq!(failed, names.map(|name| ["x", "y"].contains(&name)));
    for (name, last) in [("a", 3), ("b", 6), ("c", 5)] {
        assert_eq!(f.read(name).unwrap(), bytes[last].as_bytes(), "{name}");
    }
    assert!(f.store.publish(Vec::new()).is_empty());
}

#[test]
fn the_place_a_file_cannot_be_moved_from_is_named_with_its_tree() {
    let (f, _) = sound();
    let staged = f.store.staging("test").unwrap().create().unwrap();
    let item = Target {
        kind: KIND,
        path: path("a/b"),
        modified: TIME,
        keep_replaced: false,
    };
    let member = Member {
        at: 0,
        staged,
        item,
        dir: None,
        replaces: false,
        kept: None,
    };
    assert_eq!(member.shown(), "originals/a/b");
}

#[test]
fn the_systems_own_calls_publish_what_lies_in_its_place_too() {
    let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
    publish_one(&f, found(&f, "a", Timestamp::from_millis(1_000)).unwrap()).unwrap();
    assert_eq!(date(&f, "a"), TIME);
}
