//! What can go wrong with the media tree, and whom it concerns: one file, or the whole pass.

use std::io;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::error::Class;
use crate::model::path::PathReason;

/// A failure of the media tree. Paths are relative to the media root unless the field is called `root`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The root carries no marker.
    #[error("{} has no marker .emsync/root.json: its volume is not mounted, or is a new one, which `emsync doctor --new-volume` takes", root.display())]
    NoMarker {
        /// The media root.
        root: PathBuf,
    },
    /// The root belongs to another node or catalog, or to a newer emsync.
    #[error("{} belongs to {found}, not to {expected}", root.display())]
    WrongMarker {
        /// The media root.
        root: PathBuf,
        /// Whose root was wanted.
        expected: String,
        /// Whose root it is.
        found: String,
    },
    /// The marker is there but cannot be read.
    #[error("marker .emsync/root.json of {} is damaged", root.display())]
    BadMarker {
        /// The media root.
        root: PathBuf,
        /// What the parser found.
        source: serde_json::Error,
    },
    /// Another directory lies where the root was when it was opened: another volume was mounted there.
    #[error("{} is not the directory it was when it was opened", root.display())]
    Replaced {
        /// The media root.
        root: PathBuf,
    },
    /// A directory that `init` makes is gone, so that nothing can be said about the files in it.
    #[error("directory {path} is missing")]
    NoTree {
        /// The directory.
        path: String,
    },
    /// A file lies where a folder is needed, or the reverse. A remove that is still queued may free the place.
    #[error("{path} cannot be placed: {why}")]
    Blocked {
        /// The place in question.
        path: String,
        /// What is in the way.
        why: &'static str,
    },
    /// A file has the place that a trashed one was to go back to.
    #[error("{path} is taken by another file")]
    Taken {
        /// The place.
        path: String,
    },
    /// A folder was removed while something was being placed in it.
    #[error("{path} was removed meanwhile")]
    Vanished {
        /// The folder.
        path: String,
    },
    /// Something other than a regular file has the file's name.
    #[error("{path} is {what}, not a file")]
    NotAFile {
        /// The name.
        path: String,
        /// What it is.
        what: &'static str,
    },
    /// The way to the file, or the file itself, is a symbolic link; it may lead out of the root and is never followed.
    #[error("{path} is or lies behind a symbolic link")]
    Escapes {
        /// The path as asked for.
        path: String,
    },
    /// The file system takes no name or path of this length.
    #[error("{path} is too long for the file system")]
    NameTooLong {
        /// The path.
        path: String,
    },
    /// A name on disk that no [`MediaPath`](crate::model::MediaPath) can hold; shown with replacement characters.
    #[error("{path} on disk {reason}")]
    OddName {
        /// The path, as far as it can be shown.
        path: String,
        /// The rule it breaks.
        reason: OddReason,
    },
    /// An activity or partial key that cannot be a file name.
    #[error(
        "{name:?} cannot name a staging file: use 1 to 200 letters, digits, '.', '_' or '-', not starting with '.'"
    )]
    BadName {
        /// The text as offered.
        name: String,
    },
    /// Another worker holds this partial.
    #[error("{path} is held by another worker")]
    Busy {
        /// The partial.
        path: String,
    },
    /// The place lies on another file system than staging and trash, so nothing can be moved there at one stroke.
    #[error("{path} lies on another file system than .emsync")]
    OtherVolume {
        /// The place.
        path: String,
    },
    /// No room, or the quota is used up.
    #[error("no room to {op} {path}")]
    Full {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("cannot {op} {path}")]
    ReadOnly {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The process or the machine has too many files open.
    #[error("too many open files to {op} {path}")]
    TooManyOpen {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
    /// Any other answer of the system.
    #[error("cannot {op} {path}")]
    Io {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Why a name on disk is no media path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OddReason {
    /// Not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8,
    /// In the trash, where only slots and what was put into them belong.
    #[error("is none of ours and stays")]
    NotOurs,
    /// Breaks a rule of media paths.
    #[error("{0}")]
    Path(PathReason),
}

impl From<crate::crash::Reached> for Error {
    fn from(reached: crate::crash::Reached) -> Self {
        Self::Io {
            op: "pass",
            path: reached.0.name().to_owned(),
            source: reached.into(),
        }
    }
}

impl Error {
    /// Sorts a system error into the variant that says what to do about it.
    pub(super) fn of(op: &'static str, path: impl Into<String>, errno: Errno) -> Self {
        let path = path.into();
        let source = io::Error::from(errno);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Self::Full { op, path, source },
            Errno::ROFS => Self::ReadOnly { op, path, source },
            Errno::MFILE | Errno::NFILE => Self::TooManyOpen { op, path, source },
            Errno::NAMETOOLONG => Self::NameTooLong { path },
            Errno::LOOP => Self::Escapes { path },
            _ => Self::Io { op, path, source },
        }
    }

    /// Whether another try can help. Failures of the store as a whole are transient, so that no single file is ever
    /// given up for them; [`Self::stops_the_pass`] tells them apart.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::NoMarker { .. }
            | Self::Replaced { .. }
            | Self::NoTree { .. }
            | Self::Blocked { .. }
            | Self::Vanished { .. }
            | Self::Busy { .. }
            | Self::Full { .. }
            | Self::ReadOnly { .. }
            | Self::TooManyOpen { .. } => Class::Transient,
            Self::WrongMarker { .. }
            | Self::BadMarker { .. }
            | Self::NotAFile { .. }
            | Self::Escapes { .. }
            | Self::NameTooLong { .. }
            | Self::OddName { .. }
            | Self::Taken { .. }
            | Self::BadName { .. }
            | Self::OtherVolume { .. } => Class::Permanent,
            Self::Io { source, .. } => match source.kind() {
                // A name the file system does not take, or a right that we do not have: no retry changes that.
                io::ErrorKind::PermissionDenied
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::Unsupported => Class::Permanent,
                _ => Class::Transient,
            },
        }
    }

    /// Whether the next file would fail the same way, so that the pass should pause or stop instead of going on.
    #[must_use]
    pub fn stops_the_pass(&self) -> bool {
        matches!(
            self,
            Self::NoMarker { .. }
                | Self::WrongMarker { .. }
                | Self::BadMarker { .. }
                | Self::Replaced { .. }
                | Self::NoTree { .. }
                | Self::Full { .. }
                | Self::ReadOnly { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_concerns_the_whole_store_stops_the_pass_and_blames_no_file() {
        for errno in [Errno::NOSPC, Errno::DQUOT, Errno::ROFS] {
            let error = Error::of("write", "x", errno);
            assert!(error.stops_the_pass(), "{error}");
            assert_eq!(error.class(), Class::Transient, "{error}");
        }
        for errno in [Errno::MFILE, Errno::IO] {
            let error = Error::of("write", "x", errno);
            assert!(!error.stops_the_pass(), "{error}");
            assert_eq!(error.class(), Class::Transient, "{error}");
        }
        for errno in [Errno::LOOP, Errno::NAMETOOLONG, Errno::ACCESS, Errno::INVAL] {
            let error = Error::of("open", "x", errno);
            assert!(!error.stops_the_pass(), "{error}");
            assert_eq!(error.class(), Class::Permanent, "{error}");
        }
    }
}
