//! The only door from a string on the wire to a path on disk.
//!
//! A [`MediaPath`] is relative, made of one or more non-empty elements, none of them `.` or `..`, none longer than any file
//! system takes, and never names a catalog (peers' prefixes are stripped in `protocol/`). Bytes are kept as they came: EMDB
//! compares names byte by byte and normalises nothing (wire spec 9.1), so neither do we. Where a file of such a path lies on
//! this disk is its [`place`](super::place): the same path, unless this disk or another asset stands in its way.

use std::fmt;

/// Longest element in bytes: 255 UTF-16 units, as NTFS and APFS count, are never more.
pub const MAX_ELEMENT: usize = 1_020;
/// Longest whole path in bytes; leaves room for the root, the catalog and a staging name below `PATH_MAX`.
pub const MAX_PATH: usize = 3_500;

/// Where a file lies below `originals/` or `generated/`, with `/` between the elements.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct MediaPath(String);

/// Why a text cannot be a [`MediaPath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {path:?} {reason}")]
pub struct PathError {
    /// The text as it was offered.
    pub path: String,
    /// The rule it breaks.
    pub reason: PathReason,
}

/// The rules of [`MediaPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathReason {
    /// No element at all.
    #[error("is empty")]
    Empty,
    /// Begins with `/`.
    #[error("is absolute")]
    Absolute,
    /// Holds `//` or ends in `/`.
    #[error("has an empty element")]
    EmptyElement,
    /// Holds `.` or `..` as an element.
    #[error("has a '.' or '..' element")]
    Dots,
    /// Holds a NUL byte.
    #[error("holds a NUL byte")]
    Nul,
    /// An element is longer than [`MAX_ELEMENT`].
    #[error("has an element of more than 1020 bytes")]
    LongElement,
    /// Longer than [`MAX_PATH`] as a whole.
    #[error("is longer than 3500 bytes")]
    Long,
}

impl MediaPath {
    /// Checks a text and takes it as it is.
    ///
    /// # Errors
    /// [`PathError`] naming the first rule it breaks; nothing is repaired.
    pub fn new(text: impl Into<String>) -> Result<Self, PathError> {
        let path = text.into();
        match broken_rule(&path) {
            None => Ok(Self(path)),
            Some(reason) => Err(PathError { path, reason }),
        }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The elements from the top down; at least one.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last element.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The path without its last element, if any is left.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0.rfind('/').map(|at| Self(self.0[..at].to_owned()))
    }

    /// This path with `tail` below it.
    ///
    /// # Errors
    /// [`PathError`] when `tail` breaks a rule or the sum grows too long.
    pub fn join(&self, tail: &str) -> Result<Self, PathError> {
        Self::new(format!("{}/{tail}", self.0))
    }

    /// What is left of this path below `dir`; `None` when it does not lie there.
    #[must_use]
    pub fn below<'a>(&'a self, dir: &Self) -> Option<&'a str> {
        self.0.strip_prefix(&dir.0)?.strip_prefix('/')
    }

    /// Whether an element is `.versions`: EMDB's own bookkeeping, which it lists as if it were media (hazard H-42).
    #[must_use]
    pub fn is_bookkeeping(&self) -> bool {
        self.elements().any(|element| element == ".versions")
    }
}

fn broken_rule(path: &str) -> Option<PathReason> {
    if path.is_empty() {
        return Some(PathReason::Empty);
    }
    if path.starts_with('/') {
        return Some(PathReason::Absolute);
    }
    if path.len() > MAX_PATH {
        return Some(PathReason::Long);
    }
    if path.contains('\0') {
        return Some(PathReason::Nul);
    }
    path.split('/').find_map(|element| match element {
        "" => Some(PathReason::EmptyElement),
        "." | ".." => Some(PathReason::Dots),
        long if long.len() > MAX_ELEMENT => Some(PathReason::LongElement),
        _ => None,
    })
}

impl fmt::Display for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hostile_texts_are_refused_with_the_rule_they_break() {
        let long = "x".repeat(MAX_ELEMENT + 1);
        for (text, reason) in [
            ("", PathReason::Empty),
            ("/etc/passwd", PathReason::Absolute),
            ("a//b", PathReason::EmptyElement),
            ("a/", PathReason::EmptyElement),
            ("../a", PathReason::Dots),
            ("a/../b", PathReason::Dots),
            ("a/.", PathReason::Dots),
            ("a\0b", PathReason::Nul),
            (long.as_str(), PathReason::LongElement),
        ] {
            assert_eq!(MediaPath::new(text).unwrap_err().reason, reason, "{text:?}");
        }
        assert_eq!(
            MediaPath::new("ab/".repeat(2000)).unwrap_err().reason,
            PathReason::Long
        );
    }

    #[test]
    fn awkward_but_harmless_texts_are_kept_byte_for_byte() {
        for text in [
            "a b/#%+?&'\".jpg",
            "Caf\u{e9}/cafe\u{301}.jpg",
            ".hidden",
            "...",
            "a\\b",
            "line\nbreak",
            "-rf",
            "~",
            &"x".repeat(MAX_ELEMENT),
        ] {
            assert_eq!(MediaPath::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn below_needs_a_whole_element() {
        let path = MediaPath::new("a/b.jpg/x.webp").unwrap();
        assert_eq!(
            path.below(&MediaPath::new("a/b.jpg").unwrap()),
            Some("x.webp")
        );
        assert_eq!(path.below(&MediaPath::new("a/b").unwrap()), None);
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_its_root(text in "(\\PC|/|\\.|\0){0,40}") {
            if let Ok(path) = MediaPath::new(text.as_str()) {
                let mut depth = 0_i32;
                for element in path.elements() {
                    prop_assert!(!element.is_empty() && element != "." && element != "..");
                    depth += 1;
                }
                prop_assert!(depth > 0);
                prop_assert_eq!(path.as_str(), text.as_str());
                prop_assert!(std::path::Path::new(path.as_str()).is_relative());
            }
        }

        #[test]
        fn parent_and_name_give_the_path_back(elements in prop::collection::vec("[a-z .#]{1,8}x", 1..6)) {
            let path = MediaPath::new(elements.join("/")).unwrap();
            let back = match path.parent() {
                Some(parent) => parent.join(path.name()).unwrap(),
                None => MediaPath::new(path.name()).unwrap(),
            };
            prop_assert_eq!(back, path);
        }
    }
}
