//! The small replies around the listings (wire spec 2.3, 2.5, 2.6, 3.11).

use serde_json::json;

/// How many live assets there are (`system/systemstatus.json`); EMDB leaves the number out when it is 0.
#[must_use]
pub fn system_status(assets: u64) -> Vec<u8> {
    let mut response = json!({ "status": "ok" });
    if assets > 0 {
        response["assetscount"] = assets.into();
    }
    json!({ "response": response }).to_string().into_bytes()
}

/// The count of a `system/systemstatus.json`: 0 where an `ok` leaves it out, `None` for anything else.
#[must_use]
pub fn assets_of(body: &[u8]) -> Option<u64> {
    let reply: serde_json::Value = serde_json::from_slice(body).ok()?;
    let response = reply.get("response")?;
    if response.get("status")?.as_str()? != "ok" {
        return None;
    }
    match response.get("assetscount") {
        None => Some(0),
        Some(count) => count
            .as_u64()
            .or_else(|| count.as_str()?.trim().parse().ok()),
    }
}

/// No user of this name and password (`authentication/getkey.json`): EMDB says so inside of a reply that is `ok`.
#[must_use]
pub fn invalid_login() -> Vec<u8> {
    let reply = json!({ "response": { "status": "ok" }, "results": { "status": "invalidlogin" } });
    reply.to_string().into_bytes()
}

/// The body of a 500, with EMDB's misspelled member and, unlike EMDB's, always valid JSON. `path` is what was asked for.
#[must_use]
pub fn failure(path: &str, details: &str) -> Vec<u8> {
    let inside = json!({ "status": "error", "path": path, "details": details });
    json!({ "reponse": inside }).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::protocol::captures::{assert_same_types, body};

    #[test]
    fn a_failure_has_the_shape_of_emdbs() {
        let ours: Value = serde_json::from_slice(&failure("/a\"b", "x")).unwrap();
        let theirs: Value = serde_json::from_str(&body("s008-list-no-lastpullago")).unwrap();
        assert_same_types(&ours, &theirs, "");
    }

    #[test]
    fn the_number_of_assets_is_left_out_when_there_are_none() {
        assert_eq!(system_status(0), br#"{"response":{"status":"ok"}}"#);
        let some: Value = serde_json::from_slice(&system_status(7)).unwrap();
        assert_eq!(some["response"]["assetscount"], 7);
    }

    #[test]
    fn the_count_of_assets_is_read_from_ours_and_from_emdbs() {
        assert_eq!(assets_of(&system_status(0)), Some(0));
        assert_eq!(assets_of(&system_status(7)), Some(7));
        assert_eq!(assets_of(body("s003-systemstatus").as_bytes()), Some(0));
        assert_eq!(assets_of(body("s124-systemstatus").as_bytes()), Some(28));
        assert_eq!(assets_of(&failure("/", "x")), None);
        assert_eq!(assets_of(br#"{"response":{"status":"error"}}"#), None);
        assert_eq!(assets_of(b"<html>"), None);
    }
}
