//! Making files visible, in batches, so that many files share what makes them durable (I1).
//!
//! ```text
//! 1 write    what lies in memory into staging                kill: nothing visible; swept
//! 2 place    make missing directories                        kill: empty directories stay
//! 3 seal     set time and mode; sync the files and           kill: nothing visible; swept (a partial: resumed)
//!            the parents of directories that are new
//! 4 keep     link the old file into the trash, sync there    kill: the old file has two names, one in the trash
//! 5 name     rename over the final name                      kill: the old file or the new one, each complete
//! 6 settle   sync the directories that gained a name         kill: as after 5; only now is the answer Ok
//! ```
//!
//! Steps 3 and 6 sync one by one, or everything in one go where that is cheaper (`together`); either way no step begins before
//! the one before it is over for the whole batch. A file that was found under its final name (`adopt`) goes the same way, but
//! keeps the name it has.
//!
//! Since the content is on the medium before step 5, a power cut at any moment leaves under a final name the old content
//! or the new, complete. A member that fails takes no further step, drops its staged bytes, and leaves the others alone.
//! After a failed sync of a file nothing of it is synced again: the kernel may report an error once and forget the bytes, so
//! that a second sync which succeeds proves nothing; the caller fetches or derives the file anew. When step 6 fails the new file
//! has its name, but nobody may rely on it: the answer is an error, and publishing again puts it right.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rustix::io::Errno;

use super::content::Content;
use super::dirs::{Dir, Place, Unsynced};
use super::error::Error;
use super::staging::Staged;
use super::trash::{NewSlot, cannot_move};
use super::{Store, parent_text};
use crate::crash::{self, Point};
use crate::model::{FileKind, MediaPath, Timestamp};

/// How often a directory may be removed under our hands before we give up.
const TRIES: usize = 4;
/// Files of one batch that are synced one by one at the same time.
const SYNCERS: usize = 8;
/// Files of one batch that are written at the same time: making names in one directory takes turns, so more only wait.
const WRITERS: usize = 2;

/// One staged file and the place it is meant for.
#[derive(Debug)]
pub struct Publish {
    /// The content, complete and compared.
    pub content: Content,
    /// Which tree.
    pub kind: FileKind,
    /// Where in that tree.
    pub path: MediaPath,
    /// Modification time to give it, kept to the millisecond.
    pub modified: Timestamp,
    /// Whether a file that it replaces is kept in the trash.
    pub keep_replaced: bool,
}

/// Files that one batch may hold: each may need an open file and a directory, of which a process may have so many.
#[must_use]
pub fn largest_batch() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    (limit.saturating_sub(OTHER_HANDLES) / 2).max(1)
}

/// Handles that everything else needs: connections, the catalogue, files under way.
const OTHER_HANDLES: usize = 512;

type Answer = Result<(), Error>;

/// Everything about a file but its content.
#[derive(Debug)]
struct Target {
    kind: FileKind,
    path: MediaPath,
    modified: Timestamp,
    keep_replaced: bool,
}

/// A member on its way through the steps.
#[derive(Debug)]
struct Member {
    at: usize,
    staged: Staged,
    item: Target,
    dir: Option<Arc<Dir>>,
    replaces: bool,
    kept: Option<Kept>,
}

/// How a replaced file gets to its place in the trash.
#[derive(Debug)]
enum Kept {
    /// It has a second name there already.
    Linked(Arc<Dir>),
    /// The file system gives no second names, so it is moved there just before the new file takes its place.
    ToMove(Arc<Dir>),
}

/// Directories that a round has opened, so that each is opened, made and synced once.
type Places<D> = HashMap<(FileKind, String), D>;

impl Member {
    fn dir(&self) -> &Arc<Dir> {
        self.dir.as_ref().expect("placed before it is named")
    }

    fn shown(&self) -> String {
        format!("{}/{}", self.item.kind.dir(), self.item.path)
    }
}

impl Store {
    /// Publishes a batch; the answers are in its order, and `Ok` means that the file is durable under its final name.
    ///
    /// Two members for one place are published one after the other. An existing file is replaced at one stroke.
    pub fn publish(&self, batch: Vec<Publish>) -> Vec<Result<(), Error>> {
        let mut answers: Vec<Option<Answer>> = batch.iter().map(|_| None).collect();
        let mut round: Vec<(usize, Publish)> = Vec::new();
        let mut places = HashSet::new();
        for (at, item) in batch.into_iter().enumerate() {
            if !places.insert((item.kind, item.path.clone())) {
                self.publish_round(std::mem::take(&mut round), &mut answers);
                places.clear();
                places.insert((item.kind, item.path.clone()));
            }
            round.push((at, item));
        }
        self.publish_round(round, &mut answers);
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.expect("a round answers for each of its members"))
            .collect()
    }

    /// Takes files with different places through all steps.
    fn publish_round(&self, items: Vec<(usize, Publish)>, answers: &mut [Option<Answer>]) {
        let mut places = Places::new();
        let members = self.write(items, answers);
        let members = step(members, answers, |member| self.place(member, &mut places));
        let members = self.seal(members, places.into_values().collect(), answers);
        let members = self.keep(members, answers);
        let members = step(members, answers, |member| self.name(member));
        for member in self.sync_once(members, answers, |member| member.dir.as_ref()) {
            tracing::debug!(path = %member.item.path, bytes = member.staged.len(), "published");
            answers[member.at] = Some(crash::point(Point::Published).map_err(Error::from));
        }
    }

    /// Puts into staging what lies in memory.
    fn write(&self, items: Vec<(usize, Publish)>, answers: &mut [Option<Answer>]) -> Vec<Member> {
        let written = in_parallel(WRITERS, &items, |(_, item)| match &item.content {
            Content::Held(held) => held.write().map(Some),
            Content::Staged(_) => Ok(None),
        });
        let mut members = Vec::with_capacity(items.len());
        for ((at, item), written) in items.into_iter().zip(written) {
            let staged = match (written, item.content) {
                (Ok(Some(staged)), _) | (Ok(None), Content::Staged(staged)) => staged,
                (Err(error), _) => {
                    answers[at] = Some(Err(error));
                    continue;
                }
                (Ok(None), Content::Held(_)) => unreachable!("what lies in memory is written"),
            };
            let item = Target {
                kind: item.kind,
                path: item.path,
                modified: item.modified,
                keep_replaced: item.keep_replaced,
            };
            members.push(Member {
                at,
                staged,
                item,
                dir: None,
                replaces: false,
                kept: None,
            });
        }
        members
    }

    /// Sets times and modes, and waits until all of it is on the medium, and so are the directories it goes to.
    fn seal(
        &self,
        members: Vec<Member>,
        places: Vec<Place>,
        answers: &mut [Option<Answer>],
    ) -> Vec<Member> {
        let labelled = in_parallel(WRITERS, &members, |member| self.label(member));
        let members = answered(members, answers, labelled);
        let owed: usize = places.iter().map(Place::owes).sum();
        if self.sync_together(members.len() + owed) {
            places.iter().for_each(|place| self.0.dirs.note_paid(place));
            return step(members, answers, |_| Ok(crash::point(Point::Sealed)?));
        }
        // Several at a time: a file system commits the syncs that wait together as one.
        let synced = in_parallel(SYNCERS, &members, |member| self.sync_one(member));
        let members = answered(members, answers, synced);
        let unsynced = self.pay(&places);
        step(members, answers, |member| {
            let failed = unsynced.get(&Arc::as_ptr(member.dir()));
            failed.map_or(Ok(()), |(path, errno)| {
                Err(Error::of("sync", path.clone(), *errno))
            })
        })
    }

    /// Syncs the parents of directories that are new, and says which places that failed for.
    fn pay(&self, places: &[Place]) -> HashMap<*const Dir, Unsynced> {
        let paid = self.0.dirs.pay(&places.iter().collect::<Vec<_>>());
        let failed = places.iter().zip(paid).filter_map(|(place, paid)| {
            let unsynced = paid.err()?;
            Some((Arc::as_ptr(&place.dir), unsynced))
        });
        failed.collect()
    }

    fn label(&self, member: &Member) -> Answer {
        let sys = self.0.dirs.sys();
        let staged = &member.staged;
        let failed = |op| move |errno| Error::of(op, staged.path(), errno);
        let modified = member.item.modified;
        let found = staged.lies_in_place();
        if found.is_none_or(|found| found.whole_second() != modified.whole_second()) {
            sys.set_modified(staged.file(), modified)
                .map_err(failed("set the time of"))?;
        }
        if found.is_none() {
            sys.set_public(staged.file())
                .map_err(failed("set the mode of"))?;
        }
        Ok(())
    }

    fn sync_one(&self, member: &Member) -> Answer {
        let staged = &member.staged;
        if let Err(errno) = self.0.dirs.sys().sync_file(staged.file()) {
            self.doubt(staged);
            return Err(Error::of("sync", staged.path(), errno));
        }
        Ok(crash::point(Point::Sealed)?)
    }

    fn place(&self, member: &mut Member, places: &mut Places<Place>) -> Answer {
        let place = open_once(places, &member.item, || {
            self.at_parent(member, |tree, parents| self.0.dirs.enter(tree, parents))
        })?;
        let dir = Arc::clone(&place.dir);
        member.replaces = match dir.look(member.item.path.name()) {
            Ok(found) => found.is_some(),
            Err(Error::NotAFile {
                path,
                what: "a directory",
            }) => {
                return Err(Error::Blocked {
                    path,
                    why: "a folder is where the file is to go",
                });
            }
            Err(error) => return Err(error),
        };
        member.dir = Some(dir);
        Ok(crash::point(Point::Placed)?)
    }

    /// What `make` makes of the directory a member goes to, also when a remove takes it away meanwhile.
    fn at_parent<D>(
        &self,
        member: &Member,
        make: impl Fn(&Dir, &str) -> Result<D, Error>,
    ) -> Result<D, Error> {
        let tree = self.tree(member.item.kind)?;
        let parents = parent_text(&member.item.path);
        let mut answer = make(&tree, parents);
        for _ in 1..TRIES {
            match answer {
                Err(Error::Vanished { .. }) => answer = make(&tree, parents),
                answer => return answer,
            }
        }
        answer
    }

    /// Gives every file that is to be kept a second name in the trash, and makes that durable before it loses its first.
    fn keep(&self, members: Vec<Member>, answers: &mut [Option<Answer>]) -> Vec<Member> {
        let (mut slots, mut places) = (HashMap::new(), Places::new());
        let members = step(members, answers, |member| {
            let is_new = member.staged.lies_in_place().is_none();
            if member.item.keep_replaced && member.replaces && is_new {
                self.keep_one(member, &mut slots, &mut places)?;
            }
            Ok(())
        });
        self.sync_once(members, answers, |member| match &member.kept {
            Some(Kept::Linked(place)) => Some(place),
            Some(Kept::ToMove(_)) | None => None,
        })
    }

    fn keep_one(
        &self,
        member: &mut Member,
        slots: &mut HashMap<FileKind, NewSlot>,
        places: &mut Places<Arc<Dir>>,
    ) -> Answer {
        let dirs = &self.0.dirs;
        let kind = member.item.kind;
        if let Entry::Vacant(none) = slots.entry(kind) {
            none.insert(NewSlot::make(dirs, kind)?);
        }
        let place = open_once(places, &member.item, || {
            slots[&kind].place(dirs, &member.item.path)
        })?;
        let place = Arc::clone(place);
        let (dir, name) = (member.dir(), member.item.path.name());
        match dirs.sys().link(dir.fd(), name, place.fd(), name) {
            Ok(()) => member.kept = Some(Kept::Linked(place)),
            Err(Errno::NOENT) => {}
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
                member.kept = Some(Kept::ToMove(place));
            }
            Err(errno) => return Err(cannot_move(member.shown(), errno)),
        }
        Ok(crash::point(Point::Kept)?)
    }

    fn name(&self, member: &mut Member) -> Answer {
        crash::point(Point::Naming)?;
        let moved = match &member.kept {
            Some(Kept::ToMove(place)) => self.move_aside(member, place)?.then(|| Arc::clone(place)),
            Some(Kept::Linked(_)) | None => None,
        };
        let named = self.rename(member);
        if let (Err(_), Some(place)) = (&named, moved) {
            let (dir, name) = (member.dir(), member.item.path.name());
            let back = self.0.dirs.sys().rename(place.fd(), name, dir.fd(), name);
            if let Err(errno) = back {
                let (path, place) = (member.shown(), place.path());
                tracing::error!(path, place, %errno, "the old file stays in the trash");
            }
        }
        named
    }

    /// Moves the old file away, durably there; a kill now leaves the place empty and the old file whole in the trash.
    fn move_aside(&self, member: &Member, place: &Dir) -> Result<bool, Error> {
        let dirs = &self.0.dirs;
        let (dir, name) = (member.dir(), member.item.path.name());
        match dirs.sys().rename(dir.fd(), name, place.fd(), name) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(cannot_move(member.shown(), errno)),
        }
        if let Err(errno) = dirs.sync(place) {
            let _ = dirs.sys().rename(place.fd(), name, dir.fd(), name);
            return Err(Error::of("sync", place.path(), errno));
        }
        Ok(true)
    }

    fn rename(&self, member: &mut Member) -> Answer {
        if member.staged.lies_in_place().is_some() {
            // It was hashed through a handle; what counts is what the name stands for.
            let name = member.item.path.name();
            let is_named = member.staged.is_named(member.dir(), name);
            return is_named.then_some(()).ok_or_else(|| Error::Vanished {
                path: member.shown(),
            });
        }
        let sys = self.0.dirs.sys();
        for left in (0..TRIES).rev() {
            let (staged, name) = (&member.staged, member.item.path.name());
            match sys.rename(staged.dir().fd(), staged.name(), member.dir().fd(), name) {
                Ok(()) => {
                    member.staged.disarm();
                    return Ok(crash::point(Point::Named)?);
                }
                // A remove emptied and took away the directory since we opened it.
                Err(Errno::NOENT) if left > 0 => {
                    let dirs = &self.0.dirs;
                    let made = self.at_parent(member, |tree, parents| dirs.make(tree, parents));
                    member.dir = Some(made?);
                }
                Err(errno) => return Err(cannot_move(member.shown(), errno)),
            }
        }
        unreachable!("the last try returns")
    }

    /// Syncs the directories that `which` names, each once; members of one that fails are answered and left out.
    fn sync_once(
        &self,
        members: Vec<Member>,
        answers: &mut [Option<Answer>],
        which: impl Fn(&Member) -> Option<&Arc<Dir>>,
    ) -> Vec<Member> {
        let dirs: HashSet<_> = members.iter().filter_map(&which).map(Arc::as_ptr).collect();
        if self.sync_together(dirs.len()) {
            return members;
        }
        let mut synced = HashMap::new();
        step(members, answers, |member| {
            let Some(dir) = which(member) else {
                return Ok(());
            };
            synced
                .entry(Arc::as_ptr(dir))
                .or_insert_with(|| self.0.dirs.sync(dir))
                .map_err(|errno| Error::of("sync", dir.path(), errno))
        })
    }
}

/// What `each` answers for all items, in their order; so many threads ask at the same time.
fn in_parallel<T: Sync, A: Send>(
    threads: usize,
    items: &[T],
    each: impl Fn(&T) -> A + Sync,
) -> Vec<A> {
    let ask = |share: &[T]| share.iter().map(&each).collect::<Vec<A>>();
    let share = items.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut shares = items.chunks(share);
        let own = shares.next().unwrap_or_default();
        let others: Vec<_> = shares
            .map(|share| {
                let thread = std::thread::Builder::new();
                let started = thread.spawn_scoped(scope, || ask(share));
                (share, started)
            })
            .collect();
        let mut answers = ask(own);
        for (share, started) in others {
            answers.extend(match started {
                Ok(other) => other.join().expect("no step panics"),
                // The system gives no more threads: slower, but no reason to fail.
                Err(_) => ask(share),
            });
        }
        answers
    })
}

/// Leaves out the members that failed, with their answers.
fn answered(
    members: Vec<Member>,
    answers: &mut [Option<Answer>],
    given: Vec<Answer>,
) -> Vec<Member> {
    let mut given = given.into_iter();
    step(members, answers, |_| {
        given.next().expect("one answer for each member")
    })
}

/// Takes every member through one step; those that fail are answered, and dropped with their staged bytes.
fn step(
    members: Vec<Member>,
    answers: &mut [Option<Answer>],
    mut each: impl FnMut(&mut Member) -> Answer,
) -> Vec<Member> {
    members
        .into_iter()
        .filter_map(|mut member| match each(&mut member) {
            Ok(()) => Some(member),
            Err(error) => {
                answers[member.at] = Some(Err(error));
                None
            }
        })
        .collect()
}

/// What stands for an item's parent in `places`, opened by `open` the first time.
fn open_once<'a, D>(
    places: &'a mut Places<D>,
    item: &Target,
    open: impl FnOnce() -> Result<D, Error>,
) -> Result<&'a D, Error> {
    match places.entry((item.kind, parent_text(&item.path).to_owned())) {
        Entry::Occupied(known) => Ok(known.into_mut()),
        Entry::Vacant(unknown) => Ok(unknown.insert(open()?)),
    }
}

#[cfg(test)]
mod tests;
