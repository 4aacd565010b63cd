//! Sessions: what the browser shows in a cookie, and who is let past it. The cookie is 256 random bits that no script can read and
//! no other site's request carries; the catalogue holds its digest.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};

use super::error::Error;
use super::{ROOT, Web};
use crate::catalogue::Session;
use crate::model::{Sha256, Timestamp};
use crate::seams::Seams;

/// How long a session lasts: a working day, and whoever forgets to log out is out the next.
const LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// The cookie's name.
const NAME: &str = "emsync_session";
/// Random bytes of a session.
const BYTES: usize = 32;

/// A new session of a user, and the cookie's value, which is nowhere else.
pub(super) fn begin(seams: &Seams, user: &str, now: Timestamp) -> (Session, String) {
    let text = seams.random_hex(BYTES);
    let lasts = i64::try_from(LASTS.as_millis()).expect("a day is few milliseconds");
    let session = Session {
        hash: Sha256::of(text.as_bytes()),
        user: user.to_owned(),
        created_at: now,
        expires_at: Timestamp::from_millis(now.as_millis().saturating_add(lasts)),
    };
    (session, text)
}

/// The header that gives a browser its cookie; without a value, the one that takes it away.
pub(super) fn cookie(
    value: Option<&str>,
    is_secure: bool,
) -> (axum::http::HeaderName, HeaderValue) {
    let secure = if is_secure { "; Secure" } else { "" };
    let (value, age) = match value {
        Some(value) => (value, LASTS.as_secs()),
        None => ("", 0),
    };
    let text =
        format!("{NAME}={value}; Path=/ui; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    let value = HeaderValue::try_from(text).expect("hexadecimal and ASCII");
    (SET_COOKIE, value)
}

/// The session that a request shows, if it is one of ours and not over.
pub(super) async fn of(web: &Web, headers: &HeaderMap) -> Result<Option<Session>, Error> {
    let Some(text) = shown(headers) else {
        return Ok(None);
    };
    let hash = Sha256::of(text.as_bytes());
    let now = web.node.seams.clock.now();
    Ok(web.node.catalogue.session(&hash, now).await?)
}

/// The cookie's value. A browser sends one; a second of the name is somebody else's doing, and then neither counts.
fn shown(headers: &HeaderMap) -> Option<&str> {
    let mut found = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == NAME)
        .map(|(_, value)| value);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// Lets those through who are logged in. A page asked for by others becomes the login, which leads back to it.
pub(super) async fn required(
    State(web): State<Arc<Web>>,
    mut request: Request,
    next: Next,
) -> Response {
    match of(&web, request.headers()).await {
        Ok(Some(session)) => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        Ok(None) if request.method() == Method::GET && is_page(request.uri()) => {
            Redirect::to(&login_for(request.uri())).into_response()
        }
        Ok(None) => Error::LoggedOut.into_response(),
        Err(error) => error.into_response(),
    }
}

fn is_page(uri: &Uri) -> bool {
    let below = uri.path().strip_prefix(ROOT).unwrap_or_default();
    let first = below.split('/').next().unwrap_or_default();
    !matches!(first, "api" | "events" | "media") && !below.ends_with("/log")
}

fn login_for(uri: &Uri) -> String {
    let path = uri.path_and_query().map_or(ROOT, |path| path.as_str());
    if path == ROOT {
        return format!("{ROOT}login");
    }
    let escaped = percent_encoding::utf8_percent_encode(path, percent_encoding::NON_ALPHANUMERIC);
    format!("{ROOT}login?next={escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let (_, value) = cookie(Some("ab"), true);
        assert_eq!(
            value,
            "emsync_session=ab; Path=/ui; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"
        );
        let (_, gone) = cookie(None, false);
        assert_eq!(
            gone,
            "emsync_session=; Path=/ui; Max-Age=0; HttpOnly; SameSite=Strict"
        );
    }

    #[test]
    fn the_cookie_is_found_among_others_and_two_of_it_are_none() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, HeaderValue::from_static(line));
            }
            shown(&headers).map(str::to_owned)
        };
        assert_eq!(of(&["a=b; emsync_session=x; c=d"]).as_deref(), Some("x"));
        assert_eq!(of(&["a=b"]), None);
        assert_eq!(of(&["emsync_session=x; emsync_session=y"]), None);
        assert_eq!(of(&["emsync_session=x", "emsync_session=x"]), None);
    }

    #[test]
    fn a_session_is_256_bits_that_only_its_browser_has() {
        let seams = Seams::os();
        let (session, text) = begin(&seams, "ann", Timestamp::from_millis(5));
        assert_eq!(text.len(), 64);
        assert_eq!(session.hash, Sha256::of(text.as_bytes()));
        assert_eq!(session.expires_at.as_millis(), 5 + 43_200_000);
        assert_ne!(begin(&seams, "ann", Timestamp::EPOCH).1, text);
    }

    #[test]
    fn the_login_leads_back_to_what_was_asked_for() {
        let of = |uri: &'static str| login_for(&Uri::from_static(uri));
        assert_eq!(of("/ui/"), "/ui/login");
        assert_eq!(
            of("/ui/assets?q=a&b"),
            "/ui/login?next=%2Fui%2Fassets%3Fq%3Da%26b"
        );
        assert!(is_page(&Uri::from_static("/ui/peers")));
        assert!(!is_page(&Uri::from_static("/ui/api/status")));
        assert!(!is_page(&Uri::from_static("/ui/events")));
    }
}
