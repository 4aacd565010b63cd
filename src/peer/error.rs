//! What can go wrong between us and a peer: who, which URL or file, and whether to wait or act.

use std::time::Duration;

use crate::error::Class;
use crate::protocol;

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The HTTP client cannot be made.
    #[error("HTTP client")]
    Client {
        /// What the library says.
        source: reqwest::Error,
    },
    /// A variable of the environment names no proxy. Its value is not shown: it may hold a password.
    #[error(
        "the environment variable {variable} is no address of a proxy: write for example http://proxy.example.org:3128, or set \
         proxy = \"none\" under [network]"
    )]
    Proxy {
        /// Its name.
        variable: &'static str,
    },
    /// The peer does not let a user in.
    #[error(
        "peer {peer} does not let {user:?} in: check the name and the password, and that the user is enabled there; an emsync node has \
         no such users, there `emsync key add NAME` makes a key"
    )]
    Login {
        /// The peer.
        peer: String,
        /// The user.
        user: String,
    },
    /// The key cannot be sent as a header.
    #[error(
        "peer {peer}: the key holds characters that no header can carry; make a new one with `emsync key add` or EMDB's getkey"
    )]
    Key {
        /// The peer.
        peer: String,
    },
    /// No connection, or it broke.
    #[error("peer {peer}: no usable connection to {url}")]
    Unreachable {
        /// The peer.
        peer: String,
        /// Where we asked; never holds a key.
        url: String,
        /// What the library says.
        source: reqwest::Error,
    },
    /// The peer does not let us in: a redirect to a login page, 401, 403, EMDB's `noaccess`, or HTML where JSON was due.
    #[error(
        "peer {peer} refuses our key ({detail}); check the key, and that its user may use api-search-data and download"
    )]
    Refused {
        /// The peer.
        peer: String,
        /// What it answered.
        detail: String,
    },
    /// The peer lets us in, but takes nothing from us.
    #[error(
        "peer {peer} takes no changes from our key ({detail}); at an EMDB its user needs the permission api-load-data, at an emsync \
         node the key has to be made with `emsync key add NAME --write`"
    )]
    ReadOnly {
        /// The peer.
        peer: String,
        /// What it answered.
        detail: String,
    },
    /// The peer stopped reading what we send, or never answered it.
    #[error("peer {peer} stood still for {seconds} s while it was sent {what}")]
    Stalled {
        /// The peer.
        peer: String,
        /// What was sent.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// There is no EMDB under that URL.
    #[error(
        "peer {peer}: nothing answers at {url}; check base_url: it ends with the site's path, such as /finder or /assets"
    )]
    WrongPath {
        /// The peer.
        peer: String,
        /// Where we asked.
        url: String,
    },
    /// The peer answers elsewhere.
    #[error("peer {peer}: {url} leads elsewhere; is base_url = {base_url:?} the one to write?")]
    Moved {
        /// The peer.
        peer: String,
        /// Where we asked.
        url: String,
        /// The base under which it answers.
        base_url: String,
    },
    /// The peer asks us to slow down.
    #[error("peer {peer} is busy (HTTP {status})")]
    Busy {
        /// The peer.
        peer: String,
        /// 429 or 503.
        status: u16,
        /// How long it asks us to wait.
        retry_after: Option<Duration>,
    },
    /// The peer failed.
    #[error("peer {peer} answered HTTP {status} to {what}")]
    Server {
        /// The peer.
        peer: String,
        /// The status.
        status: u16,
        /// What was asked for.
        what: String,
    },
    /// The peer does not have the file it listed.
    #[error("peer {peer} has no {path:?} (HTTP 404)")]
    NotFound {
        /// The peer.
        peer: String,
        /// The file.
        path: String,
    },
    /// The peer lets us in, and not to this file.
    #[error(
        "peer {peer} lets us in, but not to {path:?} ({detail}); at an EMDB the user of our key needs the permission download, and the \
         asset may be kept from that user"
    )]
    Withheld {
        /// The peer.
        peer: String,
        /// The file.
        path: String,
        /// What it answered.
        detail: String,
    },
    /// A file was refused, and whether the peer lets us in at all could not be found out.
    #[error("peer {peer} refused a file, and could not be asked whether it lets us in at all")]
    Unproven {
        /// The peer.
        peer: String,
    },
    /// The answer is not what the protocol says.
    #[error("peer {peer}: unusable answer")]
    Reply {
        /// The peer.
        peer: String,
        /// What is wrong with it.
        source: protocol::Error,
    },
    /// The answer is larger than any page can be.
    #[error("peer {peer}: a page of more than {limit} bytes")]
    PageTooLarge {
        /// The peer.
        peer: String,
        /// Our limit in bytes.
        limit: usize,
    },
    /// The peer's cursor is gone: expired, or its session was lost.
    #[error("peer {peer} lost the cursor of its listing at page {page}")]
    CursorLost {
        /// The peer.
        peer: String,
        /// The page we asked for.
        page: u64,
    },
    /// A page that contradicts the first one.
    #[error("peer {peer}: page {page} says {found}, page 1 said {expected}")]
    Inconsistent {
        /// The peer.
        peer: String,
        /// The page.
        page: u64,
        /// What page 1 said.
        expected: String,
        /// What this one says.
        found: String,
    },
    /// Somebody asked us to stop.
    #[error("interrupted")]
    Cancelled,
    /// A media file that came in another form than its own, although we asked for it as it is.
    #[error(
        "peer {peer}: {path:?} came encoded as {encoding:?}, though it was asked for as it is; a proxy in front of the peer may compress"
    )]
    Encoded {
        /// The peer.
        peer: String,
        /// The file.
        path: String,
        /// Its `Content-Encoding`.
        encoding: String,
    },
    /// A media file that is a page for people.
    #[error("peer {peer}: got HTML instead of {path:?}")]
    Html {
        /// The peer.
        peer: String,
        /// The file.
        path: String,
    },
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            // What the peer will not do it will not do the next time either; 408 and 425 ask for another try.
            Self::Server {
                status: 400..=407 | 409..=424 | 426..=499,
                ..
            } => Class::Permanent,
            Self::Unreachable { .. }
            | Self::Stalled { .. }
            | Self::Busy { .. }
            | Self::Unproven { .. }
            | Self::Server { .. }
            | Self::CursorLost { .. } => Class::Transient,
            Self::Inconsistent { .. } => Class::Transient,
            Self::Reply { source, .. } => source.class(),
            Self::Html { .. } | Self::Encoded { .. } => Class::Corrupt,
            Self::Client { .. }
            | Self::Proxy { .. }
            | Self::Login { .. }
            | Self::Key { .. }
            | Self::Refused { .. }
            | Self::ReadOnly { .. }
            | Self::WrongPath { .. }
            | Self::Moved { .. } => Class::Permanent,
            Self::NotFound { .. } | Self::Withheld { .. } | Self::PageTooLarge { .. } => {
                Class::Permanent
            }
            Self::Cancelled => Class::Cancelled,
        }
    }

    /// Whether a listing is worthless and must begin again, rather than the peer being in trouble.
    #[must_use]
    pub fn begins_again(&self) -> bool {
        matches!(self, Self::CursorLost { .. } | Self::Inconsistent { .. })
    }

    /// Whether what was sent was understood and not taken, so that less of it, or something else, may be.
    #[must_use]
    pub fn is_rejection(&self) -> bool {
        matches!(
            self,
            Self::Server {
                status: 400 | 413 | 422 | 500,
                ..
            } | Self::Reply {
                source: protocol::Error::Status { .. },
                ..
            }
        )
    }

    /// Whether the peer, or what stands before it, has more to do than it can.
    #[must_use]
    pub fn is_push_back(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Unreachable { .. }
                | Self::Server {
                    status: 502 | 504,
                    ..
                }
        )
    }

    /// How long the peer asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if let Self::Busy { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }
}
