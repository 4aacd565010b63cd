//! Whether a request that changes something comes from our own page: a browser says so itself, in headers that no script can
//! set (`Sec-Fetch-Site`, Fetch Metadata; `Origin`, RFC 6454). A form of another site is refused, whatever cookies come with it.

use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method};

/// Whether a request may change something. Those of methods that change nothing may always be answered.
pub(super) fn is_ours(method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    // Sent by browsers over https and to this machine itself; then it is enough.
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    // Over plain http browsers send this alone. Who sends neither is no browser, and can send it.
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(ORIGIN), text(HOST)) else {
        return false;
    };
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn asks(method: &Method, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| {
            let name = HeaderName::from_static(name);
            (name, HeaderValue::from_static(value))
        });
        is_ours(method, &headers.collect())
    }

    #[test]
    fn only_requests_of_our_own_page_change_anything() {
        let post = |headers: &[_]| asks(&Method::POST, headers);
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(post(&[
            ("origin", "http://node:7700"),
            ("host", "node:7700")
        ]));
        assert!(post(&[("origin", "https://Node"), ("host", "node")]));
        for headers in [
            &[][..],
            &[("host", "node:7700")],
            &[("origin", "null"), ("host", "node:7700")],
            &[("origin", "http://evil"), ("host", "node:7700")],
            &[("origin", "http://node:7701"), ("host", "node:7700")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            // A proxy may have changed the host; what the browser says of the site counts more.
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "http://node"),
                ("host", "node"),
            ],
        ] {
            assert!(!post(headers), "{headers:?}");
        }
        assert!(asks(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        assert!(!asks(&Method::DELETE, &[("sec-fetch-site", "cross-site")]));
    }
}
