//! Throw-away databases beside the catalogue (a spool, a scratch copy), as far as a killed process left them.

use std::path::Path;
use std::time::Duration;

/// A file that nobody wrote to for so long was left by a killed process.
pub(super) const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Removes the files in `dir` whose names begin with `prefix` and that were left behind; best effort, since nothing depends on it
/// but disk space.
pub(super) fn sweep(dir: &Path, prefix: &str) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        let written = entry.metadata().and_then(|meta| meta.modified());
        if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}
