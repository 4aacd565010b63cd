//! The walk of the imported folder: a thread that reads directories and hands over portions through a channel of one.
//!
//! In order of names, links not followed, junk left out. What cannot be imported at all (a name that is not UTF-8 or no
//! media path, a socket, a directory that cannot be read) comes as a refusal in its portion, and the walk goes on. It ends
//! with the folder, or when nobody takes portions any more.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use walkdir::{DirEntry, WalkDir};

use super::{Error, Only, Quiet};
use crate::model::MediaPath;

/// Names that systems drop beside media and that nobody means to keep.
const JUNK: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];
/// Most bytes of one portion, so that large files are committed as they come.
const PORTION_BYTES: u64 = 4 << 30;

/// A file as the walk saw it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Below the folder: its key among the source files.
    pub(super) rel: String,
    /// Below `originals/`.
    pub(super) path: MediaPath,
    /// Bytes.
    pub(super) size: u64,
    /// Modification time in nanoseconds since 1970.
    pub(super) modified_ns: i64,
}

/// What is worked on at once.
#[derive(Debug, Default)]
pub(super) struct Portion {
    /// Directories, as source paths.
    pub(super) dirs: Vec<MediaPath>,
    /// Files.
    pub(super) files: Vec<Found>,
    /// What cannot be imported, with the reason.
    pub(super) refused: Vec<String>,
    /// Bytes of files that are not at rest.
    pub(super) restless: Vec<u64>,
}

/// What of a checked folder is walked, and how.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    pub(super) dir: PathBuf,
    pub(super) prefix: Option<MediaPath>,
    /// Most entries of a portion.
    pub(super) batch: usize,
    pub(super) only: Only,
    pub(super) quiet: Option<Arc<Quiet>>,
}

impl Portion {
    fn is_full(&self, batch: usize) -> bool {
        let bytes: u64 = self.files.iter().map(|file| file.size).sum();
        self.dirs.len() + self.files.len() + self.refused.len() >= batch || bytes >= PORTION_BYTES
    }
}

/// Makes sure that a folder can be imported, and answers its canonical path.
///
/// # Errors
/// [`Error::Folder`], [`Error::Overlaps`] or [`Error::Empty`].
pub(super) fn check(dir: &Path, root: &Path) -> Result<PathBuf, Error> {
    let failed = |source| Error::Folder {
        dir: dir.to_owned(),
        source,
    };
    let dir = dir.canonicalize().map_err(failed)?;
    std::fs::read_dir(&dir).map_err(failed)?;
    let root = root.canonicalize().map_err(failed)?;
    if dir.starts_with(&root) || root.starts_with(&dir) {
        return Err(Error::Overlaps { dir, root });
    }
    let holds_a_file = entries(&dir, 1)
        .flatten()
        .any(|entry| entry.file_type().is_file());
    if holds_a_file {
        Ok(dir)
    } else {
        Err(Error::Empty { dir })
    }
}

/// Starts the walk of a checked folder on a thread of its own.
///
/// # Errors
/// [`Error::Worker`] when there is no thread to be had.
pub(super) fn start(walk: Walk) -> Result<mpsc::Receiver<Portion>, Error> {
    let (portions, taken) = mpsc::channel(1);
    std::thread::Builder::new()
        .name("import-walk".to_owned())
        .spawn(move || walk.run(&portions))
        .map_err(|_| Error::Worker)?;
    Ok(taken)
}

impl Walk {
    fn run(&self, to: &mpsc::Sender<Portion>) {
        let mut portion = Portion::default();
        portion.dirs.extend(self.prefix.clone());
        for root in self.only.roots(&self.dir) {
            if !self.below(&root, &mut portion, to) {
                return;
            }
        }
        // Refused only when the import has ended already.
        let _unwanted = to.blocking_send(portion);
    }

    /// Walks from one root on; `false` when nobody takes portions any more.
    fn below(&self, root: &Path, portion: &mut Portion, to: &mpsc::Sender<Portion>) -> bool {
        let mut entries = entries(root, usize::from(root == self.dir));
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // What was heard of may be gone again, and that is what `gone` is for.
                Err(error) if self.only != Only::Whole && is_gone(&error) => continue,
                Err(error) => {
                    portion.refused.push(error.to_string());
                    continue;
                }
            };
            let is_dir = entry.file_type().is_dir();
            match place(&self.dir, self.prefix.as_ref(), &entry) {
                Ok((_, path)) if is_dir => portion.dirs.push(path),
                Ok((rel, path)) => self.file(&entry, rel, path, portion),
                Err(reason) => {
                    portion.refused.push(reason);
                    if is_dir {
                        entries.skip_current_dir();
                    }
                }
            }
            if portion.is_full(self.batch.max(1))
                && to.blocking_send(std::mem::take(portion)).is_err()
            {
                return false;
            }
        }
        true
    }

    fn file(&self, entry: &DirEntry, rel: String, path: MediaPath, portion: &mut Portion) {
        let stat = match regular(entry, &rel) {
            Ok(stat) => stat,
            Err(reason) => return portion.refused.push(reason),
        };
        if self
            .quiet
            .as_ref()
            .is_some_and(|quiet| !quiet.is_at_rest(&rel, &stat))
        {
            return portion.restless.push(stat.len());
        }
        portion.files.push(Found {
            rel,
            path,
            size: stat.len(),
            modified_ns: modified_ns(&stat),
        });
    }
}

fn is_gone(error: &walkdir::Error) -> bool {
    let kind = error.io_error().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::NotFound | ErrorKind::NotADirectory))
}

type Entries = walkdir::FilterEntry<walkdir::IntoIter, fn(&DirEntry) -> bool>;

/// All entries below a root, and with a depth of 0 itself, in order of names, without junk and links.
fn entries(root: &Path, depth: usize) -> Entries {
    let wanted: fn(&DirEntry) -> bool = |entry| {
        !(entry.path_is_symlink() || !entry.file_type().is_dir() && is_junk(entry.file_name()))
    };
    WalkDir::new(root)
        .follow_root_links(depth > 0)
        .min_depth(depth)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(wanted)
}

fn is_junk(name: &OsStr) -> bool {
    JUNK.iter().any(|junk| name == *junk) || name.as_encoded_bytes().starts_with(b"._")
}

/// The entry's path below the folder and its source path, or why it cannot have one.
fn place(
    dir: &Path,
    prefix: Option<&MediaPath>,
    entry: &DirEntry,
) -> Result<(String, MediaPath), String> {
    let below = entry.path().strip_prefix(dir).unwrap_or(entry.path());
    let rel = below
        .to_str()
        .ok_or_else(|| format!("{below:?}: the name is not UTF-8"))?;
    let path = match prefix {
        Some(prefix) => prefix.join(rel),
        None => MediaPath::new(rel),
    };
    let path = path.map_err(|error| error.to_string())?;
    if path.is_bookkeeping() {
        // Nodes leave these names out of every listing (H-42), so what has one would never arrive anywhere.
        return Err(format!(
            "{rel}: .versions is a name that EMDB keeps for itself"
        ));
    }
    Ok((rel.to_owned(), path))
}

fn regular(entry: &DirEntry, rel: &str) -> Result<Metadata, String> {
    if !entry.file_type().is_file() {
        return Err(format!("{rel}: is neither a file nor a directory"));
    }
    entry.metadata().map_err(|error| error.to_string())
}

/// Modification time in nanoseconds since 1970; stays inside the range of the type.
pub(super) fn modified_ns(stat: &std::fs::Metadata) -> i64 {
    stat.mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(dir: &Path, prefix: Option<&str>) -> Vec<Portion> {
        let prefix = prefix.map(|prefix| MediaPath::new(prefix).unwrap());
        let walk = Walk {
            dir: dir.to_owned(),
            prefix,
            batch: 2,
            only: Only::Whole,
            quiet: None,
        };
        let mut portions = start(walk).unwrap();
        std::iter::from_fn(|| portions.blocking_recv()).collect()
    }

    #[test]
    fn junk_and_links_are_left_out_and_dot_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            ".DS_Store",
            "Thumbs.db",
            "._a",
            "desktop.ini",
            ".hidden",
            "b",
            "a",
        ] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let found: Vec<_> = walked(dir.path(), Some("up"))
            .into_iter()
            .flat_map(|portion| portion.files)
            .map(|file| (file.rel, file.path.to_string()))
            .collect();
        let expected = [(".hidden", "up/.hidden"), ("a", "up/a"), ("b", "up/b")];
        assert_eq!(
            found,
            expected.map(|(rel, path)| (rel.to_owned(), path.to_owned()))
        );
    }

    #[test]
    fn portions_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..7 {
            std::fs::write(dir.path().join(n.to_string()), "x").unwrap();
        }
        let portions = walked(dir.path(), None);
        assert!(portions.iter().all(|portion| portion.files.len() <= 2));
        assert_eq!(
            portions
                .iter()
                .map(|portion| portion.files.len())
                .sum::<usize>(),
            7
        );
    }

    #[test]
    fn a_socket_is_refused_with_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let refused: Vec<_> = walked(dir.path(), None)
            .into_iter()
            .flat_map(|portion| portion.refused)
            .collect();
        assert_eq!(refused, ["s: is neither a file nor a directory"]);
    }

    #[test]
    fn folders_that_are_missing_empty_or_overlapping_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (root, photos) = (dir.path().join("root"), dir.path().join("photos"));
        std::fs::create_dir_all(root.join("inside")).unwrap();
        assert!(matches!(check(&photos, &root), Err(Error::Folder { .. })));
        std::fs::create_dir_all(photos.join("empty")).unwrap();
        std::fs::write(photos.join(".DS_Store"), "x").unwrap();
        assert!(matches!(check(&photos, &root), Err(Error::Empty { .. })));
        std::fs::write(photos.join("empty/a"), "x").unwrap();
        assert!(check(&photos, &root).is_ok());
        assert!(matches!(
            check(&photos.join("empty/a"), &root),
            Err(Error::Folder { .. })
        ));
        for overlapping in [dir.path(), &root, &root.join("inside")] {
            assert!(matches!(
                check(overlapping, &root),
                Err(Error::Overlaps { .. })
            ));
        }
    }
}
