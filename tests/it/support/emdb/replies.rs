//! Who may ask the scripted server, and what it answers where the answer is JSON. Captures named in comments are the exchanges it imitates.

use std::sync::atomic::Ordering;

use emsync::model::Timestamp;
use emsync::protocol::lenient::format_since;
use serde_json::{Value, json};

use super::super::fault::{Fault, Length, Reply};
use super::{CATALOG, Doc, KEY, Logged, SITE, Session, Shared, Tracker};

pub(super) const NO_ACCESS: &str = "/finder/mediadb/services/authentication/noaccess.json";
pub(super) const JSON: &str = "text/json;charset=UTF-8";
pub(super) const HTML: &str = "text/html;charset=UTF-8";
const DOWNLOADS: &str = "module/asset/downloads/";

impl Shared {
    /// Routes a request that belongs to a session, as every request does (wire spec 2.2).
    pub(super) fn reply(&self, request: &Logged, fault: Option<&Fault>) -> Reply {
        if let Some(Fault::ForgetSessions) = fault {
            self.sessions.lock().unwrap().clear();
        }
        let (session, fresh) = self.session_of(request);
        let logged_in = self.log_in(&session, request);
        let path = request
            .path
            .strip_prefix("/finder")
            .unwrap_or(&request.path);
        let path = path.trim_start_matches('/');
        let mut reply = match path.strip_prefix("mediadb/services/") {
            None => missing(path),
            Some(service) => match service.trim_start_matches('/').split_once(DOWNLOADS) {
                Some(("", file)) => self.download(file, request, logged_in),
                _ => self.service(
                    service.trim_start_matches('/'),
                    request,
                    &session,
                    logged_in,
                    fault,
                ),
            },
        };
        if fresh {
            let secure = if self.setup.secure_cookie {
                " Secure;"
            } else {
                ""
            };
            let cookie = format!("JSESSIONID={session}; Path=/;{secure} HttpOnly");
            reply.headers.push(("set-cookie", cookie));
        }
        if presents_key(request) {
            let cookie = format!(
                "entermedia.key{SITE}={KEY}; Max-Age=34560000; Expires=Tue, 28 Dec 2100 04:57:57 GMT; Path=/"
            );
            reply.headers.push(("set-cookie", cookie));
        }
        reply
    }

    fn session_of(&self, request: &Logged) -> (String, bool) {
        let mut sessions = self.sessions.lock().unwrap();
        match cookie(request, "JSESSIONID").filter(|id| sessions.contains_key(id)) {
            Some(id) => (id, false),
            None => {
                let id = format!(
                    "SESSION{}",
                    self.sessions_made.fetch_add(1, Ordering::SeqCst) + 1
                );
                sessions.insert(id.clone(), Session::default());
                (id, true)
            }
        }
    }

    fn log_in(&self, session: &str, request: &Logged) -> bool {
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.get_mut(session).expect("made for this request");
        session.logged_in |= presents_key(request);
        session.logged_in
    }

    fn service(
        &self,
        service: &str,
        request: &Logged,
        session: &str,
        logged_in: bool,
        fault: Option<&Fault>,
    ) -> Reply {
        match service.trim_end_matches(".json") {
            // s006: 200 all the same.
            "authentication/noaccess" => Reply::plain(
                200,
                JSON,
                r#"{ "errorcode":"403", "response": { "status":"error", "details":"No view permissions for action" } }"#,
            ),
            "system/systemstatus" => self.system_status(),
            "cluster/listalldocs" | "cluster/nextall" | "cluster/pullrecentuploads"
                if !logged_in =>
            {
                redirect(NO_ACCESS, JSON)
            }
            "cluster/listalldocs" | "cluster/nextall" => {
                self.changes(request, session, matches!(fault, Some(Fault::RepeatPage)))
            }
            "cluster/pullrecentuploads" => self.uploads(request),
            "cluster/receive/uploadchanges"
            | "cluster/receive/receiveoriginalschanges"
            | "cluster/receive/uploadfile"
            | "module/asset/sync/uploadfile" => {
                match self.write.lock().unwrap().refusal(logged_in) {
                    Some(refusal) => refusal,
                    None => self.receive(service.trim_end_matches(".json"), request),
                }
            }
            searched
                if searched.starts_with("module/") || searched.starts_with("lists/search/") =>
            {
                match logged_in {
                    true => self.search(searched, request),
                    false => redirect(NO_ACCESS, JSON),
                }
            }
            _ => missing(service),
        }
    }

    /// s003, s124.
    fn system_status(&self) -> Reply {
        let content = self.content.lock().unwrap();
        let live = |doc: &&Doc| {
            doc.module == "asset"
                && doc.source["emrecordstatus"]["recorddeleted"] != json!(true)
                && !content.unlisted_ids.contains(&doc.id)
        };
        let response = match content.docs.iter().filter(live).count() {
            0 => json!({ "status": "ok" }),
            count => json!({ "status": "ok", "assetscount": count }),
        };
        json_reply(&json!({ "response": response }).to_string())
    }

    /// 3.1 and 3.2: one action behind two names.
    fn changes(&self, request: &Logged, session: &str, repeat: bool) -> Reply {
        let size = self.setup.page_size;
        let known = request
            .fields
            .get("hitssessionid")
            .is_some_and(|id| id == "hitsallchanges");
        let stored = || self.sessions.lock().unwrap()[session].tracker.clone();
        let (mut tracker, window) = match (known.then(stored).flatten(), self.window(request)) {
            (_, Some(Err(bad))) => return bad,
            (Some(tracker), window) => (tracker, window),
            (None, Some(Ok(window))) => (Tracker::new(self.found(window), size), Some(Ok(window))),
            // s008.
            (None, None) => return envelope(&request.path, "lastpull required"),
        };
        let page = page_of(request);
        let rows = tracker.page(if repeat { page.max(2) - 1 } else { page }, size);
        let total = tracker.found.len();
        self.sessions
            .lock()
            .unwrap()
            .entry(session.to_owned())
            .or_default()
            .tracker = Some(tracker);
        let rows = match rows {
            Ok(rows) => rows,
            // s118.
            Err(details) => return envelope(&request.path, &details),
        };
        let mut response = json!({
            "hitssessionid": "hitsallchanges", "hitsperpage": size, "pages": total.div_ceil(size), "catalogid": CATALOG,
            "totalhits": total, "page": page, "status": if total == 0 { "empty" } else { "ok" },
        });
        if let Some(Ok(window)) = window {
            response["sincedate"] = json!(format_since(window));
        }
        let results: Vec<_> = rows.iter().map(|doc| row(doc)).collect();
        let generated: Vec<_> = rows
            .iter()
            .filter(|doc| doc.module == "asset")
            .map(|doc| self.generated_of(doc))
            .collect();
        let text = format!(
            "{{\"generated\":{},\"response\":{response},\"results\":{}}}",
            Value::Array(generated),
            Value::Array(results)
        );
        json_reply(&text.replace('/', "\\/"))
    }

    /// 3.3: every page is a query of its own, and every page after the first is the second one.
    fn uploads(&self, request: &Logged) -> Reply {
        let window = match self.window(request) {
            Some(Ok(window)) => window,
            Some(Err(bad)) => return bad,
            None => return envelope(&request.path, "lastpull required"),
        };
        let size = self.setup.page_size;
        let found = self.found(window);
        if found.is_empty() {
            // s009.
            return json_reply("{\n\t\"response\":\n\t\t{\n\t\t    \"status\":\"empty\"\n\t\t}\n}");
        }
        let (total, page) = (found.len(), page_of(request));
        let mut tracker = Tracker::new(found, size);
        let rows = tracker.page(page, size).unwrap_or_default();
        let results: Vec<_> = (rows.iter())
            .filter(|doc| doc.module == "asset" && doc.text("importstatus") != Some("error"))
            .map(|doc| self.originals_of(doc))
            .collect();
        let results = Value::Array(results).to_string().replace('/', "\\/");
        let response = json!({
            "status": "ok", "totalhits": total, "searchtype": "asset", "catalogid": CATALOG, "hitsperpage": size, "page": page,
            "pages": total.div_ceil(size), "hitssessionid": "nullnullnull", "query": { "friendly": "", "terms": [] },
        });
        json_reply(&format!(
            "{{\n\t\"response\":\n\t\t{response}\n\t , \"results\":{results}\n}}"
        ))
    }

    /// Start of the window on this server's clock; `None` when the field is missing, `Err` as in s059.
    fn window(&self, request: &Logged) -> Option<Result<Timestamp, Reply>> {
        let ago = request.fields.get("lastpullago")?;
        let now = self.now().as_millis();
        Some(match ago.parse::<i64>() {
            Ok(ago) => Ok(Timestamp::from_millis(now.saturating_sub(ago).max(0))),
            Err(_) => Err(envelope(
                &format!("java.lang.NumberFormatException: For input string: \"{ago}\""),
                "not a number",
            )),
        })
    }

    fn found(&self, window: Timestamp) -> Vec<Doc> {
        let mut content = self.content.lock().unwrap();
        content.refresh_at(self.now());
        let hidden = &content.unlisted_ids;
        let inside = |doc: &&Doc| {
            doc.modified().is_some_and(|moment| moment >= window) && !hidden.contains(&doc.id)
        };
        content.docs.iter().filter(inside).cloned().collect()
    }

    pub(super) fn generated_of(&self, doc: &Doc) -> Value {
        let source_path = doc.text("sourcepath").unwrap_or_default();
        let content = self.content.lock().unwrap();
        let below = format!("{source_path}/");
        let files = content.generated.iter().filter_map(|(path, file)| {
            Some(json!({
                "filename": path.strip_prefix(&below)?,
                "size": file.bytes.len().to_string(),
                "localpath": format!("/WEB-INF/data/{CATALOG}/generated/{path}"),
                "lastmodified": file.mtime,
                "mastereditclusterid": doc.source["emrecordstatus"]["mastereditclusterid"],
            }))
        });
        let crooked = content.crooked.get(&doc.id).map(|path| {
            json!({ "filename": "x.webp", "size": "1", "localpath": path, "lastmodified": 1_000 })
        });
        json!({ "files": files.chain(crooked).collect::<Vec<_>>(), "id": doc.id, "sourcepath": source_path })
    }

    fn originals_of(&self, doc: &Doc) -> Value {
        let root = doc
            .text("archivesourcepath")
            .or(doc.text("sourcepath"))
            .unwrap_or_default();
        let is_folder = doc.source["isfolder"] == json!(true);
        let below = format!("{root}/");
        let content = self.content.lock().unwrap();
        let files = content
            .originals
            .iter()
            .filter(|(path, _)| match is_folder {
                true => path.starts_with(&below),
                false => *path == root,
            });
        let files = files.map(|(path, file)| {
            json!({
                "path": format!("/WEB-INF/data/{CATALOG}/originals/{path}"),
                "filename": path.rsplit('/').next(),
                "filedate": file.mtime,
                "filesize": file.bytes.len().to_string(),
                "originalspath": format!("/{path}"),
            })
        });
        json!({ "files": files.collect::<Vec<_>>(), "id": doc.id, "sourcepath": root, "isfolder": doc.source["isfolder"] })
    }
}

pub(super) fn row(doc: &Doc) -> Value {
    json!({
        "catalog": "finder_catalog", "searchtype": doc.module, "index": "finder_catalog-0", "source": doc.source, "id": doc.id,
    })
}

fn page_of(request: &Logged) -> usize {
    let page = request
        .fields
        .get("page")
        .and_then(|page| page.parse().ok());
    page.unwrap_or(1).max(1)
}

pub(super) fn header<'a>(request: &'a Logged, name: &str) -> Option<&'a str> {
    request.headers.get(name)?.to_str().ok()
}

fn cookie(request: &Logged, name: &str) -> Option<String> {
    let pairs = header(request, "cookie")?
        .split("; ")
        .filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(found, _)| *found == name);
    values.next().map(|(_, value)| value.to_owned())
}

/// s050 to s054.
fn presents_key(request: &Logged) -> bool {
    let token = header(request, "x-token") == Some(KEY)
        && header(request, "x-tokentype") == Some("entermedia");
    let field = request
        .fields
        .get("entermedia.key")
        .is_some_and(|key| key == KEY);
    let login = cookie(request, "entermedia.keyfinder").is_some_and(|key| key == KEY);
    token || field || login || header(request, "x-entermedia.key") == Some(KEY)
}

pub(super) fn json_reply(text: &str) -> Reply {
    Reply {
        length: Length::Chunked,
        ..Reply::plain(200, JSON, text)
    }
}

/// The misspelled error envelope; `path` is not escaped, so a quote in it breaks the JSON (H-38).
pub(super) fn envelope(path: &str, details: &str) -> Reply {
    let text = format!(
        "{{ \"reponse\": {{\n \"status\":\"error\",\"path\":\"{path}\",\"details\":\"{details}\" \n}}\n}}"
    );
    Reply {
        length: Length::Chunked,
        ..Reply::plain(500, JSON, &text)
    }
}

pub(super) fn missing(path: &str) -> Reply {
    let page =
        format!("<html><head><title>{path}</title></head><body>{path} was not found</body></html>");
    Reply {
        length: Length::Chunked,
        ..Reply::plain(404, HTML, &page)
    }
}

/// s004, s030: never 401, and an empty chunked body.
pub(super) fn redirect(location: &str, kind: &str) -> Reply {
    let mut reply = Reply::plain(302, kind, "");
    reply.headers.push(("location", location.to_owned()));
    reply.length = Length::Chunked;
    reply
}
