//! Commands about records, and about what lost when two nodes edited one.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// See [`Command::Record`](super::Command::Record).
#[derive(Debug, Subcommand)]
pub enum Record {
    /// The live records of a table, in order of id.
    List {
        /// The table, such as asset or category.
        table: String,
        /// One record a line, as stored.
        #[arg(long)]
        json: bool,
        /// Tombstones as well.
        #[arg(long)]
        deleted: bool,
    },
    /// One record, as stored.
    Get {
        /// The table.
        table: String,
        /// Its id.
        id: String,
    },
    /// Save a record: a new one of this node, or an edit of one that is here.
    #[command(after_help = PUT)]
    Put(RecordPut),
    /// Delete a record; its files go to the trash. Of another node's record that is an edit, which its owner may overrule.
    Delete {
        /// The table.
        table: String,
        /// Its id.
        id: String,
        /// Say what would happen, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

const PUT: &str = "\
Examples:
  emsync record put asset AXk29 --set headline='Boats at noon'     one member; the others stay
  emsync record put asset AXk29 --set keywords='[\"boat\",\"sea\"]'    a value that is JSON is taken as such
  emsync record put asset AXk29 --set headline=null                take a member away
  emsync record put category sea sea.json                          the whole record from a file
  emsync record get category sea | sed s/Sea/Ocean/ | emsync record put category sea

A record of another node stays that one's, edited here. Where its owner saved it in the meantime, the owner wins, and the edit is
kept: see `emsync conflicts`. What follows from an asset's file, such as its path or size, is not edited but imported.";

/// See [`Record::Put`].
#[derive(Debug, Args)]
pub struct RecordPut {
    /// The table.
    pub table: String,
    /// Its id.
    pub id: String,
    /// File with all its members as one JSON object [default: standard input].
    #[arg(conflicts_with = "set")]
    pub file: Option<PathBuf>,
    /// Only this member; null takes it away. May be given more than once.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// See [`Command::Conflicts`](super::Command::Conflicts).
#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// All of them, newest first: number, when, record, peer, and which side was stored.
    List {
        /// One object a line: EMDB's row of remotesaveconflictLog, with number, peer and winner.
        #[arg(long)]
        json: bool,
    },
    /// One of them: who edited what, member by member.
    Show {
        /// Its number.
        id: i64,
        /// One object.
        #[arg(long)]
        json: bool,
    },
    /// Let the side that lost hold again, as a new edit of this node.
    #[command(after_help = RESTORE)]
    Restore(ConflictRestore),
}

const RESTORE: &str = "\
Examples:
  emsync conflicts restore 7 -n          which members would change
  emsync conflicts restore 7             the side that lost holds again
  emsync conflicts restore 7 --remote    what the peer sent, whoever won";

/// See [`Conflicts::Restore`].
#[derive(Debug, Args)]
pub struct ConflictRestore {
    /// Its number.
    pub id: i64,
    /// What this node had, whoever won.
    #[arg(long, conflicts_with = "remote")]
    pub local: bool,
    /// What the peer sent, whoever won.
    #[arg(long)]
    pub remote: bool,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}
