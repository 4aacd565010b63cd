//! Doing it: bytes, then rows, then what is left over.

use std::io::Read as _;

use serde_json::{Map, Value};
use tokio::task::spawn_blocking;

use super::plan::{Back, FileBack, Source};
use super::{Error, records};
use crate::catalogue::{Batch, Placed, StoredRecord, Wanted};
use crate::crash::{self, Point};
use crate::edits;
use crate::model::{Hasher, MediaFile, RecordKey};
use crate::node::Node;
use crate::reconcile::deletes::{Applied, Deletes};
use crate::shutdown::Shutdown;
use crate::store::{OpenFile, Publish, Staged, Staging};
use crate::trash::shown;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;
/// Where originals are written before they are published.
const ACTIVITY: &str = "restore";

/// Why an asset did not go back.
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

/// Takes an asset back. What is to go has a job in the batch that takes its row, so that a kill leaves nothing that nobody knows of.
pub(super) async fn out(node: &Node, back: &Back, deletes: &Deletes<'_>) -> Result<(), Failed> {
    let mut rows = Vec::with_capacity(back.files.len());
    let staging = node.store.staging(ACTIVITY)?;
    for file in &back.files {
        rows.push(bring(node, &staging, file, &back.superfluous).await?);
    }
    let now = node.seams.clock.now();
    let mut batch = node.catalogue.batch().await?;
    record(
        node,
        &mut batch,
        (&back.key, &back.now),
        back.members.as_ref(),
    )
    .await?;
    for file in &back.superfluous {
        deletes.forget_in(&mut batch, file, now).await?;
    }
    let mut ids = Vec::new();
    for (row, file) in rows.iter().zip(&back.files) {
        batch.put_file(row, now).await?;
        if let Source::Trash(_) = file.source {
            ids.push(file.former.id);
        }
    }
    batch.forget_former(&ids).await?;
    batch.commit().await?;
    crash::point(Point::RestoreRows)?;
    if !back.superfluous.is_empty() {
        let mut gone = Applied::default();
        deletes.finish(&mut gone, &Shutdown::new()).await?;
    }
    empty(node, back).await
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

/// Publishes an original of then; answers what its row says. Where files of its own that go anyway lie below its name, they go first: a
/// folder is in the way. A kill after that leaves them in the trash alone, and the same restore goes on.
async fn bring(
    node: &Node,
    staging: &Staging,
    file: &FileBack,
    superfluous: &[MediaFile],
) -> Result<MediaFile, Failed> {
    let former = &file.former.file;
    let place = match &file.place {
        Some(place) => place.clone(),
        None => {
            let wanted = Wanted {
                kind: former.kind,
                path: &former.path,
                asset: &former.asset,
                shares: None,
                one_file_at: None,
            };
            let placed = node.catalogue.places(node.store.rules(), &[wanted]).await?;
            match placed.into_iter().next() {
                Some(Placed::At { place, .. }) => place,
                _ => former.place().clone(),
            }
        }
    };
    let (store, staging) = (node.store.clone(), staging.clone());
    let (wanted, to) = (former.clone(), place.clone());
    let below = superfluous
        .iter()
        .filter(|file| file.kind == former.kind && file.place().below(&place).is_some());
    let in_the_way: Vec<MediaFile> = below.cloned().collect();
    let source = match &file.source {
        Source::Trash(item) => Source::Trash(item.clone()),
        Source::Here(file) => Source::Here(file.clone()),
    };
    let published = spawn_blocking(move || {
        let open = match &source {
            Source::Trash(item) => store.open_trashed(item)?,
            Source::Here(file) => store.open_file(file.kind, file.place())?,
        };
        let name = shown(wanted.kind, &wanted.path);
        let Some(open) = open else {
            return Ok(Err(format!("{name}: its bytes of then are gone")));
        };
        let staged = match copied(&staging, open, &wanted)? {
            Ok(staged) => staged,
            Err(why) => return Ok(Err(format!("{name}: {why}"))),
        };
        for file in &in_the_way {
            store.trash(file.kind, file.place())?;
        }
        let publish = Publish {
            content: staged.into(),
            kind: wanted.kind,
            path: to,
            modified: wanted.modified,
            keep_replaced: true,
        };
        match store.publish(vec![publish]).remove(0) {
            Ok(()) => Ok(Ok(())),
            Err(error) if error.stops_the_pass() => Err(Error::from(error)),
            Err(error) => Ok(Err(format!("{name}: {error}"))),
        }
    });
    match published.await.map_err(|_| Failed::All(Error::Worker))? {
        Ok(Ok(())) => {
            crash::point(Point::RestorePublished)?;
            Ok(former.clone().at(place))
        }
        Ok(Err(why)) => Err(Failed::One(why)),
        Err(error) => Err(Failed::All(error)),
    }
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
async fn empty(node: &Node, back: &Back) -> Result<(), Failed> {
    let items = back.files.iter().filter_map(|file| match &file.source {
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
    done.await.map_err(|_| Failed::All(Error::Worker))
}
