//! Commands about what was removed, what was set aside, and why.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::config::units;
use crate::trash::Pattern;

/// See [`Command::Trash`](super::Command::Trash).
#[derive(Debug, Subcommand)]
pub enum Trash {
    /// What is in the trash, oldest first: id, when, what, why, and how long it stays.
    #[command(after_help = LIST)]
    List(TrashList),
    /// Bring files back to their places, or copy them out with --to.
    #[command(after_help = RESTORE)]
    Restore(Restore),
    /// Destroy what went long enough ago.
    #[command(after_help = EMPTY)]
    Empty(TrashEmpty),
}

const LIST: &str = "\
Examples:
  emsync trash list                              everything, oldest first
  emsync trash list 2024/wedding                 a folder and all below it
  emsync trash list --kind originals '*.tif'     originals by pattern
  emsync trash list --asset AXk29 --json         one asset, one JSON object a line";

const RESTORE: &str = "\
Examples:
  emsync trash restore 2024/wedding/a.jpg        a path, when only one version of it is in the trash
  emsync trash restore 3f9a01c2d4e5 -n           an id of `trash list`; say what would happen
  emsync trash restore 3f9a01c2d4e5 --to /tmp/x  copy it to /tmp/x/originals/…, whoever owns it

A file comes back in its place when its asset lives here, and with its whole asset when this node deleted that. What another
node deleted comes back only there.";

const EMPTY: &str = "\
Examples:
  emsync trash empty                             what is past limits.trash_days, or trash.versions
  emsync trash empty --older-than 7d -n          what would go
  emsync trash empty --all --yes                 everything, without a question";

/// Which tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tree {
    /// What was uploaded.
    Originals,
    /// What was derived from it.
    Generated,
}

/// See [`Trash::List`].
#[derive(Debug, Args)]
pub struct TrashList {
    /// A path, a folder, or a pattern with * and ?.
    pub pattern: Option<Pattern>,
    /// Only this tree.
    #[arg(long, value_enum)]
    pub kind: Option<Tree>,
    /// Only files of this asset.
    #[arg(long, value_name = "ID")]
    pub asset: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// See [`Trash::Restore`].
#[derive(Debug, Args)]
pub struct Restore {
    /// Ids or paths, as `trash list` names them.
    #[arg(required = true, value_name = "ITEM")]
    pub items: Vec<String>,
    /// Copy out to DIR, below its tree's name, and leave the trash as it is. Never overwrites.
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// See [`Trash::Empty`].
#[derive(Debug, Args)]
pub struct TrashEmpty {
    /// What went longer ago than SPAN, such as 7d or 12h [default: limits.trash_days].
    #[arg(long, value_name = "SPAN", value_parser = units::age)]
    pub older_than: Option<Duration>,
    /// Everything; asks first.
    #[arg(long, conflicts_with = "older_than")]
    pub all: bool,
    /// Do not ask.
    #[arg(short = 'y', long)]
    pub yes: bool,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Quarantine`](super::Command::Quarantine).
#[derive(Debug, Subcommand)]
pub enum Quarantine {
    /// What was set aside, with its reason.
    List {
        /// Only of this peer.
        peer: Option<String>,
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Let the next sync try again, as if it were the first time.
    #[command(after_help = RETRY)]
    Retry(Which),
    /// Give up: what is set aside is forgotten until it is listed again. Says what is lost.
    #[command(after_help = DROP)]
    Drop(Which),
}

const RETRY: &str = "\
Examples:
  emsync quarantine retry 17 18                  by the ids of `quarantine list`
  emsync quarantine retry originals/a.jpg        by what it is about
  emsync quarantine retry --all --peer master    everything of one peer";

const DROP: &str = "\
Examples:
  emsync quarantine drop 17 -n                   say what would be lost
  emsync quarantine drop --all --peer master     give up everything of one peer";

/// Which of the things set aside.
#[derive(Debug, Args)]
pub struct Which {
    /// Ids or subjects, as `quarantine list` names them.
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        value_name = "ITEM"
    )]
    pub items: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Only of this peer.
    #[arg(long, value_name = "PEER")]
    pub peer: Option<String>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Why`](super::Command::Why).
#[derive(Debug, Args)]
#[command(after_help = WHY)]
pub struct Why {
    /// An asset's id, table/id of any record, or the path of an original or generated file.
    pub id: String,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

const WHY: &str = "\
Examples:
  emsync why AXk29                               an asset, layer by layer
  emsync why librarycollection/c7                a record of another table
  emsync why originals/2024/wedding/a.jpg        whose file this is, or was";
