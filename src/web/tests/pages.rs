//! What was set aside, conflicts, assets and their crops, over the forms of the page.

use std::fs;
use std::path::Path;

use super::*;
use crate::catalogue::{Aside, Conflict, Lane, NewJob, Winner};
use crate::import;
use crate::model::job::{FetchJob, Work};
use crate::model::{AssetId, FileKind, RecordKey};
use crate::monitor::Silent;
use crate::renditions::Settings;

/// A site that has imported one picture of the fixtures; answers its id, too.
async fn with_picture(picture: &str) -> (Site, String) {
    let site = Site::entered("").await;
    let folder = site.dir.path().join("in");
    fs::create_dir(&folder).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets-fixtures/originals")
        .join(picture);
    fs::copy(&fixture, folder.join(fixture.file_name().unwrap())).unwrap();
    let node = &site.node;
    let options = import::Options {
        dir: folder,
        prefix: None,
        thumbs: true,
        renditions: Settings::of(node),
        batch: 10,
        max_delete: None,
        dry_run: false,
        only: import::Only::Whole,
        quiet: None,
    };
    let own = &node.config.node.cluster_id;
    let (monitor, stop) = (Arc::new(Silent), Shutdown::new());
    let (catalogue, store) = (&node.catalogue, &node.store);
    let report = import::run(catalogue, store, own, &options, &node.seams, monitor, &stop).await;
    assert_eq!(report.unwrap().added, 1);
    let assets = node
        .catalogue
        .live_page(&crate::model::Module::asset(), 0, 9)
        .await
        .unwrap();
    let id = assets[0].record.key.id.clone();
    (site, id)
}

fn fetch(n: u32, subject: &str) -> NewJob {
    NewJob {
        peer: "far".to_owned(),
        subject: subject.to_owned(),
        lane: Lane::Small,
        asset: AssetId::new(format!("asset{n}")).unwrap(),
        size: 10,
        work: Work::Fetch(FetchJob {
            kind: FileKind::Original,
            path: subject.to_owned(),
            size: Some(10),
            exact: true,
            modified: None,
            sha256: None,
            md5: None,
            from: None,
            then: None,
        }),
    }
}

async fn set_aside(site: &Site, subjects: &[&str]) {
    let mut batch = site.node.catalogue.batch().await.unwrap();
    let now = site.node.seams.clock.now();
    for (n, subject) in (0..).zip(subjects) {
        let job = fetch(n, subject);
        batch
            .set_aside_new(&job, "wrong <b>digest</b>", now)
            .await
            .unwrap();
    }
    batch.commit().await.unwrap();
}

#[tokio::test]
async fn what_was_set_aside_is_shown_tried_again_and_dropped() {
    let mut site = Site::entered("").await;
    set_aside(
        &site,
        &["originals/=a.jpg", "originals/b.jpg", "originals/c.jpg"],
    )
    .await;
    let shown = site
        .get("/ui/quarantine")
        .await
        .is(200)
        .holds("originals/b.jpg");
    assert!(
        shown.text.contains("wrong &#60;b&#62;digest"),
        "{}",
        shown.text
    );
    let csv = site.get("/ui/quarantine.csv?peer=far").await.is(200);
    assert_eq!(csv.text.lines().count(), 4);
    assert!(
        csv.text
            .contains("\"far\",\"originals/b.jpg\",\"asset1\",\"a file to fetch\",1,")
    );
    let none = site.get("/ui/quarantine.csv?peer=other").await.is(200);
    assert_eq!(none.text.lines().count(), 1);
    let listed = site.get("/ui/api/quarantine").await.is(200);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    let id = listed[1]["id"].to_string();

    site.post("/ui/quarantine", &[("deed", "retry"), ("id", &id)])
        .await
        .is(303);
    let counts = site.node.catalogue.job_counts(Some("far")).await.unwrap();
    assert_eq!((counts.open, counts.quarantined), (1, 2));
    // It is not set aside any more, and nothing else is meant by it.
    let again = site
        .post("/ui/quarantine", &[("deed", "drop"), ("id", &id)])
        .await
        .is(303);
    assert!(again.leads().contains("not%20set%20aside"));
    site.post("/ui/quarantine", &[("deed", "burn")])
        .await
        .is(422);
    let dropped = site
        .post("/ui/quarantine", &[("deed", "drop"), ("peer", "far")])
        .await
        .is(303);
    assert!(
        dropped.leads().contains("2%20dropped"),
        "{}",
        dropped.leads()
    );
    let left = site
        .node
        .catalogue
        .quarantined(Aside::Of(None), 0, 9)
        .await
        .unwrap();
    assert_eq!(left, []);
}

#[tokio::test]
async fn work_and_its_counts_are_shown_and_a_plan_of_nobody_is_not() {
    let mut site = Site::entered("").await;
    set_aside(&site, &["originals/a.jpg"]).await;
    let mut batch = site.node.catalogue.batch().await.unwrap();
    let now = site.node.seams.clock.now();
    batch
        .enqueue(&[fetch(9, "originals/z.jpg")], now)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let shown = site
        .get("/ui/work")
        .await
        .is(200)
        .holds("set aside")
        .holds("waiting");
    assert!(shown.text.contains("10 B"), "{}", shown.text);
    let work = site.get("/ui/api/work").await.is(200);
    let work: serde_json::Value = serde_json::from_str(&work.text).unwrap();
    assert_eq!(work["queue"].as_array().unwrap().len(), 2);
    assert_eq!(work["queue"][0]["state"], "waiting");
    site.get("/ui/plan/none").await.is(404);
    site.post("/ui/plan/none", &[]).await.is(404);
}

#[tokio::test]
async fn a_conflict_is_shown_member_by_member_and_either_side_restored() {
    let mut site = Site::entered("").await;
    let key = RecordKey::new("category", "c1").unwrap();
    let side = |name: &str| format!(r#"{{"id":"c1","name":"{name}","same":"x"}}"#);
    let conflict = Conflict {
        key: key.clone(),
        peer: "far".to_owned(),
        at: site.node.seams.clock.now(),
        winner: Winner::Remote,
        local_source: side("our <i>name</i>"),
        remote_source: side("their name"),
    };
    let mut batch = site.node.catalogue.batch().await.unwrap();
    batch.put_conflict(&conflict).await.unwrap();
    batch.commit().await.unwrap();
    site.get("/ui/conflicts")
        .await
        .is(200)
        .holds("category/c1")
        .holds("theirs was taken");
    let listed = site.get("/ui/api/conflicts").await.is(200);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    let path = format!("/ui/conflicts/{}", listed[0]["id"]);
    let shown = site
        .get(&path)
        .await
        .is(200)
        .holds("our &#60;i&#62;name")
        .holds("their name");
    assert!(!shown.text.contains(">same<"));

    site.post(&path, &[("side", "middle")]).await.is(422);
    site.post(&path, &[("side", "local")]).await.is(303);
    let name = async |site: &Site| {
        let stored = site.node.catalogue.record(&key).await.unwrap().unwrap();
        let members: serde_json::Value = serde_json::from_str(&stored.record.source).unwrap();
        members["name"].as_str().unwrap().to_owned()
    };
    assert_eq!(name(&site).await, "our <i>name</i>");
    site.later(1);
    site.post(&path, &[("side", "remote")]).await.is(303);
    assert_eq!(name(&site).await, "their name");
    site.get("/ui/conflicts/999").await.is(404);
}

#[tokio::test]
async fn assets_are_found_by_name_and_their_files_are_shown_as_what_they_are() {
    let (mut site, id) = with_picture("Animals/chelsea.jpg").await;
    site.get("/ui/assets")
        .await
        .is(200)
        .holds("chelsea.jpg")
        .holds(&format!("/ui/assets/{id}"));
    site.get("/ui/assets?q=HELSE")
        .await
        .is(200)
        .holds("chelsea.jpg");
    let none = site.get("/ui/assets?q=%25").await.is(200);
    assert!(
        !none.text.contains("chelsea.jpg"),
        "a mark of LIKE is a letter"
    );
    let after = format!("/ui/assets?after={id}");
    assert!(!site.get(&after).await.is(200).text.contains("chelsea.jpg"));

    let page = site.get(&format!("/ui/assets/{id}")).await.is(200);
    let page = page
        .holds("Nothing is wrong with it here")
        .holds("originals/chelsea.jpg");
    let start = page.text.find("/ui/media/generated").unwrap();
    let address = page.text[start..].split('"').next().unwrap();
    let picture = site.get(address).await.is(200);
    assert_eq!(picture.headers["content-type"], "image/webp");
    assert_eq!(
        picture.headers["content-security-policy"],
        "default-src 'none'; sandbox"
    );
    let request = Request::get(address).header("if-none-match", &picture.headers["etag"]);
    site.send(request.body(Body::empty()).unwrap())
        .await
        .is(304);

    site.get(&format!("/ui/media/generated/{id}/none.webp"))
        .await
        .is(404);
    site.get(&format!("/ui/media/originals/{id}/..%2F..%2Fx"))
        .await
        .is(404);
    site.get("/ui/assets/none").await.is(404);
    site.cookies.clear();
    site.get(address).await.is(401);
}

#[tokio::test]
async fn a_crop_is_drawn_on_the_upright_picture_and_its_rendition_follows() {
    let (mut site, id) = with_picture("Portraits/orientation-6.jpg").await;
    let editor = format!("/ui/assets/{id}/crop?preset=webpmediumimage");
    let shown = site.get(&editor).await.is(200).holds("data-crop");
    let number = |text: &str, name: &str| -> u32 {
        let start = text.find(&format!("name=\"{name}\"")).unwrap();
        let value = text[start..].split("value=\"").nth(1).unwrap();
        value.split('"').next().unwrap().parse().unwrap()
    };
    let (width, height) = (number(&shown.text, "width"), number(&shown.text, "height"));
    assert!(height > width, "{width} × {height} is no upright portrait");
    let rendition = |text: &str| {
        let start = text.find("id=\"rendition\" src=\"").unwrap() + 20;
        text[start..].split('"').next().unwrap().to_owned()
    };
    let before = rendition(&shown.text);

    let half = (height / 2).to_string();
    let all = width.to_string();
    let mut fields = vec![
        ("preset", "webpmediumimage"),
        ("deed", "set"),
        ("x", "0"),
        ("y", "0"),
        ("width", &all),
        ("height", &half),
    ];
    let saved = site
        .post(&format!("/ui/assets/{id}/crop"), &fields)
        .await
        .is(303);
    assert!(
        saved.leads().contains("rendition%20made"),
        "{}",
        saved.leads()
    );
    let shown = site.get(&editor).await.is(200).holds("cropped");
    assert_ne!(
        rendition(&shown.text),
        before,
        "the rendition has another content"
    );
    // The way to the stored grid and back rounds to whole pixels.
    assert!(number(&shown.text, "height").abs_diff(height / 2) <= 1);
    assert!(number(&shown.text, "width").abs_diff(width) <= 1);

    fields[2].1 = "1";
    let outside = site
        .post(&format!("/ui/assets/{id}/crop"), &fields)
        .await
        .is(422);
    outside.holds("is not inside the picture");
    fields[1].1 = "clear";
    site.post(&format!("/ui/assets/{id}/crop"), &fields)
        .await
        .is(303);
    let shown = site.get(&editor).await.is(200);
    assert_eq!(rendition(&shown.text), before, "the whole picture is back");
}
