//! Which file a request is after, whether whoever asks may have it, and its open handle; fetched first where this node does that.
//!
//! Originals need a key. Generated files need one too, unless this node shares those of assets that nothing restricts
//! ([`Sharing`](super::node::Sharing)); whoever shows no key learns nothing of the others, not even whether they are there. What anybody
//! may have any cache may keep for a while; everything else is for who asked, and asked for again each time.
//!
//! What the system has in memory is opened on the spot, everything else on a thread that may wait for the disk.

use super::auth;
use super::error::Error;
use super::fresh::Freshness;
use super::node::Node;
use super::request::Asked;
use crate::edge;
use crate::model::{AssetId, FileKind, MediaFile, MediaPath};
use crate::store::OpenFile;

/// Who wants a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Somebody with a key of ours.
    Holder,
    /// Anybody: a key that is none of ours, or none.
    Anybody {
        /// Whether there was one.
        shows_key: bool,
    },
}

impl Reader {
    /// Finds out who asks; refuses at once whoever can have nothing of this kind.
    pub(super) async fn of(node: &Node, kind: FileKind, asked: &Asked) -> Result<Self, Error> {
        match auth::authenticate(node, asked).await {
            Ok(_) => Ok(Self::Holder),
            Err(Error::Refused)
                if kind == FileKind::Generated && node.in_force.now().sharing.public_renditions =>
            {
                let shows_key = auth::presented(node, asked).is_some();
                Ok(Self::Anybody { shows_key })
            }
            Err(error) => Err(error),
        }
    }

    /// What he gets to hear where he may not have something.
    fn refused(self) -> Error {
        match self {
            Self::Anybody { shows_key: false } => Error::NotFound,
            _ => Error::Refused,
        }
    }
}

/// How long who may keep a file: decided by its asset alone, so that one URL says the same to everybody.
async fn freshness(
    node: &Node,
    asset: &AssetId,
    kind: FileKind,
    reader: Reader,
) -> Result<Freshness, Error> {
    let sharing = node.in_force.now().sharing;
    let shared = kind == FileKind::Generated && sharing.public_renditions;
    if shared && node.known.is_public(asset).await? {
        return Ok(Freshness::Shared(sharing));
    }
    match reader {
        Reader::Holder => Ok(Freshness::Private),
        Reader::Anybody { .. } => Err(reader.refused()),
    }
}

/// What a request is after.
pub(super) struct Sought<'a> {
    pub(super) kind: FileKind,
    pub(super) path: &'a MediaPath,
    pub(super) asset: Option<AssetId>,
    pub(super) reader: Reader,
}

/// A file as its row has it.
pub(super) struct Found {
    pub(super) file: MediaFile,
    /// Not there when nothing of its bytes was wanted and they are not here.
    pub(super) open: Option<OpenFile>,
    pub(super) fresh: Freshness,
}

/// The row and the open file that belongs to it. A file that is just being replaced gets its bytes before its row; so a
/// difference counts only when it is still there after a second look. What is not here is fetched where this node does that, unless
/// `needs_bytes` says of a file that went to make room that its row is enough.
pub(super) async fn recorded(
    node: &Node,
    sought: &Sought<'_>,
    needs_bytes: impl Fn(&MediaFile) -> bool,
) -> Result<Found, Error> {
    let (kind, path, asset) = (sought.kind, sought.path, sought.asset.as_ref());
    let (mut looked, mut fetched) = (0, false);
    loop {
        let Some(row) = node.known.file(kind, path, asset).await? else {
            if fetched {
                return Err(Error::NotFound);
            }
            fetched = true;
            if let Err(error) = fetch_unknown(node, sought).await {
                // It may have landed for somebody else between the look at the rows and the look at the wishes.
                if node.known.file(kind, path, asset).await?.is_none() {
                    return Err(error);
                }
            }
            continue;
        };
        let fresh = freshness(node, &row.file.asset, kind, sought.reader).await?;
        let is_here = row.is_here();
        if row.evicted && !needs_bytes(&row.file) {
            let (file, open) = (row.file, None);
            return Ok(Found { file, open, fresh });
        }
        looked += 1;
        let wrong = if row.is_damaged() {
            Error::Rotten {
                kind,
                path: path.clone(),
            }
        } else if row.evicted {
            missing(sought)
        } else {
            let file = row.file;
            match open(node, kind, file.place()).await? {
                Some(open) if open.size == file.size => {
                    let open = Some(open);
                    return Ok(Found { file, open, fresh });
                }
                Some(open) => Error::Damaged {
                    kind,
                    path: path.clone(),
                    expected: file.size,
                    actual: open.size,
                },
                None => missing(sought),
            }
        };
        if is_here && looked < 2 {
            continue;
        }
        match &node.edge {
            Some(edge) if !fetched => match edge.bring(kind, path, asset).await {
                // Nobody has it, or it has just landed for somebody else: the next look tells.
                Err(edge::Error::Nowhere) => {}
                brought => brought?,
            },
            _ => return Err(wrong),
        }
        (looked, fetched) = (0, true);
    }
}

fn missing(sought: &Sought<'_>) -> Error {
    Error::Missing {
        kind: sought.kind,
        path: sought.path.clone(),
    }
}

/// Fetches a file that has no row yet, if this node does that and the reader may have it.
async fn fetch_unknown(node: &Node, sought: &Sought<'_>) -> Result<(), Error> {
    let (kind, path, asset) = (sought.kind, sought.path, sought.asset.as_ref());
    let unknown = || match sought.reader {
        Reader::Holder => Error::NotFound,
        anybody => anybody.refused(),
    };
    let edge = node.edge.as_ref().ok_or_else(unknown)?;
    if sought.reader != Reader::Holder {
        let owner = edge.owner(kind, path, asset).await?;
        let owner = owner.ok_or_else(unknown)?;
        freshness(node, &owner, kind, sought.reader).await?;
    }
    Ok(edge.bring(kind, path, asset).await?)
}

async fn open(node: &Node, kind: FileKind, place: &MediaPath) -> Result<Option<OpenFile>, Error> {
    if let Some(open) = node.store.open_at_hand(kind, place) {
        return Ok(Some(open));
    }
    let (store, place) = (node.store.clone(), place.clone());
    let opened = tokio::task::spawn_blocking(move || store.open_file(kind, &place)).await;
    // A panic in there is a panic of this request.
    Ok(opened.map_err(|_| Error::Panicked)??)
}
