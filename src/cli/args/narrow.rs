//! Which part of a peer's files is wanted. Flags have rclone's names and syntax.

use clap::Args;

use crate::config::members::Member;
use crate::config::{Peer, units};
use crate::model::Filter;
use crate::model::filter::Pattern;

/// Flags of every command that fetches, and of those that say what is fetched.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Filter")]
pub struct Narrow {
    /// Only originals of such paths, in rclone's syntax: "/Photos/**", "*.{jpg,png}". May be given several times, as the next ones.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<Pattern>,
    /// No originals of such paths, whatever else is said.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<Pattern>,
    /// Only assets of this category and those below it, by path or id.
    #[arg(long = "category", value_name = "PATH|ID")]
    categories: Vec<String>,
    /// No assets of this category and those below it.
    #[arg(long = "exclude-category", value_name = "PATH|ID")]
    exclude_categories: Vec<String>,
    /// Only assets of this collection, by name or id; adds to --category.
    #[arg(long = "collection", value_name = "NAME|ID")]
    collections: Vec<String>,
    /// Only originals of so many bytes or more, a bare number counts bytes: 100K, 2M.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    min_size: Option<u64>,
    /// Only originals of so many bytes or less: 2G.
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    max_size: Option<u64>,
    /// Only originals that were last changed so long ago or longer: 1h, 30d, 2w, 6M, 1y.
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    min_age: Option<std::time::Duration>,
    /// Only originals that were last changed so long ago or less.
    #[arg(long, value_name = "AGE", value_parser = units::age)]
    max_age: Option<std::time::Duration>,
    /// Fetch the renditions of every asset all the same.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    all_renditions: Option<bool>,
}

pub(super) const EXAMPLES: &str = "\
Examples:
  emsync peer filter master                                  what is left out now
  emsync peer filter master --include '/Photos/**' --exclude '*.{psd,tif}'
  emsync peer filter cdn --category Index/Press --all-renditions
  emsync peer filter master --max-size 2G --max-age 2y -n    what that would leave out
  emsync peer filter master --clear                          everything again
The next sync fetches what is wanted now. It takes nothing away that is left out; `emsync peer prune` does.";

/// See [`Peer::Filter`](super::Peer::Filter).
#[derive(Debug, Args)]
pub struct PeerFilter {
    /// The peer's name.
    pub name: String,
    /// What is wanted of it. Each flag takes the place of what was said before of the same; the others stay.
    #[command(flatten)]
    pub narrow: Narrow,
    /// Forget what was said before.
    #[arg(long)]
    pub clear: bool,
    /// Say what would be left out, and change nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// See [`Peer::Prune`](super::Peer::Prune).
#[derive(Debug, Args)]
pub struct PeerPrune {
    /// The peer's name.
    pub name: String,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Say what would go, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Narrow {
    /// Puts what was said in the place of what is configured of every peer.
    pub(in crate::cli) fn apply_to_all(&self, peers: &mut [Peer]) {
        for peer in peers {
            self.apply(&mut peer.filter);
        }
    }

    /// Puts what was said in the place of what is configured, flag by flag.
    pub(in crate::cli) fn apply(&self, filter: &mut Filter) {
        fn replace<T: Clone>(list: &mut Vec<T>, said: &[T]) {
            if !said.is_empty() {
                *list = said.to_vec();
            }
        }
        replace(&mut filter.include, &self.include);
        replace(&mut filter.exclude, &self.exclude);
        replace(&mut filter.categories, &self.categories);
        replace(&mut filter.exclude_categories, &self.exclude_categories);
        replace(&mut filter.collections, &self.collections);
        filter.min_size = self.min_size.or(filter.min_size);
        filter.max_size = self.max_size.or(filter.max_size);
        filter.min_age = self.min_age.or(filter.min_age);
        filter.max_age = self.max_age.or(filter.max_age);
        filter.all_renditions = self.all_renditions.unwrap_or(filter.all_renditions);
    }

    /// What was said, as members of a `[[peer]]` section.
    pub(in crate::cli) fn members(&self) -> Vec<(&'static str, Member)> {
        let texts = |list: &[Pattern]| list.iter().map(ToString::to_string).collect();
        let lists: [(&'static str, Vec<String>); 5] = [
            ("include", texts(&self.include)),
            ("exclude", texts(&self.exclude)),
            ("categories", self.categories.clone()),
            ("exclude_categories", self.exclude_categories.clone()),
            ("collections", self.collections.clone()),
        ];
        let lists = lists.into_iter().filter(|(_, list)| !list.is_empty());
        let mut members: Vec<_> = lists.map(|(key, list)| (key, Member::List(list))).collect();
        let sizes = [("min_size", self.min_size), ("max_size", self.max_size)];
        members.extend(
            sizes
                .into_iter()
                .filter_map(|(key, size)| Some((key, Member::Text(units::show_size(size?))))),
        );
        let ages = [("min_age", self.min_age), ("max_age", self.max_age)];
        members.extend(
            ages.into_iter()
                .filter_map(|(key, age)| Some((key, Member::Text(units::show_duration(age?))))),
        );
        members.extend(
            self.all_renditions
                .map(|all| ("all_renditions", Member::Flag(all))),
        );
        members
    }

    /// Every member, so that none is left of a filter that goes.
    pub(in crate::cli) fn none() -> Vec<(&'static str, Member)> {
        let keys = [
            "include",
            "exclude",
            "categories",
            "exclude_categories",
            "collections",
            "min_size",
            "max_size",
            "min_age",
            "max_age",
            "all_renditions",
        ];
        keys.map(|key| (key, Member::Absent)).to_vec()
    }
}
