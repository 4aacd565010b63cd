//! Edits made on this node, of its own records and of those that other nodes are the masters of (wire spec 4.2), and the way
//! back to what lost a conflict.
//!
//! ```text
//! members ─▶ put ─▶ stamped: ours, or still theirs and edited here ─▶ CATALOGUE
//!              ▲
//! conflicts ─▶ restore (either side, as a new edit)
//! ```
//!
//! What says where an asset's file lies and what is in it is not edited here: `import` reads that from the file.

mod sides;

use serde_json::{Map, Value};

use crate::catalogue::{self, StoredRecord};
use crate::error::Class;
use crate::model::{NodeId, Record, RecordKey, RecordStatus, Timestamp};
use crate::node::Node;
use crate::protocol::record::{self, BadRecord};

pub use sides::{Difference, Side, differences, restore, side};

/// Members of an asset that follow from its file (wire spec 12.1).
const OF_THE_FILE: [&str; 7] = [
    "sourcepath",
    "archivesourcepath",
    "isfolder",
    "primaryfile",
    "filesize",
    "md5hex",
    "assetmodificationdate",
];

/// Why an edit is not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The catalogue failed.
    #[error("catalogue does not answer")]
    Catalogue(#[from] catalogue::Error),
    /// The record's JSON cannot be read.
    #[error("a stored record cannot be read")]
    Record(#[from] BadRecord),
    /// The members are another record's.
    #[error("these are the members of {found}, not of {key}: leave `id` out, or name that one")]
    OtherId {
        /// What is to be edited.
        key: RecordKey,
        /// What the members say.
        found: String,
    },
    /// Assets come with their files.
    #[error(
        "there is no live asset {id} here, and an asset comes into being with its file: import that, or bring a deleted one back with \
         `emsync trash restore`"
    )]
    NoAsset {
        /// Its id.
        id: String,
    },
    /// The member follows from the file.
    #[error(
        "{member} of {key} follows from its file and is not edited: change or move the file, and import it; to keep it as it is, \
         edit single members"
    )]
    OfTheFile {
        /// What is to be edited.
        key: RecordKey,
        /// The member.
        member: &'static str,
    },
    /// No conflict has this number.
    #[error("there is no conflict {id}; see `emsync conflicts list`")]
    NoConflict {
        /// What was asked for.
        id: i64,
    },
    /// The record is owned by the EMDB beside this node.
    #[error(
        "{key} is owned by the EMDB beside this node, {sidecar}: edit it there, and it comes here with the next sync"
    )]
    OfTheSidecar {
        /// What is to be edited.
        key: RecordKey,
        /// That EMDB, as a peer.
        sidecar: String,
    },
    /// That side of the conflict is a tombstone.
    #[error("that side of the conflict deleted {key}; to do so too, use `emsync record delete`")]
    Deletes {
        /// The record.
        key: RecordKey,
    },
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Catalogue(error) => error.class(),
            Self::Record(_) => Class::Corrupt,
            _ => Class::Permanent,
        }
    }
}

/// What is to become of a record's members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// These, and no others.
    All(Map<String, Value>),
    /// These; the others stay. `null` takes a member away.
    Some(Map<String, Value>),
}

/// An edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The record as it is from now on.
    pub record: Record,
    /// Names of the members that are new, other, or gone; none of a record that is made or brought back as it was.
    pub changed: Vec<String>,
    /// The node that owns the record.
    pub master: NodeId,
}

/// Makes an edit. Answers `None` where everything is as it should be already; then nothing is written, nor is it with `dry_run`.
///
/// A member `emrecordstatus` of the change counts for nothing: who edited what and when is ours to say.
///
/// # Errors
/// [`Error`]; then nothing was changed.
pub async fn put(
    node: &Node,
    key: &RecordKey,
    change: &Change,
    dry_run: bool,
) -> Result<Option<Edit>, Error> {
    let (own, now) = (&node.config.node.cluster_id, node.seams.clock.now());
    if dry_run {
        let known = node.catalogue.record(key).await?;
        let edit = edited(known.as_ref(), key, change, own, now)?;
        return edit.map(|edit| for_us(node, key, edit)).transpose();
    }
    let mut batch = node.catalogue.batch().await?;
    let mut known = batch.stored(std::slice::from_ref(key)).await?;
    let known = known.remove(key);
    let edit = edited(known.as_ref(), key, change, own, now)?;
    let edit = edit.map(|edit| for_us(node, key, edit)).transpose()?;
    if let Some(edit) = &edit {
        // What came from a peer goes on coming from there.
        let origin = match &known {
            Some(known) if edit.master != *own => known.origin.as_str(),
            _ => "",
        };
        batch.put_records(&[&edit.record], origin, now).await?;
        batch.commit().await?;
    }
    Ok(edit)
}

/// The edit, where it is one for this node to make: an EMDB takes no edit of its own records that says it was made there (row 4).
fn for_us(node: &Node, key: &RecordKey, edit: Edit) -> Result<Edit, Error> {
    match node.sidecar() {
        Some(sidecar) if edit.master == node.config.node.cluster_id => Err(Error::OfTheSidecar {
            key: key.clone(),
            sidecar: sidecar.name.clone(),
        }),
        _ => Ok(edit),
    }
}

fn edited(
    known: Option<&StoredRecord>,
    key: &RecordKey,
    change: &Change,
    own: &NodeId,
    now: Timestamp,
) -> Result<Option<Edit>, Error> {
    let known = known.map(|known| &known.record);
    let live = known.filter(|known| !known.is_deleted());
    if live.is_none() && key.module.is_asset() {
        return Err(Error::NoAsset { id: key.id.clone() });
    }
    let before = live.map(record::unstamped).transpose()?.unwrap_or_default();
    let mut after = match change {
        Change::All(members) => members.clone(),
        Change::Some(members) => merged(before.clone(), members),
    };
    record::take_stamp(&mut after);
    match after.get("id") {
        // EMDB has records without it, and takes the one around them (wire spec 12.1).
        None | Some(Value::Null) => {
            after.insert("id".to_owned(), key.id.clone().into());
        }
        Some(id) if id.as_str() == Some(&key.id) => {}
        Some(id) => {
            return Err(Error::OtherId {
                key: key.clone(),
                found: id.to_string(),
            });
        }
    }
    let changed = changed(&before, &after);
    if key.module.is_asset()
        && let Some(member) = OF_THE_FILE
            .into_iter()
            .find(|name| changed.iter().any(|changed| changed == name))
    {
        let key = key.clone();
        return Err(Error::OfTheFile { key, member });
    }
    if live.is_some() && changed.iter().all(|name| name == "id") {
        return Ok(None);
    }
    let status = known.and_then(|known| known.status.as_ref());
    let status = RecordStatus::saved(own, status, now, false);
    Ok(Some(Edit {
        record: record::stamped(after, key, &status),
        changed,
        master: status.master,
    }))
}

/// The edit that brings a record back to members that it had, those that follow from its file among them: for who brings the file back
/// as well. A tombstone lives again, where it is this node's own.
///
/// # Errors
/// [`Error`].
pub fn back_to(
    node: &Node,
    key: &RecordKey,
    known: Option<&StoredRecord>,
    mut members: Map<String, Value>,
) -> Result<Edit, Error> {
    let (own, now) = (&node.config.node.cluster_id, node.seams.clock.now());
    let known = known.map(|known| &known.record);
    let live = known.filter(|known| !known.is_deleted());
    let before = live.map(record::unstamped).transpose()?.unwrap_or_default();
    record::take_stamp(&mut members);
    let status = known.and_then(|known| known.status.as_ref());
    let status = RecordStatus::saved(own, status, now, false);
    let edit = Edit {
        changed: changed(&before, &members),
        record: record::stamped(members, key, &status),
        master: status.master,
    };
    for_us(node, key, edit)
}

/// `before` with `members` in it.
fn merged(mut before: Map<String, Value>, members: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in members {
        if value.is_null() {
            before.remove(name);
        } else {
            before.insert(name.clone(), value.clone());
        }
    }
    before
}

/// Names of the members that differ, in order.
fn changed(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests;
