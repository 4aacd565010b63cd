//! Which paths a person means: a path, everything below a folder, or a pattern with `*` and `?`.

use std::convert::Infallible;
use std::str::FromStr;

/// A pattern of paths. `*` stands for any text, also across folders, `?` for one character; without them it is a path, with
/// or without its tree (`originals/…`), or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl Pattern {
    /// Whether a path, or the same with its tree in front, is meant.
    #[must_use]
    pub fn takes(&self, tree: &str, path: &str) -> bool {
        let whole = format!("{tree}/{path}");
        [path, &whole].into_iter().any(|path| {
            if self.0.contains(['*', '?']) {
                matches(&self.0, path)
            } else {
                path.strip_prefix(self.0.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        })
    }
}

/// The usual walk with one place to come back to: linear for each `*`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut back) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, taken)) = back else {
                    return false;
                };
                back = Some((star, taken + 1));
                p = star + 1;
                t = taken + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_path_a_folder_or_has_stars() {
        let takes = |pattern: &str, path: &str| {
            pattern.parse::<Pattern>().unwrap().takes("originals", path)
        };
        assert!(takes("a/b.jpg", "a/b.jpg") && takes("originals/a", "a/b.jpg"));
        assert!(takes("a/", "a/b.jpg") && !takes("a", "ab.jpg") && !takes("generated/a", "a/b"));
        assert!(takes("*.jpg", "a/b.jpg") && takes("a/?.jpg", "a/é.jpg"));
        assert!(takes("*a*b*", "xaxxbx") && !takes("*a*b", "xbxa") && takes("**", ""));
    }
}
