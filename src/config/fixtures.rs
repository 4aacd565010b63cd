//! Walks `assets-fixtures/config`: every file there is read, every good one checked, every bad one refused in so many words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, Generated, Limits, MaxDelete, Media, Names, Serve};
use crate::model::Mode;

/// Planted as every key in the fixtures; must be seen nowhere.
const PLANTED: &str = "planted";

fn names(folder: &str) -> (PathBuf, BTreeSet<String>) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("assets-fixtures/config")
        .join(folder);
    let names = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    (dir, names)
}

#[test]
fn every_bad_fixture_is_refused_in_the_expected_words() {
    let (dir, names) = names("bad");
    let mut cases = BTreeSet::new();
    for name in &names {
        let (case, kind) = name.rsplit_once('.').unwrap();
        assert!(
            ["toml", "expected"].contains(&kind),
            "nothing reads bad/{name}"
        );
        cases.insert(case);
    }
    assert!(cases.len() >= 20, "only {} bad cases", cases.len());
    let mut wrong = Vec::new();
    for case in &cases {
        let file = dir.join(format!("{case}.toml"));
        let expected = fs::read_to_string(dir.join(format!("{case}.expected")));
        let expected = expected.unwrap_or_else(|error| panic!("bad/{case}.expected: {error}"));
        let error = match Config::load(&file) {
            Ok(_) => panic!("bad/{case}.toml was loaded"),
            Err(error) => error,
        };
        assert!(
            !format!("{error:?} {}", error.report()).contains(PLANTED),
            "bad/{case}.toml shows its key: {error:?}"
        );
        let report = error.report().replace(&file.display().to_string(), "FILE");
        let dir = dir.display().to_string();
        let report = report.replace(&dir, "DIR");
        if report != expected.trim_end() {
            wrong.push(format!(
                "bad/{case}:\n     got {report}\n  wanted {}",
                expected.trim_end()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_good_fixture_means_what_it_says() {
    let (dir, names) = names("good");
    for name in &names {
        let config = match Config::load(&dir.join(name)) {
            Ok(config) => config,
            Err(error) => panic!("good/{name}: {}", error.report()),
        };
        assert_eq!((&config.file, &config.dir), (&dir.join(name), &dir));
        assert!(
            !format!("{config:?}").contains(PLANTED),
            "good/{name} shows its key"
        );
        match name.as_str() {
            "minimal.toml" => minimal(&config),
            "full.toml" => full(&config),
            "sidecar.toml" => sidecar(&config),
            "inline.toml" => inline(&config),
            _ => panic!("nothing checks good/{name}"),
        }
    }
    assert_eq!(names.len(), 4, "a good fixture is missing");
}

fn minimal(config: &Config) {
    assert_eq!(config.node.site, "assets");
    assert_eq!(config.node.catalog.as_str(), "assets/catalog");
    assert_eq!(config.media.root, config.dir.join("media"));
    assert_eq!(
        (config.media.thumb_threads, config.media.max_pixels),
        (0, Media::MAX_PIXELS)
    );
    assert_eq!(config.media.names, Names::Auto);
    assert_eq!((config.media.mode, config.mode()), (None, Mode::Corrected));
    assert_eq!(config.state, config.dir.join("state"));
    assert_eq!(config.serve.listen, Serve::LISTEN);
    assert_eq!(config.limits, Limits::default());
    assert!(config.peers.is_empty() && config.relay_tables.is_empty());
    let error = config.peer("master").unwrap_err().to_string();
    assert!(
        error.ends_with("it names no peers yet; `emsync peer add` adds one"),
        "{error}"
    );
}

fn full(config: &Config) {
    let seconds = Duration::from_secs;
    let limits = Limits {
        transfers: 32,
        bwlimit: "08:00,512k 19:00,off".parse().unwrap(),
        tpslimit: Some(2.5),
        tpslimit_burst: 5,
        attempts: 3,
        retry_base: Duration::from_millis(250),
        retry_cap: seconds(90),
        timeout: seconds(60),
        contimeout: seconds(5),
        list_timeout: seconds(5400),
        max_clock_skew: seconds(30),
        overlap: seconds(0),
        large_file: 64 << 20,
        handoff_depth: 4,
        publish_batch: 1000,
        reserve: 3 << 29,
        trash_days: 0,
        max_delete: Some(MaxDelete::Percent(2.5)),
        full_listing: seconds(86_400),
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.media.root, Path::new("/srv/media"));
    assert_eq!(config.state, config.dir.join("../var/state"));
    assert_eq!(
        (config.media.thumb_threads, config.media.max_pixels),
        (6, 1_000_000)
    );
    assert_eq!(config.media.names, Names::Portable);
    assert_eq!(config.media.mode, Some(Mode::Corrected));
    assert_eq!(config.serve.listen.to_string(), "[::]:7701");
    let tables: Vec<_> = config
        .relay_tables
        .iter()
        .map(|table| table.as_str())
        .collect();
    assert_eq!(tables, ["userprofile", "settingsgroup"]);

    let names = |peers: &mut dyn Iterator<Item = &super::Peer>| -> Vec<String> {
        peers.map(|peer| peer.name.clone()).collect()
    };
    assert_eq!(
        names(&mut config.peers.iter()),
        ["master", "spare", "cdn.eu-1"]
    );
    assert_eq!(names(&mut config.enabled_peers()), ["master", "cdn.eu-1"]);
    let master = config.peer("master").unwrap();
    assert_eq!(master.cluster_id.as_ref().unwrap().as_str(), "emdb-main");
    assert_eq!(master.key().unwrap().expose(), "planted-inline");
    assert_eq!(master.generated, Generated::Rebuild);
    assert!(master.push && !master.push_originals && !master.pull_originals);
    assert!(!master.insecure_session);
    assert_eq!(master.max_delete, Some(MaxDelete::Count(50)));
    let spare = config.peer("spare").unwrap();
    assert!(spare.push && spare.push_originals, "originals follow push");
    assert_eq!(spare.generated, Generated::Off);
    let cdn = config.peer("cdn.eu-1").unwrap();
    assert_eq!(
        (cdn.generated, cdn.push, cdn.max_delete),
        (Generated::Auto, false, None)
    );
    assert_eq!(cdn.place().line, Some(59));
    let error = config.peer("cdn").unwrap_err().to_string();
    assert!(
        error.contains("it knows master, spare, cdn.eu-1;"),
        "{error}"
    );
}

fn sidecar(config: &Config) {
    assert_eq!(config.node.cluster_id.as_str(), "emdb-main");
    assert_eq!(config.node.site, "finder");
    assert_eq!(
        config.media.root,
        Path::new("/media/emsite/webapp/WEB-INF/data")
    );
    assert_eq!(config.peers[0].base_url.site(), "finder");
    assert_eq!(config.peers[0].generated, Generated::Copy);
}

fn inline(config: &Config) {
    assert_eq!(config.node.name, "a");
    assert_eq!(config.limits.transfers, 31);
    assert_eq!(config.peers.len(), 2);
}
