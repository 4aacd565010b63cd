//! Puts a configuration file in place so that at every moment the old or the new one is there, whole.
//!
//! Staged beside it, fsynced, renamed, folder fsynced. A kill in between leaves a file called `.emsync.toml.*` that nothing
//! reads. The mode is 0600 when the text holds a key, else what it was.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

use tempfile::{Builder, NamedTempFile};

/// Mode of a file that holds a key.
const PRIVATE: u32 = 0o600;
/// Mode of a fresh file without one, before the umask.
const ORDINARY: u32 = 0o666;

/// Keeps other emsync processes from editing in `dir` until it is dropped.
///
/// Best effort: some network file systems lock no folders, and there the last writer wins, as with any editor.
pub(super) fn lock(dir: &Path) -> io::Result<File> {
    let dir = File::open(dir)?;
    if let Err(error) = dir.lock() {
        tracing::debug!(%error, "the folder of the configuration cannot be locked");
    }
    Ok(dir)
}

/// Makes `file`, which must not exist.
///
/// # Errors
/// `AlreadyExists` when it does, whoever made it.
pub(super) fn create(file: &Path, text: &str) -> io::Result<()> {
    let staged = stage(file, text, ORDINARY)?;
    staged.persist_noclobber(file)?;
    sync_dir(file)
}

/// Exchanges `file`, which must exist and be no link, for one with `text`. `secret` says whether the text holds a key.
pub(super) fn replace(file: &Path, text: &str, secret: bool) -> io::Result<()> {
    let old = fs::metadata(file)?;
    let staged = stage(file, text, PRIVATE)?;
    let new = staged.as_file();
    let fresh = new.metadata()?;
    // Run by root, the file stays readable for the service that owns it.
    if (fresh.uid(), fresh.gid()) != (old.uid(), old.gid()) {
        fchown(new, Some(old.uid()), Some(old.gid()))?;
    }
    let mode = if secret { PRIVATE } else { old.mode() & 0o7777 };
    new.set_permissions(Permissions::from_mode(mode))?;
    new.sync_all()?;
    staged.persist(file)?;
    sync_dir(file)
}

fn stage(file: &Path, text: &str, mode: u32) -> io::Result<NamedTempFile> {
    let mut staged = Builder::new()
        .prefix(".emsync.toml.")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(parent(file))?;
    staged.write_all(text.as_bytes())?;
    staged.as_file().sync_all()?;
    Ok(staged)
}

fn sync_dir(file: &Path) -> io::Result<()> {
    File::open(parent(file))?.sync_all()
}

/// The folder of `file`, for system calls.
pub(super) fn parent(file: &Path) -> &Path {
    match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_key_makes_the_file_private_and_its_absence_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("emsync.toml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replace(&file, "new", false).unwrap();
        assert_eq!(
            (fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
            ("new", 0o640)
        );
        replace(&file, "key", true).unwrap();
        assert_eq!(
            (fs::read_to_string(&file).unwrap().as_str(), mode(&file)),
            ("key", 0o600)
        );
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing staged is left"
        );
    }

    #[test]
    fn create_never_overwrites() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("emsync.toml");
        create(&file, "first").unwrap();
        let error = create(&file, "second").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&file).unwrap(), "first");
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing staged is left"
        );
    }
}
