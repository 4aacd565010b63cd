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

/// Compares the mirror with the master.
pub(crate) fn verify(place: &Place, more: &[&str]) -> Ran {
    let mut args = vec!["-C", "r", "verify", "master", "--json"];
    args.extend(more);
    place.run(&args)
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
