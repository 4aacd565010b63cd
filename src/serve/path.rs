//! From the path of a request to what it means. Pure: no path is looked up here, and none leaves here that [`MediaPath`]
//! would refuse.

use crate::model::{FileKind, MediaPath, Module};
use crate::protocol::wire_path;

/// What can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    /// `healthz`, with or without the site.
    Health,
    /// `readyz`, with or without the site.
    Ready,
    /// `cluster/listalldocs`, `cluster/nextall`: the same action with EMDB too (wire spec 3.2).
    Changes,
    /// `cluster/pullrecentuploads`.
    Uploads,
    /// Something is handed in.
    HandIn(HandIn),
    /// `cluster/emsyncdigest`: ours alone.
    Digests,
    /// `module/asset/downloads/originals/…`, `…/generatedpreview/…`.
    File(FileKind, MediaPath),
    /// `module/<table>/search`, `lists/search/<table>`.
    Search(Module),
    /// `system/systemstatus`.
    SystemStatus,
    /// `authentication/noaccess`.
    NoAccess,
    /// `authentication/getkey`.
    GetKey,
    /// Anything else.
    Nothing,
}

/// What other nodes hand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HandIn {
    /// A page of changes (wire spec 3.4).
    Changes,
    /// Originals on offer (3.5).
    Offer,
    /// A file (3.6, 3.7).
    File,
}

/// Reads the raw path of a URL. Empty elements do not count, so that slashes may be doubled anywhere; elements are unescaped
/// one by one, so that an escaped slash never makes two of one.
pub(super) fn endpoint(site: &str, raw: &str) -> Endpoint {
    find(site, raw).unwrap_or(Endpoint::Nothing)
}

fn find(site: &str, raw: &str) -> Option<Endpoint> {
    let elements: Vec<String> = raw
        .split('/')
        .filter(|element| !element.is_empty())
        .map(|element| wire_path::unescape(element).filter(|text| !text.contains('/')))
        .collect::<Option<_>>()?;
    let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
    match elements.as_slice() {
        ["healthz"] => Some(Endpoint::Health),
        [first, "healthz"] if *first == site => Some(Endpoint::Health),
        ["readyz"] => Some(Endpoint::Ready),
        [first, "readyz"] if *first == site => Some(Endpoint::Ready),
        [first, "mediadb", "services", rest @ ..] if *first == site => service(rest),
        _ => None,
    }
}

fn service(elements: &[&str]) -> Option<Endpoint> {
    // The last element of a download is any name; the file's own comes before it (wire spec 3.8, 3.9).
    if let ["module", "asset", "downloads", tree, path @ .., _] = elements {
        let kind = match *tree {
            "originals" => FileKind::Original,
            "generatedpreview" => FileKind::Generated,
            _ => return None,
        };
        let path = MediaPath::new(path.join("/")).ok()?;
        return Some(Endpoint::File(kind, path));
    }
    let (last, above) = elements.split_last()?;
    let last = last.strip_suffix(".json").unwrap_or(last);
    match (above, last) {
        (["cluster"], "listalldocs" | "nextall") => Some(Endpoint::Changes),
        (["cluster"], "pullrecentuploads") => Some(Endpoint::Uploads),
        (["cluster", "receive"], "uploadchanges") => Some(Endpoint::HandIn(HandIn::Changes)),
        (["cluster", "receive"], "receiveoriginalschanges") => {
            Some(Endpoint::HandIn(HandIn::Offer))
        }
        (["cluster", "receive"], "uploadfile") | (["module", "asset", "sync"], "uploadfile") => {
            Some(Endpoint::HandIn(HandIn::File))
        }
        (["cluster"], "emsyncdigest") => Some(Endpoint::Digests),
        (["module", table], "search") => table_of(table),
        (["lists", "search"], table) => table_of(table),
        (["system"], "systemstatus") => Some(Endpoint::SystemStatus),
        (["authentication"], "noaccess") => Some(Endpoint::NoAccess),
        (["authentication"], "getkey") => Some(Endpoint::GetKey),
        _ => None,
    }
}

fn table_of(name: &str) -> Option<Endpoint> {
    Module::new(name).ok().map(Endpoint::Search)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(below: &str) -> Endpoint {
        endpoint("assets", &format!("/assets/mediadb/services/{below}"))
    }

    fn original(path: &str) -> Endpoint {
        Endpoint::File(FileKind::Original, MediaPath::new(path).unwrap())
    }

    #[test]
    fn services_are_found_with_and_without_json_and_with_doubled_slashes() {
        for path in [
            "cluster/listalldocs",
            "cluster/listalldocs.json",
            "cluster/nextall.json",
            "/cluster///nextall.json/",
        ] {
            assert_eq!(at(path), Endpoint::Changes, "{path}");
        }
        assert_eq!(at("cluster/pullrecentuploads.json"), Endpoint::Uploads);
        assert_eq!(at("cluster/emsyncdigest.json"), Endpoint::Digests);
        let assets = Endpoint::Search(Module::asset());
        assert_eq!(at("module/asset/search.json"), assets);
        assert_eq!(at("lists/search/asset.json"), assets);
        assert_eq!(at("system/systemstatus.json"), Endpoint::SystemStatus);
        assert_eq!(
            endpoint("assets", "//assets//mediadb/services/authentication/getkey"),
            Endpoint::GetKey
        );
        for path in ["/healthz", "/assets/healthz"] {
            assert_eq!(endpoint("assets", path), Endpoint::Health);
        }
        for path in ["/readyz", "/assets/readyz"] {
            assert_eq!(endpoint("assets", path), Endpoint::Ready);
        }
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for path in [
            "/",
            "/assets",
            "/finder/mediadb/services/cluster/listalldocs.json",
            "/finder/healthz",
            "/assets/mediadb/services/cluster/listalldocs.html",
            "/assets/mediadb/services/module/asset/downloads/preset/a/b/c",
            "/assets/mediadb/services/module/bad%20table/search",
        ] {
            assert_eq!(endpoint("assets", path), Endpoint::Nothing, "{path}");
        }
    }

    #[test]
    fn downloads_lose_their_last_element_and_keep_their_names() {
        let base = "module/asset/downloads";
        let file = original("Port/a.jpg");
        assert_eq!(at(&format!("{base}/originals/Port/a.jpg/a.jpg")), file);
        assert_eq!(at(&format!("{base}/originals//Port/a.jpg/any.json")), file);
        let odd = at(&format!("{base}/originals/a+b%2B%23%25%3F%22%0A.json/x"));
        assert_eq!(odd, original("a+b+#%?\"\n.json"));
    }

    #[test]
    fn paths_that_lead_elsewhere_are_nothing() {
        for path in [
            "originals/../secret/x",
            "originals/%2e%2e/secret/x",
            "originals/a/%2E%2E/%2E%2E/x",
            "originals/..%2fsecret/x",
            "originals/%2Fetc%2Fpasswd/x",
            "originals/a%00.jpg/x",
            "originals/a%ff.jpg/x",
            "originals/a%zz.jpg/x",
            "originals/./x",
            "originals/x",
            "originals",
        ] {
            let path = format!("module/asset/downloads/{path}");
            assert_eq!(at(&path), Endpoint::Nothing, "{path}");
        }
    }

    proptest! {
        /// What our own client and EMDB's ask for is what is found.
        #[test]
        fn the_urls_of_the_client_lead_back_to_their_file(path in "[^/\u{0}]{1,40}(/[^/\u{0}]{1,40}){0,3}") {
            let Ok(path) = MediaPath::new(path) else { return Ok(()) };
            let url = format!("/assets/{}", wire_path::original_url(&path));
            prop_assert_eq!(endpoint("assets", &url), Endpoint::File(FileKind::Original, path.clone()));
            let url = format!("/assets/{}", wire_path::generated_url(&path));
            prop_assert_eq!(endpoint("assets", &url), Endpoint::File(FileKind::Generated, path));
        }

        #[test]
        fn no_path_panics(raw in "[/.%0-9a-fA-Fx]{0,60}") {
            endpoint("assets", &format!("/assets/mediadb/services/module/asset/downloads/originals/{raw}"));
        }
    }
}
