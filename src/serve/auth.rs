//! Keys: how they are made, and how a request is let in (wire spec 11.1.2).
//!
//! A key reads `emsync_<id>_<secret>`. The id finds the row; the row holds only the digest of the whole text. Whether an id
//! exists does not show in the time a refusal takes.

use secrecy::{ExposeSecret as _, SecretString};
use subtle::ConstantTimeEq as _;

use super::error::Error;
use super::node::Node;
use super::request::Asked;
use crate::catalogue::{self, AccessKey, Catalogue, Scope};
use crate::model::{Sha256, Timestamp};
use crate::protocol::auth::{KEY_HEADER, Presented, TOKEN, TOKEN_TYPE, key_from};
use crate::seams::Seams;

/// What every key of ours begins with, so that a person and a secret scanner know one when they see it.
const PREFIX: &str = "emsync_";
/// Random bytes of an id: eight characters.
const ID_BYTES: usize = 5;
/// Random bytes of a secret.
const SECRET_BYTES: usize = 32;

/// Makes a key: the row to store, and the text to show once and never again.
#[must_use]
pub fn make_key(seams: &Seams, name: &str, scope: Scope, now: Timestamp) -> (AccessKey, String) {
    let id = random_base32(seams, ID_BYTES);
    let text = format!("{PREFIX}{id}_{}", random_base32(seams, SECRET_BYTES));
    let key = AccessKey {
        id,
        name: name.to_owned(),
        hash: Sha256::of(text.as_bytes()),
        scope,
        created_at: now,
    };
    (key, text)
}

fn random_base32(seams: &Seams, bytes: usize) -> String {
    let mut raw = vec![0; bytes];
    seams.rng.fill(&mut raw);
    data_encoding::BASE32_NOPAD
        .encode(&raw)
        .to_ascii_lowercase()
}

/// Finds out who asks. Reading needs no more than a key, whatever its scope.
///
/// # Errors
/// [`Error::Refused`] without a key of ours, [`Error::Catalogue`] when that cannot be told.
pub(super) async fn authenticate(node: &Node, asked: &Asked) -> Result<AccessKey, Error> {
    let key = presented(node, asked).ok_or(Error::Refused)?;
    let text = key.expose_secret();
    let row = match id_of(text) {
        Some(id) => node.known.key(id).await?,
        None => None,
    };
    fitting(row, text).ok_or(Error::Refused)
}

/// The key that a request shows, whether or not it is one of ours.
pub(super) fn presented(node: &Node, asked: &Asked) -> Option<SecretString> {
    key_from(&Presented {
        token: asked.header(TOKEN),
        token_type: asked.header(TOKEN_TYPE),
        key_header: asked.header(KEY_HEADER),
        cookie: asked.header("cookie"),
        query: Some(&asked.query),
        form: asked.form(),
        site: &node.settings.site,
    })
}

/// Whose key a text is; `None` for nobody's.
///
/// # Errors
/// [`catalogue::Error`].
pub async fn key_holder(
    catalogue: &Catalogue,
    text: &str,
) -> Result<Option<AccessKey>, catalogue::Error> {
    let row = match id_of(text) {
        Some(id) => catalogue.key(id).await?,
        None => None,
    };
    Ok(fitting(row, text))
}

/// The row that the id in a text led to, if the text is its key.
fn fitting(row: Option<AccessKey>, text: &str) -> Option<AccessKey> {
    let hash = Sha256::of(text.as_bytes());
    // No text is known to have this digest, so the comparison costs the same and lets nobody in.
    let expected = row.as_ref().map_or([0; 32], |row| *row.hash.as_bytes());
    let same = bool::from(hash.as_bytes().ct_eq(&expected));
    row.filter(|_| same)
}

fn id_of(text: &str) -> Option<&str> {
    let (id, _) = text.strip_prefix(PREFIX)?.split_once('_')?;
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_its_row_and_only_its_digest_is_kept() {
        let now = Timestamp::from_millis(5);
        let (key, text) = make_key(&Seams::os(), "cdn", Scope::Read, now);
        assert_eq!(id_of(&text), Some(key.id.as_str()));
        assert_eq!(key.hash, Sha256::of(text.as_bytes()));
        assert_eq!((key.id.len(), text.len()), (8, 7 + 8 + 1 + 52));
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(text.chars().all(plain), "{text}");
        assert!(!format!("{key:?}").contains(&text[16..]));
        let (_, other) = make_key(&Seams::os(), "cdn", Scope::Read, now);
        assert_ne!(text, other);
    }

    #[test]
    fn other_texts_have_no_id() {
        for text in ["", "emsync_", "emsync_abc", "adminmd542abc", "EMSYNC_a_b"] {
            assert_eq!(id_of(text), None, "{text}");
        }
    }
}
