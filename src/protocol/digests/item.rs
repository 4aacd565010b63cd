//! What a complete listing names for one record: the record as far as it is compared, and the files that are listed with it.

use serde::{Deserialize, Serialize};

use super::Tag;
use crate::model::{
    FileKind, Hasher, ListedFile, Md5, MediaFile, MediaPath, NodeId, Record, RecordKey, Sha256,
    Timestamp,
};
use crate::protocol::record::asset;

/// Most of the text that says why an asset cannot be used.
const REASON_BYTES: usize = 1_000;

/// One record with its files, as a listing names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The record's address.
    pub key: RecordKey,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// Who edited it last.
    pub modified_by: NodeId,
    /// When.
    pub modified: Timestamp,
    /// Its owner's date.
    pub master_modified: Timestamp,
    /// Digest of its content.
    pub content: Sha256,
    /// The files that are listed with it, in order of tree and path.
    pub files: Vec<ListedFile>,
    /// Why its files have no names, if so: a live asset without a usable source path.
    pub unusable: Option<String>,
    /// Whether the node holds only a part of its files for now, so that nothing follows from what it lacks. No part of its name.
    pub partial: bool,
}

impl Item {
    /// What a listing names of a record and the file rows of its asset, which are in order of kind and path; `None` for a record
    /// that no listing names (design section 8, Conflicts).
    ///
    /// The rules are those of [`changes::encode`](crate::protocol::changes::encode) and of whoever calls it in `serve`.
    #[must_use]
    pub fn of(record: &Record, rows: &[MediaFile]) -> Option<Self> {
        let status = record.status.as_ref()?;
        let mut item = Self {
            key: record.key.clone(),
            deleted: status.deleted,
            modified_by: status.modified_by.clone(),
            modified: status.modified,
            master_modified: status.master_modified?,
            content: record.content,
            files: Vec::new(),
            unusable: None,
            partial: false,
        };
        if status.deleted || !record.key.module.is_asset() {
            return Some(item);
        }
        match asset(record) {
            Ok(asset) => {
                let is_listed = |file: &&MediaFile| {
                    let is_in_place = file.kind == FileKind::Original
                        || file.path.below(&asset.source_path).is_some();
                    is_in_place && !file.path.is_bookkeeping()
                };
                item.files = rows
                    .iter()
                    .filter(is_listed)
                    .map(ListedFile::from)
                    .collect();
            }
            Err(bad) => {
                let end = bad.reason.floor_char_boundary(REASON_BYTES);
                item.unusable = Some(bad.reason[..end].to_owned());
            }
        }
        Some(item)
    }

    /// Whether a node with these rows that compares itself with its own listing has nothing to say about it: every row is
    /// listed, and every file has a name.
    #[must_use]
    pub fn is_plain(&self, rows: usize) -> bool {
        self.unusable.is_none() && self.files.len() == rows
    }

    /// Its name: a digest over all of it that is compared.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let mut text = Text(Hasher::new(false));
        text.0.update(b"item\n");
        text.field(self.key.module.as_str().as_bytes());
        text.field(self.key.id.as_bytes());
        text.field(&[u8::from(self.deleted)]);
        text.field(self.modified_by.as_str().as_bytes());
        text.time(self.modified);
        text.time(self.master_modified);
        text.field(self.content.as_bytes());
        for file in &self.files {
            text.field(file.kind.dir().as_bytes());
            text.field(file.path.as_str().as_bytes());
            text.optional(file.size.map(u64::to_be_bytes));
            text.optional(file.modified.map(|time| time.as_millis().to_be_bytes()));
            text.optional(file.sha256.map(|digest| *digest.as_bytes()));
            text.optional(file.md5.map(|digest| *digest.as_bytes()));
        }
        Tag::cut(&text.0.finish().sha256)
    }

    /// Live records and tombstones, originals and generated files: 0 or 1 of the former two.
    #[must_use]
    pub fn counts(&self) -> [u64; 4] {
        let of = |kind| self.files.iter().filter(|file| file.kind == kind).count() as u64;
        [
            u64::from(!self.deleted),
            u64::from(self.deleted),
            of(FileKind::Original),
            of(FileKind::Generated),
        ]
    }
}

/// Fields that each say how long they are, so that no two different lists of fields are written alike.
struct Text(Hasher);

impl Text {
    fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    fn time(&mut self, time: Timestamp) {
        self.field(&time.as_millis().to_be_bytes());
    }

    fn optional<const N: usize>(&mut self, bytes: Option<[u8; N]>) {
        match bytes {
            Some(bytes) => self.field(&bytes),
            None => self.0.update(&u64::MAX.to_be_bytes()),
        }
    }
}

/// An item on the wire: times in milliseconds, digests in hexadecimal.
#[derive(Serialize, Deserialize)]
pub(super) struct Written {
    table: String,
    id: String,
    deleted: bool,
    by: String,
    at: i64,
    owner_at: i64,
    content: Sha256,
    files: Vec<WrittenFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unusable: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    partial: bool,
}

#[derive(Serialize, Deserialize)]
struct WrittenFile {
    tree: FileKind,
    path: String,
    size: u64,
    at: i64,
    sha256: Sha256,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    md5: Option<Md5>,
}

impl Written {
    pub(super) fn of(item: &Item) -> Self {
        let file = |file: &ListedFile| {
            Some(WrittenFile {
                tree: file.kind,
                path: file.path.to_string(),
                size: file.size?,
                at: file.modified?.as_millis(),
                sha256: file.sha256?,
                md5: file.md5,
            })
        };
        Self {
            table: item.key.module.to_string(),
            id: item.key.id.clone(),
            deleted: item.deleted,
            by: item.modified_by.to_string(),
            at: item.modified.as_millis(),
            owner_at: item.master_modified.as_millis(),
            content: item.content,
            files: item.files.iter().filter_map(file).collect(),
            unusable: item.unusable.clone(),
            partial: item.partial,
        }
    }

    /// The item; a text where it says something that cannot be.
    pub(super) fn read(self) -> Result<Item, String> {
        let file = |file: WrittenFile| {
            Ok(ListedFile {
                kind: file.tree,
                path: MediaPath::new(file.path).map_err(|error| error.to_string())?,
                size: Some(file.size),
                modified: Some(Timestamp::from_millis(file.at)),
                sha256: Some(file.sha256),
                md5: file.md5,
                exact: true,
            })
        };
        Ok(Item {
            key: RecordKey::new(self.table, self.id).map_err(|error| error.to_string())?,
            deleted: self.deleted,
            modified_by: NodeId::new(self.by).map_err(|error| error.to_string())?,
            modified: Timestamp::from_millis(self.at),
            master_modified: Timestamp::from_millis(self.owner_at),
            content: self.content,
            files: self
                .files
                .into_iter()
                .map(file)
                .collect::<Result<_, String>>()?,
            unusable: self.unusable,
            partial: self.partial,
        })
    }
}
