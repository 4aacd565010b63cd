//! Which assets' files a partial mirror holds. Records always come whole, so that counts match; only files are left out.
//!
//! An asset is one item: its files are wanted together or not at all, by the path, size and date of its primary original and by
//! its categories. What the record does not state leaves nothing out.

mod pattern;

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

pub use pattern::{Pattern, PatternError};

use super::{Asset, Timestamp};

/// What a peer's files are narrowed to; as written, with categories by id or path. The default leaves nothing out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Paths that are wanted; none means all.
    pub include: Vec<Pattern>,
    /// Paths that are not, whatever `include` says.
    pub exclude: Vec<Pattern>,
    /// Categories, by id or path, whose assets are wanted, those of their subcategories among them; none means all.
    pub categories: Vec<String>,
    /// Categories whose assets are not wanted, whatever `categories` says.
    pub exclude_categories: Vec<String>,
    /// Collections, by id or name: the assets of their root categories are wanted as those of `categories` are.
    pub collections: Vec<String>,
    /// Least size of an original, in bytes.
    pub min_size: Option<u64>,
    /// Greatest size of an original, in bytes.
    pub max_size: Option<u64>,
    /// How old an original must be.
    pub min_age: Option<Duration>,
    /// How old an original may be.
    pub max_age: Option<Duration>,
    /// Whether renditions come for all assets, and the filter is for originals only.
    pub all_renditions: bool,
}

impl Filter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let narrows_nothing = Self {
            all_renditions: self.all_renditions,
            ..Self::default()
        };
        *self == narrows_nothing
    }
}

/// The filter as a person would write it on a command line.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        let mut add =
            |flag: &str, value: &dyn fmt::Display| words.push(format!("--{flag} {value}"));
        self.include.iter().for_each(|it| add("include", it));
        self.exclude.iter().for_each(|it| add("exclude", it));
        self.categories.iter().for_each(|it| add("category", it));
        (self.exclude_categories.iter()).for_each(|it| add("exclude-category", it));
        self.collections.iter().for_each(|it| add("collection", it));
        (self.min_size.iter()).for_each(|it| add("min-size", it));
        (self.max_size.iter()).for_each(|it| add("max-size", it));
        (self.min_age.iter()).for_each(|it| add("min-age", &format!("{}s", it.as_secs())));
        (self.max_age.iter()).for_each(|it| add("max-age", &format!("{}s", it.as_secs())));
        if self.all_renditions {
            words.push("--all-renditions".to_owned());
        }
        f.write_str(&words.join(" "))
    }
}

/// A filter whose categories and collections were looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// What was asked for.
    pub filter: Filter,
    /// Ids of the wanted categories.
    pub wanted: BTreeSet<String>,
    /// Ids of the categories that are left out.
    pub left_out: BTreeSet<String>,
    /// Names that no record bears. While there are any nothing is wanted: what they stand for is not known yet.
    pub unknown: Vec<String>,
}

impl Selection {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.filter.is_empty()
    }

    /// Whether the files of an asset are wanted at `now`.
    #[must_use]
    pub fn keeps(&self, asset: &Asset, now: Timestamp) -> bool {
        self.is_everything()
            || self.unknown.is_empty()
                && self.keeps_path(asset)
                && self.keeps_categories(asset)
                && self.keeps_size(asset)
                && self.keeps_age(asset, now)
    }

    fn keeps_path(&self, asset: &Asset) -> bool {
        let primary = asset.original();
        let path = primary.as_ref().unwrap_or(asset.original_root()).as_str();
        let takes = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.takes(path));
        (self.filter.include.is_empty() || takes(&self.filter.include))
            && !takes(&self.filter.exclude)
    }

    fn keeps_categories(&self, asset: &Asset) -> bool {
        let is_in = |ids: &BTreeSet<String>| asset.categories.iter().any(|id| ids.contains(id));
        let names_none = self.filter.categories.is_empty() && self.filter.collections.is_empty();
        (names_none || is_in(&self.wanted)) && !is_in(&self.left_out)
    }

    fn keeps_size(&self, asset: &Asset) -> bool {
        asset.size.is_none_or(|size| {
            self.filter.min_size.is_none_or(|least| size >= least)
                && self.filter.max_size.is_none_or(|most| size <= most)
        })
    }

    fn keeps_age(&self, asset: &Asset, now: Timestamp) -> bool {
        asset.modified.is_none_or(|modified| {
            let age = now.since(modified);
            self.filter.min_age.is_none_or(|least| age >= least)
                && self.filter.max_age.is_none_or(|most| age <= most)
        })
    }

    /// What tells this selection from every other one; text for a digest, not for people.
    #[must_use]
    pub fn identity(&self) -> String {
        if self.is_everything() {
            return String::new();
        }
        format!(
            "{} / {:?} / {:?} / {:?}",
            self.filter, self.wanted, self.left_out, self.unknown
        )
    }
}

#[cfg(test)]
mod tests;
