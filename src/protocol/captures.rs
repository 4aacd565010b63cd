//! Real exchanges of a stock EnterMediaDB, for tests (`assets-fixtures/feed/README.md`).

use std::path::Path;

use serde_json::Value;

/// The whole exchange.
pub(super) fn exchange(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets-fixtures/feed/{name}.txt"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn reply(name: &str) -> (String, String) {
    let exchange = exchange(name);
    let (_, reply) = exchange.split_once("\nHTTP/1.1 ").unwrap();
    let (head, body) = reply.split_once("\n\n").unwrap_or((reply, ""));
    (head.to_owned(), body.trim().to_owned())
}

/// The path in the request line.
pub(super) fn request_path(name: &str) -> String {
    exchange(name).split(' ').nth(1).unwrap().to_owned()
}

/// The body of the request.
pub(crate) fn request_body(name: &str) -> String {
    let exchange = exchange(name);
    let (request, _) = exchange.split_once("\nHTTP/1.1 ").unwrap();
    let (_, body) = request.split_once("\n\n").unwrap();
    body.trim().to_owned()
}

/// The body of the reply.
pub(crate) fn body(name: &str) -> String {
    reply(name).1
}

/// Every value of one header of the reply.
pub(super) fn header(name: &str, header: &str) -> Vec<String> {
    let (head, _) = reply(name);
    let values = head.lines().filter_map(|line| line.split_once(": "));
    values
        .filter(|(found, _)| found.eq_ignore_ascii_case(header))
        .map(|(_, value)| value.to_owned())
        .collect()
}

/// Asserts that `ours` has every member of `theirs` with the same JSON type, and none that EMDB would not expect.
#[track_caller]
pub(crate) fn assert_same_types(ours: &Value, theirs: &Value, at: &str) {
    const OURS_ALONE: [&str; 4] = ["sha256", "md5", "originals", "emsync"];
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (name, theirs) in theirs {
                let at = format!("{at}.{name}");
                let ours = ours.get(name).unwrap_or_else(|| panic!("{at} is missing"));
                // A record's own members differ from record to record; its text is passed on untouched.
                if at != ".results.source" {
                    assert_same_types(ours, theirs, &at);
                }
            }
            for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
                assert!(
                    OURS_ALONE.contains(&name.as_str()),
                    "{at}.{name} is not in the capture"
                );
            }
        }
        (Value::Array(ours), Value::Array(theirs)) => {
            if let (Some(ours), Some(theirs)) = (ours.first(), theirs.first()) {
                assert_same_types(ours, theirs, at);
            }
        }
        (Value::Number(ours), Value::Number(theirs)) => {
            assert_eq!(
                ours.is_i64(),
                theirs.is_i64(),
                "{at}: {ours} against {theirs}"
            );
        }
        (ours, theirs) => assert_eq!(
            std::mem::discriminant(ours),
            std::mem::discriminant(theirs),
            "{at}: {ours} against {theirs}"
        ),
    }
}
