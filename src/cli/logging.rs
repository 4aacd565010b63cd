//! Log lines, on stderr or in a file. The only place that installs a subscriber.

use std::path::Path;

use tracing::Level;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};

use super::args::{Global, LogFormat};

/// Log files that are kept, one a day.
const KEPT: usize = 14;

/// Starts logging: warnings by default, a server also says what it does.
///
/// # Errors
/// When there can be no log file where one is wanted.
pub(super) fn start(global: &Global, server: bool) -> anyhow::Result<()> {
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
    let file = global.log_file.as_deref().map(file).transpose();
    let (writer, is_terminal, problem) = match file {
        // Why a command failed is said to whoever gave it, too.
        Ok(Some(file)) => {
            let both = file.and(std::io::stderr.with_max_level(Level::ERROR));
            (BoxMakeWriter::new(both), false, None)
        }
        other => {
            use std::io::IsTerminal as _;
            let terminal = std::io::stderr().is_terminal();
            (BoxMakeWriter::new(std::io::stderr), terminal, other.err())
        }
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    // A second start (tests run commands in one process) keeps the first.
    let _ = match global.log_format {
        LogFormat::Json => builder.json().try_init().map_err(drop),
        LogFormat::Text => {
            let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            builder
                .with_ansi(is_terminal && !is_plain)
                .with_target(false)
                .try_init()
                .map_err(drop)
        }
    };
    problem.map_or(Ok(()), Err)
}

/// A log file for each day.
fn file(path: &Path) -> anyhow::Result<RollingFileAppender> {
    let wrong = || super::Usage(format!("--log-file {}: it names no file", path.display()));
    let name = path.file_name().and_then(|name| name.to_str());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name.ok_or_else(wrong)?)
        .max_log_files(KEPT)
        .build(dir.unwrap_or(Path::new(".")));
    Ok(
        appender
            .map_err(|error| super::Usage(format!("--log-file {}: {error}", path.display())))?,
    )
}
