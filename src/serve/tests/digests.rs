//! What a node tells of its listing is what it lists.

use super::*;
use crate::protocol::digests::{
    Asked, Item, Level, TAGS_A_REQUEST, Tag, parse_children, parse_items, parse_tables, parse_tags,
};

const EVER: i64 = NOW + 86_400_000;
const DIGESTS: &str = "cluster/emsyncdigest.json";

async fn ask(node: &Running, question: &Asked) -> Reply {
    node.post(DIGESTS, &question.form_encode()).await
}

/// All items of a table, by way of its groups and spans.
async fn items(node: &Running, table: &Module, tag: Tag) -> Vec<Item> {
    let groups = parse_tags(&ask(node, &Asked::Groups(table.clone())).await.body).unwrap();
    assert_eq!(Tag::over(Level::Table, &groups), tag);
    let below = async |level, of: Vec<Tag>| {
        let number = of.len();
        let reply = ask(node, &Asked::Below(table.clone(), level, of.clone())).await;
        let lists = parse_children(&reply.body, number).unwrap();
        let lists: Vec<_> = lists.into_iter().map(Option::unwrap).collect();
        for (tag, list) in of.iter().zip(&lists) {
            assert_eq!(Tag::over(level, list), *tag);
        }
        lists
    };
    let spans = below(Level::Group, groups).await.concat();
    let tags = below(Level::Span, spans.clone()).await;
    let pairs: Vec<_> = spans
        .iter()
        .zip(tags)
        .flat_map(|(span, tags)| tags.into_iter().map(|tag| (*span, tag)))
        .collect();
    let reply = ask(node, &Asked::Items(table.clone(), pairs.clone())).await;
    let items = parse_items(&reply.body, pairs.len()).unwrap();
    let items: Vec<_> = items.into_iter().map(Option::unwrap).collect();
    for ((_, tag), item) in pairs.iter().zip(&items) {
        assert_eq!(item.tag(), *tag);
    }
    items
}

/// What a listing names of one record, as a client reads it.
type Named = (String, bool, Sha256, Vec<crate::model::ListedFile>);

async fn listed(node: &Running) -> Vec<Named> {
    let first = node.first(EVER).await;
    let (session, pages) = (first.head.session.clone(), first.head.pages);
    let mut named = Vec::new();
    let mut page = first;
    for next in 2.. {
        for record in page.records.iter().map(|record| record.as_ref().unwrap()) {
            let of_asset = page
                .files
                .iter()
                .find(|files| record.key.module.is_asset() && files.asset == record.key.id);
            let mut files = Vec::new();
            if let Some(of_asset) = of_asset {
                let originals = of_asset.originals.iter().flatten();
                let all = originals.chain(&of_asset.files);
                files.extend(all.map(|file| file.clone().unwrap()));
            }
            files.sort_by(|a, b| (a.kind, &a.path).cmp(&(b.kind, &b.path)));
            named.push((
                record.key.to_string(),
                record.is_deleted(),
                record.content,
                files,
            ));
        }
        if next > pages {
            return named;
        }
        page = node.later(&session, next).await;
    }
    unreachable!("the last page returns")
}

#[tokio::test]
async fn items_are_what_the_listing_names() {
    let node = start().await;
    let mut records = assets(80);
    records.push(asset("a1", "Port/harbour.jpg"));
    records.push(record("asset", "gone", true, json!({ "sourcepath": "x" })));
    records.push(record(
        "asset",
        "nowhere",
        false,
        json!({ "sourcepath": "../x" }),
    ));
    records.push(record("library", "l1", false, json!({})));
    records.push(record("user", "u1", false, json!({})));
    let mut bare = record("library", "l2", false, json!({}));
    bare.status = None;
    records.push(bare);
    node.put(&records).await;
    for (kind, path) in [
        (FileKind::Original, "Port/harbour.jpg"),
        (FileKind::Original, "Port/.versions/harbour.jpg"),
        (FileKind::Generated, "Port/harbour.jpg/x.webp"),
        (FileKind::Generated, "Elsewhere/x.webp"),
    ] {
        node.publish(kind, path, b"bytes").await;
    }
    for (n, asset) in ["gone", "nowhere", "without", "n003"]
        .into_iter()
        .enumerate()
    {
        let file = MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(format!("of/{n}")).unwrap(),
            place: None,
            asset: AssetId::new(asset).unwrap(),
            size: 1,
            modified: Timestamp::from_millis(7),
            sha256: Sha256::of(b"x"),
            md5: Some(crate::model::Md5::from_bytes([7; 16])),
            authored: false,
            fingerprint: None,
        };
        let mut batch = node.catalogue.batch().await.unwrap();
        batch.put_file(&file, node.clock.now()).await.unwrap();
        batch.commit().await.unwrap();
    }
    let mut told = Vec::new();
    for (table, tag) in parse_tables(&ask(&node, &Asked::Tables).await.body).unwrap() {
        told.extend(items(&node, &table, tag).await);
    }
    assert_eq!(
        told.iter().filter(|item| item.unusable.is_some()).count(),
        1
    );
    let told: Vec<Named> = (told.into_iter())
        .map(|item| (item.key.to_string(), item.deleted, item.content, item.files))
        .collect();
    let listed = listed(&node).await;
    assert_eq!(
        listed.iter().map(|(.., files)| files.len()).sum::<usize>(),
        3
    );
    assert_eq!(told, listed);
}

#[tokio::test]
async fn withheld_tables_are_not_there_and_questions_are_bounded() {
    let node = start().await;
    node.put(&[record("user", "u1", false, json!({})), asset("a1", "x")])
        .await;
    let tables = parse_tables(&ask(&node, &Asked::Tables).await.body).unwrap();
    let names: Vec<_> = tables.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(names, ["asset"]);
    let user = || Module::new("user").unwrap();
    let tag = Tag::from_bytes([1; 16]);
    for question in [
        Asked::Groups(user()),
        Asked::Below(user(), Level::Group, vec![tag]),
        Asked::Below(user(), Level::Span, vec![tag]),
        Asked::Items(user(), vec![(tag, tag)]),
    ] {
        assert_eq!(ask(&node, &question).await.status, 404, "{question:?}");
    }
    // What is not known (any more) is said to be so.
    let asset = Module::asset();
    for level in [Level::Group, Level::Span] {
        let reply = ask(&node, &Asked::Below(asset.clone(), level, vec![tag, tag])).await;
        assert_eq!(parse_children(&reply.body, 2).unwrap(), [None, None]);
    }
    let reply = ask(&node, &Asked::Items(asset.clone(), vec![(tag, tag)])).await;
    assert_eq!(parse_items(&reply.body, 1).unwrap(), [None]);
    for bad in [
        "",
        "what=x&table=asset",
        "what=groups",
        "what=tags&table=asset&of=AAAA",
        "what=items&table=asset&of=AQEBAQEBAQEBAQEBAQEBAQ",
    ] {
        assert_eq!(node.post(DIGESTS, bad).await.status, 400, "{bad}");
    }
    let many = vec![tag; TAGS_A_REQUEST + 1];
    let reply = ask(&node, &Asked::Below(asset, Level::Span, many)).await;
    assert_eq!(reply.status, 400);
    let reply = node
        .ask(
            "POST",
            &format!("/assets/mediadb/services/{DIGESTS}"),
            "X-token: no\r\n",
            "what=tables",
        )
        .await;
    assert_eq!(reply.status, 403);
}
