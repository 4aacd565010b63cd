//! Events: written by their form, begun by hand, followed line by line, and kept in the history.

use std::fs;

use super::*;

const EVENT: &str = "\n# at night\n[[event]]\nname = \"Empty it\" # the trash\naction = \"empty-trash\"\nevery = \"24h\"\nenabled = false\n";

fn file_of(site: &Site) -> String {
    fs::read_to_string(&site.node.config.file).unwrap()
}

#[tokio::test]
async fn an_event_is_added_changed_enabled_and_removed_as_in_the_file() {
    let mut site = Site::entered(EVENT).await;
    let before = file_of(&site);
    site.get("/ui/schedule")
        .await
        .is(200)
        .holds("Empty it")
        .holds("disabled");
    let fields = [
        ("name", "Look & see"),
        ("action", "thumbs"),
        ("cron", "30 2 * * *"),
        ("window", "22:00-06:00"),
        ("make_up", "true"),
        ("enabled", "true"),
    ];
    site.post("/ui/schedule/event", &fields).await.is(303);
    let added = "\n[[event]]\nname = \"Look & see\"\naction = \"thumbs\"\ncron = \"30 2 * * *\"\nwindow = \"22:00-06:00\"\n";
    assert_eq!(file_of(&site), format!("{before}{added}"));
    let listed = site.get("/ui/api/schedule").await.is(200);
    let listed: serde_json::Value = serde_json::from_str(&listed.text).unwrap();
    assert_eq!(listed[1]["name"], "Look & see");
    assert!(
        listed[1]["next_at"].is_string(),
        "it counts at once: {listed}"
    );

    let form = site
        .get("/ui/schedule/event?name=Look%20%26%20see")
        .await
        .is(200);
    form.holds("value=\"30 2 * * *\"")
        .holds("value=\"22:00-06:00\"");
    let both = [("old", "Look & see"), ("every", "1h")]
        .into_iter()
        .chain(fields)
        .collect::<Vec<_>>();
    site.post("/ui/schedule/event", &both)
        .await
        .is(422)
        .holds("role=\"alert\"");
    let taken = [("name", "Empty it"), ("action", "thumbs"), ("every", "1h")];
    site.post("/ui/schedule/event", &taken)
        .await
        .is(422)
        .holds("already the name");
    assert_eq!(file_of(&site), format!("{before}{added}"));

    let enabling = [("name", "Empty it"), ("enabled", "true")];
    site.post("/ui/schedule/enabled", &enabling).await.is(303);
    assert!(file_of(&site).contains("# the trash"), "comments stay");
    assert!(Config::load(&site.node.config.file).unwrap().events[0].enabled);
    site.post("/ui/schedule/remove", &[("name", "Look & see")])
        .await
        .is(303);
    site.post("/ui/schedule/remove", &[("name", "Look & see")])
        .await
        .is(422);
    site.get("/ui/schedule/event?name=none").await.is(422);
}

#[tokio::test]
async fn a_run_by_hand_is_followed_to_its_end_and_a_broken_connection_goes_on_where_it_was() {
    let mut site = Site::entered(EVENT).await;
    site.post("/ui/schedule/run", &[("name", "none")])
        .await
        .is(422);
    let begun = site
        .post("/ui/schedule/run", &[("name", "Empty it")])
        .await
        .is(303);
    let run = begun.leads().split(['/', '?']).nth(4).unwrap().to_owned();
    // The stream ends with the run, so that this waits for it.
    let log = site
        .get(&format!("/ui/schedule/runs/{run}/log"))
        .await
        .is(200);
    assert_eq!(log.headers["content-type"], "text/event-stream");
    let text = log.text;
    assert!(text.contains("Empty it (empty-trash) begins"), "{text}");
    assert!(text.contains("ended: ok"), "{text}");
    // A browser drops an event that has no data.
    assert!(
        text.trim_end().ends_with("event: end\ndata: of the run"),
        "{text}"
    );

    let lines = text.matches("event: line").count();
    let request = Request::get(format!("/ui/schedule/runs/{run}/log")).header("last-event-id", "0");
    let rest = site
        .send(request.body(Body::empty()).unwrap())
        .await
        .is(200);
    assert_eq!(rest.text.matches("event: line").count(), lines - 1);
    assert!(!rest.text.contains("begins: "), "{}", rest.text);
    let page = site.get(&format!("/ui/schedule/runs/{run}")).await.is(200);
    page.holds("ended: ok");
    site.get("/ui/schedule/runs?event=Empty%20it")
        .await
        .is(200)
        .holds(&format!("runs/{run}\""));
    site.get("/ui/schedule/runs/999").await.is(404);
    site.get("/ui/schedule/runs/999/log").await.is(404);
    let late = site
        .post("/ui/schedule/cancel", &[("run", &run)])
        .await
        .is(303);
    assert!(late.leads().contains("ended%20already"), "{}", late.leads());
    site.cookies.clear();
    site.get(&format!("/ui/schedule/runs/{run}/log"))
        .await
        .is(401);
}
