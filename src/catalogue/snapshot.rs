//! The catalogue as a file: opening one that must be there, copying it whole, looking whether one is sound, and making one
//! of a copy trustworthy again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;

use super::db::{Db, pool};
use super::dialect::{MIGRATIONS, Pool};
use super::{Batch, Catalogue, Error, damage_in, during, unsigned};
use crate::model::{AssetId, NodeId, Timestamp};

/// Modification time in a source row that no file ever has, and that does not mean "left" either.
const DOUBTED: i64 = i64::MIN + 1;

/// A catalogue that was found and whose schema may be an older one.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    writer: Pool,
    migrations: &'static Migrator,
}

impl Found {
    /// Opens the catalogue of a node that was initialised: an absent or empty file is a lost catalogue, not a new one.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Open`].
    pub async fn open(path: &Path) -> Result<Self, Error> {
        Self::open_for(path, &MIGRATIONS).await
    }

    /// The same for other migrations than the program's, so that tests need not wait for the next one.
    pub(crate) async fn open_for(
        path: &Path,
        migrations: &'static Migrator,
    ) -> Result<Self, Error> {
        must_be_there(path)?;
        let found = Self {
            path: path.to_owned(),
            writer: Db::connect(path, false).await?,
            migrations,
        };
        if found.version().await?.is_none() {
            return Err(Error::damaged(path, "holds no catalogue", None));
        }
        Ok(found)
    }

    /// The schema version that migrating leads to, when the file has an older one. A file with a history that is not ours is not
    /// older: migrating it fails, and no copy of it is worth one of those that are kept.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Sql`].
    pub async fn behind(&self) -> Result<Option<i64>, Error> {
        let newest = newest(self.migrations);
        let is_older = (self.version().await?).is_some_and(|version| version < newest);
        Ok((is_older && self.has_our_history().await?).then_some(newest))
    }

    /// Bytes of a copy, at most.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn size(&self) -> Result<u64, Error> {
        size(&self.writer).await
    }

    /// Copies everything into the empty file `to`. Not durable yet.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn copy_into(&self, to: &Path) -> Result<(), Error> {
        copy_into(&self.writer, to).await
    }

    /// Closes it as it is.
    pub async fn close(self) {
        self.writer.close().await;
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`Error::Schema`], [`Error::Damaged`], [`Error::Open`].
    pub async fn migrate(self) -> Result<Catalogue, Error> {
        let db = Db::migrated(&self.path, self.writer, self.migrations).await?;
        let catalogue = Catalogue { db };
        catalogue.fold_all().await?;
        Ok(catalogue)
    }

    async fn has_our_history(&self) -> Result<bool, Error> {
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("SELECT version, checksum FROM _sqlx_migrations")
                .fetch_all(&self.writer)
                .await
                .map_err(during("read the schema's history"))?;
        Ok(applied.iter().all(|(version, checksum)| {
            let mut known = self.migrations.iter();
            known.any(|ours| ours.version == *version && *ours.checksum == **checksum)
        }))
    }

    /// The newest migration in the file; `None` when it never saw one.
    async fn version(&self) -> Result<Option<i64>, Error> {
        version(&self.writer)
            .await
            .map_err(|source| match damage_in(&source) {
                true => Error::damaged(&self.path, "is damaged", Some(source)),
                false => during("read the schema version")(source),
            })
    }
}

/// Nothing, unless the file of a catalogue is gone or empty: that is a lost catalogue and not a new one.
pub(super) fn must_be_there(path: &Path) -> Result<(), Error> {
    match std::fs::metadata(path) {
        Ok(meta) if meta.len() > 0 => Ok(()),
        Ok(_) => Err(Error::damaged(path, "is empty", None)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::damaged(path, "is gone", None))
        }
        Err(error) => Err(Error::Open {
            path: path.to_owned(),
            source: error.into(),
        }),
    }
}

async fn version(pool: &Pool) -> sqlx::Result<Option<i64>> {
    let tables: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
            .fetch_one(pool)
            .await?;
    if tables == 0 {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
        .fetch_one(pool)
        .await
}

fn newest(migrations: &Migrator) -> i64 {
    let versions = migrations.iter().map(|migration| migration.version);
    versions.max().unwrap_or(0)
}

async fn size(pool: &Pool) -> Result<u64, Error> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    )
    .fetch_one(pool)
    .await
    .map_err(during("read the size"))?;
    Ok(unsigned(bytes))
}

async fn copy_into(pool: &Pool, to: &Path) -> Result<(), Error> {
    let to = to.to_str().ok_or_else(|| Error::Row {
        what: "path of a snapshot",
        value: to.display().to_string(),
    })?;
    sqlx::query("VACUUM INTO $1")
        .bind(to)
        .execute(pool)
        .await
        .map_err(during("copy the catalogue"))?;
    Ok(())
}

/// What a look at a catalogue's file found.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Health {
    /// The schema version in the file.
    pub version: i64,
    /// The newest one this program knows.
    pub newest: i64,
    /// What the engine's own check finds wrong; empty when nothing is.
    pub problems: Vec<String>,
    /// The node whose catalogue it is, where that was noted.
    pub owner: Option<String>,
    /// Claimed jobs by peer: of runs that go on, or that were killed.
    pub leases: BTreeMap<String, u64>,
}

impl Health {
    /// Whether this program can use the file.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty() && self.version <= self.newest
    }
}

/// Under this name and the node's id stands whose catalogue it is.
const OWNER: &str = "owner:";

async fn owner(pool: &Pool) -> Result<Option<String>, sqlx::Error> {
    let name: Option<String> =
        sqlx::query_scalar("SELECT name FROM meta WHERE name > $1 AND name < 'owner;'")
            .bind(OWNER)
            .fetch_optional(pool)
            .await?;
    Ok(name.and_then(|name| name.strip_prefix(OWNER).map(ToOwned::to_owned)))
}

impl Catalogue {
    /// Notes whose catalogue this is, so that no copy of it is taken for that of another node. It is written once.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn belong_to(&self, node: &NodeId) -> Result<(), Error> {
        let known = owner(&self.db.readers).await;
        if known
            .map_err(during("read whose catalogue this is"))?
            .as_deref()
            == Some(node.as_str())
        {
            return Ok(());
        }
        let mut batch = self.batch().await?;
        for statement in [
            "DELETE FROM meta WHERE name > 'owner:' AND name < 'owner;' AND name <> $1",
            "INSERT INTO meta (name, value) VALUES ($1, 1) ON CONFLICT (name) DO NOTHING",
        ] {
            sqlx::query(statement)
                .bind(format!("{OWNER}{node}"))
                .execute(&mut *batch.tx)
                .await
                .map_err(during("note whose catalogue this is"))?;
        }
        batch.commit().await
    }
}

/// Looks at a catalogue's file; `deep` also compares every index with its table.
///
/// # Errors
/// [`Error::Damaged`] when it is none or cannot even be read, [`Error::Open`].
pub async fn examine(path: &Path, deep: bool) -> Result<Health, Error> {
    let found = Found::open(path).await?;
    let health = check(&found.writer, path, deep).await;
    found.writer.close().await;
    health
}

/// Looks at a copy that nobody writes to, without leaving a trace beside it.
///
/// # Errors
/// As [`examine`].
pub async fn examine_copy(path: &Path) -> Result<Health, Error> {
    look_at_copy(path, false).await
}

/// The same, every index compared with its table.
///
/// # Errors
/// As [`examine`].
pub async fn examine_copy_deep(path: &Path) -> Result<Health, Error> {
    look_at_copy(path, true).await
}

async fn look_at_copy(path: &Path, deep: bool) -> Result<Health, Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .immutable(true);
    let failed = |source| Error::damaged(path, "cannot be read", Some(source));
    let pool = pool(1).connect_with(options).await.map_err(failed)?;
    let health = check(&pool, path, deep).await;
    pool.close().await;
    health
}

async fn check(pool: &Pool, path: &Path, deep: bool) -> Result<Health, Error> {
    // Twenty findings; more say nothing new.
    let statement = if deep {
        "PRAGMA integrity_check(20)"
    } else {
        "PRAGMA quick_check(20)"
    };
    let read = async {
        let problems: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await?;
        let version = version(pool).await?;
        let leases: Vec<(String, i64)> = match version {
            Some(_) => {
                sqlx::query_as("SELECT peer, COUNT(*) FROM job WHERE state = 1 GROUP BY peer")
                    .fetch_all(pool)
                    .await?
            }
            None => Vec::new(),
        };
        let owner = match version {
            Some(_) => owner(pool).await?,
            None => None,
        };
        Ok::<_, sqlx::Error>((problems, version, owner, leases))
    };
    let (problems, version, owner, leases) =
        read.await.map_err(|source| match damage_in(&source) {
            true => Error::damaged(path, "cannot be read", Some(source)),
            false => during("check the catalogue")(source),
        })?;
    let version = version.ok_or_else(|| Error::damaged(path, "holds no catalogue", None))?;
    Ok(Health {
        version,
        newest: newest(&MIGRATIONS),
        owner,
        problems: problems.into_iter().filter(|text| text != "ok").collect(),
        leases: leases
            .into_iter()
            .map(|(peer, count)| (peer, unsigned(count)))
            .collect(),
    })
}

/// What of a copy was not trusted any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Distrusted {
    /// Checkpoints, so that everything is listed again.
    pub checkpoints: u64,
    /// Listings that were under way.
    pub listings: u64,
    /// Claims of workers.
    pub leases: u64,
    /// Parity reports.
    pub parity_reports: u64,
}

impl Catalogue {
    /// Bytes of a copy, at most.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn size(&self) -> Result<u64, Error> {
        size(&self.db.readers).await
    }

    /// Copies everything as it is now into the empty file `to`, while others go on writing. Not durable yet.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn copy_into(&self, to: &Path) -> Result<(), Error> {
        copy_into(&self.db.readers, to).await
    }

    /// Closes the connections with everything in the one file, so that it can be moved.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn close_whole(self) -> Result<(), Error> {
        self.db.readers.close().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .execute(&self.db.writer)
            .await
            .map_err(during("write everything into one file"))?;
        self.db.writer.close().await;
        Ok(())
    }
}

impl Batch {
    /// Forgets what an older copy cannot be trusted with, so that the next run lists everything and proves nothing by what
    /// was listed before.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn distrust(&mut self, now: Timestamp) -> Result<Distrusted, Error> {
        let mut forgotten = [0; 8];
        let statements = [
            "DELETE FROM checkpoint",
            "DELETE FROM listing",
            "UPDATE job SET state = 0, lease_owner = NULL, lease_until = NULL WHERE state = 1",
            "DELETE FROM parity",
            "DELETE FROM seen",
            // Halves of proofs that something is gone: a later listing may have had it again.
            "UPDATE file SET unlisted_at = NULL WHERE unlisted_at IS NOT NULL",
            "UPDATE record SET unlisted_at = NULL WHERE unlisted_at IS NOT NULL",
            "DELETE FROM audit",
        ];
        for (count, statement) in forgotten.iter_mut().zip(statements) {
            *count = sqlx::query(statement)
                .execute(&mut *self.tx)
                .await
                .map_err(during("forget what a snapshot cannot know"))?
                .rows_affected();
        }
        self.touch(now);
        let [checkpoints, listings, leases, parity_reports, ..] = forgotten;
        Ok(Distrusted {
            checkpoints,
            listings,
            leases,
            parity_reports,
        })
    }

    /// Makes the next import read the files of an asset again, whatever their dates say.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn doubt_sources(&mut self, asset: &AssetId) -> Result<(), Error> {
        sqlx::query("UPDATE source_file SET modified = $1, sha256 = zeroblob(32) WHERE asset = $2 AND modified > $1")
            .bind(DOUBTED)
            .bind(asset.as_str())
            .execute(&mut *self.tx)
            .await
            .map_err(during("doubt source files"))?;
        Ok(())
    }
}
