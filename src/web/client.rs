//! Who sent a request, and whether its way was encrypted: as the connection says, or as the proxy in front of this node says, if
//! there is one and the configuration names it.

use std::net::IpAddr;

use axum::http::HeaderMap;

use crate::serve::Connection;

/// Who sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    /// Their address.
    pub(super) address: IpAddr,
    /// Whether nobody on the way could read along.
    pub(super) is_secure: bool,
}

impl Client {
    /// Reads a request's headers. Only `proxy` is believed what it says of others, and of those only the last: what stands
    /// before that came from outside.
    pub(super) fn of(connection: Connection, headers: &HeaderMap, proxy: Option<IpAddr>) -> Self {
        let address = connection.address.ip().to_canonical();
        let direct = Self {
            address,
            is_secure: connection.is_secure,
        };
        if proxy.map(|proxy| proxy.to_canonical()) != Some(address) {
            return direct;
        }
        let last = |name: &str| {
            let last = headers.get_all(name).iter().next_back()?;
            let last = last.to_str().ok()?.rsplit(',').next()?;
            Some(last.trim())
        };
        let forwarded = last("x-forwarded-for").and_then(|text| text.parse::<IpAddr>().ok());
        Self {
            address: forwarded.map_or(address, |forwarded| forwarded.to_canonical()),
            is_secure: last("x-forwarded-proto")
                .is_some_and(|proto| proto.eq_ignore_ascii_case("https")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn read(from: &str, proxy: Option<&str>, forwarded: &[&'static str]) -> (String, bool) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", HeaderValue::from_static(value));
        }
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let connection = Connection {
            address: from.parse().unwrap(),
            is_secure: false,
        };
        let proxy = proxy.map(|proxy| proxy.parse().unwrap());
        let client = Client::of(connection, &headers, proxy);
        (client.address.to_string(), client.is_secure)
    }

    #[test]
    fn only_the_named_proxy_is_believed_and_only_its_own_word() {
        let said = &["10.9.9.9, 203.0.113.7"][..];
        let direct = ("192.0.2.1".to_owned(), false);
        assert_eq!(read("192.0.2.1:5", None, said), direct);
        assert_eq!(read("192.0.2.1:5", Some("127.0.0.1"), said), direct);
        let behind = ("203.0.113.7".to_owned(), true);
        assert_eq!(read("127.0.0.1:5", Some("127.0.0.1"), said), behind);
        assert_eq!(
            read("[::ffff:127.0.0.1]:5", Some("127.0.0.1"), said),
            behind
        );
        let lines = &["10.9.9.9", "203.0.113.7"];
        assert_eq!(read("127.0.0.1:5", Some("127.0.0.1"), lines), behind);
        let itself = ("127.0.0.1".to_owned(), true);
        assert_eq!(
            read("127.0.0.1:5", Some("127.0.0.1"), &["nonsense"]),
            itself
        );
    }
}
