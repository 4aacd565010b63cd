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

    /// How many records of a peer were changed or stored here since a moment: those that a listing from there on brings again, as far
    /// as this node knows.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn changed_since(&self, peer: &str, since: Timestamp) -> Result<u64, Error> {
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM record WHERE changed_at >= $1 AND origin = $2",
        )
        .bind(since.as_millis())
        .bind(peer)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count what changed since"))?;
        Ok(unsigned(count))
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
    /// Sets the checkpoint of a feed back to a moment on our clock, so that the next listing begins there; without one it is forgotten,
    /// and the next takes everything. A listing under way is given up: it began later. Answers `false`, and changes nothing, where the
    /// checkpoint is not later than that.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn set_back(
        &mut self,
        peer: &str,
        feed: &str,
        to: Option<Timestamp>,
    ) -> Result<bool, Error> {
        let done = match to {
            Some(to) => {
                sqlx::query(
                    "UPDATE checkpoint SET server_watermark = server_watermark - watermark + $1, watermark = $1
                     WHERE peer = $2 AND feed = $3 AND watermark > $1",
                )
                .bind(to.as_millis())
                .bind(peer)
                .bind(feed)
            }
            None => sqlx::query("DELETE FROM checkpoint WHERE peer = $1 AND feed = $2")
                .bind(peer)
                .bind(feed),
        };
        let done = done
            .execute(&mut *self.tx)
            .await
            .map_err(during("set a checkpoint back"))?;
        let is_done = done.rows_affected() > 0;
        if is_done {
            self.end_listing(peer).await?;
        }
        Ok(is_done)
    }

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

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::super::dialect::ROWS_A_STATEMENT;
    use super::*;

    /// A listing of which every member has a value of its own.
    fn listing(from: i64) -> Listing {
        let at = |n| Timestamp::from_millis(from + n);
        let count = |n| unsigned(from + n);
        Listing {
            started_at: at(1),
            server_now: at(2),
            since: at(3),
            session: format!("s{from}"),
            resumable: from % 20 == 0,
            page: count(4),
            pages: count(5),
            total: count(6),
            live_before: count(7),
        }
    }

    fn checkpoint(from: i64) -> Checkpoint {
        Checkpoint {
            watermark: Timestamp::from_millis(from + 1),
            server_watermark: Timestamp::from_millis(from + 2),
            took_ms: unsigned(from + 3),
        }
    }

    fn key(id: impl std::fmt::Display) -> RecordKey {
        RecordKey::new("asset", id.to_string()).unwrap()
    }

    /// Commits what is done to a batch.
    async fn commit(catalogue: &Catalogue, act: impl AsyncFnOnce(&mut Batch) -> Result<(), Error>) {
        let mut batch = catalogue.batch().await.unwrap();
        act(&mut batch).await.unwrap();
        batch.commit().await.unwrap();
    }

    #[tokio::test]
    async fn every_member_comes_back_and_follows_when_progress_is_made() {
        let (_dir, catalogue) = empty().await;
        for from in [10, 20, 30] {
            commit(&catalogue, async |batch| {
                batch.put_listing("a", &listing(from)).await
            })
            .await;
            let noted = catalogue.listing("a").await.unwrap();
            assert_eq!(noted, Some(listing(from)));
        }
        for from in [10, 20, 30] {
            commit(&catalogue, async |batch| {
                batch
                    .put_checkpoint("a", "changes", &checkpoint(from))
                    .await
            })
            .await;
            let noted = catalogue.checkpoint("a", "changes").await.unwrap();
            assert_eq!(noted, Some(checkpoint(from)));
        }
    }

    #[tokio::test]
    async fn the_progress_of_one_peer_and_feed_is_no_others() {
        let (_dir, catalogue) = empty().await;
        commit(&catalogue, async |batch| {
            for (peer, from) in [("a", 10), ("b", 20)] {
                batch
                    .put_checkpoint(peer, "changes", &checkpoint(from))
                    .await?;
                batch.put_listing(peer, &listing(from)).await?;
                batch
                    .see(peer, &[(key(peer), true), (key("c"), true)])
                    .await?;
            }
            batch.put_checkpoint("a", "other", &checkpoint(30)).await?;
            batch.put_listing("a", &listing(40)).await
        })
        .await;
        let found = async |peer, feed| catalogue.checkpoint(peer, feed).await.unwrap();
        assert_eq!(found("a", "changes").await, Some(checkpoint(10)));
        assert_eq!(found("a", "other").await, Some(checkpoint(30)));
        assert_eq!(found("b", "changes").await, Some(checkpoint(20)));
        assert_eq!(found("b", "other").await, None);
        assert_eq!(found("b", "a feed before it").await, None);
        assert_eq!(catalogue.listing("a").await.unwrap(), Some(listing(40)));
        commit(&catalogue, async |batch| batch.end_listing("a").await).await;
        assert_eq!(catalogue.listing("a").await.unwrap(), None);
        assert_eq!(catalogue.listing("b").await.unwrap(), Some(listing(20)));
        let seen = (catalogue.seen("a").await, catalogue.seen("b").await);
        assert_eq!((seen.0.unwrap(), seen.1.unwrap()), (0, 2));
    }

    #[tokio::test]
    async fn a_checkpoint_is_set_back_and_never_forward_and_the_clocks_stay_apart() {
        let (_dir, catalogue) = empty().await;
        commit(&catalogue, async |batch| {
            batch
                .put_checkpoint("a", "changes", &checkpoint(10))
                .await?;
            batch.put_listing("a", &listing(10)).await
        })
        .await;
        let to = |ms| Some(Timestamp::from_millis(ms));
        commit(&catalogue, async |batch| {
            assert!(!batch.set_back("a", "changes", to(11)).await?);
            assert!(!batch.set_back("b", "changes", to(1)).await?);
            Ok(())
        })
        .await;
        assert_eq!(catalogue.listing("a").await.unwrap(), Some(listing(10)));
        commit(&catalogue, async |batch| {
            assert!(batch.set_back("a", "changes", to(5)).await?);
            Ok(())
        })
        .await;
        let set = catalogue.checkpoint("a", "changes").await.unwrap().unwrap();
        assert_eq!(
            (set.watermark.as_millis(), set.server_watermark.as_millis()),
            (5, 6)
        );
        assert_eq!(catalogue.listing("a").await.unwrap(), None);
        commit(&catalogue, async |batch| {
            assert!(batch.set_back("a", "changes", None).await?);
            Ok(())
        })
        .await;
        assert_eq!(catalogue.checkpoint("a", "changes").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_checkpoint_ends_the_listing_that_led_to_it_but_not_what_it_showed() {
        let (_dir, catalogue) = empty().await;
        commit(&catalogue, async |batch| {
            for peer in ["a", "b"] {
                batch.put_listing(peer, &listing(10)).await?;
                batch.see(peer, &[(key("r"), true)]).await?;
            }
            batch.put_checkpoint("a", "changes", &checkpoint(10)).await
        })
        .await;
        assert_eq!(catalogue.listing("a").await.unwrap(), None);
        assert_eq!(catalogue.seen("a").await.unwrap(), 1);
        assert_eq!(catalogue.listing("b").await.unwrap(), Some(listing(10)));
    }

    /// I2: what is not committed with its rows has not happened.
    #[tokio::test]
    async fn progress_of_a_batch_that_is_given_up_is_forgotten() {
        let (_dir, catalogue) = empty().await;
        commit(&catalogue, async |batch| {
            batch
                .put_checkpoint("a", "changes", &checkpoint(10))
                .await?;
            batch.put_listing("a", &listing(10)).await
        })
        .await;
        let mut batch = catalogue.batch().await.unwrap();
        let next = checkpoint(20);
        batch.see("a", &[(key("r"), true)]).await.unwrap();
        batch.put_checkpoint("a", "changes", &next).await.unwrap();
        drop(batch);
        let noted = catalogue.checkpoint("a", "changes").await.unwrap();
        assert_eq!(noted, Some(checkpoint(10)));
        assert_eq!(catalogue.listing("a").await.unwrap(), Some(listing(10)));
        assert_eq!(catalogue.seen("a").await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_record_that_is_shown_again_counts_once_and_as_it_was_shown_last() {
        let (_dir, catalogue) = empty().await;
        let many = ROWS_A_STATEMENT + 1;
        let keys: Vec<_> = (0..many).map(|n| (key(n), true)).collect();
        commit(&catalogue, async |batch| {
            batch.see("a", &keys).await?;
            batch
                .see("a", &[(key(many - 1), false), (key("new"), false)])
                .await?;
            batch.see("b", &keys[..2]).await
        })
        .await;
        assert_eq!(catalogue.seen("a").await.unwrap(), many as u64 + 1);
        let live = catalogue.seen_live_assets("a").await.unwrap();
        assert_eq!(live, many as u64 - 1);
    }
}
