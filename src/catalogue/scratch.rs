//! A copy of the catalogue to think in: whatever a dry run writes goes there, and is thrown away.

use std::path::{Path, PathBuf};

use super::leftovers::sweep;
use super::{Catalogue, Error, during};

/// Begins the name of every copy's file.
const PREFIX: &str = "plan-";

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
        sweep(dir, PREFIX);
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
