//! When files were read last, until that is written down.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use crate::catalogue::Read;
use crate::model::{MediaFile, Timestamp};

/// Reads that are noted in memory until they are written down.
const READS: usize = 65_536;

/// What was read, by file.
#[derive(Debug, Default)]
pub(super) struct Reads(Mutex<HashMap<Read, Timestamp>>);

impl Reads {
    /// Notes that a file is read. When there are too many the new ones are forgotten: it is a hint.
    pub(super) fn note(&self, file: &MediaFile, now: Timestamp) {
        let read = read_of(file);
        let mut reads = self.reads();
        if reads.len() < READS || reads.contains_key(&read) {
            reads.insert(read, now);
        }
    }

    pub(super) fn take(&self) -> Vec<(Read, Timestamp)> {
        std::mem::take(&mut *self.reads()).into_iter().collect()
    }

    fn reads(&self) -> MutexGuard<'_, HashMap<Read, Timestamp>> {
        self.0.lock().expect("no panic while reads are held")
    }
}

/// The file, as it is noted.
pub(super) fn read_of(file: &MediaFile) -> Read {
    Read {
        kind: file.kind,
        path: file.path.clone(),
        asset: file.asset.clone(),
    }
}
