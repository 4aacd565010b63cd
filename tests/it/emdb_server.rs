//! The scripted EMDB server shows the facts that were captured from a real one (wire spec 3.1 to 3.3, 3.8, 3.9, 2.5), and its
//! faults are the ones they claim to be. Everything else that is tested against it rests on this.

use std::collections::BTreeSet;

use emsync::model::Timestamp;
use emsync::protocol::changes::{ChangesRequest, Status};
use emsync::protocol::{ChangesPage, Error, changes, uploads};
use emsync::seams::{Clock as _, Os};
use reqwest::{Client, Response, StatusCode};
use serde_json::json;

use crate::support::emdb::{Doc, Emdb, KEY, Setup};
use crate::support::fault::{Fault, Gate};

const HOUR: i64 = 3_600_000;
const SERVICES: &str = "mediadb/services";

fn client() -> Client {
    // Two tests may come here at once; the second finds the provider installed, which is all that matters.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap()
}

/// 12 records in pages of 5: the shape of s111 to s118, 2,584 in pages of 1,000, on a small scale.
async fn paged() -> Emdb {
    let emdb = Emdb::start(Setup {
        page_size: 5,
        secure_cookie: true,
    })
    .await;
    let moment = Os.now().minus(std::time::Duration::from_secs(60));
    emdb.edit(|content| {
        for number in 0..12 {
            content.record(Doc::new(
                "category",
                &format!("c{number:02}"),
                "node-a",
                moment,
                json!({ "name": number }),
            ));
        }
    });
    emdb
}

async fn ask(emdb: &Emdb, endpoint: &str, page: u32, cookie: Option<&str>) -> Response {
    let session = (page > 1).then(|| "hitsallchanges".to_owned());
    let form = ChangesRequest {
        ago_ms: HOUR,
        since: Some(Timestamp::EPOCH),
        page,
        session,
    }
    .form_encode();
    let request = client().post(format!(
        "{}/{SERVICES}/cluster/{endpoint}.json",
        emdb.base()
    ));
    let request = request
        .header("X-token", KEY)
        .header("X-tokentype", "entermedia");
    let request = request.header(
        "Content-Type",
        "application/x-www-form-urlencoded; charset=UTF-8",
    );
    let request = match cookie {
        Some(cookie) => request.header("Cookie", cookie),
        None => request,
    };
    request.body(form).send().await.unwrap()
}

fn session(reply: &Response) -> String {
    let cookies = reply.headers().get_all("set-cookie").iter();
    let mut cookies = cookies.map(|value| {
        value
            .to_str()
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    });
    cookies
        .find(|cookie| cookie.starts_with("JSESSIONID="))
        .unwrap()
}

async fn page(reply: Response) -> ChangesPage {
    assert_eq!(reply.status(), StatusCode::OK);
    changes::parse(&reply.bytes().await.unwrap()).unwrap()
}

fn ids(page: &ChangesPage) -> Vec<&str> {
    page.records
        .iter()
        .map(|record| record.as_ref().unwrap().key.id.as_str())
        .collect()
}

async fn status(emdb: &Emdb, path: &str, headers: &[(&'static str, &str)]) -> u16 {
    get(emdb, path, headers).await.status().as_u16()
}

async fn get(emdb: &Emdb, path: &str, headers: &[(&'static str, &str)]) -> Response {
    let mut request = client().get(format!(
        "{}/{SERVICES}/module/asset/downloads/{path}",
        emdb.base()
    ));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

const LOGIN: [(&str, &str); 2] = [("X-token", KEY), ("X-tokentype", "entermedia")];

#[tokio::test]
async fn pages_in_order_with_the_cookie_are_the_whole_listing() {
    let emdb = paged().await;
    let first = ask(&emdb, "listalldocs", 1, None).await;
    let cookie = session(&first);
    let first = page(first).await;
    assert_eq!(
        (first.head.total, first.head.pages, first.head.page),
        (12, 3, 1)
    );
    let mut seen: BTreeSet<String> = ids(&first).into_iter().map(str::to_owned).collect();
    for (number, length) in [(2, 5), (3, 2), (2, 5), (1, 5)] {
        let next = page(ask(&emdb, "nextall", number, Some(&cookie)).await).await;
        assert_eq!(
            (next.head.page, next.records.len()),
            (u64::from(number), length)
        );
        seen.extend(ids(&next).into_iter().map(str::to_owned));
    }
    assert_eq!(seen.len(), 12);
    // s114: past the end.
    let past = page(ask(&emdb, "nextall", 4, Some(&cookie)).await).await;
    assert_eq!((past.head.status, past.records.len()), (Status::Ok, 0));
}

#[tokio::test]
async fn without_the_cookie_page_three_repeats_page_two_cut_to_its_own_length() {
    let emdb = paged().await;
    page(ask(&emdb, "listalldocs", 1, None).await).await;
    let second = page(ask(&emdb, "nextall", 2, None).await).await;
    let third = page(ask(&emdb, "nextall", 3, None).await).await;
    assert_eq!(ids(&second), ["c05", "c06", "c07", "c08", "c09"]);
    assert_eq!(ids(&third), ["c05", "c06"]);
}

#[tokio::test]
async fn out_of_order_gives_the_next_chunk_and_then_an_error() {
    let emdb = paged().await;
    let cookie = session(&ask(&emdb, "listalldocs", 1, None).await);
    let third = page(ask(&emdb, "nextall", 3, Some(&cookie)).await).await;
    assert_eq!(ids(&third), ["c05", "c06"]);
    let second = ask(&emdb, "nextall", 2, Some(&cookie)).await;
    assert_eq!(second.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let Err(Error::Status { details, .. }) = changes::parse(&second.bytes().await.unwrap()) else {
        panic!("an error envelope")
    };
    assert_eq!(details, "row request falls beyond one page of results 2>=2");
}

#[tokio::test]
async fn the_window_selects_by_modification_date_and_an_empty_one_says_so() {
    let emdb = paged().await;
    emdb.edit(|content| {
        let long_ago = Os.now().minus(std::time::Duration::from_secs(7_200));
        content.record(Doc::new("category", "c00", "node-a", long_ago, json!({})));
        content.record(Doc::new("category", "c01", "node-a", Os.now(), json!({})).deleted());
        content.hard_delete("category", "c02");
    });
    let listed = page(ask(&emdb, "listalldocs", 1, None).await).await;
    assert_eq!(listed.head.total, 10);
    // Two hours fast, the whole hour's window lies ahead of every record.
    emdb.set_clock_offset(2 * HOUR);
    let empty = page(ask(&emdb, "listalldocs", 1, None).await).await;
    assert_eq!((empty.head.status, empty.head.pages), (Status::Empty, 0));
}

#[tokio::test]
async fn a_wrong_key_is_redirected_and_a_bad_window_is_not_json() {
    let emdb = paged().await;
    let list = format!("{}/{SERVICES}/cluster/listalldocs.json", emdb.base());
    let refused = client()
        .post(&list)
        .header("X-token", KEY)
        .body("lastpullago=1")
        .send()
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::FOUND);
    assert!(
        refused.headers()["location"]
            .to_str()
            .unwrap()
            .ends_with("/noaccess.json")
    );
    let bad = client()
        .get(format!("{list}?lastpullago=abc&entermedia.key={KEY}"))
        .send()
        .await
        .unwrap();
    assert_eq!(bad.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(matches!(
        changes::parse(&bad.bytes().await.unwrap()),
        Err(Error::Malformed { .. })
    ));
    assert_eq!(emdb.requests("listalldocs")[1].fields["lastpullago"], "abc");
}

fn harbour(emdb: &Emdb) {
    let path = "Port/harbour #1.jpg";
    let members = json!({ "sourcepath": "sourcepath/Port/harbour 1.jpg", "archivesourcepath": path, "isfolder": false });
    emdb.edit(|content| {
        content.record(Doc::new("asset", "a1", "node-a", Os.now(), members));
        content.original(path, (0..=255).collect::<Vec<u8>>(), 1_795_409_718_280);
        content.original("Port/.versions/x.xml", "x", 1);
        content.generated(
            "sourcepath/Port/harbour 1.jpg/image550x550.webp",
            vec![7; 100],
            1_795_409_720_878,
        );
    });
}

#[tokio::test]
async fn files_are_listed_and_served_as_emdb_does() {
    let emdb = paged().await;
    harbour(&emdb);
    let listed = ask(&emdb, "listalldocs", 1, None).await;
    let cookie = session(&listed);
    page(listed).await;
    ask(&emdb, "nextall", 2, Some(&cookie)).await;
    let last = page(ask(&emdb, "nextall", 3, Some(&cookie)).await).await;
    let file = last.files[0].files[0].as_ref().unwrap();
    assert_eq!(
        (file.size, file.modified),
        (Some(100), Some(Timestamp::from_millis(1_795_409_720_878)))
    );

    let generated = "generatedpreview/sourcepath/Port/harbour%201.jpg/image550x550.webp/x";
    let single = get(&emdb, "originals/Port/harbour%20%231.jpg/x", &LOGIN).await;
    assert_eq!(single.headers()["etag"], "1795409718280");
    assert_eq!(single.content_length(), Some(256));
    assert_eq!(
        status(&emdb, "originals//Port/harbour%20%231.jpg/x", &LOGIN).await,
        200
    );
    assert_eq!(
        status(&emdb, "originals/Port/nope.jpg/x", &LOGIN).await,
        404
    );
    let head = client().head(format!(
        "{}/{SERVICES}/module/asset/downloads/{generated}",
        emdb.base()
    ));
    assert_eq!(
        head.send().await.unwrap().headers()["content-length"],
        "100"
    );
    assert_eq!(
        emdb.requests("image550x550").pop().unwrap().method,
        reqwest::Method::HEAD
    );
    // No login: s030, s030b; generated files need none (s021), and one size stands in for another (s027).
    assert_eq!(
        status(&emdb, "originals//Port/harbour%20%231.jpg/x", &[]).await,
        302
    );
    assert_eq!(
        status(&emdb, "originals/Port/harbour%20%231.jpg/x", &[]).await,
        500
    );
    let small = generated.replace("550x550", "550x350");
    let stand_in = get(&emdb, &small, &[]).await;
    assert_eq!(stand_in.bytes().await.unwrap().len(), 100);
    emdb.edit(|content| content.remove_file("sourcepath/Port/harbour 1.jpg/image550x550.webp"));
    assert_eq!(status(&emdb, &small, &[]).await, 404);
}

#[tokio::test]
async fn ranges_follow_emdbs_own_rules() {
    let emdb = paged().await;
    harbour(&emdb);
    let path = "originals//Port/harbour%20%231.jpg/x";
    let ranged = async |range: &str| {
        let headers = [
            LOGIN[0],
            LOGIN[1],
            ("Range", range),
            ("If-Range", "\"other\""),
        ];
        get(&emdb, path, &headers).await
    };
    let inside = ranged("bytes=10-19").await;
    assert_eq!(
        (
            inside.status().as_u16(),
            inside.headers()["content-range"].to_str().unwrap()
        ),
        (206, "bytes 10-19/256")
    );
    assert_eq!(inside.bytes().await.unwrap(), (10..20).collect::<Vec<u8>>());
    let from_end = ranged("bytes=256-").await;
    assert_eq!(
        (from_end.status().as_u16(), from_end.content_length()),
        (206, Some(0))
    );
    assert_eq!(from_end.headers()["content-range"], "bytes 256-255/256");
    let beyond = ranged("bytes=999-").await;
    assert_eq!(
        (beyond.status().as_u16(), beyond.content_length()),
        (206, None)
    );
    assert_eq!(ranged("bytes=-5").await.status(), 500);
    let past = ranged("bytes=250-299").await;
    assert_eq!(past.content_length(), Some(50));
    assert!(
        past.bytes().await.is_err(),
        "50 bytes announced, 6 there are"
    );
    let same = [LOGIN[0], LOGIN[1], ("If-None-Match", "1795409718280")];
    assert_eq!(status(&emdb, path, &same).await, 304);
}

#[tokio::test]
async fn the_originals_listing_reaches_no_further_than_its_second_page() {
    let emdb = Emdb::start(Setup {
        page_size: 2,
        secure_cookie: false,
    })
    .await;
    emdb.edit(|content| {
        for number in 0..5 {
            let path = format!("p{number}.jpg");
            content.record(Doc::new(
                "asset",
                &format!("a{number}"),
                "node-a",
                Os.now(),
                json!({ "sourcepath": path }),
            ));
            content.original(&path, "x", 5);
        }
    });
    for (number, expected) in [
        (1, &["a0", "a1"][..]),
        (2, &["a2", "a3"]),
        (3, &["a2"]),
        (4, &[]),
    ] {
        let reply = ask(&emdb, "pullrecentuploads", number, None).await;
        let listed = uploads::parse(&reply.bytes().await.unwrap()).unwrap();
        let ids: Vec<_> = listed
            .assets
            .iter()
            .map(|asset| asset.id.as_str())
            .collect();
        assert_eq!(
            (ids.as_slice(), listed.total, listed.pages),
            (expected, 5, 3),
            "page {number}"
        );
    }
    let status = client()
        .get(format!(
            "{}/{SERVICES}/system/systemstatus.json",
            emdb.base()
        ))
        .send()
        .await
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.bytes().await.unwrap()).unwrap();
    assert_eq!(status["response"]["assetscount"], 5);
}

#[tokio::test]
async fn every_fault_is_what_it_claims_to_be() {
    let emdb = paged().await;
    harbour(&emdb);
    let path = "originals//Port/harbour%20%231.jpg/x";
    let fetch = async || get(&emdb, path, &LOGIN).await;
    let good: Vec<u8> = (0..=255).collect();
    let faults = emdb.faults();

    faults.once("harbour", 2, Fault::CutAfter(100));
    assert_eq!(fetch().await.bytes().await.unwrap(), good);
    let mut cut = fetch().await;
    assert_eq!(cut.content_length(), Some(256));
    assert_eq!(cut.chunk().await.unwrap().unwrap(), good[..100]);
    assert!(cut.chunk().await.is_err());

    faults.once("harbour", 1, Fault::Unavailable(Some(3)));
    faults.once("harbour", 2, Fault::TooManyRequests(None));
    let busy = fetch().await;
    assert_eq!(
        (
            busy.status().as_u16(),
            busy.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "3")
    );
    assert_eq!(fetch().await.status(), 429);

    faults.once("harbour", 1, Fault::WrongBytes);
    faults.once("harbour", 2, Fault::ShortBody(10));
    faults.once("harbour", 3, Fault::ChangedEtag);
    let wrong = fetch().await.bytes().await.unwrap();
    assert!(wrong.len() == 256 && wrong != good);
    assert_eq!(fetch().await.bytes().await.unwrap(), good[..10]);
    assert_ne!(fetch().await.headers()["etag"], "1795409718280");

    faults.once("harbour", 1, Fault::LoginPage);
    assert!(
        fetch().await.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    faults.once("harbour", 1, Fault::Reset);
    let url = format!("{}/{SERVICES}/module/asset/downloads/{path}", emdb.base());
    assert!(client().get(url).send().await.is_err());

    faults.always("harbour", Fault::ShortBody(1));
    faults.clear();
    assert_eq!(fetch().await.bytes().await.unwrap(), good);
}

#[tokio::test]
async fn a_stalled_reply_waits_for_its_gate() {
    let emdb = paged().await;
    harbour(&emdb);
    let gate = Gate::default();
    emdb.faults()
        .once("harbour", 1, Fault::Stall(10, gate.clone()));
    let mut reply = get(&emdb, "originals//Port/harbour%20%231.jpg/x", &LOGIN).await;
    assert_eq!(reply.chunk().await.unwrap().unwrap().len(), 10);
    gate.reached().await;
    gate.open();
    let mut rest = 0;
    while let Some(piece) = reply.chunk().await.unwrap() {
        rest += piece.len();
    }
    assert_eq!(rest, 246);
}

#[tokio::test]
async fn damaged_listings_are_what_they_claim_to_be() {
    let emdb = paged().await;
    emdb.faults().once("nextall", 1, Fault::RepeatPage);
    emdb.faults().once("nextall", 2, Fault::TruncatedJson);
    let first = ask(&emdb, "listalldocs", 1, None).await;
    let cookie = session(&first);
    let first = page(first).await;
    let second = page(ask(&emdb, "nextall", 2, Some(&cookie)).await).await;
    assert_eq!((second.head.page, ids(&second)), (2, ids(&first)));
    let cut = ask(&emdb, "nextall", 2, Some(&cookie)).await;
    assert!(matches!(
        changes::parse(&cut.bytes().await.unwrap()),
        Err(Error::Malformed { .. })
    ));
    let whole = page(ask(&emdb, "nextall", 2, Some(&cookie)).await).await;
    assert_eq!(ids(&whole)[0], "c05");
}
