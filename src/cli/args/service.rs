//! Commands for who installs the program.

use std::path::PathBuf;

use clap::Args;

/// See [`Command::Service`](super::Command::Service).
#[derive(Debug, Args)]
pub struct Service {
    /// Of one sync with all peers, instead of `emsync serve`; for a timer.
    #[arg(long, conflicts_with = "timer")]
    pub oneshot: bool,
    /// The timer that begins such a sync every night.
    #[arg(long)]
    pub timer: bool,
    /// The user and group it runs as [default: emsync].
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}

/// See [`Command::Completions`](super::Command::Completions).
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell.
    pub shell: clap_complete::Shell,
}

/// See [`Command::Man`](super::Command::Man).
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this folder instead.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}
