//! Renditions that an import in EMDB makes of an asset (media spec 1.3) and that are not here: each with the reason, or named as a
//! gap that nothing explains. Looks only.

use std::collections::{HashMap, HashSet};

use super::preview::{self, Preview};
use super::rebuild::{is_made_here, original};
use super::{Error, Settings};
use crate::adapters::no_program;
use crate::catalogue::{FileRow, StoredRecord};
use crate::config::Generated;
use crate::model::preset::{Expected, Subject, expected};
use crate::model::{Asset, AssetId, FileKind};
use crate::node::Node;
use crate::protocol::record;
use crate::shutdown::Shutdown;

/// Assets looked at at once.
const PAGE: usize = 500;

/// A rendition that is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its name below `generated/<source path>/`.
    pub file_name: String,
    /// Why it is not; none where nothing is known that keeps it from being made.
    pub why: Option<String>,
}

/// What is not here of an asset, in EMDB's order, but for pages that are known to allow none. `files` are those of the asset.
///
/// # Errors
/// [`Error::Catalogue`].
pub async fn gaps(
    node: &Node,
    stored: &StoredRecord,
    files: &[FileRow],
) -> Result<Vec<Gap>, Error> {
    let Ok(asset) = record::asset(&stored.record) else {
        return Ok(Vec::new());
    };
    if stored.record.is_deleted() || asset.is_folder {
        return Ok(Vec::new());
    }
    let table = &node.config.media.presets;
    let subject = Subject {
        format: asset.format.as_deref(),
        pages: asset.pages,
    };
    let mut missing = expected(subject, table);
    let here = Here::of(&asset, files);
    missing.retain(|file| !here.has(&file.file_name));
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    let of_asset = [asset.id.as_str()];
    let content = original(&asset, files).map(|original| original.content);
    let findings = node.catalogue.findings(&of_asset).await?;
    let page_findings = node.catalogue.page_findings(&of_asset).await?;
    if let Some(content) = &content {
        let of = (&asset.id, content);
        let known: Vec<_> = page_findings.iter().filter(|it| it.is_about(of)).collect();
        missing.retain(|file| !known.iter().any(|it| it.pages.contains(&file.page)));
    }
    let hopeless = findings
        .into_iter()
        .find(|known| content == Some(known.content))
        .map(|known| format!("no rendition can be made of the original: {}", known.reason));
    let of_all = hopeless
        .or_else(|| left_to_author(node, stored))
        .or_else(|| waits(stored));
    let of_all = of_all.or_else(|| match content {
        None => Some("its original is not here".to_owned()),
        Some(_) => None,
    });
    let settings = Settings::of(node);
    let gap = |file: Expected| Gap {
        why: of_all.clone().or_else(|| unmade(&settings, &asset, &file)),
        file_name: file.file_name,
    };
    Ok(missing.into_iter().map(gap).collect())
}

/// Renditions that nothing explains the absence of, of all assets.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Unexplained {
    /// How many.
    pub total: u64,
    /// The first of them by their assets' ids, below `generated/`.
    pub first: Vec<String>,
}

/// Looks at every asset that did not come from a peer, or came from one whose renditions are made here, a page of them at a time, and names
/// up to `most` renditions that are missing and should not be.
///
/// # Errors
/// [`Error`]; when asked to end it answers with what it found until then.
pub async fn unexplained(
    node: &Node,
    most: usize,
    shutdown: &Shutdown,
) -> Result<Unexplained, Error> {
    let mut found = Unexplained::default();
    // Whatever others make is theirs to make, and a mirror has a million of that.
    let peers = node.config.peers.iter();
    let rebuilt = peers.filter(|peer| peer.generated == Generated::Rebuild);
    for origin in rebuilt.map(|peer| peer.name.as_str()).chain([""]) {
        let mut after = String::new();
        while !shutdown.requested() {
            let catalogue = &node.catalogue;
            let page = catalogue.assets_from(origin, &after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after.clone_from(&last.record.key.id);
            look(node, page, most, &mut found).await?;
        }
    }
    Ok(found)
}

async fn look(
    node: &Node,
    mut page: Vec<StoredRecord>,
    most: usize,
    found: &mut Unexplained,
) -> Result<(), Error> {
    page.retain(|one| is_made_here(&node.config, one));
    let ids: Vec<_> = page.iter().map(|one| one.record.key.id.as_str()).collect();
    let mut files: HashMap<AssetId, Vec<FileRow>> = HashMap::new();
    for row in node.catalogue.files_of(&ids).await? {
        files.entry(row.file.asset.clone()).or_default().push(row);
    }
    for stored in &page {
        let Ok(asset) = record::asset(&stored.record) else {
            continue;
        };
        let files = files.remove(&asset.id).unwrap_or_default();
        let gaps = gaps(node, stored, &files).await?;
        for gap in gaps.into_iter().filter(|gap| gap.why.is_none()) {
            found.total += 1;
            if found.first.len() < most {
                let path = format!("{}/{}", asset.source_path, gap.file_name);
                found.first.push(path);
            }
        }
    }
    Ok(())
}

/// Names of the files of an asset that are here, those in folders by the folder.
struct Here<'a>(HashSet<&'a str>);

impl<'a> Here<'a> {
    fn of(asset: &Asset, files: &'a [FileRow]) -> Self {
        let generated = files
            .iter()
            .filter(|row| row.file.kind == FileKind::Generated);
        let below = generated.filter_map(|row| row.file.path.below(&asset.source_path));
        let first = below.map(|name| name.split_once('/').map_or(name, |(folder, _)| folder));
        Self(first.collect())
    }

    fn has(&self, file_name: &str) -> bool {
        self.0.contains(file_name)
    }
}

/// Who makes the renditions of an asset, where that is not this node.
fn left_to_author(node: &Node, stored: &StoredRecord) -> Option<String> {
    if is_made_here(&node.config, stored) {
        return None;
    }
    let peer = node
        .config
        .peers
        .iter()
        .find(|peer| peer.name == stored.origin);
    let origin = &stored.origin;
    Some(match peer.map(|peer| peer.generated) {
        Some(Generated::Off) => format!("renditions are not copied from {origin}"),
        _ if origin.is_empty() => "its owner, which is no peer of this node, makes it".to_owned(),
        _ => format!(
            "{origin} makes the renditions of this asset, and this one did not come from there"
        ),
    })
}

/// Says so where the record does: an import was cut short, or told to make none.
fn waits(stored: &StoredRecord) -> Option<String> {
    let members = record::members(&stored.record).ok()?;
    let state = members.get(preview::MEMBER)?.as_str()?;
    let says = "it waits for the next import, or `emsync thumbs rebuild --missing`";
    (state == Preview::Waiting.as_str()).then(|| says.to_owned())
}

/// Why this node makes no file of this name of its own assets; none where it does.
fn unmade(settings: &Settings, asset: &Asset, file: &Expected) -> Option<String> {
    let table = &settings.presets;
    let format = asset.format.as_deref().unwrap_or_default();
    let mut conversions = table.conversions(format).into_iter();
    if let Some(conversion) = conversions.find(|it| it.file_name == file.file_name) {
        let product = &conversion.product;
        let has_program = settings.adapters.converts(product, format);
        return (!has_program).then(|| no_program(product, format));
    }
    if !table.renders(format) {
        let lacks = settings.lacks(format);
        return Some(lacks.unwrap_or_else(|| format!("nothing here reads {format}")));
    }
    let made = table.renditions_of_page(Some(format), file.page);
    if made.iter().any(|preset| preset.file_name == file.file_name) {
        return None;
    }
    let mut left = table.left_to_others();
    let asked = left.find(|(preset, _)| preset.id == file.preset);
    Some(match asked {
        Some((_, what)) => format!("its preset asks for {what}, which is not done here"),
        None => "it is none of the files that are made here".to_owned(),
    })
}
