//! What an EMDB sends to a peer after it has pulled from it (wire spec 8).

use emsync::model::Timestamp;
use emsync::protocol::lenient::{format_since, parse_date};
use serde_json::{Value, json};

use super::super::replies::row;
use super::super::{CATALOG, Content, Doc};
use super::wire::Session;
use super::{Asked, CLUSTER, Client, Ran};

const UPLOAD: &str = "/mediadb/services/module/asset/sync/uploadfile.json";
/// Records of a page.
const PAGE: usize = 1_000;
/// Assets of an offer of originals.
const OFFER: usize = 100;

impl Client {
    /// Wire spec 8.1.
    pub(super) async fn push_data(
        &self,
        asked: &Asked,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let docs = self.to_push(asked.mark);
        let pages = docs.len().div_ceil(PAGE);
        for (number, page) in docs.chunks(PAGE).enumerate() {
            let response = json!({
                "hitssessionid": "nullnullnull", "hitsperpage": PAGE, "pages": pages, "catalogid": CATALOG,
                "totalhits": docs.len(), "page": number + 1, "sincedate": format_since(asked.mark), "status": "ok",
            });
            let assets = page.iter().filter(|doc| doc.module == "asset");
            let generated: Vec<_> = assets.map(|doc| self.node.generated_of(doc)).collect();
            let results: Vec<_> = page.iter().map(row).collect();
            let body = format!(
                "{{\"generated\":{},\"response\":{response},\"results\":{}}}",
                Value::Array(generated),
                Value::Array(results)
            );
            let url = format!("{CLUSTER}/receive/uploadchanges.json");
            let reply = session.json(&url, body.replace('/', "\\/")).await?;
            let reply = reply.ok()?.json()?;
            ran.pushed += page.len();
            self.send_generated(&reply, session, ran).await?;
        }
        Ok(())
    }

    /// Everything changed since the watermark, but what is nobody's and what the peer itself edited last of its own.
    fn to_push(&self, mark: Timestamp) -> Vec<Doc> {
        let mut content = self.node.content.lock().unwrap();
        content.refresh_at(self.node.now());
        let changed = content.docs.iter().filter(|doc| {
            let status = &doc.source["emrecordstatus"];
            let theirs = status["mastereditclusterid"] == json!(self.peer.cluster)
                && status["lastmodifiedclusterid"] == json!(self.peer.cluster);
            doc.modified().is_some_and(|moment| moment >= mark) && !theirs
        });
        changed.cloned().collect()
    }

    async fn send_generated(
        &self,
        reply: &Value,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let wishes = reply["fileuploads"].as_array();
        for wish in wishes.into_iter().flatten() {
            let theirs = reply["catalogid"].as_str().ok_or("no catalogid")?;
            let wanted = wish["localpath"].as_str().ok_or("no localpath")?;
            let name = wish["filename"].as_str().ok_or("no filename")?;
            let bytes = self.read(&wanted.replace(theirs, CATALOG))?;
            let fields = [
                ("savepath", wanted),
                ("filename", name),
                ("catalogid", CATALOG),
                ("localpath", wanted),
            ];
            session.mime(UPLOAD, &fields, (name, &bytes)).await?.ok()?;
            ran.uploaded.push(wanted.to_owned());
        }
        Ok(())
    }

    /// Wire spec 8.2.
    pub(super) async fn push_originals(
        &self,
        asked: &Asked,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let assets = self.to_offer(asked.mark);
        let pages = assets.len().div_ceil(OFFER);
        for (number, page) in assets.chunks(OFFER).enumerate() {
            let response = json!({
                "hitsperpage": OFFER, "pages": pages, "catalogid": CATALOG, "totalhits": assets.len(), "page": number + 1,
                "sincedate": format_since(asked.mark), "status": "ok",
            });
            let results = Value::Array(page.to_vec());
            let body = format!("{{\"response\":{response},\"results\":{results}}}");
            let url = format!("{CLUSTER}/receive/receiveoriginalschanges.json");
            let reply = session.json(&url, body.replace('/', "\\/")).await?;
            let reply = reply.ok()?.json()?;
            match reply["response"]["status"].as_str() {
                Some("ok") => {}
                Some("empty") => continue,
                other => return Err(format!("originals refused: {other:?}")),
            }
            let theirs = reply["response"]["catalogid"]
                .as_str()
                .ok_or("no catalogid")?;
            for wish in reply["results"].as_array().ok_or("no results")? {
                let wanted = wish["path"].as_str().ok_or("no path")?;
                let bytes = self.read(&wanted.replace(theirs, CATALOG))?;
                let name = wanted.rsplit('/').next().unwrap_or_default();
                let fields = [
                    ("path", wanted),
                    ("savepath", wanted),
                    ("catalogid", CATALOG),
                ];
                session.mime(UPLOAD, &fields, (name, &bytes)).await?.ok()?;
                ran.uploaded.push(wanted.to_owned());
            }
        }
        Ok(())
    }

    /// Offers of our own live assets whose *file* changed since the watermark (H-13), in order of their paths.
    fn to_offer(&self, mark: Timestamp) -> Vec<Value> {
        let mut content = self.node.content.lock().unwrap();
        content.refresh_at(self.node.now());
        let mut assets: Vec<&Doc> = content
            .docs
            .iter()
            .filter(|doc| {
                let status = &doc.source["emrecordstatus"];
                let date = doc.text("assetmodificationdate").and_then(parse_date);
                doc.module == "asset"
                    && date.is_some_and(|date| date >= mark)
                    && status["mastereditclusterid"] == json!(self.node.own)
                    && status["recorddeleted"] != json!(true)
            })
            .collect();
        assets.sort_by_key(|doc| doc.text("sourcepath").unwrap_or_default().to_owned());
        assets.into_iter().map(|doc| offer(&content, doc)).collect()
    }

    /// A file of ours by its path in the web application.
    fn read(&self, path: &str) -> Result<bytes::Bytes, String> {
        let content = self.node.content.lock().unwrap();
        let below = path.strip_prefix(&format!("/WEB-INF/data/{CATALOG}/"));
        let file =
            below
                .and_then(|path| path.split_once('/'))
                .and_then(|(tree, path)| match tree {
                    "originals" => content.originals.get(path),
                    "generated" => content.generated.get(path),
                    _ => None,
                });
        let file = file.ok_or_else(|| format!("no such file: {path}"))?;
        Ok(file.bytes.clone())
    }
}

/// A single original is offered even where it is not (H-36); a folder with every file below.
fn offer(content: &Content, doc: &Doc) -> Value {
    let root = doc
        .text("archivesourcepath")
        .or(doc.text("sourcepath"))
        .unwrap_or_default();
    let below = format!("{root}/");
    let paths: Vec<&str> = match doc.source["isfolder"] == json!(true) {
        true => (content.originals.keys())
            .filter(|path| path.starts_with(&below))
            .map(String::as_str)
            .collect(),
        false => vec![root],
    };
    let files: Vec<Value> = (paths.iter())
        .map(|path| {
            let file = content.originals.get(*path);
            json!({
                "path": format!("/WEB-INF/data/{CATALOG}/originals/{path}"),
                "filename": path.rsplit('/').next(),
                "filedate": file.map_or(0, |file| file.mtime),
                "filesize": file.map_or(0, |file| file.bytes.len()).to_string(),
                "originalspath": format!("/{path}"),
            })
        })
        .collect();
    // The parent is the asset itself, for files as for folders: H-12.
    json!({ "parentsourcepath": root, "files": files, "id": doc.id, "sourcepath": root, "isfolder": doc.source["isfolder"] })
}
