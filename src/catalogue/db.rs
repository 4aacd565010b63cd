//! Connections: one that writes, a few that read, on one file in write-ahead mode.
//!
//! A transaction of the writer is durable when `commit` returns (`synchronous=FULL`). Several processes may write to one
//! catalogue, each waiting for the other's lock; readers never wait.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::Mutex;

use super::dialect::{MIGRATIONS, Pool};
use super::moment::LogIndex;
use super::snapshot::must_be_there;
use super::{Error, damage_in};

/// How long a statement waits for another process's write lock before it gives up as temporary.
const LOCK_WAIT: Duration = Duration::from_secs(60);
const READERS: u32 = 4;
/// Rows that a connection may be ahead of whoever takes them: as many as a page, so that its thread need not wait in the middle of one.
const ROWS_AHEAD: usize = 512;
/// Pages of the log from which on it is carried over into the file: while much is written, the same pages come up again and again.
const LOG_PAGES: &str = "8192";

/// The two pools.
#[derive(Debug, Clone)]
pub(super) struct Db {
    /// One connection: writes in this process take turns here.
    pub(super) writer: Pool,
    /// Connections that only read.
    pub(super) readers: Pool,
    /// Tells when something was committed.
    pub(super) log_index: Option<LogIndex>,
    /// Whoever reads changed spans again holds it: two at a time would undo each other's work.
    pub(super) refreshing: Arc<Mutex<()>>,
}

impl Db {
    /// Opens the file, makes it if it is not there, and brings its schema up to date.
    pub(super) async fn open(path: &Path) -> Result<Self, Error> {
        let writer = Self::connect(path, true).await?;
        Self::migrated(path, writer, &MIGRATIONS).await
    }

    /// The writer's connection, to whatever schema there is.
    pub(super) async fn connect(path: &Path, make: bool) -> Result<Pool, Error> {
        pool(1)
            .connect_with(writing(path).create_if_missing(make))
            .await
            .map_err(|source| opening(path, source))
    }

    /// Brings the schema up to date, and connects the readers.
    pub(super) async fn migrated(
        path: &Path,
        writer: Pool,
        migrations: &Migrator,
    ) -> Result<Self, Error> {
        migrations
            .run(&writer)
            .await
            .map_err(|source| match source {
                MigrateError::Execute(source) | MigrateError::ExecuteMigration(source, _)
                    if damage_in(&source) =>
                {
                    opening(path, source)
                }
                source => Error::Schema {
                    path: path.to_owned(),
                    source,
                },
            })?;
        // What takes one statement back is a few pages, and would be written to a file for each; an index that is made may take
        // more than there is memory.
        sqlx::query("PRAGMA temp_store = MEMORY")
            .execute(&writer)
            .await
            .map_err(|source| opening(path, source))?;
        // Also for a connection that takes the place of this one.
        writer.set_connect_options(writing(path).pragma("temp_store", "MEMORY"));
        let readers = pool(READERS)
            .connect_with(options(path).read_only(true).pragma("cache_size", "-4096"))
            .await
            .map_err(|source| opening(path, source))?;
        Ok(Self {
            writer,
            readers,
            log_index: Some(LogIndex::of(path)),
            refreshing: Arc::default(),
        })
    }

    /// Opens an existing file of the present schema for looking only: whatever tries to write fails.
    pub(super) async fn open_read_only(path: &Path) -> Result<Self, Error> {
        must_be_there(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(LOCK_WAIT);
        let readers = pool(READERS)
            .connect_with(options)
            .await
            .map_err(|source| opening(path, source))?;
        let applied: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM _sqlx_migrations WHERE success")
                .fetch_one(&readers)
                .await
                .map_err(super::during("look which schema this is"))?;
        let known = MIGRATIONS.iter().count();
        if usize::try_from(applied) != Ok(known) {
            return Err(Error::Outdated {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            writer: readers.clone(),
            readers,
            log_index: None,
            refreshing: Arc::default(),
        })
    }
}

/// A pool of so many connections at most.
pub(super) fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(600))
        // What a full or failing disk interrupts the engine may take back by itself; then the rollback that follows fails, and the
        // driver counts a transaction on that connection for ever, so that none could begin on it (sqlx 0.9, `Command::Rollback`).
        .before_acquire(|connection, _| {
            let is_usable = !connection.is_in_transaction();
            Box::pin(async move { Ok(is_usable) })
        })
        // A connection to a file does not go away, and the question whether it did costs as much as most of ours.
        .test_before_acquire(false)
        // Nor does it age. With either of these the pool looks after its connections every few minutes, as many times as it counts
        // idle ones; that count can be below zero for a moment, and then it never ends (sqlx 0.9, `spawn_maintenance_tasks`).
        .idle_timeout(None)
        .max_lifetime(None)
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(LOCK_WAIT)
        .row_buffer_size(ROWS_AHEAD)
}

/// How the writer is connected, to a file that is there.
fn writing(path: &Path) -> SqliteConnectOptions {
    options(path)
        .pragma("cache_size", "-24576")
        .pragma("wal_autocheckpoint", LOG_PAGES)
}

fn opening(path: &Path, source: sqlx::Error) -> Error {
    if damage_in(&source) {
        return Error::damaged(path, "is damaged", Some(source));
    }
    Error::Open {
        path: path.to_owned(),
        source,
    }
}
