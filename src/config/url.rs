//! The address of a peer: `scheme://host[:port]/site`, the one form to which every endpoint can be appended.
//!
//! Wire spec 1.2: an endpoint is `base + "/mediadb/services/…"`, so a slash at the end or a missing site reaches something
//! else on the same server, with a 200. Such an address is refused here, with the one that was probably meant.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// A base URL that cannot be used. Users, passwords and queries are left out of every message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// No `http://` or `https://` in front.
    #[error(
        "base_url {0:?} does not start with http:// or https://: write for example \"http://host:7700/assets\""
    )]
    Scheme(String),
    /// Not a URL for another reason.
    #[error("base_url {shown:?} is not a URL: {reason}")]
    Parse {
        /// What was given.
        shown: String,
        /// The parser's word.
        reason: String,
    },
    /// A user or a password in front of the host.
    #[error(
        "base_url carries a user or password: write {mend:?} and give the peer's key by key_file"
    )]
    UserInfo {
        /// The address without them.
        mend: String,
    },
    /// Something after `?` or `#`.
    #[error("base_url has a part after \"?\" or \"#\": write {mend:?}")]
    Query {
        /// The address without it.
        mend: String,
    },
    /// A host and nothing behind it.
    #[error(
        "base_url {shown:?} has no site: write \"{shown}/assets\" for an emsync node, \"{shown}/finder\" or the like for EMDB"
    )]
    NoSite {
        /// What was given, without a slash.
        shown: String,
    },
    /// A slash at the end.
    #[error("base_url {shown:?} ends in a slash: write {mend:?}")]
    Slash {
        /// What was given.
        shown: String,
        /// The address without it.
        mend: String,
    },
    /// Two slashes inside the path.
    #[error("base_url {shown:?} has an empty path element: write {mend:?}")]
    DoubleSlash {
        /// What was given.
        shown: String,
        /// The address without it.
        mend: String,
    },
    /// An endpoint, not a base.
    #[error("base_url {shown:?} goes past the site: write {mend:?}")]
    Endpoint {
        /// What was given.
        shown: String,
        /// The address up to the site.
        mend: String,
    },
}

/// The address of a peer's site, without a slash at the end. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BaseUrl {
    text: String,
}

impl BaseUrl {
    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address of something below the base: `/mediadb/services/…`, already escaped, with or without its first slash.
    #[must_use]
    pub fn join(&self, path_and_query: &str) -> String {
        let slash = if path_and_query.starts_with('/') {
            ""
        } else {
            "/"
        };
        format!("{}{slash}{path_and_query}", self.text)
    }

    /// The last path element: `assets` of `http://host:7700/assets`. Elements before it belong to a proxy.
    #[must_use]
    pub fn site(&self) -> &str {
        self.text.rsplit('/').next().unwrap_or_default()
    }

    /// The host, without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        let after_scheme = self.text.split_once("://").map_or("", |(_, rest)| rest);
        let authority = after_scheme.split('/').next().unwrap_or_default();
        match authority.rfind(':') {
            // The colons inside an IPv6 address do not begin a port.
            Some(at) if !authority[at..].contains(']') => &authority[..at],
            _ => authority,
        }
    }

    /// The base under which a redirect from `asked`, an address below this one, answers the same: another scheme, host or path in
    /// front of the same endpoint. `None` for one that leads elsewhere, such as to a login, or that gives up encryption.
    #[must_use]
    pub fn moved_to(&self, asked: &str, location: &str) -> Option<String> {
        let endpoint = asked.strip_prefix(&self.text)?;
        let to = Url::parse(asked).ok()?.join(location).ok()?;
        let to = to.as_str().split(['?', '#']).next()?;
        let base = to.strip_suffix(endpoint)?;
        let new: Self = base.parse().ok()?;
        (new != *self && (new.is_https() || !self.is_https())).then_some(new.text)
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https://")
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for BaseUrl {
    type Err = UrlError;

    fn from_str(given: &str) -> Result<Self, UrlError> {
        let url = parse(given)?;
        let mut clean = url.clone();
        clean.set_query(None);
        clean.set_fragment(None);
        // Both fail only for addresses without a host, which `parse` refuses.
        let _ = clean.set_username("");
        let _ = clean.set_password(None);
        let elements: Vec<&str> = clean.path().split('/').filter(|e| !e.is_empty()).collect();
        let past = elements.iter().position(|element| *element == "mediadb");
        let path = elements[..past.unwrap_or(elements.len())].join("/");
        let host = clean
            .as_str()
            .strip_suffix(clean.path())
            .unwrap_or_default();
        let mend = if path.is_empty() {
            format!("{host}/assets")
        } else {
            format!("{host}/{path}")
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserInfo { mend });
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::Query { mend });
        }
        let shown = given.to_owned();
        if path.is_empty() {
            return Err(UrlError::NoSite {
                shown: host.to_owned(),
            });
        }
        if past.is_some() {
            return Err(UrlError::Endpoint { shown, mend });
        }
        if clean.path().ends_with('/') {
            return Err(UrlError::Slash { shown, mend });
        }
        if clean.path().contains("//") {
            return Err(UrlError::DoubleSlash { shown, mend });
        }
        Ok(Self { text: mend })
    }
}

/// The address in its parts, of a kind and shape that has a host.
fn parse(given: &str) -> Result<Url, UrlError> {
    let shown = redact(given);
    let lower = given.to_ascii_lowercase();
    let rest = lower
        .strip_prefix("https://")
        .or(lower.strip_prefix("http://"))
        .ok_or_else(|| UrlError::Scheme(shown.clone()))?;
    // The parser drops blanks and takes `http:///x` for `http://x`; a person meant neither.
    let reason = if given.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "it holds a blank"
    } else if given.contains('\\') {
        "it holds a backslash"
    } else if rest.is_empty() || rest.starts_with('/') {
        "it names no host"
    } else {
        return Url::parse(given).map_err(|error| UrlError::Parse {
            shown,
            reason: error.to_string(),
        });
    };
    Err(UrlError::Parse {
        shown,
        reason: reason.to_owned(),
    })
}

/// `given` without what may hold a secret: all of it where there is an `@`, else what follows a `?` or `#`.
fn redact(given: &str) -> String {
    if given.contains('@') {
        let scheme = ["https://", "http://"]
            .into_iter()
            .find(|scheme| given.starts_with(scheme));
        return format!("{}***", scheme.unwrap_or_default());
    }
    let kept = given.split(['?', '#']).next();
    kept.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refusal(given: &str) -> String {
        given.parse::<BaseUrl>().unwrap_err().to_string()
    }

    #[test]
    fn a_base_is_a_host_and_a_site() {
        let base: BaseUrl = "http://h:8080/finder".parse().unwrap();
        assert_eq!(
            (base.as_str(), base.site(), base.is_https()),
            ("http://h:8080/finder", "finder", false)
        );
        assert_eq!(base.join("/a?b"), "http://h:8080/finder/a?b");
        assert_eq!(base.join("a"), "http://h:8080/finder/a");
        let base: BaseUrl = "HTTPS://[::1]:443/proxy/assets".parse().unwrap();
        assert_eq!(
            (base.as_str(), base.site(), base.is_https()),
            ("https://[::1]/proxy/assets", "assets", true)
        );
    }

    #[test]
    fn a_redirect_to_the_same_endpoint_names_the_new_base() {
        let base: BaseUrl = "http://dam.example.org/finder".parse().unwrap();
        let asked = base.join("mediadb/services/cluster/listalldocs.json");
        let moved = |to: &str| base.moved_to(&asked, to);
        let list = "mediadb/services/cluster/listalldocs.json";
        for new in [
            "https://dam.example.org/finder",
            "http://other.example.org/finder",
            "http://dam.example.org/v10/finder",
        ] {
            assert_eq!(moved(&format!("{new}/{list}?x=y")).as_deref(), Some(new));
        }
        assert_eq!(
            moved(&format!("/v10/finder/{list}")).as_deref(),
            Some("http://dam.example.org/v10/finder")
        );
        for elsewhere in [
            "/finder/mediadb/services/authentication/noaccess.json",
            "/login",
            &asked,
            &format!("http://u:p@dam.example.org/finder/{list}"),
            &format!("http://dam.example.org/{list}"),
            "http://[",
            "",
        ] {
            assert_eq!(moved(elsewhere), None, "{elsewhere}");
        }
        let safe: BaseUrl = "https://dam.example.org/finder".parse().unwrap();
        assert_eq!(safe.moved_to(&safe.join(list), &asked), None);
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        assert_eq!(
            refusal("http://h:8080/finder/"),
            r#"base_url "http://h:8080/finder/" ends in a slash: write "http://h:8080/finder""#
        );
        assert_eq!(
            refusal("http://h:8080/"),
            r#"base_url "http://h:8080" has no site: write "http://h:8080/assets" for an emsync node, "http://h:8080/finder" or the like for EMDB"#
        );
        assert_eq!(
            refusal("http://h//finder"),
            r#"base_url "http://h//finder" has an empty path element: write "http://h/finder""#
        );
        assert_eq!(
            refusal("http://h/finder/mediadb/services/"),
            r#"base_url "http://h/finder/mediadb/services/" goes past the site: write "http://h/finder""#
        );
    }

    #[test]
    fn no_refusal_shows_a_secret() {
        for given in [
            "http://u:planted@h/finder",
            "http://planted@h/finder",
            "http://h/finder?key=planted",
            "http://h/finder#planted",
            "ftp://u:planted@h/finder",
            "u:planted@h/finder",
            "http://u:planted@h:99999/finder",
            "http://u:pl anted@h/finder?planted",
            "http:///u:planted@h/finder",
            "http://u:planted@@h/",
            "http://u:pa?planted@h/finder",
            "http://u:9?planted@h/finder",
        ] {
            let refusal = refusal(given);
            assert!(!refusal.contains("plant"), "{refusal}");
            assert!(!format!("{:?}", given.parse::<BaseUrl>()).contains("plant"));
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for given in [
            "",
            "h/finder",
            "//h/finder",
            "http:h/finder",
            "http://",
            "http:///finder",
            "file:///finder",
            "http://h:x/finder",
            "http://h/a b",
            " http://h/a",
            "http://h\\finder",
            "http://h/.",
            "http://h/a/..",
        ] {
            assert!(given.parse::<BaseUrl>().is_err(), "{given:?} was taken");
        }
    }
}
