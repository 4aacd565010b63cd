//! `emsync push`, `pull` and `sync`, as people run them.

use std::fs;

use emsync::model::Timestamp;
use serde_json::json;

use crate::support::emdb::{CATALOG, Doc, Emdb, KEY, OWN, Setup, Write};
use crate::support::fault::{Fault, Reply};
use crate::support::pair::{pair, put};
use crate::support::process::{Place, text};

const LIST: &str = "cluster/listalldocs";

/// Turns pushing on in the one peer's section.
fn turn_on(place: &Place) {
    let file = place.path("r/emsync.toml");
    let on = text(&file).replace(
        "\nkey_file = \"key.txt\"\n",
        "\nkey_file = \"key.txt\"\npush = true\n",
    );
    assert!(on.contains("\npush = true\n"));
    fs::write(file, on).unwrap();
}

#[test]
fn a_file_that_was_moved_and_replaced_between_two_pushes_leaves_nothing_behind() {
    let place = Place::new();
    let _serving = pair(&place, &[("a.txt", b"a")]);
    turn_on(&place);
    let key = place
        .run(&["-C", "m", "key", "add", "writer", "--write"])
        .ok();
    fs::write(place.path("r/key.txt"), key).unwrap();
    let folder = place.path("own");
    let import = ["-C", "r", "import", folder.to_str().unwrap()];
    put(&folder, "one.bin", b"first");
    place.run(&import).ends(0);
    place.run(&["-C", "r", "push", "master"]).ends(0);
    let there = |name: &str| place.path("m/media/assets/catalog/originals").join(name);
    assert_eq!(fs::read(there("one.bin")).unwrap(), b"first");
    // Moved, which keeps its asset, and then replaced.
    fs::rename(folder.join("one.bin"), folder.join("two.bin")).unwrap();
    place.run(&import).ends(0);
    put(&folder, "two.bin", b"second");
    place.run(&import).ends(0);
    place.run(&["-C", "r", "push", "master"]).ends(0);
    assert_eq!(fs::read(there("two.bin")).unwrap(), b"second");
    assert!(!there("one.bin").exists());
}

#[test]
fn a_push_is_turned_on_planned_done_and_told() {
    let place = Place::new();
    let _serving = pair(&place, &[("a.txt", b"a")]);
    for args in [&["-C", "r", "push", "master"][..], &["-C", "r", "push"]] {
        let ran = place.run(args).ends(2);
        assert!(ran.stderr.contains("push = true"), "{}", ran.stderr);
    }
    let put = [
        "-C", "r", "record", "put", "category", "sea", "--set", "name=Sea",
    ];
    place.run(&put).ends(0);
    // Without it a sync sends nothing.
    let synced = place.run(&["-C", "r", "sync", "--json"]).ends(0).json();
    assert_eq!(synced["records_sent"], 0);
    turn_on(&place);

    let plan = place
        .run(&["-C", "r", "plan", "master", "--json"])
        .ends(0)
        .json();
    assert_eq!(
        (&plan["records"], &plan["push"]["records"]),
        (&json!(0), &json!(1))
    );
    let said = place.run(&["-C", "r", "push", "-n"]).ok();
    assert!(
        said.contains("records to send") && !said.contains("records to store"),
        "{said}"
    );
    let status = place.run(&["-C", "r", "status"]).ok();
    assert!(
        status.contains("push to master: nothing was sent yet"),
        "{status}"
    );

    // The mirror's key may only read.
    let ran = place.run(&["-C", "r", "push", "master"]).ends(12);
    assert!(ran.stderr.contains("--write"), "{}", ran.stderr);
    let key = place
        .run(&["-C", "m", "key", "add", "writer", "--write"])
        .ok();
    fs::write(place.path("r/key.txt"), key).unwrap();
    // Bringing only brings.
    let pulled = place.run(&["-C", "r", "pull", "--json"]).ends(0).json();
    assert_eq!(pulled["records_sent"], 0);
    let synced = place.run(&["-C", "r", "sync", "--json"]).ends(0).json();
    assert_eq!(
        (&synced["records_sent"], &synced["quarantined"]),
        (&json!(1), &json!(0))
    );
    let got = place
        .run(&["-C", "m", "record", "get", "category", "sea"])
        .ok();
    assert!(got.contains("Sea"), "{got}");
    let said = place.run(&["-C", "r", "push"]).ok();
    assert!(
        said.starts_with("master: sent 0 records, 0 files (0 B); "),
        "{said}"
    );
    let status = place.run(&["-C", "r", "status", "--json"]).ends(0).json();
    let peer = &status["peers"][0];
    assert!(
        peer["push"].as_bool().unwrap() && peer["pushed_until"].is_string(),
        "{peer}"
    );
    assert_eq!(peer["to_send"]["open"], 0);
    assert_eq!(status["last_run"]["activity"], "push");
}

/// A node `r` with little patience that pushes to a scripted EMDB, and has one record for it.
fn pushing_to(place: &Place, emdb: &Emdb) {
    place
        .run(&["init", "r", "--name", "R", "--catalog", CATALOG])
        .ends(0);
    let settings = place.path("r/emsync.toml");
    let quick = text(&settings)
        .replace("#attempts = 5", "attempts = 2")
        .replace("#retry_base = \"500ms\"", "retry_base = \"1ms\"");
    fs::write(&settings, quick).unwrap();
    fs::write(place.path("r/key.txt"), KEY).unwrap();
    let add = [
        "-C",
        "r",
        "peer",
        "add",
        "master",
        "--url",
        emdb.base(),
        "--key-file",
        "key.txt",
    ];
    let more = ["--cluster-id", OWN, "--push", "--push-originals=false"];
    place.run(&[&add[..], &more].concat()).ends(0);
    assert!(text(&settings).contains("\npush = true\npush_originals = false\n"));
    let put = [
        "-C", "r", "record", "put", "category", "sea", "--set", "name=Sea",
    ];
    place.run(&put).ends(0);
    let then = Timestamp::from_millis(emdb.now().as_millis() - 60_000);
    let far = Doc::new("category", "far", OWN, then, json!({"name": "Far"}));
    emdb.edit(|content| content.record(far));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_way_waits_for_the_other_to_go_well_and_both_failures_show() {
    let place = Place::new();
    let emdb = Emdb::start(Setup::default()).await;
    pushing_to(&place, &emdb);
    // The clock is asked for first; then both tries of the first page fail, and the push finds it well again.
    let down = Fault::Answer(Reply::plain(500, "text/html", "down"));
    for occurrence in [2, 3] {
        emdb.faults().once(LIST, occurrence, down.clone());
    }
    let ran = place.run(&["-C", "r", "sync", "--json"]).ends(5);
    let done = ran.json();
    assert_eq!(
        (&done["records"], &done["records_sent"]),
        (&json!(0), &json!(1))
    );
    let error = done["error"].as_str().unwrap();
    assert!(
        error.starts_with("pull: ") && error.contains("500"),
        "{error}"
    );
    assert!(emdb.edit(|content| content.doc("category", "sea").is_some()));

    emdb.faults().clear();
    let put = [
        "-C",
        "r",
        "record",
        "put",
        "category",
        "sea",
        "--set",
        "name=Ocean",
    ];
    place.run(&put).ends(0);
    emdb.write(Write::Redirected);
    let ran = place.run(&["-C", "r", "sync", "--json"]).ends(12);
    let done = ran.json();
    assert_eq!(
        (&done["records"], &done["records_sent"]),
        (&json!(1), &json!(0))
    );
    let error = done["error"].as_str().unwrap();
    assert!(
        error.starts_with("push: ") && error.contains("api-load-data"),
        "{error}"
    );

    emdb.write(Write::Allowed);
    let ran = place.run(&["-C", "r", "sync"]).ends(0);
    assert!(
        ran.stdout.contains(", sent 1 record, 0 files (0 B); "),
        "{}",
        ran.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_peer_does_not_take_is_set_aside_listed_and_sent_once_it_does() {
    let place = Place::new();
    let emdb = Emdb::start(Setup::default()).await;
    pushing_to(&place, &emdb);
    let settings = place.path("r/emsync.toml");
    let originals = text(&settings).replace("push_originals = false", "push_originals = true");
    fs::write(&settings, originals).unwrap();
    fs::create_dir(place.path("photos")).unwrap();
    fs::write(place.path("photos/a.txt"), b"alpha").unwrap();
    let photos = place.path("photos");
    place
        .run(&["-C", "r", "import", photos.to_str().unwrap()])
        .ends(0);
    let no = Fault::Answer(Reply::plain(500, "text/html", "no"));
    emdb.faults().always("sync/uploadfile", no);
    let done = place.run(&["-C", "r", "push", "--json"]).ends(23).json();
    assert_eq!(
        (&done["quarantined"], &done["files_sent"]),
        (&json!(1), &json!(0))
    );
    let said = place.run(&["-C", "r", "quarantine", "list"]).ok();
    assert!(
        said.contains("upload:originals/a.txt") && said.contains("to send"),
        "{said}"
    );
    // It is no failure of what comes in.
    let pulled = place.run(&["-C", "r", "pull", "--json"]).ends(0).json();
    assert_eq!(pulled["quarantined"], 0);
    let status = place.run(&["-C", "r", "status"]).ok();
    assert!(status.contains("1 set aside"), "{status}");

    emdb.faults().clear();
    let said = place.run(&["-C", "r", "quarantine", "retry", "--all"]).ok();
    assert!(said.contains("ready now"), "{said}");
    let status = place.run(&["-C", "r", "status"]).ok();
    assert!(status.contains("1 waiting (5 B), 0 set aside"), "{status}");
    let done = place.run(&["-C", "r", "push", "--json"]).ends(0).json();
    assert_eq!(
        (&done["bytes_sent"], &done["quarantined"]),
        (&json!(5), &json!(0))
    );
    emdb.edit(|content| assert_eq!(&content.originals["a.txt"].bytes[..], b"alpha"));
}
