//! The form that brings one file to a node that wants it (wire spec 3.6).
//!
//! The parts are EMDB's, in the order of its generated files, with its spelling of the content type; `asset` and `sha256` are
//! ours, which others ignore. The name of the file part is neutral, since EMDB drops files whose name begins with a dot (H-34):
//! `savepath` says where the file goes, and comes before it.

use std::fmt::Write as _;

use crate::model::{AssetId, CatalogId, FileKind, Sha256};

/// Longest member of a wish that is sent back, in bytes.
const LONGEST_MEMBER: usize = 8 * 1024;
/// Most members of a wish that are sent back.
const MOST_MEMBERS: usize = 16;
/// Names of parts that have a place of their own.
const NAMED: [&str; 8] = [
    "savepath",
    "filename",
    "catalogid",
    "localpath",
    "path",
    "asset",
    "sha256",
    "file.0",
];

/// What a form says of its file.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// Which tree the file lies in.
    pub kind: FileKind,
    /// Where the receiver is to put it, in its own catalog.
    pub savepath: &'a str,
    /// The sender's catalog.
    pub catalog: &'a CatalogId,
    /// What the wish said of the file: see [`WantedFile::members`](super::WantedFile::members).
    pub members: &'a [(String, String)],
    /// Whose file it is.
    pub asset: &'a AssetId,
    /// Its content.
    pub sha256: Sha256,
}

/// All of a form but the bytes of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadForm {
    /// The request's `Content-Type`.
    pub content_type: String,
    /// What stands before the bytes.
    pub head: Vec<u8>,
    /// What stands behind them.
    pub tail: Vec<u8>,
}

impl UploadForm {
    /// Writes a form. `boundary` must be of letters and digits, and nothing that anybody could have guessed.
    #[must_use]
    pub fn new(upload: &Upload<'_>, boundary: &str) -> Self {
        let mut head = String::new();
        let said = |name: &str| {
            let found = upload.members.iter().find(|(member, _)| member == name);
            found.map(|(_, value)| value.as_str())
        };
        let mut part = |name: &str, value: &str| {
            write!(
                head,
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
                 Content-Transfer-Encoding: 8bit\r\n\r\n{value}\r\n"
            )
            .expect("text takes everything");
        };
        part("savepath", upload.savepath);
        if let Some(name) = said("filename") {
            part("filename", name);
        }
        part("catalogid", upload.catalog.as_str());
        let path = match upload.kind {
            FileKind::Generated => "localpath",
            FileKind::Original => "path",
        };
        if let Some(stated) = said(path) {
            part(path, stated);
        }
        for (name, value) in upload.members {
            if !NAMED.contains(&name.as_str()) && is_plain(name) {
                part(name, value);
            }
        }
        part("asset", upload.asset.as_str());
        part("sha256", &upload.sha256.to_string());
        write!(
            head,
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file.0\"; filename=\"upload.bin\"\r\n\
             Content-Type: application/octect-stream; charset=UTF-8\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        )
        .expect("text takes everything");
        Self {
            content_type: format!("multipart/form-data; boundary={boundary}"),
            head: head.into_bytes(),
            tail: format!("\r\n--{boundary}--\r\n").into_bytes(),
        }
    }

    /// Bytes of the whole body, with a file of so many.
    #[must_use]
    pub fn length(&self, file: u64) -> u64 {
        (self.head.len() as u64)
            .saturating_add(file)
            .saturating_add(self.tail.len() as u64)
    }
}

/// The members of a wish that can be sent back: few, short, and of names that fit a header.
#[must_use]
pub fn kept_members(members: &[(String, String)]) -> Vec<(String, String)> {
    let kept = members
        .iter()
        .filter(|(name, value)| is_plain(name) && value.len() <= LONGEST_MEMBER);
    kept.take(MOST_MEMBERS).cloned().collect()
}

/// Whether a name can stand between quotes in a header, whoever chose it.
fn is_plain(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(kind: FileKind, members: &[(&str, &str)]) -> String {
        let members: Vec<_> = (members.iter())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let upload = Upload {
            kind,
            savepath: "/WEB-INF/data/finder/catalog/generated/a/\u{e9}.webp",
            catalog: &CatalogId::new("own/catalog").unwrap(),
            members: &members,
            asset: &AssetId::new("A1").unwrap(),
            sha256: Sha256::of(b"x"),
        };
        let form = UploadForm::new(&upload, "b0");
        assert_eq!(form.content_type, "multipart/form-data; boundary=b0");
        assert_eq!(
            form.length(5),
            (form.head.len() + 5 + form.tail.len()) as u64
        );
        let whole = [form.head, b"bytes".to_vec(), form.tail].concat();
        String::from_utf8(whole).unwrap()
    }

    fn names(form: &str) -> Vec<&str> {
        let parts = form.split("; name=\"").skip(1);
        parts.filter_map(|part| part.split('"').next()).collect()
    }

    #[test]
    fn a_generated_file_travels_in_emdbs_parts_and_headers() {
        let members = [("filename", "e.webp"), ("localpath", "/there")];
        let text = form(FileKind::Generated, &members);
        assert_eq!(
            names(&text),
            [
                "savepath",
                "filename",
                "catalogid",
                "localpath",
                "asset",
                "sha256",
                "file.0"
            ]
        );
        assert!(text.starts_with(
            "--b0\r\nContent-Disposition: form-data; name=\"savepath\"\r\nContent-Type: text/plain; charset=UTF-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\r\n/WEB-INF/data/finder/catalog/generated/a/\u{e9}.webp\r\n--b0\r\n"
        ));
        assert!(text.ends_with(
            "--b0\r\nContent-Disposition: form-data; name=\"file.0\"; filename=\"upload.bin\"\r\n\
             Content-Type: application/octect-stream; charset=UTF-8\r\nContent-Transfer-Encoding: binary\r\n\r\nbytes\r\n--b0--\r\n"
        ));
    }

    #[test]
    fn an_original_names_its_path_and_what_else_the_wish_said() {
        let members = [("path", "/mine"), ("token", "t-1"), ("asset", "other")];
        let text = form(FileKind::Original, &members);
        assert_eq!(
            names(&text),
            [
                "savepath",
                "catalogid",
                "path",
                "token",
                "asset",
                "sha256",
                "file.0"
            ]
        );
        assert!(text.contains("\r\n\r\nA1\r\n") && !text.contains("other"));
    }

    #[test]
    fn no_wish_writes_a_header_or_grows_a_form() {
        let long = "v".repeat(LONGEST_MEMBER + 1);
        let wish = [
            ("a\"\r\nX-Evil: 1", "v"),
            ("", "v"),
            ("ok", "v"),
            ("long", &long),
        ];
        let text = form(FileKind::Generated, &wish[..3]);
        assert_eq!(
            names(&text),
            ["savepath", "catalogid", "ok", "asset", "sha256", "file.0"]
        );
        let owned: Vec<_> = (wish.iter())
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        assert_eq!(
            kept_members(&owned),
            [("ok".to_owned(), "v".to_owned())],
            "the rest is dropped"
        );
        let many: Vec<_> = (0..100).map(|n| (format!("m{n}"), String::new())).collect();
        assert_eq!(kept_members(&many).len(), MOST_MEMBERS);
    }
}
