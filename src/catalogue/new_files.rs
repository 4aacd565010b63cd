//! Many file rows in few statements: what a new node, or an import, writes most.
//!
//! Nearly every row is of a name and a place that nobody has. Those go in together; one that replaces another, or meets one of
//! the same call, goes by itself, in the order given.

use std::collections::HashSet;

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT};
use super::files::{made_of, number};
use super::places::folded;
use super::{Batch, Error, during, signed};
use crate::model::{FileKind, MediaFile, Timestamp};

/// Parameters of a statement are limited, and a file has eleven values.
const FILES_A_STATEMENT: usize = ROWS_A_STATEMENT / 2;

impl Batch {
    /// Notes files as [`put_file`](Self::put_file) does one.
    ///
    /// # Errors
    /// [`Error::Sql`].
    pub async fn put_files(&mut self, files: &[&MediaFile], now: Timestamp) -> Result<(), Error> {
        for chunk in files.chunks(FILES_A_STATEMENT) {
            let mut taken = HashSet::new();
            for kind in [FileKind::Original, FileKind::Generated] {
                let of_kind: Vec<_> = chunk
                    .iter()
                    .filter(|file| file.kind == kind)
                    .copied()
                    .collect();
                let names = self.names_in_use(kind, &of_kind).await?;
                taken.extend(names.into_iter().map(|name| (kind, name)));
            }
            let (mut alone, mut together) = (Vec::new(), Vec::new());
            for file in chunk {
                let names = HashSet::from([file.path.as_str(), file.place().as_str()]);
                // Both are noted, whatever comes of the first.
                let known = names
                    .into_iter()
                    .filter(|name| !taken.insert((file.kind, (*name).to_owned())));
                let is_new = known.count() == 0;
                if is_new {
                    together.push(*file)
                } else {
                    alone.push(*file)
                }
            }
            self.insert_files(&together, now).await?;
            for file in alone {
                self.put_file(file, now).await?;
            }
        }
        Ok(())
    }

    /// Which of these files' names and places some row has as its name or its place.
    async fn names_in_use(
        &mut self,
        kind: FileKind,
        files: &[&MediaFile],
    ) -> Result<Vec<String>, Error> {
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = QueryBuilder::<Engine>::new("");
        for (column, union) in [("path", " UNION "), ("place", "")] {
            query
                .push("SELECT ")
                .push(column)
                .push(" FROM file WHERE kind = ");
            query
                .push_bind(number(kind))
                .push(" AND ")
                .push(column)
                .push(" IN (");
            let mut list = query.separated(", ");
            for file in files {
                let name = if column == "path" {
                    &file.path
                } else {
                    file.place()
                };
                list.push_bind(name.as_str());
            }
            query.push(")").push(union);
        }
        query
            .build_query_scalar()
            .fetch_all(&mut *self.tx)
            .await
            .map_err(during("look which names are in use"))
    }

    async fn insert_files(&mut self, files: &[&MediaFile], now: Timestamp) -> Result<(), Error> {
        if files.is_empty() {
            return Ok(());
        }
        let mut query = QueryBuilder::<Engine>::new(
            "INSERT INTO file (kind, path, asset, size, modified, sha256, md5, authored, received_at, place, fold, fingerprint) ",
        );
        query.push_values(files, |mut row, file| {
            row.push_bind(number(file.kind))
                .push_bind(file.path.as_str())
                .push_bind(file.asset.as_str())
                .push_bind(signed(file.size))
                .push_bind(file.modified.as_millis())
                .push_bind(&file.sha256.as_bytes()[..])
                .push_bind(file.md5.as_ref().map(|md5| &md5.as_bytes()[..]))
                .push_bind(i64::from(file.authored))
                .push_bind(now.as_millis())
                .push_bind(file.place().as_str())
                .push_bind(folded(file.place().as_str()))
                .push_bind(made_of(file));
        });
        query
            .build()
            .execute(&mut *self.tx)
            .await
            .map_err(during("store file rows"))?;
        let assets: HashSet<&str> = files.iter().map(|file| file.asset.as_str()).collect();
        let assets: Vec<&str> = assets.into_iter().collect();
        self.relist(&assets, now).await?;
        let made = files.iter().filter(|file| file.authored);
        let made: HashSet<&str> = made.map(|file| file.asset.as_str()).collect();
        let made: Vec<&str> = made.into_iter().collect();
        self.relist_crops(&made, now).await?;
        self.touch(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::empty;
    use super::*;
    use crate::model::{AssetId, MediaPath, Sha256};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn file(path: &str, place: &str, content: u64) -> MediaFile {
        MediaFile {
            kind: if content.is_multiple_of(3) {
                FileKind::Generated
            } else {
                FileKind::Original
            },
            path: MediaPath::new(path).unwrap(),
            place: (path != place).then(|| MediaPath::new(place).unwrap()),
            asset: AssetId::new(format!("asset-{}", content % 5)).unwrap(),
            size: content,
            modified: NOW,
            sha256: Sha256::of(&content.to_le_bytes()),
            md5: None,
            authored: content.is_multiple_of(2),
            fingerprint: None,
        }
    }

    /// Everything that a file row may change.
    async fn left(
        files: &[MediaFile],
        together: bool,
    ) -> (Vec<super::super::FileRow>, Vec<String>) {
        let (_dir, catalogue) = empty().await;
        for part in files.chunks(30) {
            let mut batch = catalogue.batch().await.unwrap();
            if together {
                batch
                    .put_files(&part.iter().collect::<Vec<_>>(), NOW)
                    .await
                    .unwrap();
            } else {
                for file in part {
                    batch.put_file(file, NOW).await.unwrap();
                }
            }
            batch.commit().await.unwrap();
        }
        let mut rows = Vec::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            rows.extend(catalogue.files_after(kind, None, 1_000).await.unwrap());
        }
        let mut former = Vec::new();
        for n in 0..5 {
            let gone = catalogue
                .former_of(&format!("asset-{n}"), 0, 1_000)
                .await
                .unwrap();
            former.extend(
                gone.into_iter()
                    .map(|gone| format!("{:?} {:?}", gone.file, gone.reason)),
            );
        }
        former.sort();
        (rows, former)
    }

    /// Names and places that meet in every way, within one call and between two.
    #[tokio::test]
    async fn rows_are_the_same_as_one_by_one_whatever_they_replace() {
        let mut chance = 7_u64;
        let mut next = |bound: u64| {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (chance >> 33) % bound
        };
        let files: Vec<_> = (0..600)
            .map(|n| {
                let name = |n| format!("d/{n}.bin");
                let path = next(120);
                let place = if next(4) == 0 { 1_000 + next(20) } else { path };
                file(&name(path), &name(place), n)
            })
            .collect();
        let (rows, former) = left(&files, true).await;
        let (wanted_rows, wanted_former) = left(&files, false).await;
        assert!(
            rows.len() > 100 && former.len() > 50,
            "{} {}",
            rows.len(),
            former.len()
        );
        assert_eq!(rows, wanted_rows);
        assert_eq!(former, wanted_former);
    }
}
