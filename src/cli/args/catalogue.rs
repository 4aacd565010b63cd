//! Commands about the catalogue as a file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// See [`Command::Catalogue`](super::Command::Catalogue).
#[derive(Debug, Subcommand)]
pub enum Catalogue {
    /// Copy the catalogue while everything goes on; the copy is read through before it gets its name.
    #[command(after_help = BACKUP)]
    Backup(CatalogueBackup),
    /// Make a copy the catalogue again. The former one is moved aside; nothing may run on the node.
    #[command(after_help = RESTORE)]
    Restore(CatalogueRestore),
}

const BACKUP: &str = "\
Examples:
  emsync catalogue backup /backup                        /backup/emsync-<cluster id>-<when>.db, a new one each time
  emsync catalogue backup /backup/before-upgrade.db      this very file, which must not be there
  emsync catalogue backup --json /backup | jq -r .path

A copy holds hashes of keys and passwords: it is made for this user alone. The media are not in it; copies of the catalogue that
the node makes by itself every day lie beside them.";

const RESTORE: &str = "\
Examples:
  emsync catalogue restore /backup/emsync-m-1-20261129T101500.000Z.db -n      what would come of it
  emsync catalogue restore /backup/emsync-m-1-20261129T101500.000Z.db

Each row is compared with the disk, and what a copy cannot vouch for is forgotten, so that the next run lists everything. Prints
what to do next. Exit 11 while anything runs on the node, 2 for a file that is no good.";

/// See [`Catalogue::Backup`].
#[derive(Debug, Args)]
pub struct CatalogueBackup {
    /// The new file, or the folder for one.
    #[arg(value_name = "FILE|DIR")]
    pub to: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// See [`Catalogue::Restore`].
#[derive(Debug, Args)]
pub struct CatalogueRestore {
    /// The copy.
    pub file: PathBuf,
    /// Read every file of the media, instead of going by size and date.
    #[arg(long)]
    pub checksum: bool,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}
