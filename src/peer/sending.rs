//! What goes to a peer: pages of changes, offers of originals, and the files that it wants (wire spec 3.4 to 3.6).
//!
//! All of it may be sent twice: the peer then finds that it has it. A refusal here is one of writing, since listing comes first.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, Client, Response, StatusCode};

use super::watch::Watch;
use super::{Error, Peer};
use crate::model::CatalogId;
use crate::protocol::receiving::{UploadForm, Wanted, parse_generated, parse_originals};

const CHANGES: &str = "mediadb/services/cluster/receive/uploadchanges.json";
const ORIGINALS: &str = "mediadb/services/cluster/receive/receiveoriginalschanges.json";
const UPLOAD: &str = "mediadb/services/module/asset/sync/uploadfile.json";
/// Largest answer that is read: what a peer can want is bounded by what it is offered.
const LARGEST_ANSWER: usize = 64 << 20;

/// One file on its way to a peer.
pub struct Outgoing<S> {
    /// What is said of it.
    pub form: UploadForm,
    /// Its bytes.
    pub size: u64,
    /// What it is, for errors.
    pub what: String,
    /// Its content: exactly so many bytes, or an error, which breaks the request off before the peer has all of it.
    pub pieces: S,
}

impl Peer {
    /// Sends a page of changes; answers which files of it the peer wants.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] when we may not write there; [`Error::is_rejection`] tells a page that is not taken as a whole.
    pub async fn send_changes(&self, page: Bytes) -> Result<Wanted, Error> {
        let answer = self.send_json(CHANGES, page, "a page of changes").await?;
        parse_generated(&answer).map_err(|source| self.reply(source, 0))
    }

    /// Offers originals; answers which of them the peer wants. `own` is our catalog, which the paths lie in.
    ///
    /// # Errors
    /// As [`send_changes`](Self::send_changes).
    pub async fn offer_originals(&self, offer: Bytes, own: &CatalogId) -> Result<Wanted, Error> {
        let answer = self
            .send_json(ORIGINALS, offer, "an offer of originals")
            .await?;
        parse_originals(&answer, own).map_err(|source| self.reply(source, 0))
    }

    /// Sends one file. It is there once this returns; when the answer is lost it may be there all the same.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Unreachable`] also when the file's own pieces end in an error.
    pub async fn upload(
        &self,
        file: Outgoing<impl Stream<Item = io::Result<Bytes>> + Send + 'static>,
    ) -> Result<(), Error> {
        let Outgoing {
            form,
            size,
            what,
            pieces,
        } = file;
        let url = self.0.base_url.join(UPLOAD);
        let length = form.length(size);
        let watch = Arc::new(Watch::new());
        let whole = stream::once(std::future::ready(Ok(Bytes::from(form.head))))
            .chain(pieces)
            .chain(stream::once(std::future::ready(Ok(Bytes::from(form.tail)))));
        let body = Body::wrap_stream(self.watched(whole, length, Arc::clone(&watch)));
        let request = {
            let jar = self
                .0
                .media_cookies
                .lock()
                .expect("no panic while the cookies are held");
            let request = self.0.uploads.post(&url);
            Self::with_cookies(request, &jar)
                .header(CONTENT_TYPE, form.content_type)
                .header(CONTENT_LENGTH, length)
                .body(body)
        };
        let exchange = async {
            let response = self
                .send(request, &url)
                .await
                .map_err(|error| self.of_writing(error))?;
            self.answer(response, &url, &what).await
        };
        tokio::select! {
            answered = exchange => answered.map(drop),
            stood = watch.stalled(self.0.still) => Err(Error::Stalled {
                peer: self.0.name.clone(),
                what: what.clone(),
                seconds: stood.as_secs(),
            }),
        }
    }

    /// A body that goes no faster than we may send, and says whose turn it is.
    fn watched(
        &self,
        pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: u64,
        watch: Arc<Watch>,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let throttle = self.0.throttle.clone();
        let state = (Box::pin(pieces), length, throttle, watch);
        stream::unfold(state, |(mut pieces, left, throttle, watch)| async move {
            watch.wants();
            let piece = pieces.next().await;
            let bytes = piece.as_ref().and_then(|piece| piece.as_ref().ok());
            let bytes = bytes.map_or(0, Bytes::len);
            throttle.send(bytes).await;
            // Nobody asks for more than was announced, so the last piece is known by its place.
            let left = left.saturating_sub(bytes as u64);
            if left == 0 {
                watch.all_given();
            } else {
                watch.given();
            }
            Some((piece?, (pieces, left, throttle, watch)))
        })
    }

    async fn send_json(&self, path: &str, body: Bytes, what: &str) -> Result<Vec<u8>, Error> {
        let url = self.0.base_url.join(path);
        self.0.throttle.send(body.len()).await;
        let client: &Client = &self.0.lists;
        let request = {
            let jar = self
                .0
                .media_cookies
                .lock()
                .expect("no panic while the cookies are held");
            let request = client.post(&url).header(CONTENT_TYPE, "application/json");
            Self::with_cookies(request, &jar).body(body)
        };
        let response = self
            .send(request, &url)
            .await
            .map_err(|error| self.of_writing(error))?;
        self.answer(response, &url, what).await
    }

    /// The body of an answer that says yes.
    async fn answer(&self, response: Response, url: &str, what: &str) -> Result<Vec<u8>, Error> {
        self.keep_cookies(response.headers());
        match response.status() {
            StatusCode::OK | StatusCode::NOT_FOUND => {
                self.body_below(LARGEST_ANSWER, response, url).await
            }
            status => Err(Error::Server {
                peer: self.0.name.clone(),
                status: status.as_u16(),
                what: what.to_owned(),
            }),
        }
    }

    /// The peer was asked for its listing before, and let us in.
    fn of_writing(&self, error: Error) -> Error {
        match error {
            Error::Refused { peer, detail } => Error::ReadOnly { peer, detail },
            other => other,
        }
    }
}
