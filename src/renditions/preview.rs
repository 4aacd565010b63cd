//! Where an asset of ours stands with its renditions: `previewstatus` in its record (media spec 6.2).

use serde_json::{Map, Value};

use crate::model::{NodeId, Record, RecordStatus, Timestamp};
use crate::protocol::record::{self, BadRecord};

/// The member that says it.
pub const MEMBER: &str = "previewstatus";

/// `previewstatus` of an asset, as media spec 6.2 spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preview {
    /// Renditions are still to be made: the durable mark that the next import goes by.
    Waiting,
    /// They are there.
    Rendered,
    /// None can be made of the original.
    Unrenderable,
    /// No preset applies.
    Icon,
}

impl Preview {
    /// As it stands in a record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "0",
            Self::Rendered => "2",
            Self::Unrenderable => "3",
            Self::Icon => "mime",
        }
    }
}

/// The record of an asset of ours in another state, saved by this node; `None` when it says so already, or when it is another
/// node's to say.
///
/// # Errors
/// [`BadRecord`] when the record's JSON is not an object.
pub fn restated(
    before: &Record,
    state: Preview,
    own: &NodeId,
    now: Timestamp,
) -> Result<Option<Record>, BadRecord> {
    let Some(status) = before
        .status
        .as_ref()
        .filter(|status| status.master == *own)
    else {
        return Ok(None);
    };
    let mut members: Map<String, Value> = record::members(before)?;
    let says = Value::from(state.as_str());
    if members.get(MEMBER) == Some(&says) {
        return Ok(None);
    }
    members.insert(MEMBER.to_owned(), says);
    let status = RecordStatus::saved_by_master(own, Some(status), now, false);
    Ok(Some(record::stamped(members, &before.key, &status)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordKey;

    #[test]
    fn only_our_own_record_is_restated_and_only_when_it_says_otherwise() {
        let (own, other) = (NodeId::new("own").unwrap(), NodeId::new("other").unwrap());
        let key = RecordKey::new("asset", "a").unwrap();
        let now = Timestamp::from_millis(1_000);
        let of = |master: &NodeId, state: &str| {
            let status = RecordStatus::saved_by_master(master, None, now, false);
            let mut members = Map::new();
            members.insert(MEMBER.to_owned(), Value::from(state));
            members.insert("name".to_owned(), Value::from("kept"));
            record::stamped(members, &key, &status)
        };
        let later = Timestamp::from_millis(2_000);
        let again = |record: &Record| restated(record, Preview::Rendered, &own, later).unwrap();
        assert_eq!(again(&of(&other, "0")), None);
        assert_eq!(again(&of(&own, "2")), None);
        let changed = again(&of(&own, "0")).unwrap();
        assert!(changed.source.contains(r#""previewstatus":"2""#));
        assert!(changed.source.contains(r#""name":"kept""#));
        assert_eq!(changed.status.unwrap().modified, later);
    }
}
