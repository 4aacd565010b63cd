//! Who may use the page.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Json;

/// People who may use the page.
#[derive(Debug, Subcommand)]
pub enum User {
    /// Let somebody in. The password comes from --password-file, from standard input, or from a prompt on a terminal.
    Add(WithPassword),
    /// Everybody who may log in, a line each.
    List(Json),
    /// Let somebody in no more; ends their sessions.
    Remove {
        /// What they log in as.
        name: String,
        /// Say what would happen, and do nothing.
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Give somebody another password; ends their sessions.
    Password(WithPassword),
}

/// A name, and where its password comes from.
#[derive(Debug, Args)]
pub struct WithPassword {
    /// What they log in as: letters, digits, '.', '_', '-' and '@'.
    pub name: String,
    /// Read the password from the first line of FILE.
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub password_file: Option<PathBuf>,
    /// Make a password and print it once, alone, on stdout.
    #[arg(long)]
    pub generate: bool,
}
