//! The frame of a film, from which all its other pictures derive (media spec 7.2).
//!
//! EMDB takes it from its stream of 1080 lines and writes it as it comes: neither box nor quality of the preset count. An import
//! leaves it under two names, the one people look it up by and one with its moment (media spec 1.3).

use std::time::Duration;

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
        // They count for pictures only.
        background: None,
        rotate: None,
        extent: None,
        dpi: None,
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

impl Preset {
    /// The moment of a film that a frame preset shows. EMDB shows the start for all that is before the second second, and that one where
    /// nothing is said.
    #[must_use]
    pub fn moment(&self) -> Option<Duration> {
        if self.transcoder != Transcoder::FfmpegImage {
            return Some(Duration::ZERO);
        }
        let Some(said) = self.time_offset.as_deref() else {
            return Some(Duration::from_secs(2));
        };
        let seconds = said.parse().ok().filter(|it: &f64| *it < 1e6)?;
        let moment = Duration::try_from_secs_f64(seconds).ok()?;
        Some(if moment.as_secs() > 1 {
            moment
        } else {
            Duration::ZERO
        })
    }
}

/// What a frame preset asks for that is not done here.
pub(super) fn why_not_made_here(preset: &Preset) -> Option<&'static str> {
    let asks = [
        (
            !preset.inputs.names(RenderType::Video),
            "other originals than films",
        ),
        (
            !matches!(
                preset.encoding,
                Encoding::WebP { .. } | Encoding::Jpeg { .. }
            ),
            "a frame of another format than WebP and JPEG",
        ),
        (
            preset.frame.is_some() || preset.moment().is_none(),
            "a frame by its number, or a timeoffset that is no number of seconds",
        ),
    ];
    let asked = asks.into_iter().find(|(is_asked, _)| *is_asked);
    asked.map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::super::{PresetTable, Shipped, is_made_here};
    use super::*;

    fn shipped(set: Shipped) -> Preset {
        let table = PresetTable::shipped(set);
        let mut all = table.for_import(RenderType::Video).into_iter();
        let frame = all.find(|it| it.transcoder == Transcoder::FfmpegImage);
        frame.unwrap().clone()
    }

    #[test]
    fn a_frame_is_written_twice_where_others_derive_from_it() {
        for (set, extension) in [(Shipped::Webp, "webp"), (Shipped::Jpg, "jpg")] {
            let preset = shipped(set);
            let table = PresetTable::shipped(set);
            let both = frames(&preset, &table.for_import(RenderType::Video));
            let named: Vec<_> = both
                .iter()
                .map(|it| (it.id.as_str(), &*it.file_name))
                .collect();
            let id = preset.id.as_str();
            let (plain, dated) = (
                format!("image1900x1080.{extension}"),
                format!("image1900x1080offset0.{extension}"),
            );
            let with_moment = format!("{id}@0");
            assert_eq!(named, [(id, &*plain), (&with_moment, &*dated)]);
            let alone = frames(&preset, &[&preset]);
            assert_eq!((alone.len(), &alone[0].file_name), (1, &dated));
            assert_eq!(alone[0].id, preset.id);
        }
    }

    #[test]
    fn a_frame_is_of_a_moment_in_seconds() {
        let preset = shipped(Shipped::Webp);
        assert!(is_made_here(&preset));
        for (said, moment) in [
            (Some("0"), Some(0)),
            (Some("1.9"), Some(0)),
            (Some("2"), Some(2000)),
            (Some("12.5"), Some(12_500)),
            (None, Some(2000)),
            (Some("-3"), None),
            (Some("NaN"), None),
            (Some("1e99"), None),
            (Some("start"), None),
        ] {
            let time_offset = said.map(str::to_owned);
            let preset = Preset {
                time_offset,
                ..preset.clone()
            };
            assert_eq!(
                preset.moment(),
                moment.map(Duration::from_millis),
                "{said:?}"
            );
            assert_eq!(is_made_here(&preset), moment.is_some(), "{said:?}");
        }
        let changes: [fn(&mut Preset); 3] = [
            |it| it.frame = Some("1".to_owned()),
            |it| it.encoding = Encoding::Other,
            |it| it.inputs = super::super::Inputs::Of(vec![RenderType::Image]),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut preset = preset.clone();
            change(&mut preset);
            assert!(!is_made_here(&preset), "change {number}");
        }
    }
}
