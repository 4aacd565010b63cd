//! Programs of this machine that turn formats no decoder here knows into pictures, found when the node starts.
//!
//! ```text
//! tools   what is known of each: commands, arguments, formats, limits
//! run     one child: limits, its own group, killed when its time is over or we are to end
//! page    pure: at which density a page is drawn
//! content pure: what a file is, whatever it is called
//! convert files of other kinds: a page file, a film, sound
//! spare   rare kinds of formats that are decoded here otherwise
//! error   why nothing came of it
//! ```
//!
//! [`Adapters::find`] only looks where the programs lie; the version of one is asked when it is first needed, for it is part of
//! the fingerprint of what is made with it. A program never sees a name of ours or of a peer: it works in a private directory that
//! is gone afterwards, where `input.<format>` leads to the open original on its standard input.

mod content;
mod convert;
mod error;
mod page;
mod run;
mod spare;
mod tools;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

pub use content::by_content;
pub use convert::no_program;
pub use error::Error;
pub use run::Limits;
use tempfile::TempDir;
use tools::Way;
pub use tools::{TOOLS, Tool, missing};

use crate::config::Program;
use crate::shutdown::Shutdown;

/// Memory that a program counts as beside pictures that are in work, bytes: what drawing a page of 3000 pixels takes, or a film's frame.
/// Few take more, and none more than its limit.
pub const CHILD_BYTES: u64 = 256 << 20;

/// How long a program may take to say its version, and what it may take for it.
const ASKING: Limits = Limits {
    wall: Duration::from_secs(10),
    cpu_seconds: 5,
    memory_bytes: 4 << 30,
    file_bytes: 1 << 20,
};

/// What of an original its picture shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Page of a document, counted from 1.
    pub page: u32,
    /// Moment of a film.
    pub moment: Duration,
}

impl Part {
    /// The first page, or the start.
    pub const FIRST: Self = Self {
        page: 1,
        moment: Duration::ZERO,
    };
}

/// The programs of this machine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Adapters {
    found: Arc<Vec<Adapter>>,
    /// Held by the one that runs alone.
    alone: Arc<Mutex<()>>,
    stop: Shutdown,
}

/// A program that was found.
#[derive(Debug)]
pub struct Adapter {
    /// What is known of it.
    pub tool: &'static Tool,
    /// Where it lies.
    pub program: PathBuf,
    /// Others than those of its ways.
    limits: Option<Limits>,
    version: OnceLock<Option<String>>,
}

impl Adapters {
    /// None at all: what no decoder here knows is left to others.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Looks for the programs, on `PATH` unless a person named another one or switched it off.
    ///
    /// One that was named and is not there is as one that was not found: [`missing`] and the doctor say so.
    #[must_use]
    pub fn find(chosen: &BTreeMap<&'static str, Program>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders: Vec<_> = std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .collect();
        let on_path = |command: &&str| {
            let mut places = folders.iter().map(|folder| folder.join(command));
            places.find(|place| is_program(place))
        };
        let found = TOOLS.iter().filter_map(|tool| {
            let program = match chosen.get(tool.name) {
                Some(Program::Off) => None,
                Some(Program::At(place)) => Some(place.clone()).filter(|place| is_program(place)),
                None => tool.commands.iter().find_map(on_path),
            };
            program.map(|program| Adapter::new(tool, program))
        });
        Self {
            found: Arc::new(found.collect()),
            alone: Arc::default(),
            stop: Shutdown::new(),
        }
    }

    /// The same, whose children are killed when `stop` is requested.
    #[must_use]
    pub fn until(&self, stop: &Shutdown) -> Self {
        Self {
            found: Arc::clone(&self.found),
            alone: Arc::clone(&self.alone),
            stop: stop.clone(),
        }
    }

    /// All that were found.
    #[must_use]
    pub fn all(&self) -> &[Adapter] {
        &self.found
    }

    /// The one for a format, in whatever case: of several the first of [`TOOLS`]. None when it makes something else than a picture
    /// that nothing here makes a picture of.
    #[must_use]
    pub fn for_format(&self, format: &str) -> Option<&Adapter> {
        let format = format.to_ascii_lowercase();
        let (adapter, way) = self.way(&format)?;
        match way.makes {
            Some(made) => self.way(made).map(|_| adapter),
            None => Some(adapter),
        }
    }

    /// The one that reads a format in lower case, and how.
    fn way(&self, format: &str) -> Option<(&Adapter, &'static Way)> {
        let mut found = self.found.iter();
        found.find_map(|adapter| Some((adapter, adapter.tool.way(format)?)))
    }

    /// Every format that pictures come of, in lower case.
    pub fn formats(&self) -> impl Iterator<Item = &'static str> {
        let all = self.found.iter().flat_map(|adapter| adapter.tool.formats());
        all.filter(|format| self.for_format(format).is_some())
    }

    /// Name and version of the program that reads a format and how it is called, as fingerprints have it; `None` where there is
    /// none. Blocks when it was not asked before.
    #[must_use]
    pub fn decoder(&self, format: Option<&str>) -> Option<String> {
        let format = format?.to_ascii_lowercase();
        self.for_format(&format)?;
        let (adapter, way) = self.way(&format)?;
        let mut said = adapter.said();
        if way.revision > 0 {
            said.push_str(&format!("; {}", way.revision));
        }
        if let Some(then) = self.decoder(way.makes) {
            said.push_str(&format!(", {then}"));
        }
        Some(said)
    }

    /// Turns an original of a format into a PNG or PPM file, and answers with its content. Blocks.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] when there is no program for the format.
    pub fn picture(&self, original: File, format: &str) -> Result<Vec<u8>, Error> {
        self.picture_of(original, format, Part::FIRST)
    }

    /// The same for a part; of a film what is to be seen at that moment, or at its start if it is over by then. Blocks.
    ///
    /// # Errors
    /// As [`picture`](Self::picture); [`Error::NoPages`] for a page after the first of what has none that this program shows.
    pub fn picture_of(&self, original: File, format: &str, part: Part) -> Result<Vec<u8>, Error> {
        let format = format.to_ascii_lowercase();
        let found = self.for_format(&format).and_then(|_| self.way(&format));
        let (adapter, way) = found.ok_or_else(|| Error::NotFound {
            reason: missing(&format).unwrap_or_else(|| format!("nothing here reads {format}")),
        })?;
        let made = {
            // Whoever panicked with it left nothing behind.
            let lock = || self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            let _turn = way.is_alone.then(lock);
            // What makes a document makes all of it: the page is for the one that shows it.
            let part = way.makes.map_or(part, |_| Part { page: 1, ..part });
            adapter.make(way, original, (&format, part), &self.stop)?
        };
        let Some(then) = way.makes else {
            return Ok(made);
        };
        let mut between = tempfile::tempfile().map_err(Error::Scratch)?;
        between.write_all(&made).map_err(Error::Scratch)?;
        between.rewind().map_err(Error::Scratch)?;
        self.picture_of(between, then, part)
    }
}

impl Adapter {
    fn new(tool: &'static Tool, program: PathBuf) -> Self {
        Self {
            tool,
            program,
            limits: None,
            version: OnceLock::new(),
        }
    }

    /// What it says its version is, asked once; `None` when it does not answer in time, or never says. Blocks.
    pub fn version(&self) -> Option<&str> {
        let version = self.version.get_or_init(|| {
            if self.tool.version.is_empty() {
                return None;
            }
            let dir = tempfile::tempdir().ok()?;
            let nothing = File::open("/dev/null").ok()?;
            let asked = run::Call {
                program: &self.program,
                arguments: self.tool.version.iter().map(|&it| it.to_owned()).collect(),
                dir: dir.path(),
                input: nothing,
                limits: ASKING,
            };
            let ended = asked.run(&Shutdown::new()).ok()?;
            let mut lines = ended.said.lines().map(str::trim);
            // Some end with a failure when they are asked for their version alone; what they say counts.
            lines
                .find(|line| line.contains(|letter: char| letter.is_ascii_digit()))
                .map(|line| line.chars().take(120).collect())
        });
        version.as_deref()
    }

    /// Name and version. Blocks when it was not asked before.
    #[must_use]
    pub fn said(&self) -> String {
        let version = self.version().unwrap_or("version unknown");
        format!("{}: {version}", self.tool.name)
    }

    /// Makes of an original of a format in lower case what it makes of it: of a page a picture at the density it should have.
    fn make(
        &self,
        way: &Way,
        mut original: File,
        (format, part): (&str, Part),
        stop: &Shutdown,
    ) -> Result<Vec<u8>, Error> {
        if part.page > 1 && !way.has_pages() {
            return Err(Error::NoPages {
                tool: self.said(),
                format: format.to_owned(),
            });
        }
        let (dir, input) = scratch(way, &mut original, format).map_err(Error::Scratch)?;
        let again = original.try_clone().map_err(Error::Scratch)?;
        let run = |original, arguments, density| {
            let arguments = Way::arguments_for(arguments, &input, density, part);
            let made = self.run((way, arguments), original, dir.path(), stop)?;
            let mut bytes = Vec::new();
            let read = made.take(way.limits.file_bytes).read_to_end(&mut bytes);
            read.map_err(Error::Scratch)?;
            Ok(bytes)
        };
        if let Some(arguments) = way.at_moment.filter(|_| !part.moment.is_zero()) {
            return match run(original, arguments, None) {
                // It is over by then: nothing was to be seen.
                Err(Error::Nothing { .. }) => {
                    again_from_start(&again).map_err(Error::Scratch)?;
                    run(again, way.arguments, None)
                }
                made => made,
            };
        }
        let made = run(original, way.arguments, None)?;
        match (way.at_density, page::better_density(&made)) {
            (Some(arguments), Some(density)) => run(again, arguments, Some(density)),
            _ => Ok(made),
        }
    }

    /// Runs it once, in its private directory, and answers with the file it wrote, which is not empty.
    fn run(
        &self,
        (way, arguments): (&Way, Vec<String>),
        original: File,
        dir: &Path,
        stop: &Shutdown,
    ) -> Result<File, Error> {
        let limits = self.limits.unwrap_or(way.limits);
        let place = dir.join(way.output);
        // What an earlier run left is none of this one's.
        let _none = std::fs::remove_file(&place);
        let call = run::Call {
            program: &self.program,
            arguments,
            dir,
            input: original,
            limits,
        };
        let ended = call.run(stop).map_err(|source| Error::Start {
            tool: self.said(),
            source,
        })?;
        if let Some(failure) = ended.failure(&limits) {
            return Err(Error::Failed {
                tool: self.said(),
                failure,
                said: last_lines(&ended.said),
            });
        }
        let nothing = || Error::Nothing {
            tool: self.said(),
            said: last_lines(&ended.said),
        };
        // Never led away by a link that the program left.
        let is_file = |it: &std::fs::Metadata| it.is_file() && it.len() > 0;
        let is_there = place.symlink_metadata().is_ok_and(|it| is_file(&it));
        let file = File::open(&place).ok().filter(|_| is_there);
        file.ok_or_else(nothing)
    }
}

/// The child and whoever runs after it share the place they read at.
fn again_from_start(mut file: &File) -> std::io::Result<()> {
    file.rewind()
}

/// The private directory of one run, and what the original is called in it.
fn scratch(way: &Way, original: &mut File, format: &str) -> std::io::Result<(TempDir, String)> {
    let dir = tempfile::Builder::new().prefix("emsync-").tempdir()?;
    for (name, content) in way.finds {
        put(&dir.path().join(name), content)?;
    }
    let input = format!("input.{format}");
    let place = dir.path().join(&input);
    if way.is_copied {
        std::io::copy(original, &mut File::create(&place)?)?;
    } else {
        symlink("/dev/fd/0", place)?;
    }
    Ok((dir, input))
}

/// Writes a file and the folders above it.
fn put(place: &Path, content: &str) -> std::io::Result<()> {
    if let Some(folder) = place.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(place, content)
}

fn is_program(place: &Path) -> bool {
    let found = place.metadata();
    found.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// The end of what a program said, where the reason stands, in one line.
fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|it| !it.is_empty())
        .collect();
    let last = lines[lines.len().saturating_sub(3)..].join("; ");
    last.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(400)
        .collect()
}

#[cfg(test)]
mod tests;
