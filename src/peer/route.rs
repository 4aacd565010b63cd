//! The way to a remote node: which proxy is asked, if any, and whose certificates are trusted.
//!
//! The HTTP library would read the environment by itself, and would send what is meant for this very machine to a proxy; so it is
//! told everything here, and left no choice. A request on the loopback never meets a proxy.

use std::env;

use reqwest::{Certificate, Client, ClientBuilder, NoProxy};

use super::Error;
use crate::config::BaseUrl;
use crate::config::network::{Network, Proxy, proxy_address};

/// This machine, in the notation of `NO_PROXY`.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Variables that name a proxy for addresses of http, the first that is set before the others.
const HTTP: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
/// The same for https.
const HTTPS: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// Variables that name what is reached without one.
const DIRECT: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// What is asked at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Addresses of http alone: no certificate is ever looked at, so the system's need not be read.
    Plain,
    /// Any address.
    Any,
}

impl Reach {
    /// For requests to one address, which no redirect leads away from.
    pub(super) fn of(url: &BaseUrl) -> Self {
        match url.is_https() {
            true => Self::Any,
            false => Self::Plain,
        }
    }
}

/// A builder of a client that takes this way.
///
/// # Errors
/// [`Error::Proxy`] for a variable that names no proxy, [`Error::Client`].
pub fn builder(network: &Network, reach: Reach) -> Result<ClientBuilder, Error> {
    let mut builder = Client::builder().no_proxy();
    if reach == Reach::Plain {
        builder = builder.tls_certs_only(std::iter::empty());
    } else if let Some(ca) = &network.ca {
        let certificates = ca
            .certificates()
            .iter()
            .map(|der| Certificate::from_der(der));
        let certificates = certificates.collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|source| Error::Client { source })?;
        builder = builder.tls_certs_merge(certificates);
    }
    let plan = Plan::of(&network.proxy, |name| env::var(name).ok())?;
    let direct = NoProxy::from_string(&plan.direct);
    if let Some(address) = &plan.http {
        let proxy = reqwest::Proxy::http(address.as_str());
        let proxy = proxy.map_err(|source| Error::Client { source })?;
        builder = builder.proxy(proxy.no_proxy(direct.clone()));
    }
    if let Some(address) = &plan.https {
        let proxy = reqwest::Proxy::https(address.as_str());
        let proxy = proxy.map_err(|source| Error::Client { source })?;
        builder = builder.proxy(proxy.no_proxy(direct));
    }
    Ok(builder)
}

/// Whether the way can be taken, as far as settings and environment go.
///
/// # Errors
/// [`Error::Proxy`].
pub fn check(network: &Network) -> Result<(), Error> {
    Plan::of(&network.proxy, |name| env::var(name).ok()).map(|_| ())
}

/// The variable that decides about a proxy where the settings leave it to the environment.
#[must_use]
pub fn deciding_variable() -> Option<&'static str> {
    let is_set = |name: &&'static str| env::var(name).is_ok_and(|value| !value.trim().is_empty());
    HTTPS.into_iter().chain(HTTP).find(is_set)
}

/// Which proxies are asked.
struct Plan {
    http: Option<reqwest::Url>,
    https: Option<reqwest::Url>,
    /// What is reached without one.
    direct: String,
}

impl Plan {
    fn of(proxy: &Proxy, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let direct = DIRECT.into_iter().find_map(value);
        let direct =
            direct.map_or_else(|| LOOPBACK.to_owned(), |more| format!("{LOOPBACK},{more}"));
        let named = |names: [&'static str; 4]| {
            let Some((name, value)) = names
                .into_iter()
                .find_map(|name| Some((name, value(name)?)))
            else {
                return Ok(None);
            };
            let address = proxy_address(value.trim());
            address.map(Some).ok_or(Error::Proxy { variable: name })
        };
        let (http, https) = match proxy {
            Proxy::Off => (None, None),
            Proxy::At(address) => {
                let address = proxy_address(address.expose());
                (address.clone(), address)
            }
            Proxy::Environment => (named(HTTP)?, named(HTTPS)?),
        };
        Ok(Self {
            http,
            https,
            direct,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn plan(proxy: &Proxy, set: &[(&str, &str)]) -> Result<(String, String, String), Error> {
        let found = |name: &str| {
            let value = set.iter().find(|(known, _)| *known == name);
            value.map(|(_, value)| (*value).to_owned())
        };
        let plan = Plan::of(proxy, found)?;
        let text = |url: Option<reqwest::Url>| url.map_or_else(String::new, |url| url.to_string());
        Ok((text(plan.http), text(plan.https), plan.direct))
    }

    #[test]
    fn the_settings_come_before_the_environment_and_loopback_before_both() {
        let set = [
            ("HTTP_PROXY", "http://upper:1"),
            ("http_proxy", "lower:1"),
            ("HTTPS_PROXY", "http://secure:1"),
            ("NO_PROXY", "example.org"),
        ];
        let (http, https, direct) = plan(&Proxy::Environment, &set).unwrap();
        assert_eq!(
            (http.as_str(), https.as_str()),
            ("http://lower:1/", "http://secure:1/")
        );
        assert_eq!(direct, format!("{LOOPBACK},example.org"));
        let off = plan(&Proxy::Off, &set).unwrap();
        assert_eq!((off.0.as_str(), off.1.as_str()), ("", ""));
        let at = plan(&Proxy::At(Secret::new("http://own:1")), &set).unwrap();
        assert_eq!(
            (at.0.as_str(), at.1.as_str()),
            ("http://own:1/", "http://own:1/")
        );
        assert!(at.2.starts_with(LOOPBACK));
        let all = plan(
            &Proxy::Environment,
            &[("ALL_PROXY", "all:1"), ("http_proxy", " ")],
        );
        assert_eq!(all.unwrap().0, "http://all:1/");
        assert_eq!(plan(&Proxy::Environment, &[]).unwrap().2, LOOPBACK);
    }

    #[test]
    fn a_variable_that_names_no_proxy_is_named_without_its_value() {
        let wrong = plan(
            &Proxy::Environment,
            &[("HTTPS_PROXY", "socks5://u:planted@h")],
        );
        let said = wrong.unwrap_err().to_string();
        assert!(
            said.contains("HTTPS_PROXY") && !said.contains("planted"),
            "{said}"
        );
    }
}
