//! Looking through a table: how many records it has, and a page of them (`module/<table>/search.json`,
//! `lists/search/<table>.json`; wire spec 3.11). Here the cursor is spelled `hitsessionid`.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Error, lenient};
use crate::model::{Module, Record};

/// Records a page has when the request does not say; EMDB's own.
const PER_PAGE: u64 = 36;
/// Most records a page can have.
const MOST: u64 = 200;
/// The name of the one listing there is; nothing is kept for it.
const SESSION: &str = "search";

/// What is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchRequest {
    /// The page, from 1.
    pub page: u64,
    /// Records per page, 1 to 200.
    pub per_page: u64,
    /// The id of one record, or `None` for all.
    pub id: Option<String>,
}

#[derive(Deserialize)]
struct RequestIn {
    #[serde(default, deserialize_with = "lenient::u64")]
    page: Option<u64>,
    #[serde(default, deserialize_with = "lenient::u64")]
    hitsperpage: Option<u64>,
    query: Option<QueryIn>,
}

#[derive(Deserialize)]
struct QueryIn {
    terms: Vec<Term>,
}

#[derive(Deserialize)]
struct Term {
    field: String,
    operation: Option<String>,
    value: String,
}

impl SearchRequest {
    /// From a JSON body; anything else, a form for example, asks for the first page of everything, as with EMDB.
    ///
    /// # Errors
    /// [`Error::Malformed`] for JSON of another shape, [`Error::Form`] for a search we do not know: another field than `id`, or no
    /// term at all.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let all = Self {
            page: 1,
            per_page: PER_PAGE,
            id: None,
        };
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Ok(all);
        }
        let request: RequestIn =
            serde_json::from_slice(body).map_err(|error| Error::malformed(body, error))?;
        Ok(Self {
            page: request.page.unwrap_or(1).max(1),
            per_page: request.hitsperpage.unwrap_or(PER_PAGE).clamp(1, MOST),
            id: match request.query {
                None => None,
                Some(query) => wanted(query.terms)?,
            },
        })
    }

    /// Records before this page.
    #[must_use]
    pub fn skip(&self) -> u64 {
        (self.page - 1).saturating_mul(self.per_page)
    }
}

fn wanted(terms: Vec<Term>) -> Result<Option<String>, Error> {
    let wrong = |reason| Error::Form {
        field: "query.terms",
        reason,
    };
    let [term] = <[Term; 1]>::try_from(terms).map_err(|_| wrong("must be one term"))?;
    let plain = matches!(term.operation.as_deref(), None | Some("matches" | "exact"));
    if term.field != "id" || !plain {
        return Err(wrong("can only match an id or *"));
    }
    Ok(Some(term.value).filter(|value| value != "*"))
}

#[derive(Serialize)]
struct ReplyOut<'a> {
    response: HeadOut<'a>,
    results: Vec<Map<String, Value>>,
}

#[derive(Serialize)]
struct HeadOut<'a> {
    status: &'static str,
    totalhits: u64,
    searchtype: &'a str,
    hitsperpage: u64,
    page: u64,
    pages: u64,
    hitsessionid: &'static str,
    query: Value,
}

/// Writes a page of `records` out of `total`. A record's members stand beside its id, as they are.
#[must_use]
pub fn encode(module: &Module, asked: &SearchRequest, total: u64, records: &[&Record]) -> Vec<u8> {
    let value = asked.id.as_deref().unwrap_or("*");
    let terms = serde_json::json!([{ "field": "id", "operation": "matches", "value": value }]);
    let reply = ReplyOut {
        response: HeadOut {
            status: "ok",
            totalhits: total,
            searchtype: module.as_str(),
            hitsperpage: asked.per_page,
            page: asked.page,
            pages: total.div_ceil(asked.per_page),
            hitsessionid: SESSION,
            query: serde_json::json!({ "friendly": "", "terms": terms }),
        },
        results: records.iter().map(|record| members(record)).collect(),
    };
    serde_json::to_vec(&reply).expect("the shape has text keys")
}

fn members(record: &Record) -> Map<String, Value> {
    let mut members: Map<String, Value> = serde_json::from_str(&record.source).unwrap_or_default();
    members.insert("id".to_owned(), Value::String(record.key.id.clone()));
    members
}

/// Asks for the record of an id. Page and page size are texts, or EMDB fails (wire spec 3.11).
#[must_use]
pub fn encode_request(id: &str) -> Vec<u8> {
    let terms = serde_json::json!([{ "field": "id", "operation": "matches", "value": id }]);
    let body = serde_json::json!({ "page": "1", "hitsperpage": "20", "query": { "terms": terms } });
    body.to_string().into_bytes()
}

/// The ids of a page of results.
///
/// # Errors
/// [`Error::Malformed`] unless it is a reply with status `ok` and results.
pub fn ids(body: &[u8]) -> Result<Vec<String>, Error> {
    #[derive(Deserialize)]
    struct ReplyIn {
        response: StatusIn,
        results: Vec<Map<String, Value>>,
    }
    #[derive(Deserialize)]
    struct StatusIn {
        status: String,
    }
    let reply: ReplyIn =
        serde_json::from_slice(body).map_err(|error| Error::malformed(body, error))?;
    if !matches!(reply.response.status.as_str(), "ok" | "empty") {
        return Err(Error::Status {
            status: reply.response.status,
            details: String::new(),
        });
    }
    let id = |result: &Map<String, Value>| Some(result.get("id")?.as_str()?.to_owned());
    Ok(reply.results.iter().filter_map(id).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{RecordKey, Sha256};

    fn parse(body: Value) -> Result<SearchRequest, Error> {
        SearchRequest::parse(body.to_string().as_bytes())
    }

    fn terms(field: &str, value: &str) -> Value {
        json!([{ "field": field, "operation": "matches", "value": value }])
    }

    #[test]
    fn the_request_of_the_specification_is_read() {
        let body =
            json!({ "page": "2", "hitsperpage": "100", "query": { "terms": terms("id", "*") } });
        let asked = parse(body).unwrap();
        assert_eq!((asked.page, asked.per_page, asked.skip()), (2, 100, 100));
        assert_eq!(asked.id, None);
        let one = parse(json!({ "query": { "terms": terms("id", "a1") } })).unwrap();
        assert_eq!(
            (one.page, one.per_page, one.id.as_deref()),
            (1, 36, Some("a1"))
        );
        let plain = SearchRequest::parse(b"lastpullago=1").unwrap();
        assert_eq!((plain.page, plain.per_page, plain.id), (1, 36, None));
    }

    #[test]
    fn pages_are_bounded_and_other_searches_are_refused() {
        let far = parse(json!({ "page": "0", "hitsperpage": 100_000 })).unwrap();
        assert_eq!((far.page, far.per_page), (1, 200));
        let last = parse(json!({ "page": u64::MAX })).unwrap();
        assert_eq!(last.skip(), u64::MAX);
        for bad in [
            json!({ "query": { "terms": [] } }),
            json!({ "query": { "terms": terms("name", "x") } }),
            json!({ "page": "x" }),
            json!({ "query": 7 }),
        ] {
            assert!(parse(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_are_read_from_ours_and_from_emdbs() {
        let theirs = crate::protocol::captures::body("s120-module-asset-search");
        assert_eq!(
            ids(theirs.as_bytes()).unwrap(),
            ["AaIGwi1GsFKjGeUZNrZe", "AaIGxA6EsFKjGeUZNrZ3"]
        );
        let asked = SearchRequest::parse(&encode_request("a1")).unwrap();
        assert_eq!((asked.page, asked.id.as_deref()), (1, Some("a1")));
        assert_eq!(
            ids(&encode(&Module::asset(), &asked, 0, &[])).unwrap(),
            Vec::<String>::new()
        );
        assert!(ids(br#"{"response":{"status":"error"},"results":[]}"#).is_err());
        assert!(ids(br#"{"response":{"status":"ok"}}"#).is_err());
    }

    #[test]
    fn a_page_has_the_shape_of_the_specification() {
        let record = Record {
            key: RecordKey::new("asset", "a1").unwrap(),
            source: r#"{"name":"x","id":"other"}"#.to_owned(),
            status: None,
            content: Sha256::of(b"x"),
        };
        let asked = SearchRequest {
            page: 1,
            per_page: 36,
            id: None,
        };
        let body = encode(&Module::asset(), &asked, 37, &[&record]);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["results"], json!([{ "id": "a1", "name": "x" }]));
        let head = &body["response"];
        assert_eq!(head["totalhits"], 37);
        assert_eq!(head["pages"], 2);
        assert_eq!(head["searchtype"], "asset");
        assert!(head["hitsessionid"].is_string() && head["query"]["terms"].is_array());
    }
}
