//! Logging in and out.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::{Extension, http};

use super::client::Client;
use super::error::Error;
use super::{ROOT, Web, session};
use crate::catalogue::Session;
use crate::config::Secret;
use crate::serve::Connection;

/// Where a login leads.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Then {
    #[serde(default)]
    next: String,
}

/// What the form sends.
#[derive(serde::Deserialize)]
pub(super) struct Filled {
    #[serde(default)]
    name: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    next: String,
}

#[derive(Template)]
#[template(path = "login.html", config = "src/web/askama.toml")]
struct Page<'a> {
    node: &'a str,
    is_without_users: bool,
    is_readable: bool,
    name: &'a str,
    next: &'a str,
    says: &'a str,
}

/// The form.
pub(super) async fn form(
    State(web): State<Arc<Web>>,
    Extension(connection): Extension<Connection>,
    Query(then): Query<Then>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    if session::of(&web, &headers).await?.is_some() {
        return Ok(Redirect::to(within(&then.next)).into_response());
    }
    let client = Client::of(connection, &headers, web.proxy());
    page(&web, client, ("", &then.next, "")).await
}

async fn page(
    web: &Web,
    client: Client,
    (name, next, says): (&str, &str, &str),
) -> Result<Response, Error> {
    let page = Page {
        node: &web.node.config.node.name,
        is_without_users: web.node.catalogue.users().await?.is_empty(),
        is_readable: is_readable(client),
        name,
        next,
        says,
    };
    Ok(Html(page.render()?).into_response())
}

/// Whether others on the way can read what is typed.
fn is_readable(client: Client) -> bool {
    !client.is_secure && !client.address.is_loopback()
}

/// Takes what the form sends: a session for the right password, the form again for any other.
pub(super) async fn enter(
    State(web): State<Arc<Web>>,
    Extension(connection): Extension<Connection>,
    headers: HeaderMap,
    Form(filled): Form<Filled>,
) -> Result<Response, Error> {
    let client = Client::of(connection, &headers, web.proxy());
    let Filled {
        name,
        password,
        next,
    } = filled;
    let Some(cookie) = check(&web, client.address, &name, Secret::new(password)).await? else {
        let says = "The name or the password is wrong.";
        let mut reply = page(&web, client, (&name, &next, says)).await?;
        *reply.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(reply);
    };
    let cookie = session::cookie(Some(&cookie), client.is_secure);
    Ok(([cookie], Redirect::to(within(&next))).into_response())
}

/// The cookie of a new session, when the password is right.
async fn check(
    web: &Web,
    address: IpAddr,
    name: &str,
    password: Secret,
) -> Result<Option<String>, Error> {
    let now = web.node.seams.clock.now();
    if let Err(wait) = web.attempts.try_now(address, name, now) {
        tracing::warn!(%address, "too many failed logins");
        let seconds = wait.as_secs() + 1;
        return Err(Error::TooMany { seconds });
    }
    let user = web.node.catalogue.user(name).await?;
    let kept = user.as_ref().map(|user| user.password.clone());
    let is_right = web.passwords.is(password, kept).await;
    let Some(user) = user.filter(|_| is_right) else {
        tracing::warn!(%address, "login refused");
        return Ok(None);
    };
    let (session, cookie) = session::begin(&web.node.seams, &user.name, now);
    let mut batch = web.node.catalogue.batch().await?;
    let begun = batch.put_session(&session, &user.password).await?;
    batch.commit().await?;
    if !begun {
        return Ok(None);
    }
    web.attempts.succeeded(address, name);
    tracing::info!(user = user.name, %address, "logged in");
    Ok(Some(cookie))
}

/// Ends the session.
pub(super) async fn leave(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
) -> Result<Response, Error> {
    let mut batch = web.node.catalogue.batch().await?;
    batch.end_session(&session.hash).await?;
    batch.commit().await?;
    let login = format!("{ROOT}login");
    let cookie: (http::HeaderName, http::HeaderValue) = session::cookie(None, false);
    Ok(([cookie], Redirect::to(&login)).into_response())
}

/// Where to go after a login: only ever within the page.
fn within(next: &str) -> &str {
    let plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let leaves = next.contains("//") || next.contains("/..");
    if next.starts_with(ROOT) && plain && !leaves {
        next
    } else {
        ROOT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_out_of_the_page() {
        assert_eq!(within("/ui/assets?q=a"), "/ui/assets?q=a");
        for next in [
            "",
            "https://evil/",
            "//evil/ui/",
            "/ui//evil",
            "/ui/../x",
            "/ui/\\evil",
            "/ui/\r\nSet-Cookie: a=b",
            "/uix",
        ] {
            assert_eq!(within(next), ROOT, "{next:?}");
        }
    }

    #[test]
    fn who_reads_along_is_told_only_where_somebody_can() {
        let of = |address: &str, is_secure| {
            is_readable(Client {
                address: address.parse().unwrap(),
                is_secure,
            })
        };
        assert!(of("192.0.2.1", false));
        assert!(!of("192.0.2.1", true));
        assert!(!of("127.0.0.1", false));
        assert!(!of("::1", false));
    }
}
