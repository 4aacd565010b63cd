//! Catalogues of every schema that there was are brought up to date, and hold afterwards what they held before.

use std::borrow::Cow;

use sqlx::migrate::Migrator;

use super::Catalogue;
use super::dialect::MIGRATIONS;
use crate::model::{FileKind, RecordKey, Sha256};

/// What a node of the first schema would hold: a record, its files, a job, a run.
const ROWS: [&str; 5] = [
    "INSERT INTO record (module, id, source, content, deleted, master, modified_by, modified, master_modified, received_at, changed_at, origin)
     VALUES ('asset', 'a1', '{\"id\":\"a1\"}', $1, 0, 'n', 'n', 5, 5, 6, 6, 'master')",
    "INSERT INTO file (kind, path, asset, size, modified, sha256, authored, received_at) VALUES (0, 'x/a.jpg', 'a1', 3, 2, $1, 0, 4)",
    "INSERT INTO file (kind, path, asset, size, modified, sha256, authored, received_at) VALUES (1, 'x/a.jpg/image200x200.webp', 'a1', 3, 2, $1, 1, 4)",
    "INSERT INTO job (peer, subject, lane, asset, size, payload, state, run_at, created_at, reason)
     VALUES ('master', 's', 0, 'a1', 3, $1, 2, 0, 7, 'no')",
    "INSERT INTO run (peer, activity, started_at, ended_at, outcome, report) VALUES ('master', 'seed', 1, 2, 'ok', '{}')",
];

/// The first so many migrations.
fn first(number: usize) -> Migrator {
    Migrator {
        migrations: Cow::Owned(MIGRATIONS.migrations[..number].to_vec()),
        ..Migrator::DEFAULT
    }
}

#[tokio::test]
async fn a_catalogue_of_any_schema_is_brought_up_to_date_and_keeps_what_it_holds() {
    let digest = Sha256::of(b"one");
    for schema in 1..=MIGRATIONS.migrations.len() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("emsync.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true);
        let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
        first(1).run(&old).await.unwrap();
        for row in ROWS {
            let query = sqlx::query(row);
            let query = match row.contains("$1") {
                true => query.bind(&digest.as_bytes()[..]),
                false => query,
            };
            query.execute(&old).await.unwrap();
        }
        first(schema).run(&old).await.unwrap();
        old.close().await;
        let catalogue = Catalogue::open(&database).await.unwrap();
        let key = RecordKey::new("asset", "a1").unwrap();
        let record = catalogue.record(&key).await.unwrap().unwrap().record;
        assert_eq!(record.source, "{\"id\":\"a1\"}", "schema {schema}");
        assert_eq!(record.status.unwrap().modified.as_millis(), 5);
        let files = catalogue.files_of(&["a1"]).await.unwrap();
        let kinds: Vec<_> = files
            .iter()
            .map(|row| (row.file.kind, row.file.sha256))
            .collect();
        let expected = [(FileKind::Original, digest), (FileKind::Generated, digest)];
        assert_eq!(kinds, expected, "schema {schema}");
        let counts = catalogue.job_counts(Some("master")).await.unwrap();
        assert_eq!(counts.quarantined, 1, "schema {schema}");
        let runs = catalogue.runs(10).await.unwrap();
        assert_eq!(runs.len(), 1, "schema {schema}");
        // What the last schema brought works.
        assert_eq!(catalogue.event_runs(None, None, 10).await.unwrap(), []);
        catalogue.close().await;
    }
}
