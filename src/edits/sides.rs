//! The two sides of a conflict: what they differ in, and either of them as a new edit.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Change, Edit, Error, OF_THE_FILE, changed, put};
use crate::catalogue::{Conflict, Winner};
use crate::model::Record;
use crate::node::Node;
use crate::protocol::record::{self, BadRecord};

/// One side of a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What this node had.
    Local,
    /// What the peer sent.
    Remote,
}

impl Side {
    /// The side that was not stored.
    #[must_use]
    pub fn loser_of(conflict: &Conflict) -> Self {
        match conflict.winner {
            Winner::Local => Self::Remote,
            Winner::Remote => Self::Local,
        }
    }
}

/// A member that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Its name.
    pub member: String,
    /// What this node had; `None` where it had none.
    pub local: Option<Value>,
    /// What the peer sent.
    pub remote: Option<Value>,
}

/// One side as a record.
///
/// # Errors
/// [`BadRecord`] where what was kept cannot be read.
pub fn side(conflict: &Conflict, side: Side) -> Result<Record, BadRecord> {
    let source = match side {
        Side::Local => &conflict.local_source,
        Side::Remote => &conflict.remote_source,
    };
    let (module, id) = (conflict.key.module.as_str(), conflict.key.id.as_str());
    let raw = RawValue::from_string(source.clone());
    let raw = raw.map_err(|error| BadRecord {
        key: Some(conflict.key.clone()),
        module: module.to_owned(),
        id: id.to_owned(),
        reason: error.to_string(),
        source: source.clone(),
    })?;
    record::record(module, id, &raw)
}

/// What the sides differ in, by name; who edited them and when is not among it.
///
/// # Errors
/// [`BadRecord`] where what was kept cannot be read.
pub fn differences(conflict: &Conflict) -> Result<Vec<Difference>, BadRecord> {
    let local = record::unstamped(&side(conflict, Side::Local)?)?;
    let remote = record::unstamped(&side(conflict, Side::Remote)?)?;
    let of = |member: String| Difference {
        local: local.get(&member).cloned(),
        remote: remote.get(&member).cloned(),
        member,
    };
    Ok(changed(&local, &remote).into_iter().map(of).collect())
}

/// Makes one side of a conflict hold again, as a new edit. What follows from an asset's file stays as it is now. Answers `None`
/// where the record is like that already.
///
/// # Errors
/// [`Error`]; then nothing was changed.
pub async fn restore(
    node: &Node,
    conflict: &Conflict,
    which: Side,
    dry_run: bool,
) -> Result<Option<Edit>, Error> {
    let kept = side(conflict, which)?;
    let key = &conflict.key;
    if kept.is_deleted() {
        return Err(Error::Deletes { key: key.clone() });
    }
    let mut members = record::unstamped(&kept)?;
    if key.module.is_asset() {
        let now = node.catalogue.record(key).await?;
        let now = now.map(|now| record::unstamped(&now.record)).transpose()?;
        keep_of_the_file(&mut members, &now.unwrap_or_default());
    }
    put(node, key, &Change::All(members), dry_run).await
}

fn keep_of_the_file(members: &mut Map<String, Value>, now: &Map<String, Value>) {
    for name in OF_THE_FILE {
        match now.get(name) {
            Some(value) => members.insert(name.to_owned(), value.clone()),
            None => members.remove(name),
        };
    }
}
