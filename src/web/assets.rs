//! The assets of this node: all of them with their thumbnails, and everything about one.

use std::collections::HashMap;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use axum::{Extension, Json};
use serde_json::Value;

use super::Web;
use super::error::Error;
use super::media::{address, shown_as};
use super::shell::{Said, Shell, escaped, html, when};
use crate::catalogue::{FileRow, Session, StoredRecord};
use crate::model::{FileKind, Module};
use crate::protocol::record;
use crate::text::{bytes, counted};
use crate::why::{self, Answer};

/// Assets on a page.
const PAGE: usize = 48;
/// Records looked at for one page of a search; then it goes on with the next page.
const LOOKED_AT: u64 = 20_000;
/// Records read at a time.
const STEP: u64 = 500;

/// What is looked for, and from where on.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    q: String,
    after: String,
}

#[derive(Template)]
#[template(path = "assets.html", config = "src/web/askama.toml")]
struct All {
    shell: Shell,
    q: String,
    assets: Vec<Tile>,
    /// Address of the next page, if there may be one.
    next: Option<String>,
}

struct Tile {
    id: String,
    name: String,
    thumb: Option<String>,
}

/// Assets page by page, in the order of their ids.
pub(super) async fn browse(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Error> {
    let q = wanted.q.trim().to_owned();
    let (found, last) = look(&web, &q, wanted.after).await?;
    let files = files_of(&web, &found).await?;
    let tile = |stored: &StoredRecord| {
        let id = &stored.record.key.id;
        Tile {
            id: escaped(id),
            name: name_of(stored),
            thumb: files.get(id).and_then(|files| thumb(files)),
        }
    };
    html(&All {
        shell: Shell::new(&web, &session, "assets"),
        assets: found.iter().map(tile).collect(),
        next: last.map(|last| format!("/ui/assets?q={}&after={}", escaped(&q), escaped(&last))),
        q,
    })
}

/// A page of assets as JSON.
#[derive(serde::Serialize)]
pub(super) struct Printed {
    assets: Vec<Named>,
    /// The `after` of the next page, if there may be one.
    next: Option<String>,
}

#[derive(serde::Serialize)]
struct Named {
    id: String,
    name: String,
    sourcepath: Option<String>,
    files: Vec<Listed>,
}

#[derive(serde::Serialize)]
struct Listed {
    kind: &'static str,
    path: String,
    size: u64,
    modified: String,
    sha256: String,
    is_here: bool,
}

impl From<FileRow> for Listed {
    fn from(row: FileRow) -> Self {
        Self {
            kind: match row.file.kind {
                FileKind::Original => "original",
                FileKind::Generated => "generated",
            },
            is_here: row.is_here(),
            size: row.file.size,
            modified: row.file.modified.to_string(),
            sha256: row.file.sha256.to_string(),
            path: row.file.path.to_string(),
        }
    }
}

/// The same as JSON, with the files of each.
pub(super) async fn api(
    State(web): State<Arc<Web>>,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Printed>, Error> {
    let (found, next) = look(&web, wanted.q.trim(), wanted.after).await?;
    let mut files = files_of(&web, &found).await?;
    let named = |stored: StoredRecord| Named {
        name: name_of(&stored),
        sourcepath: member(&stored, "sourcepath"),
        files: (files.remove(&stored.record.key.id).into_iter().flatten())
            .map(Listed::from)
            .collect(),
        id: stored.record.key.id,
    };
    Ok(Json(Printed {
        assets: found.into_iter().map(named).collect(),
        next,
    }))
}

/// The files of assets, by their ids.
async fn files_of(
    web: &Web,
    assets: &[StoredRecord],
) -> Result<HashMap<String, Vec<FileRow>>, Error> {
    let ids: Vec<_> = assets
        .iter()
        .map(|stored| stored.record.key.id.as_str())
        .collect();
    let mut files: HashMap<String, Vec<FileRow>> = HashMap::new();
    for row in web.node.catalogue.files_of(&ids).await? {
        files
            .entry(row.file.asset.to_string())
            .or_default()
            .push(row);
    }
    Ok(files)
}

/// Assets that are called so, and after which id the next page begins, if there may be one.
async fn look(
    web: &Web,
    q: &str,
    mut after: String,
) -> Result<(Vec<StoredRecord>, Option<String>), Error> {
    let (assets, wanted) = (Module::asset(), q.to_lowercase());
    // JSON writes some characters otherwise; then every record is looked at.
    let plain = !q.contains(|c: char| !c.is_ascii() || "\"\\/".contains(c) || c.is_control());
    let filter = if plain { q } else { "" };
    let (mut found, mut looked_at) = (Vec::new(), 0);
    while looked_at < LOOKED_AT {
        let page = web
            .node
            .catalogue
            .live_with(&assets, filter, &after, STEP)
            .await?;
        let is_last = (page.len() as u64) < STEP;
        looked_at += page.len() as u64;
        for stored in page {
            stored.record.key.id.clone_into(&mut after);
            if wanted.is_empty() || is_called(&stored, &wanted) {
                found.push(stored);
                if found.len() == PAGE {
                    return Ok((found, Some(after)));
                }
            }
        }
        if is_last {
            return Ok((found, None));
        }
    }
    Ok((found, Some(after)))
}

fn member(stored: &StoredRecord, name: &str) -> Option<String> {
    let members: Value = serde_json::from_str(&stored.record.source).ok()?;
    let text = members.get(name)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

fn is_called(stored: &StoredRecord, wanted: &str) -> bool {
    ["name", "sourcepath", "assettitle"]
        .iter()
        .filter_map(|name| member(stored, name))
        .any(|text| text.to_lowercase().contains(wanted))
}

fn name_of(stored: &StoredRecord) -> String {
    member(stored, "name")
        .or_else(|| member(stored, "sourcepath"))
        .unwrap_or_else(|| stored.record.key.id.clone())
}

/// The smallest rendition that fills a tile, else the largest there is.
fn thumb(files: &[FileRow]) -> Option<String> {
    const GOOD: u64 = 3_000;
    let mut shown: Vec<_> = files
        .iter()
        .filter(|row| row.file.kind == FileKind::Generated && shown_as(row).is_some())
        .filter(|row| row.is_here())
        .collect();
    shown.sort_by_key(|row| row.file.size);
    let good = shown.iter().find(|row| row.file.size >= GOOD);
    good.or_else(|| shown.last()).map(|row| address(row))
}

#[derive(Template)]
#[template(path = "asset.html", config = "src/web/askama.toml")]
struct One {
    shell: Shell,
    id: String,
    path: String,
    name: String,
    shots: Vec<Shot>,
    files: Vec<File>,
    members: Vec<(String, String)>,
    why: Option<Answer>,
}

struct Shot {
    address: String,
    name: String,
}

struct File {
    tree: &'static str,
    path: String,
    address: String,
    size: String,
    modified: String,
    sha256: String,
    note: &'static str,
}

/// One asset, or what was to become one.
pub(super) async fn one(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    let why = why::about(&node, &id).await;
    let why = why.map_err(|error| Error::Inside(crate::error::chain(&error)))?;
    let key = crate::model::RecordKey::new(Module::ASSET, &id).map_err(|_| Error::NotFound)?;
    let stored = node.catalogue.record(&key).await?;
    if why.is_none() && stored.is_none() {
        return Err(Error::NotFound);
    }
    let mut rows = node.catalogue.files_of(&[id.as_str()]).await?;
    rows.sort_by_key(|row| (row.file.kind != FileKind::Original, row.file.size));
    let members = stored
        .as_ref()
        .and_then(|stored| record::members(&stored.record).ok())
        .unwrap_or_default();
    html(&One {
        shell: Shell::new(&web, &session, "assets").saying(said.said.as_deref()),
        path: escaped(&id),
        name: stored.as_ref().map_or_else(|| id.clone(), name_of),
        shots: rows.iter().filter_map(shot).collect(),
        files: rows.iter().map(file).collect(),
        members: members
            .into_iter()
            .map(|(name, value)| match value {
                Value::String(text) => (name, text),
                other => (name, other.to_string()),
            })
            .collect(),
        why,
        id,
    })
}

fn shot(row: &FileRow) -> Option<Shot> {
    let is_shown = row.file.kind == FileKind::Generated && shown_as(row).is_some();
    is_shown.then(|| Shot {
        address: address(row),
        name: row.file.path.name().to_owned(),
    })
}

fn file(row: &FileRow) -> File {
    let file = &row.file;
    File {
        tree: file.kind.dir(),
        path: file.path.to_string(),
        address: address(row),
        size: bytes(file.size),
        modified: when(file.modified),
        sha256: file.sha256.to_string(),
        note: match (row.is_damaged(), file.authored) {
            _ if row.evicted => "not here: fetched when it is read",
            (true, _) => "damaged",
            (_, true) => "made here",
            _ => "",
        },
    }
}

impl All {
    fn found(&self) -> String {
        counted(self.assets.len() as u64, "asset")
    }
}
