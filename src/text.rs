//! Numbers as people read them, on the command line and on the page alike.

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
