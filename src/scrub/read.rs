//! One file, read whole and hashed: from the medium as far as the system allows, and no faster than it may be.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use tokio::runtime::Handle;

use crate::catalogue::FoundOnDisk;
use crate::error::chain;
use crate::model::{Hasher, MediaFile, Sha256};
use crate::shutdown::Shutdown;
use crate::store::{self, OpenFile, Store};
use crate::throttle::Throttle;

/// Bytes read at a time.
const PIECE: usize = 1 << 20;

/// What the system says when the medium fails.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// What a file on disk is, so that it is known again: device, inode, time of its last change, size.
pub(super) type Identity = (u64, u64, i64, i64, u64);

/// What was found where a row says that a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// The file that the row speaks of.
    Sound,
    /// Something else.
    Other {
        /// What.
        found: FoundOnDisk,
        /// By which it is known again.
        identity: Identity,
    },
    /// A file whose medium does not give it out.
    Unreadable {
        /// What can be said of it.
        found: FoundOnDisk,
        /// By which it is known again.
        identity: Identity,
    },
    /// Nothing.
    Missing,
    /// Something that says nothing about the file: no right to read it, a link or a folder in its place, no handle left.
    OutOfReach {
        /// Why.
        why: String,
    },
}

/// Reads files of a node.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    pub(super) store: Store,
    pub(super) throttle: Throttle,
    pub(super) stop: Shutdown,
}

impl Reader {
    /// Reads a file to its end, and says how it is and how many bytes were read; `None` when we are asked to end meanwhile.
    /// Blocks, on a thread of the runtime's that may.
    ///
    /// # Errors
    /// What concerns more than this file: no handles left, no volume.
    pub(super) fn look(&self, file: &MediaFile) -> Result<Option<(Seen, u64)>, store::Error> {
        let open = match self.store.open_file(file.kind, file.place()) {
            Ok(Some(open)) => open,
            Ok(None) => return Ok(Some((Seen::Missing, 0))),
            Err(error) if error.stops_the_pass() => return Err(error),
            Err(error) => return Ok(Some((out_of_reach(&error), 0))),
        };
        let (size, modified) = (open.size, open.modified);
        let identity = match identity(&open) {
            Ok(identity) => identity,
            Err(error) => return Ok(Some((out_of_reach(&error), 0))),
        };
        open.leave_memory();
        let (sha256, size) = match self.hash(open) {
            Ok(Some(digests)) => digests,
            Ok(None) => return Ok(None),
            // What the medium does not give out is lost; anything else says nothing of the file.
            Err(error) if error.raw_os_error() == Some(EIO) => {
                let found = FoundOnDisk {
                    size,
                    modified,
                    sha256: None,
                };
                return Ok(Some((Seen::Unreadable { found, identity }, 0)));
            }
            Err(error) => return Ok(Some((out_of_reach(&error), 0))),
        };
        if size == file.size && sha256 == file.sha256 {
            return Ok(Some((Seen::Sound, size)));
        }
        let found = FoundOnDisk {
            size,
            modified,
            sha256: Some(sha256),
        };
        Ok(Some((Seen::Other { found, identity }, size)))
    }

    /// Whether what lies there is still what was seen, without reading it.
    pub(super) fn is_still(&self, file: &MediaFile, known: Identity) -> bool {
        let open = self.store.open_file(file.kind, file.place());
        let now = open.ok().flatten().and_then(|open| identity(&open).ok());
        now == Some(known)
    }

    /// Digest and bytes of a file; `None` when we are asked to end.
    fn hash(&self, mut open: OpenFile) -> std::io::Result<Option<(Sha256, u64)>> {
        let mut hasher = Hasher::new(false);
        let mut buffer = vec![0; PIECE];
        let mut size = 0;
        loop {
            match open.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    size += read as u64;
                    if !self.may_go_on(read) {
                        return Ok(None);
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        open.leave_memory();
        Ok(Some((hasher.finish().sha256, size)))
    }

    /// Waits until so many bytes may have been read; `false` when we are asked to end.
    fn may_go_on(&self, bytes: usize) -> bool {
        Handle::current().block_on(async {
            tokio::select! {
                biased;
                () = self.stop.wait() => false,
                () = self.throttle.fetched(bytes) => true,
            }
        })
    }
}

fn out_of_reach(error: &(dyn std::error::Error + 'static)) -> Seen {
    Seen::OutOfReach { why: chain(error) }
}

fn identity(open: &OpenFile) -> std::io::Result<Identity> {
    let meta = open.file.metadata()?;
    Ok((
        meta.dev(),
        meta.ino(),
        meta.ctime(),
        meta.ctime_nsec(),
        meta.size(),
    ))
}
