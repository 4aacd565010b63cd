//! What caches may do with a file: browsers, proxies, and whoever stands between a reader and this node. Pure.
//!
//! Which file a URL leads to depends on one header of ours; a private one depends on who asks as well. `Vary` names both, so that no
//! cache gives one reader what another one was given. Cookies stay out of what is public, or no cache would ever keep it.

use axum::http::header::{CACHE_CONTROL, VARY};
use axum::http::{HeaderMap, HeaderValue};

use super::node::Sharing;

/// How long who may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Anybody may have it, and any cache may keep it.
    Shared(Sharing),
    /// It is for who asked: no shared cache keeps it, and a browser asks again each time.
    Private,
}

/// What a private reply depends on, by the names of `protocol::auth` and `protocol::wire_path`.
const ASKER: &str = "x-emsync-asset, x-token, x-tokentype, x-entermedia.key, cookie";

impl Freshness {
    /// Puts it into the head of a reply.
    pub(super) fn put(&self, headers: &mut HeaderMap) {
        let (cache, vary) = match self {
            Self::Shared(sharing) => (shared(sharing), "x-emsync-asset"),
            Self::Private => (
                HeaderValue::from_static("private, max-age=0, must-revalidate"),
                ASKER,
            ),
        };
        headers.insert(CACHE_CONTROL, cache);
        headers.insert(VARY, HeaderValue::from_static(vary));
    }
}

fn shared(sharing: &Sharing) -> HeaderValue {
    let mut text = format!("public, max-age={}", sharing.max_age.as_secs());
    let stale = sharing.stale.as_secs();
    if stale > 0 {
        text.push_str(&format!(", stale-while-revalidate={stale}"));
    }
    HeaderValue::from_str(&text).expect("words and digits are ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::auth::{KEY_HEADER, TOKEN, TOKEN_TYPE};
    use crate::protocol::wire_path::ASSET_HEADER;

    fn head(fresh: Freshness) -> (String, String) {
        let mut headers = HeaderMap::new();
        fresh.put(&mut headers);
        let text = |name| headers[name].to_str().unwrap().to_owned();
        (text(CACHE_CONTROL), text(VARY))
    }

    #[test]
    fn what_is_public_says_for_how_long_and_depends_on_nobody() {
        let mut sharing = Sharing {
            public_renditions: true,
            max_age: Duration::from_secs(3_600),
            stale: Duration::from_secs(60),
        };
        let (cache, vary) = head(Freshness::Shared(sharing));
        assert_eq!(cache, "public, max-age=3600, stale-while-revalidate=60");
        assert_eq!(vary, ASSET_HEADER);
        sharing.stale = Duration::ZERO;
        assert_eq!(head(Freshness::Shared(sharing)).0, "public, max-age=3600");
    }

    #[test]
    fn what_is_private_depends_on_everything_that_carries_a_key() {
        let (cache, vary) = head(Freshness::Private);
        assert_eq!(cache, "private, max-age=0, must-revalidate");
        for name in [TOKEN, TOKEN_TYPE, KEY_HEADER, ASSET_HEADER, "cookie"] {
            let name = name.to_ascii_lowercase();
            assert!(vary.split(", ").any(|varied| varied == name), "{name}");
        }
    }
}
