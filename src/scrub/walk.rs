//! Reading what is due: slice after slice, a batch of files at a time.

use std::sync::Arc;

use tokio::task::spawn_blocking;

use super::read::Seen;
use super::{Error, FINDINGS, Scrub};
use crate::catalogue::{FileRow, Slice, SliceKey};
use crate::crash::{self, Point};
use crate::model::Timestamp;
use crate::monitor::Counter;

/// Files of a batch, at most.
const FILES: usize = 64;
/// Bytes of a batch, but for a file that is larger.
const BYTES: u64 = 64 << 20;

/// A file of a batch, and how it was found.
struct Looked {
    row: FileRow,
    seen: Seen,
    read: u64,
}

impl Scrub<'_> {
    /// Walks what is due; whether all of it was read.
    pub(super) async fn walk(&mut self) -> Result<bool, Error> {
        let due: Vec<Slice> = self.node.catalogue.scrub_slices().await?;
        let due: Vec<Slice> = due
            .into_iter()
            .filter(|slice| slice.verified_at < self.target)
            .collect();
        let ahead = super::due(self.node, self.target).await?;
        self.monitor.expect(Counter::Files, ahead.files);
        self.monitor.expect(Counter::Bytes, ahead.bytes);
        let mut healed_at = 0;
        for slice in due {
            if !self.slice(&slice).await? {
                return Ok(false);
            }
            self.judge.all(None).await?;
            if self.judge.judged - healed_at >= FINDINGS {
                self.heal().await?;
                healed_at = self.judge.judged;
            }
        }
        Ok(true)
    }

    /// Reads a slice, from where its cursor is; whether that came to its end.
    async fn slice(&mut self, slice: &Slice) -> Result<bool, Error> {
        let catalogue = &self.node.catalogue;
        let under_way = slice.begun_at.filter(|begun| *begun >= self.target);
        let (begun_at, mut after) = match under_way {
            Some(begun_at) => (begun_at, slice.after.clone()),
            None => {
                let now = self.node.seams.clock.now();
                let sum = catalogue.slice_sum(slice.number, None).await?;
                // A file is verified when it is published: where all are young, or there is none, nothing is due.
                let oldest = sum.oldest.unwrap_or(now).min(now);
                if oldest >= self.target {
                    return self.end(slice.number, oldest).await;
                }
                let mut batch = catalogue.batch().await?;
                batch.begin_slice(slice.number, now).await?;
                batch.commit().await?;
                (now, None)
            }
        };
        loop {
            if self.stop.requested() || self.options.cutoff.is_over() {
                return Ok(false);
            }
            let rows = catalogue.slice_files(slice.number, after.as_ref(), FILES);
            let rows = up_to(rows.await?, BYTES);
            if rows.is_empty() {
                return self.end(slice.number, begun_at).await;
            }
            let whole = rows.len();
            let looked = self.look(rows).await?;
            crash::point(Point::ScrubRead)?;
            let Some(last) = looked.last() else {
                return Ok(false);
            };
            after = Some(SliceKey::of(&last.row));
            self.note(slice.number, &looked).await?;
            if looked.len() < whole {
                return Ok(false);
            }
        }
    }

    async fn end(&self, slice: u8, verified_at: Timestamp) -> Result<bool, Error> {
        let mut batch = self.node.catalogue.batch().await?;
        batch.end_slice(slice, verified_at).await?;
        batch.commit().await?;
        Ok(true)
    }

    /// Reads files; fewer when we are asked to end meanwhile.
    async fn look(&self, rows: Vec<FileRow>) -> Result<Vec<Looked>, Error> {
        let (reader, monitor) = (self.reader.clone(), Arc::clone(&self.monitor));
        let looked = spawn_blocking(move || {
            let mut looked = Vec::with_capacity(rows.len());
            for row in rows {
                let Some((mut seen, read)) = reader.look(&row.file)? else {
                    break;
                };
                if seen != Seen::Sound {
                    // A cable or a memory chip may lie once; a medium says the same again.
                    match reader.look(&row.file)? {
                        Some((again, _)) => seen = again,
                        None => break,
                    }
                    if seen == Seen::Sound {
                        tracing::warn!(path = %row.file.path, "read otherwise the first time, and as its row says the second");
                    }
                }
                monitor.advance(Counter::Files, 1);
                monitor.advance(Counter::Bytes, row.file.size);
                looked.push(Looked { row, seen, read });
            }
            Ok::<_, Error>(looked)
        });
        looked.await.map_err(|_| Error::Worker)?
    }

    /// Cursor, counts and suspicions, in one transaction.
    async fn note(&mut self, slice: u8, looked: &[Looked]) -> Result<(), Error> {
        let Some(last) = looked.last() else {
            return Ok(());
        };
        let now = self.node.seams.clock.now();
        let mut batch = self.node.catalogue.batch().await?;
        let mut read = (0, 0);
        for one in looked {
            let is_read = matches!(one.seen, Seen::Sound | Seen::Other { .. });
            read = (read.0 + u64::from(is_read), read.1 + one.read);
            match &one.seen {
                Seen::Sound if one.row.is_damaged() => {
                    batch.note_damage(&one.row.file, None).await?;
                }
                Seen::Sound => {}
                // Of what was found before nothing new is noted.
                _ => batch.suspect(&one.row.file, now).await?,
            }
        }
        batch
            .advance_slice(slice, &SliceKey::of(&last.row), read)
            .await?;
        batch.commit().await?;
        crash::point(Point::ScrubNoted)?;
        self.read = (self.read.0 + read.0, self.read.1 + read.1);
        for one in looked {
            self.judge.remember(&one.row, &one.seen);
        }
        Ok(())
    }
}

/// The first of these files, as many as have so many bytes together, and one at least.
fn up_to(mut rows: Vec<FileRow>, most: u64) -> Vec<FileRow> {
    let mut bytes = 0_u64;
    let fits = rows.iter().take_while(|row| {
        bytes = bytes.saturating_add(row.file.size);
        bytes <= most
    });
    let fits = fits.count().max(1);
    rows.truncate(fits);
    rows
}
