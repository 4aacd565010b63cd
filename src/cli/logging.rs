//! Log lines on stderr. The only place that installs a subscriber.

use tracing_subscriber::EnvFilter;

use super::args::{Global, LogFormat};

/// Starts logging: warnings by default, a server also says what it does.
pub(super) fn start(global: &Global, server: bool) {
    let level = match (global.quiet, global.verbose, server) {
        (true, ..) => "error",
        (_, 0, false) => "warn,progress=info",
        (_, 0, true) | (_, 1, _) => "info",
        (_, 2, _) => "debug",
        _ => "trace",
    };
    // Libraries below us only speak up when something is wrong, whatever was asked of emsync.
    let ours = if global.verbose > 0 {
        format!("warn,emsync={level},progress=info,finding=warn")
    } else {
        level.to_owned()
    };
    let filter = EnvFilter::try_from_env("EMSYNC_LOG").unwrap_or_else(|_| EnvFilter::new(ours));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start (tests run commands in one process) keeps the first.
    let _ = match global.log_format {
        LogFormat::Json => builder.json().try_init().map_err(drop),
        LogFormat::Text => {
            use std::io::IsTerminal as _;
            let colour = std::io::stderr().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
            builder
                .with_ansi(colour)
                .with_target(false)
                .try_init()
                .map_err(drop)
        }
    };
}
