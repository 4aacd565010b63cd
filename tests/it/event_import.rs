//! `[[event]]` with the action `import`: a running node takes a folder in by itself.

use std::fs;

use crate::support::pair::put;
use crate::support::process::{Place, text};

#[test]
fn an_event_takes_in_what_changed_in_a_folder() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ok();
    put(&place.path("photos"), "a.txt", b"one");
    let event = |more: &[&str]| {
        let fixed = [
            "-C", "m", "event", "add", "photos", "--action", "import", "--every", "24h",
        ];
        place.run(&[&fixed[..], more].concat())
    };
    // What is missing, and what is too much, is said before anything is written.
    let before = text(&place.path("m/emsync.toml"));
    let refused = event(&[]).ends(2);
    assert!(refused.stderr.contains("event.dir"), "{}", refused.stderr);
    let wrong = [
        "-C", "m", "event", "add", "x", "--action", "thumbs", "--every", "1h", "--dir", "/x",
    ];
    let refused = place.run(&wrong).ends(2);
    assert!(refused.stderr.contains("import"), "{}", refused.stderr);
    event(&["--dir", "../photos", "--prefix", "../up"]).ends(2);
    assert_eq!(text(&place.path("m/emsync.toml")), before);

    event(&["--dir", "../photos", "--prefix", "scans", "--no-thumbs"]).ok();
    let listed = place.run(&["-C", "m", "event", "list"]).ok();
    assert!(
        listed.contains("import") && listed.contains("photos"),
        "{listed}"
    );
    let run = ["-C", "m", "event", "run", "photos", "--json"];
    let ran = place.run(&run).ends(0).json();
    assert_eq!(
        (&ran["action"], &ran["report"]["added"]),
        (&"import".into(), &1.into()),
        "{ran}"
    );
    assert!(
        place
            .path("m/media/assets/catalog/originals/scans/a.txt")
            .is_file()
    );

    // The guard holds here as it does for a person, and says how to go on.
    for n in 0..20 {
        put(
            &place.path("photos"),
            &format!("n{n}.txt"),
            n.to_string().as_bytes(),
        );
    }
    assert_eq!(place.run(&run).ends(0).json()["report"]["added"], 20);
    for n in 0..20 {
        fs::remove_file(place.path(&format!("photos/n{n}.txt"))).unwrap();
    }
    let held = place.run(&run).ends(25).json();
    assert_eq!(held["report"]["held"], 20, "{held}");
    assert!(
        held["detail"].as_str().unwrap().contains("--max-delete 20"),
        "{held}"
    );
}
