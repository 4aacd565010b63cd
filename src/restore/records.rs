//! Records of other tables than assets (categories, collections, crops and whatever else is here) as they were at a moment. They own no
//! files, so each goes back by itself.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::plan::is_same;
use super::{Error, Told};
use crate::catalogue::{StoredRecord, Then};
use crate::model::{AssetId, NodeId, RecordKey, Timestamp};
use crate::node::Node;
use crate::protocol::{crop, record};

/// What becomes of one record.
pub(super) enum Plan {
    /// It is as it was.
    Nothing,
    /// It did not exist then.
    Newer(Box<StoredRecord>),
    /// It goes back.
    Back(Box<Back>),
    /// It cannot.
    Failed(Told),
}

/// A record that goes back.
pub(super) struct Back {
    pub(super) key: RecordKey,
    /// As it is now; changed meanwhile, nothing is done.
    pub(super) now: Option<StoredRecord>,
    /// Its members of then.
    pub(super) members: Map<String, Value>,
    undeletes: bool,
    /// Who owns it, where that is not this node.
    owner: Option<NodeId>,
}

impl Back {
    /// The asset whose renditions show another part of it then, where this is a crop.
    pub(super) fn shows_another_part(&self) -> Option<AssetId> {
        let is_crop = self.key.module.as_str() == crop::TABLE;
        let asset = self.members.get(crop::ASSET).filter(|_| is_crop)?;
        AssetId::new(asset.as_str()?).ok()
    }

    /// What is done, in words.
    pub(super) fn told(&self) -> Told {
        let mut does = vec![match self.undeletes {
            true => "is deleted no more".to_owned(),
            false => "goes back".to_owned(),
        }];
        does.extend(self.owner.as_ref().map(of_another));
        Told {
            does,
            ..Told::of(&self.key)
        }
    }
}

/// What a restore of another node's record comes to.
pub(super) fn of_another(owner: &NodeId) -> String {
    format!("as an edit of a record that {owner} owns, which holds until that node saves it again")
}

/// Plans one record for one moment.
pub(super) async fn plan(node: &Node, key: &RecordKey, to: Timestamp) -> Result<Plan, Error> {
    let now = node.catalogue.record(key).await?;
    let live = now.as_ref().filter(|now| !now.record.is_deleted());
    let source = match node.catalogue.record_at(key, to).await? {
        Then::AsNow => return Ok(Plan::Nothing),
        Then::Was {
            deleted: false,
            source,
            ..
        } => source,
        Then::Absent | Then::Was { .. } => {
            let newer = live.cloned();
            return Ok(newer.map_or(Plan::Nothing, |newer| Plan::Newer(Box::new(newer))));
        }
    };
    let members = match members(key, source) {
        Ok(members) => members,
        Err(why) => {
            let why = format!("it cannot be read as it was then: {why}");
            return Ok(Plan::Failed(Told {
                error: Some(why),
                ..Told::of(key)
            }));
        }
    };
    let is_as_then = live.is_some_and(|live| {
        record::unstamped(&live.record).is_ok_and(|now| is_same(&now, &members))
    });
    if is_as_then {
        return Ok(Plan::Nothing);
    }
    let own = &node.config.node.cluster_id;
    let owner = now.as_ref().and_then(|now| now.record.status.as_ref());
    let owner = owner.map(|status| status.master.clone());
    Ok(Plan::Back(Box::new(Back {
        key: key.clone(),
        undeletes: live.is_none(),
        now,
        members,
        owner: owner.filter(|owner| owner != own),
    })))
}

fn members(key: &RecordKey, source: String) -> Result<Map<String, Value>, String> {
    let raw = RawValue::from_string(source).map_err(|error| error.to_string())?;
    let was = record::record(key.module.as_str(), &key.id, &raw).map_err(|bad| bad.to_string())?;
    record::unstamped(&was).map_err(|bad| bad.to_string())
}
