//! Whatever is written, and however it is read in between, spans are what the rows say.

use super::super::conformance::empty;
use super::*;
use crate::model::{
    AssetId, FileKind, MediaFile, MediaPath, NodeId, Record, RecordKey, RecordStatus, Sha256,
    Timestamp,
};
use crate::protocol::digests::begins;

/// Ids that collide often; enough of them for a dozen spans, and a group or two.
const IDS: u64 = 400;

struct Chance(u64);

impl Chance {
    fn next(&mut self, bound: u64) -> u64 {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn record(module: &str, n: u64, chance: &mut Chance) -> Record {
    let node = NodeId::new("n").unwrap();
    let path = if chance.next(9) == 0 {
        "../no"
    } else {
        "some/path"
    };
    let source = format!("{{\"sourcepath\":\"{path}\",\"x\":{}}}", chance.next(3));
    let status = RecordStatus {
        deleted: chance.next(4) == 0,
        master: node.clone(),
        modified_by: node,
        modified: Timestamp::from_millis(i64::try_from(chance.next(3)).unwrap()),
        master_modified: (chance.next(9) > 0).then_some(Timestamp::EPOCH),
    };
    Record {
        key: RecordKey::new(module, format!("id{n}")).unwrap(),
        content: Sha256::of(source.as_bytes()),
        source,
        status: (chance.next(9) > 0).then_some(status),
    }
}

fn file(chance: &mut Chance) -> MediaFile {
    let kind = if chance.next(2) == 0 {
        FileKind::Original
    } else {
        FileKind::Generated
    };
    let folder = ["some/path", "elsewhere", ".versions"][usize::try_from(chance.next(3)).unwrap()];
    let n = chance.next(IDS);
    MediaFile {
        place: None,
        kind,
        path: MediaPath::new(format!("{folder}/{n}-{}", chance.next(3))).unwrap(),
        asset: AssetId::new(format!("id{}", chance.next(IDS + 50))).unwrap(),
        size: chance.next(5),
        modified: Timestamp::EPOCH,
        sha256: Sha256::of(&chance.next(3).to_be_bytes()),
        md5: None,
        authored: chance.next(2) == 0,
        fingerprint: None,
    }
}

/// One statement of those that change rows, or merely touch them.
async fn write(catalogue: &Catalogue, chance: &mut Chance) {
    let mut batch = catalogue.batch().await.unwrap();
    let now = Timestamp::from_millis(i64::try_from(chance.next(1_000)).unwrap());
    let id = format!("id{}", chance.next(IDS));
    let other = format!("id{}", chance.next(IDS));
    let raw = match chance.next(12) {
        0..=2 => {
            let table = if chance.next(3) == 0 {
                "category"
            } else {
                "asset"
            };
            let some: Vec<_> = (0..chance.next(30))
                .map(|_| {
                    let n = chance.next(IDS);
                    record(table, n, chance)
                })
                .collect();
            let mut by_key = std::collections::BTreeMap::new();
            by_key.extend(some.iter().map(|record| (record.key.clone(), record)));
            let some: Vec<_> = by_key.into_values().collect();
            batch.put_records(&some, "", now).await.unwrap();
            None
        }
        3 | 4 => {
            let file = file(chance);
            batch.put_file(&file, now).await.unwrap();
            None
        }
        5 => {
            let files: Vec<_> = (0..20).map(|_| file(chance)).collect();
            batch
                .put_files(&files.iter().collect::<Vec<_>>(), now)
                .await
                .unwrap();
            None
        }
        6 => Some(format!("DELETE FROM record WHERE id = '{id}'")),
        7 => Some(format!("DELETE FROM file WHERE asset = '{id}'")),
        8 => Some(format!(
            "UPDATE OR IGNORE file SET asset = '{other}' WHERE asset = '{id}'"
        )),
        9 => Some(format!(
            "UPDATE record SET deleted = 1 - deleted WHERE id = '{id}' AND modified IS NOT NULL"
        )),
        10 => Some(format!(
            "UPDATE file SET damaged_at = 5, unlisted_at = 6, size = size + {} WHERE asset = '{id}'",
            chance.next(2)
        )),
        _ => Some(format!(
            "UPDATE record SET received_at = 7, pushed = 1 WHERE id = '{id}'"
        )),
    };
    if let Some(sql) = raw {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&mut *batch.tx)
            .await
            .unwrap();
    }
    batch.commit().await.unwrap();
}

/// The spans of a table as they follow from its rows alone.
async fn from_rows(catalogue: &Catalogue, module: &Module) -> Vec<Span> {
    let span = |first: &str, heads| Span {
        first: first.to_owned(),
        tag: Tag::over(Level::Span, &[]),
        heads,
        is_odd: false,
        counts: [0; 4],
    };
    let (mut spans, mut items) = (vec![span("", true)], Vec::new());
    for entry in catalogue.entries(module, "", None).await.unwrap() {
        if let Some(item) = &entry.item {
            let level = begins(&item.key);
            if level >= Level::Span {
                spans.push(span(&entry.id, level >= Level::Group));
                items.clear();
            }
            items.push(item.tag());
        }
        let open = spans.last_mut().unwrap();
        open.tag = Tag::over(Level::Span, &items);
        open.is_odd |= !entry.is_plain();
        if let Some(item) = entry.item.as_ref().filter(|_| entry.is_plain()) {
            for (sum, count) in open.counts.iter_mut().zip(item.counts()) {
                *sum += count;
            }
        }
    }
    spans
}

async fn assert_known(catalogue: &Catalogue, what: &str) {
    for table in catalogue.tables().await.unwrap() {
        let spans = catalogue.known_spans(&table).await.unwrap().unwrap();
        assert_eq!(spans, from_rows(catalogue, &table).await, "{what}: {table}");
        for span in &spans {
            let items = catalogue
                .span_items(&table, &span.first)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(Tag::over(Level::Span, &items), span.tag);
        }
    }
}

#[tokio::test]
async fn spans_are_what_the_rows_say_after_any_writes_and_readings() {
    for seed in 0..4 {
        let (_dir, catalogue) = empty().await;
        let mut chance = Chance(seed);
        for round in 0..60 {
            for _ in 0..=chance.next(6) {
                write(&catalogue, &mut chance).await;
            }
            assert_known(&catalogue, &format!("seed {seed}, round {round}")).await;
        }
        let spans = catalogue
            .known_spans(&Module::asset())
            .await
            .unwrap()
            .unwrap();
        assert!(
            spans.len() > 5 && spans.iter().any(|span| span.is_odd),
            "{spans:?}"
        );
    }
}

#[tokio::test]
async fn a_table_that_takes_several_writes_to_read_is_cut_like_any_other() {
    let (_dir, catalogue) = empty().await;
    let mut chance = Chance(9);
    let records: Vec<_> = (0..20_000)
        .map(|n| record("asset", n, &mut chance))
        .collect();
    let mut batch = catalogue.batch().await.unwrap();
    let all: Vec<_> = records.iter().collect();
    batch.put_records(&all, "", Timestamp::EPOCH).await.unwrap();
    batch.commit().await.unwrap();
    assert_known(&catalogue, "at once").await;
}

/// A span that is written to while it is read stays unknown, and so does one that another reading took over.
#[tokio::test]
async fn nothing_is_kept_of_what_changed_while_it_was_read() {
    let (_dir, catalogue) = empty().await;
    let (mut chance, table) = (Chance(3), Module::asset());
    write(&catalogue, &mut chance).await;
    let read = async || {
        let reading = catalogue.mark(&table).await.unwrap();
        let (first, until) = catalogue
            .next_marked(&table, reading, None)
            .await
            .unwrap()
            .unwrap();
        (
            reading,
            catalogue
                .reread(&table, &first, until.as_deref())
                .await
                .unwrap(),
        )
    };
    let (reading, reread) = read().await;
    let mut batch = catalogue.batch().await.unwrap();
    let late = record("asset", 7, &mut chance);
    batch
        .put_records(&[&late], "", Timestamp::EPOCH)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    catalogue.keep(&table, reading, vec![reread]).await.unwrap();
    assert_eq!(catalogue.spans(&table).await.unwrap(), None);

    let (reading, reread) = read().await;
    let (later, _) = read().await;
    assert_ne!(reading, later);
    catalogue.keep(&table, reading, vec![reread]).await.unwrap();
    assert_eq!(catalogue.spans(&table).await.unwrap(), None);
    assert_known(&catalogue, "in the end").await;
}

#[tokio::test]
async fn a_record_that_one_side_lacks_changes_no_cut_but_its_own() {
    let (_dir, catalogue) = empty().await;
    let mut chance = Chance(5);
    for n in 0..IDS {
        let record = record("category", n, &mut chance);
        let mut batch = catalogue.batch().await.unwrap();
        batch
            .put_records(&[&record], "", Timestamp::EPOCH)
            .await
            .unwrap();
        batch.commit().await.unwrap();
    }
    let table = Module::category();
    let before = catalogue.known_spans(&table).await.unwrap().unwrap();
    let mut batch = catalogue.batch().await.unwrap();
    sqlx::query("DELETE FROM record WHERE id = $1")
        .bind(&before[3].first)
        .execute(&mut *batch.tx)
        .await
        .unwrap();
    batch.commit().await.unwrap();
    let after = catalogue.known_spans(&table).await.unwrap().unwrap();
    let kept = before.iter().filter(|span| after.contains(span)).count();
    assert_eq!((kept, after.len()), (before.len() - 2, before.len() - 1));
}
