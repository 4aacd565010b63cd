//! Requests as EMDB's HTTP client sends them (wire spec 2.1): one jar of cookies for each run, POSTs that follow no redirect and
//! GETs that do.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;

use bytes::{Bytes, BytesMut};
use flate2::read::GzDecoder;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use crate::support::node::use_one_tls_provider;

/// A reply, as far as it came.
#[derive(Debug)]
pub(super) struct Reply {
    /// What was asked for.
    pub(super) path: String,
    pub(super) status: u16,
    pub(super) body: Bytes,
    /// Whether the body ended where it should.
    pub(super) whole: bool,
}

impl Reply {
    /// The reply, if it says 200.
    pub(super) fn ok(self) -> Result<Self, String> {
        match self.status {
            200 => Ok(self),
            status => {
                let said = String::from_utf8_lossy(&self.body);
                Err(format!("status {status} for {}: {said}", self.path))
            }
        }
    }

    /// Its JSON. json-simple, which EMDB uses, overlooks a missing comma (H-14).
    pub(super) fn json(&self) -> Result<Value, String> {
        let text = std::str::from_utf8(&self.body).map_err(|error| error.to_string())?;
        let parsed = serde_json::from_str(text).or_else(|error| {
            let (head, tail) = text.split_once("\"results\"").ok_or(error)?;
            serde_json::from_str(&format!("{},\"results\"{tail}", head.trim_end()))
        });
        parsed.map_err(|error| error.to_string())
    }
}

/// One run's connection to a peer.
#[derive(Debug)]
pub(super) struct Session {
    posts: Client,
    gets: Client,
    base: String,
    key: String,
    cookies: BTreeMap<String, String>,
}

impl Session {
    pub(super) fn new(base: &str, key: &str) -> Self {
        use_one_tls_provider();
        let client = |redirects| {
            // Nothing here speaks TLS: the system's certificates need not be read.
            let client = Client::builder()
                .tls_certs_only(std::iter::empty())
                .no_proxy()
                .redirect(redirects);
            client.build().unwrap()
        };
        Self {
            posts: client(Policy::none()),
            gets: client(Policy::default()),
            base: base.to_owned(),
            key: key.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// `sharedPost`. `path` is escaped already.
    pub(super) async fn form(
        &mut self,
        path: &str,
        fields: &[(&str, String)],
    ) -> Result<Reply, String> {
        let pairs = fields.iter();
        let pairs = pairs.map(|(name, value)| format!("{name}={}", form_value(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let kind = "application/x-www-form-urlencoded; charset=UTF-8";
        self.post(path, kind, body.into()).await
    }

    /// `sharedPostWithJson`.
    pub(super) async fn json(&mut self, path: &str, body: String) -> Result<Reply, String> {
        self.post(path, "application/json", body.into()).await
    }

    /// `sharedMimePost`: these fields, then the file.
    pub(super) async fn mime(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        (name, file): (&str, &[u8]),
    ) -> Result<Reply, String> {
        const BOUNDARY: &str = "zKKjK-i1-hBSAdcMBQ9U0vnzBh8RDEr";
        let mut body = BytesMut::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!(
                    "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
                     Content-Transfer-Encoding: 8bit\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
        // Whatever is not ASCII becomes a question mark.
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii() { c } else { '?' })
            .collect();
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file.0\"; filename=\"{name}\"\r\nContent-Type: \
                 application/octect-stream; charset=UTF-8\r\nContent-Transfer-Encoding: binary\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(file);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post(path, &kind, body.freeze()).await
    }

    /// `sharedGet`.
    pub(super) async fn get(&mut self, path: &str) -> Result<Reply, String> {
        let request = self.gets.get(format!("{}{path}", self.base));
        self.send(request).await
    }

    async fn post(&mut self, path: &str, kind: &str, body: Bytes) -> Result<Reply, String> {
        let request = self.posts.post(format!("{}{path}", self.base));
        let request = request.header("Content-Type", kind).body(body);
        self.send(request).await
    }

    async fn send(&mut self, request: RequestBuilder) -> Result<Reply, String> {
        let mut request = request
            .header("X-token", &self.key)
            .header("X-tokentype", "entermedia")
            .header("User-Agent", "Apache-HttpClient/4.5.2 (Java/17.0.15)")
            .header("Accept-Encoding", "gzip,deflate");
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter();
            let pairs = pairs.map(|(name, value)| format!("{name}={value}"));
            request = request.header("Cookie", pairs.collect::<Vec<_>>().join("; "));
        }
        let mut reply = request.send().await.map_err(|error| error.to_string())?;
        self.keep_cookies(&reply);
        let status = reply.status().as_u16();
        let path = reply.url().path().to_owned();
        let zipped = reply
            .headers()
            .get("content-encoding")
            .is_some_and(|value| value == "gzip");
        let (mut body, mut whole) = (BytesMut::new(), true);
        loop {
            match reply.chunk().await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        let mut body = body.freeze();
        if zipped {
            let mut plain = Vec::new();
            whole &= GzDecoder::new(&body[..]).read_to_end(&mut plain).is_ok();
            body = plain.into();
        }
        Ok(Reply {
            path,
            status,
            body,
            whole,
        })
    }

    /// A cookie that is `Secure` is not sent back over plain HTTP (H-5).
    fn keep_cookies(&mut self, reply: &reqwest::Response) {
        let plain = self.base.starts_with("http://");
        for value in reply.headers().get_all("set-cookie") {
            let value = value.to_str().unwrap_or_default();
            let mut parts = value.split("; ");
            let pair = parts.next().and_then(|pair| pair.split_once('='));
            let secure = parts.any(|part| part.eq_ignore_ascii_case("secure"));
            if let (Some((name, value)), false) = (pair, secure && plain) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// `URLU.fixPath` (wire spec 9.1).
pub(super) fn fix_path(path: &str) -> String {
    escaped(path, "/-_.!$&*,=")
}

/// A field of a form, as Java's encoder writes it.
fn form_value(value: &str) -> String {
    escaped(value, "-_.* ").replace(' ', "+")
}

fn escaped(text: &str, kept: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || kept.contains(c) {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                write!(out, "%{byte:02X}").expect("a string takes all");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of wire spec 9.1, and the body of c01.
    #[test]
    fn escapes_as_emdb_does() {
        let path = "/Collections/R&D (2024)/café 😀 100%~a+b.jpg";
        let expected =
            "/Collections/R&D%20%282024%29/caf%C3%A9%20%F0%9F%98%80%20100%25%7Ea%2Bb.jpg";
        assert_eq!(fix_path(path), expected);
        let since = form_value("2026-11-16 05:07:20 +0000");
        assert_eq!(since, "2026-11-16+05%3A07%3A20+%2B0000");
    }
}
