//! The newer faults of the scripted EMDB are the ones they claim to be, seen by a client that knows nothing of emsync; and its
//! search answers as the captured one (s110, s120, s122, s123).

use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Version};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::faulty::{self, gzip};
use super::world::{Door, World};
use crate::support::emdb::KEY;
use crate::support::fault::{Fault, Length};
use crate::support::node::use_one_tls_provider;

const F1: &str = "mediadb/services/module/asset/downloads/originals/Album/f1.bin/f1.bin";

async fn world() -> World {
    use_one_tls_provider();
    World::new(3, 1_000, Door::None, |_| {}).await
}

fn request(world: &World, path: &str) -> RequestBuilder {
    let client = Client::builder().no_proxy().no_gzip().build().unwrap();
    let login = [("X-token", KEY), ("X-tokentype", "entermedia")];
    let request = client.get(format!("{}/{path}", world.emdb.base()));
    login.into_iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

#[tokio::test]
async fn an_old_server_speaks_http_1_0_and_ends_the_connection() {
    let world = world().await;
    world.emdb.faults().always("f1", Fault::Http10);
    let reply = request(&world, F1).send().await.unwrap();
    assert_eq!(reply.version(), Version::HTTP_10);
    assert_eq!(reply.content_length(), None);
    assert_eq!(reply.text().await.unwrap(), "content of file 1");
}

#[tokio::test]
async fn a_half_closed_connection_still_takes_bytes() {
    let world = world().await;
    world.emdb.faults().always("f1", Fault::HalfClose(7));
    let mut stream = TcpStream::connect(world.emdb.address()).await.unwrap();
    let head = format!(
        "GET /finder/{F1} HTTP/1.1\r\nHost: x\r\nX-token: {KEY}\r\nX-tokentype: entermedia\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(
        said.ends_with(b"content"),
        "{}",
        String::from_utf8_lossy(&said)
    );
    assert!(String::from_utf8_lossy(&said).contains("content-length: 17"));
    stream.write_all(b"still here").await.unwrap();
}

#[tokio::test]
async fn a_dripping_body_takes_its_time_and_is_whole() {
    let world = world().await;
    world
        .emdb
        .faults()
        .always("f1", Fault::Trickle(Duration::from_millis(5)));
    let began = Instant::now();
    assert_eq!(
        request(&world, F1)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        "content of file 1"
    );
    assert!(began.elapsed() >= Duration::from_millis(17 * 5));
}

#[tokio::test]
async fn changed_replies_are_changed_as_they_say() {
    let world = world().await;
    let faults = world.emdb.faults();
    faults.once("f1", 1, Fault::Change(gzip));
    faults.once(
        "f1",
        2,
        Fault::Change(|reply| reply.length = Length::Chunked),
    );
    faults.once("f1", 3, Fault::Change(faulty::longer));
    faults.once("f1", 4, Fault::Change(faulty::shorter));
    faults.once("f1", 5, Fault::IgnoreRange);
    faults.once("f1", 6, Fault::RangeFromZero);
    faults.once("f1", 7, Fault::Answer(faulty::to_login()));
    let ranged = |from: &str| request(&world, F1).header("range", format!("bytes={from}-"));
    let zipped = request(&world, F1).send().await.unwrap();
    assert_eq!(zipped.headers()["content-encoding"], "gzip");
    let chunked = request(&world, F1).send().await.unwrap();
    assert_eq!(
        (
            chunked.content_length(),
            chunked.headers().contains_key("transfer-encoding")
        ),
        (None, true)
    );
    let longer = request(&world, F1).send().await.unwrap();
    assert_eq!(longer.content_length(), Some(117));
    assert!(longer.bytes().await.is_err());
    assert_eq!(
        request(&world, F1)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
        "content of fil"
    );
    let whole = ranged("8").send().await.unwrap();
    assert_eq!(
        (whole.status().as_u16(), whole.text().await.unwrap().len()),
        (200, 17)
    );
    let start = ranged("8").send().await.unwrap();
    assert_eq!(start.headers()["content-range"], "bytes 0-16/17");
    assert_eq!(
        (start.status().as_u16(), start.text().await.unwrap().len()),
        (206, 17)
    );
}

#[tokio::test]
async fn chance_names_the_same_requests_whatever_their_order() {
    let world = world().await;
    let met = |paths: [&str; 2]| {
        world.emdb.faults().by_chance(7, 50, faulty::menu());
        let mut met: Vec<String> = (0..40)
            .flat_map(|n| {
                paths.map(|path| format!("{path} {n}: {:?}", world.emdb.faults().meet(path)))
            })
            .collect();
        met.sort();
        met
    };
    let (one, other) = (met(["a", "b"]), met(["b", "a"]));
    assert_eq!(one.len(), other.len());
    let faulty = one.iter().filter(|met| !met.ends_with("None")).count();
    assert!((20..60).contains(&faulty), "{faulty} of 80");
    let names =
        |met: &[String]| -> Vec<bool> { met.iter().map(|met| met.ends_with("None")).collect() };
    assert_eq!(names(&one), names(&other));
}

#[tokio::test]
async fn a_search_finds_live_records_by_their_ids() {
    let world = world().await;
    world.delete("a2");
    let search = async |path: &str, body: Value| {
        let request = request(&world, &format!("mediadb/services/{path}.json")).json_body(&body);
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    };
    let by_id = |id: &str| json!({"page": "1", "hitsperpage": "200", "query": {"terms": [{"field": "id", "operation": "matches", "value": id}]}});
    let total =
        |text: &str| serde_json::from_str::<Value>(text).unwrap()["response"]["totalhits"].clone();
    for (path, id, hits) in [
        ("module/asset/search", "*", 2),
        ("module/asset/search", "a1", 1),
        ("module/asset/search", "a2", 0),
        ("lists/search/category", "c0", 1),
        ("lists/search/category", "a1", 0),
    ] {
        let (status, text) = search(path, by_id(id)).await;
        assert_eq!((status, total(&text)), (200, json!(hits)), "{path} {id}");
    }
    let (status, text) = search("module/asset/search", json!({})).await;
    assert_eq!((status, total(&text)), (200, json!(2)));
    for wrong in [json!({"query": {"terms": []}}), json!({"page": 1})] {
        assert_eq!(search("module/asset/search", wrong).await.0, 500);
    }
}

/// reqwest's own needs a feature that nothing else here does.
trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }
}
