//! Paths as they travel: with the catalog's prefix in messages, escaped in URLs. The only code that knows the prefix.
//!
//! EMDB replaces the other side's catalog id wherever the text occurs (H-16) and trusts whatever path results (H-17,
//! H-18). Here the prefix is cut off once, at the front, and what remains must lie in one of the two trees of media.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::model::path::PathError;
use crate::model::{AssetId, CatalogId, FileKind, MediaPath};

/// Where the catalogs lie in EMDB's web application.
const DATA: &str = "/WEB-INF/data/";

/// What a URL keeps as it is besides letters and digits (wire spec 9.1). EMDB also leaves U+007F and U+0080 raw, which no
/// HTTP client may send; escaped they reach its server as the same name.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'*')
    .remove(b',')
    .remove(b'=');

/// A wire path that does not name a media file of the catalog it claims to be in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Does not begin with the prefix of the catalog.
    #[error("path {path:?} is not in catalog {catalog:?}")]
    Catalog {
        /// The path as it came.
        path: String,
        /// The catalog it should lie in.
        catalog: String,
    },
    /// Lies in the catalog, but not among its media.
    #[error("path {path:?} is neither an original nor generated")]
    Tree {
        /// The path as it came.
        path: String,
    },
    /// What follows is not a path we would write.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// The path of a file in messages: `/WEB-INF/data/<catalog>/generated/…`.
#[must_use]
pub fn to_wire(catalog: &CatalogId, kind: FileKind, path: &MediaPath) -> String {
    in_catalog(catalog.as_str(), kind, path)
}

/// The same in a catalog as another node states it.
#[must_use]
pub fn in_catalog(catalog: &str, kind: FileKind, path: &MediaPath) -> String {
    format!("{DATA}{catalog}/{}/{path}", kind.dir())
}

/// The file that a path in a message names. `catalog` is the sender's, as it states it.
///
/// # Errors
/// [`BadPath`] when it lies in another catalog, outside the media, or breaks a rule of [`MediaPath`].
pub fn from_wire(text: &str, catalog: &str) -> Result<(FileKind, MediaPath), BadPath> {
    let inside = (text.strip_prefix(DATA))
        .and_then(|rest| rest.strip_prefix(catalog))
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|_| !catalog.is_empty())
        .ok_or_else(|| BadPath::Catalog {
            path: text.to_owned(),
            catalog: catalog.to_owned(),
        })?;
    for kind in [FileKind::Original, FileKind::Generated] {
        let below = (inside.strip_prefix(kind.dir())).and_then(|rest| rest.strip_prefix('/'));
        if let Some(path) = below {
            return Ok((kind, MediaPath::new(path)?));
        }
    }
    Err(BadPath::Tree {
        path: text.to_owned(),
    })
}

/// A path as it stands in a URL. `/` stays, `+` becomes `%2B`, because EMDB decodes paths by the rules of forms
/// (wire spec 9.1).
#[must_use]
pub fn escape(path: &str) -> String {
    utf8_percent_encode(path, ESCAPED).to_string()
}

/// The text that a path in a URL stands for; `+` stays `+`. `None` for a `%` without two hexadecimal digits, or bytes that
/// are not UTF-8.
#[must_use]
pub fn unescape(raw: &str) -> Option<String> {
    let bytes = raw.as_bytes();
    let broken = |at: usize| {
        let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
        !(hex(at + 1) && hex(at + 2))
    };
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && broken(at)) {
        return None;
    }
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    Some(text.into_owned())
}

/// Where an original is fetched, below a node's base URL. One slash, not EMDB's two: only so hot folders are found (H-35).
#[must_use]
pub fn original_url(path: &MediaPath) -> String {
    download_url("originals", path)
}

/// Where a generated file is fetched, below a node's base URL.
#[must_use]
pub fn generated_url(path: &MediaPath) -> String {
    download_url("generatedpreview", path)
}

/// Names the asset whose file is asked for, between emsync nodes, which may have two files of one name. EMDB ignores it.
pub const ASSET_HEADER: &str = "x-emsync-asset";

/// Header by which a node says in its answer to HEAD that it knows the file, and would have to fetch the bytes itself.
pub const AWAY_HEADER: &str = "x-emsync-bytes";
/// Its value.
pub const AWAY: &str = "away";

/// An asset's id as it stands in [`ASSET_HEADER`]: escaped like a path.
#[must_use]
pub fn asset_to_header(asset: &AssetId) -> String {
    escape(asset.as_str())
}

/// The asset that a value of [`ASSET_HEADER`] names; `None` for one that names none.
#[must_use]
pub fn asset_from_header(value: &str) -> Option<AssetId> {
    AssetId::new(unescape(value)?).ok()
}

fn download_url(tree: &str, path: &MediaPath) -> String {
    format!(
        "mediadb/services/module/asset/downloads/{tree}/{}/{}",
        escape(path.as_str()),
        escape(path.name())
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::captures::request_path;

    #[test]
    fn any_asset_id_survives_its_header() {
        for id in ["a1", "a/2 #\u{e9}%41", "x'\"\\y"] {
            let id = AssetId::new(id).unwrap();
            let value = asset_to_header(&id);
            assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{value}");
            assert_eq!(asset_from_header(&value), Some(id));
        }
        assert_eq!(asset_from_header("%zz"), None);
        assert_eq!(asset_from_header(""), None);
    }

    fn path(text: &str) -> MediaPath {
        MediaPath::new(text).unwrap()
    }

    #[test]
    fn escapes_the_example_of_the_specification() {
        let raw = "/Collections/R&D (2024)/café 😀 100%~a+b.jpg";
        let escaped = "/Collections/R&D%20%282024%29/caf%C3%A9%20%F0%9F%98%80%20100%25%7Ea%2Bb.jpg";
        assert_eq!(escape(raw), escaped);
        assert_eq!(unescape(escaped).as_deref(), Some(raw));
    }

    #[test]
    fn escapes_every_character_as_emdb_does() {
        let kept = "AZaz09/-_.!$&*,=";
        assert_eq!(escape(kept), kept);
        for c in "';:?#[]@+ \"\\^{|}<>~`%()\u{1}\u{1f}".chars() {
            assert_eq!(escape(&c.to_string()), format!("%{:02X}", c as u32));
        }
    }

    #[test]
    fn urls_are_those_that_emdb_asked_for() {
        let base = |path: String| format!("/finder/{path}");
        let generated =
            "sourcepath/Collections/R&D (2024)/odd name 7 100~a+b.jpg/image3000x3000.webp";
        assert_eq!(
            base(generated_url(&path(generated))),
            request_path("c03-pull-generatedpreview-escaped-name")
        );
        let original = "Collections/R&D (2024)/odd name #7 100%~a+b.jpg";
        assert_eq!(
            base(original_url(&path(original))),
            request_path("c11-pull-original-escaped-name").replacen("originals//", "originals/", 1)
        );
    }

    #[test]
    fn only_the_prefix_of_the_catalog_is_cut() {
        let odd = "Trips/WEB-INF/data/finder/catalog/originals/x.jpg";
        let wire = to_wire(
            &CatalogId::new("finder/catalog").unwrap(),
            FileKind::Original,
            &path(odd),
        );
        assert_eq!(
            from_wire(&wire, "finder/catalog"),
            Ok((FileKind::Original, path(odd)))
        );
    }

    #[test]
    fn paths_outside_the_media_are_refused() {
        for (text, catalog) in [
            (
                "/WEB-INF/data/finder/catalog/assets/x.txt",
                "finder/catalog",
            ),
            ("/WEB-INF/data/finder/catalog/originals", "finder/catalog"),
            ("/WEB-INF/data/finder/catalog/originals/", "finder/catalog"),
            (
                "/WEB-INF/data/finder/catalog/originals//a",
                "finder/catalog",
            ),
            (
                "/WEB-INF/data/finder/catalog/originals/../x",
                "finder/catalog",
            ),
            (
                "/WEB-INF/data/finder/catalogue/originals/x",
                "finder/catalog",
            ),
            ("/WEB-INF/data/other/catalog/originals/x", "finder/catalog"),
            ("/WEB-INF/data//originals/x", ""),
            ("/WEB-INF/web.xml", "finder/catalog"),
            ("/etc/passwd", "finder/catalog"),
            ("WEB-INF/data/finder/catalog/originals/x", "finder/catalog"),
            ("", "finder/catalog"),
        ] {
            assert!(from_wire(text, catalog).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn broken_escapes_are_refused_and_a_plus_stays() {
        assert_eq!(unescape("a+b").as_deref(), Some("a+b"));
        for raw in ["%", "a%2", "%zz", "%e9", "%ff%fe", "%%20"] {
            assert_eq!(unescape(raw), None, "{raw:?}");
        }
    }

    proptest! {
        #[test]
        fn escaping_is_undone_by_unescaping(text in "(\\PC|[\\x00-\\x7f]|%|\\+){0,60}") {
            let escaped = escape(&text);
            prop_assert!(escaped.bytes().all(|b| b.is_ascii_graphic()));
            prop_assert_eq!(unescape(&escaped), Some(text));
        }

        #[test]
        fn no_wire_path_leaves_the_media(tail in "(\\.\\.|\\.|/|a|originals|generated|\0){0,12}") {
            for text in [tail.clone(), format!("/WEB-INF/data/f/catalog/{tail}"), format!("/WEB-INF/data/f/catalog/originals/{tail}")] {
                if let Ok((_, path)) = from_wire(&text, "f/catalog") {
                    prop_assert!(path.elements().all(|e| !e.is_empty() && e != "." && e != ".."));
                    prop_assert!(!path.as_str().contains('\0'));
                }
            }
        }
    }
}
