//! What `emsync service`, `completions` and `man` print.

use std::process::{Command, Stdio};

use emsync::shutdown;

use crate::support::process::Place;
use crate::support::said::say;

/// The value of a key of a unit, in seconds.
fn seconds(unit: &str, key: &str) -> u64 {
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("{key} is not in the unit"))
        .parse()
        .unwrap()
}

#[test]
fn a_unit_fits_its_node_and_what_the_program_promises() {
    let place = Place::new();
    place.run(&["init", "m2", "--name", "Master"]).ends(0);
    let unit = place
        .run(&["-C", "m2", "service", "--user", "archive"])
        .ok();
    let dir = place.path("m2");
    let program = env!("CARGO_BIN_EXE_emsync");
    assert!(
        unit.contains(&format!("ExecStart={program} -C {} serve\n", dir.display())),
        "{unit}"
    );
    assert!(
        unit.contains(&format!("ReadWritePaths={}\n", dir.display())),
        "{unit}"
    );
    assert!(unit.contains("User=archive\nGroup=archive\n") && !unit.contains("/var/lib/emsync"));
    // It is killed only after it would have ended by itself.
    assert!(seconds(&unit, "TimeoutStopSec") > shutdown::PATIENCE.as_secs());
    // A look at the clock may come late, not never.
    assert!(seconds(&unit, "WatchdogSec") >= 60);
    let timer = place.run(&["-C", "m2", "service", "--timer"]).ok();
    let oneshot = place.run(&["-C", "m2", "service", "--oneshot"]).ok();
    let path = place.path("units");
    std::fs::create_dir(&path).unwrap();
    let units = [
        ("emsync.service", &unit),
        ("emsync-sync.service", &oneshot),
        ("emsync-sync.timer", &timer),
    ];
    for (name, text) in units {
        // Whoever checks them need not have such a user.
        let text = text
            .replace("=archive", "=root")
            .replace("=emsync", "=root");
        std::fs::write(path.join(name), text).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify
        .args(["verify", "--man=no"])
        .args(units.map(|(name, _)| path.join(name)));
    match verify.stdin(Stdio::null()).output() {
        Ok(checked) => {
            let said = String::from_utf8_lossy(&checked.stderr).into_owned();
            assert!(
                checked.status.success() && !said.contains("emsync"),
                "{said}"
            );
        }
        Err(error) => say(&format!("units not checked by systemd-analyze: {error}")),
    }
}

#[test]
fn completions_and_pages_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let text = place.run(&["completions", shell]).ok();
        for word in ["quarantine", "event", "--max-transfer"] {
            assert!(
                text.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
    let page = place.run(&["man"]).ok();
    assert!(
        page.contains(".TH emsync 1") && page.contains("Exit codes"),
        "{page}"
    );
    let dir = place.path("pages");
    place.run(&["man", "--dir", dir.to_str().unwrap()]).ends(0);
    for name in ["emsync.1", "emsync-sync.1", "emsync-event-add.1"] {
        let page = std::fs::read_to_string(dir.join(name)).unwrap();
        assert!(page.starts_with(".ie"), "{name}");
    }
}

#[test]
fn a_log_file_has_the_lines_and_a_failure_is_said_to_its_face_too() {
    let place = Place::new();
    place.run(&["init", "m", "--name", "Master"]).ends(0);
    let log = place.path("logs/emsync.log");
    let args = [
        "-C",
        "m",
        "--log-file",
        log.to_str().unwrap(),
        "--log-format",
        "json",
    ];
    let failed = place.run(&[&args[..], &["sync"]].concat()).ends(2);
    assert!(failed.stderr.contains("there is no enabled peer"));
    let mut files = std::fs::read_dir(place.path("logs")).unwrap();
    let file = files.next().unwrap().unwrap();
    assert!(
        file.file_name()
            .to_str()
            .unwrap()
            .starts_with("emsync.log.")
    );
    let text = std::fs::read_to_string(file.path()).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["level"], "ERROR");
    // Where there can be none, it is said where lines go otherwise.
    let nowhere = place.path("m/emsync.toml/x");
    let args = ["-C", "m", "--log-file", nowhere.to_str().unwrap(), "status"];
    let refused = place.run(&args).ends(2);
    assert!(refused.stderr.contains("--log-file"), "{}", refused.stderr);
}
