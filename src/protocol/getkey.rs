//! `authentication/getkey.json`: a user's name and password for the key that stands for both (wire spec 2.2).
//!
//! Nothing of a reply is ever quoted: it may hold the key.

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::{Error, form};

/// The body of the request, a form.
#[must_use]
pub fn encode_request(user: &str, password: &str) -> Zeroizing<String> {
    let mut body = Zeroizing::new(String::new());
    form::push(&mut body, "id", user);
    form::push(&mut body, "password", password);
    body
}

/// The key in a reply; `None` where there is no such user, or the password is another. EMDB says `ok` in either case, so
/// `response.status` is not looked at.
///
/// # Errors
/// [`Error::Malformed`] for anything that is neither.
pub fn key_of(body: &[u8]) -> Result<Option<SecretString>, Error> {
    let unusable = |reason: &str| Error::malformed(&[], reason);
    let reply: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| unusable("it is no JSON"))?;
    let results = reply
        .get("results")
        .ok_or_else(|| unusable("results is missing"))?;
    if let Some(key) = results.get("entermediakey") {
        let key = key.as_str().map(str::trim).filter(|key| !key.is_empty());
        let is_sendable = |key: &&str| key.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
        let key = key.filter(is_sendable);
        let key = key.ok_or_else(|| unusable("entermediakey is no key"))?;
        return Ok(Some(SecretString::from(key)));
    }
    match results.get("status").and_then(|status| status.as_str()) {
        Some("invalidlogin") => Ok(None),
        _ => Err(unusable("results holds neither a key nor a refusal")),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::protocol::captures::{body, request_body, request_path};

    #[test]
    fn a_key_and_a_refusal_are_told_apart_inside_of_two_replies_that_are_ok() {
        let key = key_of(body("s001-getkey").as_bytes()).unwrap().unwrap();
        assert_eq!(key.expose_secret(), "KEY");
        let refused = body("s002-getkey-wrong-password");
        assert!(key_of(refused.as_bytes()).unwrap().is_none());
        // Ours refuses everybody, in the same words.
        assert!(
            key_of(&super::super::replies::invalid_login())
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn what_is_neither_is_an_error_that_quotes_nothing() {
        let whole = body("s001-getkey").replace("KEY", "planted");
        for body in [
            &whole[..whole.len() - 4],
            "{\"results\":{\"entermediakey\":\"pla\\u0001nted\"}}",
            "{\"results\":{\"entermediakey\":\"\"}}",
            "{\"results\":{\"entermediakey\":7}}",
            "{\"results\":{}}",
            "{}",
            "<html>planted</html>",
        ] {
            let error = key_of(body.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("planted"), "{body}");
        }
    }

    #[test]
    fn a_password_of_any_characters_arrives() {
        assert!(request_path("s001-getkey").ends_with("/authentication/getkey.json"));
        let theirs = request_body("s001-getkey");
        assert_eq!(*encode_request("admin", "PASSWORD"), theirs);
        let body = encode_request("a@b", "pä ss&=+%");
        assert_eq!(form::field(&body, "id").unwrap(), "a@b");
        assert_eq!(form::field(&body, "password").unwrap(), "pä ss&=+%");
    }
}
