//! Copies of the catalogue beside the media (design section 8, Durability): one a day, one before every change of the
//! schema, seven kept.
//!
//! The daily one is a precaution: whatever keeps it from being made is a warning and fails nothing. The one before a
//! migration is the way back: without it the catalogue is not migrated.

use std::time::Duration;

use super::{Error, Lock, Node};
use crate::catalogue::{self, Found};
use crate::config::Config;
use crate::error::chain;
use crate::model::Timestamp;
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{self, Snapshot, Snapshots, Store};
use crate::task;

/// How old the newest copy may become.
pub const INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);
/// How many are kept.
pub const KEPT: usize = 7;
/// The activity that its lock is named for.
const ACTIVITY: &str = "snapshot";

/// Why there is no new copy.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The copy would take the disk's reserve.
    #[error(
        "a copy of the catalogue takes {size} bytes, only {free} are free, and limits.reserve keeps {reserve}: free some space"
    )]
    Reserve {
        /// Bytes of the copy.
        size: u64,
        /// Bytes that are free.
        free: u64,
        /// Bytes to be left free.
        reserve: u64,
    },
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The media's file system failed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// We are ending.
    #[error("interrupted")]
    Cancelled,
}

/// Takes the daily copy when it is due. To be called after work was done, and now and then by whoever runs for long.
/// Answers the new copy, if there is one; every trouble is a warning.
pub async fn daily(node: &Node, shutdown: &Shutdown) -> Option<Snapshot> {
    // Whoever else is at it does the same.
    let _lock = Lock::take(&node.config.state, ACTIVITY).ok()?;
    match when_due(node, shutdown).await {
        Ok(taken) => taken,
        Err(SnapshotError::Cancelled) => None,
        Err(error) => {
            let reason = chain(&error);
            tracing::warn!(reason, "no copy of the catalogue was made");
            None
        }
    }
}

async fn when_due(node: &Node, shutdown: &Shutdown) -> Result<Option<Snapshot>, SnapshotError> {
    let now = node.seams.clock.now();
    let store = node.store.clone();
    let listed = blocking(move || store.snapshots()?.list()).await?;
    if !is_due(&listed, now) || shutdown.requested() {
        return Ok(None);
    }
    let size = node.catalogue.size().await?;
    let room = Room {
        store: &node.store,
        reserve: node.config.limits.reserve,
    };
    let new = room.begin(size).await?;
    let path = new.path();
    tokio::select! {
        copied = node.catalogue.copy_into(&path) => copied?,
        () = shutdown.wait() => return Err(SnapshotError::Cancelled),
    }
    let taken = blocking(move || new.publish(now, None, KEPT)).await?;
    tracing::info!(name = taken.name, bytes = taken.size, "catalogue copied");
    Ok(Some(taken))
}

/// Whether the newest copy is too old; one from the future was made under a wrong clock and counts for nothing.
fn is_due(listed: &[Snapshot], now: Timestamp) -> bool {
    let tomorrow = now.plus(INTERVAL);
    !listed
        .iter()
        .any(|snapshot| now.since(snapshot.taken_at) < INTERVAL && snapshot.taken_at < tomorrow)
}

/// Copies a catalogue whose schema is about to change.
///
/// # Errors
/// [`Error::Unsaved`]: then nothing was changed.
pub(super) async fn before_migration(
    config: &Config,
    found: &Found,
    (store, seams): (&Store, &Seams),
    version: i64,
) -> Result<(), Error> {
    let saved = async {
        let size = found.size().await?;
        let room = Room {
            store,
            reserve: config.limits.reserve,
        };
        let new = room.begin(size).await?;
        found.copy_into(&new.path()).await?;
        let now = seams.clock.now();
        let before = version.to_string();
        Ok(blocking(move || new.publish(now, Some(&before), KEPT)).await?)
    };
    match saved.await {
        Ok(snapshot) => {
            tracing::info!(
                name = snapshot.name,
                "catalogue copied before its schema changes"
            );
            Ok(())
        }
        Err(source) => Err(Error::Unsaved { source }),
    }
}

/// The place of the copies, with what has to stay free there.
struct Room<'a> {
    store: &'a Store,
    reserve: u64,
}

impl Room<'_> {
    async fn begin(&self, size: u64) -> Result<store::NewSnapshot, SnapshotError> {
        let store = self.store.clone();
        let free = blocking(move || store.free_bytes()).await?;
        if free.saturating_sub(size) < self.reserve {
            return Err(SnapshotError::Reserve {
                size,
                free,
                reserve: self.reserve,
            });
        }
        let store = self.store.clone();
        Ok(blocking(move || store.snapshots().and_then(Snapshots::begin)).await?)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    task::outcome(tokio::task::spawn_blocking(work).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(at: Timestamp) -> Snapshot {
        Snapshot {
            name: String::new(),
            taken_at: at,
            size: 1,
        }
    }

    /// A node's parts, and its catalogue found by a program that knows one migration more.
    async fn found(dir: &std::path::Path, reserve: u64) -> (Config, Store, Found) {
        let new = crate::config::init::NewNode {
            dir: dir.to_owned(),
            name: "Node".to_owned(),
            catalog: None,
            cluster_id: None,
            media: None,
        };
        let file = dir.join("emsync.toml");
        let mut config = match Config::load(&file) {
            Ok(config) => config,
            Err(_) => crate::config::init::write(&new, &Seams::os()).unwrap(),
        };
        config.limits.reserve = reserve;
        Node::init(&config).await.unwrap();
        let migrations = dir.join("migrations");
        std::fs::create_dir_all(&migrations).unwrap();
        let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/src/catalogue/migrations");
        for entry in std::fs::read_dir(ours).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), migrations.join(entry.file_name())).unwrap();
        }
        std::fs::write(
            migrations.join("9000_next.sql"),
            "CREATE TABLE next (id BIGINT);",
        )
        .unwrap();
        let next = sqlx::migrate::Migrator::new(migrations).await.unwrap();
        let next = Box::leak(Box::new(next));
        let database = super::super::database(&config);
        let found = Found::open_for(&database, next).await.unwrap();
        let store = Store::open(
            &config.media.root,
            &config.node.catalog,
            std::sync::Arc::new(store::RealSys),
        );
        (config, store.unwrap(), found)
    }

    #[tokio::test]
    async fn a_schema_that_is_not_ours_is_not_brought_up_to_date_and_costs_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (config, store, found) = found(dir.path(), 0).await;
        found.migrate().await.unwrap().close().await;
        // As a program of another branch would have left it.
        let database = super::super::database(&config);
        let url = format!("sqlite://{}", database.display());
        let pool = sqlx::SqlitePool::connect(&url).await.unwrap();
        for statement in [
            "UPDATE _sqlx_migrations SET checksum = X'00' WHERE version = 1",
            "DELETE FROM _sqlx_migrations WHERE version > 1",
        ] {
            sqlx::query(statement).execute(&pool).await.unwrap();
        }
        pool.close().await;
        for _ in 0..2 {
            let error = Node::open(config.clone(), Seams::os()).await.unwrap_err();
            assert!(chain(&error).contains("schema"), "{error}");
        }
        assert_eq!(store.snapshots().unwrap().list().unwrap(), []);
    }

    #[tokio::test]
    async fn a_migration_begins_with_a_copy_of_the_old_schema_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let seams = Seams::os();
        let (config, store, full) = found(dir.path(), u64::MAX / 2).await;
        assert_eq!(full.behind().await.unwrap(), Some(9_000));
        let refused = before_migration(&config, &full, (&store, &seams), 9_000).await;
        let refused = chain(&refused.unwrap_err());
        assert!(refused.contains("limits.reserve"), "{refused}");
        assert_eq!(store.snapshots().unwrap().list().unwrap(), []);

        let (config, store, found) = found(dir.path(), 0).await;
        before_migration(&config, &found, (&store, &seams), 9_000)
            .await
            .unwrap();
        let listed = store.snapshots().unwrap().list().unwrap();
        assert_eq!(listed.len(), 1);
        assert!(listed[0].name.ends_with("-before-9000.db"), "{listed:?}");
        let path = store.snapshots().unwrap().path(&listed[0].name);
        let copy = catalogue::examine_copy(&path).await.unwrap();
        assert!(copy.is_sound() && copy.version < 9_000, "{copy:?}");
        let migrated = found.migrate().await.unwrap();
        migrated.close().await;
        let health = catalogue::examine(&super::super::database(&config), true).await;
        assert_eq!(health.unwrap().version, 9_000);
        // A program that does not know this schema must not touch it.
        let older = Node::open(config, seams).await.unwrap_err();
        assert!(chain(&older).contains("newer version"), "{older}");
    }

    #[test]
    fn a_copy_is_due_after_a_day_and_one_from_the_future_counts_for_nothing() {
        let now = Timestamp::from_millis(1_772_358_067_512);
        let hours = |n: u64| Duration::from_secs(n * 3_600);
        assert!(is_due(&[], now));
        assert!(is_due(&[snapshot(now.minus(hours(24)))], now));
        assert!(!is_due(&[snapshot(now.minus(hours(23)))], now));
        assert!(!is_due(&[snapshot(now.plus(hours(1)))], now));
        assert!(is_due(&[snapshot(now.plus(hours(24 * 365)))], now));
    }
}
