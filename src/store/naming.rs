//! What the file system of the media takes for one name: asked once, of a file that stays in our own corner.
//!
//! The file has a name with a capital and an accent. If the file system finds it under the small letter it folds case, and
//! if it finds it under the other Unicode form it normalises. It is never removed, so that two processes that open one root
//! at the same time see the same answer. Where it cannot be made nothing can be published either, and names are bytes.

use rustix::io::Errno;

use super::OWN;
use super::dirs::{Dir, Dirs};
use crate::model::place::Rules;

/// The name that is made.
const NAME: &str = "names-\u{c5}";
/// The same in small letters, and in the decomposed form.
const ALIASES: [&str; 2] = ["names-\u{e5}", "names-A\u{30a}"];

/// The rules of the media's file system.
pub(super) fn probe(dirs: &Dirs) -> Rules {
    let Ok(root) = dirs.root() else {
        return Rules::Bytes;
    };
    match dirs.find(&root, OWN) {
        Ok(Some(own)) => rules_of(dirs, &own),
        _ => Rules::Bytes,
    }
}

fn rules_of(dirs: &Dirs, own: &Dir) -> Rules {
    match dirs.sys().create(own.fd(), NAME) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => tracing::debug!(%errno, "cannot try out names; taking them for bytes"),
    }
    let folds = ALIASES
        .iter()
        .any(|alias| matches!(own.look(alias), Ok(Some(_))));
    if folds { Rules::Folding } else { Rules::Bytes }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::sync::Arc;

    use super::super::dirs::Resolver;
    use super::super::{RealSys, tree_path};
    use super::*;
    use crate::model::place::fold;
    use crate::model::{CatalogId, FileKind};

    fn dirs(at: &std::path::Path) -> Dirs {
        std::fs::create_dir_all(at.join(OWN)).unwrap();
        let root = OwnedFd::from(std::fs::File::open(at).unwrap());
        Dirs::new(root, Resolver::Steps, Arc::new(RealSys))
    }

    #[test]
    fn names_are_bytes_until_an_alias_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        let alone = probe(&dirs);
        assert_eq!(probe(&dirs), alone, "the second look differs");
        // What a file system that folds would answer: the file is there under its other names as well.
        for alias in ALIASES {
            let own = dir.path().join(OWN);
            if alone == Rules::Bytes {
                std::fs::write(own.join(alias), "").unwrap();
            }
            assert_eq!(probe(&dirs), Rules::Folding, "{alias:?}");
            let _ = std::fs::remove_file(own.join(alias));
            std::fs::write(own.join(NAME), "").unwrap();
        }
    }

    #[test]
    fn no_catalog_lies_in_our_own_corner() {
        let odd = [
            ".emsync/catalog",
            ".EMSYNC/x",
            "./.emsync/x",
            "../.emsync/x",
            "a/../.emsync/x",
            "/.emsync/x",
            "a//.emsync",
            ".emsync/",
            "\u{200b}.emsync/x",
            "emsync/.emsync",
            "..emsync/x",
            "",
            "/",
            ".",
            "..",
        ];
        for id in odd {
            assert!(
                CatalogId::new(id).is_err(),
                "{id:?} was taken for a catalog"
            );
        }
        for id in ["emsync/staging", "e.msync/x", "assets/emsync", "-.emsync/x"] {
            let tree = tree_path(CatalogId::new(id).unwrap().as_str(), FileKind::Original);
            let first = tree.split('/').next().unwrap_or_default();
            assert_ne!(fold(first), fold(OWN), "{id:?}");
        }
    }

    #[test]
    fn a_root_without_our_corner_has_names_of_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        std::fs::remove_dir(dir.path().join(OWN)).unwrap();
        assert_eq!(probe(&dirs), Rules::Bytes);
    }
}
