//! The part of a picture that a rendition shows: drawn over the upright preview, or written as numbers; then the rendition is made
//! again and shown.

use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Path, Query, State};
use axum::response::Response;

use super::Web;
use super::error::Error;
use super::media::{address, shown_as};
use super::shell::{Shell, done, escaped, html};
use crate::catalogue::{FileRow, Session};
use crate::model::preset::{Preset, PresetId, Shape};
use crate::model::{AssetId, Crop, FileKind};
use crate::node::Node;
use crate::renditions::cropping::{self, Canvas};

/// For which preset.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Chosen {
    #[serde(default)]
    preset: String,
    said: Option<String>,
}

#[derive(Template)]
#[template(path = "crop.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    path: String,
    presets: Vec<Choice>,
    preset: String,
    /// Sides of the preset's box.
    box_size: (u32, u32),
    size: (u32, u32),
    crop: Crop,
    is_drawn: bool,
    preview: Option<String>,
    rendition: Option<(String, String)>,
}

struct Choice {
    id: String,
    said: String,
    is_drawn: bool,
}

/// The editor.
pub(super) async fn editor(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Path(id): Path<String>,
    Query(chosen): Query<Chosen>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    let asset = AssetId::new(&id).map_err(|_| Error::NotFound)?;
    let canvas = cropping::canvas(&node, &asset).await;
    let canvas = canvas.map_err(|error| Error::Refused(crate::error::chain(&error)))?;
    let files = node.catalogue.files_of(&[asset.as_str()]).await?;
    let presets = choices(&canvas);
    let preset = match presets.iter().find(|choice| choice.id == chosen.preset) {
        Some(choice) => choice.id.clone(),
        None => presets
            .first()
            .map(|first| first.id.clone())
            .unwrap_or_default(),
    };
    let drawn = canvas
        .drawn
        .iter()
        .find(|(known, _)| known.as_str() == preset);
    let whole = Crop {
        x: 0,
        y: 0,
        width: canvas.width,
        height: canvas.height,
    };
    let known = (canvas.presets.iter()).find(|known| known.id.as_str() == preset);
    let rendition = known.and_then(|known| {
        let is_its =
            |row: &&FileRow| row.file.path.name() == known.file_name && shown_as(row).is_some();
        let row = files.iter().find(is_its)?;
        Some((address(row), known.file_name.clone()))
    });
    html(&Page {
        shell: Shell::new(&web, &session, "assets").saying(chosen.said.as_deref()),
        path: escaped(&id),
        box_size: known.map_or((0, 0), |known| (known.width, known.height)),
        size: (canvas.width, canvas.height),
        crop: drawn.map_or(whole, |(_, crop)| *crop),
        is_drawn: drawn.is_some(),
        preview: preview(&canvas, &files),
        rendition,
        presets,
        preset,
    })
}

fn choices(canvas: &Canvas) -> Vec<Choice> {
    let drawn = |id: &PresetId| canvas.drawn.iter().any(|(known, _)| known == id);
    let choice = |preset: &Preset| Choice {
        id: preset.id.to_string(),
        said: format!(
            "{} ({} × {})",
            preset.file_name, preset.width, preset.height
        ),
        is_drawn: drawn(&preset.id),
    };
    canvas.presets.iter().map(choice).collect()
}

/// The largest picture that shows all of the original, upright.
fn preview(canvas: &Canvas, files: &[FileRow]) -> Option<String> {
    let shows_all = |row: &&FileRow| {
        let name = row.file.path.name();
        let mut presets = canvas.presets.iter();
        let preset = presets.find(|preset| preset.file_name == name);
        preset.is_some_and(|preset| {
            matches!(preset.shape, Shape::Fit | Shape::FitEnlarge)
                && !canvas.drawn.iter().any(|(drawn, _)| *drawn == preset.id)
        })
    };
    let sound = || {
        files
            .iter()
            .filter(|row| shown_as(row).is_some() && row.is_here())
    };
    let generated = sound()
        .filter(|row| row.file.kind == FileKind::Generated)
        .filter(shows_all)
        .max_by_key(|row| row.file.size);
    let original = || sound().find(|row| row.file.kind == FileKind::Original);
    generated.or_else(original).map(address)
}

/// What the form sends.
#[derive(serde::Deserialize)]
pub(super) struct Drawn {
    preset: String,
    deed: String,
    x: i64,
    y: i64,
    width: u32,
    height: u32,
}

/// Notes the rectangle, or takes it back, and makes the rendition.
pub(super) async fn save(
    State(web): State<Arc<Web>>,
    Path(id): Path<String>,
    Form(drawn): Form<Drawn>,
) -> Result<Response, Error> {
    let (node, _) = web.current_or_former();
    let asset = AssetId::new(&id).map_err(|_| Error::NotFound)?;
    let preset = PresetId::new(&drawn.preset);
    let crop = Crop {
        x: drawn.x,
        y: drawn.y,
        width: drawn.width,
        height: drawn.height,
    };
    let said = if drawn.deed == "clear" {
        cropping::clear(&node, &asset, &preset, false)
            .await
            .map_err(|error| Error::Refused(crate::error::chain(&error)))?;
        format!("{preset} shows the whole picture again")
    } else if drawn.width == 0 || drawn.height == 0 {
        return Err(Error::Refused(
            "a rectangle has a width and a height".to_owned(),
        ));
    } else {
        cropping::set(&node, &asset, &preset, crop, false)
            .await
            .map_err(|error| Error::Refused(crate::error::chain(&error)))?;
        format!("{preset} shows {crop}")
    };
    let made = made(web, node, asset).await?;
    let path = format!(
        "assets/{}/crop?preset={}",
        escaped(&id),
        escaped(preset.as_str())
    );
    Ok(done(&path, &format!("{said}; {made}.")))
}

/// Makes what is stale of the asset. It goes on when the browser does not wait for it.
async fn made(web: Arc<Web>, node: Node, asset: AssetId) -> Result<String, Error> {
    let task = tokio::spawn(async move {
        let stop = web.shutdown.child();
        let lock = node.turn_for_a_moment(cropping::ACTIVITY, &stop).await;
        let _lock = lock.map_err(|error| Error::Refused(crate::error::chain(&error)))?;
        let report = cropping::follow(&node, asset, &stop).await;
        report.map_err(|error| Error::Inside(crate::error::chain(&error)))
    });
    let report = task
        .await
        .map_err(|error| Error::Inside(error.to_string()))??;
    Ok(match report.rebuilt {
        0 => "nothing had to be made".to_owned(),
        made => format!("{} made", crate::text::counted(made, "rendition")),
    })
}
