//! The rows EMDB comes with (media spec 1.2), with the row ids it gives them: a site's own row replaces the one of its id.

use super::Row;

/// Which of EMDB's two sets of thumbnails a node uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shipped {
    /// The one that is active in EMDB 10.
    #[default]
    Webp,
    /// The JPEG twins of older catalogs.
    Jpg,
}

/// A row of `convertpreset`.
struct Preset {
    id: &'static str,
    guid: &'static str,
    inputs: &'static str,
    transcoder: &'static str,
    /// `generatedoutputfile`, and `outputextension` with it.
    output: &'static str,
    /// Attributes that are `true`.
    flags: &'static [&'static str],
    ordering: &'static str,
}

/// A row of `presetparameter`: row id, guid, name, value.
type Parameter = (&'static str, &'static str, &'static str, &'static str);

/// Also has its name as `outputfile`.
const STATED: &str = "(outputfile)";
const IMPORT: &str = "onimport";
const DISPLAY: &str = "display";
const ONE_PAGE: &str = "singlepage";
const RATIO: &str = "enforceaspectratio";
const WATERMARK: &str = "watermark";

impl Shipped {
    /// Rows of `convertpreset`.
    pub(super) fn presets(self) -> impl Iterator<Item = Row> {
        let thumbnails = match self {
            Self::Webp => WEBP,
            Self::Jpg => JPG,
        };
        thumbnails.iter().chain(UNIVERSAL).map(Preset::row)
    }

    /// Rows of `presetparameter`; both sets ship all of them.
    pub(super) fn parameters(self) -> impl Iterator<Item = Row> {
        let rows = [WEBP_PARAMETERS, JPG_PARAMETERS, OTHER_PARAMETERS];
        rows.into_iter().flatten().map(|(id, guid, name, value)| {
            row([
                ("id", *id),
                ("parameterdata", *guid),
                ("name", *name),
                ("value", *value),
            ])
        })
    }
}

impl Preset {
    fn row(&self) -> Row {
        let mut row = row([
            ("id", self.id),
            ("guid", self.guid),
            ("inputtype", self.inputs),
            ("transcoderid", self.transcoder),
            ("generatedoutputfile", self.output),
            ("ordering", self.ordering),
        ]);
        let mut add = |name: &str, value: &str| {
            row.properties.insert(name.to_owned(), value.to_owned());
        };
        if let Some((_, extension)) = self.output.rsplit_once('.') {
            add("outputextension", extension);
        }
        for flag in self.flags {
            match *flag {
                STATED => add("outputfile", self.output),
                flag => add(flag, "true"),
            }
        }
        row
    }
}

fn row<const N: usize>(properties: [(&str, &str); N]) -> Row {
    let said = properties
        .into_iter()
        .filter(|(_, value)| !value.is_empty());
    Row {
        properties: said
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        whence: None,
    }
}

#[rustfmt::skip]
const UNIVERSAL: &[Preset] = &[
    Preset { id: "0", guid: "", inputs: "all", transcoder: "original", output: "", flags: &[], ordering: "00" },
    Preset { id: "largeimage", guid: "imagepreview", inputs: "image", transcoder: "imagemagick",
        output: "image3000x3000.jpg", flags: &[IMPORT, ONE_PAGE, RATIO], ordering: "10" },
    Preset { id: "webplargedocumentpreview", guid: "webpdocumentlarge", inputs: "document", transcoder: "imagemagick",
        output: "image3000x3000.webp", flags: &[IMPORT, ONE_PAGE], ordering: "14" },
    Preset { id: "documentpdf", guid: "documentpdf", inputs: "document", transcoder: "ooffice",
        output: "document.pdf", flags: &[ONE_PAGE], ordering: "16" },
    Preset { id: "videohls", guid: "videohls", inputs: "video", transcoder: "ffmpeg",
        output: "video.m3u8", flags: &[STATED, IMPORT, DISPLAY], ordering: "20" },
    Preset { id: "previewffmpeg", guid: "ffmpeg480p", inputs: "video", transcoder: "ffmpeg",
        output: "video.mp4", flags: &[STATED, DISPLAY], ordering: "21" },
    Preset { id: "1", guid: "videoproxymov", inputs: "video", transcoder: "ffmpeg",
        output: "VideoProxy.mov", flags: &[STATED, DISPLAY], ordering: "25" },
    Preset { id: "previewflv", guid: "ffmpegpreviewmp4", inputs: "video", transcoder: "ffmpeg",
        output: "video720x480.flv", flags: &[DISPLAY], ordering: "26" },
    Preset { id: "2", guid: "ffmpeg720p", inputs: "video", transcoder: "ffmpeg",
        output: "video1280x720.avi", flags: &[DISPLAY], ordering: "27" },
    Preset { id: "mp3audio", guid: "mp3audio", inputs: "audio", transcoder: "audio",
        output: "audio.mp3", flags: &[IMPORT], ordering: "30" },
    Preset { id: "videoaudio", guid: "videoaudio", inputs: "video|audio", transcoder: "audio",
        output: "audio.flac", flags: &[], ordering: "32" },
    // Of an id that is taken: never counts.
    Preset { id: "videoaudio", guid: "videoaudio", inputs: "video|audio", transcoder: "audio",
        output: "audio.wav", flags: &[], ordering: "32" },
];

#[rustfmt::skip]
const WEBP: &[Preset] = &[
    Preset { id: "webplargeimage", guid: "webpimagepreview", inputs: "image", transcoder: "imagemagick",
        output: "image3000x3000.webp", flags: &[IMPORT, DISPLAY, RATIO], ordering: "9" },
    Preset { id: "webppreviewffmpegthumb", guid: "webppreviewffmpegthumb", inputs: "video", transcoder: "ffmpegimage",
        output: "image1900x1080.webp", flags: &[IMPORT, DISPLAY], ordering: "12" },
    Preset { id: "webpmediumimage", guid: "webpimagemedium", inputs: "image|document|video", transcoder: "imagemagick",
        output: "image550x550.webp", flags: &[STATED, IMPORT, DISPLAY, ONE_PAGE, RATIO], ordering: "110" },
    Preset { id: "webpthumbimage", guid: "webpimagethumb", inputs: "image|document|video", transcoder: "imagemagick",
        output: "image200x200.webp", flags: &[IMPORT, DISPLAY, ONE_PAGE, RATIO], ordering: "120" },
    Preset { id: "webpimagecrop", guid: "webpimagecrop", inputs: "image", transcoder: "imagemagick",
        output: "image110x62cropped.webp", flags: &[IMPORT, DISPLAY, RATIO], ordering: "130" },
    Preset { id: "webpimagepreviewfpo", guid: "webpimagepreviewfpo", inputs: "image|document", transcoder: "imagemagick",
        output: "image3000x3000wm.webp", flags: &[WATERMARK, DISPLAY, ONE_PAGE], ordering: "150" },
    Preset { id: "webpwidesscreencrop", guid: "webpimagewidesscreencrop", inputs: "image", transcoder: "imagemagick",
        output: "image1920x500cropped.webp", flags: &[DISPLAY, ONE_PAGE, RATIO], ordering: "180" },
    Preset { id: "webpvideoimagelarge", guid: "webpvideoimagelarge", inputs: "video", transcoder: "imagemagick",
        output: "image640x480.webp", flags: &[IMPORT, DISPLAY], ordering: "210" },
    Preset { id: "webpvideoimagecrop", guid: "webpimagecrop", inputs: "video", transcoder: "imagemagick",
        output: "image110x62cropped.webp", flags: &[IMPORT, DISPLAY], ordering: "220" },
    Preset { id: "webpcropdocument", guid: "webpcropdocument", inputs: "document", transcoder: "imagemagick",
        output: "image110x62cropped.webp", flags: &[IMPORT, DISPLAY, ONE_PAGE], ordering: "310" },
];

#[rustfmt::skip]
const JPG: &[Preset] = &[
    Preset { id: "previewffmpegthumb", guid: "previewffmpegthumb", inputs: "video", transcoder: "ffmpegimage",
        output: "image1900x1080.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE], ordering: "12" },
    Preset { id: "mediumimage", guid: "imagemedium", inputs: "image|document|video", transcoder: "imagemagick",
        output: "image550x550.jpg", flags: &[STATED, IMPORT, DISPLAY, ONE_PAGE, RATIO], ordering: "110" },
    Preset { id: "thumbimage", guid: "imagethumb", inputs: "image|document|video", transcoder: "imagemagick",
        output: "image200x200.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE, RATIO], ordering: "130" },
    Preset { id: "imagecrop", guid: "imagecrop", inputs: "image", transcoder: "imagemagick",
        output: "image110x62cropped.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE, RATIO], ordering: "140" },
    Preset { id: "imagepreviewfpo", guid: "imagepreviewfpo", inputs: "image|document", transcoder: "imagemagick",
        output: "image3000x3000wm.jpg", flags: &[WATERMARK, DISPLAY, ONE_PAGE], ordering: "150" },
    Preset { id: "widesscreencrop", guid: "imagewidesscreencrop", inputs: "image", transcoder: "imagemagick",
        output: "image1920x500cropped.jpg", flags: &[DISPLAY, ONE_PAGE, RATIO], ordering: "180" },
    Preset { id: "videoimagelarge", guid: "imagelarge", inputs: "video", transcoder: "imagemagick",
        output: "image640x480.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE], ordering: "210" },
    Preset { id: "videoimagecrop", guid: "imagecrop", inputs: "video", transcoder: "imagemagick",
        output: "image110x62cropped.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE], ordering: "230" },
    Preset { id: "cropdocument", guid: "cropdocument", inputs: "document", transcoder: "imagemagick",
        output: "image110x62cropped.jpg", flags: &[IMPORT, DISPLAY, ONE_PAGE], ordering: "320" },
];

#[rustfmt::skip]
const WEBP_PARAMETERS: &[Parameter] = &[
    ("webpimagepreview1", "webpimagepreview", "prefwidth", "3000"),
    ("webpimagepreview2", "webpimagepreview", "prefheight", "3000"),
    ("webp1447786760361", "webpimagepreview", "layers", "flatten"),
    ("webpimagepreview5", "webpimagepreview", "sampling-factor", "4:2:0"),
    ("webpimagemedium1", "webpimagemedium", "prefwidth", "550"),
    ("webpimagemedium2", "webpimagemedium", "prefheight", "550"),
    ("webpimagemedium3", "webpimagemedium", "quality", "76"),
    ("webpimagemedium4", "webpimagemedium", "sampling-factor", "4:2:0"),
    ("webpimagethumb1", "webpimagethumb", "prefwidth", "200"),
    ("webpimagethumb2", "webpimagethumb", "prefheight", "200"),
    ("webpimagethumb3", "webpimagethumb", "quality", "76"),
    ("webpimagethumb4", "webpimagethumb", "sampling-factor", "4:2:0"),
    ("webpimagecrop1", "webpimagecrop", "prefwidth", "110"),
    ("webpimagecrop2", "webpimagecrop", "prefheight", "62"),
    ("webp1447788371700", "webpimagecrop", "crop", "true"),
    ("webpimgcropgravity", "webpimagecrop", "gravity", "center"),
    ("webp1447786789989", "webpimagecrop", "layers", "flatten"),
    ("webpimagepreviewfpo1", "webpimagepreviewfpo", "prefwidth", "3000"),
    ("webpimagepreviewfpo2", "webpimagepreviewfpo", "prefheight", "3000"),
    ("webpimagepreviewfpo3", "webpimagepreviewfpo", "watermark", "true"),
    ("webpimagewidecrop1", "webpimagewidesscreencrop", "prefwidth", "1920"),
    ("webpimagewidecrop2", "webpimagewidesscreencrop", "prefheight", "500"),
    ("webpimagewidecrop3", "webpimagewidesscreencrop", "crop", "true"),
    ("webpimagewidecrop4", "webpimagewidesscreencrop", "gravity", "center"),
    ("webpdocumentlarge1", "webpdocumentlarge", "prefwidth", "3000"),
    ("webpdocumentlarge2", "webpdocumentlarge", "prefheight", "3000"),
    ("webpdocumentlarge3", "webpdocumentlarge", "background", "white"),
    ("webpdocumentlarge4", "webpdocumentlarge", "layers", "flatten"),
    ("webp1447790100132", "webpcropdocument", "prefwidth", "110"),
    ("webp1447790093028", "webpcropdocument", "prefheight", "62"),
    ("webp1447790183613", "webpcropdocument", "crop", "true"),
    ("webp1447790070354", "webpcropdocument", "gravity", "NorthEast"),
    ("webp1447790399176", "webpcropdocument", "x1", "0"),
    ("webp1447790405247", "webpcropdocument", "y1", "0"),
    ("webp1447789384658", "webpcropdocument", "background", "white"),
    ("webp1447790062578", "webpcropdocument", "layers", "flatten"),
    ("webpvideoimagelarge1", "webppreviewffmpegthumb", "prefwidth", "1900"),
    ("webpvideoimagelarge2", "webppreviewffmpegthumb", "prefheight", "1080"),
    ("webpvideoimagelarge3", "webppreviewffmpegthumb", "quality", "90"),
    ("webpvideoimagelarge4", "webppreviewffmpegthumb", "sampling-factor", "4:2:0"),
    ("webpvideoimagelarge5", "webppreviewffmpegthumb", "timeoffset", "0"),
    // EMDB's own ids of these four are not known.
    ("webpvideoimage1", "webpvideoimagelarge", "prefwidth", "640"),
    ("webpvideoimage2", "webpvideoimagelarge", "prefheight", "480"),
    ("webpvideoimage3", "webpvideoimagelarge", "quality", "76"),
    ("webpvideoimage4", "webpvideoimagelarge", "sampling-factor", "4:2:0"),
];

#[rustfmt::skip]
const JPG_PARAMETERS: &[Parameter] = &[
    ("imagepreview1", "imagepreview", "prefwidth", "3000"),
    ("imagepreview2", "imagepreview", "prefheight", "3000"),
    // EMDB's own id of this one is not known.
    ("imagepreview3", "imagepreview", "quality", "55"),
    ("1447786760361", "imagepreview", "layers", "flatten"),
    ("imagepreview5", "imagepreview", "sampling-factor", "4:2:0"),
    ("imagemedium1", "imagemedium", "prefwidth", "550"),
    ("imagemedium2", "imagemedium", "prefheight", "550"),
    ("imagemedium3", "imagemedium", "quality", "80"),
    ("imagemedium4", "imagemedium", "sampling-factor", "4:2:0"),
    ("1447783333851", "imagemedium", "layers", "flatten"),
    ("imagethumb1", "imagethumb", "prefwidth", "200"),
    ("imagethumb2", "imagethumb", "prefheight", "200"),
    ("imagethumb3", "imagethumb", "quality", "76"),
    ("imagethumb4", "imagethumb", "sampling-factor", "4:2:0"),
    ("imagecrop1", "imagecrop", "prefwidth", "110"),
    ("imagecrop2", "imagecrop", "prefheight", "62"),
    ("1447788371700", "imagecrop", "crop", "true"),
    ("imgcropgravity", "imagecrop", "gravity", "center"),
    ("1447786789989", "imagecrop", "layers", "flatten"),
    ("imagepreviewfpo1", "imagepreviewfpo", "prefwidth", "3000"),
    ("imagepreviewfpo2", "imagepreviewfpo", "prefheight", "3000"),
    ("imagepreviewfpo3", "imagepreviewfpo", "watermark", "true"),
    ("imagewidecrop1", "imagewidesscreencrop", "prefwidth", "1920"),
    ("imagewidecrop2", "imagewidesscreencrop", "prefheight", "500"),
    ("widecropcroptrueff", "imagewidesscreencrop", "crop", "true"),
    ("imagelarge1", "imagelarge", "prefwidth", "640"),
    ("imagelarge2", "imagelarge", "prefheight", "480"),
    ("imagelarge3", "imagelarge", "quality", "76"),
    ("imagelarge4", "imagelarge", "sampling-factor", "4:2:0"),
    ("1447790100132", "cropdocument", "prefwidth", "110"),
    ("1447790093028", "cropdocument", "prefheight", "62"),
    ("1447790183613", "cropdocument", "crop", "true"),
    ("1447790070354", "cropdocument", "gravity", "NorthEast"),
    ("1447790399176", "cropdocument", "x1", "0"),
    ("1447790405247", "cropdocument", "y1", "0"),
    ("1447789384658", "cropdocument", "background", "white"),
    ("1447790062578", "cropdocument", "layers", "flatten"),
    ("videoimagelarge1", "previewffmpegthumb", "prefwidth", "1900"),
    ("videoimagelarge2", "previewffmpegthumb", "prefheight", "1080"),
    ("videoimagelarge3", "previewffmpegthumb", "quality", "90"),
    ("videoimagelarge4", "previewffmpegthumb", "sampling-factor", "4:2:0"),
    ("videoimagelarge5", "previewffmpegthumb", "timeoffset", "0"),
];

#[rustfmt::skip]
const OTHER_PARAMETERS: &[Parameter] = &[
    ("videohls1", "videohls", "hlsstreams", "360|720|1080"),
    ("videohls2", "videohls", "useoriginalasinput", "true"),
    ("videohls3", "videohls", "streaming", "true"),
    ("ffmpeg480p1", "ffmpeg480p", "prefwidth", "720"),
    ("ffmpeg480p2", "ffmpeg480p", "prefheight", "480"),
    ("ffmpeg480p3", "ffmpeg480p", "acodec", "aac"),
    ("ffmpeg480p4", "ffmpeg480p", "vcodec", "libx264"),
    ("ffmpeg480p5", "ffmpeg480p", "preset", "medium"),
    ("ffmpeg480p6", "ffmpeg480p", "strict", "experimental"),
    ("videoproxymov1", "videoproxymov", "acodec", "aac"),
    ("videoproxymov2", "videoproxymov", "vcodec", "libx264"),
    ("videoproxymov3", "videoproxymov", "preset", "veryfast"),
    ("videoproxymov4", "videoproxymov", "strict", "experimental"),
    ("videoproxymov5", "videoproxymov", "useoriginalasinput", "true"),
    ("ffmpegpreviewmp41", "ffmpegpreviewmp4", "prefwidth", "640"),
    ("ffmpegpreviewmp42", "ffmpegpreviewmp4", "prefheight", "360"),
    ("ffmpegpreviewmp43", "ffmpegpreviewmp4", "acodec", "aac"),
    ("ffmpegpreviewmp44", "ffmpegpreviewmp4", "vcodec", "libx264"),
    ("ffmpegpreviewmp45", "ffmpegpreviewmp4", "preset", "medium"),
    ("ffmpegpreviewmp46", "ffmpegpreviewmp4", "strict", "experimental"),
    ("ffmpeg720p1", "ffmpeg720p", "prefwidth", "1280"),
    ("ffmpeg720p2", "ffmpeg720p", "prefheight", "720"),
    ("ffmpeg720p3", "ffmpeg720p", "acodec", "aac"),
    ("ffmpeg720p4", "ffmpeg720p", "vcodec", "libx264"),
    ("ffmpeg720p5", "ffmpeg720p", "preset", "medium"),
    ("ffmpeg720p6", "ffmpeg720p", "strict", "experimental"),
    ("mp3audio1", "mp3audio", "outputextension", "mp3"),
    ("mp3audio2", "mp3audio", "bitrate", "64"),
    ("mp3audio4", "mp3audio", "channels", "1"),
    ("videoaudio0", "videoaudio", "acodec", "flac"),
    ("videoaudio1", "videoaudio", "outputextension", "flac"),
    ("videoaudio2", "videoaudio", "bitrate", "64"),
    ("videoaudio4", "videoaudio", "channels", "1"),
];

#[cfg(test)]
mod tests {
    use super::super::{Cut, Encoding, Inputs, Preset, PresetTable, Shape, Source};
    use super::*;

    /// A preset as a row of the table in media spec 1.2. A name in brackets is the one it is looked up by.
    fn line(preset: &Preset) -> String {
        let inputs = match &preset.inputs {
            Inputs::All => "all".to_owned(),
            Inputs::Of(types) => {
                let words: Vec<_> = types.iter().map(|it| it.as_str()).collect();
                words.join("+")
            }
        };
        let mut file = preset.file_name.clone();
        if preset.is_name_stated {
            file.push('!');
        }
        if preset.looked_up_as != preset.file_name {
            file = format!("{file} [{}]", preset.looked_up_as);
        }
        let mut words = Vec::new();
        if let Some((width, height)) = preset.size() {
            words.push(format!("{width}x{height}"));
        }
        match preset.shape {
            Shape::Fit => {}
            Shape::Cut(Cut::CENTRE) => words.push("crop".to_owned()),
            Shape::Cut(cut) => words.push(format!("crop@{:?}", cut.gravity)),
            other => words.push(format!("{other:?}")),
        }
        match preset.encoding {
            Encoding::WebP { quality, method } => words.push(format!("webp{quality}/{method}")),
            Encoding::Jpeg { quality } => words.push(format!("jpeg{quality}")),
            Encoding::Png => words.push("png".to_owned()),
            Encoding::Gif => words.push("gif".to_owned()),
            Encoding::Other => {}
        }
        for (is_set, word) in [
            (preset.flatten, "flatten"),
            (preset.watermark, "watermark"),
            (preset.use_original, "original"),
            (preset.source == Source::Large, "large"),
            (preset.on_import, "imp"),
            (preset.display, "disp"),
            (preset.single_page, "1p"),
        ] {
            if is_set {
                words.push(word.to_owned());
            }
        }
        words.extend(preset.sampling.clone());
        words.extend(preset.background.clone());
        words.extend(preset.time_offset.iter().map(|at| format!("offset={at}")));
        let parameters = preset.parameters.iter();
        words.extend(parameters.map(|(name, value)| format!("{name}={value}")));
        let (id, guid, transcoder) = (&preset.id, &preset.guid, preset.transcoder.as_str());
        let ordering = preset.ordering.unwrap_or(-1);
        let words = words.join(" ");
        format!("{id} | {guid} | {inputs} | {transcoder} | {file} | {words} | {ordering}")
    }

    fn lines(set: Shipped) -> Vec<String> {
        PresetTable::shipped(set).iter().map(line).collect()
    }

    #[rustfmt::skip]
    const ACTIVE: [&str; 21] = [
        "webplargeimage | webpimagepreview | image | imagemagick | image3000x3000.webp | 3000x3000 webp85/4 flatten imp disp 4:2:0 | 9",
        "webppreviewffmpegthumb | webppreviewffmpegthumb | video | ffmpegimage | image1900x1080offset0.webp [image1900x1080.webp] | 1900x1080 webp90/4 imp disp 4:2:0 offset=0 | 12",
        "webpmediumimage | webpimagemedium | image+document+video | imagemagick | image550x550.webp! | 550x550 webp76/4 large imp disp 1p 4:2:0 | 110",
        "webpthumbimage | webpimagethumb | image+document+video | imagemagick | image200x200.webp | 200x200 webp76/4 large imp disp 1p 4:2:0 | 120",
        "webpimagecrop | webpimagecrop | image | imagemagick | image110x62cropped.webp | 110x62 crop webp85/4 flatten large imp disp | 130",
        "webpimagepreviewfpo | webpimagepreviewfpo | image+document | imagemagick | image3000x3000wm.webp | 3000x3000 webp85/4 watermark large disp 1p | 150",
        "webpwidesscreencrop | webpimagewidesscreencrop | image | imagemagick | image1920x500cropped.webp | 1920x500 crop webp85/4 large disp 1p | 180",
        "webpvideoimagelarge | webpvideoimagelarge | video | imagemagick | image640x480.webp | 640x480 webp76/4 large imp disp 4:2:0 | 210",
        "webpvideoimagecrop | webpimagecrop | video | imagemagick | image110x62cropped.webp | 110x62 crop webp85/4 flatten large imp disp | 220",
        "webpcropdocument | webpcropdocument | document | imagemagick | image110x62cropped.webp | 110x62 crop@NorthEast webp85/4 flatten large imp disp 1p white | 310",
        "0 |  | all | original |  |  | 0",
        "largeimage | imagepreview | image | imagemagick | image3000x3000.jpg | 3000x3000 jpeg55 flatten large imp 1p 4:2:0 | 10",
        "webplargedocumentpreview | webpdocumentlarge | document | imagemagick | image3000x3000.webp | 3000x3000 webp85/4 flatten imp 1p white | 14",
        "documentpdf | documentpdf | document | ooffice | document.pdf | 1p | 16",
        "videohls | videohls | video | ffmpeg | video.m3u8! | original imp disp hlsstreams=360|720|1080 | 20",
        "previewffmpeg | ffmpeg480p | video | ffmpeg | video.mp4! | 720x480 disp acodec=aac preset=medium strict=experimental vcodec=libx264 | 21",
        "1 | videoproxymov | video | ffmpeg | VideoProxy.mov! | original disp acodec=aac preset=veryfast strict=experimental vcodec=libx264 | 25",
        "previewflv | ffmpegpreviewmp4 | video | ffmpeg | video640x360.flv [video720x480.flv] | 640x360 disp acodec=aac preset=medium strict=experimental vcodec=libx264 | 26",
        "2 | ffmpeg720p | video | ffmpeg | video1280x720.avi | 1280x720 disp acodec=aac preset=medium strict=experimental vcodec=libx264 | 27",
        "mp3audio | mp3audio | audio | audio | audio.mp3 | imp bitrate=64 channels=1 | 30",
        "videoaudio | videoaudio | video+audio | audio | audio.flac | acodec=flac bitrate=64 channels=1 | 32",
    ];

    #[test]
    fn the_active_table_is_the_one_of_the_spec() {
        for (found, expected) in lines(Shipped::Webp).iter().zip(ACTIVE) {
            assert_eq!(found, expected);
        }
        assert_eq!(lines(Shipped::Webp).len(), ACTIVE.len());
    }

    #[rustfmt::skip]
    const TWINS: [&str; 9] = [
        "previewffmpegthumb | previewffmpegthumb | video | ffmpegimage | image1900x1080offset0.jpg [image1900x1080.jpg] | 1900x1080 jpeg90 imp disp 1p 4:2:0 offset=0 | 12",
        "mediumimage | imagemedium | image+document+video | imagemagick | image550x550.jpg! | 550x550 jpeg80 flatten large imp disp 1p 4:2:0 | 110",
        "thumbimage | imagethumb | image+document+video | imagemagick | image200x200.jpg | 200x200 jpeg76 large imp disp 1p 4:2:0 | 130",
        "imagecrop | imagecrop | image | imagemagick | image110x62cropped.jpg | 110x62 crop jpeg85 flatten large imp disp 1p | 140",
        "imagepreviewfpo | imagepreviewfpo | image+document | imagemagick | image3000x3000wm.jpg | 3000x3000 jpeg85 watermark large disp 1p | 150",
        "widesscreencrop | imagewidesscreencrop | image | imagemagick | image1920x500cropped.jpg | 1920x500 crop@NorthWest jpeg85 large disp 1p | 180",
        "videoimagelarge | imagelarge | video | imagemagick | image640x480.jpg | 640x480 jpeg76 large imp disp 1p 4:2:0 | 210",
        "videoimagecrop | imagecrop | video | imagemagick | image110x62cropped.jpg | 110x62 crop jpeg85 flatten large imp disp 1p | 230",
        "cropdocument | cropdocument | document | imagemagick | image110x62cropped.jpg | 110x62 crop@NorthEast jpeg85 flatten large imp disp 1p white | 320",
    ];

    #[test]
    fn the_twins_stand_beside_the_presets_of_both_sets() {
        let mut all: Vec<_> = TWINS.map(str::to_owned).into();
        let shared = ACTIVE[10..].iter().map(|line| (*line).to_owned());
        // Of this set it is the large one.
        all.extend(shared.map(|line| line.replace("jpeg55 flatten large", "jpeg55 flatten")));
        for (found, expected) in lines(Shipped::Jpg).iter().zip(&all) {
            assert_eq!(found, expected);
        }
        assert_eq!(lines(Shipped::Jpg).len(), all.len());
    }

    #[test]
    fn no_two_parameter_rows_have_one_id() {
        let mut ids = std::collections::HashSet::new();
        for row in Shipped::Webp.parameters() {
            assert!(ids.insert(row.id().to_owned()), "{}", row.id());
        }
    }
}
