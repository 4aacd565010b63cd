//! Rare kinds of formats that are decoded here otherwise, by a program: what EMDB makes its pictures with reads nearly all of them.

use std::fs::File;
use std::sync::PoisonError;

use super::tools::{TOOLS, Tool, WAY, Way};
use super::{Adapters, Error, Part};

/// The program.
const NAME: &str = "imagemagick";

/// Whole and upright, its profile kept, for the mode of the node decides what becomes of it. The format is named twice, so that no
/// content makes it another one. One at a time: a large picture takes it gigabytes.
macro_rules! read_as {
    ($input:literal) => {
        Way {
            arguments: &[
                "-limit",
                "thread",
                "1",
                $input,
                "-auto-orient",
                "-colorspace",
                "sRGB",
                "-depth",
                "8",
                "-define",
                "png:compression-level=1",
                "png:out.png",
            ],
            is_alone: true,
            ..WAY
        }
    };
}

const JPEG: Way = read_as!("jpeg:{in}[0]");
const TIFF: Way = read_as!("tiff:{in}[0]");

impl Adapters {
    /// Turns a JPEG or TIFF of a kind that no decoder here knows into a PNG file, and answers with its content. `format` is `jpg` or
    /// `tif`. Blocks.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotFound`] when the program is not here, [`Error::NoPages`] for any page but the first.
    pub fn spare(&self, original: File, format: &str, part: Part) -> Result<Vec<u8>, Error> {
        let way = if format == "tif" { &TIFF } else { &JPEG };
        let adapter = self.found.iter().find(|it| it.tool.name == NAME);
        let adapter = adapter.ok_or_else(|| {
            let tool = TOOLS.iter().find(|tool| tool.name == NAME);
            let how = tool.map_or(String::new(), Tool::how_to_enable);
            Error::NotFound {
                reason: format!(
                    "it needs {NAME}, which is not here: {how}; then `emsync thumbs rebuild --failed`"
                ),
            }
        })?;
        // Whoever panicked with it left nothing behind.
        let _turn = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
        adapter.make(way, original, (format, part), &self.stop)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::original;
    use super::*;

    #[test]
    fn a_rare_kind_without_its_program_says_what_to_install_and_what_to_do_then() {
        let refused = Adapters::none()
            .spare(original(b"MM\0*"), "tif", Part::FIRST)
            .unwrap_err();
        let said = refused.to_string();
        assert!(said.contains("install imagemagick"), "{said}");
        assert!(said.contains("rebuild --failed"), "{said}");
    }
}
