//! Content digests. SHA-256 names every file of ours; MD5 is only computed where a peer states one to compare with
//! (hashing twice costs a third of the throughput).

use std::fmt;

use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::Digest as _;

/// Text that is not the hexadecimal form of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{value:?} is not a {kind} in hexadecimal")]
pub struct DigestError {
    /// Which digest was expected.
    pub kind: &'static str,
    /// What was offered.
    pub value: String,
}

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// From the digest's bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The digest's bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// From hexadecimal text in either case.
            ///
            /// # Errors
            /// [`DigestError`] when the length or a character is wrong.
            pub fn parse(text: &str) -> Result<Self, DigestError> {
                let refused = || DigestError { kind: $kind, value: text.to_owned() };
                let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map_err(|_| refused())?;
                bytes.try_into().map(Self).map_err(|_| refused())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

digest! {
    /// SHA-256 of a file's content or of a text.
    Sha256, 32, "SHA-256"
}
digest! {
    /// MD5 of a file's content, as EMDB's `md5hex` states it.
    Md5, 16, "MD5"
}

impl Sha256 {
    /// Digest of bytes already in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

/// What a [`Hasher`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// Bytes that went through.
    pub size: u64,
    /// Their SHA-256.
    pub sha256: Sha256,
    /// Their MD5, when it was asked for.
    pub md5: Option<Md5>,
}

/// Hashes a stream as it passes: SHA-256 always, MD5 on demand, in one pass.
#[derive(Clone)]
pub struct Hasher {
    size: u64,
    sha256: sha2::Sha256,
    md5: Option<md5::Md5>,
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    #[must_use]
    pub fn new(with_md5: bool) -> Self {
        Self {
            size: 0,
            sha256: sha2::Sha256::new(),
            md5: with_md5.then(md5::Md5::new),
        }
    }

    /// Takes the next piece of the stream.
    pub fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        self.sha256.update(piece);
        if let Some(md5) = &mut self.md5 {
            md5.update(piece);
        }
    }

    /// Bytes seen so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Ends the stream.
    #[must_use]
    pub fn finish(self) -> Digests {
        Digests {
            size: self.size,
            sha256: Sha256(self.sha256.finalize().into()),
            md5: self.md5.map(|md5| Md5(md5.finalize().into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_has_the_digest_of_its_whole() {
        let mut hasher = Hasher::new(true);
        for piece in [&b"ab"[..], b"", b"c"] {
            hasher.update(piece);
        }
        let found = hasher.finish();
        assert_eq!(found.size, 3);
        assert_eq!(found.sha256, Sha256::of(b"abc"));
        assert_eq!(
            found.sha256.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            found.md5.unwrap().to_string(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }

    #[test]
    fn text_of_the_wrong_length_is_refused() {
        assert!(Sha256::parse("ab").is_err());
        assert!(Md5::parse("900150983cd24fb0d6963f7d28e17fzz").is_err());
        assert_eq!(
            Md5::parse("900150983CD24FB0D6963F7D28E17F72")
                .unwrap()
                .to_string(),
            "900150983cd24fb0d6963f7d28e17f72"
        );
    }
}
