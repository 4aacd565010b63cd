//! What a pushing client sends to (wire spec 3.4 to 3.7). Captures named in comments are the exchanges it imitates.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use serde_json::{Value, json};

use super::super::fault::{Length, Reply};
use super::replies::{JSON, NO_ACCESS, header, json_reply, missing, redirect};
use super::rule::Crash;
use super::{CATALOG, Content, File, Logged, Part, Shared};

/// Whether the key may write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Write {
    /// It may.
    #[default]
    Allowed,
    /// Its role lacks `api-load-data`: 302 to the page that says so (wire spec 2.4).
    Redirected,
    /// Something before the server refuses: 403 without a body.
    Forbidden,
}

impl Write {
    pub(super) fn refusal(self, logged_in: bool) -> Option<Reply> {
        match self {
            Self::Forbidden => Some(Reply::plain(403, JSON, "")),
            Self::Redirected => Some(redirect(NO_ACCESS, JSON)),
            Self::Allowed => (!logged_in).then(|| redirect(NO_ACCESS, JSON)),
        }
    }
}

/// Where the web application keeps the data of its own catalog.
fn data() -> String {
    format!("/WEB-INF/data/{CATALOG}/")
}

impl Shared {
    pub(super) fn receive(&self, service: &str, request: &Logged) -> Reply {
        match service {
            "cluster/receive/uploadchanges" => match self.changes_pushed(request) {
                Ok(reply) => reply,
                Err(Crash::Rule(thrown)) => {
                    thrown_in(service, "SyncModule.receiveDataChanges", thrown)
                }
                Err(Crash::Index(details)) => error(&request.path, &details),
            },
            "cluster/receive/receiveoriginalschanges" => self.originals_offered(request),
            "module/asset/sync/uploadfile" => self.saved(service, request),
            "cluster/receive/uploadfile" => self.saved_in_catalog(service, request),
            _ => missing(service),
        }
    }

    /// 3.4: imports, then asks for the files whose length is another one here, but for empty ones.
    fn changes_pushed(&self, request: &Logged) -> Result<Reply, Crash> {
        let null = |what| Err(Crash::Rule(what));
        // s075, s076c.
        let Some(pushed) = json_of(request) else {
            return null(
                "java.lang.NullPointerException: Cannot invoke \"java.util.Map.get(Object)\" because \"inJsonRequest\" is null",
            );
        };
        if !pushed["response"].is_object() {
            return null(
                "java.lang.NullPointerException: Cannot invoke \"java.util.Map.get(Object)\" because \"response\" is null",
            );
        }
        let Some(rows) = pushed["results"].as_array() else {
            return null(
                "java.lang.NullPointerException: Cannot invoke \"java.util.Collection.size()\" because \"results\" is null",
            );
        };
        let now = self.now();
        let mut content = self.content.lock().unwrap();
        content.import_rows(rows, &self.own, now)?;
        // s073.
        let Some(assets) = pushed["generated"].as_array() else {
            return null(
                "java.lang.NullPointerException: Cannot invoke \"java.util.Collection.iterator()\" because \"generated\" is null",
            );
        };
        let mut wishes = Vec::new();
        for asset in assets {
            let below = asset["sourcepath"].as_str().unwrap_or("null");
            for file in asset["files"].as_array().into_iter().flatten() {
                // s077.
                let (Some(name), Some(size)) = (file["filename"].as_str(), file["size"].as_str())
                else {
                    return null(
                        "java.lang.ClassCastException: class java.lang.Long cannot be cast to class java.lang.String (java.lang.Long \
                         and java.lang.String are in module java.base of loader 'bootstrap')",
                    );
                };
                let Ok(size) = size.parse::<usize>() else {
                    return null("java.lang.NumberFormatException: For input string");
                };
                wishes.extend(wish(&content, &format!("{below}/{name}"), size));
            }
        }
        let catalog = json!(CATALOG);
        let text = format!(
            "{{\"catalogid\":{catalog},\"fileuploads\":[{}]}}",
            wishes.join(",")
        );
        Ok(json_reply(&text.replace('/', "\\/")))
    }

    /// 3.5: not JSON where files are wanted, and an error that answers 200.
    fn originals_offered(&self, request: &Logged) -> Reply {
        let content = self.content.lock().unwrap();
        let Some(wanted) = json_of(request).and_then(|offer| originals_wanted(&content, &offer))
        else {
            // s082, s087.
            return json_reply("{\n\t\"response\":\n\t\t{\n\t\t    \"status\":\"error\"\n\t\t}\n}");
        };
        if wanted.is_empty() {
            // s083.
            return json_reply("{\n\t\"response\":\n\t\t{\n\t\t    \"status\":\"empty\"\n\t\t}\n}");
        }
        let paths: Vec<String> = (wanted.iter())
            .map(|path| format!("\n\t\t{{ \n\t\t\t\"path\":{} \n\t\t}}", json!(path)))
            .collect();
        // s080: no comma before the results.
        json_reply(&format!(
            "{{\n\t\"response\":\n\t\t{{\n\t\t    \"status\":\"ok\"\n\t\t    ,\"totalhits\" : {},\n\t\t\t\"catalogid\" : \"{CATALOG}\",\n\t\t\t\
             \"query\":\n\t\t\t{{\n\t\t\t\t\"friendly\":\"\",\n\t\t\t\t\"terms\":[\n\t\t\t\t]\t\n\t\t\t}}\n\t\t}}\n\t  \"results\":[\n{}\n  \t]\n}}",
            wanted.len(),
            paths.join(",")
        ))
    }

    /// 3.6: where `savepath` says, unchecked.
    fn saved(&self, service: &str, request: &Logged) -> Reply {
        const ACTION: &str = "AssetImportModule.uploadMedia";
        // s089.
        let Some(path) = field(request, "savepath") else {
            return thrown_in(
                service,
                ACTION,
                "java.lang.NullPointerException: Cannot invoke \"org.openedit.page.Page.getContentItem()\" because \"page\" is null",
            );
        };
        self.save(service, ACTION, request, &path)
    }

    /// 3.7: the text of the sender's catalog id is replaced by our own, wherever it stands (s093).
    fn saved_in_catalog(&self, service: &str, request: &Logged) -> Reply {
        const ACTION: &str = "PushModule.receiveFile";
        let (Some(catalog), Some(path)) =
            (field(request, "catalogid"), field(request, "localpath"))
        else {
            return thrown_in(
                service,
                ACTION,
                "java.lang.NullPointerException: Cannot invoke \"String.replace(CharSequence, CharSequence)\"",
            );
        };
        self.save(service, ACTION, request, &path.replace(&catalog, CATALOG))
    }

    fn save(&self, service: &str, action: &str, request: &Logged, path: &str) -> Reply {
        // s088: what looks like a hidden file, or like a path, is no file at all.
        let taken = |part: &&Part| {
            part.filename().is_some_and(|name| {
                !name.starts_with('.') && !name.contains("./") && !name.contains(".\\")
            })
        };
        let Some(part) = request.parts.iter().find(taken) else {
            return thrown_in(
                service,
                action,
                "java.lang.NullPointerException: Cannot invoke \"org.entermediadb.asset.upload.FileUploadItem.getFileItem()\" because \
                 \"inUploadedField\" is null",
            );
        };
        let Some(bytes) = unpacked(part) else {
            return thrown_in(
                service,
                action,
                "java.util.zip.ZipException: Not in GZIP format",
            );
        };
        let mtime = self.now().as_millis();
        let mut content = self.content.lock().unwrap();
        match content.save_file(path, File { bytes, mtime }) {
            true => json_reply("{\n\n}"),
            // s090.
            false => error(
                &request.path,
                &format!(
                    "Error attempting to write content to a folder instead of a file for path /EMWEBAPP{path}"
                ),
            ),
        }
    }
}

impl Content {
    /// Writes a file to a path of the web application; false where that is a folder.
    fn save_file(&mut self, path: &str, file: File) -> bool {
        let (tree, path) = match path
            .strip_prefix(&data())
            .and_then(|path| path.split_once('/'))
        {
            Some(("originals", path)) => (&mut self.originals, path),
            Some(("generated", path)) => (&mut self.generated, path),
            _ => (&mut self.elsewhere, path),
        };
        let below = format!("{}/", path.trim_end_matches('/'));
        if tree.keys().any(|known| known.starts_with(&below)) {
            return false;
        }
        tree.insert(path.to_owned(), file);
        true
    }
}

/// A generated file that is not here in the size that it has there (s070).
fn wish(content: &Content, path: &str, size: usize) -> Option<String> {
    let here = content.generated.get(path);
    if size == 0 || here.map_or(0, |file| file.bytes.len()) == size {
        return None;
    }
    Some(format!(
        "{{\"filename\":{},\"localpath\":{},\"lastmodified\":{}}}",
        json!(path.rsplit('/').next()),
        json!(format!("{}generated/{path}", data())),
        here.map_or(0, |file| file.mtime)
    ))
}

/// Paths, as the sender gave them, of originals that are not here in that size; `None` for an exception.
fn originals_wanted(content: &Content, offer: &Value) -> Option<Vec<String>> {
    let catalog = offer["response"]["catalogid"].as_str()?;
    let mut wanted = Vec::new();
    for asset in offer["results"].as_array()? {
        // H-12: a file cannot be moved below itself.
        if let Some(parent) = asset["parentsourcepath"].as_str()
            && content.originals.contains_key(parent)
        {
            return None;
        }
        for file in asset["files"].as_array()? {
            let path = file["path"].as_str()?;
            let size: u64 = file["filesize"].as_str()?.parse().ok()?;
            let here = path.replace(catalog, CATALOG);
            let here = here
                .strip_prefix(&format!("{}originals/", data()))
                .and_then(|path| content.originals.get(path));
            if here.is_none_or(|file| file.bytes.len() as u64 != size) {
                wanted.push(path.to_owned());
            }
        }
    }
    Some(wanted)
}

/// The body, where it says that it is JSON, and is (s076b, s078).
fn json_of(request: &Logged) -> Option<Value> {
    let kind = header(request, "content-type")?.split(';').next()?.trim();
    let reads = ["application/json", "text/plain"].contains(&kind);
    reads.then(|| serde_json::from_slice(&request.bytes).ok())?
}

fn field(request: &Logged, name: &str) -> Option<String> {
    let mut parts = request.parts.iter();
    let part = parts.find(|part| part.filename().is_none() && part.name() == Some(name));
    part.map(Part::text)
}

fn unpacked(part: &Part) -> Option<Bytes> {
    if part.header("content-encoding") != Some("gzip") {
        return Some(part.bytes.clone());
    }
    let mut plain = Vec::new();
    GzDecoder::new(&part.bytes[..])
        .read_to_end(&mut plain)
        .ok()?;
    Some(plain.into())
}

/// What an action threw; its text is escaped in one member and not in the other (H-38, s073).
fn thrown_in(service: &str, action: &str, thrown: &str) -> Reply {
    let path = format!("/WEB-INF/base/mediadb/services/{service}.xconf#{action} {thrown}");
    let cause = thrown.split_once(": ").map_or("", |(_, cause)| cause);
    error(&path, &format!("{path} {cause}"))
}

/// The misspelled envelope with its details escaped.
fn error(path: &str, details: &str) -> Reply {
    let details = json!(details).to_string().replace('/', "\\/");
    let text = format!(
        "{{ \"reponse\": {{\n \"status\":\"error\",\"path\":\"{path}\",\"details\":{details} \n}}\n}}"
    );
    Reply {
        length: Length::Chunked,
        ..Reply::plain(500, JSON, &text)
    }
}
