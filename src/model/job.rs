//! The durable units of work: what the plan asks for and the stages do. Payloads of the job table, and nothing else.

use serde::{Deserialize, Serialize};

use super::{FileKind, Md5, Sha256, Timestamp};

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
    /// Where in it.
    pub path: String,
    /// The digest the file had when the job was made: another file under that name stays.
    pub sha256: Sha256,
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
}
