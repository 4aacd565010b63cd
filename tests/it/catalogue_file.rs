//! `emsync catalogue backup` and `restore`: a copy that is whole while others write, and the way back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::support::pair::{assert_equal, import, key, master, mirror, put, seed, verify};
use crate::support::process::Place;

#[test]
fn a_copy_taken_beside_a_running_node_brings_the_node_back() {
    let place = Place::new();
    let files: Vec<_> = (0..40)
        .map(|n| (format!("f{n:02}.txt"), format!("text {n}")))
        .collect();
    let files: Vec<_> = files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_bytes()))
        .collect();
    let serving = master(&place, &files);
    let base = serving.base.clone();
    mirror(&place, &base, &key(&place));
    seed(&place).ends(0);
    fs::create_dir(place.path("copies")).unwrap();
    let backup = ["-C", "m", "catalogue", "backup", "../copies", "--json"];
    let made = place.run(&backup).ends(0).json();
    let path = made["path"].as_str().unwrap().to_owned();
    let file = place.path("m").join(&path);
    let stat = fs::metadata(&file).unwrap();
    assert_eq!(stat.len(), made["bytes"].as_u64().unwrap());
    assert_eq!(stat.permissions().mode() & 0o777, 0o600);
    let again = place
        .run(&["-C", "m", "catalogue", "backup", &path])
        .ends(2);
    assert!(again.stderr.contains("already"), "{}", again.stderr);

    // What happens after the copy is not in it, and is made good afterwards.
    put(&place.path("photos"), "late.txt", b"late");
    import(&place, &[]).ends(0);
    let restore = ["-C", "m", "catalogue", "restore", &path];
    let refused = place.run(&restore).ends(11);
    assert!(refused.stderr.contains("serve"), "{}", refused.stderr);
    serving.stop().ends(0);
    fs::remove_file(place.path("m/state/emsync.db")).unwrap();
    place.run(&[&restore[..], &["-n"]].concat()).ends(0);
    assert!(!place.path("m/state/emsync.db").exists());
    let said = place.run(&restore).ok();
    for next in ["emsync import", "emsync doctor"] {
        assert!(said.contains(next), "{said}");
    }
    place.run(&["-C", "m", "doctor", "--deep"]).ends(0);
    let report = import(&place, &["--json"]).ends(0).json();
    assert_eq!(
        (report["added"].as_u64(), report["unchanged"].as_u64()),
        (Some(1), Some(40)),
        "{report}"
    );
    let serving = place.serve("m");
    let settings = place.path("r/emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, text.replace(&base, &serving.base)).unwrap();
    seed(&place).ends(0);
    assert_equal(&verify(&place, &[]).ends(0).json());
}

#[test]
fn the_former_catalogue_is_kept_and_what_is_no_copy_is_refused() {
    let place = Place::new();
    let serving = master(&place, &[("a.txt", b"one")]);
    serving.stop().ends(0);
    let copy = "../copy.db";
    place.run(&["-C", "m", "catalogue", "backup", copy]).ok();
    let whole = fs::read(place.path("copy.db")).unwrap();
    let state = || {
        let names = fs::read_dir(place.path("m/state")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .filter(|name| name.starts_with("emsync.db.former-"))
            .count()
    };
    // Cut off, of another kind, with a page that is not as it was, missing.
    let mut torn = whole.clone();
    for page in torn.chunks_mut(4_096).skip(1).step_by(2) {
        page[..64].fill(0xA5);
    }
    for (name, bytes) in [
        ("cut.db", &whole[..whole.len() / 2]),
        ("text.db", &b"no database"[..]),
        ("torn.db", &torn[..]),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        let path = format!("../{name}");
        let refused = place
            .run(&["-C", "m", "catalogue", "restore", &path])
            .ends(2);
        assert!(refused.stderr.contains(name), "{}", refused.stderr);
        // The catalogue of the node is not what is damaged.
        assert!(!refused.stderr.contains("--rebuild"), "{}", refused.stderr);
    }
    // That of another node, whole as it is.
    place.run(&["init", "other", "--name", "Other"]).ok();
    place
        .run(&["-C", "other", "catalogue", "backup", "../other.db"])
        .ok();
    let other = ["-C", "m", "catalogue", "restore", "../other.db"];
    let refused = place.run(&other).ends(2);
    assert!(
        refused
            .stderr
            .contains("is the catalogue of the node other-"),
        "{}",
        refused.stderr
    );
    place
        .run(&["-C", "m", "catalogue", "restore", "../none.db"])
        .ends(2);
    assert_eq!(state(), 0);
    let before = fs::read(place.path("m/state/emsync.db")).unwrap();
    let said = place.run(&["-C", "m", "catalogue", "restore", copy]).ok();
    assert!(said.contains("moved aside"), "{said}");
    let aside = fs::read_dir(place.path("m/state"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let aside = aside.filter(|path| path.to_string_lossy().contains("emsync.db.former-"));
    assert!(
        aside
            .into_iter()
            .any(|path| fs::read(path).unwrap() == before)
    );
    // The copy itself is as it was.
    assert_eq!(fs::read(place.path("copy.db")).unwrap(), whole);
}
