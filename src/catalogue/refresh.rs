//! Reads changed spans again, and cuts them anew.
//!
//! ```text
//! mark      one transaction gives every changed span of the table the number of this reading
//! read      its entries, page by page, cut where a span begins by its key
//! keep      one transaction for some thousand items: only spans that still have the number, for whatever was written in between has
//!           marked its span as changed again
//! again     until none is changed
//! ```
//!
//! A span whose first item is gone is joined to the one before it, so that the cuts follow from the items alone and two nodes with
//! the same items have the same spans. Readings in one process take turns; of two processes that read at the same time the later
//! one's number stands, and nothing of the other's is kept. A kill leaves spans marked, and the next reading goes on there.

use super::dialect::{BEGIN_WRITE, Connection};
use super::entries::{Entries, Entry};
use super::{Catalogue, Error, during, signed};
use crate::model::{Module, RecordKey};
use crate::protocol::digests::{Level, Tag, begins};

/// Items between two transactions.
const ITEMS_A_WRITE: usize = 8_000;
/// How often spans may change while they are read before a reading ends with some left.
const ROUNDS: u32 = 20;

/// A span as it is read.
#[derive(Debug, Default)]
struct Cut {
    first: String,
    heads: bool,
    odd: u64,
    counts: [u64; 4],
    items: Vec<Tag>,
}

/// What came of a span: what is put in its place.
#[derive(Debug)]
pub(super) struct Reread {
    first: String,
    becomes: Vec<Cut>,
    /// Where the rest of it begins, which was not read yet.
    rest: Option<String>,
    /// Its first item is gone.
    joins: bool,
}

impl Catalogue {
    /// Reads the changed spans of a table again. Some may be left when others write all the while.
    pub(super) async fn refresh(&self, module: &Module) -> Result<(), Error> {
        let _turn = self.db.refreshing.lock().await;
        for _ in 0..ROUNDS {
            if self.is_known(module).await? {
                break;
            }
            let reading = self.mark(module).await?;
            self.read_again(module, reading).await?;
        }
        Ok(())
    }

    async fn is_known(&self, module: &Module) -> Result<bool, Error> {
        let (any, changed): (bool, bool) = sqlx::query_as(
            "SELECT EXISTS (SELECT 1 FROM span WHERE module = $1), EXISTS (SELECT 1 FROM span WHERE module = $1 AND state <> 0)",
        )
        .bind(module.as_str())
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("look for changed spans"))?;
        Ok(any && !changed)
    }

    pub(super) async fn mark(&self, module: &Module) -> Result<i64, Error> {
        let doing = during("mark changed spans");
        let begun = self.db.writer.begin_with(BEGIN_WRITE).await;
        let mut tx = begun.map_err(&doing)?;
        sqlx::query(
            "INSERT INTO span (module, first, state, heads, odd, live, deleted, originals, generated, tag, items)
             VALUES ($1, '', 1, 1, 0, 0, 0, 0, 0, x'', x'') ON CONFLICT (module, first) DO NOTHING",
        )
        .bind(module.as_str())
        .execute(&mut *tx)
        .await
        .map_err(&doing)?;
        let reading: i64 = sqlx::query_scalar(
            "INSERT INTO meta (name, value) VALUES ('reading', 2)
             ON CONFLICT (name) DO UPDATE SET value = meta.value + 1 RETURNING value",
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(&doing)?;
        sqlx::query("UPDATE span SET state = $1 WHERE module = $2 AND state <> 0")
            .bind(reading)
            .bind(module.as_str())
            .execute(&mut *tx)
            .await
            .map_err(&doing)?;
        tx.commit().await.map_err(&doing)?;
        Ok(reading)
    }

    async fn read_again(&self, module: &Module, reading: i64) -> Result<(), Error> {
        let (mut done, mut items, mut after) = (Vec::new(), 0, None);
        while let Some((first, until)) = self.next_marked(module, reading, after.take()).await? {
            let reread = self.reread(module, &first, until.as_deref()).await?;
            items += reread
                .becomes
                .iter()
                .map(|cut| cut.items.len() + 1)
                .sum::<usize>();
            let stays = reread.rest.is_some();
            done.push(reread);
            if stays || items >= ITEMS_A_WRITE {
                self.keep(module, reading, std::mem::take(&mut done))
                    .await?;
                items = 0;
            }
            after = Some(first);
        }
        self.keep(module, reading, done).await
    }

    /// The next span of this reading behind `after`, and where it ends.
    pub(super) async fn next_marked(
        &self,
        module: &Module,
        reading: i64,
        after: Option<String>,
    ) -> Result<Option<(String, Option<String>)>, Error> {
        let found: Option<(String, Option<String>)> = sqlx::query_as(
            "SELECT first, (SELECT MIN(next.first) FROM span AS next WHERE next.module = $1 AND next.first > span.first)
             FROM span WHERE module = $1 AND state <> 0 AND state = $2 AND ($3 IS NULL OR first > $3) ORDER BY first LIMIT 1",
        )
        .bind(module.as_str())
        .bind(reading)
        .bind(after)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("find a changed span"))?;
        Ok(found)
    }

    pub(super) async fn reread(
        &self,
        module: &Module,
        first: &str,
        until: Option<&str>,
    ) -> Result<Reread, Error> {
        let mut pages = Entries::of(self, module, first, until).only_listed();
        let mut open = Cut {
            first: first.to_owned(),
            heads: first.is_empty() || is_head(module, first, Level::Group),
            ..Cut::default()
        };
        let (mut becomes, mut items, mut is_first) = (Vec::new(), 0, true);
        while let Some(page) = pages.next().await? {
            for entry in &page {
                if let Some(item) = &entry.item {
                    if std::mem::take(&mut is_first) && !first.is_empty() && entry.id != first {
                        return Ok(Reread::joining(first));
                    }
                    let level = begins(&item.key);
                    if level >= Level::Span && entry.id != open.first {
                        let next = Cut {
                            first: entry.id.clone(),
                            heads: level >= Level::Group,
                            ..Cut::default()
                        };
                        items += open.items.len();
                        becomes.push(std::mem::replace(&mut open, next));
                    }
                }
                open.take(entry);
            }
            if items >= ITEMS_A_WRITE {
                return Ok(Reread {
                    first: first.to_owned(),
                    becomes,
                    rest: Some(open.first),
                    joins: false,
                });
            }
        }
        if is_first && !first.is_empty() {
            return Ok(Reread::joining(first));
        }
        becomes.push(open);
        Ok(Reread {
            first: first.to_owned(),
            becomes,
            rest: None,
            joins: false,
        })
    }

    pub(super) async fn keep(
        &self,
        module: &Module,
        reading: i64,
        done: Vec<Reread>,
    ) -> Result<(), Error> {
        if done.is_empty() {
            return Ok(());
        }
        let doing = during("keep spans");
        let begun = self.db.writer.begin_with(BEGIN_WRITE).await;
        let mut tx = begun.map_err(&doing)?;
        for reread in done {
            put(&mut tx, module, reading, reread)
                .await
                .map_err(&doing)?;
        }
        tx.commit().await.map_err(&doing)
    }
}

impl Reread {
    fn joining(first: &str) -> Self {
        Self {
            first: first.to_owned(),
            becomes: Vec::new(),
            rest: None,
            joins: true,
        }
    }
}

impl Cut {
    fn take(&mut self, entry: &Entry) {
        self.odd += u64::from(!entry.is_plain());
        let Some(item) = &entry.item else { return };
        self.items.push(item.tag());
        if entry.is_plain() {
            for (sum, count) in self.counts.iter_mut().zip(item.counts()) {
                *sum += count;
            }
        }
    }
}

fn is_head(module: &Module, id: &str, level: Level) -> bool {
    RecordKey::new(module.as_str(), id).is_ok_and(|key| begins(&key) >= level)
}

async fn put(
    tx: &mut Connection,
    module: &Module,
    reading: i64,
    reread: Reread,
) -> sqlx::Result<()> {
    let taken = sqlx::query("DELETE FROM span WHERE module = $1 AND first = $2 AND state = $3")
        .bind(module.as_str())
        .bind(&reread.first)
        .bind(reading)
        .execute(&mut *tx)
        .await?;
    if taken.rows_affected() == 0 {
        return Ok(());
    }
    if reread.joins {
        sqlx::query(
            "UPDATE span SET state = 1 WHERE module = $1 AND first = (SELECT MAX(first) FROM span WHERE module = $1 AND first < $2)",
        )
        .bind(module.as_str())
        .bind(&reread.first)
        .execute(&mut *tx)
        .await?;
    }
    for cut in reread.becomes {
        let tag = Tag::over(Level::Span, &cut.items);
        let items: Vec<u8> = cut.items.iter().flat_map(|tag| *tag.as_bytes()).collect();
        insert(tx, module, 0, &cut, (tag.as_bytes(), &items)).await?;
    }
    if let Some(first) = reread.rest {
        let rest = Cut {
            heads: is_head(module, &first, Level::Group),
            first,
            ..Cut::default()
        };
        insert(tx, module, reading, &rest, (&[], &[])).await?;
    }
    Ok(())
}

async fn insert(
    tx: &mut Connection,
    module: &Module,
    state: i64,
    cut: &Cut,
    (tag, items): (&[u8], &[u8]),
) -> sqlx::Result<()> {
    let mut query = sqlx::query(
        "INSERT INTO span (module, first, state, heads, odd, tag, items, live, deleted, originals, generated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind(module.as_str())
    .bind(&cut.first)
    .bind(state)
    .bind(i64::from(cut.heads))
    .bind(signed(cut.odd))
    .bind(tag)
    .bind(items);
    for count in cut.counts {
        query = query.bind(signed(count));
    }
    query.execute(&mut *tx).await?;
    Ok(())
}
