//! `emsync thumbs …`: renditions made again, and what they are made by.

use std::collections::HashSet;
use std::sync::Arc;

use super::args::{Global, Json, Rebuild, Thumbs};
use super::progress::Progress;
use super::{ExitCode, Usage, output};
use crate::config::Config;
use crate::model::AssetId;
use crate::model::preset::{Encoding, Preset, PresetId, Shape};
use crate::monitor::Monitor;
use crate::node::Node;
use crate::renditions::rebuild::{ACTIVITY, Report, Selection, rebuild};
use crate::seams::Seams;
use crate::shutdown::Shutdown;

pub(super) async fn run(
    global: &Global,
    command: Thumbs,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    match command {
        Thumbs::Rebuild(args) => again(global, &args, shutdown).await,
        Thumbs::Presets(args) => presets(global, &args),
    }
}

async fn again(global: &Global, args: &Rebuild, shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    let mut config = super::config(global)?;
    let selection = selection(args, &config)?;
    threads(&mut config, args);
    let node = if args.dry_run {
        Node::open_read_only(config, Seams::os()).await?
    } else {
        Node::open(config, Seams::os()).await?
    };
    let _lock = (!args.dry_run).then(|| node.lock(ACTIVITY)).transpose()?;
    let progress = Progress::new(global);
    let monitor: Arc<dyn Monitor> = progress.clone();
    let made = rebuild(&node, ACTIVITY, &selection, args.dry_run, monitor, shutdown).await;
    progress.finish();
    let report = made?;
    let printed = if args.json {
        output::json(&report)
    } else if !global.quiet {
        output::line(&summary(&report, args.dry_run))
    } else {
        Ok(())
    };
    output::read_or_not(printed.map_err(Into::into))?;
    node.catalogue.close().await;
    Ok(if shutdown.requested() {
        ExitCode::Interrupted
    } else {
        ExitCode::Ok
    })
}

fn threads(config: &mut Config, args: &Rebuild) {
    let media = &mut config.media;
    media.thumb_threads = args.thumb_threads.map_or(media.thumb_threads, usize::from);
}

fn selection(args: &Rebuild, config: &Config) -> Result<Selection, Usage> {
    let says_which = args.missing || args.stale || args.failed || args.all;
    let pictures = made(config).into_iter().map(|preset| &preset.id);
    let known: Vec<_> = pictures.chain(config.media.presets.converting()).collect();
    let preset = |id: &String| {
        let preset = known.iter().find(|preset| preset.as_str() == id);
        preset.map(|&preset| preset.clone()).ok_or_else(|| {
            let ids: Vec<_> = known.iter().map(|preset| preset.as_str()).collect();
            Usage(format!(
                "--preset {id}: there is no such preset that is made here; there are {}",
                ids.join(", ")
            ))
        })
    };
    let asset = |id: &String| {
        AssetId::new(id.as_str()).map_err(|error| Usage(format!("--asset {id}: {error}")))
    };
    Ok(Selection {
        missing: args.missing || !says_which,
        stale: args.stale || !says_which,
        failed: args.failed,
        all: args.all,
        presets: args.preset.iter().map(preset).collect::<Result<_, _>>()?,
        assets: args.asset.iter().map(asset).collect::<Result<_, _>>()?,
        categories: args.category.clone(),
    })
}

pub(super) fn summary(report: &Report, dry_run: bool) -> String {
    let mut text = if dry_run {
        format!(
            "would make {}",
            output::counted(report.selected, "rendition")
        )
    } else {
        format!("made {}", output::counted(report.rebuilt, "rendition"))
    };
    text.push_str(&format!(
        " of {}: {} missing, {} stale, {} current",
        output::counted(report.assets, "original"),
        output::count(report.missing),
        output::count(report.stale),
        output::count(report.current),
    ));
    for (number, what) in [
        (report.copied, "copied from their author"),
        (
            report.surplus,
            "of pages that there are no more, taken away",
        ),
        (report.failed_pages, "of pages that allowed none"),
        (report.failed, "originals that allowed none"),
        (report.unrenderable, "originals that allow none"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {what}", output::count(number)));
        }
    }
    format!("{text}; {}", output::elapsed(report.elapsed_ms))
}

/// What is made here of anything, each preset once.
fn made(config: &Config) -> Vec<&Preset> {
    let mut seen = HashSet::new();
    let all = config.media.presets.all_renditions();
    all.filter(|preset| seen.insert(&preset.id)).collect()
}

/// A preset as `--json` prints it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    id: &'a PresetId,
    file: &'a str,
    width: u32,
    height: u32,
    crop: bool,
    format: &'static str,
    /// None of a format that loses nothing.
    quality: Option<u8>,
    #[serde(skip)]
    how: &'static str,
}

fn presets(global: &Global, args: &Json) -> anyhow::Result<ExitCode> {
    let config = super::config(global)?;
    let mode = config.mode();
    let printed: Vec<_> = (made(&config).into_iter())
        .map(|preset| {
            let (format, quality) = match preset.encoding {
                Encoding::WebP { quality, .. } => ("webp", Some(quality)),
                Encoding::Jpeg { quality } => ("jpeg", Some(quality)),
                Encoding::Png => ("png", None),
                Encoding::Gif => ("gif", None),
                Encoding::Other => ("other", None),
            };
            let how = match preset.shape {
                Shape::Fit => "fit",
                Shape::FitEnlarge => "fit or enlarged",
                Shape::Fill => "filled",
                Shape::Cut(_) => "cropped",
            };
            Printed {
                id: &preset.id,
                file: &preset.file_name,
                width: preset.width,
                height: preset.height,
                crop: matches!(preset.shape, Shape::Cut(_)),
                format,
                quality,
                how,
            }
        })
        .collect();
    if args.json {
        output::json(&serde_json::json!({ "mode": mode, "presets": printed }))?;
        return Ok(ExitCode::Ok);
    }
    for preset in &printed {
        let Printed {
            id,
            file,
            width,
            height,
            format,
            how,
            ..
        } = preset;
        let quality = preset.quality.map_or(String::new(), |it| format!(" {it}"));
        output::line(&format!(
            "{id:<16} {file:<26} {width}x{height} {how}, {format}{quality}"
        ))?;
    }
    output::line(&format!(
        "mode: {}",
        serde_json::to_value(mode)?.as_str().unwrap_or_default()
    ))?;
    Ok(ExitCode::Ok)
}
