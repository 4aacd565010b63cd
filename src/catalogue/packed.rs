//! Many rows in one: where a thousand are read at once, handing each over by itself takes longer than reading it.

use serde::Deserialize;
use sqlx::QueryBuilder;

use super::dialect::Engine;
use super::files::{asset_id, kind, media_path};
use super::{Catalogue, Error, FileRow, during};
use crate::model::{Fingerprint, Md5, MediaFile, Sha256, Timestamp};

/// One of those, in the order of the statement. Digests that are not there are empty.
#[derive(Deserialize)]
struct Packed(
    i64,
    String,
    String,
    i64,
    i64,
    String,
    String,
    i64,
    String,
    i64,
    Option<i64>,
    Option<i64>,
    String,
    Option<i64>,
);

impl Catalogue {
    /// The rows that a statement which begins with [`PACKED_FILES`](super::dialect::PACKED_FILES) selects, in any order.
    pub(super) async fn packed_files(
        &self,
        mut query: QueryBuilder<Engine>,
        doing: &'static str,
    ) -> Result<Vec<FileRow>, Error> {
        let text: String = query
            .build_query_scalar()
            .fetch_one(&self.db.readers)
            .await
            .map_err(during(doing))?;
        files(&text)
    }
}

fn files(text: &str) -> Result<Vec<FileRow>, Error> {
    let rows: Vec<Packed> = serde_json::from_str(text).map_err(|error| Error::Row {
        what: "packed files",
        value: error.to_string(),
    })?;
    rows.into_iter().map(file_row).collect()
}

fn file_row(row: Packed) -> Result<FileRow, Error> {
    let Packed(
        kind_number,
        path,
        asset,
        size,
        modified,
        sha256,
        md5,
        authored,
        place,
        received_at,
        unlisted_at,
        damaged_at,
        fingerprint,
        evicted,
    ) = row;
    let sha256 = Sha256::parse(&sha256).map_err(|error| Error::Row {
        what: "file digest",
        value: error.to_string(),
    })?;
    Ok(FileRow {
        file: MediaFile {
            kind: kind(kind_number),
            place: (!place.is_empty()).then(|| media_path(place)).transpose()?,
            path: media_path(path)?,
            asset: asset_id(asset)?,
            size: super::unsigned(size),
            modified: Timestamp::from_millis(modified),
            sha256,
            md5: Md5::parse(&md5).ok(),
            authored: authored != 0,
            fingerprint: (Sha256::parse(&fingerprint).ok())
                .map(|digest| Fingerprint::from_bytes(*digest.as_bytes())),
        },
        received_at: Timestamp::from_millis(received_at),
        unlisted_at: unlisted_at.map(Timestamp::from_millis),
        damaged_at: damaged_at.map(Timestamp::from_millis),
        evicted: evicted.is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Among;
    use super::super::conformance::empty;
    use super::*;
    use crate::model::{AssetId, FileKind, MediaPath};

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[tokio::test]
    async fn packed_rows_say_what_single_ones_say() {
        let (_dir, catalogue) = empty().await;
        let mut batch = catalogue.batch().await.unwrap();
        // Names with everything that means something in JSON or in a statement.
        for (at, name) in [
            "plain",
            "q\"uote\\",
            "tab\tand\u{1}\u{1f}",
            "ümlaut 🦀",
            "a'b%_",
        ]
        .into_iter()
        .enumerate()
        {
            let path = MediaPath::new(format!("d/{name}")).unwrap();
            let file = MediaFile {
                kind: [FileKind::Original, FileKind::Generated][at % 2],
                place: (at == 1).then(|| MediaPath::new("elsewhere").unwrap()),
                path,
                asset: AssetId::new(format!("a{}", at % 3)).unwrap(),
                size: u64::from(u32::MAX) + at as u64,
                modified: NOW,
                sha256: Sha256::of(name.as_bytes()),
                md5: (at % 2 == 0).then(|| Md5::from_bytes([at as u8; 16])),
                authored: at % 2 == 1,
                fingerprint: (at % 2 == 1).then(|| Fingerprint::from_bytes([at as u8; 32])),
            };
            batch.put_file(&file, NOW).await.unwrap();
        }
        batch.commit().await.unwrap();
        let mut single = Vec::new();
        for kind in [FileKind::Original, FileKind::Generated] {
            single.extend(catalogue.files_after(kind, None, 10).await.unwrap());
        }
        single.sort_by_key(|row| (row.file.asset.clone(), row.file.kind, row.file.path.clone()));
        let packed = catalogue
            .files_of(&["a0", "a1", "a2", "nobody"])
            .await
            .unwrap();
        assert_eq!(packed, single);
        assert_eq!(catalogue.files_of(&["nobody"]).await.unwrap(), []);
        let all = Among::Between("a0", "a2");
        assert_eq!(catalogue.files_of(all).await.unwrap(), single);
        single.retain(|row| row.file.asset.as_str() == "a1");
        let second = Among::Between("a00", "a1");
        assert_eq!(catalogue.files_of(second).await.unwrap(), single);
    }
}
