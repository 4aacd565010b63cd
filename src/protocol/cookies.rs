//! The cookies of one listing. EMDB keeps the cursor of a listing in the servlet session, so without its cookie page 3 and
//! later repeat page 2 (H-5, H-40). One jar per listing, dropped with it; nothing is shared or stored.

use std::collections::BTreeMap;
use std::fmt;

use crate::model::Timestamp;

/// Most cookies a jar holds, and most bytes one may have: a peer cannot make requests grow without end.
const MOST: usize = 32;
const LONGEST: usize = 4_096;

/// The cookies one host gave during one listing.
#[derive(Clone)]
pub struct CookieJar {
    host: String,
    now: Timestamp,
    cookies: BTreeMap<String, String>,
    withheld: bool,
}

/// What became of a `Set-Cookie`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It will be sent back.
    Kept,
    /// It expired: whatever had its name is gone.
    Removed,
    /// It is marked `Secure`, the connection is not, and the operator does not allow to overlook that.
    Withheld,
    /// For another domain, too large, or not a cookie.
    Ignored,
}

impl CookieJar {
    /// An empty jar for requests to `host` (no port). `now` decides what has expired; a listing is too short for it to move.
    #[must_use]
    pub fn new(host: &str, now: Timestamp) -> Self {
        Self {
            host: host.to_ascii_lowercase(),
            now,
            cookies: BTreeMap::new(),
            withheld: false,
        }
    }

    /// Takes one `Set-Cookie` value. `https` says how it came; `allow_insecure` that the operator lets `Secure` cookies go
    /// back over plain http.
    pub fn take(&mut self, set_cookie: &str, https: bool, allow_insecure: bool) -> Taken {
        let mut parts = set_cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return Taken::Ignored;
        };
        let (name, value) = (name.trim(), value.trim());
        let sendable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if name.is_empty() || set_cookie.len() > LONGEST || !sendable(name) || !sendable(value) {
            return Taken::Ignored;
        }
        let attributes = Attributes::read(parts);
        if attributes
            .domain
            .is_some_and(|domain| self.is_foreign(domain))
        {
            return Taken::Ignored;
        }
        if attributes.expired(self.now) {
            self.cookies.remove(name);
            return Taken::Removed;
        }
        if attributes.secure && !https && !allow_insecure {
            self.withheld = true;
            return Taken::Withheld;
        }
        if self.cookies.len() >= MOST && !self.cookies.contains_key(name) {
            return Taken::Ignored;
        }
        self.cookies.insert(name.to_owned(), value.to_owned());
        Taken::Kept
    }

    /// The `Cookie` header to send, or `None` when there is nothing to send.
    #[must_use]
    pub fn header(&self) -> Option<String> {
        let pairs: Vec<_> = (self.cookies.iter())
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    /// Whether a `Secure` cookie was left out: then no page after the second can be trusted.
    #[must_use]
    pub fn withheld(&self) -> bool {
        self.withheld
    }

    fn is_foreign(&self, domain: &str) -> bool {
        let domain = domain.trim_start_matches('.').to_ascii_lowercase();
        let below = self.host.strip_suffix(&domain);
        domain.is_empty() || !below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

/// Names only: a login cookie's value is a key (I13).
impl fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJar")
            .field("host", &self.host)
            .field("cookies", &self.cookies.keys())
            .field("withheld", &self.withheld)
            .finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Attributes<'a> {
    secure: bool,
    domain: Option<&'a str>,
    max_age: Option<i64>,
    expires: Option<Timestamp>,
}

impl<'a> Attributes<'a> {
    fn read(parts: impl Iterator<Item = &'a str>) -> Self {
        let mut found = Self::default();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "secure" => found.secure = true,
                "domain" if !value.trim().is_empty() => found.domain = Some(value.trim()),
                "max-age" => found.max_age = value.trim().parse().ok(),
                "expires" => found.expires = http_date(value.trim()),
                _ => {}
            }
        }
        found
    }

    /// `Max-Age` wins over `Expires` (RFC 6265).
    fn expired(&self, now: Timestamp) -> bool {
        match (self.max_age, self.expires) {
            (Some(seconds), _) => seconds <= 0,
            (None, Some(moment)) => moment <= now,
            (None, None) => false,
        }
    }
}

fn http_date(text: &str) -> Option<Timestamp> {
    let zoned = jiff::fmt::rfc2822::parse(&text.replace('-', " ")).ok()?;
    Some(Timestamp::from_millis(zoned.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::captures::header;

    fn jar() -> CookieJar {
        CookieJar::new("a.example", Timestamp::from_millis(1_795_000_000_000))
    }

    #[test]
    fn a_real_reply_gives_session_and_login() {
        let mut jar = jar();
        for cookie in header("s012-list-page1", "Set-Cookie") {
            assert_eq!(jar.take(&cookie, true, false), Taken::Kept);
        }
        assert_eq!(
            jar.header().as_deref(),
            Some("JSESSIONID=SESSION27; entermedia.keyfinder=KEY")
        );
        assert!(!jar.withheld() && !format!("{jar:?}").contains("SESSION27"));

        for cookie in header("c21-pull-original-302", "Set-Cookie") {
            assert_eq!(jar.take(&cookie, true, false), Taken::Removed);
        }
        assert_eq!(jar.header().as_deref(), Some("JSESSIONID=SESSION27"));
    }

    #[test]
    fn a_secure_cookie_goes_over_plain_http_only_by_permission() {
        let cookie = "JSESSIONID=x; Path=/; Secure; HttpOnly";
        let mut strict = jar();
        assert_eq!(strict.take(cookie, false, false), Taken::Withheld);
        assert_eq!((strict.header(), strict.withheld()), (None, true));
        let mut lax = jar();
        assert_eq!(lax.take(cookie, false, true), Taken::Kept);
        assert_eq!(
            (lax.header().as_deref(), lax.withheld()),
            (Some("JSESSIONID=x"), false)
        );
    }

    #[test]
    fn expiry_by_date_or_age_removes() {
        for cookie in [
            "a=2; Max-Age=0; Expires=Tue, 28 Dec 2027 04:57:57 GMT",
            "a=2; max-age=-1",
            "a=2; Expires=Thu, 01 Jan 1970 00:00:10 GMT",
            "a=2; Expires=Thu, 01-Jan-1970 00:00:10 GMT",
        ] {
            let mut jar = jar();
            jar.take("a=1", true, false);
            assert_eq!(jar.take(cookie, true, false), Taken::Removed, "{cookie}");
            assert_eq!(jar.header(), None);
        }
        assert_eq!(
            jar().take("a=1; Expires=Tue, 28 Dec 2027 04:57:57 GMT", true, false),
            Taken::Kept
        );
    }

    #[test]
    fn foreign_and_shapeless_cookies_are_ignored() {
        let huge = format!("a={}", "x".repeat(5_000));
        for cookie in [
            "a=1; Domain=other.example",
            "a=1; Domain=xa.example",
            "a=1; Domain=b.a.example",
            "",
            "a",
            "=1",
            "a=1\r\nX: y",
            &huge,
        ] {
            assert_eq!(
                jar().take(cookie, true, false),
                Taken::Ignored,
                "{cookie:?}"
            );
        }
        for cookie in [
            "a=1; Domain=a.example",
            "a=1; Domain=.example",
            "a=1; domain=.A.Example",
        ] {
            assert_eq!(jar().take(cookie, true, false), Taken::Kept, "{cookie:?}");
        }
    }
}
