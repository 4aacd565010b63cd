//! Numbers and names as people read them, on the command line and on the page alike.

use std::borrow::Cow;

/// A count with its digits in groups: `1,204,512`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count with its noun: `1 file`, `1,204 files`.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    format!(
        "{} {noun}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// Text as it is shown on a terminal: what would move the cursor, colour, end the line or turn the direction of writing is spelled
/// out, since names of files come from other nodes and may hold anything.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    let is_hidden =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match is_hidden(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Bytes in the unit a person would choose: `1.2 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    indicatif::BinaryBytes(number).to_string()
}

/// Milliseconds as a person would say them.
#[must_use]
pub fn elapsed(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_end_a_line_nor_steer_a_terminal() {
        for (name, shown) in [
            ("Café 100% \"d\"\\x.jpg", "Café 100% \"d\"\\x.jpg"),
            ("new\nline", "new\\nline"),
            ("\u{1b}[31mred\u{9b}", "\\u{1b}[31mred\\u{9b}"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
        ] {
            assert_eq!(visible(name), shown);
        }
    }

    #[test]
    fn counts_are_grouped_in_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_204_512, "1,204,512"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!(counted(1, "file"), "1 file");
    }
}
