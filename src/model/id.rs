//! Names of things: nodes, tables, records, catalogs. Each is checked once, when it is made, and is then only passed on.

use std::fmt;

use super::Sha256;

/// A value that cannot be the name it was offered as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, or made of blanks only.
    #[error("{what} is empty")]
    Empty {
        /// Which name was asked for.
        what: &'static str,
    },
    /// A character or shape the name may not have.
    #[error("{what} {value:?} is not allowed: {why}")]
    Refused {
        /// Which name was asked for.
        what: &'static str,
        /// What was offered.
        value: String,
        /// The rule it breaks.
        why: &'static str,
    },
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype! {
    /// Cluster id of a node: who owns a record and who edited it last. Any non-empty text; EMDB sets no rule (wire spec 1.1).
    NodeId
}

text_newtype! {
    /// Name of a table, `[A-Za-z][A-Za-z0-9_]*` and at most 64 characters (design section 8, Tables).
    Module
}

text_newtype! {
    /// Id of an asset record. Text of 1 to 512 bytes without control characters.
    AssetId
}

text_newtype! {
    /// Name of a dataset on the wire and on disk, such as `assets/catalog`: two or more plain path elements.
    CatalogId
}

/// EMDB's default cluster id: two nodes left at it cannot be told apart (wire spec 1.1), so it is refused.
pub const DEFAULT_CLUSTER_ID: &str = "entermedia-cluster";

impl NodeId {
    /// A cluster id as a peer or the configuration states it.
    ///
    /// # Errors
    /// [`IdError::Empty`] for blank text.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        if value.trim().is_empty() {
            return Err(IdError::Empty { what: "cluster id" });
        }
        Ok(Self(value))
    }
}

impl Module {
    /// The table that owns files.
    pub const ASSET: &'static str = "asset";
    /// The tree that assets are filed in.
    pub const CATEGORY: &'static str = "category";

    /// A table name from the wire, the command line or the catalogue.
    ///
    /// # Errors
    /// [`IdError`] when the name is empty, too long or holds anything but letters, digits and `_`.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        let mut chars = value.chars();
        match chars.next() {
            None => return Err(IdError::Empty { what: "table name" }),
            Some(first) if first.is_ascii_alphabetic() && value.len() <= 64 => {}
            Some(_) => {
                return Err(IdError::Refused {
                    what: "table name",
                    value,
                    why: "it must start with a letter and have at most 64 characters",
                });
            }
        }
        if !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(IdError::Refused {
                what: "table name",
                value,
                why: "only letters, digits and _ may appear",
            });
        }
        Ok(Self(value))
    }

    /// The asset table.
    #[must_use]
    pub fn asset() -> Self {
        Self(Self::ASSET.to_owned())
    }

    /// The category table.
    #[must_use]
    pub fn category() -> Self {
        Self(Self::CATEGORY.to_owned())
    }

    /// Whether records of this table own files.
    #[must_use]
    pub fn is_asset(&self) -> bool {
        self.0 == Self::ASSET
    }
}

impl AssetId {
    /// An asset's record id.
    ///
    /// # Errors
    /// [`IdError`] when it is empty, over 512 bytes or holds a control character.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        check_record_id(value.into()).map(Self)
    }
}

impl CatalogId {
    /// A dataset name.
    ///
    /// # Errors
    /// [`IdError`] unless it is two or more elements of letters, digits, `_`, `-` and `.`, joined by `/`, none of them hidden.
    pub fn new(value: impl Into<String>) -> Result<Self, IdError> {
        let value = value.into();
        if value.is_empty() {
            return Err(IdError::Empty { what: "catalog id" });
        }
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        if value.split('/').count() < 2 || !value.split('/').all(plain) {
            return Err(IdError::Refused {
                what: "catalog id",
                value,
                why: "write it as site/catalog, for example finder/catalog",
            });
        }
        Ok(Self(value))
    }
}

/// One record's address: its table and its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey {
    /// The table.
    pub module: Module,
    /// The id, unique inside the table.
    pub id: String,
}

impl RecordKey {
    /// The address of a record.
    ///
    /// # Errors
    /// [`IdError`] when the table name or the id cannot be one.
    pub fn new(module: impl Into<String>, id: impl Into<String>) -> Result<Self, IdError> {
        Ok(Self {
            module: Module::new(module)?,
            id: check_record_id(id.into())?,
        })
    }

    /// The same record as an asset, when its table is the asset table.
    #[must_use]
    pub fn as_asset(&self) -> Option<AssetId> {
        self.module.is_asset().then(|| AssetId(self.id.clone()))
    }
}

impl AssetId {
    /// The key of its record.
    #[must_use]
    pub fn key(&self) -> RecordKey {
        RecordKey {
            module: Module::asset(),
            id: self.0.clone(),
        }
    }
}

/// Characters kept of a derived id's digest: 100 bits.
const DERIVED: usize = 20;

/// An id that follows from the node that makes a record, its table, and what it is first about: the same on every try.
#[must_use]
pub fn derived(own: &NodeId, table: &str, first: &str) -> String {
    let text = [own.as_str(), table, first].join("\0");
    let mut id = data_encoding::BASE32_NOPAD.encode(Sha256::of(text.as_bytes()).as_bytes());
    id.make_ascii_lowercase();
    id.truncate(DERIVED);
    id
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.module, self.id)
    }
}

fn check_record_id(value: String) -> Result<String, IdError> {
    if value.trim().is_empty() {
        return Err(IdError::Empty { what: "record id" });
    }
    if value.len() > 512 {
        return Err(IdError::Refused {
            what: "record id",
            value,
            why: "it is longer than 512 bytes",
        });
    }
    if value.chars().any(char::is_control) {
        return Err(IdError::Refused {
            what: "record id",
            value,
            why: "it holds a control character",
        });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_names_are_letters_digits_and_underscores() {
        for good in ["asset", "remotesaveconflictLog", "a", "T_1"] {
            assert_eq!(Module::new(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "1a",
            "_a",
            "a-b",
            "a.b",
            "a/b",
            "ä",
            "a b",
            &"x".repeat(65),
        ] {
            assert!(
                Module::new(bad).is_err(),
                "{bad:?} was taken as a table name"
            );
        }
    }

    #[test]
    fn catalog_ids_are_plain_paths_of_two_or_more_elements() {
        assert!(CatalogId::new("assets/catalog").is_ok());
        for bad in [
            "",
            "catalog",
            "/a/b",
            "a//b",
            "a/../b",
            "a/.emsync",
            "a/b c",
        ] {
            assert!(
                CatalogId::new(bad).is_err(),
                "{bad:?} was taken as a catalog id"
            );
        }
    }

    #[test]
    fn record_ids_hold_no_control_characters() {
        assert!(RecordKey::new("asset", "AZq1a").is_ok());
        assert!(RecordKey::new("asset", " ").is_err());
        assert!(RecordKey::new("asset", "a\u{0}b").is_err());
    }
}
