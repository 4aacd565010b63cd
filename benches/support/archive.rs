//! An archive without an import: records and files are functions of a number, and go straight into a node's catalogue and trees.
//!
//! An asset has an original and one rendition. Its files are named so that nothing looks into them, and come before their rows.

use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use emsync::model::{AssetId, FileKind, MediaFile, MediaPath, NodeId, Record, Sha256, Timestamp};
use emsync::protocol::wire_path::{generated_url, original_url};

use super::input::Chance;
use super::node::Node;
use super::records;

/// When everything was made: long ago.
const MADE: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const KINDS: [FileKind; 2] = [FileKind::Original, FileKind::Generated];
/// Sentences in a record: it is as long as those that an import makes.
const SENTENCES: usize = 10;
/// Assets that are stored together.
const CHUNK: u64 = 2_000;

/// How many assets, and the bytes of each one's files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Archive {
    pub(crate) assets: u64,
    pub(crate) original: usize,
    pub(crate) rendition: usize,
}

impl Archive {
    /// All bytes of it.
    pub(crate) fn bytes(&self) -> u64 {
        self.assets * (self.original + self.rendition) as u64
    }

    /// Gives a new node all of it.
    pub(crate) fn fill(&self, node: &Node) {
        self.write(node);
        self.list(node);
    }

    /// Writes the files into the trees of a node.
    pub(crate) fn write(&self, node: &Node) {
        for n in 0..self.assets {
            for kind in KINDS {
                let path = node.media().join(kind.dir()).join(path(kind, n).as_str());
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                let mut file = File::create(path).unwrap();
                file.write_all(&self.content(kind, n, 0)).unwrap();
                let made = Duration::from_millis(MADE.as_millis().unsigned_abs());
                file.set_modified(UNIX_EPOCH + made).unwrap();
            }
        }
    }

    /// Gives a node the rows, and a tombstone for every hundredth of them.
    pub(crate) fn list(&self, node: &Node) {
        super::wait(async {
            let node = records::open(&node.dir).await;
            let own = &node.config.node.cluster_id;
            let now = node.seams.clock.now();
            for first in (0..self.assets).step_by(usize::try_from(CHUNK).unwrap()) {
                let numbers = first..self.assets.min(first + CHUNK);
                let all = numbers.clone().map(|n| record(n, own, 0));
                records::put_all(&node, all, now).await;
                let mut batch = node.catalogue.batch().await.unwrap();
                for n in numbers {
                    for kind in KINDS {
                        batch.put_file(&self.file(kind, n, 0), now).await.unwrap();
                    }
                }
                batch.commit().await.unwrap();
            }
            let gone = self.assets..self.assets + self.assets / 100;
            let gone = gone.map(|n| records::tombstone(n, own, MADE));
            records::put_all(&node, gone, now).await;
            node.catalogue.close().await;
        });
    }

    /// The row of a file.
    pub(crate) fn file(&self, kind: FileKind, n: u64, version: u64) -> MediaFile {
        let content = self.content(kind, n, version);
        MediaFile {
            kind,
            path: path(kind, n),
            place: None,
            asset: AssetId::new(records::id("asset", n)).unwrap(),
            size: content.len() as u64,
            modified: MADE,
            sha256: Sha256::of(&content),
            md5: None,
            authored: false,
            fingerprint: None,
        }
    }

    /// Where all files of a kind are fetched, below a node's base URL.
    pub(crate) fn urls(&self, kind: FileKind) -> Vec<String> {
        let url = match kind {
            FileKind::Original => original_url,
            FileKind::Generated => generated_url,
        };
        (0..self.assets).map(|n| url(&path(kind, n))).collect()
    }

    fn content(&self, kind: FileKind, n: u64, version: u64) -> Vec<u8> {
        let size = match kind {
            FileKind::Original => self.original,
            FileKind::Generated => self.rendition,
        };
        let mut content = vec![0; size];
        Chance(n * 4 + version * 2 + kind as u64).fill(&mut content);
        content
    }
}

/// The record of an asset; a later version was edited later.
pub(crate) fn record(n: u64, own: &NodeId, version: u64) -> Record {
    let at = MADE.plus(Duration::from_secs(version));
    let source_path = path(FileKind::Original, n);
    records::asset(n, source_path.as_str(), SENTENCES, own, at)
}

/// A thousand assets to a folder.
fn path(kind: FileKind, n: u64) -> MediaPath {
    let original = format!("Archive/{:04}/f{n:09}.bin", n / 1_000);
    let text = match kind {
        FileKind::Original => original,
        FileKind::Generated => format!("{original}/image200x200.webp"),
    };
    MediaPath::new(text).unwrap()
}
