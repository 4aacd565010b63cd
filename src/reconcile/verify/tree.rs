//! A tree on disk beside its rows: both come in byte order of the path, so that one walk tells what rows' files look like and
//! which files no row speaks of, and neither side is asked file by file.
//!
//! ```text
//! rows  a.jpg  b.jpg        d.jpg (mapped elsewhere)
//! walk  a.jpg  b.jpg  c~.jpg  d.jpg  …
//!       as its row says       passed over: asked of the catalogue by place, a page at a time
//! ```
//!
//! The walk runs on a thread of its own and hands over one page at a time. What it says of a file is as old as a page, so it
//! only ever settles that a file is as its row says; whoever finds anything else looks again. `.emsync` lies outside both trees
//! and is not walked.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::report::{Findings, Kind, Layer};
use super::{Error, Here, PAGE};
use crate::catalogue::FileRow;
use crate::model::{FileKind, MediaPath};
use crate::shutdown::Shutdown;
use crate::store::{Stat, Store};
use crate::task;

/// What to do about a file without a row.
const ORPHAN: &str = "on disk without a row: adopt with a seed, or remove it";

/// One entry of the walk: a file, or what stands where a file should be.
type Walked = Result<(MediaPath, Stat), String>;

/// The walk of one tree.
pub(super) struct Tree<'a> {
    here: Here<'a>,
    kind: FileKind,
    pages: mpsc::Receiver<Vec<Walked>>,
    walking: JoinHandle<()>,
    page: VecDeque<Walked>,
    walked: u64,
    passed: Vec<MediaPath>,
    extra: Layer,
    findings: Findings,
}

impl<'a> Tree<'a> {
    /// Begins to walk.
    pub(super) fn new(here: &Here<'a>, kind: FileKind) -> Self {
        let (send, pages) = mpsc::channel(1);
        let (store, stop) = (here.store.clone(), here.stop.clone());
        Self {
            here: *here,
            kind,
            pages,
            walking: spawn_blocking(move || walk(&store, kind, &stop, &send)),
            page: VecDeque::new(),
            walked: 0,
            passed: Vec::new(),
            extra: Layer::default(),
            findings: Findings::default(),
        }
    }

    /// What the walk says of the file of a row, if it met it; rows come in order of their paths.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn stat(&mut self, row: &FileRow) -> Result<Option<Stat>, Error> {
        let place = row.file.place();
        if *place != row.file.path {
            return Ok(None);
        }
        loop {
            if self.page.is_empty() && !self.read().await? {
                return Ok(None);
            }
            match self.page.front() {
                Some(Ok((path, _))) if path > place => return Ok(None),
                Some(Ok((path, stat))) if path == place => {
                    let stat = *stat;
                    self.page.pop_front();
                    return Ok(Some(stat));
                }
                _ => self.pass().await?,
            }
        }
    }

    /// Walks to the end. Answers how many files the tree holds, and those without a row, as extra.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) async fn end(mut self) -> Result<(u64, Layer, Findings), Error> {
        while !self.page.is_empty() || self.read().await? {
            self.pass().await?;
        }
        self.ask().await?;
        task::outcome(self.walking.await);
        self.here.go_on()?;
        Ok((self.walked, self.extra, self.findings))
    }

    /// Takes the next page in, and says whether there was one.
    async fn read(&mut self) -> Result<bool, Error> {
        let Some(page) = self.pages.recv().await else {
            return Ok(false);
        };
        self.here.go_on()?;
        self.walked += page.len() as u64;
        self.page = page.into();
        Ok(true)
    }

    /// Passes over what no row has met.
    async fn pass(&mut self) -> Result<(), Error> {
        match self.page.pop_front() {
            Some(Ok((path, _))) => self.passed.push(path),
            Some(Err(odd)) => self.is_extra(odd),
            None => {}
        }
        if self.passed.len() == PAGE {
            self.ask().await?;
        }
        Ok(())
    }

    /// Asks whose places those are that were passed over.
    async fn ask(&mut self) -> Result<(), Error> {
        let passed = std::mem::take(&mut self.passed);
        let rules = self.here.store.rules();
        let catalogue = self.here.catalogue;
        let known = catalogue.occupied(rules, self.kind, &passed).await?;
        for place in passed {
            if !known.contains(&place) {
                self.is_extra(place.to_string());
            }
        }
        Ok(())
    }

    fn is_extra(&mut self, name: String) {
        let layer = (self.kind.dir(), &mut self.extra);
        (self.findings).add(layer, Kind::Extra, || (name, ORPHAN.to_owned()));
    }
}

/// Hands the tree over, page by page, until its end or ours.
fn walk(store: &Store, kind: FileKind, stop: &Shutdown, pages: &mpsc::Sender<Vec<Walked>>) {
    let mut page = Vec::new();
    let found = store.walk(kind);
    // EMDB's own bookkeeping is no media (hazard H-42).
    let is_media = |entry: &Result<(MediaPath, Stat), _>| {
        !(entry.as_ref()).is_ok_and(|(path, _)| path.is_bookkeeping())
    };
    for entry in found.filter(is_media) {
        page.push(entry.map_err(|error| error.to_string()));
        if page.len() == PAGE && pages.blocking_send(std::mem::take(&mut page)).is_err()
            || stop.requested()
        {
            return;
        }
    }
    // Nobody listens when the comparison ended early.
    let _ = pages.blocking_send(page);
}
