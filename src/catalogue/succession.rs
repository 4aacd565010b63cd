//! Whose place this node took, the nodes that were masters of records which it owns since then; and what it heard of others who did so.

use std::time::Duration;

use super::{Batch, Catalogue, Error, during};
use crate::model::{NodeId, Succession, Timestamp};

/// How far another node's clock may be ahead in what it says of successions.
const AHEAD: Duration = Duration::from_secs(3_600);
/// Successions that are known at a time; what is heard beyond that is forgotten.
const MOST: i64 = 64;

/// A succession, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSuccession {
    /// What happened.
    pub succession: Succession,
    /// The peer that said so; `None` where this node did it.
    pub said_by: Option<String>,
}

/// Under this name and the node's id it is kept when its place was taken.
const SUCCEEDED: &str = "succeeded:";

impl Catalogue {
    /// The nodes whose place was taken, and that are not known to have taken notice of it, each with when that was.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn succeeded(&self) -> Result<Vec<(NodeId, Timestamp)>, Error> {
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT name, value FROM meta WHERE name > $1 AND name < $2 ORDER BY name",
        )
        .bind(SUCCEEDED)
        .bind("succeeded;")
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read whose place was taken"))?;
        let rows = rows.into_iter().filter_map(|(name, at)| {
            let id = NodeId::new(name.strip_prefix(SUCCEEDED)?).ok()?;
            Some((id, Timestamp::from_millis(at)))
        });
        Ok(rows.collect())
    }

    /// Whether this node took the place of a peer, given with its cluster id, and has not taken a listing of it to its end since then:
    /// what was saved there meanwhile is not known here.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn is_unheard(&self, (peer, id): (&str, &NodeId), feed: &str) -> Result<bool, Error> {
        let succeeded = self.succeeded().await?;
        let Some((_, at)) = succeeded.into_iter().find(|(node, _)| node == id) else {
            return Ok(false);
        };
        let checkpoint = self.checkpoint(peer, feed).await?;
        Ok(checkpoint.is_none_or(|checkpoint| checkpoint.watermark <= at))
    }

    /// Every succession that is known here, the latest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn successions(&self) -> Result<Vec<KnownSuccession>, Error> {
        let rows: Vec<(String, String, i64, Option<String>)> = sqlx::query_as(
            "SELECT former, successor, at, said_by FROM succession ORDER BY at DESC, former",
        )
        .fetch_all(&self.db.readers)
        .await
        .map_err(during("read who took whose place"))?;
        let rows = rows.into_iter();
        rows.map(|(former, successor, at, said_by)| {
            let node = |text: String| {
                NodeId::new(&text).map_err(|_| Error::Row {
                    what: "cluster id",
                    value: text,
                })
            };
            Ok(KnownSuccession {
                succession: Succession {
                    former: node(former)?,
                    successor: node(successor)?,
                    at: Timestamp::from_millis(at),
                },
                said_by,
            })
        })
        .collect()
    }

    /// Takes what a peer says of successions, as far as it is news; answers that. It says it with every listing, so that nothing is
    /// written where nothing is new.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn hear_successions(
        &self,
        heard: &[Succession],
        peer: &str,
        now: Timestamp,
    ) -> Result<Vec<Succession>, Error> {
        if heard.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.successions().await?;
        let mut news = heard.to_vec();
        news.retain(|one| {
            let is_known = known.iter().any(|known| {
                known.succession.former == one.former && known.succession.successor == one.successor
            });
            let is_old = (known.iter()).any(|known| one.is_outdated_by(&known.succession));
            // A time to come would outlast every truth.
            let may_be = one.former != one.successor && one.at <= now.plus(AHEAD);
            may_be && !is_known && !is_old
        });
        if news.is_empty() {
            return Ok(news);
        }
        let mut batch = self.batch().await?;
        for succession in &news {
            batch.note_succession(succession, Some(peer)).await?;
        }
        batch.commit().await?;
        Ok(news)
    }
}

impl Batch {
    /// This node, `own`, takes the place of another one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn succeed(
        &mut self,
        node: &NodeId,
        own: &NodeId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let succession = Succession {
            former: node.clone(),
            successor: own.clone(),
            at: now,
        };
        self.note_succession(&succession, None).await?;
        sqlx::query("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING")
            .bind(format!("{SUCCEEDED}{node}"))
            .bind(now.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("take a node's place"))?;
        Ok(())
    }

    /// Notes a succession in the place of those that it outdates. One that was noted before keeps its time.
    async fn note_succession(
        &mut self,
        succession: &Succession,
        said_by: Option<&str>,
    ) -> Result<(), Error> {
        let Succession {
            former,
            successor,
            at,
        } = succession;
        sqlx::query("DELETE FROM succession WHERE former = $1 AND at < $2")
            .bind(successor.as_str())
            .bind(at.as_millis())
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget who took a place before"))?;
        sqlx::query(
            "INSERT INTO succession (former, successor, at, said_by)
             SELECT $1, $2, $3, $4 WHERE (SELECT COUNT(*) FROM succession) < $5
             ON CONFLICT (former) DO UPDATE SET successor = excluded.successor, at = excluded.at, said_by = excluded.said_by
             WHERE succession.successor <> excluded.successor",
        )
        .bind(former.as_str())
        .bind(successor.as_str())
        .bind(at.as_millis())
        .bind(said_by)
        .bind(MOST)
        .execute(&mut *self.tx)
        .await
        .map_err(during("note who took whose place"))?;
        Ok(())
    }

    /// The other node has taken notice: what it says of our records counts again.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn readmit(&mut self, node: &NodeId) -> Result<(), Error> {
        sqlx::query("DELETE FROM meta WHERE name = $1")
            .bind(format!("{SUCCEEDED}{node}"))
            .execute(&mut *self.tx)
            .await
            .map_err(during("readmit a node"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000 + second * 1_000)
    }

    fn node(id: &str) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn said(former: &str, successor: &str, second: i64) -> Succession {
        Succession {
            former: node(former),
            successor: node(successor),
            at: at(second),
        }
    }

    async fn known(catalogue: &Catalogue) -> Vec<(String, String, Option<String>)> {
        let known = catalogue.successions().await.unwrap().into_iter();
        let texts = known.map(|known| {
            let Succession {
                former, successor, ..
            } = known.succession;
            (former.to_string(), successor.to_string(), known.said_by)
        });
        texts.collect()
    }

    #[tokio::test]
    async fn news_of_a_place_is_taken_once_and_what_came_later_holds() {
        let (_dir, catalogue) = empty().await;
        let mut batch = catalogue.batch().await.unwrap();
        batch
            .succeed(&node("old"), &node("own"), at(5))
            .await
            .unwrap();
        batch.commit().await.unwrap();
        let hear = async |heard: &[Succession]| {
            let news = catalogue.hear_successions(heard, "peer", at(50)).await;
            news.unwrap().len()
        };
        // Known, of nobody, from before the place was taken, and of a time to come.
        for (heard, news) in [
            (said("old", "own", 5), 0),
            (said("a", "a", 6), 0),
            (said("own", "old", 4), 0),
            (said("far", "away", 9_000), 0),
            (said("far", "away", 40), 1),
            (said("far", "away", 40), 0),
        ] {
            assert_eq!(hear(std::slice::from_ref(&heard)).await, news, "{heard:?}");
        }
        // The former master takes its place back: what was known of this node's is old.
        assert_eq!(hear(&[said("own", "old", 9)]).await, 1);
        assert_eq!(
            known(&catalogue).await,
            [
                ("far".into(), "away".into(), Some("peer".into())),
                ("own".into(), "old".into(), Some("peer".into())),
            ]
        );
    }
}
