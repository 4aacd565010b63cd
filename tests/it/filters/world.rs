//! A master whose assets have categories, sizes and ages, changed at random; and what a mirror of a part of them must hold. In some
//! worlds the mirror's master is an EMDB that holds the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use emsync::catalogue::FileRow;
use emsync::model::filter::{Filter, Selection};
use emsync::model::{
    Asset, FileKind, Hasher, MediaFile, MediaPath, Module, RecordKey, RecordStatus, Sha256,
    Timestamp,
};
use emsync::protocol::record::{self, stamped};
use emsync::store::Publish;
use serde_json::json;

use crate::support::chance::Chance;
use crate::support::emdb::{Doc, Emdb, KEY, OWN, Setup};
use crate::support::master::Master;
use crate::support::node::Mirror;

pub(super) const DAY: Duration = Duration::from_secs(86_400);
const FOLDERS: [&str; 3] = ["Photos/2024", "Photos/2025", "Films"];
const ENDINGS: [&str; 3] = ["jpg", "tif", "bin"];
/// Each with its path; the second lies below the first.
const CATEGORIES: [(&str, &str); 3] = [
    ("press", "Index/Press"),
    ("drafts", "Index/Press/Drafts"),
    ("film", "Index/Film"),
];

/// One asset of the master.
#[derive(Debug, Clone)]
struct Made {
    path: String,
    content: Vec<u8>,
    modified: Timestamp,
    /// Into `CATEGORIES`.
    category: usize,
}

/// The master and what it has.
pub(super) struct World {
    master: Master,
    /// The mirror's master, where it is none of ours.
    emdb: Option<Emdb>,
    assets: BTreeMap<String, Made>,
    chance: Chance,
    next: usize,
}

impl World {
    /// One world in three is that of an EMDB.
    pub(super) async fn new(seed: u64) -> Self {
        let master = Master::new(7).await;
        let now = master.node.seams.clock.now();
        let emdb = match seed % 3 {
            0 => Some(Emdb::start(Setup::default()).await),
            _ => None,
        };
        let mut batch = master.node.catalogue.batch().await.unwrap();
        for (id, path) in CATEGORIES {
            let key = RecordKey::new(Module::CATEGORY, id).unwrap();
            let members = json!({"id": id, "name": id, "categorypath": path});
            let record = stamped(
                members.as_object().unwrap().clone(),
                &key,
                &master.status(now),
            );
            batch.put_records(&[&record], "", now).await.unwrap();
            if let Some(emdb) = &emdb {
                let doc = Doc::new(Module::CATEGORY, id, OWN, now, members);
                emdb.edit(|content| content.record(doc));
            }
        }
        batch.commit().await.unwrap();
        let mut world = Self {
            master,
            emdb,
            assets: BTreeMap::new(),
            chance: Chance::new(seed),
            next: 0,
        };
        for _ in 0..12 {
            world.add().await;
        }
        world
    }

    /// A mirror of this world's master.
    pub(super) async fn mirror(&self) -> Mirror {
        match &self.emdb {
            Some(emdb) => Mirror::of(emdb.base(), KEY, Some(OWN)).await,
            None => self.master.mirror().await,
        }
    }

    pub(super) async fn end(self) {
        self.master.end().await;
    }

    fn path(&mut self) -> String {
        self.next += 1;
        let (folder, ending) = (*self.chance.pick(&FOLDERS), *self.chance.pick(&ENDINGS));
        format!("{folder}/f{}.{ending}", self.next)
    }

    async fn add(&mut self) {
        let made = Made {
            path: self.path(),
            content: self.content(),
            modified: self.date(),
            category: self.chance.below(CATEGORIES.len()),
        };
        let id = format!("a{}", self.next);
        self.save(&id, made, None).await;
    }

    fn content(&mut self) -> Vec<u8> {
        let len = *self.chance.pick(&[40, 900, 5_000]);
        self.chance.noise(len)
    }

    /// A date that a whole number of days is far from.
    fn date(&mut self) -> Timestamp {
        let days = u32::try_from(self.chance.below(6)).unwrap();
        self.master
            .node
            .seams
            .clock
            .now()
            .minus(days * DAY + DAY / 2)
    }

    /// Stores an asset as it is now; `former` is where its original lay.
    async fn save(&mut self, id: &str, made: Made, former: Option<Made>) {
        let node = &self.master.node;
        let now = node.seams.clock.now();
        let key = RecordKey::new(Module::ASSET, id).unwrap();
        let (category, path) = CATEGORIES[made.category];
        let with_ancestors: Vec<&str> = CATEGORIES
            .iter()
            .filter(|(_, of)| path == *of || path.starts_with(&format!("{of}/")))
            .map(|(id, _)| *id)
            .chain(["index"])
            .collect();
        let members = json!({"id": id, "name": made.path, "sourcepath": made.path, "isfolder": false,
            "filesize": made.content.len(), "fileformat": "bin", "category-exact": [category],
            "category": with_ancestors, "assetmodificationdate": made.modified.to_string()});
        if let Some(emdb) = &self.emdb {
            emdb.edit(|content| {
                if let Some(former) = &former {
                    content.remove_file(&former.path);
                }
                let mut members = members.clone();
                // Two changes within a second are told apart by nothing else.
                let mut hasher = Hasher::new(true);
                hasher.update(&made.content);
                members["md5hex"] = json!(hasher.finish().md5.unwrap().to_string());
                content.record(Doc::new(Module::ASSET, id, OWN, now, members));
                let modified = made.modified.as_millis();
                content.original(&made.path, made.content.clone(), modified);
            });
        }
        let record = stamped(
            members.as_object().unwrap().clone(),
            &key,
            &self.master.status(now),
        );
        let file = MediaFile {
            kind: FileKind::Original,
            path: MediaPath::new(made.path.as_str()).unwrap(),
            place: None,
            asset: key.as_asset().unwrap(),
            size: made.content.len() as u64,
            modified: made.modified,
            sha256: Sha256::of(&made.content),
            md5: None,
            authored: false,
            fingerprint: None,
        };
        let mut staged = node.store.staging("test").unwrap().create().unwrap();
        staged.write_all(&made.content).unwrap();
        let publish = Publish {
            content: staged.into(),
            kind: file.kind,
            path: file.path.clone(),
            modified: file.modified,
            keep_replaced: true,
        };
        node.store.publish(vec![publish]).pop().unwrap().unwrap();
        let mut batch = node.catalogue.batch().await.unwrap();
        batch.put_records(&[&record], "", now).await.unwrap();
        if let Some(former) = former.filter(|former| former.path != made.path) {
            let old = MediaPath::new(former.path.as_str()).unwrap();
            let content = Sha256::of(&former.content);
            batch
                .forget_file(FileKind::Original, &old, &file.asset, &content, now)
                .await
                .unwrap();
        }
        batch.put_file(&file, now).await.unwrap();
        batch.commit().await.unwrap();
        self.assets.insert(id.to_owned(), made);
    }

    /// One change at the master; answers what it was.
    pub(super) async fn change(&mut self) -> String {
        let ids: Vec<String> = self.assets.keys().cloned().collect();
        let what = self.chance.below(6);
        if what == 0 || ids.len() < 4 {
            self.add().await;
            return format!("added a{}", self.next);
        }
        let id = self.chance.pick(&ids).clone();
        let former = self.assets[&id].clone();
        let mut made = former.clone();
        let what = match what {
            1 => {
                made.category = self.chance.below(CATEGORIES.len());
                format!("{id} is in {} now", CATEGORIES[made.category].1)
            }
            2 => {
                made.path = self.path();
                format!("{id} moved to {}", made.path)
            }
            3 | 4 => {
                (made.content, made.modified) = (self.content(), self.date());
                format!("{id} has {} other bytes", made.content.len())
            }
            _ => {
                self.delete(&id).await;
                return format!("{id} is deleted");
            }
        };
        self.save(&id, made, Some(former)).await;
        what
    }

    async fn delete(&mut self, id: &str) {
        let node = &self.master.node;
        let now = node.seams.clock.now();
        let key = RecordKey::new(Module::ASSET, id).unwrap();
        let stored = node.catalogue.record(&key).await.unwrap().unwrap();
        let status = RecordStatus {
            deleted: true,
            ..self.master.status(now)
        };
        let tombstone = record::restamped(&stored.record, &status).unwrap();
        let made = self.assets.remove(id).unwrap();
        if let Some(emdb) = &self.emdb {
            emdb.edit(|content| {
                content.save(OWN, now, (Module::ASSET, id), true, |_| {});
                content.remove_file(&made.path);
            });
        }
        let path = MediaPath::new(made.path.as_str()).unwrap();
        let mut batch = node.catalogue.batch().await.unwrap();
        batch.put_records(&[&tombstone], "", now).await.unwrap();
        batch
            .forget_file(
                FileKind::Original,
                &path,
                &key.as_asset().unwrap(),
                &Sha256::of(&made.content),
                now,
            )
            .await
            .unwrap();
        batch.commit().await.unwrap();
    }

    /// A filter at random; about one in five leaves nothing out.
    pub(super) fn filter(&mut self) -> Filter {
        let chance = &mut self.chance;
        let mut filter = Filter::default();
        let patterns = [
            "/Photos/**",
            "Films/",
            "*.{jpg,bin}",
            "f[1-9].*",
            "2025/*.tif",
        ];
        let pattern = |chance: &mut Chance| vec![chance.pick(&patterns).parse().unwrap()];
        if chance.percent(35) {
            filter.include = pattern(chance);
        }
        if chance.percent(30) {
            filter.exclude = pattern(chance);
        }
        let category = |chance: &mut Chance| {
            let (id, path) = *chance.pick(&CATEGORIES);
            vec![(*chance.pick(&[id, path])).to_owned()]
        };
        if chance.percent(25) {
            filter.categories = category(chance);
        }
        if chance.percent(20) {
            filter.exclude_categories = category(chance);
        }
        if chance.percent(20) {
            filter.min_size = Some(*chance.pick(&[41, 901]));
        }
        if chance.percent(20) {
            filter.max_size = Some(*chance.pick(&[40, 4_000]));
        }
        if chance.percent(20) {
            filter.min_age = Some(*chance.pick(&[DAY, 3 * DAY]));
        }
        if chance.percent(20) {
            filter.max_age = Some(*chance.pick(&[2 * DAY, 4 * DAY]));
        }
        filter
    }

    /// How many changes come before the next sync.
    pub(super) fn some(&mut self) -> usize {
        self.chance.below(5)
    }

    /// Whether to do what is done now and then.
    pub(super) fn now_and_then(&mut self) -> bool {
        self.chance.percent(40)
    }
}

/// What a mirror has: each original's row with its bytes.
pub(super) struct Holding(BTreeMap<(String, String), (FileRow, Vec<u8>)>);

impl Holding {
    pub(super) async fn of(mirror: &Mirror) -> Self {
        let rows = mirror
            .node
            .catalogue
            .files_after(FileKind::Original, None, 10_000);
        let rows = rows.await.unwrap().into_iter().map(|row| {
            let bytes = mirror.read(FileKind::Original, row.file.place().as_str());
            let bytes = bytes.unwrap_or_else(|| panic!("{} is not on disk", row.file.path));
            assert_eq!(Sha256::of(&bytes), row.file.sha256, "{}", row.file.path);
            (row.key(), (row, bytes))
        });
        Self(rows.collect())
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    fn of_asset<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let of_it = self.0.iter().filter(move |((_, asset), _)| asset == id);
        of_it.map(|((path, _), (_, bytes))| (path.as_str(), bytes.as_slice()))
    }
}

/// Checks a mirror after a sync by what it had before: what is wanted is here as it is there, what is left out was neither
/// fetched nor taken away, and what is deleted is gone. Answers how many assets are wanted, and how many are not.
pub(super) fn check(
    world: &World,
    (filter, known, now): (&Filter, &Selection, Timestamp),
    (before, after): (&Holding, &Holding),
    case: &str,
) -> (usize, usize) {
    assert!(known.unknown.is_empty(), "{case}");
    let (mut wanted, mut left_out) = (0, 0);
    for (id, made) in &world.assets {
        let had: BTreeSet<_> = before.of_asset(id).collect();
        let has: BTreeSet<_> = after.of_asset(id).collect();
        if known.keeps(&asset_of(id, made), now) {
            wanted += 1;
            let all = BTreeSet::from([(made.path.as_str(), made.content.as_slice())]);
            assert!(
                has == all,
                "{case}: {id} at {} is not here as it is there, by {filter}",
                made.path
            );
        } else {
            left_out += 1;
            assert!(
                has == had,
                "{case}: files of {id} at {} came or went although {filter} leaves them out",
                made.path
            );
        }
    }
    let owners: BTreeSet<&str> = (after.0.keys()).map(|(_, asset)| asset.as_str()).collect();
    for owner in owners {
        assert!(
            world.assets.contains_key(owner),
            "{case}: {owner} is deleted and has files here"
        );
    }
    (wanted, left_out)
}

/// The asset as a filter sees it.
fn asset_of(id: &str, made: &Made) -> Asset {
    let (category, path) = CATEGORIES[made.category];
    let above = CATEGORIES
        .iter()
        .filter(|(_, of)| path.starts_with(&format!("{of}/")));
    let mut categories: Vec<String> = above.map(|(id, _)| (*id).to_owned()).collect();
    categories.push(category.to_owned());
    Asset {
        id: emsync::model::AssetId::new(id).unwrap(),
        source_path: MediaPath::new(made.path.as_str()).unwrap(),
        archive_path: None,
        is_folder: false,
        primary_file: None,
        size: Some(made.content.len() as u64),
        modified: Some(made.modified),
        md5: None,
        format: None,
        categories,
        pages: 0,
        marked_deleted: false,
        unrenderable: false,
        unfinished: false,
    }
}
