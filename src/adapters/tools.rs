//! What is known of each program, as data. Of two for one format the first is used.

use std::time::Duration;

use super::run::Limits;

/// A program that makes pictures of formats.
#[derive(Debug)]
pub struct Tool {
    /// What it is called here, in `[adapters]` and in fingerprints.
    pub name: &'static str,
    /// Commands it may have on `PATH`, the better one first.
    pub commands: &'static [&'static str],
    /// Arguments that make it say its version.
    pub version: &'static [&'static str],
    /// Formats it reads, as EMDB spells them.
    pub formats: &'static [&'static str],
    /// Package of Debian and Ubuntu that holds it.
    pub package: &'static str,
    /// Its arguments; `{in}` stands for the original.
    pub(super) arguments: &'static [&'static str],
    /// The file it writes, which the arguments name too.
    pub(super) output: &'static str,
    pub(super) limits: Limits,
}

/// Enough for a page or a picture at 3000 pixels, and for a machine that is busy otherwise.
const PICTURE: Limits = Limits {
    wall: Duration::from_secs(300),
    cpu_seconds: 240,
    memory_bytes: 4 << 30,
    file_bytes: 1 << 30,
};

const PNG: &str = "out.png";

/// Every program that is known.
///
/// Pages are drawn to fit 3000 pixels, not at EMDB's 900 dpi (media spec 3.3): an A4 page comes out the same after the fit that
/// follows there, a page shorter than 240 points larger.
pub const TOOLS: &[Tool] = &[
    Tool {
        name: "pdftoppm",
        commands: &["pdftoppm"],
        version: &["-v"],
        formats: &["pdf"],
        package: "poppler-utils",
        arguments: &[
            "-f",
            "1",
            "-l",
            "1",
            "-singlefile",
            "-png",
            "-cropbox",
            "-scale-to",
            "3000",
            "{in}",
            "out",
        ],
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "ghostscript",
        commands: &["gs"],
        version: &["--version"],
        formats: &["pdf", "ai", "eps"],
        package: "ghostscript",
        arguments: &[
            "-dSAFER",
            "-dBATCH",
            "-dNOPAUSE",
            "-dQUIET",
            "-sDEVICE=png16m",
            "-dFirstPage=1",
            "-dLastPage=1",
            "-dUseCropBox",
            "-dEPSCrop",
            "-dTextAlphaBits=4",
            "-dGraphicsAlphaBits=4",
            "-r300",
            "-sOutputFile=out.png",
            "{in}",
        ],
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "rsvg",
        commands: &["rsvg-convert"],
        version: &["--version"],
        formats: &["svg"],
        package: "librsvg2-bin",
        arguments: &["--format", "png", "--output", "out.png", "{in}"],
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "vips",
        commands: &["vips"],
        version: &["--version"],
        formats: &["heic", "heif", "avif", "jp2", "psd"],
        package: "libvips-tools",
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
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "heif",
        commands: &["heif-convert", "heif-dec"],
        version: &["--version"],
        formats: &["heic", "heif", "avif"],
        package: "libheif-examples",
        arguments: &["{in}", "out.png"],
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "ffmpeg",
        commands: &["ffmpeg"],
        version: &["-version"],
        formats: &["avif", "jp2"],
        package: "ffmpeg",
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
        output: PNG,
        limits: PICTURE,
    },
    Tool {
        name: "libraw",
        commands: &["dcraw_emu"],
        version: &[],
        formats: &["crw", "cr2", "dng", "nef", "pef", "rw2", "raw", "arw"],
        package: "libraw-bin",
        // Turned upright by itself; a PPM has no tag that would turn it again.
        arguments: &["-w", "-o", "1", "-Z", "out.ppm", "{in}"],
        output: "out.ppm",
        limits: PICTURE,
    },
];

impl Tool {
    pub(super) fn arguments_for(&self, input: &str) -> Vec<String> {
        let argument = |it: &&str| it.replace("{in}", input);
        self.arguments.iter().map(argument).collect()
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
        .filter(|tool| tool.formats.contains(&format.as_str()))
        .collect();
    let first = able.first()?;
    let names: Vec<_> = able.iter().map(|tool| tool.name).collect();
    let (names, how) = (names.join(" or "), first.how_to_enable());
    Some(format!("{format} needs {names}, which is not here: {how}"))
}
