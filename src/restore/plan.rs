//! What has to be done so that an asset is as it was: decided before anything is touched.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{Error, Told, records};
use crate::catalogue::{FileRow, Former, Reason, StoredRecord, Then};
use crate::model::{
    Asset, AssetId, FileKind, ListedFile, MediaFile, MediaPath, Module, NodeId, Record, RecordKey,
    Timestamp,
};
use crate::node::Node;
use crate::protocol::record;
use crate::store::Trashed;
use crate::trash::{Restorer, shown};

/// Former files of an asset read at a time.
const PAGE: usize = 500;

/// What becomes of one asset.
pub(super) enum Plan {
    /// It is as it was.
    Nothing,
    /// The same, and its original came here since then: an earlier restore brought it back.
    BackAlready(AssetId),
    /// It did not exist then.
    Newer(Box<StoredRecord>),
    /// It goes back.
    Back(Box<Back>),
    /// It cannot.
    Failed(Told),
}

/// An asset that goes back.
pub(super) struct Back {
    pub(super) asset: AssetId,
    pub(super) key: RecordKey,
    /// As the record is now; changed meanwhile, nothing is done.
    pub(super) now: Option<StoredRecord>,
    /// Its members of then, where they are others.
    pub(super) members: Option<Map<String, Value>>,
    pub(super) undeletes: bool,
    /// Who owns it, where that is not this node.
    owner: Option<NodeId>,
    /// Originals that come back.
    pub(super) files: Vec<FileBack>,
    /// Files that it does not name then.
    pub(super) superfluous: Vec<MediaFile>,
    path: String,
}

/// An original that comes back.
pub(super) struct FileBack {
    /// The row of then.
    pub(super) former: Former,
    /// Where its bytes are.
    pub(super) source: Source,
    /// The place of the row of now, if there is one.
    pub(super) place: Option<MediaPath>,
}

/// Where bytes are.
#[derive(Clone)]
pub(super) enum Source {
    Trash(Trashed),
    Here(MediaFile),
}

impl Back {
    /// Whether it may go back together with others: nothing that goes for it makes a place free that another may want.
    pub(super) fn goes_with_others(&self) -> bool {
        self.superfluous.is_empty()
    }

    /// Bytes that come back.
    pub(super) fn bytes(&self) -> u64 {
        let sizes = self.files.iter().map(|file| file.former.file.size);
        sizes.fold(0, u64::saturating_add)
    }

    /// What is done, in words.
    pub(super) fn told(&self) -> Told {
        let mut does = Vec::new();
        if self.undeletes {
            does.push("is deleted no more".to_owned());
        } else if self.members.is_some() {
            does.push("its record goes back".to_owned());
        }
        // Only its record: files are for their owner to restore.
        does.extend(self.owner.as_ref().map(records::of_another));
        for file in &self.files {
            let from = match &file.source {
                Source::Trash(item) => format!("from the trash ({})", item.id()),
                Source::Here(other) => format!("from {}", shown(other.kind, &other.path)),
            };
            let of = &file.former.file;
            let name = shown(of.kind, &of.path);
            does.push(format!("{name}: {} bytes come back {from}", of.size));
        }
        for file in &self.superfluous {
            let name = shown(file.kind, &file.path);
            does.push(format!("{name} goes to the trash"));
        }
        Told {
            path: Some(self.path.clone()),
            does,
            ..Told::of(&self.key)
        }
    }
}

/// Says of an asset that it is newer.
pub(super) fn newer(stored: &StoredRecord) -> Told {
    let asset = record::asset(&stored.record).ok();
    Told {
        path: asset.map(|asset| asset.source_path.to_string()),
        ..Told::of(&stored.record.key)
    }
}

/// Plans assets for one moment.
pub(super) struct Planner<'a> {
    node: &'a Node,
    to: Timestamp,
    category: Option<&'a HashSet<String>>,
}

/// An asset whose former files are still to be looked for in the trash.
struct Draft {
    back: Back,
    wanted: Vec<(Former, Option<MediaPath>)>,
}

enum Drafted {
    Done(Plan),
    Open(Box<Draft>),
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        node: &'a Node,
        to: Timestamp,
        category: Option<&'a HashSet<String>>,
    ) -> Self {
        Self { node, to, category }
    }

    /// Plans these assets, with one walk of the trash for all of them.
    pub(super) async fn plan(&self, ids: &[String]) -> Result<Vec<Plan>, Error> {
        let mut drafts = Vec::with_capacity(ids.len());
        for id in ids {
            drafts.push(self.draft(id).await?);
        }
        let wanted = drafts.iter().filter_map(|drafted| match drafted {
            Drafted::Open(draft) => Some(draft),
            Drafted::Done(_) => None,
        });
        let wanted: Vec<Former> = wanted
            .flat_map(|draft| draft.wanted.iter().map(|(former, _)| former.clone()))
            .collect();
        let restorer = Restorer {
            store: &self.node.store,
            catalogue: &self.node.catalogue,
            own: &self.node.config.node.cluster_id,
            seams: &self.node.seams,
        };
        let located = restorer.locate(wanted).await?;
        let located: BTreeMap<i64, Option<Trashed>> = located
            .into_iter()
            .map(|(former, item)| (former.id, item))
            .collect();
        let mut plans = Vec::with_capacity(drafts.len());
        for drafted in drafts {
            plans.push(match drafted {
                Drafted::Done(plan) => plan,
                Drafted::Open(draft) => self.complete(*draft, &restorer, &located).await?,
            });
        }
        Ok(plans)
    }

    async fn draft(&self, id: &str) -> Result<Drafted, Error> {
        let catalogue = &self.node.catalogue;
        let Ok(asset_id) = AssetId::new(id) else {
            return Ok(Drafted::Done(Plan::Nothing));
        };
        let key = asset_id.key();
        let now = catalogue.record(&key).await?;
        let live = now.as_ref().filter(|now| !now.record.is_deleted());
        let then = catalogue.record_at(&key, self.to).await?;
        let source = match then {
            Then::AsNow => live.map(|live| live.record.source.clone()),
            Then::Was {
                deleted: false,
                source,
                ..
            } => Some(source),
            Then::Absent | Then::Was { .. } => None,
        };
        let Some(source) = source else {
            let newer = live.filter(|live| self.is_meant(&live.record)).cloned();
            let plan = newer.map_or(Plan::Nothing, |newer| Plan::Newer(Box::new(newer)));
            return Ok(Drafted::Done(plan));
        };
        let failed = |why: String, path: Option<String>| {
            Ok(Drafted::Done(Plan::Failed(Told {
                path,
                error: Some(why),
                ..Told::of(&key)
            })))
        };
        let raw = RawValue::from_string(source).map_err(|error| error.to_string());
        let read = raw.and_then(|raw| {
            let was = record::record(Module::ASSET, id, &raw).map_err(|bad| bad.to_string())?;
            let asset = record::asset(&was).map_err(|bad| bad.to_string())?;
            let members = record::unstamped(&was).map_err(|bad| bad.to_string())?;
            Ok((was, asset, members))
        });
        let (was, asset, members) = match read {
            Ok(read) => read,
            Err(why) => return failed(format!("its record of then cannot be read: {why}"), None),
        };
        let is_meant = self.is_meant(&was) || live.is_some_and(|live| self.is_meant(&live.record));
        if !is_meant {
            return Ok(Drafted::Done(Plan::Nothing));
        }
        let path = asset.source_path.to_string();
        let rows = catalogue.files_of(&[id]).await?;
        let wanted = match self.wanted(&asset, &rows).await? {
            Ok(wanted) => wanted,
            Err(why) => return failed(why, Some(path)),
        };
        let superfluous = rows
            .iter()
            .filter(|row| !asset.names(row.file.kind, &row.file.path));
        let superfluous: Vec<_> = superfluous.map(|row| row.file.clone()).collect();
        let members = match live {
            Some(live) => {
                let same = record::unstamped(&live.record).is_ok_and(|now| is_same(&now, &members));
                (!same).then_some(members)
            }
            None => Some(members),
        };
        if members.is_none() && wanted.is_empty() && superfluous.is_empty() {
            let mut originals = (rows.iter()).filter(|row| row.file.kind == FileKind::Original);
            let came_back = originals.any(|row| row.received_at > self.to);
            return Ok(Drafted::Done(match came_back {
                true => Plan::BackAlready(asset_id),
                false => Plan::Nothing,
            }));
        }
        let undeletes = live.is_none();
        let touches_files = undeletes || !wanted.is_empty() || !superfluous.is_empty();
        let owner = now.as_ref().and_then(|now| now.record.status.as_ref());
        let owner = owner.map(|status| status.master.clone());
        let owner = owner.filter(|master| *master != self.node.config.node.cluster_id);
        if let Some(owner) = owner.as_ref().filter(|_| touches_files) {
            let why = format!(
                "its file is owned by {owner}: restore it there, or copy the bytes out with `emsync trash restore --to`"
            );
            return failed(why, Some(path));
        }
        Ok(Drafted::Open(Box::new(Draft {
            back: Back {
                asset: asset_id,
                key,
                now,
                members,
                undeletes,
                owner,
                files: Vec::new(),
                superfluous,
                path,
            },
            wanted,
        })))
    }

    /// The originals of then that are not here now; or why they are not known.
    async fn wanted(
        &self,
        asset: &Asset,
        rows: &[FileRow],
    ) -> Result<Result<Vec<(Former, Option<MediaPath>)>, String>, Error> {
        let stated = asset.stated_original();
        let mut first: BTreeMap<MediaPath, Former> = BTreeMap::new();
        let mut after = 0;
        loop {
            let page = (self.node.catalogue)
                .former_of(asset.id.as_str(), after, PAGE)
                .await?;
            let is_last = page.len() < PAGE;
            after = page.last().map_or(after, |former| former.id);
            for former in page {
                let file = &former.file;
                let is_bad = matches!(
                    former.reason,
                    Reason::Rotten | Reason::Truncated | Reason::Foreign | Reason::Unreadable
                );
                // What the record states tells its original apart from what came back and went again since.
                let may_be = stated
                    .as_ref()
                    .filter(|stated| stated.path == file.path)
                    .is_none_or(|stated| states(stated, file));
                let counts = file.kind == FileKind::Original
                    && former.gone_at > self.to
                    && !is_bad
                    && may_be
                    && asset.names_original(&file.path);
                if counts {
                    // They come in the order they went; the first that went after the moment was here at it.
                    first.entry(file.path.clone()).or_insert(former);
                }
            }
            if is_last {
                break;
            }
        }
        let here = |path: &MediaPath| {
            rows.iter()
                .find(|row| row.file.kind == FileKind::Original && row.file.path == *path)
        };
        if let Some(stated) = &stated {
            let row = here(&stated.path).filter(|row| !row.is_damaged());
            if row.is_some_and(|row| states(stated, &row.file)) {
                first.remove(&stated.path);
            } else if !first.contains_key(&stated.path) {
                let name = shown(FileKind::Original, &stated.path);
                return Ok(Err(format!(
                    "{name}: what it was then is not known any more"
                )));
            }
        }
        let wanted = first.into_values().filter_map(|former| {
            let row = here(&former.file.path);
            let is_same =
                row.is_some_and(|row| row.file.sha256 == former.file.sha256 && !row.is_damaged());
            let place = row.map(|row| row.file.place().clone());
            (!is_same).then_some((former, place))
        });
        Ok(Ok(wanted.collect()))
    }

    /// Finds the bytes of what is wanted.
    async fn complete(
        &self,
        Draft { mut back, wanted }: Draft,
        restorer: &Restorer<'_>,
        located: &BTreeMap<i64, Option<Trashed>>,
    ) -> Result<Plan, Error> {
        for (former, place) in wanted {
            let content = former.file.sha256;
            let mut source = None;
            if let Some(Some(item)) = located.get(&former.id)
                && restorer.hash_trashed(item).await? == content
            {
                source = Some(Source::Trash(item.clone()));
            }
            if source.is_none() {
                let twins = self.node.catalogue.files_with(&content).await?;
                source = twins.into_iter().next().map(|row| Source::Here(row.file));
            }
            let Some(source) = source else {
                let mut told = back.told();
                let name = shown(former.file.kind, &former.file.path);
                told.does.clear();
                told.error = Some(format!(
                    "{name}: its bytes of then (SHA-256 {content}) are in the trash no more"
                ));
                return Ok(Plan::Failed(told));
            };
            back.files.push(FileBack {
                former,
                source,
                place,
            });
        }
        Ok(Plan::Back(Box::new(back)))
    }

    /// Whether an asset is in the category that is asked for, or was then.
    pub(super) async fn has_in_category(&self, asset: &AssetId) -> Result<bool, Error> {
        let (catalogue, key) = (&self.node.catalogue, asset.key());
        let now = catalogue.record(&key).await?;
        if now.is_some_and(|now| self.is_meant(&now.record)) {
            return Ok(true);
        }
        let Then::Was { source, .. } = catalogue.record_at(&key, self.to).await? else {
            return Ok(false);
        };
        let was = RawValue::from_string(source)
            .ok()
            .and_then(|raw| record::record(Module::ASSET, asset.as_str(), &raw).ok());
        Ok(was.is_some_and(|was| self.is_meant(&was)))
    }

    fn is_meant(&self, of: &Record) -> bool {
        self.category
            .is_none_or(|ids| crate::renditions::rebuild::is_in(of, ids).unwrap_or(false))
    }
}

/// Whether a file may be the original that a record states: by MD5 where both know it, else by size and date.
fn states(stated: &ListedFile, file: &MediaFile) -> bool {
    if let (Some(theirs), Some(ours)) = (stated.md5, file.md5) {
        return theirs == ours;
    }
    let has_its_date = |at: Timestamp| at.whole_second() == file.modified.whole_second();
    stated.size.is_none_or(|size| size == file.size) && stated.modified.is_none_or(has_its_date)
}

/// Whether two records say the same; how far renditions are is nothing that a person said.
pub(super) fn is_same(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    let names: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    names
        .into_iter()
        .filter(|name| *name != crate::renditions::preview::MEMBER)
        .all(|name| one.get(name) == other.get(name))
}
