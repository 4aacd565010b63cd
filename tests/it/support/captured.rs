//! Real exchanges of a stock EnterMediaDB, as requests to send again and replies to compare with (`assets-fixtures/feed`).

use std::path::Path;

use super::emdb::KEY;

/// A real exchange: its request line and headers, its body, and status and body of its reply.
pub(crate) struct Captured {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) status: u16,
    pub(crate) reply: String,
}

impl Captured {
    pub(crate) fn read(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/feed");
        let text = std::fs::read_to_string(dir.join(format!("{name}.txt"))).unwrap();
        let (request, reply) = text.split_once("\nHTTP/1.1 ").unwrap();
        let (head, body) = request.split_once("\n\n").unwrap();
        let (line, headers) = head.split_once('\n').unwrap();
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let headers = headers
            .filter(|(name, _)| !["Content-Length", "Host", "Connection"].contains(name))
            .map(|(name, value)| (name.to_owned(), value.replace("KEY", KEY)));
        let (reply_head, reply) = reply.split_once("\n\n").unwrap_or((reply, ""));
        Self {
            path: line.split(' ').nth(1).unwrap().to_owned(),
            headers: headers.collect(),
            body: binary(body.strip_suffix('\n').unwrap_or(body)),
            status: reply_head.split(' ').next().unwrap().parse().unwrap(),
            reply: reply.trim_end_matches('\n').to_owned(),
        }
    }
}

/// A body as it was sent: forms of parts have their line ends back, and what stands for a binary file is one of its length.
fn binary(body: &str) -> Vec<u8> {
    if !body.starts_with("--") {
        return body.as_bytes().to_vec();
    }
    let mut bytes = Vec::new();
    for line in body.lines() {
        let length = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(" bytes binary]"))
            .map(|length| length.parse::<usize>().unwrap());
        match length {
            Some(length) => bytes.extend(std::iter::repeat_n(b'W', length)),
            None => bytes.extend(line.as_bytes()),
        }
        bytes.extend(b"\r\n");
    }
    bytes
}
