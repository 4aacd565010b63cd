//! Doing it: bytes, then rows, then what is left over.

use std::collections::VecDeque;
use std::io::Read as _;

use serde_json::{Map, Value};
use tokio::task::spawn_blocking;

use super::plan::{Back, Source};
use super::{Error, records};
use crate::catalogue::{Batch, Placed, StoredRecord, Wanted};
use crate::crash::{self, Point};
use crate::edits;
use crate::model::{Hasher, MediaFile, RecordKey};
use crate::node::Node;
use crate::reconcile::deletes::{Applied, Deletes};
use crate::shutdown::Shutdown;
use crate::store::{OpenFile, Publish, Staged, Staging, Store};
use crate::trash::shown;

/// Files staged and published at a time: each is an open file meanwhile.
pub(super) const TOGETHER: usize = 64;
/// Bytes copied at a time.
const PIECE: usize = 1 << 20;
/// Where originals are written before they are published.
const ACTIVITY: &str = "restore";

/// Why a record did not go back.
pub(super) enum Failed {
    /// Only this one.
    One(String),
    /// Neither will any other.
    All(Error),
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::All(error.into())
    }
}

/// Whether each of some assets is back, or why not; in their order.
pub(super) type Outcomes = Vec<Result<(), String>>;

/// Takes assets back together: one publication, one commit. What is to go has a job in the batch that takes its row, so that a kill
/// leaves nothing that nobody knows of.
pub(super) async fn out(
    node: &Node,
    backs: &[Back],
    deletes: &Deletes<'_>,
) -> Result<Outcomes, Error> {
    let mut outcomes: Outcomes = backs.iter().map(|_| Ok(())).collect();
    let rows = bring(node, backs, &mut outcomes).await?;
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await?;
    let mut ids = Vec::new();
    for (at, back) in backs.iter().enumerate() {
        if outcomes[at].is_err() {
            continue;
        }
        let known = (&back.key, &back.now);
        match record(node, &mut batch, known, back.members.as_ref()).await {
            Ok(()) => {}
            Err(Failed::One(why)) => {
                outcomes[at] = Err(why);
                continue;
            }
            Err(Failed::All(error)) => return Err(error),
        }
        for file in &back.superfluous {
            deletes.forget_in(&mut batch, file, now).await?;
        }
        for row in rows.iter().filter(|row| row.asset == back.asset) {
            batch.put_file(row, now).await?;
        }
        let from_trash = (back.files.iter()).filter(|file| matches!(file.source, Source::Trash(_)));
        ids.extend(from_trash.map(|file| file.former.id));
    }
    batch.forget_former(&ids).await?;
    batch.commit().await?;
    crash::point(Point::RestoreRows)?;
    if backs.iter().any(|back| !back.superfluous.is_empty()) {
        let mut gone = Applied::default();
        deletes.finish(&mut gone, &Shutdown::new()).await?;
    }
    let done = backs.iter().zip(&outcomes);
    empty(
        node,
        done.filter_map(|(back, outcome)| outcome.is_ok().then_some(back)),
    )
    .await?;
    Ok(outcomes)
}

/// Takes a record of another table back.
pub(super) async fn record_out(node: &Node, back: &records::Back) -> Result<(), Failed> {
    let mut batch = node.catalogue.batch().await?;
    let known = (&back.key, &back.now);
    record(node, &mut batch, known, Some(&back.members)).await?;
    Ok(batch.commit().await?)
}

/// Puts the members of then into the place of those of now, which must be as they were when that was planned.
async fn record(
    node: &Node,
    batch: &mut Batch,
    (key, planned): (&RecordKey, &Option<StoredRecord>),
    members: Option<&Map<String, Value>>,
) -> Result<(), Failed> {
    let known = batch.stored(std::slice::from_ref(key)).await?.remove(key);
    let content =
        |stored: &Option<StoredRecord>| stored.as_ref().map(|stored| stored.record.content);
    if content(&known) != content(planned) {
        let why = "it changed meanwhile; nothing was restored, ask again";
        return Err(Failed::One(why.to_owned()));
    }
    let Some(members) = members else {
        return Ok(());
    };
    let edit = edits::back_to(node, key, known.as_ref(), members.clone())
        .map_err(|error| Failed::One(error.to_string()))?;
    // What came from a peer goes on coming from there.
    let origin = match &known {
        Some(known) if edit.master != node.config.node.cluster_id => known.origin.as_str(),
        _ => "",
    };
    let now = node.seams.clock.now();
    batch.put_records(&[&edit.record], origin, now).await?;
    Ok(())
}

/// An original of then on its way to its place.
struct Bring {
    /// Which of the assets.
    at: usize,
    source: Source,
    /// What its row will say.
    row: MediaFile,
    /// Files of its own asset that go anyway and lie below its name: a folder is in the way. A kill after they went leaves them in
    /// the trash alone, and the same restore goes on.
    in_the_way: Vec<MediaFile>,
}

/// Publishes the originals of then; answers what their rows say. Where one of an asset cannot be had, no more of it are published.
async fn bring(
    node: &Node,
    backs: &[Back],
    outcomes: &mut Outcomes,
) -> Result<Vec<MediaFile>, Error> {
    let files = placed(node, backs).await?;
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let (store, staging) = (node.store.clone(), node.store.staging(ACTIVITY)?);
    let mut known = std::mem::take(outcomes);
    let (known, rows) = spawn_blocking(move || {
        let (mut rows, mut files) = (Vec::new(), VecDeque::from(files));
        while !files.is_empty() {
            let some = files.drain(..files.len().min(TOGETHER)).collect();
            rows.extend(publish(&store, &staging, some, &mut known)?);
        }
        Ok::<_, Error>((known, rows))
    })
    .await
    .map_err(|_| Error::Worker)??;
    *outcomes = known;
    crash::point(Point::RestorePublished)?;
    Ok(rows)
}

/// Stages some files and publishes them; answers the rows of those that lie at their places.
fn publish(
    store: &Store,
    staging: &Staging,
    files: Vec<Bring>,
    outcomes: &mut Outcomes,
) -> Result<Vec<MediaFile>, Error> {
    let mut ready = Vec::with_capacity(files.len());
    for file in files {
        if outcomes[file.at].is_err() {
            continue;
        }
        match staged(store, staging, &file)? {
            Ok(content) => ready.push((file, content)),
            Err(why) => outcomes[file.at] = Err(why),
        }
    }
    ready.retain(|(file, _)| outcomes[file.at].is_ok());
    let (mut wished, mut wishes) = (Vec::new(), Vec::new());
    for (file, content) in ready {
        for other in &file.in_the_way {
            store.trash(other.kind, other.place())?;
        }
        wishes.push(Publish {
            content: content.into(),
            kind: file.row.kind,
            path: file.row.place().clone(),
            modified: file.row.modified,
            keep_replaced: true,
        });
        wished.push((file.at, file.row));
    }
    let mut rows = Vec::with_capacity(wished.len());
    for ((at, row), published) in wished.into_iter().zip(store.publish(wishes)) {
        match published {
            Ok(()) => rows.push(row),
            Err(error) if error.stops_the_pass() => return Err(Error::from(error)),
            Err(error) => outcomes[at] = Err(format!("{}: {error}", shown(row.kind, &row.path))),
        }
    }
    Ok(rows)
}

/// Where the originals of then go: to the place of the row of now, or to one that is free.
async fn placed(node: &Node, backs: &[Back]) -> Result<Vec<Bring>, Error> {
    let files = || {
        (backs.iter().enumerate()).flat_map(|(at, it)| it.files.iter().map(move |file| (at, file)))
    };
    let homeless = files().filter(|(_, file)| file.place.is_none());
    let wanted: Vec<Wanted<'_>> = homeless
        .map(|(_, file)| Wanted {
            kind: file.former.file.kind,
            path: &file.former.file.path,
            asset: &file.former.file.asset,
            shares: None,
            one_file_at: None,
        })
        .collect();
    let mut given = (node.catalogue.places(node.store.rules(), &wanted).await?).into_iter();
    let bring = files().map(|(at, file)| {
        let former = &file.former.file;
        let place = file.place.clone().unwrap_or_else(|| match given.next() {
            Some(Placed::At { place, .. }) => place,
            _ => former.place().clone(),
        });
        let below = (backs[at].superfluous.iter())
            .filter(|other| other.kind == former.kind && other.place().below(&place).is_some());
        Bring {
            at,
            source: file.source.clone(),
            in_the_way: below.cloned().collect(),
            row: former.clone().at(place),
        }
    });
    Ok(bring.collect())
}

/// The bytes of then in staging, or why they are not to be had.
fn staged(store: &Store, staging: &Staging, file: &Bring) -> Result<Result<Staged, String>, Error> {
    let open = match &file.source {
        Source::Trash(item) => store.open_trashed(item)?,
        Source::Here(other) => store.open_file(other.kind, other.place())?,
    };
    let name = shown(file.row.kind, &file.row.path);
    let Some(open) = open else {
        return Ok(Err(format!("{name}: its bytes of then are gone")));
    };
    let copied = copied(staging, open, &file.row)?;
    Ok(copied.map_err(|why| format!("{name}: {why}")))
}

/// The bytes in staging, if they are those of then.
fn copied(
    staging: &Staging,
    mut open: OpenFile,
    wanted: &MediaFile,
) -> Result<Result<Staged, String>, Error> {
    let mut staged = staging.create()?;
    let mut hasher = Hasher::new(false);
    let mut buffer = vec![0; PIECE];
    loop {
        match open.file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                staged.write_all(&buffer[..read])?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    let is_it = hasher.finish().sha256 == wanted.sha256;
    Ok(is_it
        .then_some(staged)
        .ok_or_else(|| "its bytes are not those of then any more".to_owned()))
}

/// Empties the slots of the trash whose files are back: their rows are in.
async fn empty(node: &Node, backs: impl Iterator<Item = &Back>) -> Result<(), Error> {
    let files = backs.flat_map(|back| &back.files);
    let items = files.filter_map(|file| match &file.source {
        Source::Trash(item) => Some(item.clone()),
        Source::Here(_) => None,
    });
    let (store, items) = (node.store.clone(), items.collect::<Vec<_>>());
    let done = spawn_blocking(move || {
        for item in items {
            if let Err(error) = store.empty_one(&item) {
                tracing::warn!(path = %item.path, %error, "restored, and still in the trash as well");
            }
        }
    });
    done.await.map_err(|_| Error::Worker)
}
