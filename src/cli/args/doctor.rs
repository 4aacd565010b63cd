//! `emsync doctor` as it is written.

use std::path::PathBuf;

use clap::Args;

/// See [`Command::Doctor`](super::Command::Doctor).
#[derive(Debug, Args)]
pub struct Doctor {
    /// Check the catalogue thoroughly: every index against its table.
    #[arg(long, conflicts_with = "rebuild")]
    pub deep: bool,
    /// Make a lost or damaged catalogue again, from the newest snapshot and the disk. The damaged one is moved aside.
    #[arg(long)]
    pub rebuild: bool,
    /// With --rebuild: say what would happen, and change nothing.
    #[arg(short = 'n', long, requires = "rebuild")]
    pub dry_run: bool,
    /// With --rebuild: begin with this snapshot, even where the catalogue is whole.
    #[arg(long, value_name = "FILE", requires = "rebuild")]
    pub snapshot: Option<PathBuf>,
    /// With --rebuild: read and hash every file instead of trusting size and date.
    #[arg(short = 'c', long, requires = "rebuild")]
    pub checksum: bool,
    /// The media volume is new, or came back without its marker: take media.root as it lies there for this node's. Says what to run then.
    #[arg(long, conflicts_with_all = ["deep", "rebuild", "json"])]
    pub new_volume: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
