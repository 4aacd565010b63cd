//! Where the system tells of no changes that we could hear: whole walks find them.

use std::path::Path;
use std::sync::Arc;

use crate::import::{Only, Quiet};

/// What was heard.
#[derive(Debug)]
pub(super) struct Heard {
    /// Where to look.
    pub(super) places: Only,
    /// Something was missed, and why.
    pub(super) missed: Option<String>,
}

/// Listens to nothing.
pub(super) struct Ears;

impl Ears {
    /// There is nothing to prepare.
    pub(super) fn new(_: &Path, _: Arc<Quiet>) -> Self {
        Self
    }

    /// None is listened to.
    pub(super) fn directories(&self) -> Option<usize> {
        None
    }

    /// Nothing can be heard, which is no trouble here.
    pub(super) async fn listen_everywhere(&mut self) -> Option<String> {
        None
    }

    /// Never returns.
    pub(super) async fn hear(&mut self) -> Heard {
        std::future::pending().await
    }
}
