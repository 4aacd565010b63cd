//! The spans of a table (`protocol::digests`): which there are, what each holds, and what it amounts to.
//!
//! The span table is a cache of what record and file rows say. Triggers of the schema mark a span as changed with every statement
//! that touches what a listing says of it, so it cannot drift, whoever writes; [`Catalogue::known_spans`] reads the changed ones
//! again (`refresh`) before it answers. A seed costs one look into a small table per row, since a table that was never read has no
//! span at all, and one that changed all over has all of them marked after a while. Whoever changes what an item says needs a
//! migration that empties the table: rows do not change by it, and no trigger can tell.

use futures_util::TryStreamExt as _;
use sqlx::Row as _;

use super::entries::{Entries, Entry};
use super::{Catalogue, Error, during, unsigned};
use crate::model::Module;
use crate::protocol::digests::{Level, TAG_BYTES, Tag, groups};

/// How often a table may change while it is read before we give up.
const READINGS: u32 = 20;

/// A run of a table's items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The id it begins with; empty at the start of a table.
    pub first: String,
    /// What it is made of.
    pub tag: Tag,
    /// Whether a group begins with it.
    pub heads: bool,
    /// Whether something in it is not plain (see [`Entry::is_plain`]).
    pub is_odd: bool,
    /// Plain live records, tombstones, originals and generated files in it.
    pub counts: [u64; 4],
}

impl Span {
    /// All spans of a table, each with where the next one begins; `None` for the last, which ends with the table.
    pub fn with_ends(spans: &[Self]) -> impl Iterator<Item = (&Self, Option<&str>)> {
        let ends = spans.iter().skip(1).map(|span| Some(span.first.as_str()));
        spans.iter().zip(ends.chain([None]))
    }

    /// The groups of a table of these spans, each with how many of them it holds.
    pub fn groups(spans: &[Self]) -> Vec<(Tag, usize)> {
        groups(spans.iter().map(|span| (span.tag, span.heads)))
    }
}

/// What a table amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSum {
    /// What it is made of.
    pub tag: Tag,
    /// Plain live records, tombstones, originals and generated files in it.
    pub counts: [u64; 4],
    /// Whether something in it is not plain (see [`Entry::is_plain`]).
    pub is_odd: bool,
}

impl TableSum {
    /// What a table of these spans amounts to.
    #[must_use]
    pub fn of(spans: &[Span]) -> Self {
        let tags: Vec<_> = Span::groups(spans)
            .into_iter()
            .map(|(tag, _)| tag)
            .collect();
        let mut counts = [0; 4];
        for span in spans {
            for (sum, count) in counts.iter_mut().zip(span.counts) {
                *sum += count;
            }
        }
        Self {
            tag: Tag::over(Level::Table, &tags),
            counts,
            is_odd: spans.iter().any(|span| span.is_odd),
        }
    }
}

impl Catalogue {
    /// What a table amounts to now; `None` while it changes faster than it can be read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn table_sum(&self, module: &Module) -> Result<Option<TableSum>, Error> {
        let spans = self.known_spans(module).await?;
        Ok(spans.map(|spans| TableSum::of(&spans)))
    }

    /// The spans of a table as it is now; `None` while it changes faster than it can be read.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn known_spans(&self, module: &Module) -> Result<Option<Vec<Span>>, Error> {
        // Most are known, and then nothing else needs to be asked.
        for _ in 0..READINGS {
            if let Some(spans) = self.spans(module).await? {
                return Ok(Some(spans));
            }
            self.refresh(module).await?;
        }
        self.spans(module).await
    }

    /// The spans of a table, unless one of them is not known.
    async fn spans(&self, module: &Module) -> Result<Option<Vec<Span>>, Error> {
        // One at a time: a row as the engine hands it over takes ten times as much as a span.
        let mut rows = sqlx::query(
            "SELECT first, state, tag, heads, odd, live, deleted, originals, generated FROM span WHERE module = $1 ORDER BY first",
        )
        .bind(module.as_str())
        .fetch(&self.db.readers);
        let mut spans = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(during("read spans"))? {
            let Some(span) = read(&row).map_err(during("read a span"))?? else {
                return Ok(None);
            };
            spans.push(span);
        }
        Ok((!spans.is_empty()).then_some(spans))
    }

    /// The tags of the items of a span that begins with `first`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn span_items(
        &self,
        module: &Module,
        first: &str,
    ) -> Result<Option<Vec<Tag>>, Error> {
        let items: Option<Vec<u8>> = sqlx::query_scalar(
            "SELECT items FROM span WHERE module = $1 AND first = $2 AND state = 0",
        )
        .bind(module.as_str())
        .bind(first)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read the items of a span"))?;
        items.map(|bytes| tags(&bytes)).transpose()
    }

    /// Everything from the id `first` to just before `until`, or to the end of the table, one span for example.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn entries(
        &self,
        module: &Module,
        first: &str,
        until: Option<&str>,
    ) -> Result<Vec<Entry>, Error> {
        let (mut pages, mut found) = (Entries::of(self, module, first, until), Vec::new());
        while let Some(page) = pages.next().await? {
            found.extend(page);
        }
        Ok(found)
    }

    /// The tables that hold a record or, of assets, a file, in order.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tables(&self) -> Result<Vec<Module>, Error> {
        // One step for each table, rather than a walk over all records.
        let names: Vec<String> = sqlx::query_scalar(
            "WITH RECURSIVE name(of) AS (
                 SELECT MIN(module) FROM record
                 UNION ALL SELECT (SELECT MIN(module) FROM record WHERE module > of) FROM name WHERE of IS NOT NULL
             )
             SELECT of FROM name WHERE of IS NOT NULL",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read the names of tables"))?;
        let mut found = vec![Module::asset()];
        for name in names {
            found.push(Module::new(name.clone()).map_err(|_| Error::Row {
                what: "table name",
                value: name,
            })?);
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }
}

fn read(row: &super::dialect::Row) -> sqlx::Result<Result<Option<Span>, Error>> {
    if row.try_get::<i64, _>(1)? != 0 {
        return Ok(Ok(None));
    }
    let (first, tag): (String, &[u8]) = (row.try_get(0)?, row.try_get(2)?);
    let mut counts = [0; 4];
    for (count, at) in counts.iter_mut().zip(5..) {
        *count = unsigned(row.try_get(at)?);
    }
    let (heads, odd): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
    let tag = tags(tag).map(|tags| tags.first().copied());
    Ok(tag.map(|tag| {
        Some(Span {
            first,
            tag: tag.unwrap_or(Tag::over(Level::Span, &[])),
            heads: heads != 0,
            is_odd: odd != 0,
            counts,
        })
    }))
}

fn tags(bytes: &[u8]) -> Result<Vec<Tag>, Error> {
    let (tags, rest) = bytes.as_chunks::<TAG_BYTES>();
    if !rest.is_empty() {
        return Err(Error::Row {
            what: "tag",
            value: data_encoding::HEXLOWER.encode(rest),
        });
    }
    Ok(tags.iter().copied().map(Tag::from_bytes).collect())
}

#[cfg(test)]
mod tests;
