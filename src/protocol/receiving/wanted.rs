//! The files that a receiver wants of what it was offered: EMDB's two spellings (wire spec 3.4, 3.5), read and written.
//!
//! A receiver can name any file it likes; whoever reads a reply sends nothing but what was offered (H-18).

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::model::{AssetId, CatalogId, FileKind, MediaPath};
use crate::protocol::Error;
use crate::protocol::wire_path::{self, BadPath};

/// What a receiver answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The receiver's catalog, where it states one.
    pub catalog: String,
    /// The files it wants.
    pub files: Vec<WantedFile>,
}

/// One file that a receiver wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Its path as stated: in the receiver's catalog for generated files, in the sender's for originals.
    pub stated: String,
    /// Which file that is.
    pub file: Result<(FileKind, MediaPath), BadPath>,
    /// All members that are text, in order. EMDB sends them back as parts of the form that brings the file (wire spec 3.6), and so
    /// does whoever wants to be understood by all.
    pub members: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct GeneratedIn<'a> {
    catalogid: Option<String>,
    #[serde(borrow)]
    fileuploads: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    reponse: Option<&'a RawValue>,
}

/// Reads what is wanted of a page of changes (3.4).
///
/// # Errors
/// [`Error`] when the reply as a whole cannot be used.
pub fn parse_generated(body: &[u8]) -> Result<Wanted, Error> {
    let reply: GeneratedIn<'_> =
        serde_json::from_slice(body).map_err(|error| Error::malformed(body, error))?;
    if let Some(failure) = reply.reponse {
        return Err(Error::Status {
            status: "error".to_owned(),
            details: failure.get().chars().take(1_000).collect(),
        });
    }
    let wished = reply.fileuploads.unwrap_or_default();
    let catalog = match (reply.catalogid, wished.is_empty()) {
        (Some(catalog), _) => catalog,
        (None, true) => String::new(),
        (None, false) => return Err(Error::malformed(body, "no catalogid")),
    };
    let files = wished
        .into_iter()
        .map(|entry| file(entry, "localpath", &catalog));
    Ok(Wanted {
        files: files.collect(),
        catalog,
    })
}

#[derive(Deserialize)]
struct OriginalsIn<'a> {
    response: StatusIn,
    #[serde(borrow)]
    results: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct StatusIn {
    status: Option<String>,
    catalogid: Option<String>,
}

/// Reads what is wanted of an offer of originals (3.5). EMDB forgets a comma in front of `results` (H-14). Its paths are the sender's,
/// in whose catalog `own` they lie.
///
/// # Errors
/// [`Error::Status`] when the receiver says `error`, [`Error::Malformed`] when the reply cannot be used.
pub fn parse_originals(body: &[u8], own: &CatalogId) -> Result<Wanted, Error> {
    let text = std::str::from_utf8(body).map_err(|error| Error::malformed(body, error))?;
    let mended;
    let reply: OriginalsIn<'_> = match serde_json::from_str(text) {
        Ok(reply) => reply,
        Err(error) => {
            mended = with_comma(text).ok_or_else(|| Error::malformed(body, error))?;
            serde_json::from_str(&mended).map_err(|error| Error::malformed(body, error))?
        }
    };
    match reply.response.status.as_deref() {
        Some("ok" | "empty") => {}
        Some(status) => {
            return Err(Error::Status {
                status: status.to_owned(),
                details: String::new(),
            });
        }
        None => return Err(Error::malformed(body, "no response.status")),
    }
    let wished = reply.results.unwrap_or_default();
    let files = wished
        .into_iter()
        .map(|entry| file(entry, "path", own.as_str()));
    Ok(Wanted {
        files: files.collect(),
        catalog: reply.response.catalogid.unwrap_or_default(),
    })
}

/// The text with the comma that EMDB forgets: between the end of `response` and `"results"`.
fn with_comma(text: &str) -> Option<String> {
    let (head, tail) = text.split_once("\"results\"")?;
    let head = head.trim_end();
    head.ends_with('}')
        .then(|| format!("{head},\"results\"{tail}"))
}

fn file(entry: &RawValue, path: &str, catalog: &str) -> WantedFile {
    let members: Map<String, Value> = serde_json::from_str(entry.get()).unwrap_or_default();
    let stated = members
        .get(path)
        .and_then(Value::as_str)
        .unwrap_or_default();
    WantedFile {
        file: wire_path::from_wire(stated, catalog),
        stated: stated.to_owned(),
        members: (members.iter())
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
    }
}

/// A file to be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// Which tree.
    pub kind: FileKind,
    /// Its path.
    pub path: &'a MediaPath,
    /// The asset that it is wanted for. It comes back with the file, and tells two files of one name apart.
    pub asset: &'a AssetId,
}

/// Writes what is wanted of a page of changes; the paths lie in our own `catalog`. EMDB tells the date of the file that it has in
/// `lastmodified`, which its own sender does not look at; we say that we have none.
#[must_use]
pub fn encode_generated(catalog: &CatalogId, files: &[Given<'_>]) -> Vec<u8> {
    let files: Vec<Value> = (files.iter())
        .map(|file| {
            json!({
                "filename": file.path.name(),
                "localpath": wire_path::to_wire(catalog, file.kind, file.path),
                "lastmodified": 0,
                "asset": file.asset,
            })
        })
        .collect();
    json!({ "catalogid": catalog.as_str(), "fileuploads": files })
        .to_string()
        .into_bytes()
}

/// Writes what is wanted of an offer of originals; `theirs` is the sender's catalog, as it states it, which its paths are told in.
#[must_use]
pub fn encode_originals(catalog: &CatalogId, theirs: &str, files: &[Given<'_>]) -> Vec<u8> {
    if files.is_empty() {
        return NOTHING_WANTED.into();
    }
    let results: Vec<Value> = (files.iter())
        .map(|file| {
            let path = wire_path::in_catalog(theirs, file.kind, file.path);
            json!({ "path": path, "asset": file.asset })
        })
        .collect();
    let response = json!({
        "status": "ok",
        "totalhits": results.len(),
        "catalogid": catalog.as_str(),
        "query": { "friendly": "", "terms": [] },
    });
    json!({ "response": response, "results": results })
        .to_string()
        .into_bytes()
}

/// The whole reply to an offer of which nothing is wanted.
pub const NOTHING_WANTED: &str = r#"{"response":{"status":"empty"}}"#;
/// The whole reply to an offer that cannot be taken now: EMDB's sender then keeps its watermark (wire spec 8.2, 3).
pub const OFFER_REFUSED: &str = r#"{"response":{"status":"error"}}"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::captures::{assert_same_types, body};

    fn own() -> CatalogId {
        CatalogId::new("finder/catalog").unwrap()
    }

    fn path(text: &str) -> MediaPath {
        MediaPath::new(text).unwrap()
    }

    #[test]
    fn emdbs_wishes_for_generated_files_are_read_and_ours_have_its_types() {
        let theirs = body("s070-push-uploadchanges-new-asset");
        let wanted = parse_generated(theirs.as_bytes()).unwrap();
        let file = path("Pushed/Harbor/harbour2.jpg/image200x200.webp");
        assert_eq!(wanted.catalog, "finder/catalog");
        assert_eq!(wanted.files.len(), 1);
        assert_eq!(
            wanted.files[0].file,
            Ok((FileKind::Generated, file.clone()))
        );
        let names: Vec<_> = wanted.files[0]
            .members
            .iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["filename", "localpath"]);

        let asset = AssetId::new("PUSH0001").unwrap();
        let given = Given {
            kind: FileKind::Generated,
            path: &file,
            asset: &asset,
        };
        let ours = encode_generated(&own(), &[given]);
        let read = parse_generated(&ours).unwrap();
        assert_eq!(read.files[0].file, wanted.files[0].file);
        assert!(
            read.files[0]
                .members
                .contains(&("asset".to_owned(), "PUSH0001".to_owned()))
        );
        let mut ours: Value = serde_json::from_slice(&ours).unwrap();
        (ours["fileuploads"][0].as_object_mut().unwrap()).remove("asset");
        assert_same_types(&ours, &serde_json::from_str(&theirs).unwrap(), "");
    }

    #[test]
    fn emdbs_reply_without_its_comma_is_read_and_ours_has_one() {
        let wanted =
            parse_originals(body("s080-push-originals-offer-new").as_bytes(), &own()).unwrap();
        let file = path("Pushed/Harbor/harbour2.jpg");
        assert_eq!(wanted.files[0].file, Ok((FileKind::Original, file.clone())));
        let asset = AssetId::new("a").unwrap();
        let given = Given {
            kind: FileKind::Original,
            path: &file,
            asset: &asset,
        };
        let text = encode_originals(&own(), "other/catalog", &[given]);
        assert!(serde_json::from_slice::<Value>(&text).is_ok());
        let theirs = CatalogId::new("other/catalog").unwrap();
        let read = parse_originals(&text, &theirs).unwrap();
        assert_eq!(
            read.files[0].stated,
            "/WEB-INF/data/other/catalog/originals/Pushed/Harbor/harbour2.jpg"
        );
        assert_eq!(read.files[0].file, wanted.files[0].file);
    }

    #[test]
    fn nothing_and_no_are_told_apart() {
        for nothing in [
            NOTHING_WANTED.to_owned(),
            body("s083-push-originals-offer-again-parent-dir"),
        ] {
            assert_eq!(
                parse_originals(nothing.as_bytes(), &own()).unwrap().files,
                []
            );
        }
        for no in [
            OFFER_REFUSED.to_owned(),
            body("s082-push-originals-offer-again-parent-is-file"),
        ] {
            let error = parse_originals(no.as_bytes(), &own()).unwrap_err();
            assert!(matches!(error, Error::Status { .. }), "{error}");
        }
        for bad in [
            "",
            "{}",
            "<html>",
            r#"{"response":{}}"#,
            r#"{"response":{"status":"ok"},"results":7}"#,
        ] {
            assert!(parse_originals(bad.as_bytes(), &own()).is_err(), "{bad}");
        }
        assert_eq!(parse_generated(b"{}").unwrap().files, []);
        for bad in [
            "",
            "<html>",
            r#"{"fileuploads":[{}]}"#,
            r#"{"reponse":{"status":"error"}}"#,
        ] {
            assert!(parse_generated(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_outside_the_media_is_told_as_such() {
        let body = r#"{"catalogid":"finder/catalog","fileuploads":[{"localpath":"/etc/passwd"},
            {"localpath":"/WEB-INF/data/finder/catalog/generated/../x"},{"localpath":7},{}]}"#;
        let wanted = parse_generated(body.as_bytes()).unwrap();
        assert_eq!(wanted.files.len(), 4);
        assert!(wanted.files.iter().all(|file| file.file.is_err()));
        assert_eq!(wanted.files[0].stated, "/etc/passwd");
    }
}
