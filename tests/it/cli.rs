//! The command line as people and scripts use it: what is printed where, and how every command exits (design section 5).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use clap::CommandFactory as _;
use emsync::cli::args::Cli;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::pair::{
    assert_equal, import, key, master, mirror, mirrored, pair, put, seed, sync, verify,
};
use crate::support::process::{Place, Ran, Silence, nowhere, text};

/// So many small files.
fn numbered(count: usize) -> Vec<(String, Vec<u8>)> {
    let file = |n| (format!("File {n:02}.txt"), format!("text {n}").into_bytes());
    (0..count).map(file).collect()
}

fn borrowed(files: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
    let pairs = files.iter();
    pairs
        .map(|(path, bytes)| (path.as_str(), bytes.as_slice()))
        .collect()
}

fn picture() -> Vec<u8> {
    let image = image::RgbImage::from_fn(24, 16, |x, y| image::Rgb([x as u8 * 9, y as u8 * 15, 7]));
    let mut png = std::io::Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn the_contract_holds_as_it_is_typed() {
    let place = Place::new();
    let id = place.run(&["init", "m", "--name", "Master"]).ok();
    assert!(id.starts_with("master-") && id.lines().count() == 1, "{id}");
    for made in [
        "m/emsync.toml",
        "m/media/.emsync/root.json",
        "m/state/emsync.db",
    ] {
        assert!(place.path(made).is_file(), "{made}");
    }
    put(&place.path("photos"), "Lake/blue.png", &picture());
    put(&place.path("photos"), "notes.txt", b"one");
    let said = import(&place, &[]).ok();
    assert!(
        said.starts_with("imported 2 files") && said.lines().count() == 1,
        "{said}"
    );
    let key = key(&place);
    assert!(key.trim().len() > 30 && key.lines().count() == 1, "{key}");

    let serving = place.serve("m");
    assert!(serving.base.starts_with("http://127.0.0.1:") && serving.base.ends_with("/assets"));
    mirror(&place, &serving.base, &key);
    let said = place.run(&["-C", "r", "peer", "test", "master"]).ok();
    assert!(said.contains(id.trim()), "{said}");
    let said = place.run(&["-C", "r", "peer", "list"]).ok();
    assert_eq!(said, format!("master  {}\n", serving.base));
    let said = place.run(&["-C", "r", "peer", "show", "master"]).ok();
    assert!(
        said.contains(&serving.base) && said.contains("key.txt"),
        "{said}"
    );

    let first = seed(&place).ends(0).json();
    for count in ["records", "files_written", "bytes_received", "elapsed_ms"] {
        assert!(first[count].as_u64().unwrap() > 0, "{count} in {first}");
    }
    for count in ["bytes_sent", "deleted", "quarantined", "unrenderable"] {
        assert_eq!(first[count], 0, "{count} in {first}");
    }
    let again = sync(&place).ends(0).json();
    assert_eq!(
        (&again["bytes_received"], &again["files_written"]),
        (&json!(0), &json!(0))
    );
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());

    let status = place.run(&["-C", "r", "status", "--json"]).ends(0).json();
    assert_eq!(status["in_sync"], true, "{status}");
    assert_eq!(status["files"]["originals"], 2, "{status}");
    let listed = place
        .run(&["-C", "m", "record", "list", "asset", "--json"])
        .ok();
    assert_eq!(listed.lines().count(), 2);
    let notes = asset(&listed, "notes.txt");
    // Beside the running serve.
    place
        .run(&["-C", "m", "record", "delete", "asset", &notes])
        .ends(0);
    assert_eq!(sync(&place).ends(0).json()["deleted"], 1);
    assert!(!mirrored(&place, "notes.txt").exists());
    assert_equal(&verify(&place, &[]).ends(0).json());

    serving.stop().ends(0);
    place.run(&["-C", "r", "peer", "remove", "master"]).ends(0);
    assert_eq!(place.run(&["-C", "r", "peer", "list"]).ok(), "");
}

/// The id of the asset at a source path, from lines of JSON.
fn asset(listed: &str, path: &str) -> String {
    let records = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = records
        .into_iter()
        .find(|record| record["sourcepath"] == path);
    found.unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn edits_on_the_master_arrive_and_move_only_their_own_bytes() {
    let place = Place::new();
    let files = numbered(4);
    let _serving = pair(&place, &borrowed(&files));
    let photos = place.path("photos");
    put(&photos, "New/added.txt", b"twelve bytes");
    put(&photos, "File 00.txt", b"replaced");
    fs::create_dir(photos.join("Moved")).unwrap();
    fs::rename(photos.join("File 01.txt"), photos.join("Moved/File 01.txt")).unwrap();
    fs::remove_file(photos.join("File 02.txt")).unwrap();
    let report = import(&place, &["--json"]).ends(0).json();
    for (count, number) in [
        ("added", 1),
        ("changed", 1),
        ("moved", 1),
        ("gone", 1),
        ("unchanged", 1),
    ] {
        assert_eq!(report[count], number, "{count} in {report}");
    }
    let report = sync(&place).ends(0).json();
    assert_eq!(
        (&report["bytes_received"], &report["deleted"]),
        (&json!(20), &json!(1)),
        "{report}"
    );
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
    assert_eq!(text(&mirrored(&place, "File 00.txt")), "replaced");
    assert_eq!(text(&mirrored(&place, "Moved/File 01.txt")), "text 1");
    assert!(!mirrored(&place, "File 01.txt").exists() && !mirrored(&place, "File 02.txt").exists());
}

#[test]
fn verify_sees_files_that_were_cut_removed_or_changed_by_one_bit() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(2)));
    let file = mirrored(&place, "File 00.txt");
    let (kept, modified) = (
        fs::read(&file).unwrap(),
        fs::metadata(&file).unwrap().modified().unwrap(),
    );
    let restore = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        let open = fs::File::options().write(true).open(&file).unwrap();
        open.set_modified(modified).unwrap();
    };
    restore(&kept[..kept.len() - 1]);
    assert_differs(&verify(&place, &[]), "File 00.txt");
    fs::remove_file(&file).unwrap();
    assert_differs(&verify(&place, &[]), "File 00.txt");
    let mut flipped = kept.clone();
    flipped[0] ^= 1;
    restore(&flipped);
    assert_differs(&verify(&place, &["--checksum"]), "File 00.txt");
    restore(&kept);
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
}

#[track_caller]
fn assert_differs(ran: &Ran, item: &str) {
    assert_eq!(ran.code, Some(26), "{}{}", ran.stdout, ran.stderr);
    let parity = ran.json();
    assert_eq!(parity["in_sync"], false);
    let differences = parity["differences"].as_array().unwrap();
    let (layer, at) = (&differences[0]["layer"], &differences[0]["item"]);
    assert_eq!(
        (differences.len(), layer, at),
        (1, &json!("originals"), &json!(item)),
        "{parity}"
    );
}

#[test]
fn peers_that_refuse_or_are_not_there_have_codes_of_their_own() {
    let place = Place::new();
    let serving = master(&place, &borrowed(&numbered(1)));
    let wrong = key(&place).replace(char::is_numeric, "a") + "wrong";
    mirror(&place, &serving.base, &wrong);
    for command in [["peer", "test"], ["seed", "master"], ["verify", "master"]] {
        let tail: &[&str] = if command[0] == "peer" {
            &["master"]
        } else {
            &[]
        };
        let said = place
            .run(&[&["-C", "r"], &command[..], tail].concat())
            .ends(12);
        assert!(said.stderr.contains("master"), "{}", said.stderr);
    }
    for (name, url, code) in [
        ("closed", nowhere(), 5),
        ("lost", serving.base.replace("/assets", "/nowhere"), 2),
    ] {
        let add = [
            "-C",
            "r",
            "peer",
            "add",
            name,
            "--url",
            &url,
            "--key-file",
            "key.txt",
        ];
        place.run(&add).ends(0);
        fs::write(place.path("r/key.txt"), key_again(&place, name)).unwrap();
        place.run(&["-C", "r", "peer", "test", name]).ends(code);
        place.run(&["-C", "r", "seed", name]).ends(code);
    }
}

fn key_again(place: &Place, name: &str) -> String {
    place.run(&["-C", "m", "key", "add", name]).ok()
}

#[test]
fn a_command_line_or_setting_that_cannot_be_meant_exits_2_and_says_why() {
    let place = Place::new();
    place.run(&["init", "m"]).ends(0);
    for (args, said) in [
        (vec!["-C", "m", "status", "--nonsense"], "--nonsense"),
        (vec!["-C", "m", "nonsense"], "nonsense"),
        (vec!["-C", "m", "seed", "stranger"], "stranger"),
        (vec!["-C", "m", "sync", "stranger"], "stranger"),
        (vec!["-C", "m", "verify", "stranger"], "stranger"),
        (vec!["-C", "m", "peer", "test", "stranger"], "stranger"),
        (vec!["-C", "m", "peer", "show", "stranger"], "stranger"),
        (vec!["-C", "m", "peer", "remove", "stranger"], "stranger"),
        (vec!["-C", "m", "sync"], "peer add"),
        (
            vec![
                "-C",
                "m",
                "peer",
                "add",
                "p",
                "--url",
                "http://p.example/assets",
            ],
            "--key-file",
        ),
        (
            vec![
                "-C",
                "m",
                "peer",
                "add",
                "p",
                "--url",
                "http://p.example/assets/",
                "--key-file",
                "k",
            ],
            "slash",
        ),
        (
            vec![
                "-C",
                "m",
                "peer",
                "add",
                "p",
                "--url",
                "http://p.example",
                "--key-file",
                "k",
            ],
            "site",
        ),
        (vec!["-C", "m", "sync", "--max-delete", "many"], "many"),
        (vec!["-C", "m", "import", "missing"], "missing"),
        (vec!["-C", "m", "import", "../tmp"], "no file"),
        (
            vec!["-C", "m", "import", "../tmp", "--into", "../up"],
            "--into",
        ),
        (vec!["-C", "m", "record", "list", "no/table"], "no/table"),
        (
            vec!["-C", "m", "record", "get", "no/table", "id"],
            "no/table",
        ),
        (vec!["-C", "missing", "status"], "missing"),
        (vec!["-C", "home", "status"], "emsync.toml"),
        (vec!["init", "m"], "emsync.toml"),
    ] {
        let ran = place.run(&args);
        assert_eq!(ran.code, Some(2), "{}: {}", ran.line, ran.stderr);
        assert!(ran.stderr.contains(said), "{}: {}", ran.line, ran.stderr);
        assert_eq!(ran.stdout, "", "{}", ran.line);
    }
    let settings = place.path("m/emsync.toml");
    let good = text(&settings);
    fs::write(
        &settings,
        good.replace("[limits]", "[limits]\ntransfer = 8"),
    )
    .unwrap();
    let ran = place.run(&["-C", "m", "status"]).ends(2);
    let line = 2 + good.lines().position(|line| line == "[limits]").unwrap();
    for said in ["transfer", "emsync.toml", &line.to_string()] {
        assert!(ran.stderr.contains(said), "{said}: {}", ran.stderr);
    }
}

#[test]
fn an_activity_runs_once_at_a_time_and_the_rest_goes_on_beside_it() {
    let place = Place::new();
    let serving = master(&place, &borrowed(&numbered(1)));
    place
        .run(&["-C", "m", "serve", "--listen", "127.0.0.1:0"])
        .ends(11);
    import(&place, &[]).ends(0);
    place.run(&["-C", "m", "status"]).ends(0);

    let silence = Silence::new();
    mirror(&place, &silence.base, &key(&place));
    let held = place.start(&["-C", "r", "seed", "master"]);
    let _connection = silence.reached();
    for command in ["seed", "sync"] {
        let ran = place.run(&["-C", "r", command, "master"]).ends(11);
        assert!(ran.stderr.contains("already running"), "{}", ran.stderr);
    }
    place.run(&["-C", "r", "status"]).ends(0);
    held.signal(Signal::INT);
    held.wait().ends(130);
    serving.stop().ends(0);
}

#[test]
fn every_command_that_waits_for_a_silent_peer_ends_when_interrupted() {
    let place = Place::new();
    let silence = Silence::new();
    mirror(&place, &silence.base, "key\n");
    for command in [
        vec!["seed", "master"],
        vec!["sync"],
        vec!["verify", "master"],
        vec!["peer", "test", "master"],
    ] {
        let held = place.start(&[&["-C", "r"], &command[..]].concat());
        let _connection = silence.reached();
        held.signal(Signal::INT);
        held.wait().ends(130);
    }
}

#[test]
fn nothing_that_could_delete_runs_without_the_marker() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(1)));
    fs::remove_file(place.path("r/media/.emsync/root.json")).unwrap();
    for command in ["seed", "sync", "verify"] {
        let ran = place.run(&["-C", "r", command, "master"]).ends(7);
        assert!(ran.stderr.contains("root.json"), "{}", ran.stderr);
    }
    assert!(mirrored(&place, "File 00.txt").exists());
}

#[test]
fn the_guard_holds_a_mass_delete_until_it_is_told_to_let_it_go() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(20)));
    for n in 0..12 {
        fs::remove_file(place.path("photos").join(format!("File {n:02}.txt"))).unwrap();
    }
    let report = import(&place, &["--json"]).ends(25).json();
    assert_eq!(
        (&report["held"], &report["gone"]),
        (&json!(12), &json!(0)),
        "{report}"
    );
    import(&place, &["--max-delete", "12"]).ends(0);

    let ran = sync(&place).ends(25);
    let report = ran.json();
    assert_eq!(
        (&report["held"], &report["deleted"]),
        (&json!(12), &json!(0)),
        "{report}"
    );
    assert!(mirrored(&place, "File 00.txt").exists());
    let ran = place.run(&["-C", "r", "sync", "master"]).ends(25);
    assert!(ran.stdout.contains("--max-delete 12"), "{}", ran.stdout);
    verify(&place, &[]).ends(26);
    let report = place
        .run(&["-C", "r", "sync", "master", "--json", "--max-delete", "12"])
        .ends(0)
        .json();
    assert_eq!(report["deleted"], 12, "{report}");
    assert!(!mirrored(&place, "File 00.txt").exists());
    assert_equal(&verify(&place, &[]).ends(0).json());
}

#[test]
fn a_file_that_the_master_lost_is_set_aside_and_the_others_arrive() {
    let place = Place::new();
    let serving = master(&place, &borrowed(&numbered(3)));
    let lost = place.path("m/media/assets/catalog/originals/File 01.txt");
    let kept = fs::read(&lost).unwrap();
    let modified = fs::metadata(&lost).unwrap().modified().unwrap();
    fs::remove_file(&lost).unwrap();
    mirror(&place, &serving.base, &key(&place));
    let report = seed(&place).ends(23).json();
    assert_eq!(
        (&report["quarantined"], &report["files_written"]),
        (&json!(1), &json!(2)),
        "{report}"
    );
    verify(&place, &[]).ends(26);
    sync(&place).ends(23);
    fs::write(&lost, kept).unwrap();
    fs::File::options()
        .write(true)
        .open(&lost)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    assert_eq!(sync(&place).ends(0).json()["files_written"], 1);
    assert_equal(&verify(&place, &["--checksum"]).ends(0).json());
}

#[test]
fn the_configuration_can_be_named_by_flag_and_by_variable() {
    let mut place = Place::new();
    place.run(&["init", "m", "--name", "One"]).ends(0);
    place.run(&["init", "n", "--name", "Two"]).ends(0);
    let node = |ran: Ran| ran.json()["node"].as_str().unwrap().to_owned();
    assert_eq!(
        node(place.run(&["status", "--json", "--config", "m/emsync.toml"])),
        "One"
    );
    assert_eq!(
        node(place.run(&["-C", "m", "--config", "../n", "status", "--json"])),
        "Two"
    );
    place.set("EMSYNC_CONFIG", "n/emsync.toml");
    assert_eq!(node(place.run(&["status", "--json"])), "Two");
    assert_eq!(
        node(place.run(&["status", "--json", "--config", "m"])),
        "One"
    );
    place.set("EMSYNC_CONFIG", "elsewhere.toml");
    place.run(&["status"]).ends(2);
}

#[test]
fn quiet_leaves_results_and_errors() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(1)));
    for (args, lines) in [
        (vec!["-C", "r", "-q", "sync"], 0),
        (vec!["-C", "r", "-q", "seed", "master"], 0),
        (vec!["-C", "r", "-q", "seed", "master", "--json"], 1),
        (vec!["-C", "r", "-q", "verify", "master", "--json"], 1),
        (vec!["-C", "r", "-q", "peer", "list"], 1),
        (vec!["-q", "init", "n"], 1),
    ] {
        let ran = place.run(&args).ends(0);
        assert_eq!(
            (ran.stdout.lines().count(), ran.stderr.as_str()),
            (lines, ""),
            "{}",
            ran.line
        );
    }
    let photos = place.path("photos");
    assert_eq!(
        place
            .run(&["-C", "m", "-q", "import", photos.to_str().unwrap()])
            .ok(),
        ""
    );
    let ran = place.run(&["-C", "r", "-q", "seed", "stranger"]).ends(2);
    assert!(ran.stderr.contains("stranger"));
}

#[test]
fn json_logs_are_json_on_every_line() {
    let place = Place::new();
    put(&place.path("photos"), "broken.png", &picture()[..40]);
    let photos = place.path("photos");
    let photos = photos.to_str().unwrap();
    place.run(&["init", "m"]).ends(0);
    let mut lines = 0;
    for args in [
        vec!["-C", "m", "-vvv", "--log-format", "json", "import", photos],
        vec!["-C", "m", "--log-format", "json", "seed", "stranger"],
        vec!["-C", "missing", "--log-format", "json", "status"],
    ] {
        let ran = place.run(&args);
        assert!(!ran.stderr.is_empty(), "{}", ran.line);
        for line in ran.stderr.lines() {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert!(
                parsed.is_ok_and(|line| line["level"].is_string()),
                "{}: {line}",
                ran.line
            );
            lines += 1;
        }
    }
    assert!(lines > 3);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(3)));
    for args in [
        vec!["-C", "m", "record", "list", "asset", "--json"],
        vec!["-C", "r", "verify", "master"],
        vec!["-C", "r", "status"],
        vec!["-C", "r", "peer", "show", "master"],
        vec!["-C", "r", "seed", "master", "--json"],
        vec!["init", "n"],
        vec!["--help"],
        vec!["--version"],
        vec!["demo"],
    ] {
        let ran = unread(&place, &args);
        assert_eq!(
            (ran.code, ran.stderr.as_str()),
            (Some(0), ""),
            "{}",
            ran.line
        );
    }
    assert_eq!(
        fs::read_dir(place.path("tmp")).unwrap().count(),
        0,
        "the demo tidies up"
    );
}

#[test]
fn a_reader_that_went_away_changes_no_exit_code_of_work_and_loses_no_key() {
    let place = Place::new();
    let _serving = pair(&place, &borrowed(&numbered(1)));
    fs::remove_file(mirrored(&place, "File 00.txt")).unwrap();
    unread(&place, &["-C", "r", "verify", "master"]).ends(26);
    unread(&place, &["-C", "m", "key", "add", "unread"]).ends(1);
    let keys = place.run(&["-C", "m", "key", "list"]).ok();
    assert!(
        keys.lines().count() == 1 && !keys.contains("unread"),
        "{keys}"
    );
}

/// Runs a command whose standard output nobody reads.
fn unread(place: &Place, args: &[&str]) -> Ran {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    place.spawn(args, writer.into()).wait()
}

#[test]
fn every_command_explains_itself() {
    let place = Place::new();
    let mut paths = vec![Vec::new()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let command = path
            .iter()
            .fold(Cli::command(), |command: clap::Command, name: &String| {
                command.find_subcommand(name).unwrap().clone()
            });
        for below in command.get_subcommands() {
            paths.push([path.clone(), vec![below.get_name().to_owned()]].concat());
        }
        let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
        args.push("--help");
        let said = place.run(&args).ok();
        assert!(said.contains("Usage: emsync"), "{args:?}: {said}");
        if path.is_empty() {
            assert!(
                said.contains("Examples:") && said.contains("Exit codes:"),
                "{said}"
            );
        }
        seen += 1;
    }
    assert!(seen > 20);
    assert!(place.run(&["--version"]).ok().starts_with("emsync "));
}

#[test]
fn no_command_tells_a_key() {
    let mut place = Place::new();
    let serving = pair(&place, &borrowed(&numbered(2)));
    let key = text(&place.path("r/key.txt"));
    let secret = key.trim().rsplit('_').next().unwrap();
    // A key that is refused, and one that stands in the file of settings, are no less secret.
    let settings = text(&place.path("r/emsync.toml"));
    assert!(!settings.contains(secret));
    let section = format!(
        "\n[[peer]]\nname = \"inline\"\nbase_url = \"{}\"\nkey = \"{}\"\n",
        serving.base,
        key.trim()
    );
    fs::write(place.path("r/emsync.toml"), settings + &section).unwrap();
    for (variable, value) in [("EMSYNC_UNUSED", ""), ("EMSYNC_LOG", "trace")] {
        place.set(variable, value);
        for args in [
            vec!["-C", "m", "-vv", "key", "list"],
            vec!["-C", "m", "-vv", "key", "list", "--json"],
            vec!["-C", "r", "-vv", "peer", "list", "--json"],
            vec!["-C", "r", "-vv", "peer", "show", "master"],
            vec!["-C", "r", "-vv", "peer", "show", "inline"],
            vec!["-C", "r", "-vv", "peer", "test", "master"],
            vec!["-C", "r", "-vv", "peer", "test", "inline", "--json"],
            vec!["-C", "r", "-vvv", "seed", "master"],
            vec!["-C", "r", "-vvv", "sync"],
            vec!["-C", "r", "-vv", "verify", "inline", "--checksum"],
            vec!["-C", "r", "-vv", "status"],
        ] {
            place.run(&args).ends(0);
        }
    }
    place.run(&["-C", "m", "key", "revoke", "mirror-1"]).ends(0);
    place.run(&["-C", "r", "-vv", "seed", "master"]).ends(12);
    place
        .run(&["-C", "r", "-vv", "peer", "test", "inline"])
        .ends(12);
    let broken = text(&place.path("r/emsync.toml")) + "keys = 1\n";
    fs::write(place.path("r/emsync.toml"), broken).unwrap();
    place.run(&["-C", "r", "-vv", "status"]).ends(2);
    serving.stop().ends(0);
    place.nobody_said(secret, "key add");
}

#[test]
fn the_demo_ends_by_itself_with_equal_nodes() {
    let place = Place::new();
    let said = place.run(&["demo"]).ok();
    assert!(said.contains("The nodes are equal."), "{said}");
    assert_eq!(
        fs::read_dir(place.path("tmp")).unwrap().count(),
        0,
        "the demo tidies up"
    );
}

#[test]
fn an_interrupted_demo_says_so_and_tidies_up() {
    let place = Place::new();
    let mut demo = place.start(&["demo"]);
    assert!(demo.next_line().unwrap().starts_with("1."));
    demo.signal(Signal::INT);
    demo.wait().ends(130);
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0);
}

#[test]
fn a_demo_that_is_kept_serves_two_nodes_until_it_is_told_to_end() {
    let place = Place::new();
    let mut demo = place.start(&["demo", "--keep", "--dir", "kept"]);
    let keeps = loop {
        let line = demo.next_line().unwrap();
        if line.contains("keep running") {
            break line;
        }
    };
    let addresses: Vec<&str> = keeps
        .split("http://")
        .skip(1)
        .map(|rest| rest.split('/').next().unwrap())
        .collect();
    assert_eq!(addresses.len(), 2, "{keeps}");
    for address in addresses {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{address}: {reply}");
    }
    demo.signal(Signal::TERM);
    demo.wait().ends(0);
    assert!(place.path("kept/m/emsync.toml").is_file());
}

#[test]
fn status_says_unknown_as_soon_as_anything_changed_after_the_comparison() {
    let place = Place::new();
    let _serving = pair(&place, &[("a.bin", b"one")]);
    let status = || {
        let status = place.run(&["-C", "r", "status", "--json"]).ends(0).json();
        status["in_sync"].clone()
    };
    assert_eq!(status(), json!(true));
    put(&place.path("photos"), "b.bin", b"two");
    import(&place, &[]).ends(0);
    sync(&place).ends(0);
    assert_eq!(status(), json!(null), "equal, but nobody has compared");
    verify(&place, &[]).ends(0);
    assert_eq!(status(), json!(true));
    let b = mirrored(&place, "b.bin");
    std::fs::remove_file(b).unwrap();
    verify(&place, &[]).ends(26);
    assert_eq!(status(), json!(false));
}
