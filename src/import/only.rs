//! Which part of a folder an import looks at: all of it, or what a watch heard of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// More places than this are as good as everywhere: a walk of the whole folder is then the shorter way.
const MOST: usize = 20_000;

/// Which part of a folder is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Only {
    /// All of it.
    #[default]
    Whole,
    /// These files and directories, with all below them, as paths below the folder. None is below another.
    Below(BTreeSet<String>),
}

impl Only {
    /// Nothing.
    #[must_use]
    pub fn nothing() -> Self {
        Self::Below(BTreeSet::new())
    }

    /// Whether nothing is looked at.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Below(places) if places.is_empty())
    }

    /// Adds a place.
    pub fn add(&mut self, rel: &str) {
        let Self::Below(places) = self else { return };
        if rel.is_empty() {
            *self = Self::Whole;
            return;
        }
        if places.contains(rel) || above(rel).any(|above| places.contains(above)) {
            return;
        }
        let (from, to) = (format!("{rel}/"), format!("{rel}0"));
        let below: Vec<_> = places.range(from..to).cloned().collect();
        for place in below {
            places.remove(&place);
        }
        places.insert(rel.to_owned());
        if places.len() > MOST {
            *self = Self::Whole;
        }
    }

    /// Adds everything of another.
    pub fn join(&mut self, other: &Self) {
        match other {
            Self::Whole => *self = Self::Whole,
            Self::Below(places) => places.iter().for_each(|place| self.add(place)),
        }
    }

    /// Where walks begin: the folder, or each place whose directories are no links.
    pub(super) fn roots(&self, dir: &Path) -> Vec<PathBuf> {
        match self {
            Self::Whole => vec![dir.to_owned()],
            Self::Below(places) => {
                let real = |rel: &&String| above(rel).all(|above| is_real_dir(&dir.join(above)));
                places
                    .iter()
                    .filter(real)
                    .map(|rel| dir.join(rel))
                    .collect()
            }
        }
    }
}

/// The directories above a path, the nearest first.
pub(super) fn above(rel: &str) -> impl Iterator<Item = &str> {
    rel.rmatch_indices('/').map(|(at, _)| &rel[..at])
}

fn is_real_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|stat| stat.is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(places: &[&str]) -> Only {
        let mut only = Only::nothing();
        places.iter().for_each(|place| only.add(place));
        only
    }

    #[test]
    fn no_place_is_below_another() {
        let Only::Below(places) = below(&["a/b/c", "a/b", "a/b!", "a/b/d", "x", "a/b0"]) else {
            panic!("it is not everything");
        };
        let places: Vec<_> = places.into_iter().collect();
        assert_eq!(places, ["a/b", "a/b!", "a/b0", "x"]);
    }

    #[test]
    fn the_folder_itself_and_too_many_places_are_the_whole() {
        assert_eq!(below(&["a", ""]), Only::Whole);
        let mut only = below(&["a"]);
        only.join(&Only::Whole);
        assert_eq!(only, Only::Whole);
        only.add("a");
        assert_eq!(only, Only::Whole);
        let mut only = Only::nothing();
        for n in 0..=MOST {
            only.add(&n.to_string());
        }
        assert_eq!(only, Only::Whole);
    }

    #[test]
    fn a_walk_does_not_begin_behind_a_link() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("real/d")).unwrap();
        std::os::unix::fs::symlink("real", dir.path().join("link")).unwrap();
        let roots = below(&["real/d/file", "link/d/file", "top"]).roots(dir.path());
        let expected = ["real/d/file", "top"].map(|rel| dir.path().join(rel));
        assert_eq!(roots, expected);
    }
}
