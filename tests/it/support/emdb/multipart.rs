//! Forms of several parts, read as Tomcat's reader does: by their boundary, whatever their order.

use axum::http::HeaderValue;
use bytes::Bytes;
use memchr::memmem;

/// One part of a form.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Its header lines, as they came.
    pub(crate) headers: Vec<String>,
    /// Its content.
    pub(crate) bytes: Bytes,
}

impl Part {
    /// The name it has in the form.
    pub(crate) fn name(&self) -> Option<&str> {
        self.disposition("name")
    }

    /// The name that its file had where it came from; a part without is a field.
    pub(crate) fn filename(&self) -> Option<&str> {
        self.disposition("filename")
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.headers.iter().filter_map(|line| line.split_once(':'));
        let mut values = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim())
    }

    /// Its content as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    fn disposition(&self, parameter: &str) -> Option<&str> {
        let rest = self.header("content-disposition")?;
        // `name=` must not be found inside `filename=`.
        let start = rest.find(&format!("; {parameter}=\""))? + parameter.len() + 4;
        let end = rest[start..].find('"')?;
        Some(&rest[start..start + end])
    }
}

/// The parts of a body of this type, in their order; none when it is of another, or ends in the middle.
pub(super) fn parts(kind: Option<&HeaderValue>, body: &Bytes) -> Vec<Part> {
    let boundary = kind
        .and_then(|kind| kind.to_str().ok())
        .filter(|kind| kind.starts_with("multipart/form-data"))
        .and_then(|kind| kind.split_once("boundary="));
    let Some((_, boundary)) = boundary else {
        return Vec::new();
    };
    let line = format!("\r\n--{}", boundary.trim_matches('"'));
    let Some(mut at) = body
        .starts_with(&line.as_bytes()[2..])
        .then_some(line.len() - 2)
    else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    while !body[at..].starts_with(b"--") {
        let Some(length) = memmem::find(&body[at..], line.as_bytes()) else {
            return Vec::new();
        };
        parts.extend(part(&body.slice(at..at + length)));
        at += length + line.len();
    }
    parts
}

/// What stands between two boundaries: a line end, headers, an empty line, the content.
fn part(between: &Bytes) -> Option<Part> {
    let end = memmem::find(between, b"\r\n\r\n")?;
    let headers = String::from_utf8_lossy(between.get(2..end)?).into_owned();
    Some(Part {
        headers: headers.split("\r\n").map(str::to_owned).collect(),
        bytes: between.slice(end + 4..),
    })
}
