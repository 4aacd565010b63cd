//! Every file of a tree, in the byte order of its full path: the order in which listings of peers are compared.
//!
//! One directory per level is held in memory and no directory stays open between two items, so that neither a deep tree nor
//! a slow consumer costs open files. A file's size and time are those of the moment its directory was read; who deletes or
//! overwrites because of them looks again first.

use std::ffi::CString;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::dirs::{Dir, file_stat};
use super::error::{Error, OddReason};
use super::{Stat, Store};
use crate::model::MediaPath;

/// The walk of [`Store::walk`].
///
/// Links are never followed. A name that is no [`MediaPath`], and anything that is neither file nor directory, comes as an
/// error in its place and the walk goes on; so does a directory that cannot be read. **A walk that gave an error was not
/// complete**: absence must not be concluded from it. Files that appear or vanish meanwhile may be given or not.
#[derive(Debug)]
pub struct Walk {
    store: Store,
    base: String,
    levels: Vec<Level>,
    started: bool,
}

/// What is left of one directory, in reverse order.
#[derive(Debug)]
struct Level {
    /// Path of the directory below the tree, empty for the tree itself.
    path: String,
    rest: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// The name; a directory's ends in `/`, which makes the order of names in one directory that of whole paths.
    key: String,
    found: Found,
}

#[derive(Debug)]
enum Found {
    File(Stat),
    Directory,
    Bad(Error),
}

impl Walk {
    /// Of the directory `base`, a path from the media root; there must be one, as [`Error::NoTree`] says otherwise.
    pub(super) fn new(store: Store, base: String) -> Self {
        Self {
            store,
            base,
            levels: Vec::new(),
            started: false,
        }
    }

    /// Reads a directory and puts it on top; one that vanished is as good as empty.
    fn enter(&mut self, path: String) -> Result<(), Error> {
        let tree = self.store.0.dirs.fixed(&self.base)?;
        let Some(dir) = self.store.0.dirs.find(&tree, &path)? else {
            return Ok(());
        };
        let mut rest = Vec::new();
        for name in dir.names()? {
            rest.extend(entry(&dir, &path, name));
        }
        rest.sort_unstable_by(|a, b| b.key.cmp(&a.key));
        self.levels.push(Level { path, rest });
        Ok(())
    }
}

impl Iterator for Walk {
    type Item = Result<(MediaPath, Stat), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            if let Err(error) = self.enter(String::new()) {
                return Some(Err(error));
            }
        }
        loop {
            let level = self.levels.last_mut()?;
            let Some(entry) = level.rest.pop() else {
                self.levels.pop();
                continue;
            };
            let path = below(&level.path, entry.key.trim_end_matches('/'));
            match entry.found {
                Found::Bad(error) => return Some(Err(error)),
                Found::File(stat) => match MediaPath::new(path) {
                    Ok(path) => return Some(Ok((path, stat))),
                    Err(error) => {
                        return Some(Err(Error::OddName {
                            path: error.path,
                            reason: OddReason::Path(error.reason),
                        }));
                    }
                },
                Found::Directory => {
                    if let Err(error) = self.enter(path) {
                        return Some(Err(error));
                    }
                }
            }
        }
    }
}

/// What a name in a directory stands for; nothing when it vanished.
fn entry(dir: &Dir, above: &str, name: CString) -> Option<Entry> {
    let stat = match rustix::fs::statat(dir.fd(), &name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return None,
        stat => stat,
    };
    let (name, utf8) = match name.into_string() {
        Ok(name) => (name, true),
        Err(error) => {
            let shown = error.into_cstring().to_string_lossy().into_owned();
            (shown, false)
        }
    };
    let found = match stat {
        _ if !utf8 => Found::Bad(Error::OddName {
            path: below(above, &name),
            reason: OddReason::NotUtf8,
        }),
        Err(errno) => Found::Bad(Error::of("stat", below(above, &name), errno)),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Found::Directory
        }
        Ok(stat) => match file_stat(&stat, &dir.path_of(&name)) {
            Ok(stat) => Found::File(stat),
            Err(error) => Found::Bad(error),
        },
    };
    let key = match found {
        Found::Directory => format!("{name}/"),
        _ => name,
    };
    Some(Entry { key, found })
}

fn below(above: &str, name: &str) -> String {
    if above.is_empty() {
        name.to_owned()
    } else {
        format!("{above}/{name}")
    }
}
