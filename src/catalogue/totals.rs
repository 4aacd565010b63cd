//! How many files there are, and how large they are together.

use super::files::number;
use super::{Catalogue, Error, during, unsigned};
use crate::model::FileKind;

/// Sums over the file rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct FileTotals {
    /// Originals.
    pub originals: u64,
    /// Their bytes.
    pub originals_bytes: u64,
    /// Generated files.
    pub generated: u64,
    /// Their bytes.
    pub generated_bytes: u64,
}

impl Catalogue {
    /// Sums over all files.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn file_totals(&self) -> Result<FileTotals, Error> {
        let rows: Vec<(i64, i64, i64)> =
            sqlx::query_as("SELECT kind, COUNT(*), COALESCE(SUM(size), 0) FROM file GROUP BY kind")
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("sum files"))?;
        let mut totals = FileTotals::default();
        for (kind, count, bytes) in rows {
            if kind == number(FileKind::Original) {
                (totals.originals, totals.originals_bytes) = (unsigned(count), unsigned(bytes));
            } else {
                (totals.generated, totals.generated_bytes) = (unsigned(count), unsigned(bytes));
            }
        }
        Ok(totals)
    }
}
