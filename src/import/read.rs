//! One file of the folder: read once, copied into staging, hashed and looked at, and taken only if it held still meanwhile.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};

use super::walk::{Found, modified_ns};
use crate::media;
use crate::model::preset::{PresetTable, is_image_format};
use crate::model::{Digests, Hasher, Md5, Sha256, Timestamp};
use crate::shutdown::Shutdown;
use crate::store::{self, Staged, Staging};

/// Read at a time.
const CHUNK: usize = 256 * 1024;
/// First bytes kept to tell the format by.
const HEAD: usize = 8 * 1024;
/// A file that changes under our hands is read once more, no more often.
const TRIES: usize = 2;
/// Most files read at once: hashing two digests keeps a core busy, and a disk wants few streams.
const READERS: usize = 4;

/// What was read of a file.
#[derive(Debug)]
pub(super) struct Reading {
    /// The copy; none when nothing is to be written.
    pub(super) staged: Option<Staged>,
    /// Bytes.
    pub(super) size: u64,
    /// Modification time in nanoseconds since 1970, the same before and after.
    pub(super) modified_ns: i64,
    /// Digest of the content.
    pub(super) sha256: Sha256,
    /// MD5 of the content, for EMDB's `md5hex`.
    pub(super) md5: Md5,
    /// What its headers say.
    pub(super) look: Look,
}

/// What the headers of a file say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Look {
    /// Format by content, in EMDB's spelling.
    pub(super) detected: Option<String>,
    /// Width and height in pixels as stored.
    pub(super) size: Option<(u32, u32)>,
    /// How many pages it says it has, where it says so.
    pub(super) pages: Option<u32>,
    /// When it was taken.
    pub(super) captured: Option<Timestamp>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It was there when the directory was read, and is not any more.
    #[error("vanished while it was imported")]
    Vanished,
    /// The system does not let us.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It was written to while we read.
    #[error("changes while it is read; the next import looks again")]
    Changing,
    /// The copy could not be written.
    #[error("cannot be copied: {0}")]
    Store(store::Error),
    /// We were asked to end.
    #[error("left for the next import")]
    Stopped,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Vanished,
            _ => Self::Unreadable(error),
        }
    }
}

impl Reading {
    /// Modification time as files and records of ours carry it.
    pub(super) fn modified(&self) -> Timestamp {
        millis(self.modified_ns)
    }
}

/// Cut to the millisecond, towards the past.
pub(super) fn millis(ns: i64) -> Timestamp {
    Timestamp::from_millis(ns.div_euclid(1_000_000))
}

/// Reads files, a few at once, on threads of its own; the answers are in the order of the files. Blocks.
pub(super) fn all(
    dir: &Path,
    files: &[Found],
    staging: Option<&Staging>,
    stop: &Shutdown,
) -> Vec<Result<Reading, Refusal>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(files.iter().map(|_| None).collect::<Vec<_>>());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(at) else { break };
            let answer = one(&dir.join(&file.rel), staging, stop, &mut || ());
            answers.lock().expect("no panic while an answer is noted")[at] = Some(answer);
        }
    };
    let readers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(READERS)
        .min(files.len());
    std::thread::scope(|scope| {
        for _ in 1..readers {
            scope.spawn(work);
        }
        work();
    });
    let answers = answers
        .into_inner()
        .expect("no panic while an answer is noted");
    answers
        .into_iter()
        .map(|answer| answer.expect("every file was read"))
        .collect()
}

/// Reads one file. `copied` is called between the reading and the second look, where a test can change the file.
fn one(
    path: &Path,
    staging: Option<&Staging>,
    stop: &Shutdown,
    copied: &mut dyn FnMut(),
) -> Result<Reading, Refusal> {
    for _ in 0..TRIES {
        if let Some(reading) = attempt(path, staging, stop, copied)? {
            return Ok(reading);
        }
    }
    Err(Refusal::Changing)
}

/// `None` when the file did not hold still.
fn attempt(
    path: &Path,
    staging: Option<&Staging>,
    stop: &Shutdown,
    copied: &mut dyn FnMut(),
) -> Result<Option<Reading>, Refusal> {
    // Not blocked by a fifo, not led away by a link that took the file's place since the walk.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file =
        File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?);
    let before = file.metadata()?;
    if !before.is_file() {
        return Err(Refusal::Vanished);
    }
    let mut staged = staging
        .map(Staging::create)
        .transpose()
        .map_err(Refusal::Store)?;
    let (digests, head) = copy(&mut file, staged.as_mut(), stop)?;
    let look = look(&mut file, &head)?;
    copied();
    let after = path.symlink_metadata()?;
    if fingerprint(&before) != fingerprint(&after) || digests.size != before.len() {
        return Ok(None);
    }
    Ok(Some(Reading {
        staged,
        size: digests.size,
        modified_ns: modified_ns(&after),
        sha256: digests.sha256,
        md5: digests.md5.expect("it was asked for"),
        look,
    }))
}

fn fingerprint(stat: &Metadata) -> (u64, u64, u64, i64) {
    (stat.dev(), stat.ino(), stat.len(), modified_ns(stat))
}

fn copy(
    file: &mut File,
    mut to: Option<&mut Staged>,
    stop: &Shutdown,
) -> Result<(Digests, Vec<u8>), Refusal> {
    let mut hasher = Hasher::new(true);
    let (mut chunk, mut head) = (vec![0; CHUNK], Vec::new());
    loop {
        if stop.requested() {
            return Err(Refusal::Stopped);
        }
        let got = match file.read(&mut chunk) {
            Ok(0) => return Ok((hasher.finish(), head)),
            Ok(got) => got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        hasher.update(&chunk[..got]);
        if head.len() < HEAD {
            head.extend_from_slice(&chunk[..got.min(HEAD - head.len())]);
        }
        if let Some(to) = &mut to {
            to.write_all(&chunk[..got]).map_err(Refusal::Store)?;
        }
    }
}

fn look(file: &mut File, head: &[u8]) -> Result<Look, Refusal> {
    file.rewind()?;
    match media::probe(BufReader::new(file)) {
        Ok(Some(probe)) => Ok(Look {
            detected: Some(spelling(&probe.format)),
            size: Some((probe.width, probe.height)),
            pages: probe.pages,
            captured: probe.captured,
        }),
        Ok(None) => Ok(Look {
            detected: infer::get(head).map(|kind| kind.extension().to_owned()),
            ..Look::default()
        }),
        Err(media::Error::Read(error)) => Err(error.into()),
        // It starts like an image and is broken: the attempt to render it says so, as a finding.
        Err(media::Error::Decode { format, .. }) => Ok(Look {
            detected: Some(spelling(format)),
            ..Look::default()
        }),
        Err(_) => Ok(Look::default()),
    }
}

/// EMDB's `detectedfileformat`, which spells two formats unlike `fileformat` (wire spec 12.1).
fn spelling(format: &str) -> String {
    match format {
        "jpg" => "jpeg",
        "tif" => "tiff",
        other => other,
    }
    .to_owned()
}

/// The extension in lower case, as EMDB's `fileformat` has it.
pub(super) fn extension(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_lowercase())
}

/// Whether renditions are tried: by content, or because the name promises an image, so that a broken one is reported. Programs
/// are chosen by name alone.
pub(super) fn is_renderable(name: &str, detected: Option<&str>, presets: &PresetTable) -> bool {
    detected.is_some_and(is_image_format)
        || extension(name).is_some_and(|format| presets.renders(&format))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::preset::Shipped;

    #[test]
    fn a_plain_file_is_hashed_and_kept_still() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.txt"), "abc").unwrap();
        let stop = Shutdown::new();
        let reading = one(&dir.path().join("a.txt"), None, &stop, &mut || ()).unwrap();
        assert_eq!((reading.size, reading.sha256), (3, Sha256::of(b"abc")));
        assert_eq!(reading.md5.to_string(), "900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(reading.look, Look::default());
        assert!(matches!(
            one(&dir.path().join("b"), None, &stop, &mut || ()),
            Err(Refusal::Vanished)
        ));
        stop.request();
        assert!(matches!(
            one(&dir.path().join("a.txt"), None, &stop, &mut || ()),
            Err(Refusal::Stopped)
        ));
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "abc").unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        let answer = one(&dir.path().join("link"), None, &Shutdown::new(), &mut || ());
        assert!(matches!(answer, Err(Refusal::Unreadable(_))), "{answer:?}");
    }

    #[test]
    fn a_file_that_changes_is_read_once_more_and_then_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "1").unwrap();
        let grow = |times: usize| {
            let (path, mut left) = (path.clone(), times);
            move || {
                if left > 0 {
                    left -= 1;
                    let longer = std::fs::read_to_string(&path).unwrap() + "2";
                    std::fs::write(&path, longer).unwrap();
                }
            }
        };
        let reading = one(&path, None, &Shutdown::new(), &mut grow(1)).unwrap();
        assert_eq!((reading.size, reading.sha256), (2, Sha256::of(b"12")));
        let answer = one(&path, None, &Shutdown::new(), &mut grow(2));
        assert!(matches!(answer, Err(Refusal::Changing)), "{answer:?}");
    }

    #[test]
    fn extensions_are_lower_case_and_hidden_names_have_none() {
        assert_eq!(extension("A.B.JPG").as_deref(), Some("jpg"));
        assert_eq!(extension(".hidden"), None);
        assert_eq!(extension("none"), None);
        assert_eq!(extension("dot."), None);
        let table = PresetTable::shipped(Shipped::Webp);
        let is_tried = |name, detected| is_renderable(name, detected, &table);
        assert!(is_tried("x.jpg", None) && is_tried("x.txt", Some("png")));
        assert!(!is_tried("x.txt", Some("pdf")) && !is_tried("x.svg", None));
        let table = table.clone().with_programs_for(["svg"]);
        assert!(is_renderable("x.SVG", None, &table));
    }
}
