//! From a file format to its render type, as far as EMDB ships the mapping (media spec 1.3).

use super::RenderType;

/// File formats this node decodes itself, as EMDB spells them in `fileformat`. Anything else is copied from its author.
pub const IMAGE_FORMATS: &[&str] = &[
    "jpg", "jpeg", "jpe", "png", "gif", "webp", "tif", "tiff", "bmp", "ico", "tga", "pnm", "ppm",
    "pgm", "pbm", "pam",
];

/// Raw photographs, which look like a TIFF and are more than that.
const RAW: &[&str] = &["crw", "cr2", "dng", "nef", "pef", "rw2", "raw", "arw"];

/// Whether the format is one of raw photographs.
#[must_use]
pub fn is_raw_format(format: &str) -> bool {
    RAW.contains(&format.to_ascii_lowercase().as_str())
}

/// Formats that EMDB has as images beside those of [`IMAGE_FORMATS`].
const OTHER_IMAGES: &[&str] = &[
    "psd", "svg", "heic", "heif", "avif", "jp2", "ai", "eps", "indd", "ttf", "ytube", "crw", "cr2",
    "dng", "nef", "pef", "rw2", "raw", "arw",
];

const DOCUMENTS: &[&str] = &["pdf", "ods"];

/// Office formats, which are turned into `document.pdf` first. `ods` is not among them (media spec 1.3).
const OFFICE: &[&str] = &[
    "doc", "docx", "rtf", "ppt", "pptx", "wps", "odt", "xls", "xlsx", "odp", "gddoc", "gdsheet",
    "gdslide", "gddraw",
];

const VIDEOS: &[&str] = &[
    "asf", "avi", "dv", "flv", "mov", "moov", "ts", "mts", "m2ts", "m2t", "3gp", "mxf", "m3u8",
    "mp4", "m4v", "mpg", "mpeg", "mkv", "rm", "webm", "wmv",
];

const AUDIO: &[&str] = &["mp3", "flac", "aiff", "ogg", "wav", "wma", "m4a", "aac"];
const TEXTS: &[&str] = &["txt", "csv", "css", "vtt"];
const XML: &[&str] = &["html", "xml", "dita", "ditamap"];
const PROGRAMS: &[&str] = &["exe", "win32 exe"];

/// The render type of a format, in whatever case: `default` for one that is not known, `none` for none.
#[must_use]
pub fn render_type(format: Option<&str>) -> RenderType {
    let Some(format) = format.filter(|format| !format.is_empty()) else {
        return RenderType::None;
    };
    let format = format.to_ascii_lowercase();
    let families: [(&[&str], RenderType); 10] = [
        (IMAGE_FORMATS, RenderType::Image),
        (OTHER_IMAGES, RenderType::Image),
        (DOCUMENTS, RenderType::Document),
        (OFFICE, RenderType::Document),
        (VIDEOS, RenderType::Video),
        (AUDIO, RenderType::Audio),
        (TEXTS, RenderType::Text),
        (XML, RenderType::Xml),
        (&["swf"], RenderType::Embedded),
        (PROGRAMS, RenderType::Misc),
    ];
    let family = families
        .into_iter()
        .find(|(formats, _)| formats.contains(&format.as_str()));
    family.map_or(RenderType::Default, |(_, render_type)| render_type)
}

/// Render types of which pictures are made here.
pub(super) const MADE_TYPES: [RenderType; 3] =
    [RenderType::Image, RenderType::Document, RenderType::Video];

/// The render type whose presets apply to an original of this format of which pictures are made: by its name that of a picture, a
/// document or a film, else that of a picture, which it may be by its content.
pub(super) fn made_as(format: Option<&str>) -> RenderType {
    let by_name = Some(render_type(format)).filter(|it| MADE_TYPES.contains(it));
    by_name.unwrap_or(RenderType::Image)
}

/// Whether the format is one of pictures, documents or films, so that it decides what reads an original of it.
#[must_use]
pub fn is_read_by_name(format: &str) -> bool {
    MADE_TYPES.contains(&render_type(Some(format)))
}

/// Whether this node decodes the format itself, and so makes the renditions of an asset of it.
#[must_use]
pub fn is_image_format(format: &str) -> bool {
    IMAGE_FORMATS.contains(&format.to_ascii_lowercase().as_str())
}

/// Whether EMDB turns the format into `document.pdf` before anything else.
#[must_use]
pub(super) fn is_office_format(format: &str) -> bool {
    OFFICE.contains(&format.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_the_render_types_emdb_gives_them() {
        for (formats, expected) in [
            (
                "jpg jpeg PNG gif bmp tif tiff psd svg webp heic heif avif ai eps",
                RenderType::Image,
            ),
            (
                "crw cr2 dng nef pef rw2 raw arw ttf ico tga jp2 pbm pgm pnm ppm indd",
                RenderType::Image,
            ),
            (
                "pdf doc docx rtf ppt pptx wps odt xls xlsx odp ods gddoc",
                RenderType::Document,
            ),
            ("mp4 mov mkv webm avi m3u8", RenderType::Video),
            ("mp3 wav flac aiff m4a ogg wma aac", RenderType::Audio),
            ("txt csv css vtt", RenderType::Text),
            ("html xml dita", RenderType::Xml),
            ("swf", RenderType::Embedded),
            ("exe", RenderType::Misc),
            ("obj glb zip jpgg", RenderType::Default),
        ] {
            for format in formats.split(' ') {
                assert_eq!(render_type(Some(format)), expected, "{format}");
            }
        }
        assert_eq!(render_type(None), RenderType::None);
        assert_eq!(render_type(Some("")), RenderType::None);
    }

    #[test]
    fn what_is_decoded_here_is_an_image() {
        for format in IMAGE_FORMATS {
            assert!(is_image_format(format) && render_type(Some(format)) == RenderType::Image);
        }
        assert!(is_image_format("JPG") && !is_image_format("psd"));
    }

    #[test]
    fn ods_is_a_document_that_no_office_is_asked_for() {
        assert!(is_office_format("ODT") && !is_office_format("ods") && !is_office_format("pdf"));
    }
}
