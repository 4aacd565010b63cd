//! Commands about renditions and the rectangles they show.

use clap::{Args, Subcommand};

use crate::model::Crop as Rectangle;

/// See [`Command::Thumbs`](super::Command::Thumbs).
#[derive(Debug, Subcommand)]
pub enum Thumbs {
    /// Make renditions again where something they depend on changed.
    #[command(after_help = REBUILD)]
    Rebuild(Rebuild),
    /// The presets that renditions are made by here.
    Presets(super::Json),
}

const REBUILD: &str = "\
Examples:
  emsync thumbs rebuild                          what is missing or stale
  emsync thumbs rebuild --stale -n               how many would be made
  emsync thumbs rebuild --failed                 another try for originals that allowed none
  emsync thumbs rebuild --all --category 2024    everything in a category, by its path or its id
  emsync thumbs rebuild --all --preset webpthumbimage

A rendition is stale when its original, its preset, its crop or the way renditions are made is another than when it was made.
What is copied from its author stays that one's. Cut short, it goes on where it was when it is asked for again.";

/// See [`Thumbs::Rebuild`].
#[derive(Debug, Args)]
pub struct Rebuild {
    /// Those that are not here [default: --missing --stale].
    #[arg(long)]
    pub missing: bool,
    /// Those made of something else than they would be made of now.
    #[arg(long)]
    pub stale: bool,
    /// Those of originals that were found to allow none.
    #[arg(long)]
    pub failed: bool,
    /// All that this node makes.
    #[arg(long, conflicts_with_all = ["missing", "stale", "failed"])]
    pub all: bool,
    /// Only of this preset; may be given several times.
    #[arg(long, value_name = "ID")]
    pub preset: Vec<String>,
    /// Only of this asset; may be given several times.
    #[arg(long, value_name = "ID")]
    pub asset: Vec<String>,
    /// Only of assets in this category, by its id or its path; may be given several times.
    #[arg(long, value_name = "ID|PATH")]
    pub category: Vec<String>,
    /// Threads that make them [default: media.thumb_threads, one for each core].
    #[arg(long, value_name = "N", env = "EMSYNC_THUMB_THREADS", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub thumb_threads: Option<u16>,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Print one JSON object on stdout.
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Crop`](super::Command::Crop).
#[derive(Debug, Subcommand)]
pub enum Crop {
    /// Let a preset of an asset show a part of the picture, and make its rendition.
    #[command(after_help = SET)]
    Set(CropSet),
    /// Let it show the whole picture again.
    Clear(CropClear),
    /// All crops: asset, preset, rectangle, whether the rendition shows it.
    List(CropList),
}

const SET: &str = "\
Examples:
  emsync crop set 4kq3nzv7c2a5dm6t7hbe webpthumbimage 800x800+120+40
  emsync crop set 4kq3nzv7c2a5dm6t7hbe webplargeimage 3000x2000+0+250    and all that derive from it

The rectangle is WIDTHxHEIGHT+X+Y in pixels of the original as it is shown; where media.mode is \"faithful\", as it is stored. Its
sides should be in the ratio of the preset's box: the rectangle is scaled until it covers the box.";

/// See [`Crop::Set`].
#[derive(Debug, Args)]
pub struct CropSet {
    /// The asset's id.
    pub asset: String,
    /// The preset's id; see `emsync thumbs presets`.
    pub preset: String,
    /// What it shows.
    #[arg(value_name = "WxH+X+Y")]
    pub rectangle: Rectangle,
    /// Leave the rendition as it is; `emsync thumbs rebuild` makes it later.
    #[arg(long)]
    pub no_rebuild: bool,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// See [`Crop::Clear`].
#[derive(Debug, Args)]
pub struct CropClear {
    /// The asset's id.
    pub asset: String,
    /// The preset's id.
    pub preset: String,
    /// Leave the rendition as it is; `emsync thumbs rebuild` makes it later.
    #[arg(long)]
    pub no_rebuild: bool,
    /// Say what would happen, and do nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// See [`Crop::List`].
#[derive(Debug, Args)]
pub struct CropList {
    /// Only of this asset.
    #[arg(long, value_name = "ID")]
    pub asset: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub json: bool,
}
