//! Names and places: which file a name stands for, and where new files go, decided against the rows and records as they
//! stand, right before the files are published.
//!
//! A file that has a row keeps its place. Any other gets the best place of its name that no other file has. One that lies
//! there gives way when its asset is gone or names it no more; otherwise the new file is mapped to a place of its own
//! (`model::place`) and the row keeps both names. Questions come in batches: one for all names, one for each round of
//! candidates, and in all but a few batches there is one round.

use std::collections::{HashMap, HashSet};

use sqlx::QueryBuilder;

use super::dialect::{Engine, OCCUPIED, OCCUPIED_BY_BYTES};
use super::files::{By, number};
use super::{Catalogue, Error, FileRow, StoredRecord, during};
use crate::model::place::{Rules, Why, fold};
use crate::model::{AssetId, FileKind, MediaPath, RecordKey, Sha256};
use crate::protocol::record;

/// Places that are asked for in one statement.
const ASKED: usize = 2_000;

/// A file that wants a place.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Which tree.
    pub kind: FileKind,
    /// Its name.
    pub path: &'a MediaPath,
    /// The asset that will own it.
    pub asset: &'a AssetId,
    /// Its content, when the same that another asset has under this name will do.
    pub shares: Option<&'a Sha256>,
    /// The peer it comes from, where that peer cannot have two files of one name: then two assets of that peer with one
    /// name have one file, and it is the newer one.
    pub one_file_at: Option<&'a str>,
}

/// Where a file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placed {
    /// To this place.
    At {
        /// Where in its tree.
        place: MediaPath,
        /// Why that is not its own name, when it was decided now.
        why: Option<Why>,
    },
    /// Nowhere: the same content is there under this name, and its asset still names it.
    Shared,
}

/// Rows found for a batch, and the records of their owners.
#[derive(Default)]
struct Known {
    rows: Vec<FileRow>,
    owners: HashMap<RecordKey, StoredRecord>,
}

impl Catalogue {
    /// The places of files that are about to be published, in their order; no two files get the same one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn places(&self, rules: Rules, wanted: &[Wanted<'_>]) -> Result<Vec<Placed>, Error> {
        let named = self
            .known(
                By::Path,
                wanted
                    .iter()
                    .map(|file| (file.kind, file.path.as_str().to_owned())),
            )
            .await?;
        let mut placed: Vec<Option<Placed>> = wanted
            .iter()
            .map(|file| known_place(file, &named))
            .collect();
        let mut given: HashMap<(FileKind, String), (&MediaPath, &AssetId)> = HashMap::new();
        let mut next: Vec<_> = wanted
            .iter()
            .map(|file| rules.places(file.path, file.asset))
            .collect();
        loop {
            let open: Vec<(usize, MediaPath)> = (placed.iter().enumerate())
                .filter(|(_, placed)| placed.is_none())
                .filter_map(|(at, _)| Some((at, next[at].next()?)))
                .collect();
            if open.is_empty() {
                break;
            }
            let folds = open
                .iter()
                .map(|(at, place)| (wanted[*at].kind, fold(place.as_str())));
            let there = self.known(By::Fold, folds).await?;
            for (at, place) in open {
                let file = &wanted[at];
                let key = rules.key(&place);
                let itself = (file.path, file.asset);
                if is_free(rules, file, &place, &there)
                    && *given.entry((file.kind, key)).or_insert(itself) == itself
                {
                    let why = rules.why(file.path, &place);
                    placed[at] = Some(Placed::At { place, why });
                }
            }
        }
        Ok(placed.into_iter().flatten().collect())
    }

    /// The file that a name stands for; see [`FileRow::meant`].
    ///
    /// # Errors
    /// [`Error`].
    pub async fn file_named(
        &self,
        kind: FileKind,
        path: &MediaPath,
        asset: Option<&AssetId>,
    ) -> Result<Option<FileRow>, Error> {
        let rows = self.files_at(kind, &[path.as_str()]).await?;
        Ok(FileRow::meant(&rows, asset).cloned())
    }

    /// The rows of what lies at these places, by whatever spelling the file system takes for them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lying_at(
        &self,
        rules: Rules,
        kind: FileKind,
        places: &[MediaPath],
    ) -> Result<Vec<FileRow>, Error> {
        let folds: Vec<String> = places.iter().map(|place| fold(place.as_str())).collect();
        let folds: Vec<&str> = folds.iter().map(String::as_str).collect();
        let mut rows = self.files_by(By::Fold, kind, &folds).await?;
        if rules == Rules::Bytes {
            let places: HashSet<&MediaPath> = places.iter().collect();
            rows.retain(|row| places.contains(row.file.place()));
        }
        Ok(rows)
    }

    /// Which of these places have a row.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn occupied(
        &self,
        rules: Rules,
        kind: FileKind,
        places: &[MediaPath],
    ) -> Result<HashSet<MediaPath>, Error> {
        let mut occupied = HashSet::new();
        for some in places.chunks(ASKED) {
            let asked: Vec<(String, &str)> = (some.iter())
                .map(|place| (folded(place.as_str()), place.as_str()))
                .collect();
            let asked = serde_json::to_string(&asked).unwrap_or_default();
            let mut query = QueryBuilder::<Engine>::new(OCCUPIED[0]);
            query
                .push_bind(asked)
                .push(OCCUPIED[1])
                .push_bind(number(kind));
            if rules == Rules::Bytes {
                query.push(OCCUPIED_BY_BYTES);
            }
            let at: String = query
                .push(")")
                .build_query_scalar()
                .fetch_one(&self.db.readers)
                .await
                .map_err(during("look for occupied places"))?;
            let at: Vec<usize> = serde_json::from_str(&at).map_err(|error| Error::Row {
                what: "occupied places",
                value: error.to_string(),
            })?;
            occupied.extend(at.into_iter().filter_map(|at| some.get(at).cloned()));
        }
        Ok(occupied)
    }

    async fn known(
        &self,
        by: By,
        texts: impl Iterator<Item = (FileKind, String)>,
    ) -> Result<Known, Error> {
        let texts: HashSet<(FileKind, String)> = texts.collect();
        let mut known = Known::default();
        for kind in [FileKind::Original, FileKind::Generated] {
            let of_kind = texts.iter().filter(|(of, _)| *of == kind);
            let of_kind: Vec<&str> = of_kind.map(|(_, text)| text.as_str()).collect();
            known.rows.extend(self.files_by(by, kind, &of_kind).await?);
        }
        let keys: HashSet<RecordKey> = known.rows.iter().map(|row| row.file.asset.key()).collect();
        known.owners = self.stored(&keys.into_iter().collect::<Vec<_>>()).await?;
        Ok(known)
    }

    /// Gives a folded place to the rows of an older catalogue whose engine could not fold them.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn fold_all(&self) -> Result<(), Error> {
        loop {
            let rows: Vec<(i64, String)> = sqlx::query_as(
                "SELECT kind, place FROM file WHERE kind IN ($1, $2) AND fold = '' LIMIT 1000",
            )
            .bind(number(FileKind::Original))
            .bind(number(FileKind::Generated))
            .fetch_all(&self.db.readers)
            .await
            .map_err(during("look for unfolded places"))?;
            if rows.is_empty() {
                return Ok(());
            }
            let mut batch = self.batch().await?;
            for (kind, place) in rows {
                sqlx::query("UPDATE file SET fold = $1 WHERE kind = $2 AND place = $3")
                    .bind(folded(&place))
                    .bind(kind)
                    .bind(place)
                    .execute(&mut *batch.tx)
                    .await
                    .map_err(during("fold a place"))?;
            }
            batch.commit().await?;
        }
    }
}

/// The folded form of a place as a row holds it: never empty, which is what a row says that was not folded yet.
pub(super) fn folded(place: &str) -> String {
    let text = fold(place);
    if text.is_empty() {
        place.to_owned()
    } else {
        text
    }
}

/// What the rows of its own name say of a file: it has a place, or it need not have one.
fn known_place(file: &Wanted<'_>, named: &Known) -> Option<Placed> {
    let mut rows =
        (named.rows.iter()).filter(|row| row.file.kind == file.kind && row.file.path == *file.path);
    if let Some(own) = rows.clone().find(|row| row.file.asset == *file.asset) {
        let place = own.file.place().clone();
        return Some(Placed::At { place, why: None });
    }
    let is_shared = file.shares.is_some_and(|content| {
        rows.any(|row| row.file.sha256 == *content && !named.gives_way(row, file))
    });
    is_shared.then_some(Placed::Shared)
}

/// Whether nothing is at a place that would have to stay.
fn is_free(rules: Rules, file: &Wanted<'_>, place: &MediaPath, there: &Known) -> bool {
    there.rows.iter().all(|row| {
        let in_the_way = row.file.kind == file.kind && rules.are_one(row.file.place(), place);
        // Under another spelling it would be replaced on disk and not in the catalogue, or on some disks only.
        !in_the_way || row.file.place() == place && there.gives_way(row, file)
    })
}

impl Known {
    /// Whether the asset of a row is gone, does not name the file any more, or cannot have it beside the new one.
    fn gives_way(&self, row: &FileRow, to: &Wanted<'_>) -> bool {
        let owner = self.owners.get(&row.file.asset.key());
        let Some(owner) = owner.filter(|owner| !owner.record.is_deleted()) else {
            return true;
        };
        let names = record::asset(&owner.record)
            .is_ok_and(|asset| asset.names(row.file.kind, &row.file.path));
        let is_one_file =
            row.file.path == *to.path && to.one_file_at == Some(owner.origin.as_str());
        !names || is_one_file
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use sqlx::migrate::Migrator;

    use super::super::dialect::MIGRATIONS;
    use super::*;
    use crate::model::{MediaFile, NodeId, Record, RecordStatus, Timestamp};

    const KIND: FileKind = FileKind::Original;
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn path(text: &str) -> MediaPath {
        MediaPath::new(text).unwrap()
    }

    fn id(text: &str) -> AssetId {
        AssetId::new(text).unwrap()
    }

    fn asset(id: &str, at: &str, deleted: bool) -> Record {
        let node = NodeId::new("node-a").unwrap();
        let source = serde_json::json!({ "id": id, "sourcepath": at }).to_string();
        Record {
            key: RecordKey::new("asset", id).unwrap(),
            content: Sha256::of(source.as_bytes()),
            source,
            status: Some(RecordStatus {
                deleted,
                master: node.clone(),
                modified_by: node,
                modified: NOW,
                master_modified: Some(NOW),
            }),
        }
    }

    fn file(asset: &str, at: &str, content: &str) -> MediaFile {
        MediaFile {
            kind: KIND,
            path: path(at),
            place: None,
            asset: id(asset),
            size: content.len() as u64,
            modified: NOW,
            sha256: Sha256::of(content.as_bytes()),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    async fn with(records: &[Record], files: &[MediaFile]) -> (tempfile::TempDir, Catalogue) {
        let dir = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(&dir.path().join("emsync.db"))
            .await
            .unwrap();
        let mut batch = catalogue.batch().await.unwrap();
        let records: Vec<_> = records.iter().collect();
        batch.put_records(&records, "master", NOW).await.unwrap();
        for file in files {
            batch.put_file(file, NOW).await.unwrap();
        }
        batch.commit().await.unwrap();
        (dir, catalogue)
    }

    async fn places(
        catalogue: &Catalogue,
        rules: Rules,
        files: &[MediaFile],
        share: bool,
        one_file_at: Option<&str>,
    ) -> Vec<Placed> {
        let wanted: Vec<_> = files
            .iter()
            .map(|file| Wanted {
                kind: file.kind,
                path: &file.path,
                asset: &file.asset,
                shares: share.then_some(&file.sha256),
                one_file_at,
            })
            .collect();
        catalogue.places(rules, &wanted).await.unwrap()
    }

    fn at(place: &str) -> Placed {
        Placed::At {
            place: path(place),
            why: None,
        }
    }

    #[track_caller]
    fn assert_mapped(placed: &Placed, from: &str, because: Why) -> MediaPath {
        let Placed::At { place, why } = placed else {
            panic!("{placed:?}")
        };
        assert_eq!(*why, Some(because));
        assert_ne!(place.as_str(), from);
        place.clone()
    }

    #[tokio::test]
    async fn a_name_is_given_up_only_by_an_asset_that_leaves_it() {
        let records = [
            asset("a1", "x/a.jpg", false),
            asset("a2", "x/new.jpg", false),
            asset("a3", "x/c.jpg", true),
        ];
        let rows = [
            file("a1", "x/a.jpg", "1"),
            file("a2", "x/b.jpg", "2"),
            file("a3", "x/c.jpg", "3"),
        ];
        let (_dir, catalogue) = with(&records, &rows).await;
        let wanted = ["x/a.jpg", "x/b.jpg", "x/c.jpg", "x/d.jpg"].map(|at| file("b1", at, "new"));
        let placed = places(&catalogue, Rules::Bytes, &wanted, true, None).await;
        assert_mapped(&placed[0], "x/a.jpg", Why::Taken);
        assert_eq!(placed[1..], [at("x/b.jpg"), at("x/c.jpg"), at("x/d.jpg")]);
        // Of a peer with one file for each name it is the newer one.
        let placed = places(&catalogue, Rules::Bytes, &wanted[..1], true, Some("master")).await;
        assert_eq!(placed, [at("x/a.jpg")]);
    }

    #[tokio::test]
    async fn the_same_content_under_a_name_is_shared_where_it_may_be() {
        let (_dir, catalogue) = with(
            &[asset("a1", "x/a.jpg", false)],
            &[file("a1", "x/a.jpg", "1")],
        )
        .await;
        let twin = [file("b1", "x/a.jpg", "1")];
        assert_eq!(
            places(&catalogue, Rules::Bytes, &twin, true, None).await,
            [Placed::Shared]
        );
        let placed = places(&catalogue, Rules::Bytes, &twin, false, None).await;
        assert_mapped(&placed[0], "x/a.jpg", Why::Taken);
    }

    #[tokio::test]
    async fn a_file_keeps_its_place_and_a_batch_gives_none_twice() {
        let (_dir, catalogue) = with(
            &[asset("a1", "x/a.jpg", false), asset("b1", "x/a.jpg", false)],
            &[file("a1", "x/a.jpg", "1")],
        )
        .await;
        let newer = [
            file("b1", "x/a.jpg", "2"),
            file("b2", "x/a.jpg", "3"),
            file("b3", "y", "4"),
            file("b4", "y", "5"),
        ];
        let placed = places(&catalogue, Rules::Bytes, &newer, true, None).await;
        let first = assert_mapped(&placed[0], "x/a.jpg", Why::Taken);
        assert_ne!(assert_mapped(&placed[1], "x/a.jpg", Why::Taken), first);
        assert_eq!(placed[2], at("y"));
        assert_mapped(&placed[3], "y", Why::Taken);
        let twice = [newer[2].clone(), newer[2].clone()];
        let placed = places(&catalogue, Rules::Bytes, &twice, true, None).await;
        assert_eq!(placed, [at("y"), at("y")], "one file got two places");
        let mut batch = catalogue.batch().await.unwrap();
        batch
            .put_file(&newer[0].clone().at(first.clone()), NOW)
            .await
            .unwrap();
        batch
            .forget_file(KIND, &path("x/a.jpg"), &id("a1"), &Sha256::of(b"1"), NOW)
            .await
            .unwrap();
        batch.commit().await.unwrap();
        let again = places(&catalogue, Rules::Bytes, &newer[..1], true, None).await;
        assert_eq!(again, [at(first.as_str())]);
        let named = catalogue
            .file_named(KIND, &path("x/a.jpg"), None)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (named.file.asset, named.file.place),
            (id("b1"), Some(first))
        );
    }

    #[tokio::test]
    async fn where_names_fold_another_spelling_is_never_replaced() {
        let (_dir, catalogue) = with(
            &[asset("a1", "gone", false)],
            &[file("a1", "Stra\u{df}e/A.jpg", "1")],
        )
        .await;
        let wanted = [file("b1", "STRASSE/a.JPG", "2")];
        let placed = places(&catalogue, Rules::Bytes, &wanted, true, None).await;
        assert_eq!(placed, [at("STRASSE/a.JPG")]);
        for rules in [Rules::Folding, Rules::Portable] {
            let placed = places(&catalogue, rules, &wanted, true, None).await;
            assert_mapped(&placed[0], "STRASSE/a.JPG", Why::Taken);
            let spelled = [path("strasse/a.jpg"), path("other")];
            let occupied = catalogue.occupied(rules, KIND, &spelled).await.unwrap();
            assert_eq!(occupied, HashSet::from([path("strasse/a.jpg")]));
        }
        let occupied = catalogue
            .occupied(Rules::Bytes, KIND, &[path("strasse/a.jpg")])
            .await;
        assert!(occupied.unwrap().is_empty());
    }

    fn of(kind: FileKind, file: MediaFile) -> MediaFile {
        MediaFile { kind, ..file }
    }

    #[tokio::test]
    async fn a_name_in_one_tree_says_nothing_about_the_other() {
        const OTHER: FileKind = FileKind::Generated;
        let moved = of(OTHER, file("a1", "x/a.jpg", "1")).at(path("x/elsewhere"));
        let rows = [
            file("a1", "x/a.jpg", "1"),
            moved,
            file("a1", "x/elsewhere", "1"),
        ];
        let (_dir, catalogue) = with(&[asset("a1", "x/a.jpg", false)], &rows).await;
        let wanted = [
            of(OTHER, file("b1", "x/a.jpg", "1")),
            file("a1", "x/a.jpg", "2"),
            of(OTHER, file("a1", "x/a.jpg", "2")),
            of(OTHER, file("b2", "x/b.jpg", "3")),
            file("b3", "x/b.jpg", "4"),
        ];
        let placed = places(&catalogue, Rules::Bytes, &wanted, false, None).await;
        let expected = ["x/a.jpg", "x/a.jpg", "x/elsewhere", "x/b.jpg", "x/b.jpg"];
        assert_eq!(placed, expected.map(at));
    }

    #[tokio::test]
    async fn a_name_stands_for_the_asked_assets_file_then_for_what_lies_under_it_then_for_the_first()
     {
        let rows = [
            file("a1", "x", "1").at(path("x~1")),
            file("a2", "x", "2"),
            file("a3", "x", "3").at(path("x~3")),
            file("a4", "y", "4"),
        ];
        let (_dir, catalogue) = with(&[], &rows).await;
        let named = async |asset: Option<&str>| {
            let (name, asset) = (path("x"), asset.map(id));
            let row = catalogue.file_named(KIND, &name, asset.as_ref()).await;
            row.unwrap().unwrap().file.asset.to_string()
        };
        for asked in ["a1", "a2", "a3"] {
            assert_eq!(named(Some(asked)).await, asked);
        }
        assert_eq!(named(None).await, "a2");
        assert_eq!(named(Some("a4")).await, "a2");
        let mut batch = catalogue.batch().await.unwrap();
        let (name, content) = (path("x"), Sha256::of(b"2"));
        batch
            .forget_file(KIND, &name, &id("a2"), &content, NOW)
            .await
            .unwrap();
        let later = NOW.plus(std::time::Duration::from_secs(1));
        batch.put_file(&rows[0], later).await.unwrap();
        batch.commit().await.unwrap();
        assert_eq!(named(None).await, "a3", "it came before the other");
        let other = catalogue.file_named(FileKind::Generated, &name, None).await;
        assert_eq!(other.unwrap(), None);
    }

    #[tokio::test]
    async fn what_lies_at_a_place_is_told_by_the_spelling_that_the_disk_goes_by() {
        let rows = [
            file("a1", "x/a", "1"),
            file("a2", "X/A", "2"),
            file("a3", "x/b", "3"),
        ];
        let (_dir, catalogue) = with(&[], &rows).await;
        for (rules, expected) in [
            (Rules::Bytes, &["a1"][..]),
            (Rules::Folding, &["a1", "a2"]),
            (Rules::Portable, &["a1", "a2"]),
        ] {
            let found = catalogue.lying_at(rules, KIND, &[path("x/a")]).await;
            let mut found: Vec<_> = found
                .unwrap()
                .into_iter()
                .map(|row| row.file.asset)
                .collect();
            found.sort();
            assert_eq!(found, expected.iter().copied().map(id).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_folded_place_is_never_empty() {
        assert_eq!(folded("X/A"), "x/a");
        let unseen = "\u{200b}";
        assert_eq!(fold(unseen), "");
        assert_eq!(folded(unseen), unseen);
    }

    #[tokio::test]
    async fn a_replaced_file_loses_its_row_and_no_other() {
        let rows = [
            file("a1", "x", "1"),
            file("a2", "x", "2").at(path("x~2")),
            file("a1", "y", "3"),
        ];
        let (_dir, catalogue) = with(&[], &rows).await;
        let mut batch = catalogue.batch().await.unwrap();
        batch.put_file(&file("a3", "x", "4"), NOW).await.unwrap();
        batch.commit().await.unwrap();
        let left = catalogue.files_after(KIND, None, 10).await.unwrap();
        let left: Vec<_> = left
            .iter()
            .map(|row| (row.file.path.as_str(), row.file.asset.as_str()))
            .collect();
        assert_eq!(left, [("x", "a2"), ("x", "a3"), ("y", "a1")]);
        let rest = catalogue
            .files_after(KIND, Some(("x", "a2")), 10)
            .await
            .unwrap();
        assert_eq!(rest.len(), 2);
    }

    #[tokio::test]
    async fn an_older_catalogue_gets_places_and_folds() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("emsync.db");
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(&database)
            .create_if_missing(true);
        let old = sqlx::SqlitePool::connect_with(options).await.unwrap();
        let first = Migrator {
            migrations: Cow::Owned(vec![MIGRATIONS.migrations[0].clone()]),
            ..Migrator::DEFAULT
        };
        first.run(&old).await.unwrap();
        for (n, at) in ["X/A.jpg", "Caf\u{e9}/\u{c4}.jpg", "line\nBreak"]
            .iter()
            .enumerate()
        {
            for kind in [KIND, FileKind::Generated] {
                sqlx::query("INSERT INTO file (kind, path, asset, size, modified, sha256, authored, received_at) VALUES ($4, $1, $2, 1, 2, $3, 0, 4)")
                    .bind(at)
                    .bind(format!("a{n}"))
                    .bind(&Sha256::of(b"x").as_bytes()[..])
                    .bind(number(kind))
                    .execute(&old)
                    .await
                    .unwrap();
            }
        }
        old.close().await;
        let catalogue = Catalogue::open(&database).await.unwrap();
        let rows = catalogue.files_after(KIND, None, 10).await.unwrap();
        assert_eq!(rows.len(), 3);
        assert!(
            rows.iter()
                .all(|row| row.file.place.is_none() && row.file.size == 1)
        );
        let spelled = ["x/a.JPG", "CAFE\u{301}/a\u{308}.jpg", "LINE\nbreak"].map(path);
        for kind in [KIND, FileKind::Generated] {
            let occupied = catalogue.occupied(Rules::Folding, kind, &spelled).await;
            assert_eq!(occupied.unwrap().len(), 3, "{kind:?}");
        }
    }
}
