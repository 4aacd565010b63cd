//! All that differs between database engines. Everything else in this module is one SQL text: numbered parameters,
//! `ON CONFLICT`, integers for times and flags, no function that only one engine has.

/// The engine the catalogue runs on.
pub(super) type Engine = sqlx::Sqlite;
/// A pool of its connections.
pub(super) type Pool = sqlx::SqlitePool;
/// One of its connections.
pub(super) type Connection = sqlx::SqliteConnection;
/// One of its rows.
pub(super) type Row = sqlx::sqlite::SqliteRow;

/// Takes the write lock at once: a read that turns into a write would fail however long it is willing to wait.
pub(super) const BEGIN_WRITE: &str = "BEGIN IMMEDIATE";

/// The migrations of this engine, compiled in.
pub(super) static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("src/catalogue/migrations");

/// Most rows put into one statement; 14 columns each stay below the engine's limit of parameters.
pub(super) const ROWS_A_STATEMENT: usize = 500;

/// A list of values for one statement, filled up to a power of two with its last one again: so that there are few different
/// statements, which the engine reads once each.
pub(super) fn padded<T>(values: &[T]) -> impl Iterator<Item = &T> {
    let all = match values.len() {
        0 => 0,
        some => some.next_power_of_two().min(ROWS_A_STATEMENT.max(some)),
    };
    let last = values.last().into_iter();
    values.iter().chain(last.cycle()).take(all)
}

/// Selects which of a JSON array of folded places and places have a row that fits what follows: their numbers, as one text.
pub(super) const OCCUPIED: [&str; 2] = [
    "SELECT json_group_array(asked.key) FROM json_each(",
    ") AS asked WHERE EXISTS (SELECT 1 FROM file WHERE fold = asked.value ->> 0 AND kind = ",
];
/// Narrows [`OCCUPIED`] to the very same place.
pub(super) const OCCUPIED_BY_BYTES: &str = " AND place = asked.value ->> 1";

/// Selects file rows as one text, a JSON array with an array for each. A place that is named by the path is empty.
pub(super) const PACKED_FILES: &str = "SELECT json_group_array(json_array(kind, path, asset, size, modified, hex(sha256), hex(md5), \
     authored, CASE place WHEN path THEN '' ELSE place END, received_at, unlisted_at, damaged_at, hex(fingerprint), evicted))";
