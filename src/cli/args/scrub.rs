//! `emsync scrub` as it is written.

use std::time::Duration;

use clap::Args;

use crate::config::{Bandwidth, units};

/// What stands below the help of [`Scrub`].
pub(super) const EXAMPLES: &str = "\
Examples:
  emsync scrub                                   what was not read for scrub.days days, oldest first; heal what is damaged
  emsync scrub --max-duration 2h --bwlimit 50M   for two hours, at 50 MiB a second; the next run goes on
  emsync scrub --all --heal-from master          everything now, healed from one peer only
  emsync scrub -n                                how much is due
  emsync scrub --no-heal --json                  put damaged copies away, and only say what is damaged
  emsync event add Scrub --action scrub --cron '0 1 * * *' --max-duration 5h

What does not read as the catalogue says is looked at once more while nobody writes; then the bad copy goes to the trash (`emsync
trash list`) and the file is fetched from a peer, or made again. What nobody has is set aside: `emsync quarantine list`, exit 23.";

/// See [`Command::Scrub`](super::Command::Scrub).
#[derive(Debug, Args)]
pub struct Scrub {
    /// Read everything now, not only what is due; cut short, the next run goes on.
    #[arg(long)]
    pub all: bool,
    /// Leave what is damaged as it is, when its bad copy is put away.
    #[arg(long)]
    pub no_heal: bool,
    /// Fetch damaged files from this peer; may be given several times [default: every enabled peer, in the order of the file].
    #[arg(long, value_name = "PEER", conflicts_with = "no_heal")]
    pub heal_from: Vec<String>,
    /// Bytes read a second, a bare number counts KiB: 50M, or by local time "08:00,10M 19:00,off" [default: scrub.bandwidth].
    #[arg(long, value_name = "RATE", env = "EMSYNC_SCRUB_BWLIMIT")]
    pub bwlimit: Option<Bandwidth>,
    /// End after so long: 6h, 1h 30m. Exit 10; the next run goes on.
    #[arg(long, value_name = "SPAN", env = "EMSYNC_MAX_DURATION", value_parser = units::duration)]
    pub max_duration: Option<Duration>,
    /// Say how much is due, and read nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
