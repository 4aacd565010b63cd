//! A copy of the catalogue for a person to keep: taken while everything goes on, and said to be good only after it was read.
//!
//! ```text
//! an empty file beside the target, for this user alone
//! everything as it is at one moment is written into it                others go on writing
//! every index of it is compared with its table
//! fsync, its name, fsync of the folder                                 kill before: nothing has that name
//! ```
//!
//! The media need not be mounted. How a copy becomes the catalogue again is for [`rebuild`](super::rebuild).

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::database;
use crate::catalogue::{self, Found, examine_copy_deep};
use crate::config::Config;
use crate::model::Timestamp;
use crate::seams::Seams;
use crate::shutdown::Shutdown;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Something has the name already.
    #[error("{} is there already: name another file, or a folder", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The target cannot be written.
    #[error("{} cannot be written", path.display())]
    Write {
        /// The file or its folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The copy was made and is no good; it is gone again.
    #[error(
        "the copy is no good ({problems}): look at the catalogue with `emsync doctor --deep`, and at the disk of the copy"
    )]
    Unsound {
        /// What is wrong with it.
        problems: String,
    },
    /// The end was asked for first.
    #[error("interrupted")]
    Cancelled,
}

/// A copy that was read and is good.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Backup {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// The version of its schema.
    pub schema: i64,
    /// When it was taken.
    pub taken_at: String,
}

/// Copies the catalogue of a node to a file that is not there yet, or into a folder under a name that says when.
///
/// # Errors
/// [`BackupError`]; nothing new has a name then.
pub async fn backup(
    config: &Config,
    to: &Path,
    seams: &Seams,
    stop: &Shutdown,
) -> Result<Backup, BackupError> {
    let now = seams.clock.now();
    let path = target(config, to, now);
    if path.symlink_metadata().is_ok() {
        return Err(BackupError::Exists { path });
    }
    let unwritable = |source| BackupError::Write {
        path: path.clone(),
        source,
    };
    let folder = folder_of(&path);
    let staged = tempfile::Builder::new()
        .prefix(".emsync-backup.")
        .tempfile_in(folder)
        .map_err(unwritable)?;
    let found = Found::open(&database(config)).await?;
    let copied = tokio::select! {
        copied = found.copy_into(staged.path()) => copied,
        () = stop.wait() => return Err(BackupError::Cancelled),
    };
    found.close().await;
    copied?;
    let health = examine_copy_deep(staged.path()).await?;
    if !health.problems.is_empty() {
        let problems = health.problems.join("; ");
        return Err(BackupError::Unsound { problems });
    }
    staged.as_file().sync_all().map_err(unwritable)?;
    let bytes = staged.as_file().metadata().map_err(unwritable)?.len();
    staged.persist_noclobber(&path).map_err(|refused| {
        let (path, source) = (path.clone(), refused.error);
        match source.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path },
            _ => BackupError::Write { path, source },
        }
    })?;
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(unwritable)?;
    Ok(Backup {
        bytes,
        schema: health.version,
        taken_at: now.to_string(),
        path,
    })
}

/// The file, where a folder is named with a name of its own: `emsync-<cluster id>-<when>.db`.
fn target(config: &Config, to: &Path, now: Timestamp) -> PathBuf {
    if !to.is_dir() {
        return to.to_owned();
    }
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || "._-".contains(c) {
            c
        } else {
            '-'
        }
    };
    let id: String = config.node.cluster_id.as_str().chars().map(plain).collect();
    let when = now.to_string().replace(['-', ':'], "");
    to.join(format!("emsync-{id}-{when}.db"))
}

fn folder_of(path: &Path) -> &Path {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::node::Node;

    async fn node(dir: &Path) -> Config {
        let new = crate::config::init::NewNode {
            dir: dir.join("n"),
            name: "Node".to_owned(),
            catalog: None,
            cluster_id: Some("node/1".to_owned()),
            media: None,
        };
        let config = crate::config::init::write(&new, &Seams::os()).unwrap();
        Node::init(&config).await.unwrap();
        config
    }

    #[tokio::test]
    async fn a_copy_is_for_its_owner_alone_and_never_takes_the_place_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let config = node(dir.path()).await;
        let (seams, stop) = (Seams::os(), Shutdown::new());
        let file = dir.path().join("copy.db");
        let made = backup(&config, &file, &seams, &stop).await.unwrap();
        assert_eq!(
            (made.path.as_path(), made.bytes),
            (file.as_path(), fs::metadata(&file).unwrap().len())
        );
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let again = backup(&config, &file, &seams, &stop).await;
        assert!(
            matches!(again, Err(BackupError::Exists { .. })),
            "{again:?}"
        );
        let nowhere = backup(&config, &dir.path().join("none/copy.db"), &seams, &stop).await;
        assert!(
            matches!(nowhere, Err(BackupError::Write { .. })),
            "{nowhere:?}"
        );
        // Into a folder as often as one likes, and nothing but the copies is left there.
        let folder = dir.path().join("copies");
        fs::create_dir(&folder).unwrap();
        let made = backup(&config, &folder, &seams, &stop).await.unwrap();
        let name = made.path.file_name().unwrap().to_str().unwrap();
        assert!(
            name.starts_with("emsync-node-1-2") && name.ends_with(".db"),
            "{name}"
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_cannot_be_read_again_is_no_backup() {
        let dir = tempfile::tempdir().unwrap();
        let config = node(dir.path()).await;
        let (seams, stop) = (Seams::os(), Shutdown::new());
        // A catalogue that is cut off in the middle.
        let database = database(&config);
        let length = fs::metadata(&database).unwrap().len();
        fs::OpenOptions::new()
            .write(true)
            .open(&database)
            .unwrap()
            .set_len(length / 2)
            .unwrap();
        let file = dir.path().join("copy.db");
        assert!(backup(&config, &file, &seams, &stop).await.is_err());
        assert!(!file.exists());
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
