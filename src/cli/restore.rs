//! `emsync restore`: records and originals as they were at a moment.

use jiff::tz::TimeZone;

use super::args::{Global, RestoreTo};
use super::{ExitCode, Usage, output};
use crate::model::{AssetId, Module};
use crate::restore::{self, Options, Report, Told, Which};
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    args: &RestoreTo,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let node = match args.dry_run {
        true => super::open_to_look(global).await?,
        false => super::open(global).await?,
    };
    let now = node.seams.clock.now();
    let to = restore::moment(&args.to, now, &TimeZone::system());
    let to = to.map_err(|error| Usage(format!("--to: {error}")))?;
    let which = match (&args.asset, &args.category, &args.table) {
        (Some(id), ..) => Which::Asset(
            AssetId::new(id.as_str()).map_err(|error| Usage(format!("{id}: {error}")))?,
        ),
        (None, Some(category), _) => Which::Category(category.clone()),
        (None, None, Some(table)) => Which::Table(self::table(table)?),
        (None, None, None) => Which::All,
    };
    let options = Options {
        which,
        to,
        delete_newer: args.delete_newer,
        max_delete: args.max_delete,
        dry_run: args.dry_run,
    };
    let mut broken = None;
    let mut tell = |told: &Told| {
        if broken.is_none() {
            broken = say(told, args).err();
        }
    };
    let report = restore::restore(&node, &options, &mut tell, shutdown).await?;
    let printed = match broken {
        Some(broken) => Err(broken.into()),
        None if args.json => output::json(&report).map_err(Into::into),
        None => {
            let cut = match shutdown.requested() {
                true => "; interrupted: the same restore, asked for again, goes on",
                false => "",
            };
            let text = summary(&report, args, &to.to_string());
            output::line(&format!("{text}{cut}")).map_err(Into::into)
        }
    };
    output::read_or_not(printed)?;
    node.catalogue.close().await;
    Ok(if shutdown.requested() {
        ExitCode::Interrupted
    } else if report.held > 0 {
        ExitCode::Guard
    } else if report.failed > 0 {
        ExitCode::Partial
    } else {
        ExitCode::Ok
    })
}

/// A table whose records go back by themselves.
fn table(name: &str) -> Result<Module, Usage> {
    let table = Module::new(name).map_err(|error| Usage(format!("--table {name}: {error}")))?;
    match table.is_asset() {
        true => Err(Usage(
            "assets go back with their originals: say --all, --category or an id".to_owned(),
        )),
        false => Ok(table),
    }
}

fn say(told: &Told, args: &RestoreTo) -> Result<(), output::Error> {
    if args.json {
        return output::json(told);
    }
    let path = match (&told.asset, &told.path) {
        (None, _) => String::new(),
        (Some(_), path) => format!("  {}", path.as_deref().unwrap_or("of no known path")),
    };
    let name = told.asset.as_ref().unwrap_or(&told.record);
    let what = match &told.error {
        Some(error) => format!("NOT restored: {error}"),
        None => told.does.join("; "),
    };
    output::line(&format!("{name}{path}: {what}"))
}

fn summary(report: &Report, args: &RestoreTo, to: &str) -> String {
    let would = if args.dry_run { "would be " } else { "" };
    let mut text = format!(
        "{} {would}as of {to}, {} with it",
        output::counted(report.restored, "asset"),
        output::counted(report.originals, "original"),
    );
    if report.records > 0 {
        let records = output::counted(report.records, "record");
        text.push_str(&format!(", {records} of other tables"));
    }
    for (number, what) in [
        (report.undeleted, "deleted no more"),
        (report.deleted, "newer and deleted"),
        (report.newer, "newer and left"),
        (report.held, "held by the guard"),
        (report.failed, "not restored"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {what}", output::count(number)));
        }
    }
    if report.held > 0 {
        text.push_str(&format!(
            "; look at them, then let them through with --max-delete {}",
            report.held
        ));
    }
    text
}
