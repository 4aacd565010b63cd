//! How much may go on at the same time, for everything that one process does. It may be changed while work goes on: whoever hands out
//! work looks here again within a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Config;

/// The most of something that may go on at once. Clones are cheap and share it.
#[derive(Debug, Clone, Default)]
pub struct Most(Arc<AtomicUsize>);

impl Most {
    /// What it is now.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// What it is now, where 0 stands for one for each core.
    #[must_use]
    pub fn or_cores(&self) -> usize {
        match self.get() {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            most => most,
        }
    }

    /// Makes it another number.
    pub fn set(&self, most: usize) {
        self.0.store(most, Ordering::Relaxed);
    }
}

impl From<usize> for Most {
    fn from(most: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(most)))
    }
}

/// What may go on at once in a process.
#[derive(Debug, Clone, Default)]
pub struct AtOnce {
    /// Files that one run fetches, from `limits.transfers`.
    pub transfers: Most,
    /// Threads that make the renditions of one run, from `media.thumb_threads`; 0 is one for each core.
    pub threads: Most,
}

impl AtOnce {
    /// As a configuration has it.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let at_once = Self::default();
        at_once.set(config);
        at_once
    }

    /// Lets the numbers of another configuration hold from now on.
    pub fn set(&self, config: &Config) {
        self.transfers.set(config.limits.transfers);
        self.threads.set(config.media.thumb_threads);
    }
}
