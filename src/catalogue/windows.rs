//! The windows that listings are cut from: how many records changed since a moment, and the keys their pages end with.
//!
//! Pages of one window are ranges of keys, so they do not overlap, whatever is stored while the listing goes on; and what is
//! read of one page is bounded, with a way to tell that it is not the whole page any more (I10).
//!
//! A window of many records is cut from the index of keys alone, one of few by the index of changes; count and bounds are of one
//! moment either way, so both say the same.

use sqlx::QueryBuilder;

use super::dialect::Engine;
use super::records::{COLUMNS, key, stored};
use super::{Catalogue, Error, StoredRecord, during, signed, unsigned};
use crate::model::{Module, RecordKey, Timestamp};

/// A listing's cut through the records: how many there are, and the key each page ends with. Pages are ranges of keys, so
/// a record that changes while the listing goes on stays on its page, and one that is added can only make a page longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Start of the window; there is no upper bound.
    pub since: Timestamp,
    /// Records in it when it was cut.
    pub total: u64,
    /// Records a page held when it was cut.
    pub per_page: u64,
    /// Last key of each page but the last one, in order.
    pub bounds: Vec<RecordKey>,
}

impl Window {
    /// Number of pages; 0 for an empty window.
    #[must_use]
    pub fn pages(&self) -> u64 {
        if self.total == 0 {
            0
        } else {
            self.bounds.len() as u64 + 1
        }
    }

    /// The most records a page is read with: beyond that it has [outgrown](Self::outgrown) its window.
    #[must_use]
    pub fn most_a_page(&self) -> u64 {
        self.per_page.saturating_mul(4)
    }

    /// Whether so many records were added inside a page of this window that the page is not whole: the window must be cut
    /// anew. Without this bound a node that is being seeded would answer with pages of any size (I10).
    #[must_use]
    pub fn outgrown(&self, page: &[StoredRecord]) -> bool {
        page.len() as u64 > self.most_a_page()
    }
}

/// A window of fewer records is cut by what changed, one of more by keys: to look up and sort a million records takes longer than
/// to go through an index that is in order and says all that is asked.
const SMALL: i64 = 10_000;
const CHANGED_FEW: &str = " FROM record WHERE changed_at >= ";
/// A sum is in no index, so that the engine goes through the one in order.
const CHANGED_MANY: &str = " FROM record WHERE changed_at + 0 >= ";

/// Condition for records with every member of the record status.
const STAMPED: &str = " AND modified IS NOT NULL AND master_modified IS NOT NULL";

impl Catalogue {
    /// Cuts the window of a listing: every record changed or received at or after `since`, but of the tables in `withheld`.
    /// Records without a complete status are stored but never listed (design section 8, Conflicts; wire spec 11.1.5).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn window(
        &self,
        since: Timestamp,
        per_page: u64,
        withheld: &[Module],
    ) -> Result<Window, Error> {
        let cutting = during("cut a listing");
        // Both questions are of one moment.
        let mut tx = self.db.readers.begin().await.map_err(&cutting)?;
        let is_small: bool = sqlx::query_scalar(
            "SELECT COUNT(*) < $2 FROM (SELECT 1 FROM record WHERE changed_at >= $1 LIMIT $2) AS some",
        )
        .bind(since.as_millis())
        .bind(SMALL)
        .fetch_one(&mut *tx)
        .await
        .map_err(&cutting)?;
        let changed = if is_small { CHANGED_FEW } else { CHANGED_MANY };
        let push_changed = |query: &mut QueryBuilder<Engine>| {
            query
                .push(changed)
                .push_bind(since.as_millis())
                .push(STAMPED);
            push_withheld(query, withheld);
        };
        let mut query = QueryBuilder::<Engine>::new("SELECT COUNT(*)");
        push_changed(&mut query);
        let total: i64 =
            (query.build_query_scalar().fetch_one(&mut *tx).await).map_err(&cutting)?;
        let mut query = QueryBuilder::<Engine>::new(
            "SELECT module, id FROM (SELECT module, id, ROW_NUMBER() OVER (ORDER BY module, id) AS place",
        );
        push_changed(&mut query);
        query
            .push(") AS numbered WHERE place % ")
            .push_bind(signed(per_page))
            .push(" = 0 ORDER BY place");
        let rows: Vec<(String, String)> =
            (query.build_query_as().fetch_all(&mut *tx).await).map_err(&cutting)?;
        tx.commit().await.map_err(&cutting)?;
        let total = unsigned(total);
        let mut bounds = rows
            .into_iter()
            .map(|(module, id)| key(module, id))
            .collect::<Result<Vec<_>, _>>()?;
        // The last page has no end: what is added behind it while the listing goes on still belongs to it.
        if total > 0 && total.is_multiple_of(per_page) {
            bounds.pop();
        }
        Ok(Window {
            since,
            total,
            per_page,
            bounds,
        })
    }

    /// The records of page `page` (from 1) of a window, in order of their keys; at most one more than
    /// [`Window::most_a_page`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn window_page(
        &self,
        window: &Window,
        page: u64,
        withheld: &[Module],
    ) -> Result<Vec<StoredRecord>, Error> {
        if page == 0 || page > window.pages() {
            return Ok(Vec::new());
        }
        let at = usize::try_from(page - 1).unwrap_or(usize::MAX);
        let mut query = QueryBuilder::<Engine>::new("SELECT ");
        query
            .push(COLUMNS)
            .push(" FROM record WHERE changed_at >= ")
            .push_bind(window.since.as_millis())
            .push(STAMPED);
        if let Some(from) = at.checked_sub(1).and_then(|at| window.bounds.get(at)) {
            query
                .push(" AND (module, id) > (")
                .push_bind(from.module.as_str())
                .push(", ")
                .push_bind(&from.id)
                .push(")");
        }
        if let Some(to) = window.bounds.get(at) {
            query
                .push(" AND (module, id) <= (")
                .push_bind(to.module.as_str())
                .push(", ")
                .push_bind(&to.id)
                .push(")");
        }
        push_withheld(&mut query, withheld);
        query
            .push(" ORDER BY module, id LIMIT ")
            .push_bind(signed(window.most_a_page().saturating_add(1)));
        let rows = query
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("read a page"))?;
        rows.iter().map(stored).collect()
    }
}

fn push_withheld(query: &mut QueryBuilder<Engine>, withheld: &[Module]) {
    for module in withheld {
        query
            .push(" AND module <> ")
            .push_bind(module.as_str().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::model::{NodeId, Record, RecordStatus, Sha256};

    /// Every third record is of no listing, every other one is of the later of two moments.
    fn record(n: i64) -> Record {
        let node = NodeId::new("n").unwrap();
        let modified = Timestamp::from_millis(1_000 * (1 + n % 2));
        let status = RecordStatus {
            deleted: n % 5 == 0,
            master: node.clone(),
            modified_by: node,
            modified,
            master_modified: (n % 3 > 0).then_some(modified),
        };
        Record {
            key: RecordKey::new(
                ["asset", "note"][usize::from(n % 7 == 0)],
                format!("r{n:06}"),
            )
            .unwrap(),
            source: "{}".to_owned(),
            status: Some(status),
            content: Sha256::of(b"{}"),
        }
    }

    #[tokio::test]
    async fn windows_are_cut_alike_however_much_is_in_them() {
        let (_dir, catalogue) = empty().await;
        let records: Vec<_> = (0..3 * SMALL / 2).map(record).collect();
        let mut batch = catalogue.batch().await.unwrap();
        let all: Vec<_> = records.iter().collect();
        batch.put_records(&all, "", Timestamp::EPOCH).await.unwrap();
        batch.commit().await.unwrap();
        for (since, per_page) in [
            (0, 1_000),
            (0, 7_000),
            (2_000, 1_000),
            (2_000, 5),
            (3_000, 5),
        ] {
            let since = Timestamp::from_millis(since);
            let is_in = |record: &&Record| {
                let status = record.status.as_ref().unwrap();
                status.master_modified.is_some() && status.modified >= since
            };
            let mut keys: Vec<_> = (records.iter().filter(is_in))
                .map(|record| record.key.clone())
                .collect();
            keys.sort_unstable();
            let pages = keys.chunks(usize::try_from(per_page).unwrap());
            let mut bounds: Vec<_> = pages.filter_map(|page| page.last().cloned()).collect();
            bounds.pop();
            let window = catalogue.window(since, per_page, &[]).await.unwrap();
            assert_eq!((window.total, window.bounds), (keys.len() as u64, bounds));
        }
    }
}
