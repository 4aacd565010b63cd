//! What is set aside, held, missing or in the way of the disk reserve: seen by `why`, mended or given up by `quarantine`.

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use emsync::catalogue::{Conflict, Finding, Winner};
use emsync::model::{AssetId, FileKind, RecordKey, Sha256, Timestamp};
use emsync::pipeline::Error;
use emsync::pull;
use emsync::pull::metadata::Scope;
use emsync::store::{RealSys, Store, Sys};
use rustix::io::Result as SysResult;
use serde_json::{Value, json};

use crate::support::emdb::{Content, Doc, Emdb, KEY, Setup, asset_members};
use crate::support::node::Mirror;

const CLUSTER: &str = "node-a-cluster";
const MTIME: i64 = 1_772_201_000_000;

fn now() -> Timestamp {
    std::time::SystemTime::now().into()
}

fn doc(id: &str, path: &str, size: usize) -> Doc {
    doc_of(id, path, size, now())
}

fn doc_of(id: &str, path: &str, size: usize, modified: Timestamp) -> Doc {
    let members = asset_members(path, size, MTIME);
    Doc::new("asset", id, CLUSTER, modified, members)
}

fn add(content: &mut Content, id: &str, path: &str, bytes: &[u8]) {
    content.record(doc(id, path, bytes.len()));
    content.original(path, Bytes::copy_from_slice(bytes), MTIME);
}

/// Assets that were saved long ago, so that no listing of changes shows them again.
async fn server(assets: usize) -> Emdb {
    let emdb = Emdb::start(Setup::default()).await;
    let long_ago = now().minus(Duration::from_secs(3_600));
    emdb.edit(|content| {
        for n in 0..assets {
            let (path, bytes) = (format!("d/f{n:02}.bin"), format!("content {n}"));
            content.record(doc_of(&format!("a{n:02}"), &path, bytes.len(), long_ago));
            content.original(&path, Bytes::from(bytes), MTIME);
        }
    });
    emdb
}

async fn mirror_of(emdb: &Emdb) -> Mirror {
    Mirror::of(emdb.base(), KEY, Some(CLUSTER)).await
}

/// The built program on the mirror's configuration, beside this process.
fn emsync(mirror: &Mirror, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_emsync"));
    command
        .arg("--config")
        .arg(&mirror.node.config.file)
        .args(args);
    let ran = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        ran.status.code().unwrap(),
        text(ran.stdout),
        text(ran.stderr),
    )
}

#[track_caller]
fn why(mirror: &Mirror, id: &str, code: i32, says: &[&str]) -> String {
    let (ended, out, err) = emsync(mirror, &["why", id]);
    assert_eq!(ended, code, "why {id}\n{out}{err}");
    for word in says {
        assert!(out.contains(word), "why {id} does not say {word:?}:\n{out}");
    }
    out
}

fn quarantined(mirror: &Mirror) -> Vec<Value> {
    let (code, out, err) = emsync(mirror, &["quarantine", "list", "master", "--json"]);
    assert_eq!(code, 0, "{err}");
    out.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_set_aside_is_listed_retried_and_dropped() {
    let emdb = server(4).await;
    emdb.edit(|content| {
        content.remove_file("d/f00.bin");
        content.remove_file("d/f01.bin");
    });
    // Without an overlap, since whatever changed within it is listed again by any sync.
    let mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.overlap = Duration::ZERO;
    })
    .await;
    assert_eq!(mirror.run(Scope::Everything).await.report.quarantined, 2);
    let aside = quarantined(&mirror);
    assert_eq!(aside.len(), 2, "{aside:?}");
    assert_eq!(
        (&aside[0]["peer"], &aside[0]["subject"]),
        (&json!("master"), &json!("originals/d/f00.bin"))
    );
    assert!(
        aside[0]["attempts"].as_u64().unwrap() > 0
            && aside[0]["reason"].as_str().unwrap().contains("404")
    );
    why(
        &mirror,
        "a00",
        23,
        &[
            "SET ASIDE",
            "quarantine retry",
            "404",
            "although the record states one",
        ],
    );
    let (id, subject) = (
        aside[0]["id"].to_string(),
        aside[1]["subject"].as_str().unwrap(),
    );

    for deed in ["retry", "drop"] {
        let (code, out, _) = emsync(&mirror, &["quarantine", deed, &id, subject, "-n"]);
        assert_eq!((code, out.lines().count()), (0, 3), "{out}");
        assert_eq!(quarantined(&mirror), aside);
    }
    let (code, out, _) = emsync(&mirror, &["quarantine", "retry", &id]);
    assert!(code == 0 && out.contains("1 ready"), "{out}");
    why(&mirror, "a00", 0, &["WAITING, not tried yet"]);
    let (code, out, _) = emsync(
        &mirror,
        &["quarantine", "drop", subject, "--peer", "master"],
    );
    assert!(code == 0 && out.contains("is not here until"), "{out}");
    assert_eq!(quarantined(&mirror), Vec::<Value>::new());
    assert_eq!(emsync(&mirror, &["quarantine", "drop", subject]).0, 1);
    assert_eq!(
        emsync(
            &mirror,
            &["quarantine", "retry", "--all", "--peer", "nobody"]
        )
        .0,
        2
    );

    emdb.edit(|content| {
        content.original("d/f00.bin", Bytes::from_static(b"content 0"), MTIME);
        content.original("d/f01.bin", Bytes::from_static(b"content 1"), MTIME);
    });
    let again = mirror.sync().await;
    assert_eq!(
        (again.report.files_written, again.report.quarantined),
        (1, 0)
    );
    assert_eq!(
        mirror.read(FileKind::Original, "d/f00.bin").unwrap(),
        b"content 0"
    );
    assert_eq!(
        mirror.read(FileKind::Original, "d/f01.bin"),
        None,
        "a wish that was given up was fulfilled"
    );
    // Asked for everything, it is wished for again.
    assert_eq!(mirror.seed().await.report.files_written, 1);
    mirror.assert_in_sync().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn why_names_each_kind_of_trouble() {
    let emdb = server(30).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    why(
        &mirror,
        "a00",
        0,
        &[
            "nothing is wrong",
            "came from peer master",
            "owned by node-a-cluster",
            "never with master",
        ],
    );
    mirror.verify().await;
    why(&mirror, "a00", 0, &["in sync"]);
    assert_eq!(emsync(&mirror, &["why", "nobody"]).0, 1);
    assert_eq!(emsync(&mirror, &["why", "d/f99.bin"]).0, 1);

    // Disk and row: missing, another size, another time; found by id and by path.
    fs::remove_file(mirror.path(FileKind::Original, "d/f01.bin")).unwrap();
    why(
        &mirror,
        "originals/d/f01.bin",
        23,
        &["asset/a01", "MISSING"],
    );
    fs::write(mirror.path(FileKind::Original, "d/f02.bin"), "short").unwrap();
    why(
        &mirror,
        "d/f02.bin",
        23,
        &["asset/a02", "ON DISK 5 bytes, not 9"],
    );
    fs::write(mirror.path(FileKind::Original, "d/f03.bin"), "content 3").unwrap();
    why(&mirror, "asset/a03", 23, &["ON DISK dated"]);
    let (_, out, _) = emsync(&mirror, &["why", "a01", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&report["item"], &report["is_well"]),
        (&json!("asset/a01"), &json!(false))
    );
    let parity = mirror.verify().await;
    assert!(!parity.in_sync);
    why(&mirror, "a01", 23, &["originals: "]);

    // A finding and a conflict are explained, and no failure.
    let mut batch = mirror.node.catalogue.batch().await.unwrap();
    let finding = Finding {
        asset: AssetId::new("a04").unwrap(),
        content: Sha256::of(b"content 4"),
        reason: "no picture at all".to_owned(),
    };
    batch.put_finding(&finding, now()).await.unwrap();
    let conflict = Conflict {
        key: RecordKey::new("asset", "a04").unwrap(),
        peer: "master".to_owned(),
        at: now(),
        winner: Winner::Remote,
        local_source: "{}".to_owned(),
        remote_source: "{}".to_owned(),
    };
    batch.put_conflict(&conflict).await.unwrap();
    batch.commit().await.unwrap();
    why(
        &mirror,
        "a04",
        0,
        &["no picture at all", "the remote side was stored"],
    );

    // A delete: a tombstone, its maker, its file in the trash; then more of them than the guard lets go.
    emdb.edit(|content| content.record(doc("a05", "d/f05.bin", 9).deleted()));
    assert_eq!(mirror.sync().await.report.deleted, 1);
    let out = why(
        &mirror,
        "d/f05.bin",
        0,
        &[
            "a tombstone",
            "by node-a-cluster at",
            "deleted by its master",
            "trash restore",
        ],
    );
    assert!(out.contains("asset/a05"), "{out}");
    emdb.edit(|content| {
        for n in 6..30 {
            content.record(doc(&format!("a{n:02}"), &format!("d/f{n:02}.bin"), 9).deleted());
        }
    });
    assert_eq!(mirror.run(Scope::Changes).await.deletes.held, 24);
    why(
        &mirror,
        "a10",
        23,
        &["HELD by the delete guard", "--max-delete", "a delete waits"],
    );

    // A record that could not be taken.
    emdb.edit(|content| {
        let mut bad = doc("b00", "x.bin", 1);
        bad.source["sourcepath"] = json!("../../etc/passwd");
        content.record(bad);
    });
    mirror.run(Scope::Changes).await;
    why(&mirror, "asset/b00", 23, &["SET ASIDE", "mend the record"]);
    let (code, out, _) = emsync(&mirror, &["quarantine", "retry", "record:asset/b00"]);
    assert!(code == 0 && out.contains("emsync seed master"), "{out}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_lets_go_what_is_past_its_days() {
    let emdb = server(3).await;
    let mirror = mirror_of(&emdb).await;
    mirror.seed().await;
    for (n, left) in [(0, 1), (1, 1)] {
        emdb.edit(|content| {
            content.record(doc(&format!("a{n:02}"), &format!("d/f{n:02}.bin"), 9).deleted())
        });
        mirror.sync().await;
        let trash = mirror.node.store.root().join(".emsync/trash/originals");
        let slots: Vec<_> = fs::read_dir(&trash)
            .unwrap()
            .map(|slot| slot.unwrap().path())
            .collect();
        assert_eq!(
            slots.len(),
            left,
            "what is old enough stayed, or what is not went"
        );
        let old = trash.join("20200101T000000.000-0");
        fs::rename(&slots[0], old).unwrap();
    }
    mirror.sync().await;
    let (_, out, _) = emsync(&mirror, &["trash", "list"]);
    assert_eq!(out, "0 files, 0 B\n");
    assert_eq!(
        mirror.node.catalogue.former_of("a01", 0, 10).await.unwrap(),
        []
    );
}

/// A small disk: so many bytes are free, and every trashed byte that is destroyed gives one back.
#[derive(Debug)]
struct SmallDisk {
    free: AtomicU64,
}

impl Sys for SmallDisk {
    fn create(&self, dir: BorrowedFd<'_>, name: &str) -> SysResult<OwnedFd> {
        RealSys.create(dir, name)
    }
    fn write(&self, file: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> SysResult<()> {
        RealSys.write(file, bytes, offset)
    }
    fn truncate(&self, file: BorrowedFd<'_>, len: u64) -> SysResult<()> {
        RealSys.truncate(file, len)
    }
    fn set_modified(&self, file: BorrowedFd<'_>, modified: Timestamp) -> SysResult<()> {
        RealSys.set_modified(file, modified)
    }
    fn set_public(&self, file: BorrowedFd<'_>) -> SysResult<()> {
        RealSys.set_public(file)
    }
    fn sync_file(&self, file: BorrowedFd<'_>) -> SysResult<()> {
        RealSys.sync_file(file)
    }
    fn sync_all(&self, dir: BorrowedFd<'_>) -> SysResult<()> {
        RealSys.sync_all(dir)
    }
    fn sync_dir(&self, dir: BorrowedFd<'_>) -> SysResult<()> {
        RealSys.sync_dir(dir)
    }
    fn mkdir(&self, dir: BorrowedFd<'_>, name: &str) -> SysResult<()> {
        RealSys.mkdir(dir, name)
    }
    fn rmdir(&self, dir: BorrowedFd<'_>, name: &str) -> SysResult<()> {
        RealSys.rmdir(dir, name)
    }
    fn rename(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> SysResult<()> {
        RealSys.rename(from_dir, from, to_dir, to)
    }
    fn link(
        &self,
        from_dir: BorrowedFd<'_>,
        from: &str,
        to_dir: BorrowedFd<'_>,
        to: &str,
    ) -> SysResult<()> {
        RealSys.link(from_dir, from, to_dir, to)
    }
    fn unlink(&self, dir: BorrowedFd<'_>, name: &str) -> SysResult<()> {
        let stat = rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        RealSys.unlink(dir, name)?;
        if name.ends_with(".bin") {
            self.free
                .fetch_add(u64::try_from(stat.st_size).unwrap(), Ordering::SeqCst);
        }
        Ok(())
    }
    fn free_bytes(&self, _: BorrowedFd<'_>) -> SysResult<u64> {
        Ok(self.free.load(Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_trash_makes_room_for_the_reserve_and_never_in_vain() {
    const RESERVE: u64 = 1_000_000;
    let emdb = server(0).await;
    emdb.edit(|content| {
        for n in 0..3 {
            add(
                content,
                &format!("a{n:02}"),
                &format!("d/f{n:02}.bin"),
                &[n; 1_000],
            );
        }
    });
    let mut mirror = Mirror::with(emdb.base(), KEY, Some(CLUSTER), |config| {
        config.limits.reserve = RESERVE
    })
    .await;
    let disk = Arc::new(SmallDisk {
        free: AtomicU64::new(2 * RESERVE),
    });
    let catalog = mirror.node.config.node.catalog.clone();
    mirror.node.store = Store::open(mirror.node.store.root(), &catalog, disk.clone()).unwrap();
    mirror.seed().await;
    for n in 0..3 {
        emdb.edit(|content| {
            content.record(doc(&format!("a{n:02}"), &format!("d/f{n:02}.bin"), 1_000).deleted())
        });
        mirror.sync().await;
    }
    let trashed = |mirror: &Mirror| -> Vec<String> {
        let (_, out, _) = emsync(mirror, &["trash", "list", "--json"]);
        let paths = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        paths
            .map(|item| item["path"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(trashed(&mirror).len(), 3);

    // More is needed than all of the trash: it stays, and the run ends.
    emdb.edit(|content| add(content, "b00", "new.bin", &[9; 500]));
    disk.free.store(RESERVE - 5_000, Ordering::SeqCst);
    let outcome = mirror.run(Scope::Changes).await;
    assert!(
        matches!(
            outcome.error,
            Some(Error::Pull(pull::Error::Reserve { .. }))
        ),
        "{:?}",
        outcome.error
    );
    assert_eq!(trashed(&mirror).len(), 3, "the trash went in vain");

    // The oldest one and the one after it are enough.
    disk.free.store(RESERVE - 1_001, Ordering::SeqCst);
    mirror = mirror.restarted();
    mirror.sync().await;
    assert_eq!(
        mirror.read(FileKind::Original, "new.bin").unwrap(),
        [9; 500]
    );
    assert_eq!(trashed(&mirror), ["d/f02.bin"]);
    let findings = mirror.monitor.seen().findings;
    assert!(
        findings.iter().any(|text| text.contains("limits.reserve")),
        "{findings:?}"
    );
    assert_eq!(mirror.set_aside().await, Vec::<String>::new());
}
