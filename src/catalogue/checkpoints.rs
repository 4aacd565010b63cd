//! Where each pass stands: the watermarks of whole listings, and the listing under way with the records its pages held.
//!
//! All of it is written in a [`Batch`], together with the rows it speaks of.

use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{RecordKey, Timestamp};

/// The end of the last listing that was taken whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// When that listing began, on our clock.
    pub watermark: Timestamp,
    /// The same moment on the peer's clock, which orders the peer's events (I14).
    pub server_watermark: Timestamp,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

/// A listing under way. It moves on in the same transaction as the rows of the page it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When it began, on our clock.
    pub started_at: Timestamp,
    /// The peer's clock at that moment.
    pub server_now: Timestamp,
    /// Start of its window, on our clock.
    pub since: Timestamp,
    /// The peer's name for its cursor.
    pub session: String,
    /// Whether another process may go on with the cursor.
    pub resumable: bool,
    /// The last page whose rows are in.
    pub page: u64,
    /// Pages in all.
    pub pages: u64,
    /// Records in all, as announced on page 1.
    pub total: u64,
    /// Live assets here when it began.
    pub live_before: u64,
}

impl Catalogue {
    /// The checkpoint of a feed of a peer.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn checkpoint(&self, peer: &str, feed: &str) -> Result<Option<Checkpoint>, Error> {
        let row: Option<(i64, i64, i64)> =
            sqlx::query_as("SELECT watermark, server_watermark, took_ms FROM checkpoint WHERE peer = $1 AND feed = $2")
                .bind(peer)
                .bind(feed)
                .fetch_optional(&self.db.readers)
                .await
                .map_err(during("read a checkpoint"))?;
        Ok(
            row.map(|(watermark, server_watermark, took_ms)| Checkpoint {
                watermark: Timestamp::from_millis(watermark),
                server_watermark: Timestamp::from_millis(server_watermark),
                took_ms: unsigned(took_ms),
            }),
        )
    }

    /// The listing of a peer that a run left unfinished, if any.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn listing(&self, peer: &str) -> Result<Option<Listing>, Error> {
        type Columns = (i64, i64, i64, String, i64, i64, i64, i64, i64);
        let row: Option<Columns> = sqlx::query_as(
            "SELECT started_at, server_now, since, session, resumable, page, pages, total, live_before FROM listing WHERE peer = $1",
        )
        .bind(peer)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read the listing under way"))?;
        Ok(row.map(
            |(
                started_at,
                server_now,
                since,
                session,
                resumable,
                page,
                pages,
                total,
                live_before,
            )| Listing {
                started_at: Timestamp::from_millis(started_at),
                server_now: Timestamp::from_millis(server_now),
                since: Timestamp::from_millis(since),
                session,
                resumable: resumable != 0,
                page: unsigned(page),
                pages: unsigned(pages),
                total: unsigned(total),
                live_before: unsigned(live_before),
            },
        ))
    }

    /// How many different records the pages of the listing under way held so far.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn seen(&self, peer: &str) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM seen WHERE peer = $1")
            .bind(peer)
            .fetch_one(&self.db.readers)
            .await
            .map_err(during("count what was seen"))?;
        Ok(unsigned(count))
    }
}

impl Batch {
    /// Moves the checkpoint of a feed; the listing that led there is over. What it showed stays, to be audited, until
    /// [`end_listing`](Self::end_listing).
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_checkpoint(
        &mut self,
        peer: &str,
        feed: &str,
        checkpoint: &Checkpoint,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO checkpoint (peer, feed, watermark, server_watermark, took_ms) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (peer, feed) DO UPDATE SET watermark = excluded.watermark,
             server_watermark = excluded.server_watermark, took_ms = excluded.took_ms",
        )
        .bind(peer)
        .bind(feed)
        .bind(checkpoint.watermark.as_millis())
        .bind(checkpoint.server_watermark.as_millis())
        .bind(signed(checkpoint.took_ms))
        .execute(&mut *self.tx)
        .await
        .map_err(during("move a checkpoint"))?;
        sqlx::query("DELETE FROM listing WHERE peer = $1")
            .bind(peer)
            .execute(&mut *self.tx)
            .await
            .map_err(during("end a listing"))?;
        Ok(())
    }

    /// Notes how far the listing under way has come.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_listing(&mut self, peer: &str, listing: &Listing) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO listing (peer, started_at, server_now, since, session, resumable, page, pages, total, live_before)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (peer) DO UPDATE SET started_at = excluded.started_at,
             server_now = excluded.server_now, since = excluded.since, session = excluded.session, resumable = excluded.resumable,
             page = excluded.page, pages = excluded.pages, total = excluded.total, live_before = excluded.live_before",
        )
        .bind(peer)
        .bind(listing.started_at.as_millis())
        .bind(listing.server_now.as_millis())
        .bind(listing.since.as_millis())
        .bind(&listing.session)
        .bind(i64::from(listing.resumable))
        .bind(signed(listing.page))
        .bind(signed(listing.pages))
        .bind(signed(listing.total))
        .bind(signed(listing.live_before))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note a listing"))?;
        Ok(())
    }

    /// Forgets the listing under way and what it showed.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_listing(&mut self, peer: &str) -> Result<(), Error> {
        for statement in [
            "DELETE FROM listing WHERE peer = $1",
            "DELETE FROM seen WHERE peer = $1",
        ] {
            sqlx::query(statement)
                .bind(peer)
                .execute(&mut *self.tx)
                .await
                .map_err(during("end a listing"))?;
        }
        Ok(())
    }

    /// Notes which records a page held, and whether each is live.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn see(&mut self, peer: &str, keys: &[(RecordKey, bool)]) -> Result<(), Error> {
        for chunk in keys.chunks(super::dialect::ROWS_A_STATEMENT) {
            let mut query = sqlx::QueryBuilder::<super::dialect::Engine>::new(
                "INSERT INTO seen (peer, module, id, live) ",
            );
            query.push_values(chunk, |mut row, (key, is_live)| {
                row.push_bind(peer)
                    .push_bind(key.module.as_str())
                    .push_bind(&key.id)
                    .push_bind(i64::from(*is_live));
            });
            query.push(" ON CONFLICT (peer, module, id) DO UPDATE SET live = excluded.live");
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note what was seen"))?;
        }
        Ok(())
    }
}
