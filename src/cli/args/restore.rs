//! `emsync restore` as it is written.

use clap::Args;

use crate::config::MaxDelete;

/// What stands below the help of [`RestoreTo`].
pub(super) const EXAMPLES: &str = "\
Examples:
  emsync restore 4kq3nzv7c2a5dm6t7hbe --to '2 days ago' -n    what would happen to one asset
  emsync restore --category 2024/wedding --to 2026-11-03      everything in a category, as it was that morning at midnight
  emsync restore --table librarycollection --to 2d            the records of one table; category, assetcrop and so on
  emsync restore --all --to '2026-11-03 09:41' --json         everything: assets with their originals, records of every table
  emsync restore --all --to 3h --delete-newer                 and what came since goes, under the delete guard

Records go back as new edits of this node, originals from the trash. Of what another node owns, only the record goes back, as an edit
that holds until its owner saves it again; its files are restored there. What stands there now goes to the trash in turn, so that
another restore, to the moment before this one, takes it back. Former versions are kept for trash.versions. Exit 23 when something cannot be
restored, which is said with its reason; 25 when the guard holds deletes.";

/// See [`Command::Restore`](super::Command::Restore).
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["asset", "category", "table", "all"])))]
pub struct RestoreTo {
    /// The asset's id.
    pub asset: Option<String>,
    /// The assets in this category, then or now, by its id or its path.
    #[arg(long, value_name = "ID|PATH")]
    pub category: Option<String>,
    /// The records of this table, other than `asset`.
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// All assets, and the records of every other table.
    #[arg(long)]
    pub all: bool,
    /// The moment: 2026-11-03, "2026-11-03 09:41" (local time), 2026-11-03T09:41:07Z, "2 days ago", 90m.
    #[arg(long, value_name = "MOMENT")]
    pub to: String,
    /// Delete what did not exist then.
    #[arg(long)]
    pub delete_newer: bool,
    /// Let up to N deletes, or N% of the live assets, through the guard.
    #[arg(
        long,
        value_name = "N|N%",
        env = "EMSYNC_MAX_DELETE",
        requires = "delete_newer"
    )]
    pub max_delete: Option<MaxDelete>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object a line: one for each asset that is not as it was, then the sums.
    #[arg(long)]
    pub json: bool,
}
