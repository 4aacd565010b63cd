//! The way back: a trashed file gets its place in the tree again, or a copy of it leaves the root.
//!
//! ```text
//! make the missing directories of the place, each synced           kill: empty directories stay
//! link the trashed file to the place, never over another           kill: the file has two names, both whole
//! sync the place's directory                                       only now is it durable, and said to be
//! (the caller commits the rows, then `empty_one` takes the name in the trash away)
//! ```
//!
//! The trash keeps its name until rows speak of the restored file, so a restore that was killed anywhere is done again by
//! asking for the same item again. Where the file system gives no second names a copy is published instead.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::io::Errno;

use super::super::dirs::{Dir, Dirs, Resolver};
use super::super::error::Error;
use super::super::{OpenFile, Publish, Store, open_root, parent_text};
use super::cannot_move;
use super::list::Trashed;
use crate::model::MediaPath;

/// Bytes copied at a time.
const PIECE: usize = 256 * 1024;

impl Store {
    /// Opens a trashed file for reading; `None` when it is gone.
    ///
    /// # Errors
    /// As [`Store::open_file`].
    pub fn open_trashed(&self, item: &Trashed) -> Result<Option<OpenFile>, Error> {
        let Some(dir) = self.slot_dir(item)? else {
            return Ok(None);
        };
        Ok(dir.open_file(item.path.name())?.map(|(fd, stat)| OpenFile {
            file: File::from(fd),
            size: stat.size,
            modified: stat.modified,
        }))
    }

    /// Gives a trashed file the free place `to` in its tree, durably. Its name in the trash stays. A file of the same content
    /// that is there already is taken for it.
    ///
    /// # Errors
    /// [`Error::Taken`] when a file is there, [`Error::Blocked`] when a folder is, or a file where a folder is needed;
    /// [`Error::Vanished`] when the trash has it no more; [`Error::NoMarker`] and its like; system errors.
    pub fn restore(&self, item: &Trashed, to: &MediaPath) -> Result<(), Error> {
        self.check_marker()?;
        let dirs = &self.0.dirs;
        let (kind, name) = (item.kind(), item.path.name());
        let vanished = || Error::Vanished {
            path: format!("{}/{}", item.slot.path(), item.path),
        };
        let from = self.slot_dir(item)?.ok_or_else(vanished)?;
        from.look(name)?.ok_or_else(vanished)?;
        let tree = self.tree(kind)?;
        let linked = dirs.make(&tree, parent_text(to)).and_then(|dir| {
            if is_same(&from, name, &dir, to.name())? {
                // A restore that was killed, or could not sync, got so far.
                return settle(dirs, &dir, to.name()).map(|()| true);
            }
            expect_free(&dir, to.name())?;
            match dirs.sys().link(from.fd(), name, dir.fd(), to.name()) {
                Ok(()) => settle(dirs, &dir, to.name()).map(|()| true),
                Err(Errno::EXIST) => Err(taken(&dir, to.name())),
                Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => Ok(false),
                Err(errno) => Err(cannot_move(dir.path_of(to.name()), errno)),
            }
        });
        let is_linked = linked.inspect_err(|_| dirs.prune(&tree, parent_text(to)))?;
        if is_linked {
            return Ok(());
        }
        self.restore_copy(item, to)
    }

    fn restore_copy(&self, item: &Trashed, to: &MediaPath) -> Result<(), Error> {
        let open = self.open_trashed(item)?;
        let mut open = open.ok_or_else(|| Error::Vanished {
            path: item.path.to_string(),
        })?;
        let mut staged = self.staging("restore")?.create()?;
        copy(&mut open.file, item.path.as_str(), |piece, _| {
            staged.write_all(piece)
        })?;
        let publish = Publish {
            content: staged.into(),
            kind: item.kind(),
            path: to.clone(),
            modified: open.modified,
            keep_replaced: true,
        };
        self.publish(vec![publish]).remove(0)
    }

    /// Copies a trashed file to `path` below `dir`, a directory outside the root that is made where it is missing. Never over
    /// an existing file, and never out of `dir`, whatever links are in it. Answers the bytes.
    ///
    /// # Errors
    /// [`Error::Taken`], [`Error::Blocked`], [`Error::Escapes`]; [`Error::Vanished`] when the trash has it no more; system
    /// errors; then nothing has the name.
    pub fn copy_out(&self, item: &Trashed, dir: &Path, path: &MediaPath) -> Result<u64, Error> {
        let open = self.open_trashed(item)?;
        let open = open.ok_or_else(|| Error::Vanished {
            path: item.path.to_string(),
        })?;
        std::fs::create_dir_all(dir).map_err(|source| Error::Io {
            op: "make",
            path: dir.display().to_string(),
            source,
        })?;
        let fd = open_root(dir)?;
        let resolver = match self.0.dirs.resolver() {
            Resolver::Steps => Resolver::Steps,
            #[cfg(target_os = "linux")]
            Resolver::Kernel => Resolver::probe(fd.as_fd()),
        };
        let dirs = Dirs::new(fd, resolver, self.0.dirs.shared_sys());
        let place = dirs.make(&dirs.root()?, parent_text(path))?;
        expect_free(&place, path.name())?;
        let part = format!(".emsync-{}.part", item.id());
        // What a killed copy of the same item left.
        let _ = dirs.sys().unlink(place.fd(), &part);
        let bytes = write_out(&dirs, &place, &part, open)
            .and_then(|bytes| name_out(&dirs, &place, &part, path.name()).map(|()| bytes));
        let _ = dirs.sys().unlink(place.fd(), &part);
        let bytes = bytes?;
        dirs.sync(&place)
            .map_err(|errno| Error::of("sync", place.path(), errno))?;
        Ok(bytes)
    }
}

/// Writes a whole copy under a name for the time being, durably.
fn write_out(dirs: &Dirs, place: &Dir, part: &str, mut open: OpenFile) -> Result<u64, Error> {
    let sys = dirs.sys();
    let failed = |op| move |errno| Error::of(op, place.path_of(part), errno);
    let file = sys.create(place.fd(), part).map_err(failed("create"))?;
    let bytes = copy(&mut open.file, part, |piece, at| {
        sys.write(file.as_fd(), piece, at).map_err(failed("write"))
    })?;
    sys.set_modified(file.as_fd(), open.modified)
        .map_err(failed("set the time of"))?;
    sys.set_public(file.as_fd())
        .map_err(failed("set the mode of"))?;
    sys.sync_file(file.as_fd()).map_err(failed("sync"))?;
    Ok(bytes)
}

/// Gives the copy its name, where nothing has it.
fn name_out(dirs: &Dirs, place: &Dir, part: &str, name: &str) -> Result<(), Error> {
    match dirs.sys().link(place.fd(), part, place.fd(), name) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(taken(place, name)),
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            expect_free(place, name)?;
            dirs.sys()
                .rename(place.fd(), part, place.fd(), name)
                .map_err(|errno| cannot_move(place.path_of(name), errno))
        }
        Err(errno) => Err(cannot_move(place.path_of(name), errno)),
    }
}

fn expect_free(dir: &Dir, name: &str) -> Result<(), Error> {
    match dir.look(name) {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err(taken(dir, name)),
        Err(Error::NotAFile {
            path,
            what: "a directory",
        }) => Err(Error::Blocked {
            path,
            why: "a folder is where the file is to go",
        }),
        Err(error) => Err(error),
    }
}

/// Whether two names stand for the same bytes.
fn is_same(from: &Dir, name: &str, to: &Dir, other: &str) -> Result<bool, Error> {
    if to.look(other).is_err() {
        return Ok(false);
    }
    let (Some((ours, size)), Some((theirs, other_size))) =
        (from.open_file(name)?, to.open_file(other)?)
    else {
        return Ok(false);
    };
    if size.size != other_size.size {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (File::from(ours), File::from(theirs));
    let (mut a, mut b) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = (
            read_piece(&mut ours, &mut a, name)?,
            read_piece(&mut theirs, &mut b, other)?,
        );
        if a[..read.0] != b[..read.1] {
            return Ok(false);
        }
        if read.0 == 0 {
            return Ok(true);
        }
    }
}

/// Waits until a file and its name are on the medium.
fn settle(dirs: &Dirs, dir: &Dir, name: &str) -> Result<(), Error> {
    let failed = |errno| Error::of("sync", dir.path_of(name), errno);
    if let Some((file, _)) = dir.open_file(name)? {
        dirs.sys().sync_file(file.as_fd()).map_err(failed)?;
    }
    dirs.sync(dir).map_err(failed)
}

fn taken(dir: &Dir, name: &str) -> Error {
    Error::Taken {
        path: dir.path_of(name),
    }
}

/// Reads a file to its end, piece by piece; answers its bytes.
fn copy(
    file: &mut File,
    shown: &str,
    mut piece: impl FnMut(&[u8], u64) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut buffer = vec![0; PIECE];
    let mut bytes = 0;
    loop {
        let read = read_piece(file, &mut buffer, shown)?;
        if read == 0 {
            return Ok(bytes);
        }
        piece(&buffer[..read], bytes)?;
        bytes += read as u64;
    }
}

/// Fills the buffer as far as the file goes.
fn read_piece(file: &mut File, buffer: &mut [u8], shown: &str) -> Result<usize, Error> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(source) => {
                return Err(Error::Io {
                    op: "read",
                    path: shown.to_owned(),
                    source,
                });
            }
        }
    }
    Ok(filled)
}
