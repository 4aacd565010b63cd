//! Names of generated files (media spec 2.2): put together as EMDB's converter does, and taken apart as its server does.

use std::fmt;

use super::{Preset, RenderType};

/// The other side of a box of which a request asks for one only.
const UNSAID_SIDE: u32 = 10_000;

/// What a computed name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Type of the output.
    pub render_type: RenderType,
    /// Width and height of the box.
    pub size: Option<(u32, u32)>,
    /// Counted from 1, which is not said.
    pub page: u32,
    /// Whether a watermark is asked for.
    pub watermark: bool,
    /// A film's frame.
    pub frame: Option<String>,
    /// A colour space, such as `CMYK`.
    pub colour_space: Option<String>,
    /// Whether the picture is cut, or laid on a canvas.
    pub cropped: bool,
    /// Moment of a film in seconds, as given.
    pub time_offset: Option<String>,
    /// Without the dot.
    pub extension: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_picture = matches!(self.render_type, RenderType::Image | RenderType::Document);
        f.write_str(self.render_type.as_str())?;
        if is_picture || self.render_type == RenderType::Video {
            if let Some((width, height)) = self.size {
                write!(f, "{width}x{height}")?;
            }
            if self.page > 1 {
                write!(f, "page{}", self.page)?;
            }
        }
        if self.watermark && is_picture {
            f.write_str("wm")?;
        }
        if let Some(frame) = &self.frame {
            write!(f, "frame{frame}")?;
        }
        f.write_str(self.colour_space.as_deref().unwrap_or_default())?;
        if self.cropped {
            f.write_str("cropped")?;
        }
        if let Some(offset) = &self.time_offset {
            write!(f, "offset{offset}")?;
        }
        write!(f, ".{}", self.extension)
    }
}

/// A requested name, taken apart: the file it is of, and which page or moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The name without page and moment: what presets are looked up by.
    pub file_name: String,
    /// Counted from 1; `None` when the name says none.
    pub page: Option<u32>,
    /// Seconds, as given.
    pub time_offset: Option<String>,
}

impl Requested {
    /// Takes a name apart; one without an extension gets `extension` (EMDB's setting `default_thumbnail_extension`).
    ///
    /// `None` for a name whose page is no number, which EMDB cannot take apart either: `image110x62page2cropped.webp`.
    #[must_use]
    pub fn parse(name: &str, extension: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, extension));
        let (stem, time_offset) = split(stem, "offset");
        let (stem, page) = split(stem, "page");
        let page = page.map(|page| page.parse().ok().filter(|page| *page > 0));
        let page = match page {
            Some(None) => return None,
            said => said.flatten(),
        };
        Some(Self {
            file_name: format!("{stem}.{extension}"),
            page,
            time_offset: time_offset.map(str::to_owned),
        })
    }
}

fn split<'a>(stem: &'a str, word: &str) -> (&'a str, Option<&'a str>) {
    match stem.split_once(word) {
        Some((before, after)) => (before, Some(after)),
        None => (stem, None),
    }
}

/// The name that serves for another one, as it was called in older catalogs: `image550x350` and `image550x550`.
#[must_use]
pub fn alias(file_name: &str) -> Option<String> {
    let twins = [
        ("image550x350.", "image550x550."),
        ("image550x550.", "image550x350."),
    ];
    twins.into_iter().find_map(|(one, other)| {
        file_name
            .strip_prefix(one)
            .map(|extension| format!("{other}{extension}"))
    })
}

impl Preset {
    /// The preset with the box a request asks for. Of one side alone the other is as good as unlimited; none leaves it as it is.
    ///
    /// The file is then called by its box, unless its name is stated.
    #[must_use]
    pub fn asked_for(&self, width: Option<u32>, height: Option<u32>) -> Self {
        let mut asked = self.clone();
        if width.or(height).is_some() {
            asked.width = width.unwrap_or(UNSAID_SIDE);
            asked.height = height.unwrap_or(UNSAID_SIDE);
            asked.file_name = asked.file_name_of(1);
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{PresetId, PresetTable, Shipped, image_presets};
    use super::*;

    fn name(render_type: RenderType) -> Name {
        Name {
            render_type,
            size: Some((550, 350)),
            page: 1,
            watermark: false,
            frame: None,
            colour_space: None,
            cropped: false,
            time_offset: None,
            extension: "webp".to_owned(),
        }
    }

    fn all_of(render_type: RenderType) -> Name {
        Name {
            page: 3,
            watermark: true,
            frame: Some("7".to_owned()),
            colour_space: Some("CMYK".to_owned()),
            cropped: true,
            time_offset: Some("12.5".to_owned()),
            ..name(render_type)
        }
    }

    #[test]
    fn the_parts_of_a_name_come_in_emdbs_order_and_only_where_they_belong() {
        let all = "550x350page3wmframe7CMYKcroppedoffset12.5.webp";
        for (render_type, expected) in [
            (RenderType::Image, format!("image{all}")),
            (RenderType::Document, format!("document{all}")),
            (RenderType::Video, format!("video{}", all.replace("wm", ""))),
            (
                RenderType::Audio,
                "audioframe7CMYKcroppedoffset12.5.webp".to_owned(),
            ),
        ] {
            assert_eq!(all_of(render_type).to_string(), expected);
        }
        assert_eq!(name(RenderType::Image).to_string(), "image550x350.webp");
        let boxless = Name {
            size: None,
            extension: "pdf".to_owned(),
            ..name(RenderType::Document)
        };
        assert_eq!(boxless.to_string(), "document.pdf");
    }

    #[test]
    fn a_stated_name_is_that_of_every_page() {
        let table = PresetTable::shipped(Shipped::Webp);
        let of = |id: &str, page| table.by_id(&PresetId::new(id)).unwrap().file_name_of(page);
        assert_eq!(of("webpmediumimage", 4), "image550x550.webp");
        assert_eq!(of("webpthumbimage", 4), "image200x200page4.webp");
        assert_eq!(of("webpimagecrop", 2), "image110x62page2cropped.webp");
        assert_eq!(of("videohls", 2), "video.m3u8");
        assert_eq!(of("0", 1), "");
    }

    #[test]
    fn one_side_alone_leaves_the_other_open() {
        let thumb = image_presets().swap_remove(3);
        let asked = |width, height| thumb.asked_for(width, height).file_name;
        assert_eq!(asked(Some(300), None), "image300x10000.webp");
        assert_eq!(asked(None, Some(300)), "image10000x300.webp");
        assert_eq!(asked(Some(300), Some(200)), "image300x200.webp");
        assert_eq!(asked(None, None), "image200x200.webp");
        let medium = image_presets().swap_remove(2);
        assert_eq!(
            medium.asked_for(Some(300), None).file_name,
            "image550x550.webp",
            "it is stated"
        );
    }

    #[test]
    fn names_are_taken_apart_as_emdb_does_it() {
        let parsed =
            |name| Requested::parse(name, "webp").map(|it| (it.file_name, it.page, it.time_offset));
        let offset = |text: &str| Some(text.to_owned());
        for (name, expected) in [
            (
                "image3000x3000.webp",
                Some(("image3000x3000.webp", None, None)),
            ),
            (
                "image3000x3000page12.webp",
                Some(("image3000x3000.webp", Some(12), None)),
            ),
            (
                "image1900x1080offset12.5.webp",
                Some(("image1900x1080.webp", None, offset("12.5"))),
            ),
            (
                "image1900x1080page2offset3.jpg",
                Some(("image1900x1080.jpg", Some(2), offset("3"))),
            ),
            (
                "image1900x1080offset.webp",
                Some(("image1900x1080.webp", None, offset(""))),
            ),
            ("image200x200", Some(("image200x200.webp", None, None))),
            ("image110x62page2cropped.webp", None),
            ("image110x62page0.webp", None),
            ("mypage.webp", None),
        ] {
            let expected = expected.map(|(file_name, page, at)| (file_name.to_owned(), page, at));
            assert_eq!(parsed(name), expected, "{name}");
        }
    }

    #[test]
    fn old_and_new_medium_images_stand_for_each_other() {
        assert_eq!(
            alias("image550x350.jpg").as_deref(),
            Some("image550x550.jpg")
        );
        assert_eq!(
            alias("image550x550.webp").as_deref(),
            Some("image550x350.webp")
        );
        assert_eq!(alias("image550x550page2.webp"), None);
    }

    prop_compose! {
        /// Whatever can be taken apart again: nothing stands between page and moment.
        fn plain()(
            size in proptest::option::of((1_u32..70_000, 1_u32..70_000)),
            page in 1_u32..100_000,
            time_offset in proptest::option::of("[0-9]{1,5}([.][0-9]{1,3})?"),
            extension in "(webp|jpg|png)",
        ) -> Name {
            Name { size, page, time_offset, extension, ..name(RenderType::Image) }
        }
    }

    proptest! {
        #[test]
        fn a_name_that_is_put_together_comes_apart_again(name in plain()) {
            let plain = Name { page: 1, time_offset: None, ..name.clone() };
            let expected = Requested {
                file_name: plain.to_string(),
                page: Some(name.page).filter(|page| *page > 1),
                time_offset: name.time_offset.clone(),
            };
            prop_assert_eq!(Requested::parse(&name.to_string(), ""), Some(expected));
        }

        #[test]
        fn any_text_comes_apart_or_is_refused(text in "(image|page|offset|[0-9.]|x|é){0,9}") {
            if let Some(asked) = Requested::parse(&text, "webp") {
                prop_assert!(asked.file_name.contains('.') && asked.page != Some(0));
            }
        }
    }
}
