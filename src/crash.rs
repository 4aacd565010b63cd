//! Crash points: named moments at which a test ends the process, or makes it fail, where the order of steps matters.
//!
//! ```text
//! EMSYNC_CRASH=<point>[@n][:abort|error|panic|delay]    the n-th pass (the first if not said) through a point does that
//! EMSYNC_CRASH=every:delay                              every pass through every point does
//! EMSYNC_CRASH_LOG=<file>                               a line is added for each pass, `passed <point>` or `<mode> <point>`
//! ```
//!
//! `abort` is the end that a power cut or the kernel makes: nothing is flushed, dropped or said. `error` is what a failing disk
//! answers, `panic` a mistake of ours, `delay` a stall that lets everybody else run ahead.
//!
//! They exist in debug builds and with the feature `crash-points`; elsewhere [`point`] is nothing and [`arm`] refuses the
//! variable, so that no test takes a build without points for one that survives them. What is armed is one for the process: a
//! point lies deep in code that is handed nothing, and no code but a point ever reads it.

/// Why the points cannot be armed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The variable names no point, or is not of the form above.
    #[error("EMSYNC_CRASH={text:?}: {why}")]
    Unknown {
        /// What it says.
        text: String,
        /// What is wrong with that.
        why: String,
    },
    /// The log cannot be written.
    #[error("EMSYNC_CRASH_LOG={path:?} cannot be written")]
    Log {
        /// Where it should be.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> crate::error::Class {
        crate::error::Class::Permanent
    }
}

/// A point that fails like a disk, as an error of the area it lies in.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("crash point {} was told to fail", .0.name())]
pub struct Reached(pub Point);

impl From<Reached> for std::io::Error {
    fn from(reached: Reached) -> Self {
        Self::other(reached)
    }
}

macro_rules! points {
    ($($(#[$doc:meta])+ $point:ident = $name:literal,)+) => {
        /// A moment between two steps whose order matters.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point {
            $($(#[$doc])+ $point,)+
        }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$point,)+];

            /// How it is called in the variable and in the log.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    /// A directory was made and is not synced into its parent.
    DirMade = "store.dir-made",
    /// An empty file is in staging.
    StagingMade = "store.staging-made",
    /// A staged file is on the medium, under no final name.
    Sealed = "store.sealed",
    /// The directory of a final name is there.
    Placed = "store.placed",
    /// A file about to be replaced has a second name in the trash, not synced yet.
    Kept = "store.kept",
    /// Everything is ready for the rename.
    Naming = "store.naming",
    /// A file has its final name, which is not synced yet.
    Named = "store.named",
    /// A file is durable under its final name, and nobody was told.
    Published = "store.published",
    /// A partial of another version was emptied, its note speaks of the former one.
    PartialCut = "partial.cut",
    /// Bytes were added to a partial.
    PartialAppended = "partial.appended",
    /// A partial is synced, its note says less.
    PartialSynced = "partial.synced",
    /// A partial's new note lies beside the old one.
    NoteWritten = "partial.note-written",
    /// A partial's new note has its name.
    NoteNamed = "partial.note-named",
    /// An empty slot is in the trash.
    SlotMade = "trash.slot-made",
    /// A file lies in the trash, neither directory synced.
    Trashed = "trash.moved",
    /// A file lies durably in the trash; emptied directories are still there.
    TrashSynced = "trash.synced",
    /// The former name of a moved file is gone, which is not synced yet.
    NameDropped = "store.name-dropped",
    /// A batch is complete and not committed.
    Committing = "catalogue.committing",
    /// A batch is committed, and nobody was told.
    Committed = "catalogue.committed",
    /// What a dead run left claimed is ready again.
    LeasesTaken = "pull.leases-taken",
    /// The former listing is forgotten, no page of the new one applied.
    ListingBegun = "pull.listing-begun",
    /// A page is applied.
    PageTaken = "pull.page-taken",
    /// Every page is applied, the checkpoint stands where it stood.
    CheckpointDue = "pull.checkpoint-due",
    /// The checkpoint moved.
    CheckpointMoved = "pull.checkpoint-moved",
    /// Jobs are claimed and not begun.
    PoolClaimed = "pull.claimed",
    /// A file of ours that is the wanted one is adopted, linked, cloned or copied.
    OursFound = "pull.ours-found",
    /// A file is staged, hashed and compared.
    FileStaged = "pull.file-staged",
    /// Files are published and have no rows.
    BytesPublished = "publisher.bytes-published",
    /// Rows and jobs of a batch are settled, and nobody was told.
    RowsSettled = "publisher.rows-settled",
    /// An original was handed to the regenerator.
    HandedOff = "media.handed-off",
    /// Renditions are staged.
    RenditionsStaged = "media.staged",
    /// Every file of the pass is settled, no delete begun.
    FilesDone = "run.files-done",
    /// A complete listing is audited; the deletes that follow from it wait.
    Audited = "run.audited",
    /// Deletes are done, and not measured against the peer's count.
    DeletesDone = "run.deletes-done",
    /// Everything is done, and the run is not noted as ended.
    RunEnding = "run.ending",
    /// A record is deleted, the bytes of its files are there.
    DeleteRows = "deletes.rows-gone",
    /// A file's row is gone, its bytes are there.
    RemoveRows = "deletes.row-removed",
    /// Rows of files that a person gave up are gone, their bytes are there.
    GivenUpRows = "deletes.rows-given-up",
    /// A file's bytes are in the trash, the job that asked for it is there.
    BytesTrashed = "deletes.bytes-trashed",
    /// Two nodes were compared, the answer is not stored.
    Compared = "verify.compared",
    /// Files of a folder are staged and read.
    ImportRead = "import.read",
    /// Renditions of a moved asset are staged for their new place.
    ImportCarried = "import.carried",
    /// The former place of a moved asset was cleared to make room for it.
    ImportMadeRoom = "import.made-room",
    /// Originals of a portion are published and have no rows.
    ImportPublished = "import.published",
    /// A portion is in the catalogue, former places are not cleared.
    ImportCommitted = "import.committed",
    /// Renditions are published and have no rows.
    ImportRendered = "import.rendered",
    /// Renditions are in the catalogue.
    ImportRestated = "import.restated",
    /// A chunk of renditions is made again, and its lock is held.
    RebuiltChunk = "thumbs.chunk-made",
    /// It is noted how far a rebuild of everything has come.
    RebuildNoted = "thumbs.noted",
    /// Assets that are gone from the folder have tombstones, their bytes are there.
    ImportBuried = "import.buried",
    /// Their bytes are in the trash, the marked source rows are there.
    ImportCleared = "import.cleared",
    /// Their source rows are gone.
    ImportForgotten = "import.forgotten",
    /// Some files of a slice are read, and nothing is noted of them.
    ScrubRead = "scrub.read",
    /// It is noted how far the scrub has come.
    ScrubNoted = "scrub.noted",
    /// Damaged files are judged, their bad copies lie where they were found.
    ScrubJudged = "scrub.judged",
    /// A bad copy is in the trash, and no row says what it was.
    ScrubTrashed = "scrub.trashed",
    /// Wishes for damaged files are there, none is fetched.
    ScrubWished = "scrub.wished",
    /// Files of the round are read and healed as far as they can be, the round is not noted as ended.
    ScrubEnding = "scrub.ending",
    /// What a filter leaves out of a page of records is in the trash, other pages were not looked at.
    PrunedPage = "prune.page-trashed",
    /// Rows say that their bytes are about to go to make room; the bytes are there.
    EvictedRows = "evict.rows-going",
    /// The bytes are gone, their rows say that they are about to go.
    EvictedBytes = "evict.bytes-gone",
    /// An original of then is in its place, under the row of now.
    RestorePublished = "restore.published",
    /// The record and the rows are those of then; what these do not name is still on disk.
    RestoreRows = "restore.rows-back",
    /// Originals are back, their renditions are those of the others.
    RestoreRendering = "restore.rendering",
    /// It is noted whose place is taken, no record is ours yet.
    PromoteNoted = "promote.noted",
    /// A page of records is ours, others are not.
    PromotePage = "promote.page-ours",
}

#[cfg(any(debug_assertions, feature = "crash-points"))]
pub use armed::{arm, point};
#[cfg(not(any(debug_assertions, feature = "crash-points")))]
pub use unarmed::{arm, point};

#[cfg(not(any(debug_assertions, feature = "crash-points")))]
mod unarmed {
    use super::{Error, Point, Reached};

    /// Refuses the variable: this build has no points.
    ///
    /// # Errors
    /// [`Error::Unknown`] when it is set.
    pub fn arm() -> Result<(), Error> {
        match std::env::var("EMSYNC_CRASH") {
            Err(std::env::VarError::NotPresent) => Ok(()),
            said => Err(Error::Unknown {
                text: said.unwrap_or_default(),
                why: "this build has no crash points".to_owned(),
            }),
        }
    }

    /// Nothing.
    ///
    /// # Errors
    /// Never.
    #[inline(always)]
    pub fn point(_: Point) -> Result<(), Reached> {
        Ok(())
    }
}

#[cfg(any(debug_assertions, feature = "crash-points"))]
mod armed {
    use std::env;
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::{Error, Point, Reached};

    /// Longer than anything else of a small run takes; with `every:delay` there are hundreds.
    const STALL: Duration = Duration::from_millis(300);
    const STALL_EACH: Duration = Duration::from_millis(3);

    static ARMED: OnceLock<Armed> = OnceLock::new();

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Mode {
        Abort,
        Error,
        Panic,
        Delay,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    struct Target {
        /// Which; `None` for every point.
        point: Option<Point>,
        /// Which pass.
        at: u64,
        mode: Mode,
    }

    #[derive(Debug)]
    struct Armed {
        target: Option<Target>,
        passes: AtomicU64,
        log: Option<File>,
    }

    /// Reads the variables. To be called once, before anything else runs.
    ///
    /// # Errors
    /// [`Error`].
    pub fn arm() -> Result<(), Error> {
        let target = match env::var_os("EMSYNC_CRASH") {
            Some(text) => Some(target(&text.to_string_lossy())?),
            None => None,
        };
        let log = match env::var_os("EMSYNC_CRASH_LOG") {
            Some(path) => {
                let opened = OpenOptions::new().create(true).append(true).open(&path);
                Some(opened.map_err(|source| Error::Log {
                    path: path.to_string_lossy().into_owned(),
                    source,
                })?)
            }
            None => None,
        };
        if target.is_some() || log.is_some() {
            let armed = Armed {
                target,
                passes: AtomicU64::new(0),
                log,
            };
            ARMED.set(armed).expect("armed once, by the program");
        }
        Ok(())
    }

    /// A moment where a test may end this process, or make it fail.
    ///
    /// # Errors
    /// [`Reached`] when this pass was told to fail.
    pub fn point(point: Point) -> Result<(), Reached> {
        match ARMED.get() {
            Some(armed) => armed.pass(point),
            None => Ok(()),
        }
    }

    fn target(text: &str) -> Result<Target, Error> {
        let unknown = |why: String| Error::Unknown {
            text: text.to_owned(),
            why,
        };
        let (place, mode) = text.split_once(':').unwrap_or((text, "abort"));
        let (name, at) = place.split_once('@').unwrap_or((place, "1"));
        let mode = match mode {
            "abort" => Mode::Abort,
            "error" => Mode::Error,
            "panic" => Mode::Panic,
            "delay" => Mode::Delay,
            other => {
                return Err(unknown(format!(
                    "{other:?} is none of abort, error, panic, delay"
                )));
            }
        };
        let at = at.parse().ok().filter(|at| *at > 0);
        let at = at.ok_or_else(|| unknown("the pass is no number from 1".to_owned()))?;
        let point = Point::ALL
            .iter()
            .copied()
            .find(|point| point.name() == name);
        match (point, mode) {
            (None, Mode::Delay) if name == "every" => {}
            (None, _) => return Err(unknown(format!("there is no crash point {name:?}"))),
            (Some(_), _) => {}
        }
        Ok(Target { point, at, mode })
    }

    impl Armed {
        fn pass(&self, point: Point) -> Result<(), Reached> {
            let Some(mode) = self.mode(point) else {
                self.note("passed", point);
                return Ok(());
            };
            match mode {
                Mode::Delay => {
                    self.note("delay", point);
                    std::thread::sleep(self.stall());
                    Ok(())
                }
                Mode::Error => {
                    self.note("error", point);
                    Err(Reached(point))
                }
                Mode::Panic => {
                    self.note("panic", point);
                    panic!("crash point {} was told to panic", point.name());
                }
                Mode::Abort => {
                    self.note("abort", point);
                    let own = rustix::process::getpid();
                    // Should that be refused, an abort is the next best: it runs nothing of ours either.
                    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
                    std::process::abort();
                }
            }
        }

        /// What this pass is to do, if anything.
        fn mode(&self, point: Point) -> Option<Mode> {
            let target = self.target?;
            let Some(wanted) = target.point else {
                return Some(target.mode);
            };
            let passes =
                wanted == point && self.passes.fetch_add(1, Ordering::SeqCst) + 1 == target.at;
            passes.then_some(target.mode)
        }

        fn stall(&self) -> Duration {
            let one = self.target.is_some_and(|target| target.point.is_some());
            if one { STALL } else { STALL_EACH }
        }

        fn note(&self, what: &str, point: Point) {
            if let Some(mut log) = self.log.as_ref() {
                // One write, so that lines of several threads do not mix. A log that cannot be written shows as missing lines.
                let _ = log.write_all(format!("{what} {}\n", point.name()).as_bytes());
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_unique_and_found_again() {
            let mut names: Vec<_> = Point::ALL.iter().map(|point| point.name()).collect();
            for (point, name) in Point::ALL.iter().zip(&names) {
                let found = target(&format!("{name}@3:error")).unwrap();
                let expected = Target {
                    point: Some(*point),
                    at: 3,
                    mode: Mode::Error,
                };
                assert_eq!(found, expected);
                assert_eq!(target(name).unwrap().mode, Mode::Abort);
            }
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), Point::ALL.len());
        }

        #[test]
        fn what_is_no_point_is_refused_by_name() {
            for text in [
                "",
                "every",
                "store.named@0",
                "store.named@x",
                "store.named:now",
                "nowhere:abort",
            ] {
                let error = target(text).unwrap_err().to_string();
                assert!(error.contains(&format!("{text:?}")), "{error}");
            }
        }

        #[test]
        fn only_the_pass_that_was_named_fails() {
            let armed = Armed {
                target: Some(target("store.named@2:error").unwrap()),
                passes: AtomicU64::new(0),
                log: None,
            };
            let passes = [Point::Named, Point::Sealed, Point::Named, Point::Named];
            let failed = passes.map(|point| armed.pass(point).is_err());
            assert_eq!(failed, [false, false, true, false]);
        }
    }
}
