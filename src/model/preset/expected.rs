//! Which files EMDB makes of an asset (media spec 1.3 and 8.1).

use super::formats::is_office_format;
use super::{Preset, PresetId, PresetTable, RenderType, Transcoder, render_type};

/// Formats of sound that serve as they are: the original stands for `audio.mp3`.
const PLAYS_AS_IT_IS: &str = "mp3";
/// Runs for every office file, whether or not it is on import.
const OFFICE_PDF: &str = "document.pdf";

/// No picture has more: what a record says beyond it is no number of pages.
pub const MOST_PAGES: u32 = 10_000;

/// Whether originals of a render type have pages, of which each may have files.
pub(super) fn has_pages(render_type: RenderType) -> bool {
    matches!(render_type, RenderType::Image | RenderType::Document)
}

/// What decides about an asset's files besides the presets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Its `fileformat`.
    pub format: Option<&'a str>,
    /// Its `pages`; 0 and 1 are the same.
    pub pages: u32,
}

/// One file to expect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The preset it is made by.
    pub preset: PresetId,
    /// Counted from 1.
    pub page: u32,
    /// Its name below `generated/<source path>/`; may be that of a folder, as streams have.
    pub file_name: String,
}

/// The files that an import in EMDB makes of an asset, in its order; no name comes twice.
///
/// Of two presets that write one name, as those of an image and a document do, only those of the asset's render type are run.
#[must_use]
pub fn expected(asset: Subject<'_>, table: &PresetTable) -> Vec<Expected> {
    let render_type = render_type(asset.format);
    let mut files = Vec::new();
    if asset.format.is_some_and(is_office_format) {
        let mut of_type = table.iter().filter(|it| it.inputs.names(render_type));
        let pdf = of_type.find(|preset| preset.transcoder == Transcoder::Ooffice);
        files.extend(pdf.map(|preset| file(preset, 1, OFFICE_PDF.to_owned())));
    }
    let sound_as_it_is = |format: &str| format.eq_ignore_ascii_case(PLAYS_AS_IT_IS);
    if render_type == RenderType::Audio && asset.format.is_some_and(sound_as_it_is) {
        return files;
    }
    let presets = table.for_import(render_type);
    for preset in &presets {
        if preset.file_name.is_empty() {
            continue;
        }
        files.push(file(preset, 1, preset.file_name.clone()));
        // Every other picture of a film is made of a frame without a moment in its name.
        let is_frame = preset.transcoder == Transcoder::FfmpegImage;
        if is_frame && preset.time_offset.is_some() && presets.iter().any(derives_from_frame) {
            files.push(file(preset, 1, preset.looked_up_as.clone()));
        }
    }
    // Pages come after the first one's files: only images have them made on import, and only where a preset is for all pages.
    let of_pages = presets.iter().filter(|preset| !preset.single_page);
    let of_pages = of_pages.filter(|_| has_pages(render_type));
    for preset in of_pages {
        let pages = (2..=asset.pages.min(MOST_PAGES)).map(|page| (page, preset.file_name_of(page)));
        files.extend(pages.map(|(page, file_name)| file(preset, page, file_name)));
    }
    let mut names = std::collections::HashSet::new();
    files.retain(|file| names.insert(file.file_name.clone()));
    files
}

fn derives_from_frame(preset: &&Preset) -> bool {
    preset.transcoder == Transcoder::ImageMagick && !preset.use_original
}

fn file(preset: &Preset, page: u32, file_name: String) -> Expected {
    Expected {
        preset: preset.id.clone(),
        page,
        file_name,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Shipped;
    use super::*;

    fn names(format: &str, pages: u32) -> Vec<String> {
        let table = PresetTable::shipped(Shipped::Webp);
        let format = Some(format).filter(|format| !format.is_empty());
        let files = expected(Subject { format, pages }, &table);
        files.into_iter().map(|file| file.file_name).collect()
    }

    const IMAGE: [&str; 5] = [
        "image3000x3000.webp",
        "image3000x3000.jpg",
        "image550x550.webp",
        "image200x200.webp",
        "image110x62cropped.webp",
    ];
    const DOCUMENT: [&str; 4] = [
        "image3000x3000.webp",
        "image550x550.webp",
        "image200x200.webp",
        "image110x62cropped.webp",
    ];

    #[test]
    fn an_image_has_five_files_whatever_its_format() {
        for format in ["jpg", "PNG", "tif", "heic", "nef", "ttf"] {
            assert_eq!(names(format, 0), IMAGE, "{format}");
            assert_eq!(names(format, 1), IMAGE, "{format}");
        }
    }

    #[test]
    fn further_pages_of_a_tiff_have_two_files_each() {
        let mut all = IMAGE.to_vec();
        all.extend([
            "image3000x3000page2.webp",
            "image3000x3000page3.webp",
            "image110x62page2cropped.webp",
            "image110x62page3cropped.webp",
        ]);
        assert_eq!(names("tif", 3), all);
    }

    #[test]
    fn a_pdf_has_the_files_of_its_first_page_only() {
        assert_eq!(names("pdf", 40), DOCUMENT);
    }

    #[test]
    fn an_office_file_has_its_pdf_as_well() {
        for format in ["docx", "odt", "XLS", "gddoc"] {
            let all = names(format, 7);
            assert_eq!(all[0], "document.pdf", "{format}");
            assert_eq!(all[1..], DOCUMENT, "{format}");
        }
        assert_eq!(names("ods", 0), DOCUMENT);
    }

    #[test]
    fn a_film_has_its_stream_both_names_of_its_frame_and_four_pictures() {
        let all = names("mp4", 0);
        assert_eq!(
            all,
            [
                "image1900x1080offset0.webp",
                "image1900x1080.webp",
                "video.m3u8",
                "image550x550.webp",
                "image200x200.webp",
                "image640x480.webp",
                "image110x62cropped.webp",
            ]
        );
        assert_eq!(names("mkv", 9), all, "a film has no pages");
    }

    #[test]
    fn sound_has_a_proxy_unless_it_is_one() {
        assert_eq!(names("wav", 0), ["audio.mp3"]);
        assert!(names("mp3", 0).is_empty() && names("MP3", 0).is_empty());
    }

    #[test]
    fn nothing_is_made_of_text_and_of_what_is_not_known() {
        for format in ["txt", "csv", "xml", "swf", "exe", "glb", ""] {
            assert!(names(format, 5).is_empty(), "{format}");
        }
    }

    #[test]
    fn the_jpeg_twins_have_the_same_pictures() {
        let table = PresetTable::shipped(Shipped::Jpg);
        let subject = |format| Subject {
            format: Some(format),
            pages: 2,
        };
        let names = |format| {
            let files = expected(subject(format), &table).into_iter();
            files.map(|file| file.file_name).collect::<Vec<_>>()
        };
        assert_eq!(
            names("jpg"),
            [
                "image3000x3000.jpg",
                "image550x550.jpg",
                "image200x200.jpg",
                "image110x62cropped.jpg"
            ]
        );
        assert!(names("mov").contains(&"image1900x1080offset0.jpg".to_owned()));
    }

    #[test]
    fn each_file_names_the_preset_and_the_page_it_is_of() {
        let table = PresetTable::shipped(Shipped::Webp);
        let subject = Subject {
            format: Some("tif"),
            pages: 2,
        };
        let files = expected(subject, &table);
        let of_page_2: Vec<_> = files.iter().filter(|file| file.page == 2).collect();
        let ids: Vec<_> = of_page_2.iter().map(|file| file.preset.as_str()).collect();
        assert_eq!(ids, ["webplargeimage", "webpimagecrop"]);
        for file in &files {
            let found = table.by_file_name(RenderType::Image, &file.file_name);
            assert_eq!(
                found.map(|it| &it.id),
                Some(&file.preset),
                "{}",
                file.file_name
            );
        }
    }
}
