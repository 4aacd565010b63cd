//! When the clock of this node was last looked at, and whether it had leapt.

use super::{Batch, Catalogue, Error, during};
use crate::model::Timestamp;

/// Rows of `meta`.
const SEEN: &str = "clock seen";
const LEAPT: &str = "clock leapt";

/// What is known of this node's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockSeen {
    /// What it said last.
    pub at: Timestamp,
    /// What it said when it had just leapt, while it is not believed yet.
    pub leapt: Option<Timestamp>,
}

impl Catalogue {
    /// What the clock said last; `None` when nobody looked yet.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn clock_seen(&self) -> Result<Option<ClockSeen>, Error> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT name, value FROM meta WHERE name IN ($1, $2)")
                .bind(SEEN)
                .bind(LEAPT)
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("look what the clock said"))?;
        let of = |wanted| {
            let row = rows.iter().find(|(name, _)| name == wanted);
            row.map(|(_, value)| Timestamp::from_millis(*value))
        };
        let leapt = of(LEAPT);
        Ok(of(SEEN).map(|at| ClockSeen { at, leapt }))
    }
}

impl Batch {
    /// Notes what the clock says.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_clock(&mut self, seen: ClockSeen) -> Result<(), Error> {
        for (name, value) in [(SEEN, Some(seen.at)), (LEAPT, seen.leapt)] {
            let value = value.map(Timestamp::as_millis);
            let doing = "note what the clock says";
            self.put_meta(name, value, doing).await?;
        }
        Ok(())
    }
}
