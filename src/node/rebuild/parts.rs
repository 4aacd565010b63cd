//! The files of a catalogue in the state directory: cleared, moved aside, put in place.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::RebuildError;
use crate::model::Timestamp;

/// What belongs to a catalogue: the database, its log, and the log's index.
const PARTS: [&str; 3] = ["", "-wal", "-shm"];

/// Removes what an earlier try built.
pub(super) fn clear(fresh: &Path) -> Result<(), RebuildError> {
    for part in PARTS {
        let path = with(fresh, part);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RebuildError::of(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Moves the former catalogue aside and the new one, which is closed, into its place, durably; `called` is what the former one is called
/// by. Answers where it went.
pub(super) fn put_in_place(
    fresh: &Path,
    path: &Path,
    (called, now): (&str, Timestamp),
) -> Result<Vec<PathBuf>, RebuildError> {
    let sync = |path: &Path| {
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| RebuildError::of(path, source))
    };
    sync(fresh)?;
    let stamp = now.to_string().replace(['-', ':'], "");
    let mut moved = Vec::new();
    // The database first: from then on there is none, whatever kills us. Without its log it could pass for a sound older one.
    for part in PARTS {
        let from = with(path, part);
        let to = with(path, &format!(".{called}-{stamp}{part}"));
        if fs::symlink_metadata(&from).is_ok() {
            fs::rename(&from, &to).map_err(|source| RebuildError::of(&from, source))?;
            moved.push(to);
        }
    }
    for part in ["-wal", "-shm"] {
        // Empty since everything was written into the one file.
        let _ = fs::remove_file(with(fresh, part));
    }
    fs::rename(fresh, path).map_err(|source| RebuildError::of(path, source))?;
    if let Some(state) = path.parent() {
        sync(state)?;
    }
    Ok(moved)
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
