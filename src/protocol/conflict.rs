//! A conflict as a row of EMDB's table `remotesaveconflictLog` (wire spec 6), but with valid JSON on both sides.

use serde_json::{Value, json};

use super::record::STATUS;
use crate::model::{RecordKey, Timestamp};

/// The table.
pub const TABLE: &str = "remotesaveconflictLog";

/// The row of a conflict that was found at `at`, of its two sides as they were.
#[must_use]
pub fn row(key: &RecordKey, at: Timestamp, local: &str, remote: &str) -> Value {
    let status = |source: &str| {
        let mut side: Value = serde_json::from_str(source).unwrap_or_default();
        side.get_mut(STATUS).map(Value::take).unwrap_or_default()
    };
    let (ours, theirs) = (status(local), status(remote));
    json!({
        "searchtype": key.module.as_str(),
        "pulltime": at.to_string(),
        "dataid": key.id,
        "masternodeid": theirs.get("mastereditclusterid"),
        "remoterecordstatus": theirs.to_string(),
        "remotesource": remote,
        "localrecordstatus": ours.to_string(),
        "localsource": local,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_of_a_row_is_json_of_its_own() {
        let status = r#"{"recorddeleted":false,"mastereditclusterid":"a"}"#;
        let remote = format!(r#"{{"id":"x","name":"\"q\"","{STATUS}":{status}}}"#);
        let key = RecordKey::new("asset", "x").unwrap();
        let row = row(
            &key,
            Timestamp::from_millis(1_772_358_067_512),
            r#"{"id":"x"}"#,
            &remote,
        );
        assert_eq!(
            (&row["searchtype"], &row["dataid"]),
            (&json!("asset"), &json!("x"))
        );
        assert_eq!(row["pulltime"], "2026-03-01T09:41:07.512Z");
        assert_eq!(
            (&row["masternodeid"], &row["localrecordstatus"]),
            (&json!("a"), &json!("null"))
        );
        let read =
            |name: &str| -> Value { serde_json::from_str(row[name].as_str().unwrap()).unwrap() };
        assert_eq!(
            read("remoterecordstatus"),
            serde_json::from_str::<Value>(status).unwrap()
        );
        assert_eq!(read("remotesource")["name"], "\"q\"");
        assert_eq!(read("localsource"), json!({"id": "x"}));
    }
}
