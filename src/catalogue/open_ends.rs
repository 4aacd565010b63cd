//! What keeps a node from concluding that there is nothing to do because it has what its peer lists: work that is not done, notes
//! that a listing would take back or confirm, and rules that differ from those it was planned by.

use super::jobs::Lane;
use super::{Batch, Catalogue, Error, during, signed, unsigned};
use crate::model::{Module, Sha256};

/// Begins the name under which it stands by which rules everything of a peer was planned.
const RULES: &str = "rules:";
/// The same for a listing of everything that is not over yet.
const BEGUN: &str = "begun:";

impl Catalogue {
    /// Whether a job of this peer, in whatever state, or a note at any record or file is still open: then a listing of what is here
    /// already may have something to say. It has nothing to say of what the peer is to get.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn has_open_ends(&self, peer: &str) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM job WHERE peer = $1 AND lane <> $2)
                 OR EXISTS (SELECT 1 FROM record WHERE unlisted_at IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM file WHERE unlisted_at IS NOT NULL)
                 OR EXISTS (SELECT 1 FROM file WHERE damaged_at IS NOT NULL)",
        )
        .bind(peer)
        .bind(Lane::Upload.number())
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("look for open ends"))
    }

    /// Whether everything that a peer lists was last planned by these rules.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn was_planned_by(&self, peer: &str, rules: &Sha256) -> Result<bool, Error> {
        let last: Option<i64> = sqlx::query_scalar("SELECT value FROM meta WHERE name = $1")
            .bind(format!("{RULES}{peer}"))
            .fetch_optional(&self.db.readers)
            .await
            .map_err(during("read by which rules was planned"))?;
        Ok(last == Some(number(rules)))
    }

    /// Whether something of a peer was planned by other rules, and stands as planned.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn was_planned_otherwise(&self, peer: &str, rules: &Sha256) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM meta WHERE name IN ($1, $2) AND value <> $3)",
        )
        .bind(format!("{RULES}{peer}"))
        .bind(format!("{BEGUN}{peer}"))
        .bind(number(rules))
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("read by which rules was planned"))
    }

    /// How many records of a table would have to be read before its digests are known.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn unread_records(&self, module: &Module) -> Result<u64, Error> {
        let (all, known): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM record WHERE module = $1),
             (SELECT COALESCE(SUM(live + deleted), 0) FROM span WHERE module = $1 AND state = 0)",
        )
        .bind(module.as_str())
        .fetch_one(&self.db.readers)
        .await
        .map_err(during("count what digests do not know"))?;
        Ok(unsigned(all).saturating_sub(unsigned(known)))
    }
}

impl Batch {
    /// From now on what a peer lists is planned by these rules: that all of it was planned by others is forgotten.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn plan_by(&mut self, peer: &str, rules: &Sha256) -> Result<(), Error> {
        sqlx::query("DELETE FROM meta WHERE name IN ($1, $2) AND value <> $3")
            .bind(format!("{RULES}{peer}"))
            .bind(format!("{BEGUN}{peer}"))
            .bind(number(rules))
            .execute(&mut *self.tx)
            .await
            .map_err(during("forget by which rules was planned"))?;
        Ok(())
    }

    /// A listing of everything begins, and is planned by these rules.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn begin_everything_by(&mut self, peer: &str, rules: &Sha256) -> Result<(), Error> {
        let name = format!("{BEGUN}{peer}");
        let doing = "note by which rules is planned";
        self.put_meta(&name, Some(number(rules)), doing).await
    }

    /// A listing of everything is over: everything is planned by the rules it began with, unless others were in force meanwhile.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn end_everything(&mut self, peer: &str) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO meta (name, value) SELECT $1, value FROM meta WHERE name = $2
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(format!("{RULES}{peer}"))
        .bind(format!("{BEGUN}{peer}"))
        .execute(&mut *self.tx)
        .await
        .map_err(during("note by which rules was planned"))?;
        Ok(())
    }
}

/// As much of a digest as a number holds.
fn number(digest: &Sha256) -> i64 {
    let (head, _) = (digest.as_bytes().split_first_chunk()).expect("a SHA-256 has eight bytes");
    signed(u64::from_be_bytes(*head) >> 1)
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::catalogue::{Lane, NewJob};
    use crate::model::job::{RemoveJob, Work};
    use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Record, RecordKey, Timestamp};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn file() -> MediaFile {
        MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new("a").unwrap(),
            place: None,
            asset: AssetId::new("one").unwrap(),
            size: 1,
            modified: NOW,
            sha256: Sha256::of(b"a"),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    #[tokio::test]
    async fn a_job_of_the_peer_and_a_note_at_a_file_are_open_ends() {
        let (_dir, catalogue) = empty().await;
        let is_open = async |peer| catalogue.has_open_ends(peer).await.unwrap();
        assert!(!is_open("a").await);
        let job = NewJob {
            peer: "a".to_owned(),
            subject: "originals/a".to_owned(),
            lane: Lane::Remove,
            asset: AssetId::new("one").unwrap(),
            size: 0,
            work: Work::Remove(RemoveJob {
                kind: FileKind::Original,
                path: "a".to_owned(),
                sha256: Sha256::of(b"a"),
            }),
        };
        let mut batch = catalogue.batch().await.unwrap();
        batch.enqueue(&[job], NOW).await.unwrap();
        batch.put_file(&file(), NOW).await.unwrap();
        batch.commit().await.unwrap();
        assert!(is_open("a").await && !is_open("b").await);
        for since in [Some(NOW), None] {
            let mut batch = catalogue.batch().await.unwrap();
            let (path, asset) = (file().path, file().asset);
            batch
                .mark_unlisted(FileKind::Original, &path, &asset, since)
                .await
                .unwrap();
            batch.commit().await.unwrap();
            assert_eq!(is_open("b").await, since.is_some());
        }
    }

    #[tokio::test]
    async fn rules_are_those_of_the_last_plan_and_of_that_peer() {
        let (_dir, catalogue) = empty().await;
        let [one, two] = [b"1", b"2"].map(|text| Sha256::of(text));
        let were = async |peer, rules| catalogue.was_planned_by(peer, rules).await.unwrap();
        // What a run does: whether it begins a listing of everything, and whether it ends one.
        let run = async |rules, begins: bool, ends: bool| {
            let mut batch = catalogue.batch().await.unwrap();
            batch.plan_by("a", rules).await.unwrap();
            if begins {
                batch.begin_everything_by("a", rules).await.unwrap();
            }
            if ends {
                batch.end_everything("a").await.unwrap();
            }
            batch.commit().await.unwrap();
        };
        run(&one, false, true).await;
        assert!(!were("a", &one).await, "nobody knows what it began with");
        run(&one, true, false).await;
        assert!(!were("a", &one).await);
        run(&one, false, true).await;
        assert!(were("a", &one).await && !were("a", &two).await && !were("b", &one).await);
        let otherwise = async |rules| catalogue.was_planned_otherwise("a", rules).await.unwrap();
        assert!(otherwise(&two).await && !otherwise(&one).await);
        run(&two, false, false).await;
        assert!(!otherwise(&two).await && !otherwise(&one).await);
        run(&one, false, false).await;
        assert!(!were("a", &one).await, "others were in force meanwhile");
        run(&one, true, false).await;
        run(&two, false, true).await;
        assert!(!were("a", &one).await && !were("a", &two).await);
    }

    #[tokio::test]
    async fn what_digests_do_not_know_is_counted() {
        let (_dir, catalogue) = empty().await;
        let module = Module::new("category").unwrap();
        let record = |n: u64| Record {
            key: RecordKey::new("category", format!("c{n:04}")).unwrap(),
            source: "{}".to_owned(),
            status: None,
            content: Sha256::of(b"{}"),
        };
        let records: Vec<_> = (0..100).map(record).collect();
        let mut batch = catalogue.batch().await.unwrap();
        let all: Vec<_> = records.iter().collect();
        batch.put_records(&all, "", NOW).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(catalogue.unread_records(&module).await.unwrap(), 100);
    }

    /// What a run asks must not grow with the archive, nor read whole records to count them.
    #[tokio::test]
    async fn what_every_run_asks_is_answered_from_an_index() {
        let (_dir, catalogue) = empty().await;
        for question in [
            "SELECT COUNT(*) FROM record WHERE origin = 'a' AND module = 'asset' AND deleted = 0",
            "SELECT COUNT(*) FROM record WHERE module = 'asset' AND deleted = 0",
            "SELECT module, id, ROW_NUMBER() OVER (ORDER BY module, id) FROM record WHERE changed_at + 0 >= 1
             AND modified IS NOT NULL AND master_modified IS NOT NULL AND module <> 'user'",
            "SELECT EXISTS (SELECT 1 FROM record WHERE unlisted_at IS NOT NULL)",
            "SELECT EXISTS (SELECT 1 FROM file WHERE unlisted_at IS NOT NULL)",
            "SELECT EXISTS (SELECT 1 FROM file WHERE damaged_at IS NOT NULL)",
            "SELECT COUNT(*) FROM record WHERE origin = 'a' AND unlisted_at IS NOT NULL",
        ] {
            let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "EXPLAIN QUERY PLAN {question}"
            )))
            .fetch_all(&catalogue.db.readers)
            .await
            .unwrap();
            let said: Vec<_> = plan.into_iter().map(|(.., said)| said).collect();
            // The first row answers whether there is one; whoever counts reads them all.
            let index = match question.contains("EXISTS") {
                true => "USING INDEX",
                false => "USING COVERING INDEX",
            };
            let is_read = said
                .iter()
                .any(|said| said.contains(index) || said.contains("USING COVERING INDEX"));
            assert!(is_read, "{question}: {said:?}");
        }
    }
}
