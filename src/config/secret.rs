//! Text that must not be seen: a peer's key.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A key. Prints as `***`, is overwritten when dropped, and is shown only to who asks by name.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a key.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The key itself, for the header that carries it or the file that keeps it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_only_when_exposed() {
        let secret = Secret::new("planted");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.clone().expose(), "planted");
    }
}
