//! Commands about what other nodes hand to this one.

use clap::Subcommand;

use crate::config::MaxDelete;

/// See [`Command::Receive`](super::Command::Receive).
#[derive(Debug, Subcommand)]
pub enum Receive {
    /// Who may hand changes in, and what waits of theirs.
    List(super::Json),
    /// Apply deletes that the guard holds of a sender. Exit 25 when they are more than it lets go.
    #[command(after_help = APPLY)]
    Apply {
        /// The sender: the name of its key.
        name: String,
        /// Deletes that are let go: a number, or a share of all live assets.
        #[arg(long, value_name = "N|N%")]
        max_delete: Option<MaxDelete>,
        /// Say how many would be applied, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

const APPLY: &str = "\
Examples:
  emsync receive list                               3,000 deletes of `studio` are held
  emsync quarantine list                            what they are about
  emsync receive apply studio --max-delete 3000     let them go; files go to the trash";
