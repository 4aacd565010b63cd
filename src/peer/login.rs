//! Fetching a user's key from an EMDB, by name and password. The password is sent once and kept nowhere.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use secrecy::ExposeSecret as _;

use super::route::{self, Reach};
use super::{Error, retry_after};
use crate::config::{self, Limits, Secret};
use crate::protocol::getkey;

const GETKEY: &str = "mediadb/services/authentication/getkey.json";
/// Largest answer: a few hundred bytes are usual.
const LARGEST: usize = 64 << 10;

/// Asks for the key of `user`. One request, never repeated: some servers count wrong passwords.
///
/// # Errors
/// [`Error::Login`] when the peer does not let the user in; [`Error::WrongPath`] or [`Error::Moved`] when what answers knows no such request;
/// otherwise as any request. None quotes what was sent or answered.
pub async fn fetch_key(
    settings: &config::Peer,
    (user, password): (&str, &Secret),
    limits: &Limits,
) -> Result<Secret, Error> {
    let peer = || settings.name.clone();
    let url = settings.base_url.join(GETKEY);
    let reach = Reach::of(&settings.base_url);
    let client = route::builder(&settings.network, reach)?
        .user_agent(concat!("emsync/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(limits.contimeout)
        .timeout(limits.timeout)
        .build()
        .map_err(|source| Error::Client { source })?;
    let body = getkey::encode_request(user, password.expose());
    let request = client
        .post(&url)
        .header(
            CONTENT_TYPE,
            "application/x-www-form-urlencoded; charset=UTF-8",
        )
        .body(body.as_str().to_owned());
    let unreachable = |source| Error::Unreachable {
        peer: peer(),
        url: url.clone(),
        source,
    };
    let response = request.send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            return Err(Error::Login {
                peer: peer(),
                user: user.to_owned(),
            });
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            return Err(Error::Busy {
                peer: peer(),
                status: response.status().as_u16(),
                retry_after: retry_after(response.headers()),
            });
        }
        status if status.is_server_error() => {
            return Err(Error::Server {
                peer: peer(),
                status: status.as_u16(),
                what: "a login".to_owned(),
            });
        }
        _ => {
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|to| to.to_str().ok());
            return Err(
                match location.and_then(|to| settings.base_url.moved_to(&url, to)) {
                    Some(base_url) => Error::Moved {
                        peer: peer(),
                        url,
                        base_url,
                    },
                    None => Error::WrongPath { peer: peer(), url },
                },
            );
        }
    }
    let body = small_body(response).await.map_err(unreachable)?;
    let body = body.ok_or_else(|| Error::PageTooLarge {
        peer: peer(),
        limit: LARGEST,
    })?;
    let key = getkey::key_of(&body).map_err(|source| Error::Reply {
        peer: peer(),
        source,
    })?;
    let key = key.ok_or_else(|| Error::Login {
        peer: peer(),
        user: user.to_owned(),
    })?;
    Ok(Secret::new(key.expose_secret()))
}

/// The body, unless it is too large to be an answer.
async fn small_body(mut response: Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > LARGEST {
            return Ok(None);
        }
    }
    Ok(Some(body))
}
