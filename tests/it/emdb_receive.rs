//! What the scripted EMDB takes from a client that pushes (wire spec 3.4 to 3.7): real exchanges, sent again, are answered byte for
//! byte as they were. Everything that is pushed to it in tests rests on this.

use std::time::Duration;

use bytes::Bytes;
use emsync::model::Timestamp;
use reqwest::Client;
use serde_json::{Value, json};

use crate::support::captured::Captured;
use crate::support::emdb::{Content, Doc, Emdb, KEY, OWN, Setup, Write};
use crate::support::fault::Fault;
use crate::support::node::use_one_tls_provider;

const OFFER: &str = "cluster/receive/receiveoriginalschanges";
const CHANGES: &str = "cluster/receive/uploadchanges";
const UPLOAD: &str = "module/asset/sync/uploadfile";
const SECOND: Duration = Duration::from_secs(1);

fn noon() -> Timestamp {
    Timestamp::from_millis(1_795_435_200_000)
}

fn client() -> Client {
    use_one_tls_provider();
    let redirects = reqwest::redirect::Policy::none();
    Client::builder()
        .redirect(redirects)
        .no_proxy()
        .build()
        .unwrap()
}

async fn send(captured: &Captured, emdb: &Emdb) -> (u16, String) {
    let site = emdb.base().strip_suffix("/finder").unwrap();
    let mut request = client().post(format!("{site}{}", captured.path));
    for (name, value) in &captured.headers {
        request = request.header(name, value);
    }
    let reply = request.body(captured.body.clone()).send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

async fn post(emdb: &Emdb, service: &str, body: &Value) -> (u16, String) {
    let request = client()
        .post(format!("{}/mediadb/services/{service}.json", emdb.base()))
        .header("X-token", KEY)
        .header("X-tokentype", "entermedia")
        .header("Content-Type", "application/json");
    let reply = request.body(body.to_string()).send().await.unwrap();
    (reply.status().as_u16(), reply.text().await.unwrap())
}

/// A page of these records, as it is pushed.
fn page(docs: &[Doc]) -> Value {
    let rows = docs.iter();
    let rows =
        rows.map(|doc| json!({ "searchtype": doc.module, "id": doc.id, "source": doc.source }));
    json!({ "response": { "status": "ok", "catalogid": "finder/catalog" }, "results": rows.collect::<Vec<_>>(), "generated": [] })
}

fn category(id: &str, cluster: &str, at: Timestamp) -> Doc {
    Doc::new("category", id, cluster, at, json!({ "name": id }))
}

/// The captures in the order in which they were taken: later ones rest on what earlier ones left.
#[tokio::test]
async fn real_pushes_are_answered_byte_for_byte() {
    const CAPTURES: [&str; 23] = [
        "s063-origin-302-for-post-receive-noauth",
        "s070-push-uploadchanges-new-asset",
        "s071-push-uploadfile-generated",
        "s072-push-uploadchanges-same-again",
        "s073-push-no-generated-member",
        "s075-push-unparseable",
        "s076c-push-record-as-form-type",
        "s077-push-size-as-number",
        "s080-push-originals-offer-new",
        "s081-push-uploadfile-original",
        "s082-push-originals-offer-again-parent-is-file",
        "s083-push-originals-offer-again-parent-dir",
        "s084-push-originals-offer-other-size",
        "s085-push-originals-offer-other-catalog",
        "s087-push-originals-size-number",
        "s088-upload-dotfile-name",
        "s089-upload-no-savepath",
        "s090-upload-onto-directory",
        "s092-upload-file-part-first",
        "s093-cluster-receive-uploadfile",
        "s102-conflict-null-mastereditclusterid",
        "s103-conflict-numeric-date",
        "s106-push-mapping-error-first",
    ];
    let emdb = Emdb::start(Setup::default()).await;
    // What s102 and s103 met there.
    let before = Timestamp::from_millis(1_795_400_000_000);
    emdb.edit(|content| {
        for id in ["Cn", "Cd"] {
            content.record(Doc::new("library", id, "A", before, json!({})));
        }
    });
    for name in CAPTURES {
        let captured = Captured::read(name);
        let (status, reply) = send(&captured, &emdb).await;
        assert_eq!(status, captured.status, "{name}: {reply}");
        assert_eq!(reply.trim_end_matches('\n'), captured.reply, "{name}");
    }
    emdb.edit(|content| {
        let generated = &content.generated["Pushed/Harbor/harbour2.jpg/image200x200.webp"];
        assert_eq!(generated.bytes, Bytes::from(vec![b'W'; 1_234]));
        assert_eq!(
            content.originals["Pushed/Harbor/harbour2.jpg"].bytes.len(),
            49_945
        );
        assert_eq!(
            &content.originals["Pushed/file-first.bin"].bytes[..],
            b"first"
        );
        assert_eq!(
            &content.originals["Pushed/via-cluster.bin"].bytes[..],
            b"abc"
        );
        assert!(content.doc("asset", "PUSH0001").is_some());
        // s106: what comes after a bad record is not stored.
        assert!(content.doc("asset", "GOODMAP").is_none());
    });
}

#[tokio::test]
async fn records_before_a_bad_one_are_stored_and_those_after_it_are_not() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| content.record(category("bad", "A", noon())));
    let mut bad = category("bad", "A", noon());
    bad.source["emrecordstatus"]["mastereditclusterid"] = Value::Null;
    let docs = [
        category("first", "A", noon()),
        bad,
        category("last", "A", noon()),
    ];
    let (status, _) = post(&emdb, CHANGES, &page(&docs)).await;
    assert_eq!(status, 500);
    emdb.edit(|content| {
        assert!(content.doc("category", "first").is_some());
        assert!(content.doc("category", "last").is_none());
    });
}

/// H-44, on the server's own clock.
#[tokio::test]
async fn an_imported_record_keeps_its_date_and_is_listed_once_the_index_is_refreshed() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.stop_clock(noon());
    let pushed = category("c1", "peer", noon().minus(SECOND));
    post(&emdb, CHANGES, &page(std::slice::from_ref(&pushed))).await;
    let listed = async || {
        let form = [("lastpullago", "60000")].map(|(name, value)| format!("{name}={value}"));
        let url = format!("{}/mediadb/services/cluster/listalldocs.json", emdb.base());
        let request = client().post(url).header("X-entermedia.key", KEY);
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let reply = request.body(form.concat()).send().await.unwrap();
        let reply: Value = serde_json::from_slice(&reply.bytes().await.unwrap()).unwrap();
        reply["results"].as_array().unwrap().clone()
    };
    assert_eq!(listed().await, Vec::<Value>::new());
    emdb.stop_clock(noon().plus(SECOND));
    assert_eq!(listed().await[0]["source"], pushed.source);
    let later = category("c2", "peer", noon());
    post(&emdb, CHANGES, &page(&[later])).await;
    assert_eq!(listed().await.len(), 1);
    emdb.refresh();
    assert_eq!(listed().await.len(), 2);
}

#[tokio::test]
async fn the_loser_of_a_conflict_is_logged_and_what_wins_is_kept() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.stop_clock(noon());
    let ours = emdb.edit(|content| {
        let named = |source: &mut Value| source["name"] = json!("c1");
        content.save(emdb.own(), noon(), ("category", "c1"), false, named);
        content.doc("category", "c1").unwrap().clone()
    });
    assert_eq!(ours.source, category("c1", OWN, emdb.now()).source);
    let mut theirs = category("c1", OWN, noon().minus(SECOND));
    theirs.source["emrecordstatus"]["lastmodifiedclusterid"] = json!("peer");
    let (status, _) = post(&emdb, CHANGES, &page(std::slice::from_ref(&theirs))).await;
    assert_eq!(status, 200);
    emdb.edit(|content| {
        assert_eq!(content.doc("category", "c1").unwrap().source, ours.source);
        let [logged] = &content.conflicts[..] else {
            panic!("{:?}", content.conflicts);
        };
        assert_eq!(logged["remotesource"], theirs.source.to_string());
        assert_eq!(logged["masternodeid"], OWN);
        let local = logged["localsource"].as_str().unwrap();
        assert!(
            local.starts_with("{emrecordstatus={") && local.ends_with(", name=c1}"),
            "{local}"
        );
    });
}

#[tokio::test]
async fn a_key_that_may_not_write_is_refused_in_either_way() {
    let emdb = Emdb::start(Setup::default()).await;
    for (write, expected) in [
        (Write::Redirected, 302),
        (Write::Forbidden, 403),
        (Write::Allowed, 200),
    ] {
        emdb.write(write);
        let docs = [category("c1", "peer", noon())];
        assert_eq!(post(&emdb, CHANGES, &page(&docs)).await.0, expected);
        let stored = emdb.edit(|content| content.doc("category", "c1").is_some());
        assert_eq!(stored, write == Write::Allowed);
    }
}

/// Wherever `savepath` points, nothing is written outside what the server holds in memory (H-17).
#[tokio::test]
async fn any_path_is_taken_and_every_part_is_logged() {
    let emdb = Emdb::start(Setup::default()).await;
    let mut captured = Captured::read("s092-upload-file-part-first");
    let body = String::from_utf8(captured.body).unwrap();
    let elsewhere = "/WEB-INF/../etc/passwd";
    let savepath = "/WEB-INF/data/finder/catalog/originals/Pushed/file-first.bin";
    captured.body = body.replace(savepath, elsewhere).into_bytes();
    assert_eq!(send(&captured, &emdb).await.0, 200);
    emdb.edit(|content: &mut Content| {
        assert_eq!(&content.elsewhere[elsewhere].bytes[..], b"first");
        assert!(content.originals.is_empty() && content.generated.is_empty());
    });
    let logged = emdb.requests(UPLOAD).pop().unwrap();
    assert_eq!(logged.bytes, captured.body);
    let parts: Vec<_> = logged
        .parts
        .iter()
        .map(|part| (part.name(), part.filename()))
        .collect();
    assert_eq!(
        parts,
        [(Some("file.0"), Some("up.bin")), (Some("savepath"), None)]
    );
}

#[tokio::test]
async fn faults_reach_what_is_pushed() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.faults().once(OFFER, 1, Fault::Unavailable(Some(3)));
    let offer = json!({ "response": { "catalogid": "finder/catalog" }, "results": [] });
    assert_eq!(post(&emdb, OFFER, &offer).await.0, 503);
    let (status, reply) = post(&emdb, OFFER, &offer).await;
    assert_eq!((status, reply.contains("\"empty\"")), (200, true));
}
