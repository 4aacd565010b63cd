//! Originals and generated files.

use std::fs::OpenOptions;

use super::{Running, start};
use crate::model::{AssetId, FileKind, MediaFile};
use crate::protocol::wire_path;
use crate::seams::Clock as _;

const DOWNLOADS: &str = "/assets/mediadb/services/module/asset/downloads";

async fn ten(node: &Running) -> (String, String) {
    let file = node
        .publish(FileKind::Original, "Port/a.jpg", b"0123456789")
        .await;
    let tag = format!("\"{}\"", file.sha256);
    (format!("{DOWNLOADS}/originals/Port/a.jpg/a.jpg"), tag)
}

#[tokio::test]
async fn an_original_is_found_with_one_slash_or_two() {
    let node = start().await;
    let (path, tag) = ten(&node).await;
    for path in [
        path,
        format!("{DOWNLOADS}/originals//Port/a.jpg/other.name"),
    ] {
        for method in ["GET", "POST"] {
            let reply = node.ask(method, &path, "", "").await;
            assert_eq!((reply.status, &reply.body[..]), (200, &b"0123456789"[..]));
            for (name, value) in [
                ("content-length", "10"),
                ("etag", tag.as_str()),
                ("last-modified", "Sun, 01 Mar 2026 09:41:07 GMT"),
                ("accept-ranges", "bytes"),
                ("content-type", "application/octet-stream"),
                ("content-disposition", "attachment"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(reply.header(name), Some(value), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn a_generated_file_comes_by_get_and_by_emdbs_post_with_its_form() {
    let node = start().await;
    node.publish(
        FileKind::Generated,
        "Port/a.jpg/image1024x768.webp",
        b"small",
    )
    .await;
    let service = "module/asset/downloads/generatedpreview/Port/a.jpg/image1024x768.webp/x.webp";
    let posted = node
        .post(service, "lastpullago=5&sincedate=2026-03-01")
        .await;
    let got = node
        .get(&format!("/assets/mediadb/services/{service}"))
        .await;
    for reply in [posted, got] {
        assert_eq!((reply.status, &reply.body[..]), (200, &b"small"[..]));
        assert_eq!(reply.header("content-type"), Some("image/webp"));
        assert_eq!(reply.header("content-disposition"), None);
    }
    let page = node
        .publish(FileKind::Generated, "Port/a.jpg/x.html", b"<p>")
        .await;
    let reply = node
        .get(&format!("/assets/{}", wire_path::generated_url(&page.path)))
        .await;
    assert_eq!(
        reply.header("content-type"),
        Some("application/octet-stream")
    );
}

#[tokio::test]
async fn awkward_names_are_served_byte_for_byte() {
    let node = start().await;
    for (n, name) in [
        "R&D (2024)/odd name #7 100%~a+b.jpg",
        "a%2Fb%00.jpg",
        "what?.jpg",
        "\"quoted\" 'twice'.jpg",
        "caf\u{e9}.jpg",
        "cafe\u{301}.jpg",
        "line\nbreak.jpg",
        "semi;colon=1.jpg",
        "\u{1f600}\\.json",
    ]
    .into_iter()
    .enumerate()
    {
        let content = format!("content {n}");
        let file = node
            .publish(FileKind::Original, name, content.as_bytes())
            .await;
        let reply = node
            .get(&format!("/assets/{}", wire_path::original_url(&file.path)))
            .await;
        assert_eq!(
            (reply.status, reply.body),
            (200, content.into_bytes()),
            "{name}"
        );
    }
}

/// Two assets with a file of one name, the second of which lies elsewhere: each is found by its name and its asset.
#[tokio::test]
async fn of_two_files_of_one_name_the_header_says_which() {
    let node = start().await;
    let first = node
        .publish(FileKind::Original, "Port/a.jpg", b"first")
        .await;
    let place = node
        .publish(FileKind::Original, "Port/a~1.jpg", b"second")
        .await;
    let second = MediaFile {
        path: first.path.clone(),
        asset: AssetId::new("a/2 \u{e9}").unwrap(),
        ..place.clone()
    };
    let mut batch = node.catalogue.batch().await.unwrap();
    let later = node.clock.now().plus(std::time::Duration::from_secs(1));
    batch
        .put_file(&second.at(place.path.clone()), later)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let url = format!("/assets/{}", wire_path::original_url(&first.path));
    let asset = wire_path::asset_to_header(&AssetId::new("a/2 \u{e9}").unwrap());
    for (header, body) in [
        (String::new(), &b"first"[..]),
        ("x-emsync-asset: a1\r\n".to_owned(), b"first"),
        (format!("X-Emsync-Asset: {asset}\r\n"), b"second"),
        ("x-emsync-asset: nobody\r\n".to_owned(), b"first"),
        ("x-emsync-asset: %zz\r\n".to_owned(), b"first"),
    ] {
        let reply = node.ask("GET", &url, &header, "").await;
        assert_eq!((reply.status, &reply.body[..]), (200, body), "{header:?}");
    }
    // A place is no name.
    let url = format!("/assets/{}", wire_path::original_url(&place.path));
    assert_eq!(node.get(&url).await.status, 404);
}

#[tokio::test]
async fn ranges_are_answered_with_their_bytes() {
    let node = start().await;
    let (path, tag) = ten(&node).await;
    let ranged = async |lines: &str| node.ask("GET", &path, lines, "").await;
    for (range, body, stated) in [
        ("bytes=4-", &b"456789"[..], "bytes 4-9/10"),
        ("bytes=2-3", b"23", "bytes 2-3/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ] {
        let reply = ranged(&format!("Range: {range}\r\n")).await;
        assert_eq!((reply.status, &reply.body[..]), (206, body), "{range}");
        assert_eq!(reply.header("content-range"), Some(stated));
        assert_eq!(
            reply.header("content-length"),
            Some(body.len().to_string().as_str())
        );
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
    }
    let beyond = ranged("Range: bytes=10-\r\n").await;
    beyond.assert_empty(416);
    assert_eq!(beyond.header("content-range"), Some("bytes */10"));
    assert_eq!(ranged("Range: bytes=0-1,4-5\r\n").await.status, 200);
    let same = ranged(&format!("Range: bytes=4-\r\nIf-Range: {tag}\r\n")).await;
    assert_eq!(same.status, 206);
    let changed = ranged("Range: bytes=4-\r\nIf-Range: \"other\"\r\n").await;
    assert_eq!((changed.status, changed.body.len()), (200, 10));
}

#[tokio::test]
async fn a_replaced_file_has_another_tag_and_a_range_of_the_old_one_brings_it_whole() {
    let node = start().await;
    let (path, tag) = ten(&node).await;
    node.publish(FileKind::Original, "Port/a.jpg", b"abcdefghij")
        .await;
    let lines = format!("Range: bytes=4-\r\nIf-Range: {tag}\r\nIf-None-Match: {tag}\r\n");
    let reply = node.ask("GET", &path, &lines, "").await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"abcdefghij"[..]));
    assert_ne!(reply.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn a_known_version_is_not_sent_again() {
    let node = start().await;
    let (path, tag) = ten(&node).await;
    for lines in [
        format!("If-None-Match: {tag}\r\n"),
        format!("If-None-Match: \"x\"\r\nIf-None-Match: W/{tag}\r\n"),
        "If-None-Match: *\r\n".to_owned(),
        "If-Modified-Since: Sun, 01 Mar 2026 09:41:07 GMT\r\n".to_owned(),
    ] {
        let reply = node.ask("GET", &path, &lines, "").await;
        assert_eq!((reply.status, reply.body.len()), (304, 0), "{lines}");
        assert_eq!(reply.header("etag"), Some(tag.as_str()));
    }
    let other = node.ask("GET", &path, "If-None-Match: \"x\"\r\n", "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn head_tells_everything_and_sends_nothing() {
    let node = start().await;
    let (path, tag) = ten(&node).await;
    let reply = node.ask("HEAD", &path, "Range: bytes=4-\r\n", "").await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert_eq!(reply.header("content-length"), Some("10"));
    assert_eq!(reply.header("etag"), Some(tag.as_str()));
}

#[tokio::test]
async fn an_empty_file_is_served_as_one() {
    let node = start().await;
    node.publish(FileKind::Original, "empty", b"").await;
    let path = format!("{DOWNLOADS}/originals/empty/empty");
    node.get(&path).await.assert_empty(200);
    let ranged = node.ask("GET", &path, "Range: bytes=0-\r\n", "").await;
    ranged.assert_empty(416);
}

#[tokio::test]
async fn a_file_that_is_not_the_recorded_one_is_not_served() {
    let node = start().await;
    let (path, _) = ten(&node).await;
    let cut = node
        .publish(FileKind::Original, "cut.jpg", b"0123456789")
        .await;
    let on_disk = OpenOptions::new()
        .write(true)
        .open(node.on_disk(&cut))
        .unwrap();
    on_disk.set_len(4).unwrap();
    let url = format!("{DOWNLOADS}/originals/cut.jpg/cut.jpg");
    node.get(&url).await.assert_empty(404);
    let ranged = node.ask("GET", &url, "Range: bytes=0-3\r\n", "").await;
    ranged.assert_empty(404);
    std::fs::remove_file(node.on_disk(&cut)).unwrap();
    node.get(&url).await.assert_empty(404);
    std::os::unix::fs::symlink("Port/a.jpg", node.on_disk(&cut)).unwrap();
    node.get(&url).await.assert_empty(404);
    assert_eq!(node.get(&path).await.status, 200);
}

#[tokio::test]
async fn a_large_file_arrives_whole_and_in_part() {
    let node = start().await;
    let content: Vec<u8> = (0_u32..300_000).flat_map(u32::to_le_bytes).collect();
    node.publish(FileKind::Original, "large.bin", &content)
        .await;
    let path = format!("{DOWNLOADS}/originals/large.bin/x");
    assert!(node.get(&path).await.body == content);
    let part = node
        .ask("GET", &path, "Range: bytes=600001-900000\r\n", "")
        .await;
    assert!(part.body == content[600_001..=900_000]);
}

#[tokio::test]
async fn what_leads_elsewhere_is_not_there() {
    let node = start().await;
    let (_, _) = ten(&node).await;
    node.publish(FileKind::Original, "Port/.versions/1~a.jpg", b"old")
        .await;
    for below in [
        "originals/Port/absent.jpg/x",
        "originals/Port/x",
        "originals/../../../emsync.db/x",
        "originals/%2e%2e/%2e%2e/%2e%2e/emsync.db/x",
        "originals/Port/%2e%2e/Port/a.jpg/x",
        "originals/..%2f..%2femsync.db/x",
        "originals//etc/passwd/x",
        "originals/%2Fetc%2Fpasswd/x",
        "originals/Port/a.jpg%00/x",
        "originals/Port/a.jpg%00.png/x",
        "originals/Port/.versions/1~a.jpg/x",
        "originals/.emsync/root.json/x",
        "generatedpreview/Port/a.jpg/x",
        "preset/Port/a.jpg/x.webp",
    ] {
        node.get(&format!("{DOWNLOADS}/{below}"))
            .await
            .assert_empty(404);
    }
}
