//! Somebody who means harm: with a key of a node of ours that may write, and as a peer that this node pushes to. Whatever it hands
//! in or asks for, nothing changes, nothing leaves, and all of it is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use emsync::model::{Sha256, Timestamp};
use emsync::monitor::TestMonitor;
use emsync::pipeline::{self, Options};
use emsync::pull::metadata::Scope;
use emsync::shutdown::Shutdown;
use serde_json::{Value, json};

use super::edits::{Key, Records};
use super::site::{Reached, Site};
use super::world::files_below;
use crate::support::author::records;
use crate::support::emdb::{Emdb, KEY, Setup};
use crate::support::fault::{Fault, Reply};
use crate::support::node::chain;

const CHANGES: &str = "cluster/receive/uploadchanges";
const OFFER: &str = "cluster/receive/receiveoriginalschanges";
const UPLOAD: &str = "module/asset/sync/uploadfile";
const CATALOG: &str = "/WEB-INF/data/assets/catalog";
/// Later than any honest clock.
const FUTURE_MS: i64 = 2 * 3_600 * 1_000;

/// See the head of this file.
pub(super) struct Stranger {
    emdb: Emdb,
    /// The name of its key at the node, and of the peer that it is there.
    name: String,
    victim: Reached,
    http: reqwest::Client,
}

/// What must be as it was.
#[derive(Debug, PartialEq, Eq)]
struct Untouched {
    records: Records,
    files: BTreeMap<String, Sha256>,
}

impl Stranger {
    pub(super) async fn new(name: String, victim: Reached) -> Self {
        let emdb = Emdb::start_as(Setup::default(), "stranger").await;
        let answer =
            |wishes: Value| Fault::Answer(Reply::plain(200, "text/json", &wishes.to_string()));
        let wishes = elsewhere()
            .map(|path| json!({ "filename": "x", "localpath": path, "lastmodified": 0 }));
        emdb.faults().always(
            CHANGES,
            answer(json!({ "catalogid": "finder/catalog", "fileuploads": wishes })),
        );
        let wishes = elsewhere().map(|path| json!({ "path": path }));
        let response = json!({ "status": "ok", "catalogid": "finder/catalog" });
        emdb.faults().always(
            OFFER,
            answer(json!({ "response": response, "results": wishes })),
        );
        // No certificate is ever looked at.
        let http = reqwest::Client::builder().tls_certs_only(std::iter::empty());
        Self {
            emdb,
            name,
            victim,
            http: http.no_proxy().build().unwrap(),
        }
    }

    pub(super) fn reached(&self) -> Reached {
        Reached {
            url: self.emdb.base().to_owned(),
            key: KEY.to_owned(),
            cluster: self.emdb.own().to_owned(),
        }
    }

    /// Everything it can think of; `pick` says which record it is after.
    pub(super) async fn attack(&self, site: &Site, pick: usize) -> Result<(), String> {
        let before = untouched(site).await;
        let now = site.node().seams.clock.now();
        let real = Timestamp::from(std::time::SystemTime::now());
        self.emdb
            .set_clock_offset(now.as_millis() - real.as_millis());
        let assets = before.records.iter();
        let assets: Vec<_> = assets
            .filter(|((module, _), _)| module == "asset")
            .collect();
        let Some((key, source)) = assets.get(pick % assets.len().max(1)) else {
            return Ok(());
        };
        let bad = bad_rows(key, source, now);
        self.hand_in(&bad).await?;
        for savepath in [
            format!("{CATALOG}/originals/../../../../../escaped"),
            "../../escaped".to_owned(),
            format!(
                "{CATALOG}/originals/{}",
                source["sourcepath"].as_str().unwrap_or("x")
            ),
            format!("{CATALOG}/generated/never/asked.webp"),
        ] {
            self.bring(&savepath).await?;
        }
        self.be_pushed_to(site).await?;
        let after = untouched(site).await;
        if before != after {
            return Err(format!(
                "a stranger changed something:\n{before:?}\n{after:?}"
            ));
        }
        let told = site
            .node()
            .catalogue
            .job_counts(Some(&self.name))
            .await
            .unwrap();
        match told.quarantined >= bad.len() as u64 {
            true => Ok(()),
            false => Err(format!("{} bad rows, and told was {told:?}", bad.len())),
        }
    }

    async fn hand_in(&self, rows: &[Value]) -> Result<(), String> {
        let page = json!({
            "response": { "status": "ok", "totalhits": rows.len(), "hitsperpage": 1000, "page": 1, "pages": 1,
                "hitssessionid": "nullnullnull", "catalogid": "finder/catalog", "sincedate": "2026-11-16 05:07:32 +0000" },
            "results": rows, "generated": [],
        });
        let status = self
            .post(CHANGES, "application/json", page.to_string().into())
            .await;
        match status {
            200 => Ok(()),
            other => Err(format!("a page of bad rows was answered with {other}")),
        }
    }

    /// A file that nobody asked for; whatever is answered, it is not taken.
    async fn bring(&self, savepath: &str) -> Result<(), String> {
        let body = format!(
            "--zz\r\nContent-Disposition: form-data; name=\"savepath\"\r\n\r\n{savepath}\r\n--zz\r\n\
             Content-Disposition: form-data; name=\"file.0\"; filename=\"x\"\r\n\r\nharm\r\n--zz--\r\n"
        );
        let kind = "multipart/form-data; boundary=zz";
        match self.post(UPLOAD, kind, body.into()).await {
            500.. => Err(format!("savepath {savepath} was more than was expected")),
            _ => Ok(()),
        }
    }

    async fn post(&self, endpoint: &str, kind: &str, body: Vec<u8>) -> u16 {
        let url = format!("{}/mediadb/services/{endpoint}.json", self.victim.url);
        let request = self.http.post(url).header("content-type", kind).body(body);
        let request = request
            .header("X-token", &self.victim.key)
            .header("X-tokentype", "entermedia");
        request.send().await.unwrap().status().as_u16()
    }

    /// What it wishes for was not offered.
    async fn be_pushed_to(&self, site: &Site) -> Result<(), String> {
        let (node, stop) = (site.node(), Shutdown::new());
        let monitor = Arc::new(TestMonitor::default());
        let settings = node.config.peer(&self.name).unwrap();
        let pages = self.emdb.requests(CHANGES).len();
        let options = Options::of(Scope::Changes);
        let outcome = pipeline::push_peer(node, settings, &options, monitor.clone(), &stop).await;
        let outcome = outcome.map_err(|error| chain(&error))?;
        if let Some(error) = &outcome.error {
            return Err(format!("a push to a stranger: {}", chain(error)));
        }
        let pages = self.emdb.requests(CHANGES).len() - pages;
        let findings = monitor.seen().findings.into_iter();
        let told = findings.filter(|what| what.contains("asked for") && what.contains("not sent"));
        let (told, sent) = (told.count(), self.emdb.requests(UPLOAD).len());
        match sent == 0 && told >= pages * elsewhere().len() {
            true => Ok(()),
            false => Err(format!(
                "{pages} pages to a stranger: {sent} files sent, {told} wishes told"
            )),
        }
    }
}

/// Files that no page offers.
fn elsewhere() -> [String; 5] {
    [
        "/etc/passwd".to_owned(),
        "../../etc/passwd".to_owned(),
        format!("{CATALOG}/originals/../../../emsync.toml"),
        "/WEB-INF/encrypt.properties".to_owned(),
        format!("{CATALOG}/originals/nobody/has/this.bin"),
    ]
}

/// Rows after this record, none of which may be taken; each is set aside under a name of its own.
fn bad_rows((module, id): &Key, source: &Value, now: Timestamp) -> Vec<Value> {
    let mut newer = source.clone();
    newer["note"] = json!("harm");
    let date = |ms: i64| json!(Timestamp::from_millis(now.as_millis() + ms).to_string());
    let status = &mut newer["emrecordstatus"];
    status["lastmodifiedclusterid"] = json!("stranger");
    status["recordmodificationdate"] = date(1_000);
    status["masterrecordmodificationdate"] = date(1_000);
    let row = |change: &dyn Fn(&mut Value)| {
        let mut row = json!({ "searchtype": module, "index": "finder_catalog-0", "catalog": "finder_catalog", "id": id, "source": newer });
        change(&mut row);
        row
    };
    vec![
        row(&|row| row["source"]["emrecordstatus"]["mastereditclusterid"] = Value::Null),
        row(&|row| row["searchtype"] = json!("../../x")),
        row(&|row| row["searchtype"] = json!("remotesaveconflictLog")),
        row(&|row| row["id"] = Value::Null),
        row(&|row| {
            row["id"] = json!("harm");
            row["source"]["emrecordstatus"]["recordmodificationdate"] = date(FUTURE_MS);
        }),
    ]
}

/// Every record, and every file of the node's directory but what it keeps for itself.
async fn untouched(site: &Site) -> Untouched {
    let files = files_below(site.dir()).into_iter();
    let own = ["state", ".emsync"];
    let files = files.filter(|path| !path.iter().any(|part| own.iter().any(|own| part == *own)));
    let files = files.map(|path| {
        let digest = Sha256::of(&std::fs::read(&path).unwrap());
        (path.display().to_string(), digest)
    });
    Untouched {
        records: records(site.node()).await,
        files: files.collect(),
    }
}
