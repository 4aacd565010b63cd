//! The marker `.emsync/root.json`: proof that a directory is the media root of this node, and not the empty mount point of
//! a volume that is not there. Without it nothing may be concluded from a missing file (I4).
//!
//! A kill during `init` leaves directories without a marker, or `root.json.new` beside none; the next `init` goes on.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::dirs::{Dirs, Resolver};
use super::error::Error;
use super::sys::Sys;
use super::{OWN, STAGING, TRASH, open_root, tree_path};
use crate::model::{CatalogId, FileKind, NodeId};

/// Version of the layout below the root.
const VERSION: u32 = 1;
const NAME: &str = "root.json";
const NEW: &str = "root.json.new";
/// More than any marker has, so that a wrong file does not fill memory.
const MAX_BYTES: u64 = 64 * 1024;

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    version: u32,
    cluster_id: String,
    catalog_id: String,
}

impl Marker {
    pub(super) fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    pub(super) fn expect_catalog(&self, root: &Path, catalog: &CatalogId) -> Result<(), Error> {
        let wanted = Self {
            version: VERSION,
            cluster_id: self.cluster_id.clone(),
            catalog_id: catalog.to_string(),
        };
        self.expect(root, &wanted)
    }

    fn expect(&self, root: &Path, wanted: &Self) -> Result<(), Error> {
        if self == wanted {
            return Ok(());
        }
        Err(Error::WrongMarker {
            root: root.to_owned(),
            expected: wanted.to_string(),
            found: self.to_string(),
        })
    }
}

impl std::fmt::Display for Marker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "node {:?}, catalog {:?}, layout {}",
            self.cluster_id, self.catalog_id, self.version
        )
    }
}

/// Reads the marker; `None` when there is none.
pub(super) fn read(root: &Path, dirs: &Dirs) -> Result<Option<Marker>, Error> {
    let Some(own) = dirs.find(&dirs.root()?, OWN)? else {
        return Ok(None);
    };
    let Some((fd, _)) = own.open_file(NAME)? else {
        return Ok(None);
    };
    let mut text = String::new();
    File::from(fd)
        .take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|source| Error::Io {
            op: "read",
            path: own.path_of(NAME),
            source,
        })?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|source| Error::BadMarker {
            root: root.to_owned(),
            source,
        })
}

/// Whether the directory at `root` is still the one behind `dirs`, and still carries `marker`.
pub(super) fn check(root: &Path, dirs: &Dirs, marker: &Marker) -> Result<(), Error> {
    let now = open_root(root)?;
    let sees = |fd: std::os::fd::BorrowedFd<'_>| {
        rustix::fs::fstat(fd)
            .map(|stat| (stat.st_dev, stat.st_ino))
            .map_err(|errno| Error::of("stat", root.display().to_string(), errno))
    };
    let same = sees(now.as_fd())? == sees(dirs.root_fd())?;
    // Read below the handle that was opened by path, so that what we compare is what lies there now.
    let there = Dirs::new(now, Resolver::Steps, Arc::new(super::RealSys));
    let Some(found) = read(root, &there)? else {
        return Err(Error::NoMarker {
            root: root.to_owned(),
        });
    };
    found.expect(root, marker)?;
    if same {
        Ok(())
    } else {
        Err(Error::Replaced {
            root: root.to_owned(),
        })
    }
}

/// Makes the root's directories and marker; see [`Store::init`](super::Store::init).
pub(super) fn init(
    root: &Path,
    catalog: &CatalogId,
    node: &NodeId,
    sys: Arc<dyn Sys>,
) -> Result<(), Error> {
    make_root(root, &*sys)?;
    let fd = open_root(root)?;
    let resolver = Resolver::probe(fd.as_fd());
    let dirs = Dirs::new(fd, resolver, sys);
    let wanted = Marker {
        version: VERSION,
        cluster_id: node.to_string(),
        catalog_id: catalog.to_string(),
    };
    let found = read(root, &dirs)?;
    if let Some(found) = &found {
        found.expect(root, &wanted)?;
    }
    let base = dirs.root()?;
    for kind in [FileKind::Original, FileKind::Generated] {
        dirs.make(&base, &tree_path(catalog.as_str(), kind))?;
    }
    dirs.make(&base, STAGING)?;
    dirs.make(&base, TRASH)?;
    super::naming::probe(&dirs);
    if found.is_none() {
        write(&dirs, &wanted)?;
    }
    Ok(())
}

fn write(dirs: &Dirs, marker: &Marker) -> Result<(), Error> {
    let own = dirs.fixed(OWN)?;
    let sys = dirs.sys();
    let failed = |op| move |errno| Error::of(op, format!("{OWN}/{NAME}"), errno);
    match sys.unlink(own.fd(), NEW) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("replace")(errno)),
    }
    let text = serde_json::to_vec_pretty(marker).expect("a struct of texts and numbers is JSON");
    let file = sys.create(own.fd(), NEW).map_err(failed("make"))?;
    sys.write(file.as_fd(), &text, 0).map_err(failed("write"))?;
    sys.set_public(file.as_fd()).map_err(failed("write"))?;
    sys.sync_file(file.as_fd()).map_err(failed("sync"))?;
    sys.rename(own.fd(), NEW, own.fd(), NAME)
        .map_err(failed("name"))?;
    dirs.sync(&own).map_err(failed("sync"))
}

/// Makes the root directory itself and what is missing above it.
fn make_root(root: &Path, sys: &dyn Sys) -> Result<(), Error> {
    if root.is_dir() {
        return Ok(());
    }
    let failed = |op| {
        move |source| Error::Io {
            op,
            path: root.display().to_string(),
            source,
        }
    };
    let above = match root.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_root(above, sys)?;
    std::fs::create_dir(root).map_err(failed("make"))?;
    let above = File::open(above).map_err(failed("open the parent of"))?;
    sys.sync_dir(above.as_fd())
        .map_err(|errno| failed("sync the parent of")(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::super::{RealSys, Store};
    use super::*;

    fn catalog() -> CatalogId {
        CatalogId::new("assets/catalog").unwrap()
    }

    fn node(name: &str) -> NodeId {
        NodeId::new(name).unwrap()
    }

    fn open(root: &Path) -> Result<Store, Error> {
        Store::open(root, &catalog(), Arc::new(RealSys))
    }

    #[test]
    fn init_twice_is_fine_and_repairs_but_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b/media");
        Store::init(&root, &catalog(), &node("n1")).unwrap();
        std::fs::remove_dir(root.join("assets/catalog/generated")).unwrap();
        Store::init(&root, &catalog(), &node("n1")).unwrap();
        assert!(root.join("assets/catalog/generated").is_dir());
        assert_eq!(open(&root).unwrap().node(), "n1");
        assert!(matches!(
            Store::init(&root, &catalog(), &node("n2")),
            Err(Error::WrongMarker { .. })
        ));
        let other = CatalogId::new("finder/catalog").unwrap();
        assert!(matches!(
            Store::init(&root, &other, &node("n1")),
            Err(Error::WrongMarker { .. })
        ));
        assert!(!root.join("finder").exists(), "a refused init left traces");
        assert!(matches!(
            Store::open(&root, &other, Arc::new(RealSys)),
            Err(Error::WrongMarker { .. })
        ));
    }

    #[test]
    fn a_root_without_a_marker_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(open(dir.path()), Err(Error::NoMarker { .. })));
        assert!(matches!(
            open(&dir.path().join("absent")),
            Err(Error::NoMarker { .. })
        ));
        std::fs::create_dir(dir.path().join(OWN)).unwrap();
        std::fs::write(dir.path().join(".emsync/root.json"), "{\"version\":").unwrap();
        assert!(matches!(open(dir.path()), Err(Error::BadMarker { .. })));
    }

    #[test]
    fn a_marker_that_goes_or_changes_after_opening_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, aside) = (dir.path().join("media"), dir.path().join("aside"));
        Store::init(&root, &catalog(), &node("n1")).unwrap();
        let store = open(&root).unwrap();
        store.check_marker().unwrap();

        std::fs::rename(&root, &aside).unwrap();
        assert!(matches!(store.check_marker(), Err(Error::NoMarker { .. })));
        std::fs::create_dir(&root).unwrap();
        assert!(matches!(store.check_marker(), Err(Error::NoMarker { .. })));
        Store::init(&root, &catalog(), &node("n2")).unwrap();
        assert!(matches!(
            store.check_marker(),
            Err(Error::WrongMarker { .. })
        ));
        std::fs::remove_dir_all(&root).unwrap();
        Store::init(&root, &catalog(), &node("n1")).unwrap();
        assert!(matches!(store.check_marker(), Err(Error::Replaced { .. })));

        std::fs::remove_dir_all(&root).unwrap();
        std::fs::rename(&aside, &root).unwrap();
        store.check_marker().unwrap();
        std::fs::remove_file(root.join(".emsync/root.json")).unwrap();
        assert!(matches!(store.check_marker(), Err(Error::NoMarker { .. })));
    }
}
