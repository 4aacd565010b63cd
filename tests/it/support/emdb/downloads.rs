//! Files as the scripted server sends them. Captures named in comments are the exchanges it imitates.

use axum::body::Bytes;
use emsync::protocol::wire_path::unescape;

use super::super::fault::{Length, Reply};
use super::replies::{HTML, header, missing, redirect};
use super::{Doc, File, Logged, Shared};

impl Shared {
    /// 3.8 and 3.9. `file` is what follows `downloads/`, raw; its last element only names the download.
    pub(super) fn download(&self, file: &str, request: &Logged, logged_in: bool) -> Reply {
        let Some((tree, raw)) = file.split_once('/') else {
            return missing(file);
        };
        // The server decodes paths by the rules of forms: s037c.
        let path = raw
            .rsplit_once('/')
            .and_then(|(path, _)| unescape(&path.replace('+', " ")));
        let Some(path) = path else {
            return missing(file);
        };
        match tree {
            "generatedpreview" => self.generated_file(&path, request),
            "originals" => self.original_file(&path, request, logged_in),
            _ => missing(file),
        }
    }

    fn generated_file(&self, path: &str, request: &Logged) -> Reply {
        let content = self.content.lock().unwrap();
        // s027: one size of preview stands in for the other.
        let stand_in = path.replacen("/image550x350.", "/image550x550.", 1);
        match content
            .generated
            .get(path)
            .or_else(|| content.generated.get(&stand_in))
        {
            Some(file) => file_reply(file, "image/webp", request),
            None => missing(path),
        }
    }

    fn original_file(&self, path: &str, request: &Logged, logged_in: bool) -> Reply {
        let content = self.content.lock().unwrap();
        let plain = path.trim_start_matches('/');
        if !logged_in {
            // s030b: a single slash finds the asset, whose permission check then meets no user.
            let named = |doc: &Doc| {
                doc.text("sourcepath") == Some(path) || doc.text("archivesourcepath") == Some(path)
            };
            return match content.docs.iter().any(named) {
                true => Reply {
                    length: Length::Chunked,
                    ..Reply::plain(500, HTML, "<html>null</html>")
                },
                false => redirect("/finder/mediadb/authentication/logon.html", "image/jpeg"),
            };
        }
        let kind = "application/octet-stream;charset=utf-8";
        if let Some(file) = content.originals.get(plain) {
            return file_reply(file, kind, request);
        }
        // s034: a directory is a list of names with a length that has nothing to do with it.
        let below = format!("{plain}/");
        let names = content
            .originals
            .keys()
            .filter_map(|path| path.strip_prefix(&below)?.split('/').next());
        let mut names: Vec<_> = names.collect();
        names.dedup();
        match names.is_empty() {
            true => missing(path),
            false => Reply {
                length: Length::Claimed(4_096),
                ..Reply::plain(200, kind, &names.join("\n"))
            },
        }
    }
}

/// A file, with EMDB's notion of ranges: no 416, no suffixes, `If-Range` ignored (s022 to s024).
fn file_reply(file: &File, kind: &str, request: &Logged) -> Reply {
    let size = file.bytes.len();
    let etag = file.mtime.to_string();
    let mut reply = Reply {
        status: 200,
        headers: vec![
            ("etag", etag.clone()),
            ("cache-control", "max-age=0; must-revalidate".to_owned()),
            ("accept-ranges", "bytes".to_owned()),
        ],
        body: file.bytes.clone(),
        length: Length::Exact,
    };
    if header(request, "if-none-match") == Some(&etag) {
        reply.status = 304;
        reply.body = Bytes::new();
        return reply;
    }
    reply.headers.push(("content-type", kind.to_owned()));
    let Some(range) = header(request, "range").and_then(|range| range.strip_prefix("bytes="))
    else {
        return reply;
    };
    let (from, to) = range.split_once('-').unwrap_or((range, ""));
    let Ok(from) = from.parse::<usize>() else {
        return Reply {
            length: Length::Chunked,
            ..Reply::plain(500, HTML, "<html>range</html>")
        };
    };
    let last: i64 = to.parse().unwrap_or(size as i64 - 1);
    let end = usize::try_from(last + 1).unwrap_or(0).min(size);
    reply.status = 206;
    reply
        .headers
        .push(("content-range", format!("bytes {from}-{last}/{size}")));
    reply.body = file.bytes.slice(from.min(end)..end);
    let claimed = last + 1 - from as i64;
    reply.length = match u64::try_from(claimed) {
        Err(_) => Length::Chunked,
        Ok(claimed) if claimed == reply.body.len() as u64 => Length::Exact,
        Ok(claimed) => Length::Claimed(claimed),
    };
    reply
}
