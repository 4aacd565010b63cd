//! What a file is that programs read, by its first bytes: only what cannot be mistaken counts, whatever the file is called.

use std::io::{self, Read, Seek};

/// First bytes that are looked at.
const HEAD: usize = 1024;

/// The format of `input` if its start says so, as EMDB spells it; leaves `input` at its start.
///
/// `named` is kept where the content is one of its kind: an `ai` may be a PDF, and is drawn as what it is called.
///
/// # Errors
/// What reading or seeking said.
pub fn by_content<R: Read + Seek>(input: &mut R, named: &str) -> io::Result<Option<&'static str>> {
    input.rewind()?;
    let mut head = Vec::with_capacity(HEAD);
    input.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    input.rewind()?;
    let found = kind(&head);
    let named = named.to_ascii_lowercase();
    let is_one = |(_, names): &(&str, &[&str])| names.contains(&named.as_str());
    Ok(found
        .filter(|found| !is_one(found))
        .map(|(format, _)| format))
}

/// The format of a file that begins so, and all that one of that content may be called.
fn kind(head: &[u8]) -> Option<(&'static str, &'static [&'static str])> {
    const HEIF: &[&str] = &["heic", "heif", "avif"];
    match head {
        [b'%', b'P', b'D', b'F', b'-', ..] => return Some(("pdf", &["pdf", "ai"])),
        [b'%', b'!', b'P', b'S', b'-', ..] if has(first_line(head), b"EPSF") => {
            return Some(("eps", &["eps", "ai"]));
        }
        [b'8', b'B', b'P', b'S', 0, 1 | 2, ..] => return Some(("psd", &["psd"])),
        [0, 0, 0, 12, b'j', b'P', b' ', b' ', ..] => return Some(("jp2", &["jp2"])),
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'a',
            b'v',
            b'i',
            b'f' | b's',
            ..,
        ] => {
            return Some(("avif", HEIF));
        }
        [
            _,
            _,
            _,
            _,
            b'f',
            b't',
            b'y',
            b'p',
            b'h',
            b'e',
            b'i' | b'v',
            b'c' | b'x',
            ..,
        ] => {
            return Some(("heic", HEIF));
        }
        _ => {}
    }
    is_svg(head).then_some(("svg", &["svg"]))
}

/// A drawing begins as one, or after what XML allows before its first element.
fn is_svg(head: &[u8]) -> bool {
    let mut rest = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    loop {
        rest = rest.trim_ascii_start();
        let end: &[u8] = match rest {
            [
                b'<',
                b's',
                b'v',
                b'g',
                b' ' | b'\t' | b'\r' | b'\n' | b'>',
                ..,
            ] => return true,
            [b'<', b'?', ..] => b"?>",
            [b'<', b'!', b'-', b'-', ..] => b"-->",
            [
                b'<',
                b'!',
                b'D',
                b'O',
                b'C',
                b'T',
                b'Y',
                b'P',
                b'E',
                b' ',
                b's',
                b'v',
                b'g',
                ..,
            ] => {
                return true;
            }
            _ => return false,
        };
        let Some(at) = rest.windows(end.len()).position(|part| part == end) else {
            return false;
        };
        rest = &rest[at + end.len()..];
    }
}

fn first_line(head: &[u8]) -> &[u8] {
    let end = head.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
    &head[..end.unwrap_or(head.len())]
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    #[test]
    fn content_decides_what_cannot_be_mistaken_and_a_name_what_is_of_its_kind() {
        let of = |content: &[u8], named| by_content(&mut Cursor::new(content), named).unwrap();
        for (content, named, format) in [
            (b"%PDF-1.4".as_slice(), "jpg", Some("pdf")),
            (b"%PDF-1.4", "PDF", None),
            (b"%PDF-1.4", "ai", None),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "svg", Some("eps")),
            (b"%!PS-Adobe-3.0\n%EPSF", "svg", None),
            (b"8BPS\0\x01\0\0", "pdf", Some("psd")),
            (b"8BPS as a text begins", "pdf", None),
            (b"\0\0\0\x18ftypheic", "jpg", Some("heic")),
            (b"\0\0\0\x18ftypavif", "heic", None),
            (b"\0\0\0\x18ftypmp42", "jpg", None),
            (
                b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- a -->\n<svg width='1'>",
                "png",
                Some("svg"),
            ),
            (b"<!DOCTYPE svg PUBLIC>", "png", Some("svg")),
            (b"<svgx>", "png", None),
            (b"<html><svg >", "png", None),
            (b"<!-- never ends", "png", None),
            (b"", "png", None),
        ] {
            assert_eq!(of(content, named), format, "{named} {content:?}");
        }
    }
}
