//! What can go wrong between an original and its renditions.

use std::fmt;
use std::io;

use crate::error::Class;
use crate::model::preset::PresetId;

/// The cause below a codec's refusal.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The limit an image was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Longest side allowed, in pixels.
    Side(u32),
    /// Most pixels allowed.
    Pixels(u64),
    /// Most bytes the decoded image may take.
    Bytes(u64),
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Side(pixels) => write!(f, "{pixels} pixels a side"),
            Self::Pixels(pixels) => write!(f, "{pixels} pixels"),
            Self::Bytes(bytes) => write!(f, "{bytes} bytes decoded"),
        }
    }
}

/// Why an original has no renditions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The content is none of the formats decoded here, whatever its name says.
    #[error("content is not an image this node decodes")]
    NotAnImage,
    /// The header announces more than the limits allow, and nothing was decoded; or a crop would have to be enlarged so far.
    #[error("image of {width}x{height} is over the limit of {limit}")]
    TooLarge {
        /// Width by the header, in pixels.
        width: u32,
        /// Height by the header, in pixels.
        height: u32,
        /// The limit it is over.
        limit: Bound,
    },
    /// The content starts like an image and is broken, cut short, or of a kind the decoder lacks.
    #[error("{format} content cannot be decoded")]
    Decode {
        /// Format by content, in EMDB's spelling.
        format: &'static str,
        /// What the decoder said.
        source: Cause,
    },
    /// A page is asked for that the original does not have.
    #[error("there is no page {page}: the original has {pages}")]
    NoPage {
        /// Counted from 1.
        page: u32,
        /// How many it has.
        pages: usize,
    },
    /// Nothing of the user's rectangle lies in the picture.
    #[error("crop of {preset} lies outside the picture of {width}x{height}")]
    EmptyCrop {
        /// The preset it is for.
        preset: PresetId,
        /// Width of the original as stored, in pixels.
        width: u32,
        /// Height of the original as stored, in pixels.
        height: u32,
    },
    /// The picture could not be resized or written.
    #[error("{file_name} cannot be encoded")]
    Encode {
        /// The rendition in question.
        file_name: String,
        /// What the encoder said.
        source: Cause,
    },
    /// A decoder or encoder panicked on this image.
    #[error("rendering panicked: {message}")]
    Panicked {
        /// What the panic said.
        message: String,
    },
    /// The original could not be read.
    #[error("original cannot be read")]
    Read(#[source] io::Error),
    /// The worker threads could not be started.
    #[error("media threads cannot be started")]
    Threads(#[source] io::Error),
}

impl Error {
    /// Whether the same call may succeed later: only reading may, unless the reader says that the content is to blame.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Read(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => Class::Permanent,
                _ => Class::Transient,
            },
            _ => Class::Permanent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_read_is_worth_another_try() {
        assert_eq!(
            Error::Read(io::Error::other("disk")).class(),
            Class::Transient
        );
        for kind in [io::ErrorKind::InvalidData, io::ErrorKind::FileTooLarge] {
            let content = io::Error::new(kind, "content");
            assert_eq!(Error::Read(content).class(), Class::Permanent);
        }
        let message = "index".to_owned();
        for error in [Error::NotAnImage, Error::Panicked { message }] {
            assert_eq!(error.class(), Class::Permanent);
        }
    }

    #[test]
    fn a_refusal_names_the_size_and_the_limit() {
        let error = Error::TooLarge {
            width: 60_000,
            height: 50_000,
            limit: Bound::Pixels(1000),
        };
        assert_eq!(
            error.to_string(),
            "image of 60000x50000 is over the limit of 1000 pixels"
        );
    }
}
