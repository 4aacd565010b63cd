//! What the kernel tells of changes in a folder (inotify), kept in terms of the folder: which places to look at.
//!
//! The kernel tells of one directory's entries, so each directory is listened to, and each that comes later as soon as it is heard of;
//! what came into it before that is found by looking at the whole of it. When the queue overflows, or a directory cannot be listened
//! to, that is said, and the whole folder is due.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use walkdir::WalkDir;

use crate::import::{Only, Quiet};

/// What is listened to.
const WANTED: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// What was heard.
#[derive(Debug)]
pub(super) struct Heard {
    /// Where to look.
    pub(super) places: Only,
    /// Something was missed, and why.
    pub(super) missed: Option<String>,
}

/// Listens to a folder.
pub(super) struct Ears {
    dir: PathBuf,
    quiet: Arc<Quiet>,
    /// `None` where the system has no ear to spare.
    ear: Option<AsyncFd<OwnedFd>>,
    /// Directories that are listened to, as paths below the folder, by the number of their watch.
    paths: HashMap<i32, PathBuf>,
    /// Open files that lost one name and have not got another yet, by the number that joins the two events.
    moving: HashMap<u32, ()>,
}

impl Ears {
    /// Prepares to listen; hears nothing yet.
    pub(super) fn new(dir: &Path, quiet: Arc<Quiet>) -> Self {
        Self {
            dir: dir.to_owned(),
            quiet,
            ear: None,
            paths: HashMap::new(),
            moving: HashMap::new(),
        }
    }

    /// How many directories are listened to; `None` for no ear.
    pub(super) fn directories(&self) -> Option<usize> {
        self.ear.as_ref().map(|_| self.paths.len())
    }

    /// Listens to every directory that there is, from now on; answers what cannot be heard. After something was missed it begins anew.
    pub(super) async fn listen_everywhere(&mut self) -> Option<String> {
        if self.ear.is_some() {
            return self.listen_below(Path::new(""));
        }
        self.paths.clear();
        self.moving.clear();
        self.quiet.forget_open();
        self.ear = match open() {
            Ok(ear) => Some(ear),
            Err(error) => {
                self.ear = None;
                return Some(deaf(&error.to_string(), "instances"));
            }
        };
        self.listen_below(Path::new(""))
    }

    /// Listens to a directory and all below it; answers what cannot be heard.
    fn listen_below(&mut self, rel: &Path) -> Option<String> {
        let ear = self.ear.as_ref()?;
        let mut unheard = None;
        let walk = WalkDir::new(self.dir.join(rel)).follow_links(false);
        let directories = walk
            .into_iter()
            .filter_entry(|entry| entry.file_type().is_dir());
        for entry in directories {
            // What cannot be read is reported by the walk of the import; what is gone will be heard of.
            let Ok(entry) = entry else { continue };
            let path = entry.path().strip_prefix(&self.dir).unwrap_or(entry.path());
            match inotify::add_watch(ear, entry.path(), WANTED) {
                Ok(number) => {
                    self.paths.insert(number, path.to_owned());
                }
                Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => {}
                Err(errno) => unheard = Some(deaf(&errno.to_string(), "watches")),
            }
        }
        unheard
    }

    /// Forgets a directory that has left its place, and all below it.
    fn forget_below(&mut self, rel: &Path) {
        let gone: Vec<_> = self
            .paths
            .iter()
            .filter(|(_, path)| path.starts_with(rel))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            self.paths.remove(&number);
            if let Some(ear) = &self.ear {
                // A directory that is deleted takes its watch along.
                let _ = inotify::remove_watch(ear, number);
            }
        }
    }

    /// Waits for something to be heard, and takes all that there is.
    pub(super) async fn hear(&mut self) -> Heard {
        let mut heard = Heard {
            places: Only::nothing(),
            missed: None,
        };
        let Some(ear) = &self.ear else {
            return std::future::pending().await;
        };
        let events = match ear.readable().await {
            Ok(mut ready) => {
                let events = read(ready.get_inner());
                ready.clear_ready();
                events
            }
            Err(error) => Err(error),
        };
        match events {
            Ok(events) => {
                for event in events {
                    self.take(&event, &mut heard);
                }
            }
            Err(error) => {
                self.close();
                heard.missed = Some(deaf(&error.to_string(), "instances"));
            }
        }
        heard
    }

    /// Hears nothing any more, and forgets what only what was missed could end.
    fn close(&mut self) {
        self.ear = None;
        self.paths.clear();
        self.quiet.forget_open();
    }

    fn take(&mut self, event: &Event, heard: &mut Heard) {
        let flags = event.flags;
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            self.close();
            heard.missed = Some(
                "more changed at once than the system could tell of; a whole walk follows"
                    .to_owned(),
            );
            return;
        }
        if flags.contains(ReadFlags::IGNORED) {
            self.paths.remove(&event.number);
            return;
        }
        let Some(above) = self.paths.get(&event.number).cloned() else {
            return;
        };
        if flags.intersects(ReadFlags::DELETE_SELF | ReadFlags::MOVE_SELF) {
            // Only of the folder itself: any other is told of by the one above it.
            if above.as_os_str().is_empty() {
                self.close();
                heard.missed =
                    Some("the folder itself was moved or deleted; a whole walk follows".to_owned());
            }
            return;
        }
        let Some(name) = &event.name else {
            return;
        };
        let path = above.join(OsStr::from_bytes(name));
        if flags.contains(ReadFlags::ISDIR) {
            self.take_directory(flags, &path, heard);
        }
        // Names that are not UTF-8 are refused by every import.
        let Some(rel) = path.to_str() else { return };
        if !flags.contains(ReadFlags::ISDIR) {
            self.take_file(event, rel);
        } else if flags == ReadFlags::ISDIR | ReadFlags::ATTRIB {
            return;
        }
        heard.places.add(rel);
    }

    fn take_directory(&mut self, flags: ReadFlags, path: &Path, heard: &mut Heard) {
        if flags.intersects(ReadFlags::MOVED_FROM | ReadFlags::DELETE) {
            self.forget_below(path);
        }
        if flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            let unheard = self.listen_below(path);
            heard.missed = heard.missed.take().or(unheard);
        }
    }

    /// Notes who has a file open for writing. Who only reads it is not heard of.
    fn take_file(&mut self, event: &Event, rel: &str) {
        let flags = event.flags;
        if flags.contains(ReadFlags::MODIFY) {
            self.quiet.opened(rel);
        }
        if flags.intersects(ReadFlags::CLOSE_WRITE | ReadFlags::DELETE) {
            self.quiet.closed(rel);
        }
        // A file keeps its writer with its name gone.
        if flags.contains(ReadFlags::MOVED_FROM) && self.quiet.closed(rel) {
            self.moving.insert(event.cookie, ());
        }
        if flags.contains(ReadFlags::MOVED_TO) {
            match self.moving.remove(&event.cookie) {
                Some(()) => self.quiet.opened(rel),
                None => drop(self.quiet.closed(rel)),
            }
        }
    }
}

/// An event, taken out of the kernel's buffer.
#[derive(Debug)]
struct Event {
    number: i32,
    flags: ReadFlags,
    cookie: u32,
    name: Option<Vec<u8>>,
}

/// A new ear, deaf yet.
#[expect(
    deprecated,
    reason = "what is wanted is an owned handle, which this is; the other way to say so is unsafe code"
)]
fn open() -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?)
}

/// All events that are there.
fn read(ear: &OwnedFd) -> std::io::Result<Vec<Event>> {
    let mut buffer = vec![MaybeUninit::uninit(); 64 << 10];
    let mut reader = Reader::new(ear, &mut buffer);
    let mut events = Vec::new();
    loop {
        match reader.next() {
            Ok(event) => events.push(Event {
                number: event.wd(),
                flags: event.events(),
                cookie: event.cookie(),
                name: event.file_name().map(|name| name.to_bytes().to_vec()),
            }),
            Err(Errno::WOULDBLOCK) => return Ok(events),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn deaf(why: &str, what: &str) -> String {
    format!(
        "not every change is heard of ({why}): raise fs.inotify.max_user_{what} (sysctl); until then whole walks find the rest"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::time::Duration;

    use super::*;

    async fn heard(ears: &mut Ears, wanted: &[&str]) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let everything = async {
            while !wanted.iter().all(|place| all.contains(*place)) {
                let heard = ears.hear().await;
                assert_eq!(heard.missed, None);
                let Only::Below(places) = heard.places else {
                    panic!("everything is to be looked at");
                };
                all.extend(places);
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), everything).await;
        assert!(waited.is_ok(), "{wanted:?} is not among {all:?}");
        all
    }

    #[tokio::test]
    async fn changes_in_directories_that_came_later_are_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("old/deep")).unwrap();
        let outside = tempfile::tempdir_in(root.parent().unwrap()).unwrap();
        fs::create_dir_all(outside.path().join("in/side")).unwrap();
        let quiet = Arc::new(Quiet::new(Duration::ZERO));
        let mut ears = Ears::new(&root, quiet);
        assert_eq!(ears.listen_everywhere().await, None);
        assert_eq!(ears.directories(), Some(3));
        fs::write(root.join("old/deep/a"), "x").unwrap();
        heard(&mut ears, &["old/deep/a"]).await;
        fs::create_dir(root.join("new")).unwrap();
        heard(&mut ears, &["new"]).await;
        fs::write(root.join("new/b"), "x").unwrap();
        heard(&mut ears, &["new/b"]).await;
        fs::rename(outside.path().join("in"), root.join("in")).unwrap();
        heard(&mut ears, &["in"]).await;
        fs::write(root.join("in/side/c"), "x").unwrap();
        heard(&mut ears, &["in/side/c"]).await;
        // A directory that has another name is heard of under that.
        fs::rename(root.join("in"), root.join("out")).unwrap();
        heard(&mut ears, &["in", "out"]).await;
        fs::write(root.join("out/side/d"), "x").unwrap();
        let all = heard(&mut ears, &["out/side/d"]).await;
        assert!(!all.contains("in/side/d"), "{all:?}");
        fs::remove_file(root.join("old/deep/a")).unwrap();
        heard(&mut ears, &["old/deep/a"]).await;
    }

    #[tokio::test]
    async fn a_file_is_open_from_the_first_write_to_the_close_whatever_its_name() {
        use std::io::Write as _;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let quiet = Arc::new(Quiet::new(Duration::ZERO));
        let mut ears = Ears::new(&root, Arc::clone(&quiet));
        assert_eq!(ears.listen_everywhere().await, None);
        let mut file = fs::File::create(root.join("a")).unwrap();
        file.write_all(b"x").unwrap();
        fs::rename(root.join("a"), root.join("b")).unwrap();
        heard(&mut ears, &["a", "b"]).await;
        assert!(!quiet.is_at_rest("b", &root.join("b").metadata().unwrap()));
        drop(file);
        fs::write(root.join("mark"), "").unwrap();
        heard(&mut ears, &["b", "mark"]).await;
        assert!(quiet.is_at_rest("b", &root.join("b").metadata().unwrap()));
    }

    #[tokio::test]
    async fn the_end_of_the_folder_itself_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("f");
        fs::create_dir(&root).unwrap();
        let mut ears = Ears::new(&root, Arc::new(Quiet::new(Duration::ZERO)));
        assert_eq!(ears.listen_everywhere().await, None);
        fs::remove_dir(&root).unwrap();
        let said = tokio::time::timeout(Duration::from_secs(30), ears.hear()).await;
        let said = said.unwrap().missed.unwrap();
        assert!(said.contains("deleted"), "{said}");
    }
}
