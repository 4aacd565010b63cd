//! Patterns of paths in rclone's syntax.
//!
//! ```text
//! *.jpg        any name that ends so, in any folder       /a/*.jpg     only in the folder a at the top
//! a/**         everything below a folder a                a/           the same
//! ?  [a-c]     one character, never a slash               {jpg,png}    one of several
//! \*           the character itself                       {{\d+}}      a regular expression
//! ```

use std::fmt;
use std::str::FromStr;

use regex::Regex;

/// A pattern of paths below `originals/`.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern {pattern:?} {reason}; see the syntax of rclone's filters")]
pub struct PatternError {
    /// As it was written.
    pub pattern: String,
    /// What is the matter with it.
    pub reason: String,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = |reason: &str| PatternError {
            pattern: text.to_owned(),
            reason: reason.to_owned(),
        };
        let regex = translated(text).map_err(bad)?;
        let regex = Regex::new(&regex).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => bad("is too large"),
            _ => bad("holds a set or an expression that cannot be read"),
        })?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }
}

impl Pattern {
    /// Whether a path is meant.
    #[must_use]
    pub fn takes(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

/// The same as a regular expression.
fn translated(pattern: &str) -> Result<String, &'static str> {
    if pattern.is_empty() {
        return Err("is empty");
    }
    // Without a slash at its head it may begin in any folder.
    let (mut regex, rest) = match pattern.strip_prefix('/') {
        Some(rest) => ("^".to_owned(), rest),
        None => ("(?:^|/)".to_owned(), pattern),
    };
    let mut chars = rest.chars().peekable();
    let mut is_in_choice = false;
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.next_if_eq(&'*').is_some() => {
                if chars.peek() == Some(&'*') {
                    return Err("holds more than two stars in a row");
                }
                regex.push_str(".*");
            }
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => set(&mut chars, &mut regex)?,
            '{' if chars.next_if_eq(&'{').is_some() => expression(&mut chars, &mut regex)?,
            '{' if is_in_choice => return Err("holds a choice within a choice"),
            '{' => {
                is_in_choice = true;
                regex.push_str("(?:");
            }
            '}' if is_in_choice => {
                is_in_choice = false;
                regex.push(')');
            }
            ',' if is_in_choice => regex.push('|'),
            '}' | ']' => return Err("closes a bracket that was not opened"),
            '\\' => {
                let next = chars.next().ok_or("ends with a lone backslash")?;
                regex.push_str(&regex::escape(next.encode_utf8(&mut [0; 4])));
            }
            plain => regex.push_str(&regex::escape(plain.encode_utf8(&mut [0; 4]))),
        }
    }
    if is_in_choice {
        return Err("opens a choice that is not closed");
    }
    // A folder stands for all that lies in it.
    regex.push_str(if pattern.ends_with('/') { ".*$" } else { "$" });
    Ok(format!("(?s){regex}"))
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// A set of characters, without the slash.
fn set(chars: &mut Chars<'_>, regex: &mut String) -> Result<(), &'static str> {
    regex.push('[');
    if chars.next_if(|next| "^!".contains(*next)).is_some() {
        regex.push_str("^/");
    }
    let mut is_empty = true;
    loop {
        match chars.next().ok_or("opens a set that is not closed")? {
            ']' if is_empty => return Err("holds an empty set"),
            ']' => break,
            '-' => regex.push('-'),
            '\\' => {
                let next = chars.next().ok_or("ends with a lone backslash")?;
                regex.push('\\');
                regex.push(next);
            }
            // Unlike those of a shell, sets of the regular expressions know operators.
            special if "[&~^".contains(special) => {
                regex.push('\\');
                regex.push(special);
            }
            plain => regex.push(plain),
        }
        is_empty = false;
    }
    regex.push(']');
    Ok(())
}

/// A regular expression in double braces.
fn expression(chars: &mut Chars<'_>, regex: &mut String) -> Result<(), &'static str> {
    let mut inner = String::new();
    loop {
        match chars
            .next()
            .ok_or("opens an expression that is not closed")?
        {
            '}' if chars.peek() == Some(&'}') => {
                chars.next();
                // A quantifier's brace belongs to the expression: `{{\d{4}}}`.
                if chars.peek() == Some(&'}') {
                    chars.next();
                    inner.push('}');
                }
                break;
            }
            next => inner.push(next),
        }
    }
    Regex::new(&inner).map_err(|_| "holds an expression that cannot be read")?;
    regex.push_str(&format!("(?:{inner})"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &str, path: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().takes(path)
    }

    #[test]
    fn patterns_mean_what_they_mean_to_rclone() {
        // The examples of rclone's manual, in our own words.
        for (pattern, yes, no) in [
            ("file.jpg", "file.jpg", "afile.jpg"),
            ("file.jpg", "directory/file.jpg", "file.jpg.txt"),
            ("/file.jpg", "file.jpg", "directory/file.jpg"),
            ("*.jpg", "directory/file.jpg", "file.jpg/anotherfile.png"),
            ("*.{jpg,png}", "a/b.png", "a/b.gif"),
            ("dir/**", "a/dir/b/c.jpg", "adir/c.jpg"),
            ("/dir/**", "dir/b/c.jpg", "a/dir/b/c.jpg"),
            ("dir/", "a/dir/b/c.jpg", "dir"),
            ("?ouse.tif", "a/house.tif", "a/b/ouse.tif"),
            ("ab[cd]/x", "abd/x", "abe/x"),
            ("ab[!cd]/x", "abe/x", "abc/x"),
            ("ab[^c-e]", "abf", "ab/"),
            ("*/x.jpg", "a/x.jpg", "x.jpg"),
            (r"\*.jpg", "*.jpg", "a.jpg"),
            (r"/{{\d{4}}}/**", "2024/a.jpg", "202x/a.jpg"),
            (r"{{.*\.jpe?g}}", "a/b.jpeg", "a/b.png"),
            ("a.b", "a.b", "axb"),
            ("a+(b)$", "a+(b)$", "aa(b)$"),
            ("[a&&b]", "&", "c"),
        ] {
            assert!(takes(pattern, yes), "{pattern} does not take {yes}");
            assert!(!takes(pattern, no), "{pattern} takes {no}");
        }
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_says_why() {
        for bad in [
            "", "a***", "[", "[]", "{a", "{a,{b}}", "a}", "a]", "\\", "{{(}}", "{{a", "[z-a]",
        ] {
            let error = bad.parse::<Pattern>().unwrap_err();
            assert!(error.to_string().contains("rclone"), "{bad}: {error}");
        }
    }
}
