//! `emsync service`, `emsync completions` and `emsync man`: what a system wants beside the program.

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::args::{Cli, Completions, Global, Man, Service};
use super::{ExitCode, output};

const SERVE: &str = include_str!("service/emsync.service");
const SYNC: &str = include_str!("service/emsync-sync.service");
const TIMER: &str = include_str!("service/emsync-sync.timer");

/// Where the units of a package have their node, and the program.
const PACKAGED: (&str, &str) = ("/var/lib/emsync", "/usr/bin/emsync");

/// Prints a systemd unit for the node of this configuration.
pub(super) fn unit(global: &Global, args: &Service) -> anyhow::Result<ExitCode> {
    let config = super::config(global)?;
    let text = match (args.timer, args.oneshot) {
        (true, _) => TIMER.to_owned(),
        (_, oneshot) => {
            let program = std::env::current_exe().context("where this program lies")?;
            let (dir, program) = (config.dir.display(), program.display());
            let paths = [&config.dir, &config.state, &config.media.root];
            let mut writes: Vec<String> = Vec::new();
            for path in paths {
                // What lies in a folder that may be written needs no mention.
                if !writes.iter().any(|known| path.starts_with(known)) {
                    writes.push(path.display().to_string());
                }
            }
            for path in writes
                .iter()
                .chain([&dir.to_string(), &program.to_string()])
            {
                let is_plain = !path.contains(|c: char| c.is_whitespace() || "%\"'\\".contains(c));
                anyhow::ensure!(
                    is_plain,
                    super::Usage(format!(
                        "{path}: a unit cannot name such a path; write it by hand"
                    ))
                );
            }
            let unit = if oneshot { SYNC } else { SERVE };
            let user = args.user.as_deref().unwrap_or("emsync");
            let lines = unit.lines().filter_map(|line| {
                let line = match line.split_once('=') {
                    Some(("ExecStart", command)) => {
                        let command = command.replace(PACKAGED.1, &program.to_string());
                        format!(
                            "ExecStart={}",
                            command.replace(PACKAGED.0, &dir.to_string())
                        )
                    }
                    Some(("ReadWritePaths", _)) => format!("ReadWritePaths={}", writes.join(" ")),
                    Some((key @ ("User" | "Group"), _)) => format!("{key}={user}"),
                    // The folder is there, and belongs to whom it should.
                    Some(("StateDirectory", _)) => return None,
                    Some(("ProtectHome", _))
                        if writes.iter().any(|path| path.starts_with("/home")) =>
                    {
                        return None;
                    }
                    _ => line.to_owned(),
                };
                Some(line + "\n")
            });
            lines.collect()
        }
    };
    output::exact(text.trim_end())?;
    Ok(ExitCode::Ok)
}

/// Prints completions for a shell.
pub(super) fn completions(args: &Completions) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "emsync", &mut text);
    std::io::stdout().lock().write_all(&text)?;
    Ok(ExitCode::Ok)
}

/// Prints the manual page, or writes one for each command into a folder.
pub(super) fn man(args: &Man) -> anyhow::Result<ExitCode> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        clap_mangen::generate_to(Cli::command(), dir).with_context(|| dir.display().to_string())?;
        return Ok(ExitCode::Ok);
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    std::io::stdout().lock().write_all(&text)?;
    Ok(ExitCode::Ok)
}
