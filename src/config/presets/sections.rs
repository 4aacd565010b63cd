//! `[[preset]]` sections: what a person says of one preset, in EMDB's properties.
//!
//! A key that is not given leaves the property as the lists have it; an empty text takes it away.

use std::collections::HashMap;

use crate::config::error::{Error, Problem};
use crate::config::file;
use crate::config::read::At;
use crate::model::MediaPath;
use crate::model::preset::{
    Gravity, Lists, Preset, PresetId, PresetTable, RenderType, Row, Settings,
};

/// Longest side of a box.
const MOST_PIXELS: u32 = 65_535;

/// All sections, checked one by one.
pub(super) struct Sections<'w>(Vec<Section<'w>>);

struct Section<'w> {
    id: &'w At<String>,
    written: &'w file::Preset,
    settings: Settings,
}

impl<'w> Sections<'w> {
    pub(super) fn check(written: &'w [file::Preset]) -> Result<Self, Error> {
        let mut lines = HashMap::new();
        let mut sections = Vec::with_capacity(written.len());
        for one in written {
            let Some(id) = &one.id else {
                return Err(Error::Missing {
                    place: one.place.clone(),
                    key: "preset.id".to_owned(),
                    mend: "write the id of a preset to change, or of a new one",
                });
            };
            if id.check(|text| plain(text))?.is_empty() {
                return Err(id.wrong(Problem::Empty));
            }
            let line = one.place.line.unwrap_or_default();
            if let Some(line) = lines.insert(id.value.as_str(), line) {
                return Err(id.wrong(Problem::PresetTwice {
                    id: id.value.clone(),
                    line,
                }));
            }
            sections.push(Section {
                id,
                written: one,
                settings: settings(one)?,
            });
        }
        Ok(Self(sections))
    }

    /// The presets of the lists with what the sections say, then those that are new.
    pub(super) fn over(&self, lists: &Lists) -> Result<Vec<Preset>, Error> {
        let nothing = Settings::new();
        let mut of_id: HashMap<&str, &Section<'_>> = HashMap::new();
        of_id.extend(
            self.0
                .iter()
                .map(|section| (section.id.value.as_str(), section)),
        );
        let mut presets = Vec::new();
        for row in lists.presets().iter().filter(|row| !row.id().is_empty()) {
            let section = of_id.remove(row.id());
            let settings = section.map_or(&nothing, |section| &section.settings);
            presets.push(Preset::read(row, lists, settings)?);
        }
        for section in self
            .0
            .iter()
            .filter(|it| of_id.contains_key(it.id.value.as_str()))
        {
            section.is_whole()?;
            let mut row = Row::default();
            let mut say = |name: &str, value: &str| {
                row.properties.insert(name.to_owned(), value.to_owned());
            };
            say("id", &section.id.value);
            say("transcoderid", "imagemagick");
            presets.push(Preset::read(&row, lists, &section.settings)?);
        }
        Ok(presets)
    }

    /// No section may make an import write a file that another preset writes.
    pub(super) fn judge(&self, table: &PresetTable) -> Result<(), Error> {
        for section in &self.0 {
            let id = PresetId::new(section.id.value.as_str());
            let Some(preset) = table.by_id(&id).filter(|it| it.on_import) else {
                continue;
            };
            for render_type in RenderType::ALL {
                let imports = table.for_import(render_type);
                if !imports.contains(&preset) {
                    continue;
                }
                let is_twin = |it: &&&Preset| it.id != id && it.file_name == preset.file_name;
                if let Some(twin) = imports.iter().find(is_twin) {
                    let at = section.written.file_name.as_ref().unwrap_or(section.id);
                    return Err(at.wrong(Problem::SameFile {
                        file_name: preset.file_name.clone(),
                        other: twin.id.to_string(),
                    }));
                }
            }
        }
        Ok(())
    }
}

impl Section<'_> {
    /// Whether it says enough for a preset that nothing else is known of.
    fn is_whole(&self) -> Result<(), Error> {
        let written = self.written;
        let names_its_file = written.extension.is_some() || written.file_name.is_some();
        if !written.inputs.is_empty() && written.size.is_some() && names_its_file {
            return Ok(());
        }
        Err(self.id.wrong(Problem::NewPreset(self.id.value.clone())))
    }
}

/// The section as EMDB's properties, each value checked.
fn settings(written: &file::Preset) -> Result<Settings, Error> {
    let mut settings = Settings::new();
    let mut say = |name: &str, value: String| {
        let said = Some(value).filter(|value| !value.is_empty());
        settings.insert(name.to_owned(), said);
    };
    if !written.inputs.is_empty() {
        for at in &written.inputs {
            at.check(|word| input(word))?;
        }
        let words: Vec<_> = written.inputs.iter().map(|at| at.value.as_str()).collect();
        say("inputtype", words.join("|"));
    }
    if let Some(at) = &written.file_name {
        say("outputfile", at.check(|name| file_name(name))?);
    }
    for (at, name) in [
        (&written.transcoder, "transcoderid"),
        (&written.background, "background"),
        (&written.sampling, "sampling-factor"),
        (&written.time_offset, "timeoffset"),
        (&written.colour_space, "colorspace"),
    ] {
        if let Some(at) = at {
            say(name, at.check(|text| plain(text))?);
        }
    }
    if let Some(at) = &written.extension {
        say("outputextension", at.check(|text| extension(text))?);
    }
    for (at, width, height) in [
        (&written.size, "prefwidth", "prefheight"),
        (&written.crop_size, "cropwidth", "cropheight"),
        (&written.extent, "extentwidth", "extentheight"),
    ] {
        if let Some(at) = at {
            let sides = at.check(|text| sides(text))?;
            let (one, other) = sides
                .map(|(w, h)| (w.to_string(), h.to_string()))
                .unwrap_or_default();
            say(width, one);
            say(height, other);
            if width == "extentwidth" {
                say("extent", sides.is_some().to_string());
            }
        }
    }
    if let Some(at) = &written.shape {
        let (minsize, scaleup, crop) = at.check(|text| shape(text))?;
        for (name, is_so) in [("minsize", minsize), ("scaleup", scaleup), ("crop", crop)] {
            say(name, is_so.to_string());
        }
    }
    if let Some(at) = &written.gravity {
        say("gravity", at.check(|text| gravity(text))?);
    }
    for (at, name, least, most) in [
        (&written.x, "x1", -1_000_000, 1_000_000),
        (&written.y, "y1", -1_000_000, 1_000_000),
        (&written.rotate, "rotate", -360, 360),
        (&written.quality, "quality", 1, 100),
        (&written.webp_method, "webp_method", 0, 6),
        (&written.dpi, "dpi", 1, 10_000),
        (&written.ordering, "ordering", 0, 1_000_000),
    ] {
        if let Some(at) = at {
            say(
                name,
                at.check(|number| within(*number, least, most))?.to_string(),
            );
        }
    }
    for (at, name) in [
        (&written.crop_last, "croplast"),
        (&written.watermark, "watermark"),
        (&written.on_import, "onimport"),
        (&written.display, "display"),
        (&written.single_page, "singlepage"),
        (&written.use_original, "useoriginalasinput"),
    ] {
        if let Some(at) = at {
            say(name, at.value.to_string());
        }
    }
    if let Some(at) = &written.flatten {
        let layers = if at.value { "flatten" } else { "" };
        say("layers", layers.to_owned());
    }
    Ok(settings)
}

fn within(number: i64, least: i64, most: i64) -> Result<i64, Problem> {
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(Problem::Range {
        value: number.to_string(),
        least: least.to_string(),
        most: most.to_string(),
    })
}

fn choice(value: &str, allowed: &'static str) -> Problem {
    Problem::Choice {
        value: value.to_owned(),
        allowed,
    }
}

fn input(word: &str) -> Result<(), Problem> {
    if word == "all" || RenderType::from_word(word).is_some() {
        return Ok(());
    }
    let allowed = "image, document, video, audio, text, xml, embedded, misc, default, none and all";
    Err(choice(word, allowed))
}

fn plain(text: &str) -> Result<String, Problem> {
    if text.chars().any(char::is_control) {
        return Err(Problem::Control);
    }
    Ok(text.trim().to_owned())
}

/// Empty: the name follows from the box again.
fn file_name(name: &str) -> Result<String, Problem> {
    let is_plain = !name.contains('/') && MediaPath::new(name).is_ok();
    if name.is_empty() || is_plain {
        return Ok(name.to_owned());
    }
    Err(Problem::PresetFile(name.to_owned()))
}

fn extension(text: &str) -> Result<String, Problem> {
    let is_plain =
        (1..=10).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_alphanumeric());
    if is_plain {
        return Ok(text.to_ascii_lowercase());
    }
    Err(Problem::Extension(text.to_owned()))
}

/// `550x350`; `None` for an empty text.
fn sides(text: &str) -> Result<Option<(u32, u32)>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let side = |text: &str| {
        let side = text.trim().parse().ok();
        side.filter(|side| (1..=MOST_PIXELS).contains(side))
    };
    let sides = text.split_once(['x', '×']);
    let sides = sides.and_then(|(width, height)| side(width).zip(side(height)));
    sides
        .map(Some)
        .ok_or_else(|| Problem::Sides(text.to_owned()))
}

/// `minsize`, `scaleup` and `crop`.
fn shape(text: &str) -> Result<(bool, bool, bool), Problem> {
    match text {
        "fit" => Ok((false, false, false)),
        "enlarge" => Ok((false, true, false)),
        "fill" => Ok((true, false, false)),
        "crop" => Ok((false, false, true)),
        other => Err(choice(other, "fit, enlarge, fill and crop")),
    }
}

fn gravity(text: &str) -> Result<String, Problem> {
    if text.is_empty() || Gravity::from_word(text).is_some() {
        return Ok(text.to_owned());
    }
    let allowed = "NorthWest, North, NorthEast, West, Center, East, SouthWest, South and SouthEast";
    Err(choice(text, allowed))
}
