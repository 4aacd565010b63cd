//! Why an item is not in sync: everything that the catalogue, the disk and the trash know of it, layer by layer. Looks only.

mod find;
mod past;
mod succession;

use crate::catalogue::{self, FileRow, JobState, Lane, Standing, StoredRecord};
use crate::model::job::send_subject;
use crate::model::{FileKind, RecordKey};
use crate::node::Node;
use crate::protocol;
use crate::renditions::gaps::gaps;
use crate::trash::{self, shown};
use find::{jobs_of, resolve};

/// What can go wrong while somebody looks.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalogue failed.
    #[error(transparent)]
    Catalogue(#[from] catalogue::Error),
    /// The trash cannot be read.
    #[error(transparent)]
    Trash(#[from] trash::Error),
    /// What renditions there should be cannot be told.
    #[error(transparent)]
    Renditions(#[from] crate::renditions::Error),
    /// A look at the disk broke down.
    #[error("a look at the disk broke down")]
    Disk(#[from] tokio::task::JoinError),
}

/// What is known of an item.
#[derive(Debug, serde::Serialize)]
pub struct Answer {
    /// Which record.
    pub item: String,
    /// Whether nothing of it is set aside, held, missing or changed.
    pub is_well: bool,
    /// Layer by layer.
    pub layers: Layers,
    /// What the last comparison with each peer said of it.
    pub compared: Vec<String>,
    /// Conflicts over it.
    pub conflicts: Vec<String>,
    /// What lies in the trash of it.
    pub trash: Vec<String>,
    /// What a person can do.
    pub advice: Vec<String>,
}

/// The four layers.
#[derive(Debug, Default, serde::Serialize)]
pub struct Layers {
    /// The record itself.
    pub record: Layer,
    /// Its originals.
    pub originals: Layer,
    /// Its generated.
    pub generated: Layer,
    /// Whether it is deleted, or about to be.
    pub deletes: Layer,
}

/// One layer.
#[derive(Debug, Default, serde::Serialize)]
pub struct Layer {
    /// How it stands, in a few words.
    pub state: String,
    /// Each thing that can be said of it.
    pub details: Vec<String>,
}

impl Answer {
    /// Whatever else there is to say, by what it is about.
    #[must_use]
    pub fn lines(&self) -> [(&'static str, &[String]); 4] {
        [
            ("compared", &self.compared),
            ("conflicts", &self.conflicts),
            ("trash", &self.trash),
            ("what to do", &self.advice),
        ]
    }
}

impl Layers {
    /// The layers with their names.
    #[must_use]
    pub fn named(&self) -> [(&'static str, &Layer); 4] {
        [
            ("record", &self.record),
            ("originals", &self.originals),
            ("generated", &self.generated),
            ("deletes", &self.deletes),
        ]
    }
}

/// What is known of `id`: an asset, `table/id`, or the path of a file; `None` when nothing is.
///
/// # Errors
/// [`Error`].
pub async fn about(node: &Node, id: &str) -> Result<Option<Answer>, Error> {
    let Some(key) = resolve(node, id).await? else {
        return Ok(None);
    };
    let (catalogue, own) = (&node.catalogue, &node.config.node.cluster_id);
    let record = catalogue.record(&key).await?;
    let files = match key.module.is_asset() {
        true => catalogue.files_of(&[key.id.as_str()]).await?,
        false => Vec::new(),
    };
    let jobs = jobs_of(catalogue, &key).await?;
    let mut asked = Asked {
        node,
        key,
        record,
        files,
        jobs,
        is_well: true,
        advice: Vec::new(),
    };
    let mut record = asked.record_layer();
    record.details.extend(asked.succession().await?);
    let layers = Layers {
        record,
        originals: asked.files_layer(FileKind::Original).await?,
        generated: asked.files_layer(FileKind::Generated).await?,
        deletes: asked.deletes_layer(own),
    };
    let compared = asked.compared().await?;
    let conflicts = asked.conflicts().await?;
    let trash = asked.trash().await?;
    asked.advice.dedup();
    Ok(Some(Answer {
        item: asked.key.to_string(),
        is_well: asked.is_well,
        layers,
        compared,
        conflicts,
        trash,
        advice: asked.advice,
    }))
}

/// A record that was asked for, with all that decides about it.
struct Asked<'a> {
    node: &'a Node,
    key: RecordKey,
    record: Option<StoredRecord>,
    files: Vec<FileRow>,
    jobs: Vec<Standing>,
    is_well: bool,
    advice: Vec<String>,
}

impl Asked<'_> {
    fn record_layer(&mut self) -> Layer {
        let mut layer = Layer::default();
        match &self.record {
            None => layer.state = "not here".to_owned(),
            Some(stored) => {
                let deleted = stored.record.is_deleted();
                layer.state = if deleted { "a tombstone" } else { "here" }.to_owned();
                let origin = match stored.origin.as_str() {
                    "" => "made on this node".to_owned(),
                    peer => format!("came from peer {peer}"),
                };
                layer
                    .details
                    .push(format!("{origin}, received {}", stored.received_at));
                match &stored.record.status {
                    Some(status) => layer.details.push(format!(
                        "owned by {}, last saved by {} at {}",
                        status.master, status.modified_by, status.modified
                    )),
                    None => layer
                        .details
                        .push("without a status: it is kept and not passed on".to_owned()),
                }
            }
        }
        let itself = send_subject(&self.key);
        self.tell_jobs(&mut layer, |job| match job.lane {
            Lane::Record => true,
            Lane::Upload => job.subject == itself,
            _ => false,
        });
        layer
    }

    async fn files_layer(&mut self, kind: FileKind) -> Result<Layer, Error> {
        let mut layer = Layer::default();
        if !self.key.module.is_asset() {
            layer.state = "not an asset: it has no files".to_owned();
            return Ok(layer);
        }
        let rows: Vec<FileRow> = (self.files.iter())
            .filter(|row| row.file.kind == kind)
            .cloned()
            .collect();
        for row in &rows {
            self.tell_file(&mut layer, row).await?;
        }
        let prefix = format!("{}/", kind.dir());
        self.tell_jobs(&mut layer, |job| match job.lane {
            Lane::Small | Lane::Large => job.subject.starts_with(&prefix),
            Lane::Media => kind == FileKind::Generated,
            Lane::Remove => job.subject.contains(&prefix),
            Lane::Upload => job
                .subject
                .strip_prefix("upload:")
                .is_some_and(|file| file.starts_with(&prefix)),
            Lane::Delete | Lane::Record => false,
        });
        if kind == FileKind::Generated {
            for finding in self
                .node
                .catalogue
                .findings(&[self.key.id.as_str()])
                .await?
            {
                layer.details.push(format!(
                    "no rendition can be made of the original: {} (a finding, not a failure)",
                    finding.reason
                ));
            }
            for finding in self
                .node
                .catalogue
                .page_findings(&[self.key.id.as_str()])
                .await?
            {
                let (pages, reason) = (finding.said_pages(), &finding.reason);
                let told = format!("no rendition can be made of {pages}: {reason}");
                layer.details.push(told);
            }
            self.tell_gaps(&mut layer).await?;
        }
        if let Some(peer) = self.left_out_by(kind).await? {
            let told =
                format!("the filter of peer {peer} leaves it out: not fetched and not compared");
            layer.details.push(told);
        }
        layer.state = match rows.len() {
            0 => self.why_none(kind),
            1 => "1 file".to_owned(),
            many => format!("{many} files"),
        };
        Ok(layer)
    }

    /// The peer whose filter leaves the files of a kind out.
    async fn left_out_by(&self, kind: FileKind) -> Result<Option<&str>, Error> {
        let Some(stored) = &self.record else {
            return Ok(None);
        };
        let mut peers = self.node.config.peers.iter();
        let Some(peer) = peers.find(|peer| peer.name == stored.origin) else {
            return Ok(None);
        };
        if peer.filter.is_empty() || kind == FileKind::Generated && peer.filter.all_renditions {
            return Ok(None);
        }
        let selection = self.node.catalogue.select(&peer.filter).await?;
        let now = self.node.seams.clock.now();
        let asset = protocol::record::asset(&stored.record).ok();
        let is_out = asset.is_some_and(|asset| !selection.keeps(&asset, now));
        Ok(is_out.then_some(peer.name.as_str()))
    }

    /// Why there is no file of a kind, as far as the record says.
    fn why_none(&self, kind: FileKind) -> String {
        let live = self
            .record
            .as_ref()
            .filter(|stored| !stored.record.is_deleted());
        let Some(stored) = live else {
            return "none".to_owned();
        };
        let states = protocol::record::asset(&stored.record).ok();
        let stated = states.is_some_and(|asset| asset.stated_original().is_some());
        match kind {
            FileKind::Original if stated => "none here, although the record states one".to_owned(),
            FileKind::Original => "none: the record states no file".to_owned(),
            FileKind::Generated => "none".to_owned(),
        }
    }

    /// A row, and whether the disk agrees.
    async fn tell_file(&mut self, layer: &mut Layer, row: &FileRow) -> Result<(), Error> {
        let file = &row.file;
        let (store, kind, path) = (self.node.store.clone(), file.kind, file.place().clone());
        let stat = tokio::task::spawn_blocking(move || store.stat(kind, &path)).await?;
        let name = shown(kind, &file.path);
        let mut trouble = |what: String| {
            self.is_well = false;
            self.advice.push(format!(
                "`emsync seed PEER` looks at the disk and fetches {name} again; so do `emsync scrub` and `emsync sync PEER` what a look found, and `emsync import DIR` what came from a folder"
            ));
            what
        };
        let disk = match stat {
            _ if row.evicted => "gone to make room, and fetched when somebody reads it".to_owned(),
            Ok(Some(stat)) if stat.size != file.size => {
                trouble(format!("ON DISK {} bytes, not {}", stat.size, file.size))
            }
            Ok(Some(stat)) if stat.modified.whole_second() != file.modified.whole_second() => {
                trouble(format!(
                    "ON DISK dated {}, not {}",
                    stat.modified, file.modified
                ))
            }
            Ok(Some(_)) if row.is_damaged() => trouble("DAMAGED".to_owned()),
            Ok(Some(_)) => "on disk as its row says".to_owned(),
            Ok(None) => trouble("MISSING on disk".to_owned()),
            Err(error) => trouble(format!("NOT READABLE: {error}")),
        };
        let author = if file.authored { ", made here" } else { "" };
        layer.details.push(format!(
            "{name}: {} bytes, sha256 {}{author}; {disk}",
            file.size, file.sha256
        ));
        if let Some(at) = row.damaged_at {
            let found = self.node.catalogue.scrub_findings_of(file.asset.as_str());
            let found = found.await?.into_iter().find(|found| {
                (found.kind, &found.path) == (kind, &file.path) && found.cause.is_some()
            });
            let how = match found.and_then(|found| found.cause) {
                Some(cause) => format!("{}: not on disk as its row says", cause.name()),
                None => "not to be on disk as its row says".to_owned(),
            };
            layer.details.push(format!("{name}: found at {at} {how}"));
        }
        if let Some(at) = row.unlisted_at {
            layer.details.push(format!(
                "{name}: no longer listed since {at}; it goes when another listing lacks it too"
            ));
        }
        Ok(())
    }

    /// What an import in EMDB makes of the asset and is not here, each with why.
    async fn tell_gaps(&mut self, layer: &mut Layer) -> Result<(), Error> {
        const MOST: usize = 20;
        let Some(stored) = &self.record else {
            return Ok(());
        };
        let gaps = gaps(self.node, stored, &self.files).await?;
        let (known, unknown): (Vec<_>, Vec<_>) = gaps.iter().partition(|gap| gap.why.is_some());
        for gap in known.iter().chain(&unknown).take(MOST) {
            let name = &gap.file_name;
            layer.details.push(match &gap.why {
                Some(why) => format!("{name} is not here: {why}"),
                None => format!(
                    "{name} is MISSING: an import makes it, and nothing says why it did not"
                ),
            });
        }
        if gaps.len() > MOST {
            let more = gaps.len() - MOST;
            layer.details.push(format!("{more} more are not here"));
        }
        if !unknown.is_empty() {
            self.is_well = false;
            self.advice.push(format!(
                "`emsync thumbs rebuild --missing --asset {}` makes what is missing",
                self.key.id
            ));
        }
        Ok(())
    }

    fn deletes_layer(&mut self, own: &crate::model::NodeId) -> Layer {
        let mut layer = Layer {
            state: "nothing to delete".to_owned(),
            details: Vec::new(),
        };
        if let Some(stored) = self
            .record
            .as_ref()
            .filter(|stored| stored.record.is_deleted())
        {
            layer.state = "deleted".to_owned();
            if let Some(status) = &stored.record.status {
                let us = if status.modified_by == *own {
                    " (this node)"
                } else {
                    ""
                };
                layer.details.push(format!(
                    "by {}{us} at {}, owned by {}",
                    status.modified_by, status.modified, status.master
                ));
            }
        }
        if self.jobs.iter().any(|job| job.lane == Lane::Delete) {
            layer.state = "a delete waits".to_owned();
        }
        self.tell_jobs(&mut layer, |job| job.lane == Lane::Delete);
        layer
    }

    /// Every job of a layer: what was tried, when next, what a person can do.
    fn tell_jobs(&mut self, layer: &mut Layer, belongs: impl Fn(&Standing) -> bool) {
        for job in self.jobs.iter().filter(|job| belongs(job)) {
            let tries = match job.attempts {
                0 => "not tried yet".to_owned(),
                1 => "tried once".to_owned(),
                many => format!("tried {many} times"),
            };
            let last = match job.reason.as_str() {
                "" => String::new(),
                reason => format!(", last: {reason}"),
            };
            let peer = &job.peer;
            let state = match job.state {
                JobState::Waiting => {
                    self.advice.push(again(peer));
                    format!("WAITING, {tries}{last}; due {}", job.run_at)
                }
                JobState::Leased => format!("IN HAND of a run, {tries}{last}"),
                JobState::Quarantined => {
                    self.is_well = false;
                    self.advice.push(match job.lane {
                        _ if peer.is_empty() => "`emsync scrub` asks the peers again; bring the file back to one of them, or import it again".to_owned(),
                        Lane::Record => format!("mend the record on {peer}, or `emsync seed {peer}` to take it again"),
                        Lane::Upload => format!(
                            "`emsync push {peer}` tries it once more; `emsync quarantine drop {}` lets it go",
                            job.id
                        ),
                        _ => format!(
                            "`emsync quarantine retry {}` and `emsync sync {peer}`, or `emsync quarantine drop {}`",
                            job.id, job.id
                        ),
                    });
                    format!(
                        "SET ASIDE as {}, {tries}{last}; each sync gives it one more try",
                        job.id
                    )
                }
                JobState::Held => {
                    self.is_well = false;
                    self.advice.push(format!(
                        "look at the held deletes of {peer}; `emsync sync {peer} --max-delete N`, with N at least their number (`emsync status`), lets them go"
                    ));
                    "HELD by the delete guard".to_owned()
                }
            };
            layer.details.push(match peer.as_str() {
                "" => format!("{}: {state}", job.subject),
                peer => format!("{} ({peer}): {state}", job.subject),
            });
        }
    }
}

fn again(peer: &str) -> String {
    match peer {
        "" => "this node's next delete finishes it".to_owned(),
        peer => format!("`emsync sync {peer}` tries it now"),
    }
}
