//! Symbolic links planted on our disk, wherever a file of ours has to pass: none is followed, none is replaced by what it
//! leads to, and what cannot be placed says so.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

/// Assets whose originals have to pass a link, by the link's place below `originals/`.
fn passing(sentinel: &Path) -> Vec<(&'static str, PathBuf, String)> {
    let inside = sentinel.to_str().unwrap().trim_start_matches('/');
    vec![
        ("final.bin", sentinel.join("secret"), "final.bin".to_owned()),
        (
            "dangling.bin",
            sentinel.join("new.bin"),
            "dangling.bin".to_owned(),
        ),
        ("self.bin", "self.bin".into(), "self.bin".to_owned()),
        (
            "to-folder",
            sentinel.join("folder"),
            "to-folder/x.bin".to_owned(),
        ),
        (
            "to-nothing",
            sentinel.join("nothing"),
            "to-nothing/x.bin".to_owned(),
        ),
        ("to-root", "/".into(), format!("to-root/{inside}/x.bin")),
        ("up", "../../../../sentinel".into(), "up/x.bin".to_owned()),
        ("beside", "../generated".into(), "beside/x.bin".to_owned()),
        (
            "deep/er/link",
            sentinel.to_owned(),
            "deep/er/link/folder/x.bin".to_owned(),
        ),
        (
            "folder-as-file.bin",
            sentinel.join("folder"),
            "folder-as-file.bin".to_owned(),
        ),
    ]
}

fn link(root: &Path, at: &str, to: &Path) {
    let at = root.join(at);
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    symlink(to, at).unwrap();
}

async fn planted_links_lead_nowhere(names: Names) {
    let emdb = Emdb::start(Setup::default()).await;
    let mirror = mirror_of(&emdb, names).await;
    let outside = Outside::of(&mirror);
    let root = mirror.node.config.media.root.clone();
    let sentinel = root.with_file_name(SENTINEL);
    let catalog = root.join(mirror.node.config.node.catalog.as_str());
    let mut listed = Vec::new();
    for (n, (at, to, path)) in passing(&sentinel).into_iter().enumerate() {
        link(&catalog.join("originals"), at, &to);
        let id = format!("link-{n}");
        let size = format!("{id} originals {path}").len();
        let files = vec![(FileKind::Original, path.clone())];
        listed.push(emdb.edit(|content| put(content, &id, members(&path, size), files)));
    }
    // Renditions through a link, in our own corner, and one that must still work beside them all.
    link(
        &catalog.join("generated"),
        "thumbs.bin",
        &sentinel.join("folder"),
    );
    link(
        &catalog.join("generated"),
        "fine.bin/final.webp",
        &sentinel.join("secret"),
    );
    link(&root.join(".emsync"), "staging/stray", &sentinel);
    link(&root.join(".emsync"), "trash/generated", &sentinel);
    for (id, name) in [
        ("thumbs", "x.bin"),
        ("fine", "final.webp"),
        ("free", "x.webp"),
    ] {
        let path = format!("{id}.bin");
        let size = format!("{id} originals {path}").len();
        let files = vec![
            (FileKind::Original, path.clone()),
            (FileKind::Generated, format!("{path}/{name}")),
        ];
        listed.push(emdb.edit(|content| put(content, id, members(&path, size), files)));
    }
    mirror.seed().await;
    mirror.sync().await;
    mirror.verify().await;
    outside.assert_untouched();
    let rows = rows(&mirror).await;
    let tally = assert_accounted(&mirror, &listed, &rows, &aside(&mirror).await);
    assert_eq!(tally.here, 4, "{:?}", mirror.set_aside().await);
    assert_eq!(tally.refused, listed.len() + 3 - 4);
    replacing_through_a_link(&emdb, &mirror, &outside).await;
    say(&format!(
        "planted {names:?}: {} links in the way, {} files refused, {} beside them here; 0 outside the root",
        passing(&sentinel).len() + 4,
        tally.refused,
        tally.here
    ));
}

/// What is replaced is kept in the trash; a link in place of the trash must not lead it out.
async fn replacing_through_a_link(emdb: &Emdb, mirror: &Mirror, outside: &Outside) {
    let trash = mirror
        .node
        .config
        .media
        .root
        .join(".emsync/trash/originals");
    let _ = fs::remove_dir_all(&trash);
    symlink(outside.beside.join(SENTINEL), &trash).unwrap();
    let newer = MTIME + 60_000;
    let mut stated = members("free.bin", 5);
    stated["assetmodificationdate"] = json!(Timestamp::from_millis(newer).to_string());
    let now = Timestamp::from(std::time::SystemTime::now());
    emdb.edit(|content| {
        content.record(Doc::new("asset", "free", CLUSTER, now, stated));
        content.original("free.bin", "newer", newer);
    });
    mirror.sync().await;
    outside.assert_untouched();
    assert_eq!(
        mirror.read(FileKind::Original, "free.bin").unwrap(),
        b"free originals free.bin"
    );
    assert!(aside(mirror).await.contains_key("free"));
    fs::remove_file(&trash).unwrap();
    mirror.sync().await;
    assert_eq!(
        mirror.read(FileKind::Original, "free.bin").unwrap(),
        b"newer"
    );
    outside.assert_untouched();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_lead_nowhere_where_names_are_bytes() {
    planted_links_lead_nowhere(Names::Auto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn planted_links_lead_nowhere_where_names_must_be_portable() {
    planted_links_lead_nowhere(Names::Portable).await;
}

/// The directory that downloads are staged in is itself a link: the run stops, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_in_place_of_staging_stops_the_run() {
    let emdb = Emdb::start(Setup::default()).await;
    emdb.edit(|content| {
        let files = vec![(FileKind::Original, "a.bin".to_owned())];
        put(
            content,
            "a",
            members("a.bin", "a originals a.bin".len()),
            files,
        )
    });
    let mirror = mirror_of(&emdb, Names::Auto).await;
    let outside = Outside::of(&mirror);
    let staging = mirror.node.config.media.root.join(".emsync/staging");
    let away = staging.with_file_name("staging-away");
    fs::rename(&staging, &away).unwrap();
    symlink(outside.beside.join(SENTINEL), &staging).unwrap();
    let options = emsync::pipeline::Options::of(emsync::pull::metadata::Scope::Everything);
    let run = |mirror: &Mirror| {
        let (node, peer, monitor, stop) = (
            mirror.node.clone(),
            mirror.peer(),
            mirror.monitor.clone(),
            mirror.shutdown.clone(),
        );
        async move { emsync::pipeline::sync_peer(&node, &peer, options, monitor, &stop).await }
    };
    let ended = run(&mirror).await;
    assert!(
        ended.is_err() || ended.is_ok_and(|outcome| outcome.error.is_some()),
        "the run did not stop"
    );
    outside.assert_untouched();
    fs::remove_file(&staging).unwrap();
    fs::rename(&away, &staging).unwrap();
    let mirror = mirror.restarted();
    mirror.seed().await;
    mirror.assert_in_sync().await;
    outside.assert_untouched();
}
