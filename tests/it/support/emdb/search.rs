//! Looking through a table (wire spec 3.11). Captures named in comments are the exchanges it imitates.

use serde_json::{Value, json};

use super::super::fault::Reply;
use super::replies::{envelope, json_reply};
use super::{Doc, Logged, Shared};

/// EMDB's own when the request does not say.
const PER_PAGE: usize = 36;

impl Shared {
    /// `module/<table>/search` and `lists/search/<table>`: live records only, all of them or those of the ids that are named.
    pub(super) fn search(&self, service: &str, request: &Logged) -> Reply {
        let table = match service.strip_prefix("lists/search/") {
            Some(table) => table,
            None => match service
                .strip_prefix("module/")
                .and_then(|rest| rest.strip_suffix("/search"))
            {
                Some(table) => table,
                None => return super::replies::missing(service),
            },
        };
        let asked: Value = serde_json::from_str(&request.body).unwrap_or(json!({}));
        // s122, s123: an empty list of terms, and numbers that are no text.
        let (Ok(page), Ok(size)) = (
            number(&asked["page"], 1),
            number(&asked["hitsperpage"], PER_PAGE),
        ) else {
            return envelope(
                service,
                "class java.lang.Long cannot be cast to class java.lang.String",
            );
        };
        let terms = asked["query"]["terms"].as_array();
        if terms.is_some_and(Vec::is_empty) {
            return envelope(service, "no terms");
        }
        let content = self.content.lock().unwrap();
        let found: Vec<&Doc> = (content.docs.iter())
            .filter(|doc| {
                doc.module == table && doc.source["emrecordstatus"]["recorddeleted"] != json!(true)
            })
            .filter(|doc| terms.is_none_or(|terms| terms.iter().all(|term| names(term, &doc.id))))
            .collect();
        let rows = found.iter().skip((page - 1) * size).take(size);
        let rows: Vec<Value> = rows
            .map(|doc| json!({ "id": doc.id, "name": doc.id }))
            .collect();
        let response = json!({
            "status": "ok", "totalhits": found.len(), "searchtype": table, "hitsperpage": size, "page": page,
            "pages": found.len().div_ceil(size), "hitsessionid": format!("hits{table}finder/catalog"),
        });
        json_reply(&format!(
            "{{\n\t\"response\":\n\t\t{response},\n\t\"results\":{}\n}}",
            Value::Array(rows)
        ))
    }
}

/// Both members must be text (s123).
fn number(value: &Value, absent: usize) -> Result<usize, ()> {
    match value {
        Value::Null => Ok(absent),
        Value::String(text) => text
            .parse()
            .map_err(drop)
            .map(|number: usize| number.max(1)),
        _ => Err(()),
    }
}

fn names(term: &Value, id: &str) -> bool {
    let is = |value: &Value| value == "*" || value == id;
    let listed = term["values"]
        .as_array()
        .is_some_and(|values| values.iter().any(is));
    // One value may name several ids, as in EMDB's own search pages.
    let one_of = term["value"]
        .as_str()
        .is_some_and(|value| value.split('|').any(|value| value == "*" || value == id));
    term["field"] == "id" && (one_of || listed)
}
