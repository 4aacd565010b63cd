//! How often everything here is read again, and how fast: `[scrub]`.

use super::bandwidth::Bandwidth;
use super::error::Error;
use super::{file, limits};

/// The scrub of one node.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrub {
    /// Every byte is read again within so many days.
    pub days: u32,
    /// Bytes read a second, at most.
    pub bandwidth: Bandwidth,
}

impl Default for Scrub {
    fn default() -> Self {
        Self {
            days: 30,
            bandwidth: Bandwidth::default(),
        }
    }
}

impl Scrub {
    pub(super) fn resolve(written: &file::Scrub) -> Result<Self, Error> {
        Ok(Self {
            days: limits::whole(&written.days, Self::default().days, 1, 3_650)?,
            bandwidth: limits::bandwidth(&written.bandwidth)?,
        })
    }
}
