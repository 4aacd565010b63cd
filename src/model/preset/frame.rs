//! The frame of a film, from which all its other pictures derive (media spec 7.2).
//!
//! EMDB takes it from its stream of 1080 lines and writes it as it comes: neither box nor quality of the preset count. An import
//! leaves it under two names, the one people look it up by and one with its moment (media spec 1.3).

use super::{Encoding, Preset, PresetId, RenderType, Shape, Source, Transcoder, WEBP_METHOD};

/// Side of the box it is held to here, as every large picture is: wider than any frame of 1080 lines that is no panorama.
const BOX: u32 = 3000;
/// What the encoders of EMDB's converter of films take when nothing is said.
const QUALITY: u8 = 75;

/// What the frame preset of an import leaves, among all that `run` on films: first the file that the others derive from.
pub(super) fn frames(preset: &Preset, run: &[&Preset]) -> Vec<Preset> {
    let encoding = match preset.encoding {
        Encoding::Jpeg { .. } => Encoding::Jpeg { quality: QUALITY },
        _ => Encoding::WebP {
            quality: QUALITY,
            method: WEBP_METHOD,
        },
    };
    let frame = Preset {
        width: BOX,
        height: BOX,
        shape: Shape::Fit,
        encoding,
        source: Source::Original,
        flatten: true,
        ..preset.clone()
    };
    let derives = |it: &&Preset| it.transcoder == Transcoder::ImageMagick && !it.use_original;
    if !run.iter().any(derives) {
        return vec![frame];
    }
    let plain = Preset {
        file_name: preset.looked_up_as.clone(),
        ..frame.clone()
    };
    // No row of EMDB's has such an id, and no two renditions have one.
    let moment = preset.time_offset.as_deref().unwrap_or("0");
    let dated = Preset {
        id: PresetId::new(format!("{}@{moment}", preset.id)),
        ..frame
    };
    vec![plain, dated]
}

/// What a frame preset asks for that is not done here.
pub(super) fn why_not_made_here(preset: &Preset) -> Option<&'static str> {
    let moment = preset.time_offset.as_deref().map(str::parse::<f64>);
    let asks = [
        (
            !preset.inputs.names(RenderType::Video),
            "other originals than films",
        ),
        (
            preset.encoding == Encoding::Other,
            "another format than WebP and JPEG",
        ),
        (
            // Where none is said EMDB takes the one after two seconds.
            preset.frame.is_some() || moment != Some(Ok(0.0)),
            "another moment of a film than its start (timeoffset or frame)",
        ),
    ];
    let asked = asks.into_iter().find(|(is_asked, _)| *is_asked);
    asked.map(|(_, what)| what)
}
