//! What is to be published: a file in staging, or one that is small enough to lie in memory until then.
//!
//! Many small files that are written, synced and named together cost a fraction of the same one by one, and the threads that
//! fetch them never wait for a disk. How many bytes may lie in memory is for the caller to bound (I10).

use super::error::Error;
use super::staging::{Staged, Staging};

/// The content of a file on its way in.
#[derive(Debug)]
pub enum Content {
    /// It is in staging.
    Staged(Staged),
    /// It lies in memory.
    Held(Held),
}

/// A whole file in memory, and where it will be staged.
#[derive(Debug)]
pub struct Held {
    staging: Staging,
    bytes: Vec<u8>,
}

impl Staging {
    /// Takes a whole file; it is written when it is published.
    #[must_use]
    pub fn hold(&self, bytes: Vec<u8>) -> Held {
        let staging = self.clone();
        Held { staging, bytes }
    }
}

impl Content {
    /// All of it, in memory.
    ///
    /// # Errors
    /// System errors.
    pub fn into_bytes(self) -> Result<Vec<u8>, Error> {
        match self {
            Self::Held(held) => Ok(held.bytes),
            Self::Staged(staged) => {
                let mut bytes = Vec::with_capacity(usize::try_from(staged.len()).unwrap_or(0));
                staged.read_back(&mut |piece| bytes.extend_from_slice(piece))?;
                Ok(bytes)
            }
        }
    }
}

impl Held {
    /// Writes it into staging.
    pub(super) fn write(&self) -> Result<Staged, Error> {
        let mut staged = self.staging.create()?;
        staged.write_all(&self.bytes)?;
        Ok(staged)
    }
}

impl From<Staged> for Content {
    fn from(staged: Staged) -> Self {
        Self::Staged(staged)
    }
}

impl From<Held> for Content {
    fn from(held: Held) -> Self {
        Self::Held(held)
    }
}
