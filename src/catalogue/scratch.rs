//! A copy of the catalogue to think in: whatever a dry run writes goes there, and is thrown away.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Catalogue, Error, during};

/// Begins the name of every copy's file.
const PREFIX: &str = "plan-";
/// A file that nobody wrote to for so long was left by a killed process.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// A throw-away copy; its files go when it is dropped.
#[derive(Debug)]
pub struct Scratch {
    /// The copy, as a catalogue of its own.
    pub catalogue: Catalogue,
    path: PathBuf,
}

impl Catalogue {
    /// Copies everything as it is at this moment into a new file in `dir`; `tag` must be unique.
    ///
    /// # Errors
    /// [`Error::Sql`] when there is no room, [`Error::Open`].
    pub async fn scratch(&self, dir: &Path, tag: &str) -> Result<Scratch, Error> {
        sweep(dir);
        let path = dir.join(format!("{PREFIX}{tag}.db"));
        sqlx::query("VACUUM INTO $1")
            .bind(path.to_string_lossy().into_owned())
            .execute(&self.db.readers)
            .await
            .map_err(during("copy the catalogue"))?;
        let catalogue = Self::open(&path).await.inspect_err(|_| remove(&path))?;
        Ok(Scratch { catalogue, path })
    }
}

impl Scratch {
    /// Throws the copy away.
    pub async fn close(self) {
        self.catalogue.close().await;
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Best effort: a leftover is swept a day later.
fn remove(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        let _ = std::fs::remove_file(name);
    }
}

/// Removes what killed dry runs left.
fn sweep(dir: &Path) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX)) {
        let written = entry.metadata().and_then(|meta| meta.modified());
        if written.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LEFT_BEHIND)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Record, RecordKey, Sha256, Timestamp};

    #[tokio::test]
    async fn what_is_written_into_the_copy_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
            .await
            .unwrap();
        let record = |id: &str| Record {
            key: RecordKey::new("asset", id).unwrap(),
            source: "{}".to_owned(),
            status: None,
            content: Sha256::of(b"{}"),
        };
        let put = async |catalogue: &Catalogue, id: &str| {
            let mut batch = catalogue.batch().await.unwrap();
            batch
                .put_records(&[&record(id)], "", Timestamp::EPOCH)
                .await
                .unwrap();
            batch.commit().await.unwrap();
        };
        put(&catalogue, "a").await;
        let scratch = catalogue.scratch(dir.path(), "x").await.unwrap();
        put(&scratch.catalogue, "b").await;
        assert_eq!(scratch.catalogue.live_assets().await.unwrap(), 2);
        assert_eq!(catalogue.live_assets().await.unwrap(), 1);
        scratch.close().await;
        let left = std::fs::read_dir(dir.path()).unwrap().flatten();
        assert!(
            left.into_iter()
                .all(|entry| { entry.file_name().to_string_lossy().starts_with("emsync.db") })
        );
    }
}
