//! Where a file lies on our disk when it cannot lie under its own name. Pure: whoever asks knows what is there.
//!
//! The *path* of a file is what its asset and every peer call it; its *place* is what the disk calls it. They are the same
//! unless an element is too long for a disk, another file has the place already, or the [`Rules`] forbid the name. A mapped
//! name is made of what a person needs to recognise it and of what makes it its own:
//!
//! ```text
//! Übersicht….jpg  ->  Übersicht…~3fa2b81c.jpg     stem as far as it fits, ~, 8 digits of a SHA-256, extension
//! CON/a.jpg       ->  CON~9b2f00d1/a.jpg          a folder is mapped by its own text alone, so that siblings stay together
//! ```
//!
//! The digits of a file are drawn from its path and its asset, so that the same file gets the same place on every node that
//! has the same neighbours. Nothing reads a path back out of a place: the catalogue holds both.

use unicode_normalization::UnicodeNormalization as _;

use super::path::MAX_PATH;
use super::{AssetId, FileKind, MediaPath, Sha256};

/// Longest element of a place in bytes: what ext4, XFS, Btrfs, ZFS and APFS all take.
pub const MAX_PLACE_ELEMENT: usize = 255;
/// Longest extension that a mapped name keeps, in bytes without its dot.
const MAX_EXTENSION: usize = 32;
/// Hexadecimal digits in a mapped name.
const DIGITS: usize = 8;

/// What a disk, or a person, demands of places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rules {
    /// Names are bytes: two that differ in one byte are two names.
    #[default]
    Bytes,
    /// The file system takes names for one that differ in case or Unicode form only.
    Folding,
    /// Every place can be copied to any other system: no two names that any of them takes for one, none it cannot hold.
    Portable,
}

/// Why a file lies elsewhere than under its own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// An element, or with the mapping the whole, is too long.
    Long,
    /// Other systems cannot hold the name.
    Unportable,
    /// Another file has the name, or one that counts as the same.
    Taken,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Long => "its name is too long for a disk",
            Self::Unportable => "its name is not portable",
            Self::Taken => "another file has that name",
        })
    }
}

impl Rules {
    /// What two places have in common that are one to whoever demands this.
    #[must_use]
    pub fn key(self, place: &MediaPath) -> String {
        match self {
            Self::Bytes => place.as_str().to_owned(),
            Self::Folding | Self::Portable => fold(place.as_str()),
        }
    }

    /// Whether two places are one to whoever demands this.
    #[must_use]
    pub fn are_one(self, a: &MediaPath, b: &MediaPath) -> bool {
        a == b || self.key(a) == self.key(b)
    }

    /// The place of a file that nothing else is in the way of: its path, as long as every element of it may stand.
    #[must_use]
    pub fn plain(self, path: &MediaPath, asset: &AssetId) -> MediaPath {
        if path
            .elements()
            .all(|element| self.why_not(element).is_none())
        {
            return path.clone();
        }
        let name = match self.why_not(path.name()) {
            Some(_) => self.mapped(path.name(), &of_file(path, asset, 0)),
            None => path.name().to_owned(),
        };
        self.with_name(path, asset, &name)
    }

    /// The places of a file, best first: each is for when those before it are taken. There is no end to them.
    pub fn places(self, path: &MediaPath, asset: &AssetId) -> impl Iterator<Item = MediaPath> {
        let tagged = (0..).map(move |n| {
            let name = self.mapped(path.name(), &of_file(path, asset, n));
            self.with_name(path, asset, &name)
        });
        std::iter::once_with(move || self.plain(path, asset)).chain(tagged)
    }

    /// Why a file lies at `place`; `None` for its own name.
    #[must_use]
    pub fn why(self, path: &MediaPath, place: &MediaPath) -> Option<Why> {
        if path == place {
            return None;
        }
        let own = path.elements().find_map(|element| self.why_not(element));
        Some(own.unwrap_or(Why::Taken))
    }

    /// `name` below the mapped folders of a path. Should all of it have grown too long, a name of its own at the top has to do.
    fn with_name(self, path: &MediaPath, asset: &AssetId, name: &str) -> MediaPath {
        let above = path.parent().map(|parent| {
            let folders = parent.elements().map(|folder| match self.why_not(folder) {
                Some(_) => self.mapped(folder, &Sha256::of(folder.as_bytes())),
                None => folder.to_owned(),
            });
            folders.collect::<Vec<_>>().join("/")
        });
        let whole = above.map_or_else(|| name.to_owned(), |above| format!("{above}/{name}"));
        let whole = if whole.len() > MAX_PATH {
            self.mapped(name, &of_file(path, asset, u32::MAX))
        } else {
            whole
        };
        MediaPath::new(whole)
            .expect("mapping adds no dots, slashes or NULs, and keeps to the length")
    }

    /// What is wrong with an element of a path, if anything.
    fn why_not(self, element: &str) -> Option<Why> {
        if element.len() > MAX_PLACE_ELEMENT {
            return Some(Why::Long);
        }
        (self == Self::Portable && !is_portable(element)).then_some(Why::Unportable)
    }

    /// An element that may stand, with digits that make it its own.
    fn mapped(self, element: &str, tag: &Sha256) -> String {
        let clean: String = match self {
            Self::Portable => element
                .chars()
                .map(|c| if is_forbidden(c) { '_' } else { c })
                .collect(),
            _ => element.to_owned(),
        };
        let (stem, extension) = parts(&clean, self == Self::Portable);
        let tag = &tag.to_string()[..DIGITS];
        let room = MAX_PLACE_ELEMENT - extension.len() - 1 - DIGITS;
        format!("{}~{tag}{extension}", cut(stem, room))
    }
}

/// The place of a file: the best of its [`places`](Rules::places) that is not taken.
#[must_use]
pub fn place(
    path: &MediaPath,
    asset: &AssetId,
    rules: Rules,
    mut is_taken: impl FnMut(&MediaPath) -> bool,
) -> MediaPath {
    let mut places = rules.places(path, asset);
    places
        .find(|place| !is_taken(place))
        .expect("there is always another place")
}

/// What a person is told about a file that lies elsewhere.
#[must_use]
pub fn mapped_text(file: (FileKind, &MediaPath), asset: &AssetId, to: (&MediaPath, Why)) -> String {
    let ((kind, path), (place, why)) = (file, to);
    format!(
        "{}/{path} of asset {asset} is kept on disk as {place}, since {why}; peers see its own name",
        kind.dir()
    )
}

/// A text in the form in which names are compared that differ in case, Unicode form or invisible characters only.
///
/// Upper and then lower case, character by character, folds more than any one file system does (`ß` and `ss`, `ı` and `i`);
/// a name that is mapped for nothing costs less than two files under one name. Invisible characters are those that ext4 and
/// HFS+ leave out when they compare.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed = text.nfd().filter(|c| !is_invisible(*c));
    let upper = decomposed.flat_map(char::to_uppercase);
    upper.flat_map(char::to_lowercase).nfc().collect()
}

/// Whether a name can be held by Windows, macOS and Linux alike.
#[must_use]
pub fn is_portable(element: &str) -> bool {
    !element.chars().any(is_forbidden) && !element.ends_with(['.', ' ']) && !is_device(element)
}

/// Characters that Windows allows in no name.
fn is_forbidden(c: char) -> bool {
    c < ' ' || "<>:\"\\|?*".contains(c)
}

/// Whether Windows takes a name for one of its devices, whatever extension it has.
fn is_device(element: &str) -> bool {
    let base = element.split('.').next().unwrap_or(element);
    let base = base.trim_end_matches(' ').to_ascii_uppercase();
    if matches!(
        base.as_str(),
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$"
    ) {
        return true;
    }
    let number = base
        .strip_prefix("COM")
        .or_else(|| base.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut digits = number.chars();
        let digit = digits
            .next()
            .is_some_and(|c| c.is_ascii_digit() || "¹²³".contains(c));
        digit && digits.next().is_none()
    })
}

/// Characters that change how a text looks, if that, but not what it says to a file system that folds.
const fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn of_file(path: &MediaPath, asset: &AssetId, n: u32) -> Sha256 {
    Sha256::of(format!("{path}\0{asset}\0{n}").as_bytes())
}

/// What comes before the digits and what comes after them. Of a device's name everything from its first dot on comes after,
/// or the digits would not help; an extension that is no extension goes with the stem.
fn parts(element: &str, portable: bool) -> (&str, &str) {
    let dot = if portable && is_device(element) {
        element.find('.')
    } else {
        element.rfind('.')
    };
    let at = dot.filter(|at| *at > 0).unwrap_or(element.len());
    let (stem, extension) = element.split_at(at);
    let extension = if portable {
        extension.trim_end_matches(['.', ' '])
    } else {
        extension
    };
    if extension.len() > MAX_EXTENSION + 1 {
        return (element, "");
    }
    (stem, extension)
}

/// The beginning of a text, whole characters only.
fn cut(text: &str, room: usize) -> &str {
    &text[..text.floor_char_boundary(room)]
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> MediaPath {
        MediaPath::new(text).unwrap()
    }

    fn asset(id: &str) -> AssetId {
        AssetId::new(id).unwrap()
    }

    fn free(text: &str, rules: Rules) -> String {
        place(&path(text), &asset("a1"), rules, |_| false).to_string()
    }

    #[test]
    fn names_are_kept_where_nothing_is_against_them() {
        for text in [
            "a b/#%+?&'\".jpg",
            "CON",
            "trailing.",
            "Caf\u{e9}/cafe\u{301}.jpg",
            "a\\b",
            &"x".repeat(255),
        ] {
            assert_eq!(free(text, Rules::Bytes), text);
            assert_eq!(free(text, Rules::Folding), text);
        }
        for text in [
            "a b/#%+&'.jpg",
            ".hidden",
            "Caf\u{e9}.jpg",
            "console.log",
            "COM10",
            "~",
            "...x",
        ] {
            assert_eq!(free(text, Rules::Portable), text);
        }
    }

    #[test]
    fn long_names_keep_stem_and_extension_and_siblings_stay_together() {
        let long = "ä".repeat(300);
        let of = |text: &str| free(text, Rules::Bytes);
        let name = of(&format!("{long}.jpeg"));
        assert!(
            name.len() <= 255 && name.starts_with("ää") && name.ends_with(".jpeg"),
            "{name}"
        );
        let (one, two) = (of(&format!("{long}/a.jpg")), of(&format!("{long}/b.jpg")));
        assert_eq!(one.strip_suffix("a.jpg"), two.strip_suffix("b.jpg"));
        assert_ne!(of(&format!("{long}1.jpg")), of(&format!("{long}2.jpg")));
        let no_extension = format!("a.{}", "x".repeat(400));
        assert_eq!(of(&no_extension).len(), 255);
    }

    #[test]
    fn devices_and_what_windows_cannot_hold_are_mapped_where_places_must_be_portable() {
        for text in [
            "CON",
            "con.txt",
            "Aux.tar.gz",
            "nul .x",
            "COM1",
            "LPT\u{b9}.txt",
            "COM0",
            "trailing.",
            "trailing ",
            "a. .",
            "...",
            "a:b",
            "a\\b",
            "why?",
            "a\nb",
            "a\u{1}b.jpg",
            "<b>",
            "x.jp*g",
            "conin$",
            ".",
            " ",
        ] {
            let Ok(path) = MediaPath::new(text) else {
                continue;
            };
            let mapped = place(&path, &asset("a1"), Rules::Portable, |_| false);
            assert_ne!(mapped, path);
            assert!(is_portable(mapped.as_str()), "{text:?} became {mapped}");
        }
        assert!(free("CON.tar.gz", Rules::Portable).starts_with("CON~"));
        assert!(free("dir:1/a.jpg", Rules::Portable).starts_with("dir_1~"));
    }

    #[test]
    fn folding_brings_together_what_some_disk_takes_for_one_name() {
        for (a, b) in [
            ("A", "a"),
            ("Caf\u{e9}", "CAFE\u{301}"),
            ("\u{212b}", "a\u{30a}"),
            ("stra\u{df}e", "STRASSE"),
            ("\u{3c3}", "\u{3c2}"),
            ("\u{130}", "i\u{307}"),
            ("I", "\u{131}"),
            ("a\u{200d}b", "ab"),
            ("\u{202e}gnp.exe", "GNP.exe"),
        ] {
            assert_eq!(fold(a), fold(b), "{a:?} {b:?}");
        }
        assert_ne!(fold("a"), fold("b"));
    }

    #[test]
    fn a_taken_name_goes_to_the_next_that_is_free() {
        let (a, id) = (path("dir/a.jpg"), asset("a2"));
        let second = place(&a, &id, Rules::Bytes, |place| *place == a);
        assert!(second.as_str().starts_with("dir/a~") && second.name().ends_with(".jpg"));
        let third = place(&a, &id, Rules::Bytes, |place| {
            *place == a || *place == second
        });
        assert_ne!(second, third);
        assert_eq!(Rules::Bytes.why(&a, &third), Some(Why::Taken));
        assert_eq!(Rules::Bytes.why(&a, &a), None);
    }

    #[test]
    fn a_place_that_grows_too_long_becomes_a_short_one() {
        let deep = path(&["CON"; 870].join("/"));
        let mapped = place(&deep, &asset("a1"), Rules::Portable, |_| false);
        assert!(mapped.as_str().len() < 64, "{mapped}");
        let longest = path(&vec!["x".repeat(249); 14].join("/"));
        let second = place(&longest, &asset("a1"), Rules::Bytes, |place| {
            *place == longest
        });
        assert!(second.as_str().len() <= MAX_PATH);
    }

    #[test]
    fn a_place_of_the_greatest_length_still_keeps_its_folders() {
        // Taken, it gains a mark and its digits.
        let room = MAX_PATH - 1 - DIGITS;
        let folders = vec!["x".repeat(249); 13].join("/");
        for (length, keeps) in [(room, true), (room + 1, false)] {
            let name = "y".repeat(length - folders.len() - 1);
            let path = path(&format!("{folders}/{name}"));
            let second = place(&path, &asset("a1"), Rules::Bytes, |place| *place == path);
            assert_eq!(second.as_str().starts_with(&folders), keeps, "{length}");
            assert!(second.as_str().len() <= MAX_PATH);
        }
    }

    #[test]
    fn digits_stand_before_the_last_extension_unless_a_device_needs_them_earlier() {
        let second = |text: &str, rules: Rules| {
            let path = path(text);
            let mapped = place(&path, &asset("a1"), rules, |place| *place == path);
            let (stem, rest) = mapped.as_str().split_once('~').unwrap();
            format!("{stem}~{}", &rest[DIGITS..])
        };
        let kept = format!("a.{}", "e".repeat(MAX_EXTENSION));
        let none = format!("{kept}e");
        for (text, rules, mapped) in [
            ("a.tar.gz", Rules::Bytes, "a.tar~.gz".to_owned()),
            ("CON.tar.gz", Rules::Bytes, "CON.tar~.gz".to_owned()),
            ("CON.tar.gz", Rules::Portable, "CON~.tar.gz".to_owned()),
            ("a.tar.gz", Rules::Portable, "a.tar~.gz".to_owned()),
            (".hidden", Rules::Bytes, ".hidden~".to_owned()),
            (&kept, Rules::Bytes, kept.replace('.', "~.")),
            (&none, Rules::Bytes, format!("{none}~")),
        ] {
            assert_eq!(second(text, rules), mapped, "{text} under {rules:?}");
        }
    }

    #[test]
    fn places_are_one_where_the_file_system_takes_them_for_one() {
        let (lower, upper, other) = (path("x/a.jpg"), path("X/A.JPG"), path("x/b.jpg"));
        for (rules, folds) in [
            (Rules::Bytes, false),
            (Rules::Folding, true),
            (Rules::Portable, true),
        ] {
            assert!(rules.are_one(&lower, &lower));
            assert_eq!(rules.are_one(&lower, &upper), folds, "{rules:?}");
            assert!(!rules.are_one(&lower, &other));
            assert_eq!(rules.key(&lower) == rules.key(&upper), folds, "{rules:?}");
            assert_ne!(rules.key(&lower), rules.key(&other));
        }
    }

    #[test]
    fn a_person_is_told_which_file_lies_where_and_why() {
        let (name, place) = (path("x/a.jpg"), path("x/a~0.jpg"));
        for (why, because) in [
            (Why::Long, "too long"),
            (Why::Unportable, "not portable"),
            (Why::Taken, "another file"),
        ] {
            let file = (FileKind::Original, &name);
            let text = mapped_text(file, &asset("a1"), (&place, why));
            for said in ["originals/x/a.jpg", "a1", "x/a~0.jpg", because] {
                assert!(text.contains(said), "{said} is not in: {text}");
            }
        }
    }

    proptest! {
        /// What holds for every file of every node, whatever the names: places are distinct, short and allowed.
        #[test]
        fn places_are_distinct_short_and_allowed(
            texts in prop::collection::vec("([aAbBéÉ.: ~]{1,3}|CON|é|x{250,300})(/[aA.é\u{301}]{1,2}(\\.jpg)?)?", 1..40),
            portable in any::<bool>(),
        ) {
            let rules = if portable { Rules::Portable } else { Rules::Bytes };
            let mut given: HashMap<String, MediaPath> = HashMap::new();
            let key = |place: &MediaPath| if portable { fold(place.as_str()) } else { place.to_string() };
            for (n, text) in texts.iter().enumerate() {
                let Ok(path) = MediaPath::new(text.as_str()) else { continue };
                let asset = asset(&format!("a{n}"));
                let place = place(&path, &asset, rules, |place| given.contains_key(&key(place)));
                prop_assert!(place.elements().all(|element| element.len() <= MAX_PLACE_ELEMENT));
                prop_assert!(!portable || place.elements().all(is_portable), "{} at {}", path, place);
                prop_assert!(given.insert(key(&place), path).is_none());
            }
        }
    }
}
