//! What README tells people to type when an EMDB is lost, empty or comes back, done step by step: the real program, and an EMDB as it
//! behaves on the wire.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use emsync::model::FileKind;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, File, KEY, Peer, Setup, asset_members};
use crate::support::fault::Fault;
use crate::support::program::{Program, Serving};

const FORMER: &str = "dam-0001";
const MTIME: i64 = 1_772_201_000_000;
const ORIGINALS: [(&str, &[u8]); 3] = [
    ("Port/a.bin", b"the first original"),
    ("Port/b.bin", b"the second, which is another"),
    ("Port/deep/c.bin", b"the third"),
];

/// A mirror of an EMDB, which has the media of that.
struct Place {
    emdb: Emdb,
    mirror: Program,
    dir: tempfile::TempDir,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let emdb = Emdb::start_as(Setup::default(), FORMER).await;
        let saved = emdb.now().minus(Duration::from_secs(3_600));
        emdb.edit(|content| {
            let sea = json!({ "name": "Sea", "categorypath": "Index/Sea" });
            content.record(Doc::new("category", "sea", FORMER, saved, sea));
            for (n, (path, bytes)) in ORIGINALS.into_iter().enumerate() {
                let members = asset_members(path, bytes.len(), MTIME);
                content.record(Doc::new("asset", &format!("a{n}"), FORMER, saved, members));
                content.original(path, bytes, MTIME);
                let small = format!("{path}/image200x200.webp");
                content.generated(&small, format!("small {n}"), MTIME + 1_000);
            }
        });
        let mirror = Program::init(&dir.path().join("r"), "mirror-0001");
        mirror.limit("retry_base = \"5ms\"\nretry_cap = \"20ms\"\nattempts = 2");
        let place = Self { emdb, mirror, dir };
        place.add_peer("dam", &place.emdb, &[]);
        place.mirror.run(&["seed", "dam"]).well();
        place
    }

    /// `emsync peer add NAME --url … --cluster-id … --key-file …`
    fn add_peer(&self, name: &str, emdb: &Emdb, more: &[&str]) {
        let file = self.dir.path().join(format!("{name}.key"));
        fs::write(&file, KEY).unwrap();
        let file = file.to_str().unwrap();
        let add = ["peer", "add", name, "--url", emdb.base()];
        let who = ["--cluster-id", emdb.own(), "--key-file", file];
        self.mirror.run(&[&add[..], &who, more].concat()).well();
    }

    /// An EMDB with the mirror in its `editingcluster`; the key bears the EMDB's name.
    fn pulls(&self, emdb: &Emdb, name: &str, serving: &Serving) -> crate::support::emdb::Client {
        let key = self.mirror.run(&["key", "add", name]).well().stdout;
        let peer = Peer::pulled(&serving.url, key.trim(), "mirror-0001");
        emdb.client(peer)
    }
}

/// Contents by path.
fn bytes(files: &BTreeMap<String, File>) -> BTreeMap<String, Vec<u8>> {
    let files = files.iter();
    files
        .map(|(path, file)| (path.clone(), file.bytes.to_vec()))
        .collect()
}

/// The live assets and categories of an EMDB, without what tells who saved them.
fn records(content: &Content) -> BTreeMap<String, Value> {
    let live = content.docs.iter().filter(|doc| {
        let is_ours = matches!(doc.module.as_str(), "asset" | "category");
        is_ours && doc.source["emrecordstatus"]["recorddeleted"] != true
    });
    let plain = |doc: &Doc| {
        let mut source = doc.source.clone();
        let members = source.as_object_mut().unwrap();
        members.remove("emrecordstatus");
        members.remove("recordmodificationdate");
        (format!("{}/{}", doc.module, doc.id), source)
    };
    live.map(plain).collect()
}

#[track_caller]
fn assert_same(one: &Emdb, other: &Emdb) {
    let all = |emdb: &Emdb| {
        emdb.refresh();
        emdb.edit(|content| {
            let trees = [&content.originals, &content.generated].map(bytes);
            (records(content), trees)
        })
    };
    let (one, other) = (all(one), all(other));
    assert_eq!(one.0, other.0);
    for (one, other) in one.1.into_iter().zip(other.1) {
        assert_eq!(one, other);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn howto_refill_an_empty_emdb() {
    let place = Place::new().await;
    // Let it pull.
    let serving = place.mirror.serve("127.0.0.1:0");
    let pulling = Emdb::start_as(Setup::default(), "pulling-0001").await;
    let client = place.pulls(&pulling, "pulling", &serving);
    client.whole_history();
    for ran in client.all().await {
        assert_eq!((&ran.error, &ran.skipped), (&None, &Vec::new()), "{ran:?}");
    }
    assert_same(&place.emdb, &pulling);

    // Or have it pushed to, which is cut short once and goes on.
    let pushed = Emdb::start_as(Setup::default(), "pushed-0001").await;
    place.add_peer("pushed", &pushed, &["--push"]);
    pushed
        .faults()
        .always("uploadfile", Fault::Unavailable(None));
    let cut = place.mirror.run(&["push", "pushed", "--full"]);
    assert!(matches!(cut.code, Some(5 | 23)), "{cut:?}");
    pushed.faults().clear();
    place.mirror.run(&["push", "pushed", "--full"]).well();
    assert_same(&place.emdb, &pushed);
    // What is there already costs no bytes.
    let before = pushed.requests("uploadfile").len();
    place.mirror.run(&["push", "pushed", "--full"]).well();
    assert_eq!(pushed.requests("uploadfile").len(), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_emdb_master_saved_is_kept_before_it_is_overwritten() {
    let place = Place::new().await;
    let (emdb, mirror) = (&place.emdb, &place.mirror);
    // It can only be known by its key when it comes back, so whoever takes its place hears of that before and after.
    let named = "`emsync key add dam`";
    let check = mirror.run(&["promote", "dam", "--check"]).stdout;
    let done = mirror.run(&["promote", "dam", "--force"]).well().stdout;
    for said in [&check, &done] {
        assert!(
            said.contains("no key here is named dam") && said.contains(named),
            "{said}"
        );
    }
    let why = mirror.run(&["why", "a1"]).stdout;
    for said in [
        "this node took the place of",
        "what dam saved since its place was taken is not known here",
        "`emsync pull dam` hears it",
    ] {
        assert!(why.contains(said), "{why}");
    }
    let put = |headline: &str| {
        let set = format!("headline={headline}");
        mirror
            .run(&["record", "put", "asset", "a0", "--set", &set])
            .well();
    };
    put("from the new master");
    // Its users go on working on the former master, which is thought lost.
    let edit = |id: &str, headline: &str| {
        let now = emdb.now();
        emdb.edit(|content| {
            content.save(FORMER, now, ("asset", id), false, |source| {
                source["headline"] = json!(headline);
            });
        });
    };
    let headline = |id: &str| {
        emdb.refresh();
        emdb.edit(|content| content.doc("asset", id).unwrap().source["headline"].clone())
    };
    let kept = || mirror.run(&["conflicts", "list", "--json"]).well().stdout;
    edit("a0", "saved there meanwhile");
    edit("a1", "saved there, too");

    // It asks before this node has heard of that: it gets nothing, and asks for the same window again.
    let serving = mirror.serve("127.0.0.1:0");
    let client = place.pulls(emdb, "dam", &serving);
    client.whole_history();
    for ran in client.all().await {
        assert!(ran.error.is_some() && ran.listed == 0, "{ran:?}");
    }
    assert_eq!(headline("a0"), "saved there meanwhile");
    mirror.run(&["pull", "dam"]).well();
    for lost in ["saved there meanwhile", "saved there, too"] {
        assert!(kept().contains(lost), "{lost:?}: {}", kept());
    }
    let why = mirror.run(&["why", "a1"]).stdout;
    assert!(!why.contains("is not known here"), "{why}");
    let check = mirror.run(&["promote", "dam", "--check"]).stdout;
    assert!(!check.contains("no key here is named"), "{check}");
    for ran in client.all().await {
        assert_eq!(ran.error, None, "{ran:?}");
    }
    assert_eq!(
        (headline("a0"), headline("a1")),
        (json!("from the new master"), Value::Null)
    );
    // Now that it lists what this node has, what it saves counts again.
    mirror.run(&["pull", "dam"]).well();
    edit("a2", "counts again");
    mirror.run(&["pull", "dam"]).well();
    let there = mirror.run(&["record", "get", "asset", "a2"]).well().json();
    assert_eq!(there["headline"], "counts again");
    let files = mirror.files();
    let originals = files.keys().filter(|(kind, _)| *kind == FileKind::Original);
    assert_eq!(originals.count(), ORIGINALS.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_over_a_former_master_hears_it_first_and_sends_nothing_where_it_cannot() {
    let place = Place::new().await;
    let (emdb, mirror) = (&place.emdb, &place.mirror);
    mirror.run(&["promote", "dam", "--force"]).well();
    let set = [
        "record",
        "put",
        "asset",
        "a0",
        "--set",
        "headline=from the new master",
    ];
    mirror.run(&set).well();
    let now = emdb.now();
    emdb.edit(|content| {
        content.save(FORMER, now, ("asset", "a0"), false, |source| {
            source["headline"] = json!("saved there meanwhile");
        });
    });
    let settings = mirror.dir().join("emsync.toml");
    let text = fs::read_to_string(&settings).unwrap();
    let pushing = text.replace("name = \"dam\"", "name = \"dam\"\npush = true");
    assert_ne!(text, pushing);
    fs::write(&settings, pushing).unwrap();
    emdb.faults()
        .always("listalldocs", Fault::Unavailable(None));
    assert_ne!(mirror.run(&["push", "dam"]).code, Some(0));
    assert!(emdb.requests("receive").is_empty());
    emdb.faults().clear();
    mirror.run(&["push", "dam"]).well();
    let kept = mirror.run(&["conflicts", "list", "--json"]).well().stdout;
    assert!(kept.contains("saved there meanwhile"), "{kept}");
    emdb.refresh();
    let headline =
        emdb.edit(|content| content.doc("asset", "a0").unwrap().source["headline"].clone());
    assert_eq!(headline, "from the new master");
}
