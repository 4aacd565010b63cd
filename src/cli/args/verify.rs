//! `emsync verify` as it is written.

use std::path::PathBuf;

use clap::Args;

use super::Network;

/// See [`Command::Verify`](super::Command::Verify).
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("with").required(true).multiple(true).args(["peer", "report", "against"])))]
pub struct Verify {
    /// The peer's name; without one, only this node's catalogue and disk are looked at.
    #[arg(conflicts_with = "against")]
    pub peer: Option<String>,
    /// Read and hash every file here again.
    #[arg(short = 'c', long)]
    pub checksum: bool,
    /// Have the peer list everything, even where digests would tell which records are equal.
    #[arg(long, requires = "peer")]
    pub full_listing: bool,
    /// Write what was compared, with digests, into FILE, for another node to compare itself with.
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    pub report: Option<PathBuf>,
    /// Compare with such a FILE instead of a peer; needs no network.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// How much of the network it may use.
    #[command(flatten)]
    pub network: Network,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}
