//! Rectangles that are drawn on pictures of an EMDB: it makes nothing of their rows, so what shows them goes along.

use std::sync::Arc;
use std::time::Duration;

use emsync::config::Generated;
use emsync::model::{FileKind, Timestamp};
use emsync::pull::metadata::Scope;
use emsync::seams::{Clock, Os};
use serde_json::json;

use super::{MTIME, UPLOAD, push};
use crate::support::author;
use crate::support::emdb::{Doc, Emdb, KEY, OWN, Setup, asset_members};
use crate::support::node::{Mirror, chain};

const PICTURE: &[u8] = include_bytes!("../../../assets-fixtures/originals/Animals/chelsea.jpg");
const PATH: &str = "a/photo.jpg";
const THUMB: &str = "a/photo.jpg/image200x200.webp";

/// A few seconds later than it is.
#[derive(Debug)]
struct Ahead;

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        Os.now().plus(Duration::from_secs(5))
    }
}

/// A node that makes all renditions itself, and has the picture of an EMDB that it pushes to.
async fn world() -> (Emdb, Mirror) {
    let emdb = Emdb::start(Setup::default()).await;
    let now = emdb.now();
    emdb.edit(|content| {
        let mut members = asset_members(PATH, PICTURE.len(), MTIME);
        members["fileformat"] = json!("jpg");
        content.record(Doc::new("asset", "photo", OWN, now, members));
        content.original(PATH, PICTURE, MTIME);
        content.generated(THUMB, &b"as its author made it"[..], MTIME);
    });
    let node = Mirror::with(emdb.base(), KEY, Some(OWN), |config| {
        let peer = &mut config.peers[0];
        (peer.push, peer.generated) = (true, Generated::Rebuild);
    })
    .await;
    node.seed().await;
    assert!(node.read(FileKind::Generated, THUMB).is_some());
    (emdb, node)
}

/// Pushes; answers how many files went.
async fn sent(emdb: &Emdb, node: &Mirror) -> usize {
    let before = emdb.requests(UPLOAD).len();
    let outcome = push(node, Scope::Changes).await;
    if let Some(error) = &outcome.error {
        panic!("{}", chain(error));
    }
    emdb.requests(UPLOAD).len() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_shows_a_rectangle_goes_to_the_author_and_no_other_file_does() {
    let (emdb, node) = world().await;
    assert_eq!(sent(&emdb, &node).await, 0, "the author keeps what it made");
    let crop = author::crop(&node.node, "photo", "webpthumbimage", "60x60+10+10");
    crop.await.unwrap();
    assert_eq!(sent(&emdb, &node).await, 1);
    let there = emdb.edit(|content| content.generated[THUMB].bytes.to_vec());
    let here = node.read(FileKind::Generated, THUMB);
    assert!(Some(there) == here, "it is what is here");
    let names = emdb.edit(|content| content.generated.len());
    assert_eq!(names, 1, "nothing but that");
    assert_eq!(sent(&emdb, &node).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rectangle_that_is_not_shown_yet_brings_no_former_rendition() {
    let (emdb, mut node) = world().await;
    // What was made before is told from what is made after by dates of whole seconds.
    node.node.seams.clock = Arc::new(Ahead);
    let drawn = author::draw(&node.node, "photo", "webpthumbimage", "60x60+10+10");
    drawn.await.unwrap();
    assert_eq!(sent(&emdb, &node).await, 0);
    author::show(&node.node, "photo").await.unwrap();
    assert_eq!(sent(&emdb, &node).await, 1, "once it is shown");
}
