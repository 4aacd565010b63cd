//! What of a preset decides the bytes of its files, as text: for fingerprints (media spec 8.5).

use std::fmt::Write as _;

use super::{Cut, Encoding, Extent, Gravity, Preset, Shape, Source};

impl Preset {
    /// Appends what of it decides the bytes of its files, a line each. Its id, its names and when it is run do not.
    pub fn write_parameters(&self, to: &mut String) {
        let Self {
            width,
            height,
            flatten,
            watermark,
            ..
        } = self;
        let said = |text: &Option<String>| text.clone().unwrap_or_default();
        let number = |number: Option<i64>| number.map(|it| it.to_string()).unwrap_or_default();
        let lines = [
            format!("{width}x{height} {}", shape(self.shape)),
            encoding(self.encoding),
            source(self.source).to_owned(),
            format!("flatten {flatten} on {}", said(&self.background)),
            format!("sampling {}", said(&self.sampling)),
            format!("rotate {}", number(self.rotate)),
            format!("extent {}", self.extent.map(extent).unwrap_or_default()),
            format!("dpi {}", number(self.dpi.map(i64::from))),
            format!("offset {}", said(&self.time_offset)),
            format!("frame {}", said(&self.frame)),
            format!("colours {}", said(&self.colour_space)),
            format!("watermark {watermark}"),
        ];
        let further = self.parameters.iter();
        let further = further.map(|(name, value)| format!("{name:?}={value:?}"));
        for line in lines.into_iter().chain(further) {
            writeln!(to, "{line}").expect("text takes everything");
        }
    }
}

fn shape(shape: Shape) -> String {
    match shape {
        Shape::Fit => "fit".to_owned(),
        Shape::FitEnlarge => "enlarge".to_owned(),
        Shape::Fill => "fill".to_owned(),
        Shape::Cut(cut) => {
            let Cut {
                x,
                y,
                size,
                is_before_scaling,
                ..
            } = cut;
            let (width, height) = size.unwrap_or_default();
            let gravity = gravity(cut.gravity);
            format!("cut {gravity} {width}x{height}{x:+}{y:+} first {is_before_scaling}")
        }
    }
}

fn encoding(encoding: Encoding) -> String {
    match encoding {
        Encoding::WebP { quality, method } => format!("webp {quality} {method}"),
        Encoding::Jpeg { quality } => format!("jpeg {quality}"),
        Encoding::Other => "other".to_owned(),
    }
}

const fn source(source: Source) -> &'static str {
    match source {
        Source::Original => "original",
        Source::Large => "large",
    }
}

fn extent(extent: Extent) -> String {
    let gravity = gravity(extent.gravity);
    format!("{gravity} {}x{}", extent.width, extent.height)
}

const fn gravity(gravity: Gravity) -> &'static str {
    match gravity {
        Gravity::NorthWest => "nw",
        Gravity::North => "n",
        Gravity::NorthEast => "ne",
        Gravity::West => "w",
        Gravity::Centre => "c",
        Gravity::East => "e",
        Gravity::SouthWest => "sw",
        Gravity::South => "s",
        Gravity::SouthEast => "se",
    }
}
