//! Programs of this machine that turn formats no decoder here knows into pictures, found when the node starts.
//!
//! ```text
//! tools   what is known of each: commands, arguments, formats, limits
//! run     one child: limits, its own group, killed when its time is over or we are to end
//! page    pure: at which density a page is drawn
//! error   why no picture came of it
//! ```
//!
//! [`Adapters::find`] only looks where the programs lie; the version of one is asked when it is first needed, for it is part of
//! the fingerprint of what is made with it. A program never sees a name of ours or of a peer: it works in a private directory that
//! is gone afterwards, where `input.<format>` leads to the open original on its standard input.

mod error;
mod page;
mod run;
mod tools;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use error::Error;
pub use run::Limits;
use tools::Way;
pub use tools::{TOOLS, Tool, missing};

use crate::config::Program;
use crate::shutdown::Shutdown;

/// How long a program may take to say its version, and what it may take for it.
const ASKING: Limits = Limits {
    wall: Duration::from_secs(10),
    cpu_seconds: 5,
    memory_bytes: 4 << 30,
    file_bytes: 1 << 20,
};

/// The programs of this machine. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Adapters {
    found: Arc<Vec<Adapter>>,
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
            stop: Shutdown::new(),
        }
    }

    /// The same, whose children are killed when `stop` is requested.
    #[must_use]
    pub fn until(&self, stop: &Shutdown) -> Self {
        Self {
            found: Arc::clone(&self.found),
            stop: stop.clone(),
        }
    }

    /// All that were found.
    #[must_use]
    pub fn all(&self) -> &[Adapter] {
        &self.found
    }

    /// The one for a format, in whatever case: of several the first of [`TOOLS`].
    #[must_use]
    pub fn for_format(&self, format: &str) -> Option<&Adapter> {
        let format = format.to_ascii_lowercase();
        let mut found = self.found.iter();
        found.find(|adapter| adapter.tool.way(&format).is_some())
    }

    /// Every format that one was found for, in lower case.
    pub fn formats(&self) -> impl Iterator<Item = &'static str> {
        self.found.iter().flat_map(|adapter| adapter.tool.formats())
    }

    /// Name and version of the program that reads a format and how it is called, as fingerprints have it; `None` where there is none. Blocks when it
    /// was not asked before.
    #[must_use]
    pub fn decoder(&self, format: Option<&str>) -> Option<String> {
        let format = format?.to_ascii_lowercase();
        let adapter = self.for_format(&format)?;
        let revision = adapter.tool.way(&format)?.revision;
        let said = adapter.said();
        Some(match revision {
            0 => said,
            _ => format!("{said}; {revision}"),
        })
    }

    /// Turns an original of a format into a PNG or PPM file, and answers with its content. Blocks.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] when there is no program for the format.
    pub fn picture(&self, original: File, format: &str) -> Result<Vec<u8>, Error> {
        let adapter = self.for_format(format).ok_or_else(|| Error::NotFound {
            reason: missing(format).unwrap_or_else(|| format!("nothing here reads {format}")),
        })?;
        adapter.picture(original, &format.to_ascii_lowercase(), &self.stop)
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

    /// Makes a picture of an original of a format in lower case: of a page at the density it should have.
    fn picture(&self, original: File, format: &str, stop: &Shutdown) -> Result<Vec<u8>, Error> {
        let way = self.tool.way(format).ok_or_else(|| Error::NotFound {
            reason: format!("{} does not read {format}", self.tool.name),
        })?;
        let dir = tempfile::Builder::new().prefix("emsync-").tempdir();
        let dir = dir.map_err(Error::Scratch)?;
        let input = format!("input.{format}");
        symlink("/dev/fd/0", dir.path().join(&input)).map_err(Error::Scratch)?;
        let again = original.try_clone().map_err(Error::Scratch)?;
        let run = |original, arguments, density| {
            let arguments = Way::arguments_for(arguments, &input, density);
            self.run((way, arguments), original, dir.path(), stop)
        };
        let picture = run(original, way.arguments, None)?;
        match (way.at_density, page::better_density(&picture)) {
            (Some(arguments), Some(density)) => run(again, arguments, Some(density)),
            _ => Ok(picture),
        }
    }

    /// Runs it once, in its private directory, and answers with what it wrote.
    fn run(
        &self,
        (way, arguments): (&Way, Vec<String>),
        original: File,
        dir: &Path,
        stop: &Shutdown,
    ) -> Result<Vec<u8>, Error> {
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
        let is_file = place.symlink_metadata().is_ok_and(|it| it.is_file());
        let file = File::open(&place).ok().filter(|_| is_file);
        let mut picture = Vec::new();
        file.ok_or_else(nothing)?
            .take(limits.file_bytes)
            .read_to_end(&mut picture)
            .map_err(Error::Scratch)?;
        if picture.is_empty() {
            return Err(nothing());
        }
        Ok(picture)
    }
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
