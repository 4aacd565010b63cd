//! What the disk says about a path of a folder, told apart from not being able to say anything (I4).

use std::io;
use std::path::{Path, PathBuf};

use super::blocking;

/// What the disk says about a file or directory of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// Something has its name.
    Here,
    /// It is not there, and the directory that would hold it says so.
    Gone,
    /// Nobody can tell.
    Unknown,
}

/// Looks for a file, or a directory, at `rel` below `dir`.
pub(super) async fn presence(dir: &Path, rel: &str, is_dir: bool) -> Presence {
    let (dir, rel) = (dir.to_owned(), PathBuf::from(rel));
    blocking(move || look(&dir, &rel, is_dir))
        .await
        .unwrap_or(Presence::Unknown)
}

fn look(dir: &Path, rel: &Path, is_dir: bool) -> Presence {
    match dir.join(rel).symlink_metadata() {
        Ok(stat) if stat.is_symlink() => return Presence::Here,
        Ok(stat) if stat.is_dir() == is_dir => return Presence::Here,
        // A directory took the file's name, or the reverse.
        Ok(_) => return Presence::Gone,
        Err(error) if is_absent(&error) => {}
        Err(_) => return Presence::Unknown,
    }
    // The nearest directory above that is there must be one that can be read, no link and no stranger to the folder.
    for above in rel.ancestors().skip(1) {
        match dir.join(above).symlink_metadata() {
            Ok(stat) if stat.is_symlink() => return Presence::Unknown,
            Ok(stat) if stat.is_dir() => {
                let is_readable = dir.join(above).read_dir().is_ok();
                return if is_readable {
                    Presence::Gone
                } else {
                    Presence::Unknown
                };
            }
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(_) => return Presence::Unknown,
        }
    }
    Presence::Unknown
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_readable_directory_can_say_that_something_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |rel: &str| look(dir.path(), Path::new(rel), false);
        std::fs::create_dir_all(dir.path().join("d/e.jpg")).unwrap();
        std::fs::write(dir.path().join("d/a"), "x").unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("link")).unwrap();
        assert_eq!(at("d/a"), Presence::Here);
        assert_eq!(at("d/b"), Presence::Gone);
        assert_eq!(at("no/such/b"), Presence::Gone);
        assert_eq!(at("d/a/b"), Presence::Gone);
        assert_eq!(at("d/e.jpg"), Presence::Gone);
        assert_eq!(at("link"), Presence::Here);
        assert_eq!(at("link/b"), Presence::Unknown);
        assert_eq!(
            look(&dir.path().join("unmounted"), Path::new("a"), false),
            Presence::Unknown
        );
        assert_eq!(look(dir.path(), Path::new("d"), true), Presence::Here);
        assert_eq!(look(dir.path(), Path::new("d/a"), true), Presence::Gone);
    }
}
