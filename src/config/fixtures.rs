//! Walks `assets-fixtures/config`: every file there is read, every good one checked, every bad one refused in so many words.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::network::Proxy;
use super::{
    Action, Config, Folder, Generated, Limits, MaxDelete, Media, Names, Retention, Scrub, Serve,
    Tls,
};
use crate::model::preset::{
    Cut, Encoding, Extent, Gravity, Inputs, Preset, PresetId, PresetTable, RenderType, Shape,
    Shipped, Source, Transcoder, is_made_here,
};
use crate::model::{MediaPath, Mode};

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
            "jpg.toml" => jpg(&config),
            "presets.toml" => presets(&config),
            _ => panic!("nothing checks good/{name}"),
        }
    }
    assert_eq!(names.len(), 6, "a good fixture is missing");
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
    assert_eq!(*config.media.presets, PresetTable::shipped(Shipped::Webp));
    assert_eq!(config.state, config.dir.join("state"));
    assert_eq!(config.serve.listen, Serve::LISTEN);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.scrub, Scrub::default());
    assert_eq!(config.retention, Retention::days(30));
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
    let day = Duration::from_secs(24 * 60 * 60);
    let retention = Retention {
        versions: Some(90 * day),
        others: None,
    };
    assert_eq!(config.retention, retention);
    assert_eq!(retention.said(), "until emptied, versions 90 days");
    assert_eq!(config.scrub.days, 14);
    assert_eq!(
        config.scrub.bandwidth,
        "08:00,10M 19:00,off".parse().unwrap()
    );
    assert_eq!(config.media.root, Path::new("/srv/media"));
    assert_eq!(config.state, config.dir.join("../var/state"));
    assert_eq!(
        (config.media.thumb_threads, config.media.max_pixels),
        (6, 1_000_000)
    );
    assert_eq!(config.media.names, Names::Portable);
    assert_eq!(config.media.mode, Some(Mode::Corrected));
    everything(preset(config, "everything"));
    assert_eq!(preset(config, "square").width, 128, "of the site's lists");
    assert_eq!(config.serve.listen.to_string(), "[::]:7701");
    let tls = Tls {
        cert: config.dir.join("tls/cert.pem"),
        key: "/etc/key.pem".into(),
    };
    assert_eq!(config.serve.tls, Some(tls));
    assert_eq!(config.serve.trusted_proxy, "::1".parse().ok());
    assert!(config.serve.public_renditions && config.serve.pull_through);
    assert_eq!(config.serve.max_age, Duration::from_secs(600));
    assert_eq!(config.serve.stale_while_revalidate, Duration::ZERO);
    assert_eq!(config.serve.max_cache, Some(3 << 39));
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
    assert_eq!(cdn.place().line, Some(76));
    assert_eq!(
        cdn.filter.to_string(),
        "--include /Press/** --exclude *.{psd,tif} --exclude {{.*~}} --category Index/Press --exclude-category drafts \
         --collection Harbour --min-size 1024 --max-size 2147483648 --min-age 3600s --max-age 63072000s --all-renditions"
    );
    let error = config.peer("cdn").unwrap_err().to_string();
    assert!(
        error.contains("it knows master, spare, cdn.eu-1;"),
        "{error}"
    );
    let network = &config.network;
    let Proxy::At(proxy) = &network.proxy else {
        panic!("no proxy: {network:?}");
    };
    assert!(proxy.expose().ends_with("@proxy.example.org:3128/"));
    let ca = cdn.network.ca.as_ref().unwrap();
    assert_eq!(ca.path(), config.dir.join("../ca.pem"));
    assert_eq!(ca.certificates().len(), 1);
    events(config);
}

fn events(config: &Config) {
    let notify = &config.notify;
    let ping = notify.ping.as_ref().unwrap().expose();
    assert_eq!(ping, "https://monitor.example.org/planted");
    assert!(notify.webhook.is_some());
    assert_eq!(notify.command.as_deref(), Some("logger $EMSYNC_EVENT"));
    let pull = config.event("Pull data changes").unwrap();
    assert_eq!(pull.action, Action::Sync);
    assert_eq!(pull.peer.as_deref(), Some("spare"));
    assert_eq!(pull.when.to_string(), "every 1h 30m");
    assert_eq!(pull.start.unwrap().to_string(), "2026-12-01T02:30:00");
    assert_eq!(pull.window.unwrap().to_string(), "22:00-06:00");
    assert_eq!(pull.jitter, Duration::from_secs(300));
    assert_eq!(pull.max_transfer, Some(10 << 30));
    assert_eq!(pull.max_duration, Some(Duration::from_secs(6 * 3_600)));
    assert!(pull.ping.is_some() && !pull.makes_up && !pull.enabled);
    let proof = config.event("proof").unwrap();
    assert_eq!(proof.when.to_string(), "cron 0 7 * * Mon");
    assert!(proof.makes_up && proof.enabled && proof.peer.is_none());
    assert_eq!(proof.folder, None);
    let scans = config.event("scans").unwrap();
    let folder = Folder {
        dir: config.dir.join("../scans"),
        prefix: Some(MediaPath::new("archive/scans").unwrap()),
        thumbs: false,
    };
    assert_eq!(
        (scans.action, &scans.folder),
        (Action::Import, &Some(folder))
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

fn preset<'c>(config: &'c Config, id: &str) -> &'c Preset {
    let preset = config.media.presets.by_id(&PresetId::new(id));
    preset.unwrap_or_else(|| panic!("no preset {id}"))
}

/// A preset of which everything is said.
fn everything(preset: &Preset) {
    let text = |text: &str| Some(text.to_owned());
    let cut = Cut {
        gravity: Gravity::NorthEast,
        x: -3,
        y: 4,
        size: Some((400, 300)),
        is_before_scaling: true,
    };
    let expected = Preset {
        id: PresetId::new("everything"),
        guid: String::new(),
        inputs: Inputs::Of(vec![RenderType::Image, RenderType::Document]),
        transcoder: Transcoder::ImageMagick,
        file_name: "everything.jpg".to_owned(),
        page: 1,
        looked_up_as: "everything.jpg".to_owned(),
        is_name_stated: true,
        extension: "jpg".to_owned(),
        width: 800,
        height: 600,
        shape: Shape::Cut(cut),
        encoding: Encoding::Jpeg { quality: 81 },
        source: Source::Original,
        flatten: true,
        background: text("black"),
        sampling: text("4:4:4"),
        rotate: Some(-90),
        extent: Some(Extent {
            gravity: Gravity::NorthEast,
            width: 900,
            height: 700,
        }),
        dpi: Some(300),
        time_offset: text("2.5"),
        frame: None,
        colour_space: text("CMYK"),
        watermark: true,
        on_import: false,
        display: true,
        single_page: true,
        ordering: Some(7),
        use_original: true,
        output_render_type: None,
        parameters: std::collections::BTreeMap::new(),
    };
    assert_eq!(*preset, expected);
    assert!(!is_made_here(preset));
}

fn jpg(config: &Config) {
    assert_eq!(*config.media.presets, PresetTable::shipped(Shipped::Jpg));
}

/// EMDB's own set, the lists of `lists/` over it, and the sections over both.
fn presets(config: &Config) {
    let table = &config.media.presets;
    let names = table
        .renditions(None)
        .iter()
        .map(|preset| preset.file_name.as_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        [
            "image3000x3000.webp",
            "image550x550.webp",
            "image240x240.webp",
            "image110x62cropped.webp",
            "image128x128cropped.webp",
            "image90x60.jpg",
            "image1600x400cropped.webp",
        ]
    );
    let medium = preset(config, "webpmediumimage");
    let (quality, method) = (60, 6);
    assert_eq!(medium.encoding, Encoding::WebP { quality, method });
    assert_eq!(medium.sampling, None, "its row is deleted");
    let thumb = preset(config, "webpthumbimage");
    assert_eq!((thumb.ordering, thumb.on_import), (Some(115), true));
    assert_eq!(thumb.looked_up_as, "image240x240.webp");
    assert!(table.by_id(&PresetId::new("largeimage")).is_none());
    let square = preset(config, "square");
    assert_eq!(
        (square.shape, square.source),
        (Shape::Cut(Cut::CENTRE), Source::Large)
    );
    // A parameter without a value is passed over, and the first of the others by row id counts before any attribute.
    let plain = preset(config, "plain");
    assert_eq!((plain.width, plain.height), (90, 60));
    assert_eq!(plain.encoding, Encoding::Jpeg { quality: 80 });
    // Without gravity a cut begins at the top left.
    let crop = preset(config, "webpimagecrop");
    assert!(matches!(crop.shape, Shape::Cut(cut) if cut.gravity == Gravity::NorthWest));
    assert!(crop.on_import && is_made_here(crop));
    let banner = preset(config, "banner");
    assert_eq!(
        (banner.transcoder.as_str(), banner.flatten),
        ("imagemagick", false)
    );
}
