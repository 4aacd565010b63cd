//! What the stages of one import share: its doors, its folder, its numbers.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::read::extension;
use super::{Error, Options, Report, blocking, walk};
use crate::catalogue::{Catalogue, Placed, SourceDir, Wanted};
use crate::model::place::mapped_text;
use crate::model::{MediaPath, NodeId, Timestamp};
use crate::monitor::{Counter, Monitor, Phase};
use crate::renditions::{Unsettled, Workshop};
use crate::seams::Seams;
use crate::shutdown::Shutdown;
use crate::store::{Staging, Store};

/// The staging activity; one import runs at a time.
const ACTIVITY: &str = "import";
/// What the stages share.
pub(super) struct Import {
    pub(super) catalogue: Catalogue,
    pub(super) store: Store,
    /// None in a dry run.
    pub(super) staging: Option<Staging>,
    pub(super) own: NodeId,
    pub(super) options: Options,
    pub(super) dir: PathBuf,
    /// The folder's canonical path: its name in the catalogue.
    pub(super) source: String,
    /// Device and inode of the folder when the import began.
    pub(super) identity: (u64, u64),
    /// Number of this walk.
    pub(super) walk: i64,
    /// Whether an earlier walk saw any file, so that one can have moved.
    pub(super) has_history: bool,
    /// Other folders that were imported.
    pub(super) others: Vec<SourceDir>,
    pub(super) seams: Seams,
    pub(super) monitor: Arc<dyn Monitor>,
    pub(super) stop: Shutdown,
    pub(super) report: Mutex<Report>,
    /// Source rows that a move was found to come from and that are not marked as left: of the portion in hand, of moves that
    /// could not be published, and in a dry run of all.
    pub(super) claimed: Mutex<HashSet<String>>,
    /// Sizes of files that this walk could not read: each may be one that was moved, and is known under another path.
    unread: Mutex<HashSet<u64>>,
    /// How many new originals nothing here reads for want of a program, by format.
    lacking: Mutex<BTreeMap<String, u64>>,
}

impl Import {
    pub(super) async fn open(
        catalogue: &Catalogue,
        store: &Store,
        own: &NodeId,
        options: &Options,
        seams: &Seams,
        monitor: Arc<dyn Monitor>,
        shutdown: &Shutdown,
    ) -> Result<Self, Error> {
        let (asked, root) = (options.dir.clone(), store.root().to_owned());
        let dir = blocking(move || walk::check(&asked, &root)).await??;
        let identity = identity(&dir)?;
        let source = dir
            .to_str()
            .ok_or_else(|| Error::NotUtf8 { dir: dir.clone() })?
            .to_owned();
        let prefix = options.prefix.as_ref().map_or("", MediaPath::as_str);
        let (known, others): (Vec<_>, Vec<_>) = catalogue
            .sources()
            .await?
            .into_iter()
            .partition(|known| known.dir == source);
        if let Some(known) = known.iter().find(|known| known.prefix != prefix) {
            return Err(Error::OtherPrefix {
                dir,
                known: known.prefix.clone(),
                asked: prefix.to_owned(),
            });
        }
        let has_history = catalogue.count_source_files(&source).await? > 0;
        let (mut staging, mut walk) = (None, known.first().map_or(0, |known| known.walk) + 1);
        if !options.dry_run {
            let store = store.clone();
            staging = Some(blocking(move || sweep(&store)).await??);
            let mut batch = catalogue.batch().await?;
            walk = batch.begin_walk(&source, prefix, seams.clock.now()).await?;
            batch.commit().await?;
        }
        Ok(Self {
            catalogue: catalogue.clone(),
            store: store.clone(),
            staging,
            own: own.clone(),
            options: options.clone(),
            dir,
            source,
            identity,
            walk,
            has_history,
            others,
            seams: seams.clone(),
            monitor,
            stop: shutdown.clone(),
            report: Mutex::default(),
            claimed: Mutex::default(),
            unread: Mutex::default(),
            lacking: Mutex::default(),
        })
    }

    /// Whether renditions are made in this run.
    pub(super) fn renders(&self) -> bool {
        self.options.thumbs && !self.options.dry_run
    }

    /// Where they are made, if they are.
    pub(super) fn workshop(&self) -> Option<Arc<Workshop>> {
        let staging = self.staging.clone().filter(|_| self.renders())?;
        self.monitor.phase(Phase::Renditions);
        Some(Arc::new(Workshop {
            catalogue: self.catalogue.clone(),
            store: self.store.clone(),
            staging,
            own: self.own.clone(),
            settings: self.options.renditions.clone(),
            seams: self.seams.clone(),
            monitor: Arc::clone(&self.monitor),
            stop: self.stop.clone(),
            tally: Mutex::default(),
            unsettled: Unsettled::default(),
        }))
    }

    pub(super) fn now(&self) -> Timestamp {
        self.seams.clock.now()
    }

    pub(super) fn report(&self) -> MutexGuard<'_, Report> {
        self.report
            .lock()
            .expect("no panic while a number is added")
    }

    pub(super) fn claimed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.claimed.lock().expect("no panic while a path is noted")
    }

    pub(super) fn unread(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.unread.lock().expect("no panic while a size is noted")
    }

    /// The source path of a file of the folder; `None` for one that cannot have one.
    pub(super) fn path_of(&self, rel: &str) -> Option<MediaPath> {
        match &self.options.prefix {
            Some(prefix) => prefix.join(rel).ok(),
            None => MediaPath::new(rel).ok(),
        }
    }

    /// The places of files that are about to be published, in their order; what is mapped is reported.
    pub(super) async fn places(&self, wanted: &[Wanted<'_>]) -> Result<Vec<MediaPath>, Error> {
        let placed = self.catalogue.places(self.store.rules(), wanted).await?;
        let mut places = Vec::with_capacity(wanted.len());
        for (file, placed) in wanted.iter().zip(placed) {
            let Placed::At { place, why } = placed else {
                unreachable!("no file of an import shares another's content");
            };
            if let Some(why) = why {
                tracing::info!(path = %file.path, asset = %file.asset, %place, reason = %why, "mapped");
                let text = mapped_text((file.kind, file.path), file.asset, (&place, why));
                self.monitor.finding(&text);
            }
            places.push(place);
        }
        Ok(places)
    }

    /// Reports an entry that could not be imported.
    pub(super) fn refuse(&self, reason: &str) {
        self.report().refused += 1;
        self.monitor.finding(reason);
    }

    /// Notes a new original that no renditions are made of, if a program could read it.
    pub(super) fn left_unread(&self, path: &MediaPath) {
        let format = extension(path.name());
        let lacks = |format: &String| self.options.renditions.lacks(format).is_some();
        if let Some(format) = format.filter(lacks) {
            *self.lacking().entry(format).or_default() += 1;
        }
    }

    /// Says what was left so, and what to do about it.
    pub(super) fn say_what_lacks(&self) {
        for (format, originals) in &*self.lacking() {
            if let Some(reason) = self.options.renditions.lacks(format) {
                let text = format!("no renditions of {originals} new originals: {reason}");
                self.monitor.finding(&text);
            }
        }
    }

    fn lacking(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.lacking.lock().expect("no panic while it is counted")
    }

    /// The folder must still be the one that was walked before anything is said to be gone from it.
    pub(super) fn check_identity(&self) -> Result<(), Error> {
        match identity(&self.dir) {
            Ok(now) if now == self.identity => Ok(()),
            _ => Err(Error::Replaced {
                dir: self.dir.clone(),
            }),
        }
    }

    /// Counts a published original.
    pub(super) fn count_bytes(&self, bytes: u64) {
        self.report().bytes += bytes;
        self.monitor.advance(Counter::Files, 1);
        self.monitor.advance(Counter::Bytes, bytes);
    }
}

fn identity(dir: &Path) -> Result<(u64, u64), Error> {
    let stat = dir.metadata().map_err(|source| Error::Folder {
        dir: dir.to_owned(),
        source,
    })?;
    Ok((stat.dev(), stat.ino()))
}

fn sweep(store: &Store) -> Result<Staging, Error> {
    let staging = store.staging(ACTIVITY)?;
    staging.sweep()?;
    Ok(staging)
}
