//! The form of a peer writes the file as a careful person would, and keys are never seen again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::catalogue::{Checkpoint, Listing};
use crate::config::KeySource;
use crate::pull::metadata::FEED;

const KEY: &str = "a-key-that-nobody-sees";
const PEER: &str = "\n# far away\n[[peer]]\nname = \"far\"\nbase_url = \"http://far.example/assets\" # over the ocean\nkey_file = \"far.key\"\n";

fn filled_in<'a>(name: &'a str, url: &'a str, key: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("name", name),
        ("base_url", url),
        ("cluster_id", "m-1"),
        ("key", key),
        ("generated", "copy"),
        ("enabled", "true"),
    ]
}

fn file_of(site: &Site) -> String {
    fs::read_to_string(&site.node.config.file).unwrap()
}

#[tokio::test]
async fn a_peer_is_added_and_its_key_goes_to_a_file_of_this_user_alone() {
    let mut site = Site::entered(PEER).await;
    site.get("/ui/new-peer")
        .await
        .is(200)
        .holds("Pull All Original Media");
    let before = file_of(&site);
    let fields = filled_in("master", "http://m.example:7700/assets", KEY);
    let added = site.post("/ui/new-peer", &fields).await.is(303);
    assert!(added.leads().starts_with("/ui/peers/master?said="));

    let config = Config::load(&site.node.config.file).unwrap();
    let peer = config.peer("master").unwrap();
    assert_eq!(peer.key().unwrap().expose(), KEY);
    assert!(peer.enabled && !peer.pull_originals && !peer.push);
    assert_eq!(peer.cluster_id.as_ref().unwrap().as_str(), "m-1");
    let Some(KeySource::File(path)) = peer.key_source() else {
        panic!("no file: {:?}", peer.key_source());
    };
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let after = file_of(&site);
    assert!(after.starts_with(&before), "every other byte stays");
    assert!(!after.contains(KEY));

    for path in ["/ui/peers", "/ui/peers/master", "/ui/", "/ui/api/status"] {
        let shown = site.get(path).await.is(200).holds("master");
        assert!(!shown.text.contains(KEY), "{path} tells the key");
    }
}

#[tokio::test]
async fn what_the_file_would_refuse_is_refused_in_its_words_and_changes_nothing() {
    let mut site = Site::entered(PEER).await;
    let before = file_of(&site);
    for (name, url, key, says) in [
        ("a b", "http://m/assets", KEY, "is no name for a peer"),
        (
            "far",
            "http://m/assets",
            KEY,
            "has a peer &#34;far&#34; already",
        ),
        ("m", "http://m/assets/", KEY, "http://m/assets"),
        ("m", "http://m", KEY, "base_url"),
        ("m", "http://m/assets", " ", "give the peer"),
        ("m", "http://m/assets", "no\nline", "the form"),
    ] {
        let refused = site.post("/ui/new-peer", &filled_in(name, url, key)).await;
        let refused = refused.is(422).holds(says).holds("role=\"alert\"");
        assert!(!refused.text.contains(KEY), "{name} {url}");
    }
    let own = [
        ("base_url", "http://far.example/assets"),
        ("cluster_id", "here-1"),
    ];
    site.post("/ui/peers/far", &own)
        .await
        .is(422)
        .holds("own cluster id");
    let mut ours = filled_in("m", "http://m/assets", KEY);
    ours[2].1 = "here-1";
    site.post("/ui/new-peer", &ours)
        .await
        .is(422)
        .holds("own cluster id");
    site.post("/ui/peers/none", &own).await.is(404);
    site.get("/ui/peers/none").await.is(404);
    assert_eq!(file_of(&site), before);
    assert!(!site.dir.path().join("keys/m").exists());
}

#[tokio::test]
async fn a_peer_is_changed_disabled_and_removed_and_comments_stay() {
    let mut site = Site::entered(PEER).await;
    let start = file_of(&site);
    let fields = [
        ("base_url", "https://far.example/assets"),
        ("cluster_id", ""),
        ("pull_originals", "true"),
        ("generated", "auto"),
        ("push", "true"),
        ("enabled", "true"),
        ("key", KEY),
    ];
    site.post("/ui/peers/far", &fields).await.is(303);
    let changed = start.replace("http://far", "https://far").replace(
        "key_file = \"far.key\"\n",
        "key_file = \"far.key\"\npush = true\npush_originals = false\n",
    );
    assert_eq!(file_of(&site), changed);
    let key = site.dir.path().join("far.key");
    assert_eq!(fs::read_to_string(&key).unwrap(), format!("{KEY}\n"));

    site.post("/ui/peers/far/enabled", &[("enabled", "false")])
        .await
        .is(303);
    let config = Config::load(&site.node.config.file).unwrap();
    assert!(!config.peer("far").unwrap().enabled);
    site.get("/ui/").await.is(200).holds("Disabled");
    // A blank key keeps the one there is.
    let fields = [("base_url", "https://far.example/assets"), ("key", "")];
    site.post("/ui/peers/far", &fields).await.is(303);
    assert_eq!(fs::read_to_string(&key).unwrap(), format!("{KEY}\n"));

    site.post("/ui/peers/far/remove", &[]).await.is(303);
    assert_eq!(file_of(&site), start.replace(PEER, ""));
    site.get("/ui/peers/far").await.is(404);
}

#[tokio::test]
async fn a_broken_file_is_told_and_what_counted_counts_on() {
    let mut site = Site::entered(PEER).await;
    let file = site.node.config.file.clone();
    fs::write(&file, format!("{}\nunknown = 1\n", file_of(&site))).unwrap();
    site.get("/ui/")
        .await
        .is(200)
        .holds("role=\"alert\"")
        .holds("far.example");
    let fields = filled_in("m", "http://m/assets", KEY);
    site.post("/ui/new-peer", &fields)
        .await
        .is(422)
        .holds("unknown");
}

#[tokio::test]
async fn the_last_pull_date_goes_back_after_its_price_is_told_and_never_forward() {
    let mut site = Site::entered(PEER).await;
    site.get("/ui/peers/far/since?to=2026-01-01T00:00")
        .await
        .is(422)
        .holds("takes everything");
    let checkpoint = Checkpoint {
        watermark: Timestamp::from_millis(NOW),
        server_watermark: Timestamp::from_millis(NOW + 250),
        took_ms: 1,
    };
    let listing = Listing {
        started_at: Timestamp::from_millis(NOW),
        server_now: Timestamp::from_millis(NOW),
        since: Timestamp::from_millis(NOW),
        session: "s".to_owned(),
        resumable: true,
        page: 1,
        pages: 2,
        total: 3,
        live_before: 0,
    };
    let mut batch = site.node.catalogue.batch().await.unwrap();
    batch
        .put_checkpoint("far", FEED, &checkpoint)
        .await
        .unwrap();
    batch.put_listing("far", &listing).await.unwrap();
    batch.commit().await.unwrap();

    site.get("/ui/peers/far")
        .await
        .is(200)
        .holds("2027-01-15 08:00:00");
    let asked = site
        .get("/ui/peers/far/since?to=2027-01-01T00:00:00")
        .await
        .is(200);
    asked
        .holds("at least <strong>0 records</strong>")
        .holds("2027-01-01 00:00:00");
    let noted = site.node.catalogue.checkpoint("far", FEED).await.unwrap();
    assert_eq!(noted, Some(checkpoint), "asking changes nothing");
    site.get("/ui/peers/far/since?to=2027-01-15T08:00:00")
        .await
        .is(422)
        .holds("leave out");
    site.get("/ui/peers/far/since?to=yesterday")
        .await
        .is(422)
        .holds("is no time");

    let lock = site.node.lock("run-far").unwrap();
    let to = [("to", "2027-01-01T00:00:00")];
    site.post("/ui/peers/far/since", &to)
        .await
        .is(422)
        .holds("already running");
    drop(lock);
    site.post("/ui/peers/far/since", &to).await.is(303);
    let set = site
        .node
        .catalogue
        .checkpoint("far", FEED)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(set.watermark.to_string(), "2027-01-01T00:00:00.000Z");
    assert_eq!(set.server_watermark.to_string(), "2027-01-01T00:00:00.250Z");
    assert_eq!(site.node.catalogue.listing("far").await.unwrap(), None);
    site.post("/ui/peers/far/since", &[("to", "")])
        .await
        .is(303);
    assert_eq!(
        site.node.catalogue.checkpoint("far", FEED).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_test_of_a_peer_that_is_not_there_says_why() {
    // As the program does at its start; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut site = Site::entered(PEER).await;
    site.post("/ui/peers/far/test", &[])
        .await
        .is(200)
        .holds("far.key")
        .holds("Look at this");
    fs::write(site.dir.path().join("far.key"), KEY).unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let url = format!("http://{address}/assets");
    site.post("/ui/peers/far", &[("base_url", &url)])
        .await
        .is(303);
    let tested = site
        .post("/ui/peers/far/test", &[])
        .await
        .is(200)
        .holds("Look at this");
    assert!(!tested.text.contains(KEY));
}

#[tokio::test]
async fn a_filter_is_shown_before_it_is_saved_and_a_pause_holds_until_it_is_lifted() {
    let mut site = Site::entered(PEER).await;
    let before = file_of(&site);
    let mut fields = vec![
        ("include", "/Photos/**\r\n\r\n*.jpg"),
        ("max_size", "2G"),
        ("all_renditions", "true"),
    ];
    let looked = site.post("/ui/peers/far/filter", &fields).await.is(200);
    looked
        .holds("Nothing is saved yet")
        .holds("0 files (0 B)")
        .holds("value=\"save\"");
    assert_eq!(file_of(&site), before);
    let refused = [("include", "a["), ("deed", "save")];
    site.post("/ui/peers/far/filter", &refused)
        .await
        .is(422)
        .holds("opens a set")
        .holds(">a[</textarea>");
    assert_eq!(file_of(&site), before);
    fields.push(("deed", "save"));
    site.post("/ui/peers/far/filter", &fields).await.is(303);
    let config = Config::load(&site.node.config.file).unwrap();
    let filter = &config.peer("far").unwrap().filter;
    assert_eq!((filter.include.len(), filter.max_size), (2, Some(2 << 30)));
    assert!(filter.all_renditions);
    site.get("/ui/peers/far").await.is(200).holds("/Photos/**");
    let everything = [("deed", "save")];
    site.post("/ui/peers/far/filter", &everything).await.is(303);
    assert_eq!(file_of(&site), before, "every other byte stays");

    let paused = site
        .post("/ui/peers/far/paused", &[("paused", "true")])
        .await;
    paused.is(303);
    site.get("/ui/")
        .await
        .holds("Paused since 2027-01-15 08:00:00");
    site.get("/ui/peers/far").await.holds("Resume");
    let listed = site.get("/ui/api/peers").await.is(200);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    assert_eq!(listed[0]["name"], "far");
    assert_eq!(listed[0]["paused_since"], "2027-01-15T08:00:00.000Z");
    site.post("/ui/peers/far/paused", &[("paused", "false")])
        .await
        .is(303);
    let status = site.get("/ui/api/status").await.is(200);
    status.holds("\"paused_since\":null");
    let plan = site.get("/ui/api/plan/far").await.is(200);
    plan.holds("\"began_at\":null");
    site.get("/ui/api/plan/none").await.is(404);
    site.get("/ui/api/assets")
        .await
        .is(200)
        .holds("\"assets\":[]");
}
