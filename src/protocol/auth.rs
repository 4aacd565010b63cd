//! Who is asking, and how EMDB says that it will not let us in (wire spec 2.2, 2.5).
//!
//! Pure text in, pure text out: `serve/` brings the headers, `peer/` the replies. The token type `adminkey`, with which EMDB
//! believes any e-mail header, does not exist here (H-30).

use secrecy::SecretString;

use super::form;

/// Header that carries the key.
pub const TOKEN: &str = "X-token";
/// Header that says what [`TOKEN`] is; without it EMDB ignores the key.
pub const TOKEN_TYPE: &str = "X-tokentype";
/// The one token type we speak.
pub const ENTERMEDIA: &str = "entermedia";
/// Another header EMDB's tools send the key in, and the name of the form or query field.
pub const KEY_HEADER: &str = "X-entermedia.key";
const KEY_FIELD: &str = "entermedia.key";

/// Everything a request may carry a key in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presented<'a> {
    /// Header [`TOKEN`].
    pub token: Option<&'a str>,
    /// Header [`TOKEN_TYPE`].
    pub token_type: Option<&'a str>,
    /// Header [`KEY_HEADER`].
    pub key_header: Option<&'a str>,
    /// Header `Cookie`.
    pub cookie: Option<&'a str>,
    /// The query, without `?`.
    pub query: Option<&'a str>,
    /// A form body.
    pub form: Option<&'a str>,
    /// Our site, the first path element; EMDB names its login cookie by it.
    pub site: &'a str,
}

/// The key a request presents, or `None` when it has none.
///
/// The pair of headers that sync clients send comes first and what a browser keeps by itself last, so that a stale cookie
/// never hides a good key. (EMDB asks in the other order, but tries each.)
#[must_use]
pub fn key_from(presented: &Presented<'_>) -> Option<SecretString> {
    let token = || {
        let typed = presented
            .token_type?
            .trim()
            .eq_ignore_ascii_case(ENTERMEDIA);
        presented.token.filter(|_| typed).map(str::to_owned)
    };
    let field = |text: Option<&str>| Some(form::field(text?, KEY_FIELD)?.into_owned());
    let cookie = || {
        let name = format!("{KEY_FIELD}{}", presented.site);
        let pairs = presented
            .cookie?
            .split(';')
            .filter_map(|pair| pair.split_once('='));
        let mut values = pairs.filter(|(found, _)| found.trim() == name);
        values
            .next()
            .map(|(_, value)| value.trim().trim_matches('"').to_owned())
    };
    [
        token(),
        presented.key_header.map(str::to_owned),
        field(presented.form),
        field(presented.query),
        cookie(),
    ]
    .into_iter()
    .flatten()
    .map(|key| key.trim().to_owned())
    .find(|key| !key.is_empty())
    .map(SecretString::from)
}

/// Why a reply means "you may not", in the ways an EMDB server has of saying so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// EMDB redirects to its login instead of answering 401; no sync reply is ever a redirect.
    #[error("redirects to {location:?}")]
    Redirect {
        /// Where to, as stated.
        location: String,
    },
    /// Plainly refused.
    #[error("answers {status}")]
    Forbidden {
        /// 401 or 403.
        status: u16,
    },
    /// A page for people where data was asked for.
    #[error("answers with a page for people")]
    Page,
}

/// Judges a reply by status, `Location` and `Content-Type`; `None` when nothing speaks of a refusal.
///
/// A 500 on an original may mean the same (H-50); only a listing can tell then.
#[must_use]
pub fn refusal(status: u16, location: Option<&str>, content_type: Option<&str>) -> Option<Refusal> {
    match status {
        304 => None,
        300..=399 => Some(Refusal::Redirect {
            location: location.unwrap_or_default().chars().take(500).collect(),
        }),
        401 | 403 => Some(Refusal::Forbidden { status }),
        200..=299 => {
            let kind = content_type?.split(';').next()?.trim();
            kind.eq_ignore_ascii_case("text/html")
                .then_some(Refusal::Page)
        }
        _ => None,
    }
}

/// Whether a redirect leads to one of EMDB's two login pages, rather than to another place for the same thing.
#[must_use]
pub fn is_login_redirect(location: &str) -> bool {
    let path = location.split(['?', '#', ';']).next().unwrap_or_default();
    path.ends_with("/authentication/noaccess.json") || path.ends_with("/authentication/logon.html")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::protocol::captures::{header, request_body};

    fn key(presented: Presented<'_>) -> Option<String> {
        let presented = Presented {
            site: "finder",
            ..presented
        };
        key_from(&presented).map(|key| key.expose_secret().to_owned())
    }

    #[test]
    fn a_key_is_found_in_each_place_emdb_looks_in() {
        let form = request_body("s050-auth-param-form");
        for presented in [
            Presented {
                token: Some("KEY"),
                token_type: Some("entermedia"),
                ..Default::default()
            },
            Presented {
                key_header: Some("KEY"),
                ..Default::default()
            },
            Presented {
                form: Some(&form),
                ..Default::default()
            },
            Presented {
                query: Some("lastpullago=1&entermedia.key=KEY"),
                ..Default::default()
            },
            Presented {
                cookie: Some("JSESSIONID=x; entermedia.keyfinder=KEY"),
                ..Default::default()
            },
        ] {
            assert_eq!(key(presented).as_deref(), Some("KEY"), "{presented:?}");
        }
    }

    #[test]
    fn a_token_needs_its_type_and_a_cookie_its_site() {
        for presented in [
            Presented {
                token: Some("KEY"),
                ..Default::default()
            },
            Presented {
                token: Some("KEY"),
                token_type: Some("adminkey"),
                ..Default::default()
            },
            Presented {
                token: Some(" "),
                token_type: Some("entermedia"),
                ..Default::default()
            },
            Presented {
                cookie: Some("entermedia.key=KEY; entermedia.keyother=KEY"),
                ..Default::default()
            },
            Presented {
                form: Some("entermedia.key="),
                ..Default::default()
            },
            Presented::default(),
        ] {
            assert_eq!(key(presented), None, "{presented:?}");
        }
    }

    #[test]
    fn a_stale_cookie_does_not_hide_a_good_token() {
        let presented = Presented {
            token: Some("good"),
            token_type: Some("entermedia"),
            cookie: Some("entermedia.keyfinder=stale"),
            ..Default::default()
        };
        assert_eq!(key(presented).as_deref(), Some("good"));
    }

    #[test]
    fn emdbs_refusals_are_recognised() {
        for capture in ["s005-list-wrong-key", "c21-pull-original-302"] {
            let location = header(capture, "Location").pop().unwrap();
            assert!(is_login_redirect(&location), "{location}");
            let judged = refusal(302, Some(&location), Some("image/jpeg"));
            assert_eq!(judged, Some(Refusal::Redirect { location }));
        }
        assert!(!is_login_redirect(
            "https://cdn.example/a.jpg?x=/authentication/logon.html"
        ));
        assert_eq!(
            refusal(403, None, None),
            Some(Refusal::Forbidden { status: 403 })
        );
        assert_eq!(
            refusal(200, None, Some("text/html; charset=UTF-8")),
            Some(Refusal::Page)
        );
        for (status, kind) in [
            (200, "text/json;charset=UTF-8"),
            (206, "image/webp"),
            (304, ""),
            (404, "text/html"),
            (500, "text/html"),
        ] {
            assert_eq!(refusal(status, None, Some(kind)), None, "{status} {kind}");
        }
    }
}
