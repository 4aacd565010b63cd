//! A master and a mirror, made and driven by commands alone.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::process::{Place, Ran, Serving, text};

/// The layers of a parity report.
const LAYERS: [&str; 4] = ["records", "originals", "generated", "deletes"];

/// A master `m` of the folder `photos`, which holds `files`.
pub(crate) fn master(place: &Place, files: &[(&str, &[u8])]) -> Serving {
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    fs::create_dir(place.path("photos")).unwrap();
    for (path, bytes) in files {
        put(&place.path("photos"), path, bytes);
    }
    import(place, &[]).ends(0);
    place.serve("m")
}

/// A mirror `r` of the node at `url`, with `key` and little patience.
pub(crate) fn mirror(place: &Place, url: &str, key: &str) {
    place.run(&["init", "r", "--name", "Mirror"]).ends(0);
    let settings = place.path("r/emsync.toml");
    let quick = text(&settings)
        .replace("#attempts = 5", "attempts = 2")
        .replace("#retry_base = \"500ms\"", "retry_base = \"1ms\"");
    assert!(quick.contains("\nattempts = 2") && quick.contains("\nretry_base"));
    fs::write(settings, quick).unwrap();
    fs::write(place.path("r/key.txt"), key).unwrap();
    let add = [
        "-C",
        "r",
        "peer",
        "add",
        "master",
        "--url",
        url,
        "--key-file",
        "key.txt",
    ];
    place.run(&add).ends(0);
}

/// A master of `files` and a seeded mirror of it.
pub(crate) fn pair(place: &Place, files: &[(&str, &[u8])]) -> Serving {
    let serving = master(place, files);
    mirror(place, &serving.base, &key(place));
    seed(place).ends(0);
    serving
}

/// A new key of the master, with its line break.
pub(crate) fn key(place: &Place) -> String {
    place.run(&["-C", "m", "key", "add", "mirror-1"]).ok()
}

/// Imports the folder `photos` into the master.
pub(crate) fn import(place: &Place, more: &[&str]) -> Ran {
    let photos = place.path("photos");
    let mut args = vec!["-C", "m", "import", photos.to_str().unwrap()];
    args.extend(more);
    place.run(&args)
}

/// Seeds the mirror.
pub(crate) fn seed(place: &Place) -> Ran {
    place.run(&["-C", "r", "seed", "master", "--json"])
}

/// Syncs the mirror.
pub(crate) fn sync(place: &Place) -> Ran {
    place.run(&["-C", "r", "sync", "master", "--json"])
}

/// Compares the mirror with the master, by everything that the master lists and then by its digests: both say the same.
#[track_caller]
pub(crate) fn verify(place: &Place, more: &[&str]) -> Ran {
    let run = |full: &[&str]| {
        let mut args = vec!["-C", "r", "verify", "master", "--json"];
        args.extend(more);
        args.extend(full);
        place.run(&args)
    };
    let (in_full, by_digests) = (run(&["--full-listing"]), run(&[]));
    if matches!(by_digests.code, Some(0 | 26)) {
        assert_eq!(told(&in_full), told(&by_digests));
    }
    by_digests
}

/// What a comparison says, but for when it was, and for how a file is damaged: the second look knows that it is.
fn told(ran: &Ran) -> Value {
    let mut parity = ran.json();
    let members = parity.as_object_mut().unwrap();
    members.remove("as_of");
    for difference in members["differences"].as_array_mut().unwrap() {
        if difference["layer"] == "originals" || difference["layer"] == "generated" {
            difference.as_object_mut().unwrap().remove("detail");
        }
    }
    parity
}

/// Writes a file and its parents.
pub(crate) fn put(dir: &Path, path: &str, bytes: &[u8]) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Where the mirror keeps an original.
pub(crate) fn mirrored(place: &Place, path: &str) -> std::path::PathBuf {
    place.path("r/media/assets/catalog/originals").join(path)
}

/// Asserts that a parity report finds nothing.
#[track_caller]
pub(crate) fn assert_equal(parity: &Value) {
    assert_eq!(parity["in_sync"], true, "{parity}");
    assert!(parity["as_of"].is_string());
    assert_eq!(parity["differences"], json!([]));
    for layer in LAYERS {
        let layer = &parity["layers"][layer];
        for count in ["missing", "extra", "differing"] {
            assert_eq!(layer[count], 0, "{parity}");
        }
        assert!(
            layer["explained"].is_u64() && layer["here"] == layer["there"],
            "{parity}"
        );
    }
}
