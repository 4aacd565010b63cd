//! A peer's key in a file of its own, which only this node's user may read.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::Secret;

/// Folder of key files that are written here, beside the configuration.
const DIR: &str = "keys";

/// Where the key of a peer is written that has none yet, relative to the configuration.
#[must_use]
pub fn path_for(peer: &str) -> PathBuf {
    Path::new(DIR).join(peer)
}

/// Writes a key to a file with mode 0600, whole or not at all; a folder that is missing is made for this user alone.
///
/// # Errors
/// What the system says.
pub fn write(path: &Path, key: &Secret) -> io::Result<()> {
    let dir = super::write::parent(path);
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    // A link stays a link: what it points to is exchanged.
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(error),
    };
    let mut staged = tempfile::Builder::new()
        .prefix(".emsync-key.")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(super::write::parent(&real))?;
    staged.write_all(key.expose().as_bytes())?;
    staged.write_all(b"\n")?;
    staged.as_file().sync_all()?;
    staged.persist(&real)?;
    File::open(super::write::parent(&real))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_for_this_user_alone_and_exchanged_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(path_for("m"));
        for key in ["first", "second"] {
            write(&path, &Secret::new(key)).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key}\n"));
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(path.parent().unwrap()), 0o700);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
