//! The vocabulary: values and pure functions that every other module speaks in. No I/O, no async, no wire names.

pub mod asset;
pub mod crop;
pub mod digest;
pub mod filter;
pub mod fingerprint;
pub mod id;
pub mod job;
pub mod path;
pub mod place;
pub mod preset;
pub mod record;
pub mod succession;
pub mod time;

pub use asset::{Asset, FileKind, ListedFile, MediaFile};
pub use crop::{Crop, CropError, Mode};
pub use digest::{Digests, Hasher, Md5, Sha256};
pub use filter::{Filter, Selection};
pub use fingerprint::{Fingerprint, Parameters};
pub use id::{AssetId, CatalogId, Module, NodeId, RecordKey};
pub use path::MediaPath;
pub use record::{Record, RecordStatus, Resolution, Version, resolve};
pub use succession::Succession;
pub use time::Timestamp;
