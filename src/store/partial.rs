//! The beginning of a file whose transfer was cut off, kept so that it can be resumed.
//!
//! Beside the bytes lies a note that says which version of the peer's file they belong to (its ETag) and how many of them
//! are worth keeping:
//!
//! ```text
//! <key>.part    the bytes so far
//! <key>.etag    {"tag": "…", "synced": bytes known to be on the medium, "boot": the boot they were written in}
//! ```
//!
//! A kill of the process loses nothing that was appended: the kernel has it. A crash of the machine may leave any bytes
//! after `synced`, so after a new boot the partial is cut down to that; and a partial without a readable note is cut to
//! nothing. Appending syncs every 64 MiB, so that this costs little. The note is replaced by rename, and synced when the
//! one before it promised bytes that are no longer true.

use std::os::fd::AsFd;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::Error;
use super::staging::Staged;
use crate::crash::{self, Point};

/// Bytes appended between two syncs.
const SYNC_EVERY: u64 = 64 * 1024 * 1024;
/// Bytes appended before they are sent on their way to the medium, so that a sync finds little left to wait for.
const BEGIN_EVERY: u64 = 4 * 1024 * 1024;
/// More than any note has.
const MAX_NOTE: u64 = 64 * 1024;

/// What is remembered beside a partial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    tag: Option<String>,
    synced: u64,
    boot: String,
}

/// The beginning of a file whose transfer may be resumed. Dropping it keeps it on disk.
///
/// Nobody else can hold the same partial meanwhile.
#[derive(Debug)]
pub struct Partial {
    staged: Staged,
    note: Note,
    /// Bytes that are on their way to the medium, or there.
    begun: u64,
}

impl Partial {
    /// Takes up what is there: cuts bytes that cannot be trusted, writes the note where it is missing or old.
    pub(super) fn open(staged: Staged) -> Result<Self, Error> {
        let boot = staged.boot().to_owned();
        let found = Self::read_note(&staged)?;
        let trusted = match &found {
            None => 0,
            Some(note) if !boot.is_empty() && note.boot == boot => staged.len(),
            Some(note) => note.synced.min(staged.len()),
        };
        // Also when the length already fits: a new boot makes the rest of what we append as doubtful as before.
        let current = found
            .as_ref()
            .is_some_and(|note| note.boot == boot && note.synced <= staged.len());
        let mut partial = Self {
            note: Note {
                tag: found.as_ref().and_then(|note| note.tag.clone()),
                synced: found.map_or(0, |note| note.synced.min(trusted)),
                boot,
            },
            begun: staged.len(),
            staged,
        };
        if partial.staged.len() > trusted {
            partial.staged.cut(trusted)?;
        }
        if !current {
            partial.write_note(false)?;
        }
        Ok(partial)
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.staged.len()
    }

    /// Whether there is nothing to resume from.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty()
    }

    /// The tag it was last restarted with: the ETag of the peer's file that the bytes come from.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        self.note.tag.clone()
    }

    /// Drops all bytes and remembers another tag.
    ///
    /// # Errors
    /// System errors; the partial on disk is then empty or as before. Drop it; do not go on appending.
    pub fn restart(&mut self, tag: Option<&str>) -> Result<(), Error> {
        let promised = self.note.synced > 0;
        self.staged.cut(0)?;
        self.begun = 0;
        crash::point(Point::PartialCut)?;
        self.note.tag = tag.map(str::to_owned);
        self.note.synced = 0;
        self.write_note(promised)
    }

    /// Drops the bytes after the first `len`; does nothing when there are none.
    ///
    /// # Errors
    /// System errors; the partial on disk is then cut or as before.
    pub fn cut(&mut self, len: u64) -> Result<(), Error> {
        if len >= self.staged.len() {
            return Ok(());
        }
        self.staged.cut(len)?;
        self.begun = self.begun.min(len);
        if self.note.synced > len {
            self.note.synced = len;
            self.write_note(true)?;
        }
        Ok(())
    }

    /// Adds `bytes` at the end.
    ///
    /// # Errors
    /// [`Error::Full`] and other system errors; the partial then ends where it ended before or at the last sync.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.staged.write_all(bytes)?;
        crash::point(Point::PartialAppended)?;
        if self.staged.len().saturating_sub(self.begun) >= BEGIN_EVERY {
            self.begin();
        }
        if self.staged.len() - self.note.synced >= SYNC_EVERY {
            self.sync()?;
        }
        Ok(())
    }

    /// Reads everything from the start, in chunks, so that the digest of the beginning is known again.
    ///
    /// # Errors
    /// System errors.
    pub fn read_back(&self, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
        self.staged.read_back(each)
    }

    /// The whole file has arrived. From here on dropping removes it.
    #[must_use]
    pub fn finish(mut self) -> Staged {
        self.begin();
        let mut staged = self.staged;
        staged.arm();
        staged
    }

    /// Removes it, with what is remembered about it.
    pub fn discard(mut self) {
        self.staged.arm();
    }

    /// Sends what was appended since on its way to the medium, without waiting for it.
    fn begin(&mut self) {
        self.staged.begin_writing(self.begun);
        self.begun = self.staged.len();
    }

    fn sync(&mut self) -> Result<(), Error> {
        let sys = self.staged.sys();
        if let Err(errno) = sys.sync_file(self.staged.file()) {
            // The kernel may have thrown the unsynced bytes away, and another sync would not tell.
            self.staged.cut(self.note.synced)?;
            return Err(Error::of("sync", self.staged.path(), errno));
        }
        crash::point(Point::PartialSynced)?;
        self.note.synced = self.staged.len();
        self.write_note(true)
    }

    fn read_note(staged: &Staged) -> Result<Option<Note>, Error> {
        let name = staged.note();
        let Some((file, stat)) = staged.dir().open_file(name)? else {
            return Ok(None);
        };
        let mut text = vec![0; usize::try_from(stat.size.min(MAX_NOTE)).unwrap_or(0)];
        let got = rustix::io::pread(&file, &mut text[..], 0)
            .map_err(|errno| Error::of("read", staged.dir().path_of(name), errno))?;
        Ok(serde_json::from_slice(&text[..got]).ok())
    }

    fn write_note(&self, durably: bool) -> Result<(), Error> {
        let name = self.staged.note();
        let new = format!("{name}.new");
        let dir = self.staged.dir();
        let sys = self.staged.sys();
        let failed = |op| move |errno| Error::of(op, dir.path_of(name), errno);
        let text = serde_json::to_vec(&self.note).expect("a struct of texts and a number is JSON");
        match sys.unlink(dir.fd(), &new) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("replace")(errno)),
        }
        let file = sys.create(dir.fd(), &new).map_err(failed("make"))?;
        sys.write(file.as_fd(), &text, 0).map_err(failed("write"))?;
        if durably {
            sys.sync_file(file.as_fd()).map_err(failed("sync"))?;
        }
        crash::point(Point::NoteWritten)?;
        sys.rename(dir.fd(), &new, dir.fd(), name)
            .map_err(failed("name"))?;
        crash::point(Point::NoteNamed)?;
        if durably {
            sys.sync_dir(dir.fd()).map_err(failed("sync"))?;
        }
        Ok(())
    }
}
