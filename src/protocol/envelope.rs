//! What every reply has around its content: status, counts, and the ways EMDB says no.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::changes::Status;
use super::{Error, lenient};

/// Top members in any order (H-39), each left as text until its type matters.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    reponse: Option<&'a RawValue>,
    errorcode: Option<Value>,
    #[serde(borrow)]
    results: Option<&'a RawValue>,
    #[serde(borrow)]
    generated: Option<&'a RawValue>,
}

/// `response`, as leniently as it can be read.
#[derive(Deserialize, Default)]
pub(super) struct Head {
    pub(super) status: Option<String>,
    details: Option<Value>,
    #[serde(default, deserialize_with = "lenient::u64")]
    pub(super) totalhits: Option<u64>,
    #[serde(default, deserialize_with = "lenient::u64")]
    pub(super) hitsperpage: Option<u64>,
    #[serde(default, deserialize_with = "lenient::u64")]
    pub(super) page: Option<u64>,
    #[serde(default, deserialize_with = "lenient::u64")]
    pub(super) pages: Option<u64>,
    pub(super) hitssessionid: Option<String>,
    pub(super) catalogid: Option<String>,
    pub(super) sincedate: Option<Value>,
    pub(super) emsync: Option<Value>,
}

/// A reply that said `ok` or `empty`.
pub(super) struct Opened<'a> {
    pub(super) status: Status,
    pub(super) head: Head,
    /// Entries of `results`; none for `empty`.
    pub(super) results: Vec<&'a RawValue>,
    /// Entries of `generated`; none where the member is absent.
    pub(super) generated: Vec<&'a RawValue>,
}

impl Opened<'_> {
    /// A count without which an `ok` page proves nothing; `fallback` where the page says it is empty.
    pub(super) fn count(
        &self,
        body: &[u8],
        name: &str,
        value: Option<u64>,
        fallback: u64,
    ) -> Result<u64, Error> {
        match (value, self.status) {
            (Some(value), _) => Ok(value),
            (None, Status::Empty) => Ok(fallback),
            (None, Status::Ok) => Err(Error::malformed(body, format!("no response.{name}"))),
        }
    }

    /// The catalog, without which no path of an `ok` page can be read.
    pub(super) fn catalog(&self, body: &[u8]) -> Result<String, Error> {
        match (&self.head.catalogid, self.status) {
            (Some(catalog), _) => Ok(catalog.clone()),
            (None, Status::Empty) => Ok(String::new()),
            (None, Status::Ok) => Err(Error::malformed(body, "no response.catalogid")),
        }
    }
}

/// Opens a reply.
pub(super) fn open(body: &[u8]) -> Result<Opened<'_>, Error> {
    let text = std::str::from_utf8(body).map_err(|error| Error::malformed(body, error))?;
    let envelope: Envelope<'_> =
        serde_json::from_str(text).map_err(|error| Error::malformed(body, error))?;
    let (head, misspelled) = match (envelope.response, envelope.reponse) {
        (Some(head), _) => (head, false),
        (None, Some(head)) => (head, true),
        (None, None) => return Err(Error::malformed(body, "no response member")),
    };
    let head: Head =
        serde_json::from_str(head.get()).map_err(|error| Error::malformed(body, error))?;
    let status = match head.status.as_deref() {
        Some("ok") if !misspelled => Status::Ok,
        Some("empty") if !misspelled => Status::Empty,
        Some(_) => return Err(refusal(&head, envelope.errorcode.as_ref())),
        None => return Err(Error::malformed(body, "no response.status")),
    };
    if envelope.results.is_none() && status == Status::Ok {
        return Err(Error::malformed(body, "no results member"));
    }
    Ok(Opened {
        status,
        head,
        results: list(body, "results", envelope.results)?,
        generated: list(body, "generated", envelope.generated)?,
    })
}

fn list<'a>(
    body: &[u8],
    name: &str,
    member: Option<&'a RawValue>,
) -> Result<Vec<&'a RawValue>, Error> {
    let Some(list) = member else {
        return Ok(Vec::new());
    };
    serde_json::from_str(list.get())
        .map_err(|error| Error::malformed(body, format!("{name}: {error}")))
}

fn refusal(head: &Head, code: Option<&Value>) -> Error {
    let details = match &head.details {
        Some(Value::String(text)) => text.chars().take(1_000).collect(),
        _ => String::new(),
    };
    if code.and_then(lenient::to_i64) == Some(403) {
        return Error::Refused { details };
    }
    Error::Status {
        status: head.status.clone().unwrap_or_default(),
        details,
    }
}
