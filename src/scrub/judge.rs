//! What becomes of a suspicion: looked at once more, where nobody else can be at work on the file.
//!
//! ```text
//! locks of the import and of every run              whoever publishes holds one until the rows of its files are in
//! row gone or another, or the file sound now        acquitted: a sync was here
//! else  row says damaged, and why                   committed before anything moves
//!       the bad copy goes into the trash            durably
//!       a row says what it was, the finding so      the order in which a kill leaves nothing unexplained
//! ```
//!
//! Where somebody is at work, suspicions wait: until the end of the walk, then for as long as the run may take.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::Error;
use super::read::{Identity, Reader, Seen};
use crate::catalogue::{Damage, FileRow, FoundOnDisk, JobState, Lane, ScrubFinding, Stage};
use crate::crash::{self, Point};
use crate::model::job::fetched_path;
use crate::model::{AssetId, FileKind, MediaFile, MediaPath, Sha256};
use crate::monitor::Monitor;
use crate::node::{self, Lock, Node};
use crate::pull::Cutoff;
use crate::shutdown::Shutdown;
use crate::trash::shown;

/// The lock of a node that takes files over HTTP.
const SERVE: &str = "serve";
/// Jobs of one asset that are looked at.
const JOBS: usize = 1_000;
/// Findings that are judged together.
const PAGE: usize = 100;
/// Files that are remembered as they were seen.
const KNOWN: usize = 10_000;
/// How often it is looked whether everybody has ended.
const POLL: Duration = Duration::from_millis(200);

type Key = (FileKind, MediaPath, AssetId);

/// What a file was seen to be in this run.
struct Known {
    content: Sha256,
    found: FoundOnDisk,
    identity: Identity,
    is_readable: bool,
}

/// A suspicion that proved true.
struct Guilty {
    file: MediaFile,
    cause: Damage,
    found: Option<FoundOnDisk>,
}

pub(super) struct Judge<'a> {
    node: &'a Node,
    reader: Reader,
    monitor: Arc<dyn Monitor>,
    stop: &'a Shutdown,
    known: HashMap<Key, Known>,
    /// How many were found guilty in this run.
    pub(super) judged: u64,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        node: &'a Node,
        reader: Reader,
        monitor: Arc<dyn Monitor>,
        stop: &'a Shutdown,
    ) -> Self {
        Self {
            node,
            reader,
            monitor,
            stop,
            known: HashMap::new(),
            judged: 0,
        }
    }

    /// Remembers how a file was seen, so that it need not be read once more as long as it is the same.
    pub(super) fn remember(&mut self, row: &FileRow, seen: &Seen) {
        let (found, identity, is_readable) = match seen {
            Seen::Other { found, identity } => (*found, *identity, true),
            Seen::Unreadable { found, identity } => (*found, *identity, false),
            _ => return,
        };
        // What is not remembered is read once more.
        if self.known.len() >= KNOWN {
            return;
        }
        let file = &row.file;
        let key = (file.kind, file.path.clone(), file.asset.clone());
        let known = Known {
            content: file.sha256,
            found,
            identity,
            is_readable,
        };
        self.known.insert(key, known);
    }

    /// Judges all that is suspected, if nobody is at work, or once nobody is, where `wait` says for how long.
    pub(super) async fn all(&mut self, wait: Option<&Cutoff>) -> Result<(), Error> {
        let catalogue = &self.node.catalogue;
        let mut open = false;
        for stage in [Stage::Suspected, Stage::Judged] {
            open |= !catalogue.scrub_findings(stage, None, 1).await?.is_empty();
        }
        if !open {
            return Ok(());
        }
        let Some(_locks) = self.locks(wait).await? else {
            return Ok(());
        };
        self.resume().await?;
        let mut after = None;
        while !self.stop.requested() {
            let some = (self.node.catalogue)
                .scrub_findings(Stage::Suspected, after.as_ref(), PAGE)
                .await?;
            let Some(last) = some.last() else { break };
            after = Some(last.clone());
            self.some(some).await?;
        }
        self.known.clear();
        Ok(())
    }

    /// The locks of everybody who writes files; `None` when somebody goes on working.
    async fn locks(&self, wait: Option<&Cutoff>) -> Result<Option<Vec<Lock>>, Error> {
        let mut has_said = false;
        while !self.stop.requested() {
            let mut locks = Vec::new();
            let mut busy = None;
            for activity in self.node.writers()? {
                match self.node.lock_for_a_moment(&activity) {
                    Ok(lock) => locks.push(lock),
                    Err(error @ node::Error::Busy { .. }) => {
                        busy = Some(error);
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let Some(busy) = busy else {
                return Ok(Some(locks));
            };
            let is_brief = matches!(busy, node::Error::Busy { is_brief: true, .. });
            if wait.is_none_or(Cutoff::is_over) && !is_brief {
                return Ok(None);
            }
            drop(locks);
            if !is_brief && !std::mem::replace(&mut has_said, true) {
                let text = format!("damaged files wait to be looked at once more: {busy}");
                self.monitor.finding(&text);
            }
            tokio::select! {
                () = tokio::time::sleep(POLL) => {}
                () = self.stop.wait() => {}
            }
        }
        Ok(None)
    }

    async fn some(&mut self, findings: Vec<ScrubFinding>) -> Result<(), Error> {
        let (mut guilty, mut acquitted) = (Vec::new(), Vec::new());
        for finding in findings {
            let row = self.row(&finding).await?;
            let Some(row) = row else {
                acquitted.push((finding, None));
                continue;
            };
            if self.is_awaited(&row).await? {
                let name = shown(row.file.kind, &row.file.path);
                self.monitor.finding(&format!(
                    "{name} waits: another node is about to bring it anew"
                ));
                continue;
            }
            let Some(seen) = self.seen(&row).await? else {
                break;
            };
            match self.verdict(&row, seen).await? {
                Verdict::Sound => acquitted.push((finding, Some(row))),
                Verdict::Open(why) => {
                    let name = shown(row.file.kind, &row.file.path);
                    self.monitor
                        .finding(&format!("{name} cannot be looked at: {why}"));
                }
                Verdict::Guilty(one) => guilty.push((finding, one)),
            }
        }
        // A volume that is not there has lost nothing.
        self.node.store.check_marker()?;
        let now = self.node.seams.clock.now();
        let mut batch = self.node.catalogue.batch().await?;
        for (finding, row) in &acquitted {
            batch.acquit(finding, true).await?;
            if let Some(row) = row.as_ref().filter(|row| row.is_damaged()) {
                batch.note_damage(&row.file, None).await?;
            }
        }
        for (_, one) in &guilty {
            batch.judge(&one.file, one.cause, one.found, now).await?;
        }
        batch.commit().await?;
        self.judged += guilty.len() as u64;
        crash::point(Point::ScrubJudged)?;
        let mut judged = Vec::with_capacity(guilty.len());
        for (finding, one) in guilty {
            let Guilty { file, cause, found } = *one;
            self.tell(&file, cause, found);
            let finding = ScrubFinding {
                stage: Stage::Judged,
                cause: Some(cause),
                found,
                ..finding
            };
            judged.push((finding, file));
        }
        self.put_away(judged).await
    }

    /// Goes on with those whose copies a dead run had not put away.
    async fn resume(&self) -> Result<(), Error> {
        let mut after = None;
        loop {
            let some = (self.node.catalogue)
                .scrub_findings(Stage::Judged, after.as_ref(), PAGE)
                .await?;
            let Some(last) = some.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut left = Vec::new();
            for finding in some {
                let Some(row) = self.row(&finding).await? else {
                    continue;
                };
                match self.read(&row).await? {
                    None => return Ok(()),
                    Some(Seen::Sound) => {
                        let mut batch = self.node.catalogue.batch().await?;
                        batch.note_damage(&row.file, None).await?;
                        batch.commit().await?;
                    }
                    Some(_) => left.push((finding, row.file)),
                }
            }
            self.put_away(left).await?;
        }
    }

    /// Moves bad copies into the trash, then notes what they were. One that cannot be moved stays, and is tried again.
    async fn put_away(&self, judged: Vec<(ScrubFinding, MediaFile)>) -> Result<(), Error> {
        if judged.is_empty() {
            return Ok(());
        }
        let store = self.node.store.clone();
        let moved = spawn_blocking(move || {
            let mut moved = Vec::with_capacity(judged.len());
            for (finding, file) in judged {
                match store.trash(file.kind, file.place()) {
                    // What is not there any more went before a kill.
                    Ok(_) => moved.push((finding, file)),
                    Err(error) if error.stops_the_pass() => return Err(error),
                    Err(error) => {
                        tracing::warn!(path = %file.path, %error, "a damaged file stays where it is");
                    }
                }
            }
            Ok(moved)
        });
        let moved = moved.await.map_err(|_| Error::Worker)??;
        crash::point(Point::ScrubTrashed)?;
        let now = self.node.seams.clock.now();
        let mut batch = self.node.catalogue.batch().await?;
        for (finding, file) in &moved {
            let was_there = finding.found.is_some();
            batch.put_away(file, finding, was_there, now).await?;
        }
        Ok(batch.commit().await?)
    }

    /// Whether a running node may be about to publish this file: who hands files in over HTTP holds no lock, but its wish stands until
    /// the row is in.
    async fn is_awaited(&self, row: &FileRow) -> Result<bool, Error> {
        let held = node::held(&self.node.config.state)?;
        if !held.iter().any(|held| held.activity == SERVE) {
            return Ok(false);
        }
        let file = &row.file;
        let jobs = (self.node.catalogue)
            .jobs_about(file.asset.as_str(), JOBS)
            .await?;
        Ok(jobs.iter().any(|job| {
            matches!(job.state, JobState::Waiting | JobState::Leased)
                && matches!(job.lane, Lane::Small | Lane::Large)
                && fetched_path(&job.subject, file.kind) == Some(file.path.as_str())
        }))
    }

    async fn row(&self, finding: &ScrubFinding) -> Result<Option<FileRow>, Error> {
        let row = self
            .node
            .catalogue
            .file(finding.kind, &finding.path, &finding.asset);
        // What went to make room meanwhile is nothing to find.
        Ok(row.await?.filter(|row| !row.evicted))
    }

    /// How the file of a row is: as it was seen before if it is still the same, else read once more.
    async fn seen(&self, row: &FileRow) -> Result<Option<Seen>, Error> {
        let file = &row.file;
        let key = (file.kind, file.path.clone(), file.asset.clone());
        let known = (self.known.get(&key)).filter(|known| known.content == file.sha256);
        if let Some(known) = known {
            let (reader, file, identity) = (self.reader.clone(), file.clone(), known.identity);
            let still = spawn_blocking(move || reader.is_still(&file, identity)).await;
            if still.map_err(|_| Error::Worker)? {
                let (found, identity) = (known.found, known.identity);
                return Ok(Some(match known.is_readable {
                    true => Seen::Other { found, identity },
                    false => Seen::Unreadable { found, identity },
                }));
            }
        }
        self.read(row).await
    }

    async fn read(&self, row: &FileRow) -> Result<Option<Seen>, Error> {
        let (reader, file) = (self.reader.clone(), row.file.clone());
        let looked = spawn_blocking(move || reader.look(&file)).await;
        let looked = looked.map_err(|_| Error::Worker)??;
        Ok(looked.map(|(seen, _)| seen))
    }

    async fn verdict(&self, row: &FileRow, seen: Seen) -> Result<Verdict, Error> {
        let guilty = |cause, found| {
            let file = row.file.clone();
            Ok(Verdict::Guilty(Box::new(Guilty { file, cause, found })))
        };
        match seen {
            Seen::Sound => Ok(Verdict::Sound),
            Seen::OutOfReach { why } => Ok(Verdict::Open(why)),
            Seen::Missing => guilty(Damage::Missing, None),
            Seen::Unreadable { found, .. } => guilty(Damage::Unreadable, Some(found)),
            Seen::Other { found, .. } => {
                let is_known = match found.sha256 {
                    Some(content) if found.size > 0 => {
                        self.node.catalogue.knows_content(&content).await?
                    }
                    _ => false,
                };
                guilty(cause(&row.file, &found, is_known), Some(found))
            }
        }
    }

    fn tell(&self, file: &MediaFile, cause: Damage, found: Option<FoundOnDisk>) {
        let name = shown(file.kind, &file.path);
        let what = match found {
            None => "it is gone".to_owned(),
            Some(FoundOnDisk {
                size,
                sha256: Some(sha256),
                ..
            }) => format!(
                "{size} bytes with SHA-256 {sha256} on disk, {} with {} in the catalogue",
                file.size, file.sha256
            ),
            Some(_) => "the medium does not give it out".to_owned(),
        };
        self.monitor
            .finding(&format!("{name}: {}: {what}", cause.name()));
    }
}

enum Verdict {
    Sound,
    Guilty(Box<Guilty>),
    Open(String),
}

/// What happened to a file that has another content. One that some other row knows is that file, wherever its name went; else a
/// shorter one lost its end; else it is by the date whether somebody wrote it or nobody did.
fn cause(file: &MediaFile, found: &FoundOnDisk, is_known: bool) -> Damage {
    let has_its_date = found.modified.whole_second() == file.modified.whole_second();
    if is_known {
        Damage::Replaced
    } else if found.size < file.size {
        Damage::Truncated
    } else if found.size == file.size && has_its_date {
        Damage::Rotten
    } else {
        Damage::Replaced
    }
}
