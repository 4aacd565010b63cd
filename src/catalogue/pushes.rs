//! What goes to a peer: which records were stored here since the last push, how far a push has come, and what was sent.
//!
//! A record's `received_at` says when this node stored it or one of its files, so it decides what a push takes; the order is
//! that of `changed_at`, which is never before it and has an index. Windows of pushes overlap, since a stamp is taken before
//! its transaction commits; what was sent in the overlap is noted, so that nothing goes twice.

use std::time::Duration;

use sqlx::{QueryBuilder, Row as _};

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::records::{COLUMNS, key, sha256, stored};
use super::{Batch, Catalogue, Error, StoredRecord, during, signed, unsigned};
use crate::model::{Module, NodeId, RecordKey, Sha256, Timestamp};

/// How far a push has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushState {
    /// Which kinds of files go along, as a number of the pusher's choice.
    pub offers: i64,
    /// Everything stored up to here was pushed.
    pub watermark: Timestamp,
    /// The push under way, if there is one.
    pub under_way: Option<PushWindow>,
}

/// What a push takes: all that was stored after `since` and not after `until`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushWindow {
    /// Its start.
    pub since: Timestamp,
    /// Its fixed end.
    pub until: Timestamp,
    /// The last record that was dealt with; `None` at the beginning.
    pub after: Option<PushPlace>,
}

/// A place in the order that a push takes records in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushPlace {
    /// When the record changed.
    pub at: Timestamp,
    /// Its address.
    pub key: RecordKey,
}

/// A record that may have to be pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The record.
    pub stored: StoredRecord,
    /// Its place in the order.
    pub place: PushPlace,
}

/// What is not sent to a peer, since it must have it anyway (wire spec 8.1, 2; I8), or must not have it.
#[derive(Debug, Clone, Copy)]
pub struct Trim<'a> {
    /// The peer: what came from it and was not edited here since stays here.
    pub peer: &'a str,
    /// Its cluster id: what it owns and saved last itself stays here, and so does an edit of ours that it is known to have.
    pub peer_id: Option<&'a NodeId>,
    /// This node.
    pub own: &'a NodeId,
    /// Tables that do not leave this node.
    pub withheld: &'a [Module],
}

impl Trim<'_> {
    fn push_to(&self, query: &mut QueryBuilder<Engine>) {
        query
            .push(" AND (origin <> ")
            .push_bind(self.peer.to_owned())
            .push(" OR modified_by = ")
            .push_bind(self.own.as_str().to_owned())
            .push(")");
        if let Some(id) = self.peer_id {
            query
                .push(" AND (master <> ")
                .push_bind(id.as_str().to_owned())
                .push(" OR modified_by <> ")
                .push_bind(id.as_str().to_owned())
                .push(" AND pushed = 0)");
        }
        for module in self.withheld {
            query
                .push(" AND module <> ")
                .push_bind(module.as_str().to_owned());
        }
    }
}

/// A record that was sent and is to be looked for at the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The record.
    pub key: RecordKey,
    /// Its content when it was sent.
    pub content: Sha256,
}

/// How much of a push is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portion {
    /// Most records.
    pub records: usize,
    /// Most bytes of their JSON, unless the first alone has more.
    pub bytes: u64,
}

const OPEN: i64 = 0;
const SEEN: i64 = 1;
const LEFT: i64 = 2;

impl Catalogue {
    /// How far the push to a peer has come; `None` before the first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn push_state(&self, peer: &str) -> Result<Option<PushState>, Error> {
        let row = sqlx::query(
            "SELECT offers, watermark, since, until, is_under_way, after_at, after_module, after_id FROM push WHERE peer = $1",
        )
        .bind(peer)
        .fetch_optional(&self.db.readers)
        .await
        .map_err(during("read how far a push is"))?;
        let Some(row) = row else { return Ok(None) };
        let read = || -> sqlx::Result<_> {
            let number = |at: usize| row.try_get::<i64, _>(at);
            let time = |at: usize| number(at).map(Timestamp::from_millis);
            let after: (String, String) = (row.try_get(6)?, row.try_get(7)?);
            Ok((
                (number(0)?, time(1)?),
                (time(2)?, time(3)?, number(4)? != 0),
                (time(5)?, after),
            ))
        };
        let ((offers, watermark), (since, until, is_under_way), (at, (module, id))) =
            read().map_err(during("read how far a push is"))?;
        let after = match module.is_empty() {
            true => None,
            false => Some(PushPlace {
                at,
                key: key(module, id)?,
            }),
        };
        Ok(Some(PushState {
            offers,
            watermark,
            under_way: is_under_way.then_some(PushWindow {
                since,
                until,
                after,
            }),
        }))
    }

    /// The records of a push in its order, beginning after [`PushWindow::after`]: those with a complete status, and not trimmed. As
    /// many as [`Portion`] allows, and one at least if there is one; no more than that is read from disk.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn push_candidates(
        &self,
        window: &PushWindow,
        trim: Trim<'_>,
        portion: Portion,
    ) -> Result<Vec<Candidate>, Error> {
        let reading = during("read what is to be pushed");
        // The length of a text is told without the text.
        let sizes: Vec<i64> = candidates("octet_length(source)", window, trim, portion.records)
            .build_query_scalar()
            .fetch_all(&self.db.readers)
            .await
            .map_err(&reading)?;
        if sizes.is_empty() {
            return Ok(Vec::new());
        }
        let fit = fitting(&sizes, portion.bytes);
        let columns = format!("{COLUMNS}, changed_at");
        let rows = candidates(&columns, window, trim, fit)
            .build()
            .fetch_all(&self.db.readers)
            .await
            .map_err(&reading)?;
        rows.iter()
            .map(|row| {
                let stored = stored(row)?;
                let at = row.try_get("changed_at").map_err(&reading)?;
                let place = PushPlace {
                    at: Timestamp::from_millis(at),
                    key: stored.record.key.clone(),
                };
                Ok(Candidate { stored, place })
            })
            .collect()
    }

    /// Which of these records were sent to a peer as they are now stored.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn already_sent(
        &self,
        peer: &str,
        records: &[&StoredRecord],
    ) -> Result<Vec<RecordKey>, Error> {
        let mut found = Vec::new();
        for chunk in records.chunks(ROWS_A_STATEMENT / 2) {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT module, id, received_at, content FROM sent WHERE peer = ",
            );
            query.push_bind(peer).push(" AND (module, id) IN (VALUES ");
            let mut list = query.separated(", ");
            for stored in chunk {
                list.push("(")
                    .push_bind_unseparated(stored.record.key.module.as_str());
                list.push_unseparated(", ")
                    .push_bind_unseparated(&stored.record.key.id)
                    .push_unseparated(")");
            }
            query.push(")");
            let rows: Vec<(String, String, i64, Vec<u8>)> = query
                .build_query_as()
                .fetch_all(&self.db.readers)
                .await
                .map_err(during("read what was sent"))?;
            for (module, id, received_at, content) in rows {
                let key = key(module, id)?;
                let is_same = |stored: &&&StoredRecord| {
                    stored.record.key == key
                        && stored.received_at.as_millis() == received_at
                        && stored.record.content.as_bytes()[..] == content[..]
                };
                if chunk.iter().any(|stored| is_same(&stored)) {
                    found.push(key);
                }
            }
        }
        Ok(found)
    }

    /// Up to `limit` records that were sent to a peer and not looked for there yet, in order of their keys, after `after`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn sent_unseen(
        &self,
        peer: &str,
        after: Option<&RecordKey>,
        limit: usize,
    ) -> Result<Vec<Sent>, Error> {
        let (module, id) = after.map_or(("", ""), |key| (key.module.as_str(), &key.id));
        let rows: Vec<(String, String, Vec<u8>)> = sqlx::query_as(
            "SELECT module, id, content FROM sent WHERE peer = $1 AND state = 0 AND (module, id) > ($2, $3)
             ORDER BY module, id LIMIT $4",
        )
        .bind(peer)
        .bind(module)
        .bind(id)
        .bind(signed(limit as u64))
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read what was sent"))?;
        rows.into_iter()
            .map(|(module, id, content)| {
                Ok(Sent {
                    key: key(module, id)?,
                    content: sha256("content digest", &content)?,
                })
            })
            .collect()
    }

    /// The earliest date of a record that was sent to a peer and is to be looked for there; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn earliest_unseen(&self, peer: &str) -> Result<Option<Timestamp>, Error> {
        let earliest: Option<i64> = sqlx::query_scalar(
            "SELECT MIN(record.modified) FROM sent JOIN record ON record.module = sent.module AND record.id = sent.id
             WHERE sent.peer = $1 AND sent.state = 0",
        )
        .bind(peer)
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("read what was sent"))?;
        Ok(earliest.map(Timestamp::from_millis))
    }
}

impl Batch {
    /// Notes how far the push to a peer has come.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_push_state(&mut self, peer: &str, state: &PushState) -> Result<(), Error> {
        let window = state.under_way.as_ref();
        let time = |of: Option<Timestamp>| of.unwrap_or(Timestamp::EPOCH).as_millis();
        let after = window.and_then(|window| window.after.as_ref());
        sqlx::query(
            "INSERT INTO push (peer, offers, watermark, since, until, is_under_way, after_at, after_module, after_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (peer) DO UPDATE SET offers = excluded.offers,
             watermark = excluded.watermark, since = excluded.since, until = excluded.until,
             is_under_way = excluded.is_under_way, after_at = excluded.after_at, after_module = excluded.after_module,
             after_id = excluded.after_id",
        )
        .bind(peer)
        .bind(state.offers)
        .bind(state.watermark.as_millis())
        .bind(time(window.map(|window| window.since)))
        .bind(time(window.map(|window| window.until)))
        .bind(i64::from(window.is_some()))
        .bind(time(after.map(|after| after.at)))
        .bind(after.map_or("", |after| after.key.module.as_str()))
        .bind(after.map_or("", |after| &after.key.id))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note how far a push is"))?;
        Ok(())
    }

    /// Notes records that a peer took. Those saved before `horizon` went for their files' sake: they are not looked for.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_sent(
        &mut self,
        peer: &str,
        records: &[&StoredRecord],
        horizon: Timestamp,
    ) -> Result<(), Error> {
        let is_news = |stored: &StoredRecord| {
            let status = stored.record.status.as_ref();
            status.is_some_and(|status| status.modified >= horizon)
        };
        for chunk in records.chunks(ROWS_A_STATEMENT) {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO sent (peer, module, id, received_at, content, state) ",
            );
            query.push_values(chunk, |mut row, stored| {
                row.push_bind(peer)
                    .push_bind(stored.record.key.module.as_str())
                    .push_bind(&stored.record.key.id)
                    .push_bind(stored.received_at.as_millis())
                    .push_bind(&stored.record.content.as_bytes()[..])
                    .push_bind(if is_news(stored) { OPEN } else { LEFT });
            });
            query.push(
                " ON CONFLICT (peer, module, id) DO UPDATE SET received_at = excluded.received_at,
                  content = excluded.content, state = excluded.state",
            );
            query
                .build()
                .execute(&mut *self.tx)
                .await
                .map_err(during("note what was sent"))?;
        }
        Ok(())
    }

    /// Notes that a record was found at its peer as it was sent; with `is_edit` it is an edit that its master now has, if the
    /// record is still that version.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn note_arrived(
        &mut self,
        peer: &str,
        sent: &Sent,
        is_edit: bool,
    ) -> Result<(), Error> {
        self.put_sent_state(peer, &sent.key, SEEN).await?;
        if is_edit {
            sqlx::query(
                "UPDATE record SET pushed = 1 WHERE module = $1 AND id = $2 AND content = $3",
            )
            .bind(sent.key.module.as_str())
            .bind(&sent.key.id)
            .bind(&sent.content.as_bytes()[..])
            .execute(&mut *self.tx)
            .await
            .map_err(during("note a pushed edit"))?;
        }
        Ok(())
    }

    /// Notes that a record that was sent is not looked for any more.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn leave_sent(&mut self, peer: &str, key: &RecordKey) -> Result<(), Error> {
        self.put_sent_state(peer, key, LEFT).await
    }

    async fn put_sent_state(
        &mut self,
        peer: &str,
        key: &RecordKey,
        state: i64,
    ) -> Result<(), Error> {
        sqlx::query("UPDATE sent SET state = $1 WHERE peer = $2 AND module = $3 AND id = $4")
            .bind(state)
            .bind(peer)
            .bind(key.module.as_str())
            .bind(&key.id)
            .execute(&mut *self.tx)
            .await
            .map_err(during("note what was sent"))?;
        Ok(())
    }

    /// Forgets what was sent to a peer, was looked for, and lies before every window to come.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_sent(
        &mut self,
        peer: &str,
        watermark: Timestamp,
        overlap: Duration,
    ) -> Result<(), Error> {
        sqlx::query("DELETE FROM sent WHERE peer = $1 AND state <> 0 AND received_at <= $2")
            .bind(peer)
            .bind(watermark.minus(overlap).as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget what was sent"))?;
        Ok(())
    }

    /// Forgets all that was ever sent to a peer: it is to be sent again.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn forget_all_sent(&mut self, peer: &str) -> Result<(), Error> {
        sqlx::query("DELETE FROM sent WHERE peer = $1")
            .bind(peer)
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget what was sent"))?;
        Ok(())
    }
}

/// Asks for these columns of the records of a push, in its order.
fn candidates<'a>(
    columns: &str,
    window: &'a PushWindow,
    trim: Trim<'a>,
    limit: usize,
) -> QueryBuilder<Engine> {
    let mut query = QueryBuilder::<Engine>::new("SELECT ");
    query.push(columns).push(" FROM record WHERE ");
    match &window.after {
        Some(after) => {
            query
                .push("(changed_at, module, id) > (")
                .push_bind(after.at.as_millis())
                .push(", ")
                .push_bind(after.key.module.as_str().to_owned())
                .push(", ")
                .push_bind(after.key.id.clone())
                .push(")");
        }
        None => {
            query
                .push("changed_at > ")
                .push_bind(window.since.as_millis());
        }
    }
    query
        .push(" AND received_at > ")
        .push_bind(window.since.as_millis())
        .push(" AND received_at <= ")
        .push_bind(window.until.as_millis())
        .push(" AND modified IS NOT NULL AND master_modified IS NOT NULL");
    trim.push_to(&mut query);
    query
        .push(" ORDER BY changed_at, module, id LIMIT ")
        .push_bind(signed(limit as u64));
    query
}

/// How many from the front have so many bytes together; one at least.
fn fitting(sizes: &[i64], most: u64) -> usize {
    let mut bytes = 0_u64;
    let fit = sizes.iter().take_while(|size| {
        bytes = bytes.saturating_add(unsigned(**size));
        bytes <= most
    });
    fit.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::super::conflicts::{Conflict, Winner};
    use super::*;
    use crate::catalogue::conformance::empty;
    use crate::model::{Record, RecordStatus};

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn record(id: &str, master: &str, modified_by: &str, modified: i64) -> Record {
        let source = format!("{{\"id\":\"{id}\",\"at\":{modified}}}");
        Record {
            key: RecordKey::new("category", id).unwrap(),
            content: Sha256::of(source.as_bytes()),
            source,
            status: Some(RecordStatus {
                deleted: false,
                master: node(master),
                modified_by: node(modified_by),
                modified: at(modified),
                master_modified: Some(at(modified)),
            }),
        }
    }

    async fn put(catalogue: &Catalogue, record: &Record, origin: &str, now: i64) {
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_records(&[record], origin, at(now)).await.unwrap();
        batch.commit().await.unwrap();
    }

    fn window(since: i64, until: i64) -> PushWindow {
        PushWindow {
            since: at(since),
            until: at(until),
            after: None,
        }
    }

    async fn ids(catalogue: &Catalogue, window: &PushWindow, limit: usize) -> Vec<String> {
        let (own, theirs) = (node("own"), node("theirs"));
        let trim = Trim {
            peer: "m",
            peer_id: Some(&theirs),
            own: &own,
            withheld: &[Module::new("userprofile").unwrap()],
        };
        let portion = Portion {
            records: limit,
            bytes: u64::MAX,
        };
        let found = catalogue.push_candidates(window, trim, portion).await;
        let found = found.unwrap();
        let ids = found.into_iter().map(|found| found.stored.record.key.id);
        ids.collect()
    }

    #[tokio::test]
    async fn a_portion_ends_where_its_bytes_do_and_is_never_empty() {
        let (_dir, catalogue) = empty().await;
        let mut sizes = Vec::new();
        for (number, id) in ["a", "b", "c"].into_iter().enumerate() {
            let mut record = record(id, "own", "own", 10);
            // More bytes than characters.
            record.source = format!(r#"{{"id":"{id}","name":"{}"}}"#, "é".repeat(10));
            sizes.push(record.source.len() as u64);
            put(&catalogue, &record, "", 10 + number as i64).await;
        }
        let own = node("own");
        let trim = Trim {
            peer: "m",
            peer_id: None,
            own: &own,
            withheld: &[],
        };
        let two = sizes[0] + sizes[1];
        let cases = [
            (10, two, 2),
            (10, two - 1, 1),
            (10, 1, 1),
            (10, u64::MAX, 3),
            (1, two, 1),
        ];
        for (records, bytes, expected) in cases {
            let portion = Portion { records, bytes };
            let found = catalogue
                .push_candidates(&window(0, 100), trim, portion)
                .await;
            assert_eq!(found.unwrap().len(), expected, "{portion:?}");
        }
        let portion = Portion {
            records: 10,
            bytes: 1,
        };
        let later = window(50, 100);
        let none = catalogue.push_candidates(&later, trim, portion);
        assert_eq!(none.await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_push_takes_what_its_peer_cannot_have_and_nothing_else() {
        let (_dir, catalogue) = empty().await;
        for (id, master, modified_by, origin) in [
            ("ours", "own", "own", ""),
            ("relayed", "third", "third", "other"),
            ("edited", "theirs", "own", "m"),
            ("edited-through-another", "theirs", "own", "other"),
            ("theirs", "theirs", "theirs", "m"),
            ("theirs-through-another", "theirs", "theirs", "other"),
            ("third-through-them", "third", "third", "m"),
        ] {
            put(&catalogue, &record(id, master, modified_by, 5), origin, 10).await;
        }
        let mut granting = record("admin", "own", "own", 5);
        granting.key = RecordKey::new("userprofile", "admin").unwrap();
        put(&catalogue, &granting, "", 10).await;
        let mut bare = record("bare", "own", "own", 5);
        bare.status = None;
        put(&catalogue, &bare, "", 10).await;
        let sent = ["edited", "edited-through-another", "ours", "relayed"];
        assert_eq!(ids(&catalogue, &window(0, 10), 100).await, sent);

        // An edit that its master has is no news.
        let mut batch = catalogue.batch().await.unwrap();
        let edited = record("edited", "theirs", "own", 5);
        let arrived = Sent {
            key: edited.key.clone(),
            content: edited.content,
        };
        batch.note_arrived("m", &arrived, true).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(ids(&catalogue, &window(0, 10), 100).await, sent[1..]);
        let stored = catalogue.record(&edited.key).await.unwrap().unwrap();
        assert!(stored.pushed && stored.version().pushed);
    }

    #[tokio::test]
    async fn a_window_goes_by_when_things_came_and_goes_on_where_it_was_left() {
        let (_dir, catalogue) = empty().await;
        for (id, modified, now) in [("a", 1, 10), ("b", 900, 20), ("c", 1, 30), ("d", 1, 40)] {
            put(&catalogue, &record(id, "own", "own", modified), "", now).await;
        }
        // A date from the future changes the order, not the day.
        assert_eq!(ids(&catalogue, &window(10, 30), 9).await, ["c", "b"]);
        assert_eq!(
            ids(&catalogue, &window(0, 40), 9).await,
            ["a", "c", "d", "b"]
        );
        let mut going_on = window(0, 40);
        going_on.after = Some(PushPlace {
            at: at(30),
            key: RecordKey::new("category", "c").unwrap(),
        });
        assert_eq!(ids(&catalogue, &going_on, 1).await, ["d"]);

        let state = PushState {
            offers: 3,
            watermark: at(7),
            under_way: Some(going_on),
        };
        for kept in [
            state.clone(),
            PushState {
                under_way: None,
                ..state
            },
        ] {
            let mut batch = catalogue.batch().await.unwrap();
            batch.put_push_state("m", &kept).await.unwrap();
            batch.commit().await.unwrap();
            assert_eq!(catalogue.push_state("m").await.unwrap(), Some(kept));
        }
        assert_eq!(catalogue.push_state("n").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_was_sent_is_known_until_it_is_stored_again() {
        let (_dir, catalogue) = empty().await;
        let (first, second) = (record("a", "own", "own", 5), record("b", "own", "own", 6));
        put(&catalogue, &first, "", 10).await;
        put(&catalogue, &second, "", 11).await;
        let keys = [first.key.clone(), second.key.clone()];
        let stored = catalogue.stored(&keys).await.unwrap();
        let all: Vec<&StoredRecord> = keys.iter().map(|key| &stored[key]).collect();
        let mut batch = catalogue.batch().await.unwrap();
        batch.note_sent("m", &all, at(6)).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.already_sent("m", &all).await.unwrap(), keys);
        assert!(catalogue.already_sent("n", &all).await.unwrap().is_empty());
        // The first is older than the horizon, so only the second is looked for.
        let unseen = catalogue.sent_unseen("m", None, 9).await.unwrap();
        assert_eq!(unseen.len(), 1);
        assert_eq!(unseen[0].key, second.key);
        assert_eq!(catalogue.earliest_unseen("m").await.unwrap(), Some(at(6)));

        put(&catalogue, &first, "", 12).await;
        let again = catalogue.record(&first.key).await.unwrap().unwrap();
        assert!(
            (catalogue.already_sent("m", &[&again]).await.unwrap()).is_empty(),
            "one of its files may have changed"
        );

        let mut batch = catalogue.batch().await.unwrap();
        batch.leave_sent("m", &second.key).await.unwrap();
        batch
            .forget_sent("m", at(11), Duration::from_millis(1))
            .await
            .unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.earliest_unseen("m").await.unwrap(), None);
        assert_eq!(
            catalogue.already_sent("m", &all).await.unwrap(),
            [second.key],
            "the overlap reaches back to it"
        );
    }

    #[tokio::test]
    async fn what_was_sent_goes_again_when_its_receiver_shows_an_older_version_once() {
        let (_dir, catalogue) = empty().await;
        let ours = record("a", "owner", "n", 5);
        put(&catalogue, &ours, "n", 10).await;
        let refused = |source: &str, at| Conflict {
            key: ours.key.clone(),
            peer: "m".to_owned(),
            at,
            winner: Winner::Local,
            local_source: ours.source.clone(),
            remote_source: source.to_owned(),
        };
        let pushed = window(11, 100);
        assert!(ids(&catalogue, &pushed, 9).await.is_empty());
        for (at_ms, source, goes) in [(20, "{\"a\":1}", 20), (30, "{\"a\":1}", 20), (40, "{}", 40)]
        {
            let mut batch = catalogue.batch().await.unwrap();
            let conflict = refused(source, at(at_ms));
            batch.settle_conflict(&conflict, None).await.unwrap();
            batch.commit().await.unwrap();
            assert_eq!(ids(&catalogue, &pushed, 9).await, ["a"]);
            let stored = catalogue.record(&ours.key).await.unwrap().unwrap();
            assert_eq!(stored.received_at, at(goes), "{source} at {at_ms}");
        }
    }
}
