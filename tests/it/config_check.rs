//! `emsync config check`: everything that is wrong at once, and every setting with its origin.

use std::fs;

use serde_json::Value;

use crate::support::process::Place;

fn place_with(lines: &str) -> Place {
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ok();
    let file = place.path("m/emsync.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}\n{lines}")).unwrap();
    place
}

const CHECK: [&str; 4] = ["-C", "m", "config", "check"];

fn setting<'v>(printed: &'v Value, key: &str) -> &'v Value {
    let all = printed["settings"].as_array().unwrap();
    let found = all.iter().find(|setting| setting["key"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {printed}"))
}

#[test]
fn a_fresh_node_loads_and_its_settings_say_where_they_come_from() {
    let mut place = place_with(
        "[[peer]]\nname = \"p\"\nbase_url = \"http://127.0.0.1:9/assets\"\nkey = \"planted-key\"\n",
    );
    let said = place.run(&CHECK).ok();
    assert!(said.contains("emsync.toml: loads, "), "{said}");
    let show = [&CHECK[..], &["--show", "--json"]].concat();
    let printed = place.run(&show).ends(0).json();
    assert_eq!(setting(&printed, "node.name")["value"], "Master");
    assert_eq!(setting(&printed, "node.name")["origin"], "file");
    assert_eq!(setting(&printed, "limits.transfers")["origin"], "default");
    assert_eq!(setting(&printed, "peer.p.key")["value"], "***");
    // A variable comes before the file, a flag before both.
    place.set("EMSYNC_TRANSFERS", "7");
    let printed = place.run(&show).ends(0).json();
    assert_eq!(setting(&printed, "limits.transfers")["value"], 7);
    assert_eq!(
        setting(&printed, "limits.transfers")["origin"],
        "environment"
    );
    let flag = [&show[..], &["--transfers", "9"]].concat();
    let printed = place.run(&flag).ends(0).json();
    assert_eq!(setting(&printed, "limits.transfers")["value"], 9);
    assert_eq!(
        setting(&printed, "limits.transfers")["said_by"],
        "flag --transfers"
    );
    place.set("EMSYNC_TRANSFER", "7");
    let said = place.run(&CHECK).ok();
    assert!(
        said.contains("EMSYNC_TRANSFER: is set, and nothing reads it"),
        "{said}"
    );
    place.nobody_said("planted-key", "m/emsync.toml");
}

#[test]
fn all_mistakes_are_said_at_once_and_the_exit_code_is_that_of_a_start() {
    let place = place_with(
        "[[event]]\nname = \"e\"\naction = \"dance\"\nevery = \"soon\"\ncolour = \"red\"\n",
    );
    let printed = place
        .run(&[&CHECK[..], &["--json"]].concat())
        .ends(2)
        .json();
    let errors = printed["errors"].as_array().unwrap();
    let keys: Vec<_> = errors
        .iter()
        .map(|error| error["key"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["event.action", "event.every", "event.colour"]);
    assert!(
        errors
            .iter()
            .all(|error| error["line"].as_u64().unwrap() > 20),
        "{printed}"
    );
    assert_eq!(printed["loads"], false);
    let said = place.run(&CHECK).ends(2).stdout;
    assert!(said.contains("would not load, 3 errors"), "{said}");
    place.run(&["-C", "m", "peer", "list"]).ends(2);
    // No file at all is one mistake.
    let none = place.run(&["config", "check", "--json"]).ends(2).json();
    assert!(
        none["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("emsync init"),
        "{none}"
    );
}
