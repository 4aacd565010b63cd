//! The presets a node uses.

use std::collections::{BTreeSet, HashSet};

use super::expected::has_pages;
use super::formats::{MADE_TYPES, made_as};
use super::frame::frames;
use super::name::{Requested, alias};
use super::read::{Error, Settings};
use super::{
    Lists, Preset, PresetId, RenderType, Shipped, Source, Transcoder, is_image_format,
    is_made_here, render_type, why_not_made_here,
};
use crate::model::MediaPath;

/// The names of the file that smaller ones derive from, the better one first (media spec 2.3). Those of a film derive from its frame.
const LARGE_FILES: [&str; 2] = ["image3000x3000.webp", "image3000x3000.jpg"];
/// Widest box that derives from it.
const LARGE_WIDTH: u32 = 3000;

/// The presets a node uses, in load order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresetTable {
    presets: Vec<Preset>,
    made: Vec<Made>,
    /// Formats that programs turn into pictures for this node.
    by_programs: BTreeSet<&'static str>,
}

/// What is made of originals of one render type.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    of: RenderType,
    renditions: Vec<Preset>,
    /// Those of them that every page has a file of.
    of_pages: Vec<Preset>,
    /// What writes the file that the smaller ones derive from.
    large: Option<Preset>,
}

impl PresetTable {
    /// Of these presets; decides what each is made from. Of two with one id the first counts.
    #[must_use]
    pub fn new(presets: Vec<Preset>) -> Self {
        let mut seen = HashSet::new();
        let mut presets = presets;
        presets.retain(|preset| seen.insert(preset.id.clone()));
        let made = MADE_TYPES.map(|of| Made::of(&presets, of));
        for preset in &mut presets {
            let first = made.iter().find(|made| preset.inputs.names(made.of));
            let large = first.and_then(|made| made.large.as_ref());
            preset.source = source(preset, large.map(|large| &large.id));
        }
        Self {
            presets,
            made: made.into(),
            by_programs: BTreeSet::new(),
        }
    }

    /// The same on a node where programs read these formats, so that it makes renditions of them too.
    #[must_use]
    pub fn with_programs_for(self, formats: impl IntoIterator<Item = &'static str>) -> Self {
        let formats = formats.into_iter();
        let made = formats.filter(|it| MADE_TYPES.contains(&render_type(Some(it))));
        Self {
            by_programs: made.collect(),
            ..self
        }
    }

    /// Formats of images, documents and films that programs read for this node, in lower case.
    #[must_use]
    pub fn by_programs(&self) -> &BTreeSet<&'static str> {
        &self.by_programs
    }

    /// Whether this node makes renditions of an original of this format, in whatever case.
    #[must_use]
    pub fn renders(&self, format: &str) -> bool {
        let format = format.to_ascii_lowercase();
        is_image_format(&format) || self.by_programs.contains(format.as_str())
    }

    /// The presets of one of EMDB's own sets.
    #[must_use]
    pub fn shipped(set: Shipped) -> Self {
        let lists = Lists::new(Vec::new(), Vec::new(), set);
        Self::of(&lists).expect("shipped rows are read by a test")
    }

    /// The presets of the lists.
    ///
    /// # Errors
    /// [`Error`] for the first property that cannot be used.
    pub fn of(lists: &Lists) -> Result<Self, Error> {
        let rows = lists.presets().iter().filter(|row| !row.id().is_empty());
        let presets = rows.map(|row| Preset::read(row, lists, &Settings::new()));
        Ok(Self::new(presets.collect::<Result<_, _>>()?))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Preset> {
        self.presets.iter()
    }

    /// What an import runs on a render type, in EMDB's order: by `ordering`, presets without one last.
    #[must_use]
    pub fn for_import(&self, render_type: RenderType) -> Vec<&Preset> {
        for_import(&self.presets, render_type)
    }

    /// What this node makes of an original of this format that it can read, in order; without a format as of an image. No two have
    /// one file name.
    #[must_use]
    pub fn renditions(&self, format: Option<&str>) -> &[Preset] {
        &self.made_of(format).renditions
    }

    /// What this node makes of page `page`, counted from 1, of an original of this format: of the first all, of others what is not for
    /// a single page (media spec 2.4).
    #[must_use]
    pub fn renditions_of_page(&self, format: Option<&str>, page: u32) -> Vec<Preset> {
        let made = self.made_of(format);
        match page {
            0 | 1 => made.renditions.clone(),
            _ => (made.of_pages.iter())
                .map(|preset| preset.of_page(page))
                .collect(),
        }
    }

    /// The page after the first that a file name belongs to, of whichever preset.
    #[must_use]
    pub fn page_of(&self, file_name: &str) -> Option<u32> {
        let (_, after) = file_name.split_once("page")?;
        let digits = after.len()
            - after
                .trim_start_matches(|it: char| it.is_ascii_digit())
                .len();
        let page = after[..digits].parse().ok().filter(|page| *page > 1)?;
        let mut presets = self.presets.iter();
        let is_it =
            |preset: &Preset| !preset.is_name_stated && preset.file_name_of(page) == file_name;
        presets.any(is_it).then_some(page)
    }

    /// What this node makes of any original; what is for several render types comes for each.
    pub fn all_renditions(&self) -> impl Iterator<Item = &Preset> {
        self.made.iter().flat_map(|made| &made.renditions)
    }

    /// What an import in EMDB makes of a picture by its converter and this node does not, each with what it asks for.
    pub fn left_to_others(&self) -> impl Iterator<Item = (&Preset, &'static str)> {
        let is_run = |preset: &&Preset| {
            let mut types = MADE_TYPES.into_iter();
            preset.on_import && types.any(|of| preset.inputs.names(of))
        };
        let is_picture = |preset: &&Preset| {
            let pictures = [Transcoder::ImageMagick, Transcoder::FfmpegImage];
            pictures.contains(&preset.transcoder)
        };
        let why = |preset: &Preset| {
            let is_derived =
                || (self.made.iter()).any(|made| made.lacks_large_of(&self.presets, preset));
            let derived = "a picture that another one derives from, which is not made here";
            why_not_made_here(preset).or_else(|| is_derived().then_some(derived))
        };
        let pictures = self.presets.iter().filter(is_run).filter(is_picture);
        pictures.filter_map(move |preset| Some((preset, why(preset)?)))
    }

    /// The preset of the file that the smaller ones of an original of this format derive from, if there is one.
    #[must_use]
    pub fn large(&self, format: Option<&str>) -> Option<&Preset> {
        self.made_of(format).large.as_ref()
    }

    fn made_of(&self, format: Option<&str>) -> &Made {
        let of = made_as(format);
        let made = self.made.iter().find(|made| made.of == of);
        made.expect("there is one for each of MADE_TYPES")
    }

    /// The preset of an id.
    #[must_use]
    pub fn by_id(&self, id: &PresetId) -> Option<&Preset> {
        self.presets.iter().find(|preset| preset.id == *id)
    }

    /// The preset for a render type that a file name belongs to: the file of any page or moment, also by a name of older catalogs.
    #[must_use]
    pub fn by_file_name(&self, render_type: RenderType, file_name: &str) -> Option<&Preset> {
        let called = |name: &str| {
            let mut of_type = (self.presets.iter()).filter(|it| it.inputs.names(render_type));
            of_type.find(|preset| preset.looked_up_as == name || preset.file_name == name)
        };
        let page_or_moment = || {
            let asked = Requested::parse(file_name, "")?;
            called(&asked.file_name)
        };
        // A page of a cut picture has its page in the middle of the name.
        let page_of_cut = || {
            let (before, after) = file_name.split_once("page")?;
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
            (rest.len() < after.len()).then(|| called(&format!("{before}{rest}")))?
        };
        let by_alias = || called(&alias(file_name)?);
        (called(file_name).or_else(page_or_moment))
            .or_else(page_of_cut)
            .or_else(by_alias)
    }
}

fn for_import(presets: &[Preset], render_type: RenderType) -> Vec<&Preset> {
    let is_run = |preset: &&Preset| preset.on_import && preset.inputs.names(render_type);
    let mut run: Vec<_> = presets.iter().filter(is_run).collect();
    run.sort_by_key(|preset| (preset.ordering.is_none(), preset.ordering));
    run
}

impl Made {
    fn of(presets: &[Preset], of: RenderType) -> Self {
        let run = for_import(presets, of);
        let large = large_preset(&run, of).map(|preset| &preset.id);
        let mut names = HashSet::new();
        let is_plain = |name: &str| !name.contains('/') && MediaPath::new(name).is_ok();
        let made = run.iter().filter(|preset| is_made_here(preset));
        let made = made.flat_map(|preset| match preset.transcoder {
            Transcoder::FfmpegImage => frames(preset, &run),
            _ => vec![Preset {
                source: source(preset, large),
                ..Preset::clone(preset)
            }],
        });
        // One moment of a film is decoded for all of them.
        let moment = large_preset(&run, of).and_then(Preset::moment);
        let is_frame = |preset: &Preset| preset.transcoder == Transcoder::FfmpegImage;
        let made = made.filter(|preset| !is_frame(preset) || preset.moment() == moment);
        let made = made.filter(|preset| is_plain(&preset.file_name));
        let mut renditions: Vec<_> = made
            .filter(|preset| names.insert(preset.file_name.clone()))
            .collect();
        let large = renditions.iter().find(|preset| Some(&preset.id) == large);
        let large = large.cloned();
        // Nobody here knows what one looks like that derives from a picture which is not made here.
        renditions.retain(|preset| preset.source == Source::Original || large.is_some());
        Self {
            of,
            of_pages: of_pages(&renditions, large.as_ref(), of),
            renditions,
            large,
        }
    }

    /// Whether a preset runs on originals of this type, and derives from a picture of which this node knows no way.
    fn lacks_large_of(&self, presets: &[Preset], preset: &Preset) -> bool {
        let run = for_import(presets, self.of);
        let large = large_preset(&run, self.of).map(|preset| &preset.id);
        let runs = run.iter().any(|it| it.id == preset.id);
        self.large.is_none() && runs && source(preset, large) == Source::Large
    }
}

/// Those that every page has a file of. A stated name is page 1's; without a large file of its own a page is made of the original.
fn of_pages(renditions: &[Preset], large: Option<&Preset>, of: RenderType) -> Vec<Preset> {
    if !has_pages(of) {
        return Vec::new();
    }
    let is_of_all = |preset: &&Preset| !preset.single_page && !preset.is_name_stated;
    let has_large = large.filter(is_of_all).is_some();
    let of_all = renditions.iter().filter(is_of_all).cloned();
    let sourced = of_all.map(|preset| match has_large {
        true => preset,
        false => Preset {
            source: Source::Original,
            ..preset
        },
    });
    sourced.collect()
}

/// The preset that writes the file smaller ones of a render type derive from, among those that run on it.
fn large_preset<'a>(run: &[&'a Preset], of: RenderType) -> Option<&'a Preset> {
    let mut run = run.iter().copied();
    if of == RenderType::Video {
        return run.find(|preset| preset.transcoder == Transcoder::FfmpegImage);
    }
    let called = |name: &&str| run.clone().find(|preset| preset.file_name == *name);
    LARGE_FILES.iter().find_map(called)
}

fn source(preset: &Preset, large: Option<&PresetId>) -> Source {
    let derives = preset.transcoder == Transcoder::ImageMagick
        && preset.size().is_some_and(|(width, _)| width <= LARGE_WIDTH)
        && preset.time_offset.is_none()
        && !preset.use_original;
    match large {
        Some(large) if derives && *large != preset.id => Source::Large,
        _ => Source::Original,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(table: &PresetTable, render_type: RenderType) -> Vec<&str> {
        let presets = table.for_import(render_type).into_iter();
        presets.map(|preset| preset.id.as_str()).collect()
    }

    #[test]
    fn what_is_left_to_others_is_named_with_what_it_asks_for() {
        for set in [Shipped::Webp, Shipped::Jpg] {
            assert_eq!(PresetTable::shipped(set).left_to_others().count(), 0);
        }
        let mut presets = super::super::image_presets();
        let asks = |preset: &mut Preset| preset.colour_space = Some("CMYK".to_owned());
        asks(&mut presets[2]);
        asks(&mut presets[3]);
        presets[3].on_import = false;
        let asked = "a colorspace";
        let left = |presets: &[Preset]| {
            let table = PresetTable::new(presets.to_vec());
            let left = table.left_to_others();
            left.map(|(it, why)| (it.id.to_string(), why))
                .collect::<Vec<_>>()
        };
        assert_eq!(left(&presets), [("webpmediumimage".to_owned(), asked)]);
        // Nor is what derives from one of them.
        asks(&mut presets[0]);
        presets[2].colour_space = None;
        let left = left(&presets);
        assert_eq!(left[0], ("webplargeimage".to_owned(), asked));
        let derived = left[1..]
            .iter()
            .filter(|(_, why)| why.contains("derives from"));
        assert_eq!(derived.count(), 3);
        assert!(PresetTable::new(presets).renditions(None).is_empty());
    }

    #[test]
    fn an_import_runs_what_is_on_import_for_the_type_by_ordering() {
        let table = PresetTable::shipped(Shipped::Webp);
        for (render_type, expected) in [
            (
                RenderType::Image,
                &[
                    "webplargeimage",
                    "largeimage",
                    "webpmediumimage",
                    "webpthumbimage",
                    "webpimagecrop",
                ][..],
            ),
            (
                RenderType::Document,
                &[
                    "webplargedocumentpreview",
                    "webpmediumimage",
                    "webpthumbimage",
                    "webpcropdocument",
                ],
            ),
            (
                RenderType::Video,
                &[
                    "webppreviewffmpegthumb",
                    "videohls",
                    "webpmediumimage",
                    "webpthumbimage",
                    "webpvideoimagelarge",
                    "webpvideoimagecrop",
                ],
            ),
            (RenderType::Audio, &["mp3audio"]),
            (RenderType::Text, &[]),
            (RenderType::Default, &[]),
        ] {
            assert_eq!(ids(&table, render_type), expected, "{render_type}");
        }
    }

    #[test]
    fn those_without_an_ordering_come_last_and_the_others_by_number() {
        let mut presets = super::super::image_presets();
        presets[0].ordering = None;
        presets[1].ordering = Some(100);
        presets[2].ordering = Some(9);
        presets.truncate(3);
        let table = PresetTable::new(presets);
        assert_eq!(
            ids(&table, RenderType::Image),
            ["webpmediumimage", "largeimage", "webplargeimage"]
        );
    }

    #[test]
    fn of_two_presets_with_one_id_or_one_file_the_first_counts() {
        let mut presets = super::super::image_presets();
        let mut twin = presets[3].clone();
        twin.width = 7;
        presets.push(twin.clone());
        twin.id = PresetId::new("another");
        presets.push(twin);
        let table = PresetTable::new(presets);
        assert_eq!(table.iter().count(), 6);
        assert_eq!(
            table.by_id(&PresetId::new("webpthumbimage")).unwrap().width,
            200
        );
        assert_eq!(table.renditions(None), super::super::image_presets());
    }

    #[test]
    fn files_are_found_by_type_and_by_every_name_they_have() {
        let table = PresetTable::shipped(Shipped::Webp);
        let (image, document, video) = (RenderType::Image, RenderType::Document, RenderType::Video);
        for (render_type, file_name, id) in [
            (image, "image3000x3000.webp", Some("webplargeimage")),
            (
                document,
                "image3000x3000.webp",
                Some("webplargedocumentpreview"),
            ),
            (video, "image3000x3000.webp", None),
            (image, "image110x62cropped.webp", Some("webpimagecrop")),
            (video, "image110x62cropped.webp", Some("webpvideoimagecrop")),
            (image, "image3000x3000page7.webp", Some("webplargeimage")),
            (image, "image110x62page7cropped.webp", Some("webpimagecrop")),
            (video, "image1900x1080.webp", Some("webppreviewffmpegthumb")),
            (
                video,
                "image1900x1080offset0.webp",
                Some("webppreviewffmpegthumb"),
            ),
            (
                video,
                "image1900x1080offset12.5.webp",
                Some("webppreviewffmpegthumb"),
            ),
            (image, "image550x350.webp", Some("webpmediumimage")),
            (document, "document.pdf", Some("documentpdf")),
            (image, "customthumb.jpg", None),
            (image, "page", None),
            (image, "", None),
        ] {
            let found = table.by_file_name(render_type, file_name);
            assert_eq!(
                found.map(|it| it.id.as_str()),
                id,
                "{render_type} {file_name}"
            );
        }
    }

    #[test]
    fn programs_add_pictures_documents_and_films_to_what_is_rendered() {
        let table = PresetTable::shipped(Shipped::Webp);
        assert!(table.renders("JPG") && !table.renders("heic"));
        let table = table.with_programs_for(["heic", "pdf", "mp4", "wav"]);
        assert!(table.renders("HEIC") && table.renders("jpg"));
        assert!(table.renders("Pdf") && table.renders("mp4"));
        assert!(!table.renders("wav") && !table.renders("svg"));
    }

    #[test]
    fn what_is_made_here_is_what_an_import_leaves_but_for_what_is_no_picture() {
        use super::super::{Subject, expected};
        for set in [Shipped::Webp, Shipped::Jpg] {
            let table = PresetTable::shipped(set);
            for (format, others) in [
                ("tif", &[][..]),
                ("pdf", &[]),
                ("odt", &["document.pdf"]),
                ("mp4", &["video.m3u8"]),
            ] {
                let format = Some(format);
                let made = table.renditions(format).iter();
                let mut made: Vec<_> = made.map(|it| it.file_name.as_str()).collect();
                let ids = table.renditions(format).iter().map(|it| &it.id);
                assert_eq!(ids.collect::<HashSet<_>>().len(), made.len());
                made.extend(others);
                made.sort_unstable();
                let mut left: Vec<_> = expected(Subject { format, pages: 1 }, &table)
                    .into_iter()
                    .map(|it| it.file_name)
                    .collect();
                left.sort_unstable();
                assert_eq!(made, left, "{format:?} {set:?}");
            }
        }
    }

    #[test]
    fn pages_after_the_first_have_what_is_not_for_a_single_page() {
        let table = PresetTable::shipped(Shipped::Webp);
        let of = |table: &PresetTable, format, page| {
            let made = table.renditions_of_page(Some(format), page).into_iter();
            made.map(|it| (it.file_name, it.source)).collect::<Vec<_>>()
        };
        let large = ("image3000x3000page3.webp".to_owned(), Source::Original);
        let cut = |source| ("image110x62page3cropped.webp".to_owned(), source);
        assert_eq!(of(&table, "tif", 3), [large, cut(Source::Large)]);
        assert!(of(&table, "pdf", 2).is_empty() && of(&table, "mp4", 2).is_empty());
        assert_eq!(of(&table, "tif", 1).len(), 5);
        for (name, page) in [
            ("image3000x3000page3.webp", Some(3)),
            ("image110x62page12cropped.webp", Some(12)),
            ("image3000x3000page1.webp", None),
            ("image3000x3000page03.webp", None),
            ("image3000x3000.webp", None),
            ("mypage2.webp", None),
        ] {
            assert_eq!(table.page_of(name), page, "{name}");
        }
        // Where the large file is page 1's alone, the others have nothing to derive from but the original.
        let mut presets = super::super::image_presets();
        presets[0].single_page = true;
        let alone = PresetTable::new(presets.clone());
        let mut names = of(&alone, "tif", 3);
        names.retain(|(name, _)| name.contains("cropped"));
        assert_eq!(names, [cut(Source::Original)]);
        // Nor has a page a file by a stated name.
        presets.iter_mut().for_each(|it| it.is_name_stated = true);
        assert!(of(&PresetTable::new(presets), "tif", 3).is_empty());
    }

    #[test]
    fn each_render_type_derives_from_a_large_file_of_its_own() {
        let table = PresetTable::shipped(Shipped::Webp);
        for (format, large) in [
            ("jpg", "webplargeimage"),
            ("PDF", "webplargedocumentpreview"),
            ("mov", "webppreviewffmpegthumb"),
        ] {
            let renditions = table.renditions(Some(format));
            assert_eq!(
                table.large(Some(format)).map(|it| it.id.as_str()),
                Some(large)
            );
            let of_original = renditions.iter().filter(|it| it.source == Source::Original);
            let names: Vec<_> = of_original.map(|it| it.id.as_str()).collect();
            assert_eq!(names[0], large);
            assert!(names[1..].iter().all(|name| name.starts_with(large)));
        }
        // Without a preset for the frame each is made of the film itself.
        let presets = table
            .iter()
            .filter(|it| it.transcoder != Transcoder::FfmpegImage);
        let table = PresetTable::new(presets.cloned().collect());
        let renditions = table.renditions(Some("mov"));
        assert_eq!((renditions.len(), table.large(Some("mov"))), (4, None));
        assert!(renditions.iter().all(|it| it.source == Source::Original));
    }

    #[test]
    fn a_table_without_a_large_file_makes_all_from_the_original() {
        let table = PresetTable::new(super::super::image_presets().split_off(2));
        assert!(table.iter().all(|preset| preset.source == Source::Original));
        assert_eq!(table.large(None), None);
        let jpg = PresetTable::shipped(Shipped::Jpg);
        assert_eq!(
            jpg.large(Some("gif")).map(|it| it.id.as_str()),
            Some("largeimage")
        );
    }

    #[test]
    fn what_says_so_is_made_from_the_original_beside_a_large_file() {
        let mut presets = super::super::image_presets();
        presets[2].use_original = true;
        presets[3].width = 4000;
        let table = PresetTable::new(presets);
        let sources: Vec<_> = table.iter().map(|preset| preset.source).collect();
        let (original, large) = (Source::Original, Source::Large);
        assert_eq!(sources, [original, large, original, original, large]);
    }
}
