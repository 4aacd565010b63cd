//! A parity report that is kept: written by one node, held against another one while no network is there.

use std::fs;
use std::path::{Path, PathBuf};

use emsync::catalogue::Catalogue;
use emsync::model::{RecordKey, Sha256, Timestamp};
use serde_json::{Value, json};

use crate::support::pair::{master, mirror, mirrored, pair, put, seed, verify};
use crate::support::process::{Place, Ran, text};

const LAYERS: [&str; 4] = ["records", "deletes", "originals", "generated"];

fn picture() -> Vec<u8> {
    let image = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([x as u8 * 9, y as u8 * 15, 7]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// Two seeded mirrors `r` and `r2` of a master that is not there any more, and `r2.json`, a report about `r2`.
fn two_mirrors(place: &Place) {
    let photo = picture();
    let mut files: Vec<(String, Vec<u8>)> = (0..40)
        .map(|n| (format!("Dir {}/File {n:02}.txt", n % 3), vec![n; 100]))
        .collect();
    files.push(("Lake/blue.png".to_owned(), photo));
    let files: Vec<_> = files
        .iter()
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect();
    let serving = master(place, &files);
    for name in ["r", "r2"] {
        let key = place.run(&["-C", "m", "key", "add", name]).ok();
        mirror(place, &serving.base, &key);
        seed(place).ends(0);
        if name == "r" {
            fs::rename(place.path("r"), place.path("first")).unwrap();
        }
    }
    fs::rename(place.path("r"), place.path("r2")).unwrap();
    fs::rename(place.path("first"), place.path("r")).unwrap();
    place
        .run(&["-C", "r2", "verify", "master", "--report", "../r2.json"])
        .ends(0);
    serving.stop().ends(0);
}

fn against(place: &Place, more: &[&str]) -> Ran {
    let mut args = vec!["-C", "r", "verify", "--against", "../r2.json", "--json"];
    args.extend(more);
    place.run(&args)
}

/// The lines of a comparison that are not equal, as `layer/table`.
#[track_caller]
fn differing(ran: &Ran) -> Vec<String> {
    assert_eq!(ran.code, Some(26), "{}{}", ran.stdout, ran.stderr);
    let found = ran.json();
    assert_eq!(found["equal"], false);
    let lines = found["layers"].as_array().unwrap().iter();
    lines
        .filter(|line| line["verdict"] != json!("equal"))
        .map(|line| {
            let table = line["table"].as_str().unwrap_or_default();
            format!("{}/{table}", line["layer"].as_str().unwrap())
        })
        .collect()
}

/// Changes a record of the first mirror behind everybody's back.
fn edit(place: &Place, id: &str, deleted: bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let catalogue = Catalogue::open(&place.path("r/state/emsync.db"))
            .await
            .unwrap();
        let key = RecordKey::new("asset", id).unwrap();
        let mut record = catalogue.record(&key).await.unwrap().unwrap().record;
        record.content = Sha256::of(b"edited");
        record.status.as_mut().unwrap().deleted = deleted;
        let mut batch = catalogue.batch().await.unwrap();
        let now = Timestamp::from_millis(4_000_000_000_000);
        batch.put_records(&[&record], "master", now).await.unwrap();
        batch.commit().await.unwrap();
        catalogue.close().await;
    });
}

fn first_asset(place: &Place) -> String {
    let list = place.run(&["-C", "r", "record", "list", "asset"]).ok();
    let first = list.lines().next().unwrap();
    first.split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_report_of_one_mirror_holds_for_the_other_until_anything_changes() {
    let place = Place::new();
    two_mirrors(&place);
    let found = against(&place, &["--checksum"]).ends(0).json();
    assert_eq!(found["equal"], true, "{found}");
    let lines = found["layers"].as_array().unwrap();
    assert!(
        lines.iter().all(|line| line["verdict"] == "equal"),
        "{found}"
    );
    let asset = lines.iter().find(|line| line["table"] == "asset").unwrap();
    assert_eq!((&asset["here"], &asset["there"]), (&json!(41), &json!(41)));
    let said = place
        .run(&["-C", "r", "verify", "--against", "../r2.json"])
        .ok();
    assert!(said.contains("equal to the report about Mirror"), "{said}");

    // One bit on disk: only reading finds it.
    let file = mirrored(&place, "Dir 1/File 01.txt");
    let (kept, modified) = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    let restore = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let open = fs::File::options().write(true).open(&file).unwrap();
        open.set_modified(modified).unwrap();
    };
    let mut flipped = kept.clone();
    flipped[50] ^= 1;
    restore(&flipped);
    against(&place, &[]).ends(0);
    let ran = against(&place, &["--checksum"]).ends(26);
    assert!(differing(&ran).is_empty(), "{}", ran.stdout);
    assert_eq!(
        named(&ran),
        [("originals", "differing", "Dir 1/File 01.txt")].map(owned)
    );
    restore(&kept);
    // Size and date were right before as well: what was found damaged stays so until it is read again.
    against(&place, &[]).ends(26);
    against(&place, &["--checksum"]).ends(0);

    fs::remove_file(&file).unwrap();
    assert_eq!(
        named(&against(&place, &[])),
        [("originals", "missing", "Dir 1/File 01.txt")].map(owned)
    );
    restore(&kept);
    against(&place, &["--checksum"]).ends(0);

    let stray = place.path("r/media/assets/catalog/generated/stray.jpg");
    fs::write(&stray, "x").unwrap();
    assert_eq!(
        named(&against(&place, &[])),
        [("generated", "extra", "stray.jpg")].map(owned)
    );
    fs::remove_file(&stray).unwrap();
    against(&place, &["--checksum"]).ends(0);

    let id = first_asset(&place);
    edit(&place, &id, false);
    let ran = against(&place, &[]);
    assert_eq!(differing(&ran), ["records/asset"]);
    assert_items(&ran, "records", &format!("asset/{id}"));
    edit(&place, &id, true);
    let ran = against(&place, &[]);
    assert_eq!(differing(&ran), ["records/asset", "deletes/asset"]);
    assert_items(&ran, "deletes", &format!("asset/{id}"));
    let said = place
        .run(&["-C", "r", "verify", "--against", "../r2.json"])
        .ends(26);
    assert!(
        said.stdout.contains("1 of 256 buckets") && said.stdout.contains("NOT equal"),
        "{}",
        said.stdout
    );
}

fn owned((layer, kind, item): (&str, &str, &str)) -> (String, String, String) {
    (layer.to_owned(), kind.to_owned(), item.to_owned())
}

/// What is said to be wrong on disk.
fn named(ran: &Ran) -> Vec<(String, String, String)> {
    let found = ran.json();
    let differences = found["differences"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    differences
        .map(|one| (text(&one["layer"]), text(&one["kind"]), text(&one["item"])))
        .collect()
}

#[track_caller]
fn assert_items(ran: &Ran, layer: &str, item: &str) {
    let found = ran.json();
    let lines = found["layers"].as_array().unwrap().iter();
    let mut named = lines
        .filter(|line| line["layer"] == layer)
        .flat_map(|line| line["items"].as_array().unwrap());
    assert!(named.any(|named| named == item), "{found}");
}

#[test]
fn a_report_is_the_same_bytes_for_the_same_content_and_names_both_nodes() {
    let place = Place::new();
    let serving = pair(&place, &[("a.txt", b"one"), ("b/c.txt", b"two")]);
    let write = |file: &str| {
        let args = [
            "-C",
            "r",
            "verify",
            "master",
            "--checksum",
            "--report",
            file,
        ];
        place.run(&args).ends(0);
        let file = place.path("r").join(file);
        let report: Value = serde_json::from_str(&text(&file)).unwrap();
        (report, text(&file))
    };
    let (report, first) = write("one.json");
    let (_, second) = write("one.json");
    let timeless = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("\"as_of\""));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(timeless(&first), timeless(&second));
    assert!(first.ends_with("}\n"));
    assert_eq!(report["format"], 1);
    assert_eq!(report["depth"], "checksum");
    assert_eq!(report["node"]["name"], "Mirror");
    assert_eq!(report["peer"]["name"], "master");
    let master_id = report["peer"]["cluster_id"].as_str().unwrap();
    assert!(master_id.starts_with("master-"), "{report}");
    assert_eq!(report["parity"]["in_sync"], true);
    for layer in LAYERS {
        assert!(report["layers"][layer].is_object(), "{layer}");
        assert!(
            report["parity"]["layers"][layer]["here"].is_u64(),
            "{layer}"
        );
    }
    assert_eq!(report["layers"]["originals"]["files"], 2);
    assert_eq!(report["layers"]["originals"]["bytes"], 6);
    let left: Vec<_> = fs::read_dir(place.path("r")).unwrap().collect();
    let staged = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().contains("report");
    assert!(!left.into_iter().any(|entry| staged(&entry.unwrap())));

    // The master about itself, held against its mirror: a disk that goes by post.
    place
        .run(&["-C", "m", "verify", "--report", "../m.json"])
        .ends(0);
    serving.stop().ends(0);
    place
        .run(&["-C", "r", "verify", "--against", "../m.json", "--checksum"])
        .ends(0);
}

#[test]
fn what_is_no_report_is_refused_and_says_how_to_mend_it() {
    let place = Place::new();
    let serving = pair(&place, &[("a.txt", b"one"), ("b/c.txt", b"two")]);
    serving.stop().ends(0);
    let good = place.path("good.json");
    place
        .run(&["-C", "r", "verify", "--report", "../good.json"])
        .ends(0);
    let report: Value = serde_json::from_str(&text(&good)).unwrap();
    let digest = report["layers"]["originals"]["digest"].as_str().unwrap();
    let changed = |path: &[&str], value: Value| -> String {
        let mut report = report.clone();
        let mut at = &mut report;
        for member in path {
            at = &mut at[*member];
        }
        *at = value;
        report.to_string()
    };
    let originals = ["layers", "originals"];
    let with = |member: &str, value: Value| changed(&[originals[0], originals[1], member], value);
    let cases: Vec<(&str, String, i32, &str)> = vec![
        ("nothing", String::new(), 2, "no parity report"),
        ("half", text(&good)[..200].to_owned(), 2, "no parity report"),
        ("another JSON", "{}".to_owned(), 2, "no parity report"),
        ("a list", "[1]".to_owned(), 2, "no parity report"),
        (
            "another kind",
            changed(&["kind"], json!("x")),
            2,
            "no parity report",
        ),
        (
            "a newer format",
            changed(&["format"], json!(2)),
            2,
            "format 2",
        ),
        ("format 0", changed(&["format"], json!(0)), 2, "format 0"),
        ("a count", with("files", json!(3)), 2, "do not hold 3"),
        (
            "a negative count",
            with("files", json!(-1)),
            2,
            "no parity report",
        ),
        (
            "a fraction",
            with("files", json!(2.5)),
            2,
            "no parity report",
        ),
        (
            "a short digest",
            with("digest", json!(&digest[2..])),
            2,
            "no parity report",
        ),
        (
            "another digest",
            with("digest", json!("00".repeat(32))),
            2,
            "does not follow",
        ),
        ("no buckets", with("buckets", json!({})), 2, "do not hold"),
        (
            "endless items",
            with(
                "buckets",
                json!({"00": {"items": u64::MAX, "digest": digest}, "01": {"items": 3, "digest": digest}}),
            ),
            2,
            "do not hold",
        ),
        (
            "a bucket that is none",
            with("buckets", json!({"zz": {"items": 2, "digest": digest}})),
            2,
            "does not follow",
        ),
        (
            "a table that is none",
            changed(
                &["layers", "records", "../x"],
                report["layers"]["records"]["asset"].clone(),
            ),
            2,
            "is no table",
        ),
        (
            "another catalog",
            changed(&["catalog"], json!("other/catalog")),
            7,
            "other/catalog",
        ),
        ("the good one", report.to_string(), 0, ""),
    ];
    for (what, text, code, says) in &cases {
        fs::write(place.path("bad.json"), text).unwrap();
        let ran = place
            .run(&["-C", "r", "verify", "--against", "../bad.json"])
            .ends(*code);
        assert!(ran.stderr.contains(says), "{what}: {}", ran.stderr);
    }
    for path in ["../absent.json", "."] {
        place.run(&["-C", "r", "verify", "--against", path]).ends(2);
    }
    let huge = fs::File::create(place.path("huge.json")).unwrap();
    huge.set_len(1 << 30).unwrap();
    place
        .run(&["-C", "r", "verify", "--against", "../huge.json"])
        .ends(2);
    place.run(&["-C", "r", "verify"]).ends(2);
    let both = ["-C", "r", "verify", "master", "--against", "../good.json"];
    place.run(&both).ends(2);
    let unwritable = ["-C", "r", "verify", "--report", "../no/such/dir.json"];
    let ran = place.run(&unwritable).ends(1);
    assert!(ran.stderr.contains("cannot be written"), "{}", ran.stderr);
}

#[test]
fn a_file_without_a_row_is_extra_for_every_peer_until_it_goes() {
    let place = Place::new();
    let _serving = pair(&place, &[("a.txt", b"one"), ("Lake/b.png", &picture())]);
    let tree = |kind: &str| -> PathBuf { place.path("r/media/assets/catalog").join(kind) };
    let strays = [
        ("originals", "a"),
        ("originals", "a.txt.bak"),
        ("originals", "Lake/zz/deep.bin"),
        ("generated", "Lake/b.png/extra.webp"),
    ];
    for (kind, path) in strays {
        put(&tree(kind), path, b"stray");
    }
    // EMDB's bookkeeping is nobody's media, and our own corner is not walked.
    put(&tree("originals"), "Lake/.versions/1.bin", b"x");
    put(&place.path("r/media/.emsync/trash"), "x.bin", b"x");
    std::os::unix::fs::symlink("/etc/passwd", tree("originals").join("link")).unwrap();
    let parity = verify(&place, &[]).ends(26).json();
    let mut expected: Vec<(&str, &str)> = strays.to_vec();
    expected.push(("originals", "link"));
    expected.sort_unstable();
    let mut found: Vec<(&str, &str)> = parity["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            assert_eq!(one["kind"], "extra", "{one}");
            assert!(
                one["detail"]
                    .as_str()
                    .unwrap()
                    .contains("adopt with a seed")
            );
            let item = one["item"].as_str().unwrap();
            let item = if item.contains("link") { "link" } else { item };
            (one["layer"].as_str().unwrap(), item)
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    let alone = place
        .run(&["-C", "r", "verify", "--report", "../r.json", "--json"])
        .ends(26)
        .json();
    assert_eq!(alone["layers"]["originals"]["extra"], 4, "{alone}");
    assert_eq!(alone["in_sync"], false, "nobody was asked");
    assert!(Path::new(&place.path("r.json")).exists());
    for (kind, path) in expected {
        fs::remove_file(tree(kind).join(path)).unwrap();
    }
    verify(&place, &["--checksum"]).ends(0);
}
