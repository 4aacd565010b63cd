//! The contract of the trash: nothing that is to stay is lost, whichever call fails, and nothing outside is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use super::super::conformance::{Fixture, KIND, path};
use super::super::dirs::Resolver;
use super::super::faults::{Faulty, fail_each_call};
use super::super::*;

fn listed(f: &Fixture) -> Vec<Trashed> {
    let slots = f.store.slots().unwrap();
    slots
        .map(Result::unwrap)
        .flat_map(|slot| f.store.trashed_in(&slot))
        .map(Result::unwrap)
        .collect()
}

fn trashed(f: &Fixture, name: &str, bytes: &[u8]) -> Trashed {
    f.put(name, bytes).unwrap();
    assert!(f.store.trash(KIND, &path(name)).unwrap());
    let all = listed(f);
    all.into_iter()
        .rfind(|item| item.path == path(name))
        .unwrap()
}

/// Gives a slot the age of one that nobody is filling any more.
fn aged(f: &Fixture, item: &Trashed) -> Trashed {
    let trash = f.store.root().join(TRASH).join(KIND.dir());
    let old = "20200101T000000.000-0";
    fs::rename(trash.join(item.slot.name()), trash.join(old)).unwrap();
    listed(f)
        .into_iter()
        .find(|found| found.slot.name() == old)
        .unwrap()
}

fn resolvers() -> Vec<Resolver> {
    vec![
        #[cfg(target_os = "linux")]
        Resolver::Kernel,
        Resolver::Steps,
    ]
}

#[test]
fn a_restored_file_has_its_bytes_time_and_place_and_keeps_its_name_in_the_trash() {
    for resolver in resolvers() {
        let f = Fixture::new(resolver);
        let item = trashed(&f, "a/b/c", b"content");
        assert!(!f.on_disk("a").exists());
        let before = f.store.open_trashed(&item).unwrap().unwrap().modified;
        f.store.restore(&item, &item.path).unwrap();
        assert_eq!(f.read("a/b/c").unwrap(), b"content");
        assert_eq!(
            f.store.stat(KIND, &item.path).unwrap().unwrap().modified,
            before
        );
        assert_eq!(
            listed(&f).len(),
            1,
            "the name in the trash went before any row"
        );
        // Killed here, it is asked for again.
        f.store.restore(&item, &item.path).unwrap();
        f.store.empty_one(&item).unwrap();
        f.store.empty_one(&item).unwrap();
        assert_eq!(
            (listed(&f).len(), f.read("a/b/c").unwrap()),
            (0, b"content".to_vec())
        );
    }
}

#[test]
fn a_restore_never_takes_a_place_that_is_taken() {
    let f = Fixture::new(Resolver::Steps);
    let item = trashed(&f, "a/b", b"old");
    f.put("a/b", b"new").unwrap();
    let error = f.store.restore(&item, &item.path).unwrap_err();
    assert!(matches!(error, Error::Taken { .. }), "{error}");
    assert_eq!(f.read("a/b").unwrap(), b"new");
    let folder = f.store.restore(&item, &path("a")).unwrap_err();
    assert!(matches!(folder, Error::Blocked { .. }), "{folder}");
    let below = f.store.restore(&item, &path("a/b/c")).unwrap_err();
    assert!(matches!(below, Error::Blocked { .. }), "{below}");
    symlink(f.outside(), f.on_disk("link")).unwrap();
    for hostile in ["link", "link/secret", "link/new"] {
        let error = f.store.restore(&item, &path(hostile)).unwrap_err();
        assert!(matches!(error, Error::Escapes { .. }), "{hostile}: {error}");
    }
    f.assert_untouched_outside();
    assert_eq!(listed(&f).len(), 1);
}

#[test]
fn whatever_call_fails_a_restore_loses_neither_file_nor_place() {
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
        let item = trashed(&f, "a/b/d/e/c", b"content");
        f.put("a/other", b"other").unwrap();
        let broken = f.reopen(Arc::clone(&sys) as Arc<dyn Sys>);
        let answer = broken.restore(&item, &item.path);
        assert_eq!(listed(&f), std::slice::from_ref(&item), "{answer:?}");
        let found = f.read("a/b/d/e/c");
        assert!(found.is_none() || found.as_deref() == Some(b"content"));
        if answer.is_ok() {
            assert!(found.is_some());
            let emptied = broken.empty_one(&item);
            assert!(emptied.is_ok() || sys.fired());
            assert_eq!(f.read("a/b/d/e/c").unwrap(), b"content");
        }
        assert_eq!(f.read("a/other").unwrap(), b"other");
        sys.heal();
        if listed(&f).is_empty() {
            return;
        }
        broken.restore(&item, &item.path).unwrap();
        broken.empty_one(&item).unwrap();
        assert_eq!(
            (listed(&f), f.read("a/b/d/e/c").unwrap()),
            (Vec::new(), b"content".to_vec())
        );
    });
}

#[test]
fn whatever_call_fails_an_emptying_touches_one_slot_only() {
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
        let goes = trashed(&f, "a/b/c", b"goes");
        let goes = aged(&f, &goes);
        let trash = f.store.root().join(TRASH).join(KIND.dir());
        for more in ["a/b/d", "a/e/f", "g"] {
            let to = trash.join(goes.slot.name()).join(more);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, "more").unwrap();
        }
        fs::create_dir_all(trash.join(goes.slot.name()).join("left/empty")).unwrap();
        let stays = trashed(&f, "a/b/c", b"stays");
        f.put("a/b/c", b"alive").unwrap();
        let broken = f.reopen(Arc::clone(&sys) as Arc<dyn Sys>);
        let emptied = broken.empty(&goes.slot).unwrap();
        assert_eq!(
            emptied.gone.len() + emptied.left.len() + rest_of(&f, &goes),
            4 + emptied.left.len()
        );
        assert_eq!(f.read("a/b/c").unwrap(), b"alive");
        let bytes = |item: &Trashed| f.store.open_trashed(item).unwrap().map(|open| open.size);
        assert_eq!(bytes(&stays), Some(5));
        if sys.fired() {
            sys.heal();
            broken.empty(&goes.slot).unwrap();
        } else {
            assert!(emptied.left.is_empty(), "{:?}", emptied.left);
        }
        assert_eq!(listed(&f), [stays]);
        assert!(
            !trash.join(goes.slot.name()).exists(),
            "an old slot's directories stay"
        );
    });
}

/// Files of a slot that are still there.
fn rest_of(f: &Fixture, item: &Trashed) -> usize {
    f.store.trashed_in(&item.slot).filter(Result::is_ok).count()
}

#[test]
fn a_young_slot_keeps_its_directories_for_whoever_fills_it() {
    let f = Fixture::new(Resolver::Steps);
    let item = trashed(&f, "a/b", b"x");
    f.store.empty(&item.slot).unwrap();
    let slot = f.store.root().join(item.slot.path());
    assert!(slot.join("a").is_dir() && !slot.join("a/b").exists());
}

#[test]
fn what_is_none_of_ours_is_reported_and_never_removed() {
    let f = Fixture::new(Resolver::Steps);
    let item = trashed(&f, "a/b", b"x");
    let item = aged(&f, &item);
    let trash = f.store.root().join(TRASH).join(KIND.dir());
    fs::write(trash.join("notes.txt"), "mine").unwrap();
    fs::create_dir(trash.join("lost+found")).unwrap();
    fs::write(trash.join("20200101T000000.000-1"), "a file, no slot").unwrap();
    let slot = trash.join(item.slot.name());
    symlink(f.outside(), slot.join("link")).unwrap();
    symlink(f.outside().join("secret"), slot.join("a/secret")).unwrap();
    let odd = f.store.slots().unwrap().filter(Result::is_err).count();
    assert_eq!(odd, 3);
    let emptied = f.store.empty(&item.slot).unwrap();
    assert_eq!(
        (emptied.gone.len(), emptied.left.len()),
        (1, 2),
        "{emptied:?}"
    );
    assert!(slot.join("link").is_symlink() && slot.join("a/secret").is_symlink());
    assert!(trash.join("notes.txt").exists() && trash.join("lost+found").exists());
    f.assert_untouched_outside();
}

#[test]
fn nothing_is_listed_restored_or_emptied_without_a_marker() {
    let f = Fixture::new(Resolver::Steps);
    let item = trashed(&f, "a", b"x");
    fs::remove_file(f.store.root().join(".emsync/root.json")).unwrap();
    let missing = |error: Error| assert!(matches!(error, Error::NoMarker { .. }), "{error}");
    missing(f.store.slots().unwrap_err());
    missing(f.store.restore(&item, &item.path).unwrap_err());
    missing(f.store.empty(&item.slot).unwrap_err());
    missing(f.store.empty_one(&item).unwrap_err());
    assert_eq!(f.trashed(), [("a".to_owned(), b"x".to_vec())]);
}

#[test]
fn a_copy_stays_below_its_folder_and_overwrites_nothing() {
    for resolver in resolvers() {
        let f = Fixture::new(resolver);
        let item = trashed(&f, "a/b", b"content");
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("new/deep");
        assert_eq!(
            f.store
                .copy_out(&item, &to, &path("originals/a/b"))
                .unwrap(),
            7
        );
        assert_eq!(fs::read(to.join("originals/a/b")).unwrap(), b"content");
        assert_eq!(
            fs::read_dir(to.join("originals/a")).unwrap().count(),
            1,
            "a part stays"
        );
        fs::write(to.join("originals/a/b"), "other").unwrap();
        let again = f
            .store
            .copy_out(&item, &to, &path("originals/a/b"))
            .unwrap_err();
        assert!(matches!(again, Error::Taken { .. }), "{again}");
        assert_eq!(fs::read(to.join("originals/a/b")).unwrap(), b"other");
        symlink(f.outside(), to.join("link")).unwrap();
        let error = f
            .store
            .copy_out(&item, &to, &path("link/secret"))
            .unwrap_err();
        assert!(matches!(error, Error::Escapes { .. }), "{error}");
        f.assert_untouched_outside();
        assert_eq!(listed(&f).len(), 1);
    }
}

#[test]
fn whatever_call_fails_a_copy_has_its_name_only_when_whole() {
    fail_each_call(|sys| {
        let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
        let item = trashed(&f, "a/b", b"content");
        let out = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let broken = f.reopen(Arc::clone(&sys) as Arc<dyn Sys>);
        let answer = broken.copy_out(&item, out.path(), &path("originals/a/b"));
        let copy = fs::read(out.path().join("originals/a/b")).ok();
        assert!(
            copy.is_none() || copy.as_deref() == Some(b"content"),
            "{answer:?}"
        );
        assert!(answer.is_err() || copy.is_some());
        assert_eq!(listed(&f), [item]);
    });
}

#[test]
fn a_file_system_without_second_names_restores_a_copy() {
    let mut met = false;
    for n in 1..30 {
        let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
        let item = trashed(&f, "a", b"content");
        let sys = Arc::new(Faulty::at(n, rustix::io::Errno::PERM));
        let broken = f.reopen(Arc::clone(&sys) as Arc<dyn Sys>);
        if broken.restore(&item, &item.path).is_ok() && sys.fired() {
            met = true;
            assert_eq!(f.read("a").unwrap(), b"content");
            assert_eq!(listed(&f), [item]);
        }
    }
    assert!(
        met,
        "the call that gives the second name was never the one to fail"
    );
}

#[test]
fn slots_come_oldest_first_across_both_trees_and_many_pages() {
    let f = Fixture::with(Resolver::Steps, Arc::new(RealSys));
    let trash = f.store.root().join(TRASH);
    let mut expected = Vec::new();
    for n in 0..9_000 {
        let kind = if n % 20 == 0 {
            FileKind::Generated
        } else {
            FileKind::Original
        };
        let name = format!(
            "20240101T00{:02}{:02}.{:03}-0",
            n / 600,
            n / 10 % 60,
            n % 10
        );
        fs::create_dir_all(trash.join(kind.dir()).join(&name)).unwrap();
        expected.push(name);
    }
    let found: Vec<_> = f
        .store
        .slots()
        .unwrap()
        .map(|slot| slot.unwrap().name().to_owned())
        .collect();
    assert_eq!(found, expected);
}
