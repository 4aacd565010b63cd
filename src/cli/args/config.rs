//! Commands about the configuration itself.

use std::net::SocketAddr;

use clap::{Args, Subcommand};

use super::Network;
use crate::config::MaxDelete;

/// See [`Command::Config`](super::Command::Config).
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Read the configuration as every command does, and say everything that is wrong with it. Changes nothing, asks no peer.
    #[command(after_help = CHECK)]
    Check(ConfigCheck),
}

const CHECK: &str = "\
Examples:
  emsync config check                                all mistakes at once, with file, line and how to mend them
  emsync config check --show                         every setting as it holds, and where it comes from; no secrets
  EMSYNC_TRANSFERS=8 emsync config check --show      what a variable of the environment changes
  emsync config check --config new.toml --json       before a new file is put in place

Exit 0 when it loads, whatever warnings there are; 2 when it would not load.";

/// See [`Config::Check`].
#[derive(Debug, Args)]
pub struct ConfigCheck {
    /// Print every setting as it holds, and whether it comes from a flag, the environment, the file or nobody.
    #[arg(long)]
    pub show: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// As `emsync sync` takes it.
    #[arg(long, value_name = "N", env = "EMSYNC_TRANSFERS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub transfers: Option<u16>,
    /// As `emsync sync` takes it.
    #[arg(long, value_name = "N|N%", env = "EMSYNC_MAX_DELETE")]
    pub max_delete: Option<MaxDelete>,
    /// As `emsync serve` takes it.
    #[arg(long, value_name = "ADDR:PORT", env = "EMSYNC_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// As `emsync sync` takes them.
    #[command(flatten)]
    pub network: Network,
}
