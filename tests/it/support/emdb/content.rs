//! What a scripted EMDB holds: records, of which its index shows some a moment later, and files of either tree.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use emsync::model::Timestamp;
use emsync::protocol::lenient::parse_date;
use serde_json::{Value, json};

/// How long after an import the index shows it (H-44).
const REFRESHED_AFTER: Duration = Duration::from_secs(1);

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct Doc {
    /// Table.
    pub(crate) module: String,
    /// Id.
    pub(crate) id: String,
    /// Its JSON, `emrecordstatus` included.
    pub(crate) source: Value,
}

impl Doc {
    /// A record owned and last saved by `cluster` at `modified`, with `members` beside its status.
    pub(crate) fn new(
        module: &str,
        id: &str,
        cluster: &str,
        modified: Timestamp,
        members: Value,
    ) -> Self {
        let mut source = members;
        source["id"] = json!(id);
        source["emrecordstatus"] = json!({
            "recorddeleted": false, "mastereditclusterid": cluster, "lastmodifiedclusterid": cluster,
            "recordmodificationdate": modified.to_string(), "masterrecordmodificationdate": modified.to_string(),
        });
        Self {
            module: module.to_owned(),
            id: id.to_owned(),
            source,
        }
    }

    /// The same as a tombstone.
    pub(crate) fn deleted(mut self) -> Self {
        self.source["emrecordstatus"]["recorddeleted"] = json!(true);
        self
    }

    pub(super) fn text(&self, member: &str) -> Option<&str> {
        self.source[member].as_str()
    }

    pub(super) fn modified(&self) -> Option<Timestamp> {
        parse_date(self.source["emrecordstatus"]["recordmodificationdate"].as_str()?)
    }
}

/// The members of an asset whose original has this size and modification time (ms).
pub(crate) fn asset_members(path: &str, size: usize, mtime: i64) -> Value {
    json!({
        "sourcepath": path, "isfolder": false, "filesize": size, "fileformat": "bin", "importstatus": "complete",
        "editstatus": "6", "assetmodificationdate": Timestamp::from_millis(mtime).to_string(),
    })
}

/// One file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its content.
    pub(crate) bytes: Bytes,
    /// Its modification time, ms.
    pub(crate) mtime: i64,
}

/// What the server holds. Paths are below `originals/` or `generated/`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// Records, in the order of their last change.
    pub(crate) docs: Vec<Doc>,
    /// Files below `originals/`.
    pub(crate) originals: BTreeMap<String, File>,
    /// Files below `generated/`.
    pub(crate) generated: BTreeMap<String, File>,
    /// Files that were saved below neither, by the path that was asked for.
    pub(crate) elsewhere: BTreeMap<String, File>,
    /// Generated files listed under paths of the lister's choice, by asset.
    pub(super) crooked: BTreeMap<String, String>,
    /// What was imported and is not shown by the index yet: from when on it is.
    unseen: Vec<(Timestamp, Doc)>,
    /// Table `remotesaveconflictLog` (wire spec 6), in the order of its rows.
    pub(crate) conflicts: Vec<Value>,
    /// Records that no listing shows and no count counts, while a search finds them: an index that lost sight of them.
    pub(crate) unlisted_ids: Vec<String>,
}

impl Content {
    /// Adds or replaces a record; a replaced one moves to the end of every listing, as in the index (wire spec 3.3).
    pub(crate) fn record(&mut self, doc: Doc) {
        self.docs
            .retain(|old| (&old.module, &old.id) != (&doc.module, &doc.id));
        self.docs.push(doc);
    }

    /// Adds or replaces a record as an import does: no listing shows it before the index is refreshed.
    pub(super) fn import(&mut self, doc: Doc, now: Timestamp) {
        self.unseen.push((now.plus(REFRESHED_AFTER), doc));
    }

    /// What was imported until a second before `now` is shown from here on.
    pub(super) fn refresh_at(&mut self, now: Timestamp) {
        let all = std::mem::take(&mut self.unseen).into_iter();
        let (seen, unseen): (Vec<_>, Vec<_>) = all.partition(|(from, _)| *from <= now);
        self.unseen = unseen;
        for (_, doc) in seen {
            self.record(doc);
        }
    }

    /// All that was imported is shown from here on.
    pub(crate) fn refresh(&mut self) {
        for (_, doc) in std::mem::take(&mut self.unseen) {
            self.record(doc);
        }
    }

    /// A record as it is, whether the index shows it already or not; tombstones are found too.
    pub(crate) fn doc(&self, module: &str, id: &str) -> Option<&Doc> {
        let newest = self.unseen.iter().rev().map(|(_, doc)| doc);
        newest
            .chain(&self.docs)
            .find(|doc| doc.module == module && doc.id == id)
    }

    /// A save by the node `own` itself (wire spec 4.2): of a record of its own, of a new one, or of another node's.
    pub(crate) fn save(
        &mut self,
        own: &str,
        now: Timestamp,
        (module, id): (&str, &str),
        deleted: bool,
        change: impl FnOnce(&mut Value),
    ) {
        self.refresh();
        let before = self.doc(module, id).map(|doc| doc.source.clone());
        let mut source = before.unwrap_or_else(|| json!({ "id": id }));
        change(&mut source);
        let status = &mut source["emrecordstatus"];
        if !status["mastereditclusterid"].is_string() {
            *status = json!({ "mastereditclusterid": own });
        }
        status["recorddeleted"] = json!(deleted);
        status["lastmodifiedclusterid"] = json!(own);
        status["recordmodificationdate"] = json!(now.to_string());
        if status["mastereditclusterid"] == json!(own) {
            status["masterrecordmodificationdate"] = json!(now.to_string());
        }
        let (module, id) = (module.to_owned(), id.to_owned());
        self.record(Doc { module, id, source });
    }

    /// Removes a record without a trace: a hard delete (wire spec 7.1).
    pub(crate) fn hard_delete(&mut self, module: &str, id: &str) {
        self.docs
            .retain(|old| (old.module.as_str(), old.id.as_str()) != (module, id));
    }

    /// Adds or replaces an original.
    pub(crate) fn original(&mut self, path: &str, bytes: impl Into<Bytes>, mtime: i64) {
        let bytes = bytes.into();
        self.originals
            .insert(path.to_owned(), File { bytes, mtime });
    }

    /// Adds or replaces a generated file; `path` begins with its asset's source path.
    pub(crate) fn generated(&mut self, path: &str, bytes: impl Into<Bytes>, mtime: i64) {
        let bytes = bytes.into();
        self.generated
            .insert(path.to_owned(), File { bytes, mtime });
    }

    /// Lists a generated file for an asset whose `localpath` is whatever the server likes.
    pub(crate) fn listed_at(&mut self, asset: &str, localpath: &str) {
        self.crooked.insert(asset.to_owned(), localpath.to_owned());
    }

    /// Removes a file from either tree.
    pub(crate) fn remove_file(&mut self, path: &str) {
        self.originals.remove(path);
        self.generated.remove(path);
    }
}
