//! What is known of each program, as data. Of two for one format the first is used.

use std::time::Duration;

use super::Part;
use super::run::Limits;

/// A program that makes pictures of formats.
#[derive(Debug)]
pub struct Tool {
    /// What it is called here, in `[adapters]` and in fingerprints.
    pub name: &'static str,
    /// Commands it may have on `PATH`, the better one first.
    pub commands: &'static [&'static str],
    /// Arguments that make it say its version; none for one that never does.
    pub version: &'static [&'static str],
    /// Package of Debian and Ubuntu that holds it.
    pub package: &'static str,
    /// How it is called, for one family of formats each.
    pub(super) ways: &'static [Way],
}

/// How a program is called for some formats.
#[derive(Debug)]
pub(super) struct Way {
    /// Formats it reads, as EMDB spells them.
    pub(super) formats: &'static [&'static str],
    /// Its arguments; `{in}` stands for the original, `{page}` for the number of a page where it can be asked for one.
    pub(super) arguments: &'static [&'static str],
    /// Arguments that draw a page at `{dpi}`, for when the first ones did not meet the density it should have (`page`).
    pub(super) at_density: Option<&'static [&'static str]>,
    /// Arguments for a film of which it shows what is to be seen after `{at}` seconds.
    pub(super) at_moment: Option<&'static [&'static str]>,
    /// The file it writes, which the arguments name too where it asks for that.
    pub(super) output: &'static str,
    /// What that file is, where it is no picture: another program makes one of it.
    pub(super) makes: Option<&'static str>,
    /// Whether it gets a copy of the original: it would write beside the place that the link leads to.
    pub(super) is_copied: bool,
    /// Whether no second one may run beside it.
    pub(super) is_alone: bool,
    /// Files that it finds in its directory, each with its content.
    pub(super) finds: &'static [(&'static str, &'static str)],
    pub(super) limits: Limits,
    /// Raised when another picture comes of the same program, so that what was made before counts as stale.
    pub(super) revision: u32,
}

/// Enough for a page or a picture at 3000 pixels, and for a machine that is busy otherwise.
const PICTURE: Limits = Limits {
    wall: Duration::from_secs(300),
    cpu_seconds: 240,
    memory_bytes: 4 << 30,
    file_bytes: 1 << 30,
};

const PNG: &str = "out.png";

/// What most ways have in common.
pub(super) const WAY: Way = Way {
    formats: &[],
    arguments: &[],
    at_density: None,
    at_moment: None,
    output: PNG,
    makes: None,
    is_copied: false,
    is_alone: false,
    finds: &[],
    limits: PICTURE,
    revision: 0,
};

/// Settings of an office that opens what strangers wrote: it runs nothing and fetches nothing.
const CAREFUL: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<oor:items xmlns:oor="http://openoffice.org/2001/registry">
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableMacrosExecution" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="DisableActiveContent" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Common/Security/Scripting"><prop oor:name="BlockUntrustedRefererLinks" oor:op="fuse"><value>true</value></prop></item>
<item oor:path="/org.openoffice.Office.Writer/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>0</value></prop></item>
<item oor:path="/org.openoffice.Office.Calc/Content/Update"><prop oor:name="Link" oor:op="fuse"><value>1</value></prop></item>
</oor:items>
"#;

/// Draws a page as large as it says, of the whole sheet as EMDB does.
macro_rules! pdftoppm {
    ($($size:literal),+) => {
        &["-f", "{page}", "-l", "{page}", "-singlefile", "-png", $($size),+, "{in}", "out"]
    };
}

/// Draws a page, or a figure within its bounds, at a density.
macro_rules! ghostscript {
    ($density:literal) => {
        &[
            "-dSAFER",
            "-dBATCH",
            "-dNOPAUSE",
            "-dQUIET",
            "-sDEVICE=png16m",
            "-dFirstPage={page}",
            "-dLastPage={page}",
            "-dEPSCrop",
            "-dTextAlphaBits=4",
            "-dGraphicsAlphaBits=4",
            $density,
            "-sOutputFile=out.png",
            "{in}",
        ]
    };
}

/// One frame, as EMDB has it of its stream of 1080 lines: smaller films are enlarged (media spec 7.2).
macro_rules! ffmpeg_frame {
    ($($seek:literal),*) => {
        &[
            "-nostdin",
            "-hide_banner",
            "-loglevel",
            "error",
            "-protocol_whitelist",
            "file",
            "-format_whitelist",
            "asf,avi,dv,flv,mov,mpegts,mxf,mpeg,mpegvideo,matroska,rm",
            "-threads",
            "1",
            $($seek,)*
            "-i",
            "{in}",
            "-map",
            "0:V:0",
            "-frames:v",
            "1",
            "-vf",
            "scale=w=-2:h=1080",
            "-pix_fmt",
            "rgb24",
            "-y",
            "out.png",
        ]
    };
}

/// Every program that is known.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "pdftoppm",
        commands: &["pdftoppm"],
        version: &["-v"],
        package: "poppler-utils",
        ways: &[Way {
            formats: &["pdf"],
            arguments: pdftoppm!("-scale-to", "3000"),
            at_density: Some(pdftoppm!("-r", "{dpi}")),
            ..WAY
        }],
    },
    Tool {
        name: "ghostscript",
        commands: &["gs"],
        version: &["--version"],
        package: "ghostscript",
        ways: &[Way {
            formats: &["pdf", "ai", "eps"],
            // Small, to see how large the page is.
            arguments: ghostscript!("-r72"),
            at_density: Some(ghostscript!("-r{dpi}")),
            revision: 1,
            ..WAY
        }],
    },
    Tool {
        name: "rsvg",
        commands: &["rsvg-convert"],
        version: &["--version"],
        package: "librsvg2-bin",
        ways: &[Way {
            formats: &["svg"],
            arguments: &["--format", "png", "--output", "out.png", "{in}"],
            ..WAY
        }],
    },
    Tool {
        name: "vips",
        commands: &["vips"],
        version: &["--version"],
        package: "libvips-tools",
        ways: &[
            Way {
                formats: &["heic", "heif", "avif"],
                // Upright, never enlarged; the profile stays, for the mode of the node decides what becomes of it.
                arguments: &[
                    "thumbnail",
                    "{in}",
                    "out.png",
                    "3000",
                    "--height",
                    "3000",
                    "--size",
                    "down",
                ],
                ..WAY
            },
            Way {
                formats: &["jp2"],
                // Whole: asked for less, 8.14 takes the smallest size that the file holds.
                arguments: &["copy", "{in}", "out.png"],
                revision: 1,
                ..WAY
            },
        ],
    },
    Tool {
        name: "imagemagick",
        commands: &["magick", "convert"],
        version: &["-version"],
        package: "imagemagick",
        ways: &[Way {
            // Not by vips, in which those of inks come out black.
            formats: &["psd"],
            // All layers as one, which such a file holds first. Named twice, so that no content makes it another format.
            arguments: &[
                "-limit",
                "thread",
                "1",
                "psd:{in}[0]",
                "-colorspace",
                "sRGB",
                "-depth",
                "8",
                "-resize",
                "3000x3000>",
                "png:out.png",
            ],
            ..WAY
        }],
    },
    Tool {
        name: "heif",
        commands: &["heif-convert", "heif-dec"],
        version: &["--version"],
        package: "libheif-examples",
        ways: &[Way {
            formats: &["heic", "heif", "avif"],
            arguments: &["{in}", "out.png"],
            ..WAY
        }],
    },
    Tool {
        name: "ffmpeg",
        commands: &["ffmpeg"],
        version: &["-version"],
        package: "ffmpeg",
        ways: &[
            Way {
                formats: &["avif", "jp2"],
                // A playlist could lead it to other files and addresses.
                arguments: &[
                    "-nostdin",
                    "-hide_banner",
                    "-loglevel",
                    "error",
                    "-protocol_whitelist",
                    "file",
                    "-format_whitelist",
                    "mov,j2k_pipe,jpeg2000",
                    "-i",
                    "{in}",
                    "-frames:v",
                    "1",
                    "-y",
                    "out.png",
                ],
                ..WAY
            },
            Way {
                // No m3u8: it is a list of other files.
                formats: &[
                    "asf", "avi", "dv", "flv", "mov", "moov", "ts", "mts", "m2ts", "m2t", "3gp",
                    "mxf", "mp4", "m4v", "mpg", "mpeg", "mkv", "rm", "webm", "wmv",
                ],
                arguments: ffmpeg_frame!(),
                at_moment: Some(ffmpeg_frame!("-ss", "{at}")),
                ..WAY
            },
        ],
    },
    Tool {
        name: "soffice",
        commands: &["soffice", "libreoffice"],
        version: &["--version"],
        package: "libreoffice-nogui",
        ways: &[Way {
            formats: &[
                "doc", "docx", "rtf", "ppt", "pptx", "wps", "odt", "ods", "xls", "xlsx", "odp",
            ],
            arguments: &[
                "--headless",
                "--invisible",
                "--nologo",
                "--norestore",
                "--nolockcheck",
                "--convert-to",
                "pdf",
                "--outdir",
                ".",
                "{in}",
            ],
            output: "input.pdf",
            makes: Some("pdf"),
            is_copied: true,
            is_alone: true,
            finds: &[(
                ".config/libreoffice/4/user/registrymodifications.xcu",
                CAREFUL,
            )],
            ..WAY
        }],
    },
    Tool {
        name: "libraw",
        commands: &["dcraw_emu"],
        version: &[],
        package: "libraw-bin",
        ways: &[Way {
            formats: &["crw", "cr2", "dng", "nef", "pef", "rw2", "raw", "arw"],
            // Turned upright by itself; a PPM has no tag that would turn it again.
            arguments: &["-w", "-o", "1", "-Z", "out.ppm", "{in}"],
            output: "out.ppm",
            ..WAY
        }],
    },
];

impl Way {
    /// Whether it can be asked for a page.
    pub(super) fn has_pages(&self) -> bool {
        self.arguments.iter().any(|it| it.contains("{page}"))
    }

    /// Arguments for a part of an original that is called `input`, at a density in dots per inch where they ask for one.
    pub(super) fn arguments_for(
        arguments: &[&str],
        input: &str,
        density: Option<u32>,
        part: Part,
    ) -> Vec<String> {
        let dpi = density.map_or(String::new(), |density| density.to_string());
        let at = format!("{:.3}", part.moment.as_secs_f64());
        let page = part.page.to_string();
        let words = [
            ("{in}", input),
            ("{dpi}", &dpi),
            ("{at}", &at),
            ("{page}", &page),
        ];
        let argument = |it: &&str| {
            let start = (*it).to_owned();
            let put = |text: String, (word, value): &(&str, &str)| text.replace(word, value);
            words.iter().fold(start, put)
        };
        arguments.iter().map(argument).collect()
    }
}

impl Tool {
    /// Formats it reads, as EMDB spells them.
    pub fn formats(&self) -> impl Iterator<Item = &'static str> {
        self.ways.iter().flat_map(|way| way.formats).copied()
    }

    /// How it is called for a format in lower case.
    pub(super) fn way(&self, format: &str) -> Option<&'static Way> {
        self.ways.iter().find(|way| way.formats.contains(&format))
    }

    /// What to install for it.
    #[must_use]
    pub fn how_to_enable(&self) -> String {
        let Self { name, package, .. } = self;
        format!(
            "install {package}, or name the program in emsync.toml: [adapters] {name} = \"/path/to/it\""
        )
    }
}

/// Why nothing is made here of a format that some program could read, and what to do about it; `None` for every other format.
#[must_use]
pub fn missing(format: &str) -> Option<String> {
    let format = format.to_ascii_lowercase();
    let able: Vec<_> = TOOLS
        .iter()
        .filter(|tool| tool.way(&format).is_some())
        .collect();
    let first = able.first()?;
    let names: Vec<_> = able.iter().map(|tool| tool.name).collect();
    let (names, how) = (names.join(" or "), first.how_to_enable());
    // Either may be what is missing.
    let then = first.way(&format).and_then(|way| way.makes);
    let then = then.map(|made| missing(made).unwrap_or_default());
    let then = then.map_or(String::new(), |then| format!("; of what it makes, {then}"));
    Some(format!(
        "{format} needs {names}, which is not here: {how}{then}"
    ))
}
