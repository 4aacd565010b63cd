//! `emsync fetch` as it is written.

use clap::Args;

use super::{Narrow, Network, Until};

/// What stands below the help of [`Fetch`].
pub(super) const EXAMPLES: &str = "\
Examples:
  emsync fetch dam --all -n                      how much went to make room and would come back
  emsync fetch dam --all --bwlimit 20M           everything, such as before this node takes dam's place
  emsync fetch dam --include '/Press/**'         what will be read tomorrow
  emsync fetch dam --category Index/Press

Only what serve.max_cache sent away is meant: what a sync has not brought yet, a sync brings. Each file comes as its row says it was,
from that peer. While serve.max_cache is set, more than that goes again, the least recently read first.";

/// See [`Command::Fetch`](super::Command::Fetch).
#[derive(Debug, Args)]
pub struct Fetch {
    /// The peer's name.
    pub peer: String,
    /// All of them.
    #[arg(long)]
    pub all: bool,
    /// Those of which assets.
    #[command(flatten)]
    pub narrow: Narrow,
    /// How much of the network it may use.
    #[command(flatten)]
    pub network: Network,
    /// When it ends although there is more to do.
    #[command(flatten)]
    pub until: Until,
    /// Say how much would come back, and fetch nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
