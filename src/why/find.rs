//! From what a person types to the record that is meant: by id, by table and id, by the path of a file it has, wants or had.

use crate::catalogue::{self, Catalogue, Lane, Standing};
use crate::model::job::send_subject;
use crate::model::{FileKind, MediaPath, Module, RecordKey};
use crate::node::Node;
use crate::protocol;
use crate::trash::shown;

/// Most jobs, conflicts and trash entries that are told of one item.
pub(super) const MOST: usize = 1_000;

/// The record that a person means, whether it is still here or not.
pub(super) async fn resolve(node: &Node, id: &str) -> Result<Option<RecordKey>, catalogue::Error> {
    let catalogue = &node.catalogue;
    let asset = RecordKey::new(Module::ASSET, id).ok();
    let other = (id.split_once('/')).and_then(|(table, id)| RecordKey::new(table, id).ok());
    for key in [asset.clone(), other].into_iter().flatten() {
        if catalogue.record(&key).await?.is_some() || !jobs_of(catalogue, &key).await?.is_empty() {
            return Ok(Some(key));
        }
    }
    let asset_key = |asset: &str| RecordKey::new(Module::ASSET, asset).ok();
    for (kind, path) in paths(id) {
        if let Some(row) = catalogue.files_at(kind, &[path.as_str()]).await?.first() {
            return Ok(asset_key(row.file.asset.as_str()));
        }
        let subject = shown(kind, &path);
        for peer in &node.config.peers {
            if let Some(asset) = catalogue.asset_of_job(&peer.name, &subject).await? {
                return Ok(asset_key(&asset));
            }
        }
        if let Some(asset) = catalogue.former_owner(&path).await? {
            return Ok(asset_key(&asset));
        }
    }
    for (kind, path) in paths(id) {
        if let Some(key) = naming(catalogue, kind, &path).await? {
            return Ok(Some(key));
        }
    }
    let Some(key) = asset else { return Ok(None) };
    let former = catalogue.former_of(&key.id, 0, 1).await?;
    Ok((!former.is_empty()).then_some(key))
}

/// The live asset that gives a file this name, be it here or not; found by reading the records that hold the text.
async fn naming(
    catalogue: &Catalogue,
    kind: FileKind,
    path: &MediaPath,
) -> Result<Option<RecordKey>, catalogue::Error> {
    let module = Module::new(Module::ASSET).expect("the name of a table");
    let mut after = String::new();
    loop {
        let page = catalogue
            .live_with(&module, path.name(), &after, MOST as u64)
            .await?;
        let Some(last) = page.last() else {
            return Ok(None);
        };
        after.clone_from(&last.record.key.id);
        let mut records = page.iter().map(|stored| &stored.record);
        let found = records.find(|record| {
            protocol::record::asset(record).is_ok_and(|asset| asset.names(kind, path))
        });
        if let Some(record) = found {
            return Ok(Some(record.key.clone()));
        }
    }
}

/// What a text can mean as a path.
fn paths(text: &str) -> Vec<(FileKind, MediaPath)> {
    let mut found = Vec::new();
    for kind in [FileKind::Original, FileKind::Generated] {
        let below = text
            .strip_prefix(kind.dir())
            .and_then(|rest| rest.strip_prefix('/'));
        for text in below.into_iter().chain([text]) {
            found.extend(MediaPath::new(text).ok().map(|path| (kind, path)));
        }
    }
    found
}

/// The jobs about a record: of its files when it is an asset, and of itself when it could not be taken.
pub(super) async fn jobs_of(
    catalogue: &Catalogue,
    key: &RecordKey,
) -> Result<Vec<Standing>, catalogue::Error> {
    let mut jobs = catalogue.jobs_about(&key.id, MOST).await?;
    let itself = format!("record:{key}");
    jobs.retain(|job| match job.lane {
        Lane::Record => job.subject == itself,
        Lane::Upload if job.subject.starts_with("push:") => job.subject == send_subject(key),
        _ => key.module.is_asset(),
    });
    Ok(jobs)
}
