//! `emsync crop …`: what part of a picture its renditions show.

use std::collections::HashMap;

use super::args::{Crop, CropClear, CropList, CropSet, Global};
use super::{ExitCode, Usage, output, thumbs};
use crate::catalogue::Cropped;
use crate::model::preset::PresetId;
use crate::model::{AssetId, Crop as Rectangle};
use crate::node::Node;
use crate::renditions::cropping;
use crate::renditions::shown::{Shown, shown};
use crate::shutdown::Shutdown;

/// Rectangles read at a time.
const PAGE: u32 = 500;

pub(super) async fn run(
    global: &Global,
    command: Crop,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let looks_only = matches!(
        &command,
        Crop::List(_)
            | Crop::Set(CropSet { dry_run: true, .. })
            | Crop::Clear(CropClear { dry_run: true, .. })
    );
    let node = if looks_only {
        super::open_to_look(global).await?
    } else {
        super::open(global).await?
    };
    let code = match command {
        Crop::Set(args) => set(global, &node, &args, shutdown).await?,
        Crop::Clear(args) => clear(global, &node, &args, shutdown).await?,
        Crop::List(args) => list(&node, &args).await?,
    };
    node.catalogue.close().await;
    Ok(code)
}

fn asset_id(text: &str) -> Result<AssetId, Usage> {
    AssetId::new(text).map_err(|error| Usage(error.to_string()))
}

async fn set(
    global: &Global,
    node: &Node,
    args: &CropSet,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let (asset, preset) = (asset_id(&args.asset)?, PresetId::new(&args.preset));
    let row = cropping::set(node, &asset, &preset, args.rectangle, args.dry_run).await?;
    if args.dry_run {
        let noted = match row.crop == args.rectangle {
            true => String::new(),
            false => format!(" (noted as {} of the stored picture)", row.crop),
        };
        let text = format!(
            "would let {preset} of {asset} show {}{noted}",
            args.rectangle
        );
        output::line(&text)?;
        return Ok(ExitCode::Ok);
    }
    follow(global, node, asset, args.no_rebuild, shutdown).await
}

async fn clear(
    global: &Global,
    node: &Node,
    args: &CropClear,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    let (asset, preset) = (asset_id(&args.asset)?, PresetId::new(&args.preset));
    cropping::clear(node, &asset, &preset, args.dry_run).await?;
    if args.dry_run {
        let text = format!("would let {preset} of {asset} show the whole picture");
        output::line(&text)?;
        return Ok(ExitCode::Ok);
    }
    follow(global, node, asset, args.no_rebuild, shutdown).await
}

/// Makes what is stale of the asset now.
async fn follow(
    global: &Global,
    node: &Node,
    asset: AssetId,
    no_rebuild: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<ExitCode> {
    if no_rebuild {
        return Ok(ExitCode::Ok);
    }
    let _lock = node.turn_for_a_moment(cropping::ACTIVITY, shutdown).await?;
    let report = cropping::follow(node, asset, shutdown).await?;
    if !global.quiet {
        output::line(&thumbs::summary(&report, false))?;
    }
    Ok(ExitCode::Ok)
}

/// A crop as `--json` prints it.
#[derive(serde::Serialize)]
struct Printed<'a> {
    id: &'a str,
    asset: &'a AssetId,
    preset: &'a PresetId,
    x: i64,
    y: i64,
    width: u32,
    height: u32,
    state: Shown,
}

async fn list(node: &Node, args: &CropList) -> anyhow::Result<ExitCode> {
    if let Some(asset) = &args.asset {
        let asset = asset_id(asset)?;
        let found = node.catalogue.crops_of(&[asset.as_str()]).await?;
        print(node, &found, args.json).await?;
        return Ok(ExitCode::Ok);
    }
    let mut after = String::new();
    loop {
        let (page, last) = node.catalogue.crops_after(&after, PAGE).await?;
        print(node, &page, args.json).await?;
        match last {
            Some(last) => after = last,
            None => return Ok(ExitCode::Ok),
        }
    }
}

async fn print(node: &Node, page: &[Cropped], json: bool) -> anyhow::Result<()> {
    let states: HashMap<String, Shown> = shown(node, page).await?;
    for cropped in page {
        let row = &cropped.row;
        let Rectangle {
            x,
            y,
            width,
            height,
        } = row.crop;
        let id = cropped.record.key.id.as_str();
        let state = states.get(id).copied().unwrap_or(Shown::NoPicture);
        if json {
            output::json(&Printed {
                id,
                asset: &row.asset,
                preset: &row.preset,
                x,
                y,
                width,
                height,
                state,
            })?;
        } else {
            let text = format!(
                "{} {} {}: {}",
                row.asset,
                row.preset,
                row.crop,
                state.said()
            );
            output::line(&text)?;
        }
    }
    Ok(())
}
