//! An EMDB as a client of another node: its pull and push algorithms, re-implemented from the wire spec (5, 8, 9) with those of their
//! defects that show on the wire.
//!
//! What it holds is what the scripted server of the same node serves: an [`Emdb`](super::Emdb) may pull, push and be pulled from.
//! A run of data is [`Client::data`], one of originals [`Client::originals`]; EMDB's event `pullall` is both, [`Client::all`].

mod push;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use emsync::model::Timestamp;
use emsync::protocol::lenient::format_since;
use serde_json::Value;

use super::{CATALOG, Emdb, File, Shared};
use wire::{Session, fix_path};

/// The window of a peer that was never pulled from (H-32).
const FIRST_WINDOW: Duration = Duration::from_secs(7 * 24 * 3_600);
const CLUSTER: &str = "/mediadb/services/cluster";
const DOWNLOADS: &str = "/mediadb/services/module/asset/downloads";

/// A peer, as a record of table `editingcluster` states it (wire spec 1.2).
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// `baseurl`.
    pub(crate) base: String,
    /// `entermediakey`.
    pub(crate) key: String,
    /// `clustername`.
    pub(crate) cluster: String,
    /// `pulldataonly`: nothing is pushed.
    pub(crate) pull_data_only: bool,
    /// `skipgenerated`.
    pub(crate) skip_generated: bool,
    /// `pulloriginals`.
    pub(crate) pull_originals: bool,
    /// `pushoriginals`.
    pub(crate) push_originals: bool,
}

impl Peer {
    /// A peer that is only pulled from, with its originals.
    pub(crate) fn pulled(base: &str, key: &str, cluster: &str) -> Self {
        Self {
            base: base.to_owned(),
            key: key.to_owned(),
            cluster: cluster.to_owned(),
            pull_data_only: true,
            skip_generated: false,
            pull_originals: true,
            push_originals: false,
        }
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// Why it failed; then its watermark stays.
    pub(crate) error: Option<String>,
    /// A refused first listing: no error as far as the watermark is concerned (H-1).
    pub(crate) refused: Option<u16>,
    /// Records that were listed.
    pub(crate) listed: usize,
    /// Files that came, below `generated/` or `originals/`.
    pub(crate) downloaded: Vec<String>,
    /// Files that did not come; nobody asks for them again (H-2).
    pub(crate) skipped: Vec<String>,
    /// Error replies that never give their place in the pool back; the twentieth is the end of the process (H-9).
    pub(crate) leaked: usize,
    /// Records that were pushed.
    pub(crate) pushed: usize,
    /// Files that were uploaded, by their `savepath`.
    pub(crate) uploaded: Vec<String>,
}

impl Ran {
    /// What ends a run by an exception.
    fn ended(mut self, result: Result<(), String>) -> Self {
        self.error = result.err();
        self
    }
}

/// An EMDB node and one of its peers.
#[derive(Debug)]
pub(crate) struct Client {
    node: Arc<Shared>,
    peer: Peer,
    /// `lastpulldate` and `lastpulldateoriginals`.
    marks: Mutex<[Option<Timestamp>; 2]>,
}

const DATA: usize = 0;
const ORIGINALS: usize = 1;

impl Emdb {
    /// This node as a client of a peer.
    pub(crate) fn client(&self, peer: Peer) -> Client {
        Client {
            node: Arc::clone(&self.shared),
            peer,
            marks: Mutex::default(),
        }
    }
}

/// What a listing is asked for: the time since the watermark, and the watermark (wire spec 4.4).
struct Asked {
    now: Timestamp,
    mark: Timestamp,
}

impl Asked {
    fn fields(&self) -> Vec<(&'static str, String)> {
        let ago = self.now.as_millis() - self.mark.as_millis();
        vec![
            ("lastpullago", ago.to_string()),
            ("sincedate", format_since(self.mark)),
        ]
    }
}

impl Client {
    /// Both watermarks are set back, as an operator does before a first full run (H-32).
    pub(crate) fn whole_history(&self) {
        *self.marks.lock().unwrap() = [Some(Timestamp::EPOCH); 2];
    }

    /// Data, then originals (wire spec 1.4).
    pub(crate) async fn all(&self) -> [Ran; 2] {
        [self.data().await, self.originals().await]
    }

    /// Pulls records and generated files, then pushes them (wire spec 5.1).
    pub(crate) async fn data(&self) -> Ran {
        let (asked, mut session, mut ran) = self.begin(DATA);
        let mut result = self.pull_data(&asked, &mut session, &mut ran).await;
        if result.is_ok() && !self.peer.pull_data_only {
            result = self.push_data(&asked, &mut session, &mut ran).await;
        }
        self.end(DATA, &asked, ran.ended(result))
    }

    /// Pulls originals, then pushes them; with neither the watermark moves all the same (wire spec 1.2, 8.2, 9).
    pub(crate) async fn originals(&self) -> Ran {
        let (asked, mut session, mut ran) = self.begin(ORIGINALS);
        let mut result = Ok(());
        if self.peer.pull_originals {
            result = self.pull_originals(&asked, &mut session, &mut ran).await;
        }
        if result.is_ok() && self.peer.push_originals {
            result = self.push_originals(&asked, &mut session, &mut ran).await;
        }
        self.end(ORIGINALS, &asked, ran.ended(result))
    }

    fn begin(&self, kind: usize) -> (Asked, Session, Ran) {
        let now = self.node.now();
        let mark = self.marks.lock().unwrap()[kind].unwrap_or_else(|| now.minus(FIRST_WINDOW));
        let session = Session::new(&self.peer.base, &self.peer.key);
        (Asked { now, mark }, session, Ran::default())
    }

    fn end(&self, kind: usize, asked: &Asked, ran: Ran) -> Ran {
        if ran.error.is_none() {
            self.marks.lock().unwrap()[kind] = Some(asked.now);
        }
        ran
    }

    async fn pull_data(
        &self,
        asked: &Asked,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let fields = asked.fields();
        let url = format!("{CLUSTER}/listalldocs.json");
        let first = session.form(&url, &fields).await?;
        if first.status != 200 {
            ran.refused = Some(first.status);
            return Ok(());
        }
        let mut page = first.json()?;
        let pages = page["response"]["pages"].as_u64().unwrap_or(0);
        let name = page["response"]["hitssessionid"].as_str();
        let name = name.unwrap_or_default().to_owned();
        for number in 1..=pages.max(1) {
            if number > 1 {
                // The name is always that of page 1.
                let mut fields = fields.clone();
                fields.push(("hitssessionid", name.clone()));
                fields.push(("page", number.to_string()));
                let url = format!("{CLUSTER}/nextall.json");
                page = session.form(&url, &fields).await?.ok()?.json()?;
            }
            match page["response"]["status"].as_str() {
                Some("ok") => {}
                Some("empty") if number == 1 => return Ok(()),
                other => return Err(format!("status {other:?}")),
            }
            self.take_page(&page, &fields, session, ran).await?;
        }
        Ok(())
    }

    async fn take_page(
        &self,
        page: &Value,
        fields: &[(&'static str, String)],
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let rows = page["results"].as_array().ok_or("no results")?;
        ran.listed += rows.len();
        let now = self.node.now();
        let imported = self
            .node
            .content
            .lock()
            .unwrap()
            .import_rows(rows, &self.node.own, now);
        imported.map_err(|crash| format!("{crash:?}"))?;
        if self.peer.skip_generated {
            return Ok(());
        }
        let catalog = page["response"]["catalogid"].as_str().ok_or("no catalog")?;
        for asset in page["generated"].as_array().ok_or("no generated")? {
            for file in asset["files"].as_array().ok_or("no files")? {
                let path = file["localpath"].as_str().ok_or("no localpath")?;
                // A string or a fraction here cannot be cast to Long.
                let date = file["lastmodified"].as_i64().ok_or("ClassCastException")?;
                let (_, end) = path
                    .split_once(&format!("{catalog}/generated"))
                    .ok_or("another path")?;
                if !self.has(Tree::Generated, &end[1..], date) {
                    let name = end.rsplit('/').next().unwrap_or_default();
                    let url = fix_path(&format!("{DOWNLOADS}/generatedpreview{end}/{name}"));
                    let reply = session.form(&url, fields).await?;
                    self.store(Tree::Generated, &end[1..], date, reply, ran);
                }
            }
        }
        Ok(())
    }

    async fn pull_originals(
        &self,
        asked: &Asked,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let url = format!("{CLUSTER}/pullrecentuploads.json");
        let fields = asked.fields();
        let page = session.form(&url, &fields).await?.ok()?.json()?;
        match page["response"]["status"].as_str() {
            Some("ok") => {}
            Some("empty") => return Ok(()),
            other => return Err(format!("status {other:?}")),
        }
        self.take_originals(&page, session, ran).await?;
        // H-7: page 2 of 2 is never asked for, and every later one brings the files of the first again.
        let pages = page["response"]["pages"].as_u64().unwrap_or(0);
        for number in 2..=if pages > 2 { pages } else { 0 } {
            let mut fields = fields.clone();
            fields.push(("page", number.to_string()));
            session.form(&url, &fields).await?.ok()?.json()?;
            self.take_originals(&page, session, ran).await?;
        }
        Ok(())
    }

    async fn take_originals(
        &self,
        page: &Value,
        session: &mut Session,
        ran: &mut Ran,
    ) -> Result<(), String> {
        let catalog = page["response"]["catalogid"].as_str().ok_or("no catalog")?;
        for asset in page["results"].as_array().ok_or("no results")? {
            for file in asset["files"].as_array().ok_or("no files")? {
                let path = file["path"].as_str().ok_or("no path")?;
                let below = file["originalspath"].as_str().ok_or("no originalspath")?;
                let date = file["filedate"]
                    .as_i64()
                    .or_else(|| file["filedate"].as_str()?.parse().ok());
                let date = date.ok_or("no filedate")?;
                let local = path.replace(catalog, CATALOG);
                let local = local
                    .strip_prefix(&format!("/WEB-INF/data/{CATALOG}/originals/"))
                    .ok_or_else(|| format!("outside originals: {local}"))?;
                if !self.has(Tree::Originals, local, date) {
                    let name = below.rsplit('/').next().unwrap_or_default();
                    let url = fix_path(&format!("{DOWNLOADS}/originals/{below}/{name}"));
                    let reply = session.get(&url).await?;
                    self.store(Tree::Originals, local, date, reply, ran);
                }
            }
        }
        Ok(())
    }

    /// Whether a file is here with the same date, to the second (wire spec 4.5); its size counts for nothing.
    fn has(&self, tree: Tree, path: &str, date: i64) -> bool {
        let mut content = self.node.content.lock().unwrap();
        let known = tree.of(&mut content).get(path);
        known.is_some_and(|file| file.mtime / 1_000 == date / 1_000)
    }

    /// Straight to the final name; what broke in the middle stays, with the time at which it came (H-10).
    fn store(&self, tree: Tree, path: &str, date: i64, reply: wire::Reply, ran: &mut Ran) {
        if reply.status != 200 {
            ran.leaked += usize::from(tree == Tree::Originals && !reply.body.is_empty());
            ran.skipped.push(path.to_owned());
            return;
        }
        let mtime = match reply.whole {
            true => date,
            false => self.node.now().as_millis(),
        };
        let names = match reply.whole {
            true => &mut ran.downloaded,
            false => &mut ran.skipped,
        };
        names.push(path.to_owned());
        let mut content = self.node.content.lock().unwrap();
        let files = tree.of(&mut content);
        if let Some((parent, _)) = path.rsplit_once('/') {
            files.remove(parent);
        }
        let bytes: Bytes = reply.body;
        files.insert(path.to_owned(), File { bytes, mtime });
    }
}

/// Where files lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tree {
    Originals,
    Generated,
}

impl Tree {
    fn of(self, content: &mut super::Content) -> &mut std::collections::BTreeMap<String, File> {
        match self {
            Self::Originals => &mut content.originals,
            Self::Generated => &mut content.generated,
        }
    }
}
