//! `emsync import --watch`: prints a line for each thing it did, until a signal ends it.

use std::io;

use serde_json::json;

use crate::cli::args::{Global, Import};
use crate::cli::progress::Progress;
use crate::cli::{ExitCode, output};
use crate::import::watch::{Told, Watching, watch};
use crate::import::{Folder, summary};
use crate::node::Node;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    node: &Node,
    global: &Global,
    (args, folder): (&Import, Folder),
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let watching = Watching {
        folder,
        settle: args.settle,
        rescan: args.rescan,
        max_delete: args.max_delete,
    };
    let mut tell = |told: Told<'_>| {
        let printed = if args.json {
            output::json(&as_json(&told))
        } else if global.quiet {
            Ok(())
        } else {
            output::line(&line(&told, &watching))
        };
        printed.map_err(io::Error::other)
    };
    let progress = Progress::new(global);
    let watched = watch(node, &watching, progress.clone(), &mut tell, shutdown).await;
    progress.finish();
    node.catalogue.close().await;
    watched?;
    Ok(ExitCode::Ok)
}

fn line(told: &Told<'_>, watching: &Watching) -> String {
    match told {
        Told::Watching { directories } => {
            let dir = watching.folder.dir.display();
            let rescan = crate::config::units::show_duration(watching.rescan);
            match directories {
                Some(count) => {
                    let count = output::counted(*count as u64, "folder");
                    format!("watching {dir}: {count}, and all of it every {rescan}")
                }
                None => format!("watching {dir}: all of it every {rescan}"),
            }
        }
        Told::Imported { report, .. } => summary(report, false),
        Told::Trouble { text } => format!("trouble: {text}"),
    }
}

fn as_json(told: &Told<'_>) -> serde_json::Value {
    match told {
        Told::Watching { directories } => json!({ "what": "watching", "directories": directories }),
        Told::Imported { whole, report } => {
            json!({ "what": "imported", "whole": whole, "report": report })
        }
        Told::Trouble { text } => json!({ "what": "trouble", "text": text }),
    }
}
