//! What differs from run to run, replaced by placeholders: everything else is compared as it is.

/// What `doctor` says of the machine that it runs on, without what is true of that one alone.
pub(super) fn of_any_machine(line: &str) -> String {
    match line.get(..22).map(str::trim_end) {
        Some(check @ ("ok       space" | "ok       file system")) => format!("{check} <machine>"),
        _ => line.to_owned(),
    }
}

/// `text` with every occurrence of the given names replaced by their placeholders, then times, spans and ids of the trash.
pub(super) fn plain(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (name, placeholder) in names {
        text = text.replace(name, placeholder);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    // Whether what came before belongs to a longer word or number.
    let mut is_inside = false;
    while let Some(next) = rest.chars().next() {
        let found = (!is_inside).then(|| volatile(rest)).flatten();
        let (length, shown) = found.unwrap_or((next.len_utf8(), &rest[..next.len_utf8()]));
        out.push_str(shown);
        is_inside = found.is_none() && next.is_ascii_alphanumeric();
        rest = &rest[length..];
    }
    out
}

/// How long something volatile is that a text begins with.
type Measure = fn(&str) -> Option<usize>;

/// The length and the placeholder of something volatile that `text` begins with.
fn volatile(text: &str) -> Option<(usize, &'static str)> {
    let shapes: [(Measure, &str); 4] = [
        (time, "<time>"),
        (stamp, "<time>"),
        (span, "<span>"),
        (trash_id, "<id>"),
    ];
    shapes
        .into_iter()
        .find_map(|(measure, placeholder)| Some((measure(text)?, placeholder)))
}

/// Whether `text` begins like `pattern`, where 0 stands for any digit.
fn begins(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && (text.bytes().zip(pattern.bytes())).all(|(byte, wanted)| match wanted {
            b'0' => byte.is_ascii_digit(),
            _ => byte == wanted,
        })
}

/// `2026-11-25T01:47:28.123Z`, and the same with a blank, without seconds or with an offset.
fn time(text: &str) -> Option<usize> {
    if !begins(text, "0000-00-00T00:00") && !begins(text, "0000-00-00 00:00") {
        return None;
    }
    let date_and_minute = 16;
    let tail = text[date_and_minute..]
        .bytes()
        .take_while(|byte| byte.is_ascii_digit() || b":.+Z".contains(byte))
        .count();
    let whole = &text[..date_and_minute + tail];
    Some(whole.trim_end_matches(['.', ':']).len())
}

/// `20261125T014728.123` and the like, as files are named.
fn stamp(text: &str) -> Option<usize> {
    begins(text, "00000000T00").then(|| {
        let tail = text[9..]
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || b".Z".contains(byte))
            .count();
        text[..9 + tail].trim_end_matches('.').len()
    })
}

/// `12.3 s`.
fn span(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &text[digits..];
    let goes_on = rest
        .as_bytes()
        .get(4)
        .is_some_and(u8::is_ascii_alphanumeric);
    (digits > 0 && begins(rest, ".0 s") && !goes_on).then_some(digits + 4)
}

/// Twelve hexadecimal digits that stand alone.
fn trash_id(text: &str) -> Option<usize> {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let digits = text.bytes().take_while(is_hex).count();
    let goes_on = text[digits..].starts_with(|next: char| next.is_ascii_alphanumeric());
    (digits == 12 && !goes_on).then_some(12)
}

#[test]
fn only_what_differs_from_run_to_run_is_replaced() {
    let names = [("/tmp/x".to_owned(), "<dir>".to_owned())];
    for (text, expected) in [
        (
            "in /tmp/x/r at 2026-11-25T01:47:28.123Z.",
            "in <dir>/r at <time>.",
        ),
        ("since 2026-11-25 01:47, 3 files", "since <time>, 3 files"),
        ("catalogue-20261125T014728.123.db", "catalogue-<time>.db"),
        ("3 files; 0.4 s", "3 files; <span>"),
        ("0123456789ab  a.txt", "<id>  a.txt"),
        (
            "1.4 seconds, 0123456789abc, x0123456789ab",
            "1.4 seconds, 0123456789abc, x0123456789ab",
        ),
        ("2026-11-25, 1.5 KiB", "2026-11-25, 1.5 KiB"),
    ] {
        assert_eq!(plain(text, &names), expected);
    }
}
