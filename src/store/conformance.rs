//! The contract of the store, one claim per function, run for each way of opening directories.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::dirs::Resolver;
use super::faults::Faulty;
use super::*;
use crate::error::Class;

pub(super) const KIND: FileKind = FileKind::Original;
pub(super) const TIME: Timestamp = Timestamp::from_millis(1_700_000_000_123);

/// A fresh root in a temporary directory, with a secret beside it that nobody may touch.
pub(super) struct Fixture {
    temp: tempfile::TempDir,
    resolver: Resolver,
    pub(super) store: Store,
}

impl Fixture {
    /// On the disk that other temporary files are on.
    pub(super) fn new(resolver: Resolver) -> Self {
        Self::within(tempfile::tempdir().unwrap(), resolver, Arc::new(RealSys))
    }

    /// With calls that are counted, for scenarios that run hundreds of times: in memory where that can be had, since
    /// whether a sync was asked for is what counts there.
    pub(super) fn with(resolver: Resolver, sys: Arc<dyn Sys>) -> Self {
        let temp = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::within(temp.unwrap(), resolver, sys)
    }

    fn within(temp: tempfile::TempDir, resolver: Resolver, sys: Arc<dyn Sys>) -> Self {
        let root = temp.path().join("media");
        Store::init(&root, &catalog(), &NodeId::new("n1").unwrap()).unwrap();
        fs::create_dir(temp.path().join("outside")).unwrap();
        fs::write(temp.path().join("outside/secret"), "secret").unwrap();
        let store = reopen(&root, resolver, sys);
        Self {
            temp,
            resolver,
            store,
        }
    }

    pub(super) fn reopen(&self, sys: Arc<dyn Sys>) -> Store {
        reopen(self.store.root(), self.resolver, sys)
    }

    pub(super) fn outside(&self) -> PathBuf {
        self.temp.path().join("outside")
    }

    /// Where a file lies on disk.
    pub(super) fn on_disk(&self, path: &str) -> PathBuf {
        self.store
            .root()
            .join("assets/catalog/originals")
            .join(path)
    }

    pub(super) fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut open = self.store.open_file(KIND, &path(name)).unwrap()?;
        let mut bytes = Vec::new();
        open.file.read_to_end(&mut bytes).unwrap();
        assert_eq!(open.size, bytes.len() as u64);
        Some(bytes)
    }

    pub(super) fn item(&self, name: &str, bytes: &[u8]) -> Publish {
        self.try_item(name, bytes).unwrap()
    }

    pub(super) fn try_item(&self, name: &str, bytes: &[u8]) -> Result<Publish, Error> {
        let mut staged = self.store.staging("test")?.create()?;
        staged.write_all(bytes)?;
        Ok(Publish {
            content: staged.into(),
            kind: KIND,
            path: path(name),
            modified: TIME,
            keep_replaced: false,
        })
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let mut answers = self.store.publish(vec![self.item(name, bytes)]);
        assert_eq!(answers.len(), 1);
        answers.remove(0)
    }

    pub(super) fn staged_names(&self) -> Vec<String> {
        names_below(&self.store.root().join(STAGING))
    }

    /// Content of every file in the trash, by its path below its slot.
    pub(super) fn trashed(&self) -> Vec<(String, Vec<u8>)> {
        let trash = self.store.root().join(TRASH);
        let mut found: Vec<_> = names_below(&trash)
            .into_iter()
            .map(|name| {
                let bytes = fs::read(trash.join(&name)).unwrap();
                (name.splitn(3, '/').nth(2).unwrap().to_owned(), bytes)
            })
            .collect();
        found.sort();
        found
    }

    fn walked(&self) -> Vec<String> {
        let walk = self.store.walk(KIND);
        walk.map(|item| item.unwrap().0.to_string()).collect()
    }

    #[track_caller]
    pub(super) fn assert_untouched_outside(&self) {
        assert_eq!(names_below(&self.outside()), ["secret"]);
        assert_eq!(fs::read(self.outside().join("secret")).unwrap(), b"secret");
    }
}

fn reopen(root: &Path, resolver: Resolver, sys: Arc<dyn Sys>) -> Store {
    Store::open_with(root, open_root(root).unwrap(), &catalog(), sys, resolver).unwrap()
}

fn catalog() -> CatalogId {
    CatalogId::new("assets/catalog").unwrap()
}

pub(super) fn path(text: &str) -> MediaPath {
    MediaPath::new(text).unwrap()
}

/// Files below a directory, by their relative path.
fn names_below(dir: &Path) -> Vec<String> {
    walkdir::WalkDir::new(dir)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| {
            let below = entry.path().strip_prefix(dir).unwrap();
            below.to_str().unwrap().to_owned()
        })
        .collect()
}

macro_rules! contract {
    ($($name:ident)*) => {
        #[cfg(target_os = "linux")]
        mod kernel {
            $(#[test] fn $name() { super::$name(&super::Fixture::new(super::Resolver::Kernel)); })*
        }
        mod steps {
            $(#[test] fn $name() { super::$name(&super::Fixture::new(super::Resolver::Steps)); })*
        }
    };
}

contract! {
    a_published_file_has_its_bytes_time_and_mode
    what_lies_at_many_places_is_said_for_each
    awkward_names_keep_every_byte
    a_tree_deeper_than_the_limit_of_open_files_is_walked
    an_empty_file_is_a_file
    times_before_1970_are_kept
    a_member_that_cannot_be_published_leaves_the_others_alone
    two_members_for_one_place_are_published_in_order
    a_folder_in_the_way_blocks_and_so_does_a_file
    a_replaced_file_is_kept_in_the_trash
    a_dropped_staged_file_leaves_nothing
    a_partial_survives_with_its_tag
    a_partial_is_held_by_one_worker
    a_partial_from_an_earlier_boot_is_cut_to_what_was_synced
    a_finished_partial_is_published_and_leaves_nothing
    sweeping_spares_partials_and_counts_bytes
    old_partials_are_swept_unless_held
    staging_names_cannot_leave_their_directory
    trash_keeps_every_version_and_removes_emptied_directories
    trash_leaves_alone_what_is_not_a_file
    trash_refuses_without_a_marker
    a_missing_tree_is_not_an_empty_one
    links_on_the_way_are_not_followed
    a_link_in_place_of_the_file_is_not_followed
    a_parent_swapped_for_a_link_is_not_followed
    links_in_our_own_corner_are_not_followed
    fifos_are_refused_without_waiting
    a_walk_is_in_the_byte_order_of_paths
    a_walk_reports_odd_names_and_goes_on
    publishing_and_trashing_side_by_side_loses_nothing
}

fn a_published_file_has_its_bytes_time_and_mode(f: &Fixture) {
    f.put("a/b/c.jpg", b"content").unwrap();
    assert_eq!(f.read("a/b/c.jpg").unwrap(), b"content");
    let stat = f.store.stat(KIND, &path("a/b/c.jpg")).unwrap().unwrap();
    assert_eq!((stat.size, stat.modified), (7, TIME));
    let disk = fs::metadata(f.on_disk("a/b/c.jpg")).unwrap();
    assert_eq!(disk.permissions().mode() & 0o7777, 0o644);
    assert_eq!(
        (disk.mtime(), disk.mtime_nsec()),
        (1_700_000_000, 123_000_000)
    );
    assert_eq!(f.staged_names(), Vec::<String>::new());
    assert!(f.read("a/b/absent").is_none());
    assert!(f.read("absent/too").is_none());
    assert!(f.read("a/b/c.jpg/below").is_none());
    assert!(
        f.store
            .stat(FileKind::Generated, &path("a/b/c.jpg"))
            .unwrap()
            .is_none()
    );
}

fn what_lies_at_many_places_is_said_for_each(f: &Fixture) {
    f.put("a/there", b"x").unwrap();
    f.put("b/c/there", b"x").unwrap();
    symlink(f.outside(), f.on_disk("link")).unwrap();
    let expected = [
        ("a/there", false),
        ("a/absent", true),
        ("absent/one", true),
        ("absent/two", true),
        ("b/c/there", false),
        // A folder is not nothing, nor is what a link leads to.
        ("b/c", false),
        ("link/secret", false),
        ("link", false),
        ("a/there/below", true),
        ("a/there", false),
        ("absent", true),
    ];
    let places = expected.map(|(place, _)| path(place));
    assert_eq!(
        f.store.are_empty(KIND, &places),
        expected.map(|(_, is_empty)| is_empty)
    );
    assert!(f.store.are_empty(KIND, &[]).is_empty());
    fs::remove_dir_all(f.on_disk("")).unwrap();
    // Without a tree nothing is certain.
    assert_eq!(f.store.are_empty(KIND, &[path("absent")]), [false]);
}

fn awkward_names_keep_every_byte(f: &Fixture) {
    let long = format!("{}.jpg", "x".repeat(251));
    let wide = "\u{1f4f7}".repeat(63);
    let deep = format!("{}f", "d/".repeat(30));
    let names = [
        "a b/c d.jpg",
        "#1%20+?&.jpg",
        "line\nbreak",
        "Caf\u{e9}/x",
        "Cafe\u{301}/x",
        ".hidden/.dot",
        "...",
        "-rf",
        "~",
        "back\\slash",
        "quote'\"",
        " lead",
        "trail ",
        "trail.",
        &long,
        &wide,
        &deep,
    ];
    for name in names {
        f.put(name, name.as_bytes()).unwrap();
    }
    for name in names {
        assert_eq!(f.read(name).unwrap(), name.as_bytes(), "{name:?}");
        assert_eq!(
            fs::read(f.on_disk(name)).unwrap(),
            name.as_bytes(),
            "{name:?}"
        );
    }
    let mut sorted: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(f.walked(), sorted);
    for name in names {
        assert!(f.store.trash(KIND, &path(name)).unwrap(), "{name:?}");
    }
    let trashed: Vec<_> = f.trashed().into_iter().map(|(name, _)| name).collect();
    assert_eq!(trashed, sorted);
    assert_eq!(fs::read_dir(f.on_disk("")).unwrap().count(), 0);
}

fn a_tree_deeper_than_the_limit_of_open_files_is_walked(f: &Fixture) {
    let deep = format!("{}f", "d/".repeat(1700));
    f.put(&deep, b"deep").unwrap();
    let before = fs::read_dir("/proc/self/fd").map(Iterator::count).ok();
    let mut walk = f.store.walk(KIND);
    assert_eq!(walk.next().unwrap().unwrap().0.as_str(), deep);
    if let (Some(before), Ok(now)) = (before, fs::read_dir("/proc/self/fd")) {
        // Other tests open files meanwhile, but not hundreds.
        assert!(now.count() < before + 500);
    }
    assert!(walk.next().is_none());
    assert!(f.store.trash(KIND, &path(&deep)).unwrap());
}

fn an_empty_file_is_a_file(f: &Fixture) {
    f.put("empty", b"").unwrap();
    assert_eq!(f.read("empty").unwrap(), b"");
    assert_eq!(f.walked(), ["empty"]);
}

fn times_before_1970_are_kept(f: &Fixture) {
    for ms in [-1, -1_500, 0, 999] {
        let mut item = f.item("old", b"x");
        item.modified = Timestamp::from_millis(ms);
        f.store.publish(vec![item]).remove(0).unwrap();
        let stat = f.store.stat(KIND, &path("old")).unwrap().unwrap();
        assert_eq!(stat.modified.as_millis(), ms);
    }
}

fn a_member_that_cannot_be_published_leaves_the_others_alone(f: &Fixture) {
    f.put("file", b"old").unwrap();
    let batch = vec![
        f.item("x/1", b"1"),
        f.item("file/2", b"2"),
        f.item("x/3", b"3"),
    ];
    let answers = f.store.publish(batch);
    assert!(answers[0].is_ok() && answers[2].is_ok());
    assert!(matches!(answers[1], Err(Error::Blocked { .. })));
    assert_eq!(f.walked(), ["file", "x/1", "x/3"]);
    assert_eq!(f.staged_names(), Vec::<String>::new());
    assert!(f.store.publish(Vec::new()).is_empty());
}

fn two_members_for_one_place_are_published_in_order(f: &Fixture) {
    let mut batch = vec![f.item("a", b"1"), f.item("a", b"2"), f.item("a", b"3")];
    batch.iter_mut().for_each(|item| item.keep_replaced = true);
    assert!(f.store.publish(batch).iter().all(Result::is_ok));
    assert_eq!(f.read("a").unwrap(), b"3");
    let kept: Vec<_> = f.trashed().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(kept, [b"1", b"2"]);
}

fn a_folder_in_the_way_blocks_and_so_does_a_file(f: &Fixture) {
    f.put("folder/inner", b"old").unwrap();
    for name in ["folder", "folder/inner/below", "folder/inner/below/deeper"] {
        let error = f.put(name, b"new").unwrap_err();
        assert!(matches!(error, Error::Blocked { .. }), "{name}: {error}");
        assert_eq!(error.class(), Class::Transient);
    }
    let error = f.store.open_file(KIND, &path("folder")).unwrap_err();
    assert!(matches!(error, Error::NotAFile { .. }), "{error}");
    assert!(f.store.stat(KIND, &path("folder")).is_err());
    assert_eq!(f.read("folder/inner").unwrap(), b"old");
}

fn a_replaced_file_is_kept_in_the_trash(f: &Fixture) {
    f.put("a/b", b"old").unwrap();
    f.put("a/b", b"newer").unwrap();
    assert_eq!(f.trashed(), []);
    let mut batch = vec![f.item("a/b", b"newest"), f.item("a/c", b"first")];
    batch.iter_mut().for_each(|item| item.keep_replaced = true);
    assert!(f.store.publish(batch).iter().all(Result::is_ok));
    assert_eq!(f.read("a/b").unwrap(), b"newest");
    assert_eq!(f.read("a/c").unwrap(), b"first");
    assert_eq!(f.trashed(), [("a/b".to_owned(), b"newer".to_vec())]);
}

fn a_dropped_staged_file_leaves_nothing(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    let mut staged = staging.create().unwrap();
    staged.write_all(b"abc").unwrap();
    assert_eq!(staged.len(), 3);
    let name = &f.staged_names()[0];
    let disk = fs::metadata(f.store.root().join(STAGING).join(name)).unwrap();
    assert_eq!(disk.permissions().mode() & 0o7777, 0o600);
    drop(staged);
    staging.create().unwrap().discard();
    assert_eq!(f.staged_names(), Vec::<String>::new());
}

fn read_back(partial: &Partial) -> Vec<u8> {
    let mut bytes = Vec::new();
    partial
        .read_back(&mut |chunk| bytes.extend_from_slice(chunk))
        .unwrap();
    bytes
}

fn a_partial_survives_with_its_tag(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    let mut partial = staging.partial("ab12").unwrap();
    assert_eq!((partial.len(), partial.tag()), (0, None));
    partial.append(b"untagged").unwrap();
    drop(partial);
    let mut partial = staging.partial("ab12").unwrap();
    assert_eq!((partial.len(), partial.tag()), (8, None));
    partial.restart(Some("\"v1\"")).unwrap();
    partial.append(b"one").unwrap();
    partial.append(b"two").unwrap();
    drop(partial);
    let mut partial = f
        .reopen(Arc::new(RealSys))
        .staging("test")
        .unwrap()
        .partial("ab12")
        .unwrap();
    assert_eq!(
        (partial.len(), partial.tag().as_deref()),
        (6, Some("\"v1\""))
    );
    assert_eq!(read_back(&partial), b"onetwo");
    partial.append(b"three").unwrap();
    assert_eq!(read_back(&partial), b"onetwothree");
    partial.cut(99).unwrap();
    assert_eq!(partial.len(), 11);
    partial.cut(4).unwrap();
    partial.append(b"!").unwrap();
    drop(partial);
    let mut partial = staging.partial("ab12").unwrap();
    assert_eq!(partial.tag().as_deref(), Some("\"v1\""));
    assert_eq!(read_back(&partial), b"onet!");
    partial.restart(None).unwrap();
    assert_eq!((partial.len(), partial.tag()), (0, None));
    drop(partial);
    assert!(staging.partial("ab12").unwrap().is_empty());
    staging.partial("ab12").unwrap().discard();
    assert_eq!(f.staged_names(), Vec::<String>::new());
}

fn a_partial_is_held_by_one_worker(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    let mut partial = staging.partial("k").unwrap();
    assert!(matches!(staging.partial("k"), Err(Error::Busy { .. })));
    partial.append(b"x").unwrap();
    let item = Publish {
        content: partial.finish().into(),
        ..f.item("k", b"")
    };
    assert!(matches!(staging.partial("k"), Err(Error::Busy { .. })));
    f.store.publish(vec![item]).remove(0).unwrap();
    let mut again = staging.partial("k").unwrap();
    again.append(b"other").unwrap();
    assert_eq!(f.read("k").unwrap(), b"x");
}

fn a_partial_from_an_earlier_boot_is_cut_to_what_was_synced(f: &Fixture) {
    let open = |boot| {
        f.reopen(Arc::new(Faulty::boot(boot)))
            .staging("test")
            .unwrap()
            .partial("k")
            .unwrap()
    };
    let mut partial = open("b1");
    partial.restart(Some("v1")).unwrap();
    let chunk = vec![7; 1024 * 1024];
    for _ in 0..66 {
        partial.append(&chunk).unwrap();
    }
    drop(partial);
    assert_eq!(open("b1").len(), 66 * 1024 * 1024);
    let mut partial = open("b2");
    assert_eq!(
        (partial.len(), partial.tag().as_deref()),
        (64 * 1024 * 1024, Some("v1"))
    );
    partial.append(b"more").unwrap();
    drop(partial);
    assert_eq!(open("b2").len(), 64 * 1024 * 1024 + 4);
    // Nobody knows the boot: every opening counts as a new one.
    assert_eq!(open("").len(), 64 * 1024 * 1024);
    let mut partial = open("b3");
    partial.restart(Some("v2")).unwrap();
    partial.append(b"new").unwrap();
    drop(partial);
    let seen = |partial: Partial| (partial.len(), partial.tag());
    assert_eq!(seen(open("b4")), (0, Some("v2".to_owned())));
    fs::write(f.store.root().join(STAGING).join("test/k.part"), "no note").unwrap();
    fs::write(f.store.root().join(STAGING).join("test/k.etag"), "{torn").unwrap();
    assert_eq!(seen(open("b4")), (0, None));
}

fn a_finished_partial_is_published_and_leaves_nothing(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    let mut partial = staging.partial("k").unwrap();
    partial.append(b"abc").unwrap();
    let staged = partial.finish();
    let item = Publish {
        content: staged.into(),
        kind: KIND,
        path: path("p"),
        modified: TIME,
        keep_replaced: false,
    };
    f.store.publish(vec![item]).remove(0).unwrap();
    assert_eq!(f.read("p").unwrap(), b"abc");
    assert_eq!(f.staged_names(), Vec::<String>::new());
    let mut partial = staging.partial("k").unwrap();
    partial.append(b"wrong").unwrap();
    drop(partial.finish());
    assert_eq!(f.staged_names(), Vec::<String>::new());
}

fn sweeping_spares_partials_and_counts_bytes(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    let mut partial = staging.partial("keep").unwrap();
    partial.append(b"12345").unwrap();
    drop(partial);
    let dir = f.store.root().join(STAGING).join("test");
    for (name, bytes) in [
        ("left", "123"),
        ("gone.etag", "1234"),
        ("keep.etag.new", "1"),
    ] {
        fs::write(dir.join(name), bytes).unwrap();
    }
    symlink(f.outside().join("secret"), dir.join("link")).unwrap();
    fs::create_dir(dir.join("folder")).unwrap();
    assert_eq!(staging.sweep().unwrap(), 8);
    assert_eq!(
        f.staged_names(),
        ["test/keep.etag", "test/keep.part", "test/link"]
    );
    assert_eq!(staging.sweep().unwrap(), 0);
    assert_eq!(staging.partial("keep").unwrap().len(), 5);
    f.assert_untouched_outside();
}

fn old_partials_are_swept_unless_held(f: &Fixture) {
    let staging = f.store.staging("test").unwrap();
    for key in ["a", "b"] {
        staging.partial(key).unwrap().append(b"12345").unwrap();
    }
    let now = Timestamp::from(std::time::SystemTime::now());
    let hour = Duration::from_secs(3600);
    assert_eq!(staging.sweep_partials(hour, now).unwrap(), 0);
    let held = staging.partial("b").unwrap();
    assert!(staging.sweep_partials(hour, now.plus(2 * hour)).unwrap() > 5);
    drop(held);
    assert_eq!(f.staged_names(), ["test/b.etag", "test/b.part"]);
}

fn staging_names_cannot_leave_their_directory(f: &Fixture) {
    for name in [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        ".hidden",
        "a b",
        "\u{e9}",
        "nul\0",
        &"x".repeat(201),
    ] {
        assert!(
            matches!(f.store.staging(name), Err(Error::BadName { .. })),
            "{name:?}"
        );
        let staging = f.store.staging("test").unwrap();
        assert!(
            matches!(staging.partial(name), Err(Error::BadName { .. })),
            "{name:?}"
        );
    }
}

fn trash_keeps_every_version_and_removes_emptied_directories(f: &Fixture) {
    f.put("a/keep", b"keep").unwrap();
    for bytes in [b"1", b"2", b"3"] {
        f.put("a/b/c/d", bytes).unwrap();
        assert!(f.store.trash(KIND, &path("a/b/c/d")).unwrap());
        assert!(!f.on_disk("a/b").exists());
    }
    let kept: Vec<_> = f.trashed().into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(kept, [b"1", b"2", b"3"]);
    assert!(f.store.trash(KIND, &path("a/keep")).unwrap());
    assert_eq!(fs::read_dir(f.on_disk("")).unwrap().count(), 0);
    for absent in ["a/keep", "a", "x/y/z"] {
        assert!(!f.store.trash(KIND, &path(absent)).unwrap());
    }
    let slots = fs::read_dir(f.store.root().join(TRASH).join("originals")).unwrap();
    assert_eq!(slots.count(), 4, "a removal of nothing left a slot");
}

fn trash_leaves_alone_what_is_not_a_file(f: &Fixture) {
    f.put("folder/file", b"x").unwrap();
    symlink(f.outside(), f.on_disk("link")).unwrap();
    assert!(matches!(
        f.store.trash(KIND, &path("folder")),
        Err(Error::NotAFile { .. })
    ));
    assert!(matches!(
        f.store.trash(KIND, &path("link")),
        Err(Error::Escapes { .. })
    ));
    assert!(matches!(
        f.store.trash(KIND, &path("link/secret")),
        Err(Error::Escapes { .. })
    ));
    assert!(f.on_disk("link").exists());
    assert_eq!(f.trashed(), []);
    f.assert_untouched_outside();
}

fn trash_refuses_without_a_marker(f: &Fixture) {
    f.put("a", b"x").unwrap();
    fs::remove_file(f.store.root().join(".emsync/root.json")).unwrap();
    assert!(matches!(
        f.store.check_marker(),
        Err(Error::NoMarker { .. })
    ));
    assert!(matches!(
        f.store.trash(KIND, &path("a")),
        Err(Error::NoMarker { .. })
    ));
    assert_eq!(f.read("a").unwrap(), b"x");
}

fn a_missing_tree_is_not_an_empty_one(f: &Fixture) {
    fs::remove_dir(f.on_disk("")).unwrap();
    let missing = |error: Error| matches!(error, Error::NoTree { .. }) && error.stops_the_pass();
    assert!(missing(f.store.stat(KIND, &path("a")).unwrap_err()));
    assert!(missing(f.store.open_file(KIND, &path("a")).unwrap_err()));
    assert!(missing(f.store.trash(KIND, &path("a")).unwrap_err()));
    assert!(missing(f.put("a", b"x").unwrap_err()));
    let walked: Vec<_> = f.store.walk(KIND).collect();
    assert_eq!(walked.len(), 1);
    assert!(walked.into_iter().all(|item| missing(item.unwrap_err())));
}

#[track_caller]
fn assert_escapes(f: &Fixture, name: &str) {
    let is = |error: &Error| matches!(error, Error::Escapes { .. });
    assert!(
        is(&f.store.open_file(KIND, &path(name)).unwrap_err()),
        "open {name}"
    );
    assert!(
        is(&f.store.stat(KIND, &path(name)).unwrap_err()),
        "stat {name}"
    );
    assert!(
        is(&f.store.trash(KIND, &path(name)).unwrap_err()),
        "trash {name}"
    );
    for keep_replaced in [false, true] {
        let item = Publish {
            keep_replaced,
            ..f.item(name, b"evil")
        };
        let error = f.store.publish(vec![item]).remove(0).unwrap_err();
        assert!(is(&error), "publish {name}: {error}");
    }
    assert_eq!(f.staged_names(), Vec::<String>::new());
    f.assert_untouched_outside();
}

fn links_on_the_way_are_not_followed(f: &Fixture) {
    f.put("a/b/c/file", b"x").unwrap();
    for (at, target) in [
        ("link", "secret"),
        ("a/link", "secret"),
        ("a/b/link", "new"),
        ("a/b/c/link", "x/y/new"),
    ] {
        symlink(f.outside(), f.on_disk(at)).unwrap();
        assert_escapes(f, &format!("{at}/{target}"));
    }
    // A link that stays inside is refused as well: where it leads may change at any time.
    symlink("a/b", f.on_disk("inner")).unwrap();
    assert_escapes(f, "inner/c/file");
    let (good, bad): (Vec<_>, Vec<_>) = f.store.walk(KIND).partition(Result::is_ok);
    assert_eq!(good.len(), 1);
    assert_eq!(bad.len(), 5);
    assert!(
        bad.into_iter()
            .all(|item| matches!(item, Err(Error::Escapes { .. })))
    );
}

fn a_link_in_place_of_the_file_is_not_followed(f: &Fixture) {
    f.put("a/file", b"x").unwrap();
    for (at, to) in [
        ("to-file", f.outside().join("secret")),
        ("a/to-dir", f.outside()),
        ("a/dangling", f.outside().join("new")),
    ] {
        symlink(to, f.on_disk(at)).unwrap();
        assert_escapes(f, at);
        assert!(f.on_disk(at).is_symlink(), "{at} was replaced");
    }
}

fn a_parent_swapped_for_a_link_is_not_followed(f: &Fixture) {
    f.put("a/b/file", b"x").unwrap();
    fs::rename(f.on_disk("a/b"), f.on_disk("a/was")).unwrap();
    symlink(f.outside(), f.on_disk("a/b")).unwrap();
    assert_escapes(f, "a/b/file");
    assert_escapes(f, "a/b/secret");
    let whole = f.store.root().join("assets");
    fs::rename(&whole, f.store.root().join("was")).unwrap();
    symlink(f.outside(), &whole).unwrap();
    assert_escapes(f, "secret");
    assert!(f.store.walk(KIND).all(|item| item.is_err()));
}

fn links_in_our_own_corner_are_not_followed(f: &Fixture) {
    f.put("a", b"old").unwrap();
    let own = |name: &str| f.store.root().join(name);
    symlink(f.outside(), own(STAGING).join("evil")).unwrap();
    assert!(matches!(
        f.store.staging("evil"),
        Err(Error::Escapes { .. })
    ));
    let staging = f.store.staging("test").unwrap();
    symlink(f.outside().join("secret"), own(STAGING).join("test/k.part")).unwrap();
    assert!(matches!(staging.partial("k"), Err(Error::Escapes { .. })));
    fs::remove_file(own(STAGING).join("test/k.part")).unwrap();
    symlink(f.outside().join("secret"), own(STAGING).join("test/k.etag")).unwrap();
    assert!(matches!(staging.partial("k"), Err(Error::Escapes { .. })));
    staging.sweep().unwrap();
    symlink(f.outside(), own(TRASH).join("originals")).unwrap();
    assert!(matches!(
        f.store.trash(KIND, &path("a")),
        Err(Error::Escapes { .. })
    ));
    let item = Publish {
        keep_replaced: true,
        ..f.item("a", b"new")
    };
    assert!(matches!(
        f.store.publish(vec![item]).remove(0),
        Err(Error::Escapes { .. })
    ));
    assert_eq!(f.read("a").unwrap(), b"old");
    f.assert_untouched_outside();
}

fn fifos_are_refused_without_waiting(f: &Fixture) {
    let made = std::process::Command::new("mkfifo")
        .arg(f.on_disk("pipe"))
        .status()
        .unwrap();
    assert!(made.success());
    assert!(matches!(
        f.store.open_file(KIND, &path("pipe")),
        Err(Error::NotAFile { .. })
    ));
    assert!(matches!(f.put("pipe", b"x"), Err(Error::NotAFile { .. })));
    assert!(matches!(
        f.store.trash(KIND, &path("pipe")),
        Err(Error::NotAFile { .. })
    ));
    assert!(matches!(
        f.store.walk(KIND).next(),
        Some(Err(Error::NotAFile { .. }))
    ));
}

fn a_walk_is_in_the_byte_order_of_paths(f: &Fixture) {
    let mut names = [
        "a/x", "a.b", "a-b/c", "a0", "a b", "ab", "a/x.y/z", "a/x-", "B", "\u{e9}", "z",
    ];
    // Not "a/x.y" beside "a/x" only: every byte below and above the slash has to sort right.
    for name in names {
        f.put(name, name.as_bytes()).unwrap();
    }
    names.sort_unstable();
    assert_eq!(f.walked(), names);
    let sizes: Vec<_> = f
        .store
        .walk(KIND)
        .map(|item| item.unwrap().1.size)
        .collect();
    let expected: Vec<_> = names.iter().map(|name| name.len() as u64).collect();
    assert_eq!(sizes, expected);
    assert_eq!(f.store.walk(FileKind::Generated).count(), 0);
}

fn a_walk_reports_odd_names_and_goes_on(f: &Fixture) {
    use std::os::unix::ffi::OsStrExt;
    f.put("a", b"x").unwrap();
    f.put("z/z", b"x").unwrap();
    let odd = |bytes: &[u8]| f.on_disk("").join(std::ffi::OsStr::from_bytes(bytes));
    fs::write(odd(b"m\xff"), "x").unwrap();
    fs::create_dir(odd(b"n\xff")).unwrap();
    fs::write(odd(b"n\xff/inner"), "x").unwrap();
    let shown: Vec<_> = f
        .store
        .walk(KIND)
        .map(|item| match item {
            Ok((path, _)) => path.to_string(),
            Err(Error::OddName {
                path,
                reason: OddReason::NotUtf8,
            }) => format!("odd {path}"),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(shown, ["a", "odd m\u{fffd}", "odd n\u{fffd}", "z/z"]);
}

fn publishing_and_trashing_side_by_side_loses_nothing(f: &Fixture) {
    let rounds = 100;
    let trashed = std::thread::scope(|scope| {
        for worker in 0..2 {
            scope.spawn(move || {
                for round in 0..rounds {
                    let name = format!("shared/deep/{worker}-{round}");
                    f.put(&name, name.as_bytes()).unwrap();
                }
            });
        }
        let remover = scope.spawn(|| {
            let mut trashed = 0;
            for round in 0..rounds {
                for worker in 0..2 {
                    let name = path(&format!("shared/deep/{worker}-{round}"));
                    while !f.store.trash(KIND, &name).unwrap() {
                        std::thread::yield_now();
                    }
                    trashed += 1;
                }
            }
            trashed
        });
        remover.join().unwrap()
    });
    assert_eq!(f.trashed().len(), trashed);
    assert!(
        f.trashed()
            .iter()
            .all(|(name, bytes)| name.as_bytes() == bytes)
    );
    assert_eq!(f.walked(), Vec::<String>::new());
}
