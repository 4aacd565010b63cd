//! An asset as emsync sees it, and the files it owns.

use super::{AssetId, Fingerprint, Md5, MediaPath, Sha256, Timestamp};

/// Which of the two trees below a catalog a file lies in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// What was uploaded: `originals/…`.
    Original,
    /// What was derived from it: `generated/<source path>/…`.
    Generated,
}

impl FileKind {
    /// Name of the tree on disk and on the wire.
    #[must_use]
    pub const fn dir(self) -> &'static str {
        match self {
            Self::Original => "originals",
            Self::Generated => "generated",
        }
    }
}

/// The members of an asset record that decide about files (wire spec 12.1). Everything else stays in the record's JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// The record's id.
    pub id: AssetId,
    /// Logical path; `generated/` is always laid out by it.
    pub source_path: MediaPath,
    /// Real path below `originals/` where it differs from the source path.
    pub archive_path: Option<MediaPath>,
    /// Whether the original is a directory of files.
    pub is_folder: bool,
    /// The main file inside a folder asset.
    pub primary_file: Option<MediaPath>,
    /// Bytes of the primary original, as the record states them: a hint, not a fresh look.
    pub size: Option<u64>,
    /// Modification time of the original when it was imported.
    pub modified: Option<Timestamp>,
    /// MD5 of the original, where the record states one.
    pub md5: Option<Md5>,
    /// Lower-case file format, such as `jpg`.
    pub format: Option<String>,
    /// How many pages it has, as its record says; 0 where that says nothing.
    pub pages: u32,
    /// Ids of its categories, those of their ancestors among them.
    pub categories: Vec<String>,
    /// Whether the record is marked as deleted without being a tombstone (`editstatus` 7).
    pub marked_deleted: bool,
    /// Whether the owner found that no rendition can be made of the original (`previewstatus` 3).
    pub unrenderable: bool,
    /// Whether the owner is still at work on it (an `importstatus` before `complete`): its renditions may yet come.
    pub unfinished: bool,
}

impl Asset {
    /// Where the original, or the directory of a folder asset, lies below `originals/`.
    #[must_use]
    pub fn original_root(&self) -> &MediaPath {
        self.archive_path.as_ref().unwrap_or(&self.source_path)
    }

    /// Whether a path below `originals/` is one that this record names: the file itself, or anything inside a folder asset.
    #[must_use]
    pub fn names_original(&self, path: &MediaPath) -> bool {
        let root = self.original_root();
        path == root || self.is_folder && path.below(root).is_some()
    }

    /// Whether a path is one that this record gives to a file of its own.
    #[must_use]
    pub fn names(&self, kind: FileKind, path: &MediaPath) -> bool {
        match kind {
            FileKind::Original => self.names_original(path),
            FileKind::Generated => path.below(&self.source_path).is_some(),
        }
    }

    /// The primary original: the file itself, or the main file of a folder asset when the record names one
    /// (wire spec 9, Path mapping).
    #[must_use]
    pub fn original(&self) -> Option<MediaPath> {
        if !self.is_folder {
            return Some(self.original_root().clone());
        }
        let primary = self.primary_file.as_ref()?;
        self.original_root().join(primary.as_str()).ok()
    }
}

impl Asset {
    /// The original as the record states it (wire spec 11.2, 5): for peers that do not list originals. `None` when the record
    /// knows nothing of a file (an embedded video, a link), or is a folder without a primary file.
    #[must_use]
    pub fn stated_original(&self) -> Option<ListedFile> {
        let knows_a_file = self.size.is_some()
            || self.modified.is_some()
            || self.md5.is_some()
            || self.format.is_some();
        let path = self
            .original()
            .filter(|path| knows_a_file && !path.is_bookkeeping())?;
        Some(ListedFile {
            kind: FileKind::Original,
            path,
            size: self.size,
            modified: self.modified,
            sha256: None,
            md5: self.md5,
            exact: false,
        })
    }

    /// An original as an EMDB lists it from its disk, with what the record says of that very file.
    ///
    /// A file that was pushed to an EMDB has the date of its arrival there (wire spec 8.1), so listing and record may differ in
    /// nothing but the date. Were each to be followed in its turn, the file would be fetched again for ever: the record decides.
    /// A listing with a digest, an emsync node's, needs no such help.
    #[must_use]
    pub fn as_stated(&self, mut listed: ListedFile) -> ListedFile {
        let stated = (self.stated_original())
            .filter(|stated| stated.path == listed.path && stated.size == listed.size);
        if let Some(stated) = stated.filter(|_| listed.kind == FileKind::Original) {
            listed.md5 = listed.md5.or(stated.md5);
            if listed.sha256.is_none() {
                listed.modified = stated.modified.or(listed.modified);
            }
        }
        listed
    }
}

/// A file a peer says it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Which tree it lies in.
    pub kind: FileKind,
    /// Where in that tree.
    pub path: MediaPath,
    /// Bytes, as listed; only a hint where `exact` is false.
    pub size: Option<u64>,
    /// Modification time to give the copy.
    pub modified: Option<Timestamp>,
    /// SHA-256, which only emsync nodes state.
    pub sha256: Option<Sha256>,
    /// MD5, which asset records state for their original.
    pub md5: Option<Md5>,
    /// Whether the size comes from the file itself rather than from a record.
    pub exact: bool,
}

impl ListedFile {
    /// Whether a file that is here is the listed one.
    ///
    /// A stated SHA-256 decides, together with the modification time that the file must carry. Without one it is EMDB's
    /// own comparison, time to the whole second (wire spec 4.5), and beyond it the size where it is exact and an MD5 where
    /// both sides know one (H-11).
    #[must_use]
    pub fn is(&self, file: &MediaFile) -> bool {
        let same_time = self
            .modified
            .is_none_or(|time| time.whole_second() == file.modified.whole_second());
        if let Some(sha256) = self.sha256 {
            return sha256 == file.sha256 && same_time;
        }
        let same_size = !self.exact || self.size.is_none_or(|size| size == file.size);
        let same_md5 = match (self.md5, file.md5) {
            (Some(theirs), Some(ours)) => theirs == ours,
            _ => true,
        };
        same_time && same_size && same_md5
    }

    /// Whether a file that is here has the listed content, as far as both sides know it; its time may be another.
    #[must_use]
    pub fn has_content_of(&self, file: &MediaFile) -> bool {
        match (self.sha256, self.md5, file.md5) {
            (Some(sha256), ..) => sha256 == file.sha256,
            (None, Some(theirs), Some(ours)) => theirs == ours,
            _ => self.is(file),
        }
    }
}

/// What a node lists of a file it has: everything, for it has looked.
impl From<&MediaFile> for ListedFile {
    fn from(file: &MediaFile) -> Self {
        Self {
            kind: file.kind,
            path: file.path.clone(),
            size: Some(file.size),
            modified: Some(file.modified),
            sha256: Some(file.sha256),
            md5: file.md5,
            exact: true,
        }
    }
}

/// A file this node has: a row that is only written once the bytes are durable (I1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFile {
    /// Which tree it lies in.
    pub kind: FileKind,
    /// Its name in that tree, as its asset and every peer know it.
    pub path: MediaPath,
    /// Where it lies on our disk, if not under that name; see [`place`](crate::model::place).
    pub place: Option<MediaPath>,
    /// The asset that owns it.
    pub asset: AssetId,
    /// Bytes.
    pub size: u64,
    /// Modification time it was given.
    pub modified: Timestamp,
    /// Digest of its content.
    pub sha256: Sha256,
    /// MD5 of its content, kept where a peer states one to compare with.
    pub md5: Option<Md5>,
    /// Whether this node derived it, rather than copying it from its author.
    pub authored: bool,
    /// What this node derived it from, as far as that is known.
    pub fingerprint: Option<Fingerprint>,
}

impl MediaFile {
    /// Whether it was made here after the file that an author without digests lists in its place, as an EMDB does.
    #[must_use]
    pub fn was_made_after(&self, listed: &ListedFile) -> bool {
        let is_older = |time: Timestamp| time.whole_second() < self.modified.whole_second();
        self.authored && listed.sha256.is_none() && listed.modified.is_some_and(is_older)
    }

    /// Where it lies on our disk: what every call on the store about it must use.
    #[must_use]
    pub fn place(&self) -> &MediaPath {
        self.place.as_ref().unwrap_or(&self.path)
    }

    /// The same file at `place`.
    #[must_use]
    pub fn at(mut self, place: MediaPath) -> Self {
        self.place = Some(place).filter(|place| *place != self.path);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(is_folder: bool, archive: Option<&str>, primary: Option<&str>) -> Asset {
        Asset {
            id: AssetId::new("a1").unwrap(),
            source_path: MediaPath::new("Folders/Set1").unwrap(),
            archive_path: archive.map(|path| MediaPath::new(path).unwrap()),
            is_folder,
            primary_file: primary.map(|path| MediaPath::new(path).unwrap()),
            size: None,
            modified: None,
            md5: None,
            format: None,
            categories: Vec::new(),
            pages: 0,
            marked_deleted: false,
            unrenderable: false,
            unfinished: false,
        }
    }

    #[test]
    fn the_original_follows_archive_path_and_primary_file() {
        let original = |asset: Asset| asset.original().map(|path| path.to_string());
        assert_eq!(
            original(asset(false, None, None)).as_deref(),
            Some("Folders/Set1")
        );
        assert_eq!(
            original(asset(false, Some("Raw/Set#1"), None)).as_deref(),
            Some("Raw/Set#1")
        );
        assert_eq!(
            original(asset(true, None, Some("page1.jpg"))).as_deref(),
            Some("Folders/Set1/page1.jpg")
        );
        assert_eq!(original(asset(true, None, None)), None);
    }

    #[test]
    fn only_a_folder_asset_names_what_lies_below_its_path() {
        let (at, below) = (
            MediaPath::new("Folders/Set1").unwrap(),
            MediaPath::new("Folders/Set1/a.jpg").unwrap(),
        );
        let (file, folder) = (asset(false, None, None), asset(true, None, None));
        assert!(
            file.names_original(&at) && folder.names_original(&at) && folder.names_original(&below)
        );
        assert!(
            !file.names_original(&below),
            "a file was taken to own what is in its way"
        );
    }
}
