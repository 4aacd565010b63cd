//! `plan` and `-n`: what they say is what a run then does, and saying it changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use emsync::model::Sha256;
use serde_json::json;

use crate::support::pair::{self, import, put, seed, sync};
use crate::support::process::Place;

/// Every file of a node but the shared-memory index of its database, which readers write, too, and an empty log of it.
fn all(node: &Path) -> BTreeMap<String, Sha256> {
    walkdir::WalkDir::new(node)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file() || entry.file_type().is_dir())
        .filter(|entry| {
            let (name, len) = (
                entry.path().to_string_lossy(),
                entry.metadata().unwrap().len(),
            );
            !(name.ends_with("-shm") || name.ends_with("-wal") && len == 0)
        })
        .map(|entry| {
            let bytes = if entry.file_type().is_file() {
                std::fs::read(entry.path()).unwrap()
            } else {
                Vec::new()
            };
            (entry.path().display().to_string(), Sha256::of(&bytes))
        })
        .collect()
}

#[test]
fn a_plan_says_what_a_sync_then_does_and_changes_nothing() {
    let place = Place::new();
    let files: Vec<(String, Vec<u8>)> = (0..30)
        .map(|n| (format!("f{n:02}.bin"), format!("content {n}").into_bytes()))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let serving = pair::master(&place, &files);
    pair::mirror(&place, &serving.base, &pair::key(&place));

    let before = all(&place.path("r"));
    let plan = place
        .run(&["-C", "r", "seed", "master", "-n", "--json"])
        .ends(0)
        .json();
    assert_eq!(plan["originals"]["files"], json!(30), "{plan}");
    let bytes: usize = files.iter().map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(plan["originals"]["bytes"], json!(bytes));
    assert_eq!(all(&place.path("r")), before, "a dry run left traces");
    let done = seed(&place).ends(0).json();
    assert_eq!(
        (&done["records"], &done["bytes_received"]),
        (&plan["records"], &json!(bytes))
    );

    let photos = place.path("photos");
    put(&photos, "new.bin", b"quite new");
    std::fs::rename(photos.join("f03.bin"), photos.join("moved.bin")).unwrap();
    std::fs::copy(photos.join("f04.bin"), photos.join("twin.bin")).unwrap();
    std::fs::remove_file(photos.join("f05.bin")).unwrap();
    import(&place, &[]).ends(0);
    let before = all(&place.path("r"));
    let ran = place.run(&["-C", "r", "plan", "master", "--json"]);
    let plan = ran.ends(0).json();
    let files = |name: &str| plan[name]["files"].clone();
    assert_eq!(
        (
            files("originals"),
            files("moved"),
            files("cloned"),
            files("adopted")
        ),
        (json!(1), json!(1), json!(1), json!(0)),
        "{plan}"
    );
    assert_eq!(
        (&plan["deletes"], &plan["held"]),
        (&json!(1), &json!(false))
    );
    assert!(
        plan["delete_items"][0]
            .as_str()
            .unwrap()
            .starts_with("delete:")
    );
    let said = place.run(&["-C", "r", "sync", "master", "-n"]).ok();
    assert!(said.contains("nothing was changed"), "{said}");
    assert_eq!(all(&place.path("r")), before, "a dry run left traces");
    let done = sync(&place).ends(0).json();
    let did = ["files_moved", "files_cloned", "deleted", "bytes_received"].map(|name| &done[name]);
    assert_eq!(did, [&json!(1), &json!(1), &json!(1), &json!(9)], "{done}");
}

#[test]
fn a_plan_whose_deletes_the_guard_would_hold_ends_with_25() {
    let place = Place::new();
    let files: Vec<(String, Vec<u8>)> = (0..20)
        .map(|n| (format!("f{n:02}.bin"), format!("content {n}").into_bytes()))
        .collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    let _serving = pair::pair(&place, &files);
    for n in 0..11 {
        std::fs::remove_file(place.path("photos").join(format!("f{n:02}.bin"))).unwrap();
    }
    import(&place, &["--max-delete", "11"]).ends(0);
    let plan = place.run(&["-C", "r", "plan", "master"]).ends(25).stdout;
    assert!(plan.contains("--max-delete 11"), "{plan}");
    place
        .run(&["-C", "r", "plan", "master", "--max-delete", "11"])
        .ends(0);
    sync(&place).ends(25);
    let sync = ["-C", "r", "sync", "master", "--max-delete", "11", "--json"];
    assert_eq!(place.run(&sync).ends(0).json()["deleted"], json!(11));
}
