//! One form that brings a file (wire spec 3.6, 3.7). Its parts come in any order; whatever it says, a file goes only where a wish of
//! ours says, as the file that was wished for.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;

use super::Error;
use super::sender::Sender;
use crate::catalogue::Job;
use crate::model::{AssetId, CatalogId, FileKind, MediaPath};
use crate::protocol::wire_path::from_wire;
use crate::pull::landing::{self, Brought};

/// The parts of a form that say what its file is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Form {
    /// Where the sender would have it (`savepath`, or `localpath` in the other form).
    pub path: Option<String>,
    /// The sender's own catalog (`catalogid`).
    pub catalog: Option<String>,
    /// The asset that we named when we asked for it (`asset`), where the sender gives it back.
    pub asset: Option<String>,
}

impl Form {
    /// The file that it names. EMDB tells the path of a generated file as we told it, and that of an original in its own catalog
    /// (H-15).
    ///
    /// # Errors
    /// [`Error::Form`] for no path, and for one that lies outside the media of both.
    pub fn file(&self, own: &CatalogId) -> Result<(FileKind, MediaPath), Error> {
        let Some(path) = &self.path else {
            return Err(Error::Form {
                reason: "has no savepath".to_owned(),
            });
        };
        let theirs = self.catalog.as_deref().unwrap_or_default();
        from_wire(path, own.as_str())
            .or_else(|error| from_wire(path, theirs).map_err(|_| error))
            .map_err(|error| Error::Form {
                reason: format!("names no file of ours: {error}"),
            })
    }

    fn asset(&self) -> Option<AssetId> {
        AssetId::new(self.asset.as_deref()?).ok()
    }
}

/// A form on its way.
pub struct Upload {
    sender: Arc<Sender>,
    catalog: CatalogId,
}

impl Upload {
    pub(super) fn new(sender: Arc<Sender>, catalog: CatalogId) -> Self {
        Self { sender, catalog }
    }

    /// Takes the bytes. Where the form has said before which file it is, they are refused at once if nobody asked for them, or if
    /// they become too many.
    ///
    /// # Errors
    /// [`Error`]; then nothing is kept.
    pub async fn gather<E: std::fmt::Display>(
        &self,
        form: &Form,
        pieces: impl Stream<Item = Result<Bytes, E>>,
    ) -> Result<Brought, Error> {
        let (mut path, mut most, mut with_md5) = ("a file".to_owned(), None, true);
        if form.path.is_some()
            && let Some(job) = self.wish(form).await?
            && let Some(fetch) = landing::fetch_of(&job)
        {
            path.clone_from(&fetch.path);
            most = fetch.size.filter(|_| fetch.exact);
            with_md5 = fetch.needs_md5();
        }
        let pull = &self.sender.pull;
        Ok(landing::gather(pull, pieces, (&path, most), with_md5).await?)
    }

    /// Takes a message, of at most so many bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn gather_page<E: std::fmt::Display>(
        &self,
        what: &str,
        pieces: impl Stream<Item = Result<Bytes, E>>,
        most: u64,
    ) -> Result<Brought, Error> {
        let pull = &self.sender.pull;
        Ok(landing::gather(pull, pieces, (what, Some(most)), false).await?)
    }

    /// Publishes a file as the one that was asked for. Returns when it is durable. What is here already as it was brought is taken
    /// for a second try after a lost answer.
    ///
    /// # Errors
    /// [`Error::Unasked`] for a file that nobody asked for, and as [`landing::land`].
    pub async fn land(&self, form: &Form, brought: Brought) -> Result<(), Error> {
        let (kind, path) = form.file(&self.catalog)?;
        let pull = &self.sender.pull;
        let job = self.wish(form).await?;
        let fetch = job.as_ref().and_then(landing::fetch_of).cloned();
        let (Some(job), Some(fetch)) = (job, fetch) else {
            if landing::is_here(pull, (kind, &path), &brought.digests().sha256).await? {
                return Ok(());
            }
            return Err(Error::Unasked {
                path: format!("{}/{path}", kind.dir()),
            });
        };
        let items = self.sender.items()?;
        let asset = job.asset.clone();
        landing::land(pull, (job, &fetch), brought, &items).await?;
        if kind == FileKind::Original {
            self.sender.take_away(&asset).await?;
        }
        Ok(())
    }

    async fn wish(&self, form: &Form) -> Result<Option<Job>, Error> {
        let (kind, path) = form.file(&self.catalog)?;
        let asset = form.asset();
        let pull = &self.sender.pull;
        Ok(landing::wish_for(pull, (kind, &path), asset.as_ref()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str, catalog: &str) -> Result<(FileKind, MediaPath), Error> {
        let form = Form {
            path: Some(path.to_owned()),
            catalog: Some(catalog.to_owned()),
            asset: None,
        };
        form.file(&CatalogId::new("assets/catalog").unwrap())
    }

    #[test]
    fn a_file_is_named_in_our_catalog_or_in_the_senders_and_nowhere_else() {
        let file = |kind, path: &str| (kind, MediaPath::new(path).unwrap());
        let ours = named(
            "/WEB-INF/data/assets/catalog/generated/a/b.webp",
            "finder/catalog",
        );
        assert_eq!(ours.unwrap(), file(FileKind::Generated, "a/b.webp"));
        let theirs = named(
            "/WEB-INF/data/finder/catalog/originals/ü (1).jpg",
            "finder/catalog",
        );
        assert_eq!(theirs.unwrap(), file(FileKind::Original, "ü (1).jpg"));
        for path in [
            "/etc/passwd",
            "originals/a.jpg",
            "/WEB-INF/data/other/catalog/originals/a.jpg",
            "/WEB-INF/data/finder/catalog/lists/a.xml",
            "/WEB-INF/data/finder/catalog/originals/../../x",
            "/WEB-INF/data/assets/catalog/originals/a\u{0}b",
            "/WEB-INF/data//originals/a.jpg",
        ] {
            assert!(
                matches!(named(path, "finder/catalog"), Err(Error::Form { .. })),
                "{path}"
            );
        }
        assert!(named("/WEB-INF/data//originals/a.jpg", "").is_err());
        assert!(
            Form::default()
                .file(&CatalogId::new("a/catalog").unwrap())
                .is_err()
        );
    }
}
