//! Commands about what the node does by itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// See [`Command::Event`](super::Command::Event).
#[derive(Debug, Subcommand)]
pub enum Event {
    /// All events: when each runs, runs next, and how it ended last.
    List(super::Json),
    /// Run an event now and show what it says. Exit as the command of its action does.
    Run {
        /// Its name.
        name: String,
        /// Print the run as JSON when it has ended, and nothing before.
        #[arg(long)]
        json: bool,
    },
    /// The last runs, newest first.
    History {
        /// Of this event only.
        name: Option<String>,
        /// So many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What a run said.
    Log {
        /// Its number, as the history has it.
        run: i64,
    },
    /// Add an event to the configuration.
    #[command(after_help = ADD)]
    Add(Box<EventAdd>),
    /// Let an event run by itself.
    Enable {
        /// Its name.
        name: String,
    },
    /// Let an event run by hand only.
    Disable {
        /// Its name.
        name: String,
    },
    /// Take an event out of the configuration. Its history stays.
    Remove {
        /// Its name.
        name: String,
    },
}

const ADD: &str = "\
Examples:
  emsync event add changes --action pull --every 15m
  emsync event add nightly --action sync --peer master --cron \"30 2 * * *\" --jitter 10m
  emsync event add seed --action pull --every 1h --window 22:00-06:00      only at night; a run ends with it
  emsync event add proof --action verify --peer master --cron \"0 7 * * Mon\"
  emsync event add photos --action import --dir /srv/photos --every 1h
  emsync event add scans --action import --dir /srv/scans --prefix scans --cron \"15 3 * * *\" --no-thumbs
  emsync event run nightly

A running `emsync serve` takes a changed configuration when it gets SIGHUP.";

/// See [`Event::Add`].
#[derive(Debug, Args)]
pub struct EventAdd {
    /// What to call it.
    pub name: String,
    /// What it does: sync, pull, push, verify, thumbs, scrub, import or empty-trash.
    #[arg(long)]
    pub action: String,
    /// With which peer [default: every enabled one].
    #[arg(long)]
    pub peer: Option<String>,
    /// Its period, such as 15m; the first run is at once, or at --start.
    #[arg(
        long,
        value_name = "SPAN",
        required_unless_present = "cron",
        conflicts_with = "cron"
    )]
    pub every: Option<String>,
    /// Minute, hour, day, month and weekday, or @daily and the like; local time.
    #[arg(long, value_name = "PATTERN")]
    pub cron: Option<String>,
    /// Local date and time before which it does not run.
    #[arg(long, value_name = "DATE")]
    pub start: Option<String>,
    /// The part of the day in which it may begin, and ends at the latest.
    #[arg(long, value_name = "HH:MM-HH:MM")]
    pub window: Option<String>,
    /// Begin up to so much later.
    #[arg(long, value_name = "SPAN")]
    pub jitter: Option<String>,
    /// Do not make up for what was missed while the node was down.
    #[arg(long)]
    pub no_make_up: bool,
    /// End a run after so many media bytes.
    #[arg(long, value_name = "SIZE")]
    pub max_transfer: Option<String>,
    /// End a run after so long.
    #[arg(long, value_name = "SPAN")]
    pub max_duration: Option<String>,
    /// The folder that --action import takes in.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Put its paths under PREFIX.
    #[arg(long, value_name = "PREFIX", requires = "dir")]
    pub prefix: Option<String>,
    /// Make no thumbnails of it.
    #[arg(long, requires = "dir")]
    pub no_thumbs: bool,
    /// Run by hand only, for now.
    #[arg(long)]
    pub disabled: bool,
}
