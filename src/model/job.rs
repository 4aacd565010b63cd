//! The durable units of work: what the plan asks for and the stages do. Payloads of the job table, and nothing else.

use serde::{Deserialize, Serialize};

use super::{AssetId, FileKind, Md5, MediaFile, RecordKey, Sha256, Timestamp};

/// Bring one file of a peer here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchJob {
    /// Which tree.
    pub kind: FileKind,
    /// Where in it; checked again when the job runs.
    pub path: String,
    /// Announced bytes.
    pub size: Option<u64>,
    /// Whether the announcement came from the file itself.
    pub exact: bool,
    /// Modification time to give the copy.
    pub modified: Option<Timestamp>,
    /// Announced SHA-256.
    pub sha256: Option<Sha256>,
    /// Announced MD5.
    pub md5: Option<Md5>,
    /// Where a file of its asset lies that is about to go and has the same content: then this is a move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What to derive from the file once it is here.
    pub then: Option<RegenerateJob>,
}

impl FetchJob {
    /// Whether MD5 is what tells the right bytes. A stated SHA-256 tells it alone, and reckoning both takes three times as long.
    #[must_use]
    pub fn needs_md5(&self) -> bool {
        self.md5.is_some() && self.sha256.is_none()
    }
}

/// Derive files from an original that is here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegenerateJob {
    /// The original, below `originals/`.
    pub original: String,
    /// The directory for the outputs, below `generated/`: the asset's source path.
    pub output_dir: String,
    /// Ids of the presets to run.
    pub presets: Vec<String>,
}

/// Move files that a record no longer names into the trash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveJob {
    /// Which tree.
    pub kind: FileKind,
    /// Its name in it; once the row is forgotten, its place.
    pub path: String,
    /// The digest the file had when the job was made: another file under that name stays.
    pub sha256: Sha256,
}

impl RemoveJob {
    /// Removes a file under its name, as long as it is what it is now.
    #[must_use]
    pub fn of(file: &MediaFile) -> Self {
        Self {
            kind: file.kind,
            path: file.path.as_str().to_owned(),
            sha256: file.sha256,
        }
    }
}

/// Apply a tombstone, or a flip to "marked as deleted", that waits for the guard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteJob {
    /// The record as it arrived.
    pub source: String,
    /// Whether it is a tombstone (its files go) rather than a mark (they stay).
    pub tombstone: bool,
}

/// Take a record away that two complete listings of its peer lacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbsentJob {
    /// Its table.
    pub module: String,
    /// Its id.
    pub id: String,
    /// The digest of its content when it was missed: another version stays.
    pub content: Sha256,
}

/// Send one file of ours to a peer that asked for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UploadJob {
    /// Which tree.
    pub kind: FileKind,
    /// Its name in it.
    pub path: String,
    /// The content that was offered: another file under that name is offered anew.
    pub sha256: Sha256,
    /// Where the peer keeps it, as it is to be told.
    pub savepath: String,
    /// What the wish said of the file, to be sent back with it.
    pub members: Vec<(String, String)>,
}

/// Send one record that its peer did not take among others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendJob {
    /// Its table.
    pub module: String,
    /// Its id.
    pub id: String,
}

/// What a job asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Work {
    /// See [`FetchJob`].
    Fetch(FetchJob),
    /// See [`RegenerateJob`].
    Regenerate(RegenerateJob),
    /// See [`RemoveJob`].
    Remove(RemoveJob),
    /// See [`DeleteJob`].
    Delete(DeleteJob),
    /// See [`AbsentJob`].
    Absent(AbsentJob),
    /// The second half of a removal: the row is forgotten, the bytes are to follow.
    Trash(RemoveJob),
    /// See [`UploadJob`].
    Upload(UploadJob),
    /// See [`SendJob`].
    Send(SendJob),
}

/// What a wish for a file of this name is called in the job table. There is one wish for each name; a second asset that has
/// a file of the same name at the same peer adds its id, behind what no path holds.
#[must_use]
pub fn fetch_subject(kind: FileKind, path: &str, second: Option<&AssetId>) -> String {
    let name = format!("{}/{path}", kind.dir());
    match second {
        None => name,
        Some(asset) => format!("{name}//{asset}"),
    }
}

/// What a peer's wish for a file of this name and asset is called in the job table.
#[must_use]
pub fn upload_subject(kind: FileKind, path: &str, asset: &AssetId) -> String {
    format!("upload:{}/{path}//{asset}", kind.dir())
}

/// What a record that its peer did not take is called in the job table.
#[must_use]
pub fn send_subject(key: &RecordKey) -> String {
    format!("push:{}/{}", key.module, key.id)
}

/// The name that a wish is for, if it is one for a file of this kind.
#[must_use]
pub fn fetched_path(subject: &str, kind: FileKind) -> Option<&str> {
    let path = subject.strip_prefix(kind.dir())?.strip_prefix('/')?;
    Some(path.split_once("//").map_or(path, |(path, _)| path))
}

/// What a wish to remove an asset's file is called in the job table.
#[must_use]
pub fn remove_subject(file: &MediaFile) -> String {
    let name = format!("remove:{}/{}", file.kind.dir(), file.path);
    match file.place {
        None => name,
        Some(_) => format!("{name}//{}", file.asset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_wish_leads_back_to_its_path() {
        let asset = AssetId::new("a/2").unwrap();
        for second in [None, Some(&asset)] {
            let subject = fetch_subject(FileKind::Original, "a/b#c.jpg", second);
            assert_eq!(
                fetched_path(&subject, FileKind::Original),
                Some("a/b#c.jpg")
            );
            assert_eq!(fetched_path(&subject, FileKind::Generated), None);
        }
        assert_eq!(fetched_path("remove:originals/a", FileKind::Original), None);
    }
}
