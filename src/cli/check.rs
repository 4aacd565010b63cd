//! `emsync config check`: is the configuration sound, what does it say, and where does each setting come from?

use std::collections::HashSet;
use std::env;
use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap::parser::ValueSource;
use secrecy::zeroize::Zeroizing;
use serde_json::{Value, json};

use super::args::{Cli, Config as Asked, ConfigCheck, Global};
use super::{ExitCode, output};
use crate::config::locate::locate;
use crate::config::{Config, Error, Origin, Setting};
use crate::node::advice::{self, Advice};
use crate::peer::route;

pub(super) fn run(global: &Global, command: Asked) -> anyhow::Result<ExitCode> {
    let Asked::Check(args) = command;
    let file = match locate(global.config.as_deref()) {
        Ok(file) => file,
        Err(error) => return told(&args, None, &Outcome::wrong(vec![error])),
    };
    let outcome = look(&file, &args);
    told(&args, Some(&file), &outcome)
}

/// What was found.
struct Outcome {
    errors: Vec<Error>,
    advice: Vec<Advice>,
    settings: Vec<Setting>,
}

impl Outcome {
    fn wrong(errors: Vec<Error>) -> Self {
        Self {
            errors,
            advice: Vec::new(),
            settings: Vec::new(),
        }
    }
}

fn look(file: &Path, args: &ConfigCheck) -> Outcome {
    let text = match fs::read_to_string(file) {
        Ok(text) => Zeroizing::new(text),
        Err(source) => {
            let file = file.to_owned();
            return Outcome::wrong(vec![Error::Read { file, source }]);
        }
    };
    let known = variables();
    let set: Vec<_> = env::vars_os().map(|(name, _)| name).collect();
    let unread = |config: Option<&Config>| {
        advice::of_variables(set.iter().map(AsRef::as_ref), &known, config)
    };
    match Config::parse_whole(&text, file) {
        Err(errors) => Outcome {
            advice: unread(None),
            ..Outcome::wrong(errors)
        },
        Ok(mut config) => {
            said(&mut config, args);
            let mut advice = advice::of(&config);
            advice.extend(unread(Some(&config)));
            let mut settings = config.settings(&text);
            origins(&mut settings);
            Outcome {
                errors: Vec::new(),
                advice,
                settings,
            }
        }
    }
}

/// Puts what flags and variables say in the place of what the file says, as the commands that take them do.
fn said(config: &mut Config, args: &ConfigCheck) {
    let limits = &mut config.limits;
    limits.transfers = args.transfers.map_or(limits.transfers, usize::from);
    limits.max_delete = args.max_delete.or(limits.max_delete);
    args.network.apply(limits);
    config.serve.listen = args.listen.unwrap_or(config.serve.listen);
}

/// A setting that the command line can say as well: its key, its flag, its variable, and its name among the arguments.
const SAID: [(&str, &str, &str, &str); 6] = [
    (
        "limits.transfers",
        "--transfers",
        "EMSYNC_TRANSFERS",
        "transfers",
    ),
    (
        "limits.max_delete",
        "--max-delete",
        "EMSYNC_MAX_DELETE",
        "max_delete",
    ),
    ("limits.bwlimit", "--bwlimit", "EMSYNC_BWLIMIT", "bwlimit"),
    (
        "limits.tpslimit",
        "--tpslimit",
        "EMSYNC_TPSLIMIT",
        "tpslimit",
    ),
    (
        "limits.tpslimit_burst",
        "--tpslimit-burst",
        "EMSYNC_TPSLIMIT_BURST",
        "tpslimit_burst",
    ),
    ("serve.listen", "--listen", "EMSYNC_LISTEN", "listen"),
];

/// Names the flag or the variable where one was heard. The command line was taken once already, so it is taken the same way again.
fn origins(settings: &mut [Setting]) {
    if let Some(proxy) = settings.iter_mut().find(|one| one.key == "network.proxy")
        && proxy.origin == Origin::Default
        && let Some(variable) = route::deciding_variable()
    {
        proxy.origin = Origin::Variable(variable);
    }
    let Ok(matches) = Cli::command().try_get_matches_from(env::args_os()) else {
        return;
    };
    let check = matches.subcommand_matches("config");
    let Some(check) = check.and_then(|config| config.subcommand_matches("check")) else {
        return;
    };
    for (key, flag, variable, name) in SAID {
        let origin = match check.value_source(name) {
            Some(ValueSource::CommandLine) => Origin::Flag(flag),
            Some(ValueSource::EnvVariable) => Origin::Variable(variable),
            _ => continue,
        };
        if let Some(setting) = settings.iter_mut().find(|setting| setting.key == key) {
            setting.origin = origin;
        }
    }
}

/// Every variable that some command reads.
fn variables() -> HashSet<String> {
    // Those that are read without a flag.
    let mut all =
        HashSet::from(["EMSYNC_LOG", "EMSYNC_CRASH", "EMSYNC_CRASH_LOG"].map(str::to_owned));
    let mut left = vec![Cli::command()];
    while let Some(command) = left.pop() {
        let named = command
            .get_arguments()
            .filter_map(|argument| argument.get_env());
        all.extend(named.map(|name| name.to_string_lossy().into_owned()));
        left.extend(command.get_subcommands().cloned());
    }
    all
}

fn told(args: &ConfigCheck, file: Option<&Path>, found: &Outcome) -> anyhow::Result<ExitCode> {
    let code = if found.errors.is_empty() {
        ExitCode::Ok
    } else {
        ExitCode::Usage
    };
    let printed = if args.json {
        output::json(&as_json(args, file, found)).map_err(Into::into)
    } else {
        print(args, file, found)
    };
    output::read_or_not(printed)?;
    Ok(code)
}

fn print(args: &ConfigCheck, file: Option<&Path>, found: &Outcome) -> anyhow::Result<()> {
    if args.show {
        for setting in &found.settings {
            let Setting { key, value, origin } = setting;
            output::line(&format!("{key} = {value}  # {origin}"))?;
        }
    }
    for error in &found.errors {
        output::line(&format!("error: {}", error.report()))?;
    }
    for advice in &found.advice {
        let Advice { about, found, mend } = advice;
        output::line(&format!("warning: {about}: {found}: {mend}"))?;
    }
    let Some(file) = file else { return Ok(()) };
    let warnings = output::counted(found.advice.len() as u64, "warning");
    let verdict = match found.errors.len() {
        0 => format!("loads, {warnings}"),
        errors => format!(
            "would not load, {}",
            output::counted(errors as u64, "error")
        ),
    };
    Ok(output::line(&format!("{}: {verdict}", file.display()))?)
}

fn as_json(args: &ConfigCheck, file: Option<&Path>, found: &Outcome) -> Value {
    let error = |error: &Error| {
        let place = error.place();
        json!({
            "file": place.map(|place| &place.file),
            "line": place.and_then(|place| place.line),
            "key": error.key(),
            "message": error.report(),
        })
    };
    let setting = |setting: &Setting| {
        json!({
            "key": setting.key,
            "value": setting.value,
            "origin": match setting.origin {
                Origin::Flag(_) => "flag",
                Origin::Variable(_) => "environment",
                Origin::Line(_) => "file",
                Origin::Default => "default",
            },
            "said_by": setting.origin.to_string(),
        })
    };
    let mut printed = json!({
        "file": file,
        "loads": found.errors.is_empty(),
        "errors": found.errors.iter().map(error).collect::<Vec<_>>(),
        "warnings": found.advice,
    });
    if args.show {
        printed["settings"] = found.settings.iter().map(setting).collect();
    }
    printed
}
