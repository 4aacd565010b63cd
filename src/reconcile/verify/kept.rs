//! The parity report that can be kept: one JSON file that says what a node holds, so that another node can be compared with
//! it later and without a network. Format 1.
//!
//! ```text
//! {
//!   "format": 1,
//!   "kind": "emsync parity report",
//!   "emsync": "0.1.0",                                   version that wrote it
//!   "as_of": "2026-03-01T09:41:07.512Z",                 when looking began; nothing changed here until it was written
//!   "depth": "stat" | "checksum",                        files were looked at, or read and hashed
//!   "node": {"name", "cluster_id"},                      whose content this is
//!   "catalog": "assets/catalog",
//!   "peer": {"name", "cluster_id"|null} | null,          whom it was compared with
//!   "layers": {
//!     "records":   {"<table>": {"live": n,  "digest": d, "buckets": {"00".."ff": {"items": n, "digest": d}}}, …},
//!     "deletes":   {"<table>": {"count": n, "digest": d, "buckets": …}, …},
//!     "originals": {"files": n, "bytes": n, "digest": d, "buckets": …},
//!     "generated": {"files": n, "bytes": n, "digest": d, "buckets": …}
//!   },
//!   "parity": {…}                                        the verdict: counts per layer, or why it was "not_compared";
//! }                                                      the first thousand differences
//! ```
//!
//! Members stand in this order, tables and buckets in byte order, buckets without items are left out, digests are lower-case
//! hexadecimal, there are no fractions: the same content gives the same bytes, two spaces of indent and a line feed at the
//! end included. So the file can be signed as it is. What the digests are made of is said in `tally`: lines of records
//! (table, id, deleted, owner, editor, both dates, content) and of files (tree, path, size, SHA-256, an original's date), in
//! byte order of their keys; `content` is SHA-256 over the record's JSON with members sorted. `records` are the live ones,
//! `deletes` the tombstones.
//!
//! A report is read as something a stranger may have written: bounded in size, every digest and count checked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::Parity;
use super::tally::Digested;
use crate::error::Class;
use crate::model::{CatalogId, Module, NodeId};

/// The format written here, and the newest one that is read.
const FORMAT: u64 = 1;
/// What the file says it is.
const KIND: &str = "emsync parity report";
/// Largest file that is read: 500 tables fill a tenth of it.
const MOST_BYTES: u64 = 64 << 20;
/// Most tables a report may have.
const MOST_TABLES: usize = 2_000;

/// What can go wrong with a report's file.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It cannot be read.
    #[error("report {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It cannot be written.
    #[error("report {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is something else, or damaged.
    #[error("{} is no parity report: {why}; `emsync verify --report FILE` writes one", path.display())]
    NoReport {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A newer emsync wrote it.
    #[error(
        "report {} has format {found} and this emsync reads up to {FORMAT}: use the emsync that wrote it, or a newer one",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// It speaks of another catalog.
    #[error("report {} is about catalog {found}, and this node holds {own}", path.display())]
    OtherCatalog {
        /// The file.
        path: PathBuf,
        /// Its catalog.
        found: String,
        /// Ours.
        own: CatalogId,
    },
}

impl KeptError {
    /// Whether it is worth trying again.
    #[must_use]
    pub fn class(&self) -> Class {
        Class::Permanent
    }
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Who {
    /// What people call it; a peer's is the name in our configuration.
    pub name: String,
    /// Its cluster id, where it is known.
    pub cluster_id: Option<String>,
}

impl Who {
    /// This node.
    #[must_use]
    pub fn node(name: &str, cluster_id: &NodeId) -> Self {
        Self {
            name: name.to_owned(),
            cluster_id: Some(cluster_id.to_string()),
        }
    }
}

/// How closely files were looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Looked {
    /// Size and date.
    Stat,
    /// Every byte.
    Checksum,
}

/// The live records of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LiveRecords {
    /// How many.
    pub live: u64,
    /// Their digests.
    #[serde(flatten)]
    pub digested: Digested,
}

/// The tombstones of a table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Tombstones {
    /// How many.
    pub count: u64,
    /// Their digests.
    #[serde(flatten)]
    pub digested: Digested,
}

/// The files of a tree.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Files {
    /// How many.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Their digests.
    #[serde(flatten)]
    pub digested: Digested,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Content {
    /// Live records by table.
    pub records: BTreeMap<String, LiveRecords>,
    /// Tombstones by table.
    pub deletes: BTreeMap<String, Tombstones>,
    /// Originals.
    pub originals: Files,
    /// Generated files.
    pub generated: Files,
}

impl Content {
    /// What is wrong with it, if anything is.
    fn fault(&self) -> Option<String> {
        if self.records.len().max(self.deletes.len()) > MOST_TABLES {
            return Some(format!("it has more than {MOST_TABLES} tables"));
        }
        let live = self.records.iter().map(|(table, group)| {
            (
                format!("records of {table}"),
                group.live,
                &group.digested,
                Some(table),
            )
        });
        let dead = self.deletes.iter().map(|(table, group)| {
            (
                format!("deletes of {table}"),
                group.count,
                &group.digested,
                Some(table),
            )
        });
        let files = [
            ("originals", &self.originals),
            ("generated", &self.generated),
        ];
        let files = files
            .into_iter()
            .map(|(name, group)| (name.to_owned(), group.files, &group.digested, None));
        live.chain(dead)
            .chain(files)
            .find_map(|(name, count, digested, table)| {
                if table.is_some_and(|table| Module::new(table.as_str()).is_err()) {
                    return Some(format!("{name:?} is no table"));
                }
                if digested.items() != Some(count) {
                    return Some(format!("the buckets of {name} do not hold {count} items"));
                }
                (!digested.is_consistent())
                    .then(|| format!("the digest of {name} does not follow from its buckets"))
            })
    }
}

/// A report to be kept.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Kept {
    format: u64,
    kind: &'static str,
    emsync: &'static str,
    as_of: String,
    depth: Looked,
    node: Who,
    catalog: CatalogId,
    peer: Option<Who>,
    layers: Content,
    parity: Parity,
}

impl Kept {
    /// Puts a report together. `node` and `catalog` say whose `content` it is, `peer` whom `parity` speaks of.
    #[must_use]
    pub fn new(
        (node, catalog): (Who, CatalogId),
        peer: Option<Who>,
        depth: Looked,
        content: Content,
        parity: Parity,
    ) -> Self {
        Self {
            format: FORMAT,
            kind: KIND,
            emsync: env!("CARGO_PKG_VERSION"),
            as_of: parity.as_of.to_string(),
            depth,
            node,
            catalog,
            peer,
            layers: content,
            parity,
        }
    }

    /// Writes the file so that at every moment the old one or the new one is there, whole. Blocks.
    ///
    /// # Errors
    /// [`KeptError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), KeptError> {
        let write = || -> std::io::Result<()> {
            let dir = match path.parent() {
                Some(dir) if !dir.as_os_str().is_empty() => dir,
                _ => Path::new("."),
            };
            let mut text = serde_json::to_vec_pretty(self)?;
            text.push(b'\n');
            let mut staged = tempfile::Builder::new()
                .prefix(".emsync-report.")
                .permissions(std::fs::Permissions::from_mode(0o644))
                .tempfile_in(dir)?;
            staged.write_all(&text)?;
            staged.as_file().sync_all()?;
            staged.persist(path)?;
            File::open(dir)?.sync_all()
        };
        write().map_err(|source| KeptError::Write {
            path: path.to_owned(),
            source,
        })
    }
}

/// A report that was read: what a comparison needs of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Read {
    /// When it was made.
    pub as_of: String,
    /// How closely files were looked at.
    pub depth: Looked,
    /// Whose content it is.
    pub node: Who,
    /// That node's catalog.
    pub catalog: String,
    /// Whom it was compared with.
    pub peer: Option<Who>,
    /// The content.
    pub layers: Content,
}

impl Read {
    /// Reads and checks a report about `own` catalog. Blocks.
    ///
    /// # Errors
    /// [`KeptError`].
    pub fn open(path: &Path, own: &CatalogId) -> Result<Self, KeptError> {
        let failed = |source| KeptError::Read {
            path: path.to_owned(),
            source,
        };
        let mut text = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MOST_BYTES + 1)
            .read_to_end(&mut text)
            .map_err(failed)?;
        Self::parse(&text, path, own)
    }

    fn parse(text: &[u8], path: &Path, own: &CatalogId) -> Result<Self, KeptError> {
        let refused = |why: String| KeptError::NoReport {
            path: path.to_owned(),
            why,
        };
        if text.len() as u64 > MOST_BYTES {
            return Err(refused(format!("it has more than {MOST_BYTES} bytes")));
        }
        // First of all who wrote it: a newer format may look different in everything else.
        #[derive(serde::Deserialize)]
        struct Head {
            format: u64,
            kind: String,
        }
        let head: Head =
            serde_json::from_slice(text).map_err(|error| refused(error.to_string()))?;
        if head.kind != KIND {
            return Err(refused(format!("it says that it is {:?}", head.kind)));
        }
        if head.format > FORMAT {
            return Err(KeptError::Newer {
                path: path.to_owned(),
                found: head.format,
            });
        }
        if head.format == 0 {
            return Err(refused("there is no format 0".to_owned()));
        }
        let read: Self =
            serde_json::from_slice(text).map_err(|error| refused(error.to_string()))?;
        if let Some(fault) = read.layers.fault() {
            return Err(refused(fault));
        }
        if read.catalog != own.as_str() {
            return Err(KeptError::OtherCatalog {
                path: path.to_owned(),
                found: read.catalog,
                own: own.clone(),
            });
        }
        Ok(read)
    }
}
