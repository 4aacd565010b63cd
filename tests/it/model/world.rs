//! What a master has: records with their files, and what each operation makes of them. Knows nothing of peers or mirrors.

use std::collections::BTreeMap;

use emsync::model::{Hasher, NodeId, Record, RecordKey, RecordStatus, Timestamp};
use emsync::protocol::record::stamped;
use serde_json::json;

use super::ops::{Op, PATHS, RENDITIONS};
use crate::support::chance::Chance;

/// Table and id.
pub(super) type Key = (&'static str, String);

/// An original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) path: String,
    pub(super) bytes: Vec<u8>,
    /// ms since 1970.
    pub(super) mtime: i64,
}

/// A record with its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rec {
    pub(super) key: Key,
    pub(super) title: u64,
    pub(super) is_marked: bool,
    pub(super) status: RecordStatus,
    /// `None` for a category and a tombstone.
    pub(super) original: Option<Original>,
    /// By name, with the modification time.
    pub(super) renditions: BTreeMap<String, (Vec<u8>, i64)>,
}

impl Rec {
    /// The record as it travels.
    pub(super) fn record(&self) -> Record {
        let mut members = json!({ "id": self.key.1, "title": self.title });
        if let Some(original) = &self.original {
            let mut hasher = Hasher::new(true);
            hasher.update(&original.bytes);
            let file = json!({
                "name": original.path.rsplit('/').next(), "sourcepath": original.path, "isfolder": false,
                "filesize": original.bytes.len(), "fileformat": "bin", "importstatus": "complete",
                "editstatus": if self.is_marked { "7" } else { "6" },
                "assetmodificationdate": Timestamp::from_millis(original.mtime).to_string(),
                "md5hex": hasher.finish().md5.unwrap().to_string(),
            });
            let members = members.as_object_mut().unwrap();
            members.extend(file.as_object().unwrap().clone());
        }
        let members = members.as_object().unwrap().clone();
        stamped(members, &self.record_key(), &self.status)
    }

    pub(super) fn record_key(&self) -> RecordKey {
        RecordKey::new(self.key.0, &self.key.1).unwrap()
    }

    pub(super) fn is_live(&self) -> bool {
        !self.status.deleted
    }

    /// Its renditions by path in the tree of generated files.
    pub(super) fn generated(&self) -> impl Iterator<Item = (String, &(Vec<u8>, i64))> {
        self.original.iter().flat_map(|original| {
            let named = move |(name, file)| (format!("{}/{name}", original.path), file);
            self.renditions.iter().map(named)
        })
    }
}

/// See the head of this file.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) own: NodeId,
    pub(super) records: BTreeMap<Key, Rec>,
    now: i64,
    /// Makes every title and content another one.
    count: u64,
}

pub(super) fn asset(id: usize) -> Key {
    ("asset", format!("a{id}"))
}

fn category(id: usize) -> Key {
    ("category", format!("c{id}"))
}

impl World {
    /// A master before its first day.
    pub(super) fn nothing(own: NodeId) -> Self {
        Self {
            own,
            records: BTreeMap::new(),
            now: 0,
            count: 0,
        }
    }

    /// With one asset that no operation touches: a master that lists nothing is not believed.
    pub(super) fn new(own: NodeId) -> Self {
        let mut world = Self::nothing(own);
        world.add(("asset", "anchor".to_owned()), "anchor.bin", None);
        world
    }

    /// A moment that is later than every one before it.
    pub(super) fn tick(&mut self) -> Timestamp {
        let clock = Timestamp::from(std::time::SystemTime::now()).as_millis();
        self.now = clock.max(self.now + 1);
        Timestamp::from_millis(self.now)
    }

    /// A number that was never given before.
    pub(super) fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let number = self.number();
        Chance::new(number).noise(length)
    }

    fn fresh(&mut self) -> (Vec<u8>, i64) {
        let length = 300 + usize::try_from(self.count).unwrap() * 7;
        let mtime = 1_700_000_000_000 + i64::try_from(self.count).unwrap() * 5_000;
        (self.bytes(length), mtime)
    }

    fn owned_now(&mut self) -> RecordStatus {
        let at = self.tick();
        RecordStatus {
            deleted: false,
            master: self.own.clone(),
            modified_by: self.own.clone(),
            modified: at,
            master_modified: Some(at),
        }
    }

    pub(super) fn live(&self, key: &Key) -> Option<&Rec> {
        self.records.get(key).filter(|rec| rec.is_live())
    }

    /// Whether an original may lie there: nothing does, no folder has that name, and no file is in the way.
    fn has_room(&self, path: &str, except: Option<&Key>) -> bool {
        let others = self.records.values();
        let others = others.filter(|rec| Some(&rec.key) != except);
        let mut taken = others.filter_map(|rec| rec.original.as_ref());
        !taken.any(|other| {
            other.path == path
                || other.path.starts_with(&format!("{path}/"))
                || path.starts_with(&format!("{}/", other.path))
        })
    }

    fn add(&mut self, key: Key, path: &str, content: Option<(Vec<u8>, i64)>) {
        if self.live(&key).is_some() || !self.has_room(path, None) {
            return;
        }
        let (bytes, mtime) = content.unwrap_or_else(|| self.fresh());
        // Made anew even of equal bytes, so at another time: an EMDB shows no more of it than that and its size.
        let thumb = (self.bytes(60), self.fresh().1 + 1_000);
        let rec = Rec {
            title: self.number(),
            is_marked: false,
            status: self.owned_now(),
            original: Some(Original {
                path: path.to_owned(),
                bytes,
                mtime,
            }),
            renditions: BTreeMap::from([(RENDITIONS[0].to_owned(), thumb)]),
            key: key.clone(),
        };
        self.records.insert(key, rec);
    }

    /// Changes a live record, which its owner saves.
    fn save(&mut self, key: &Key, change: impl FnOnce(&mut Rec)) {
        let at = self.tick();
        if let Some(rec) = self.records.get_mut(key).filter(|rec| rec.is_live()) {
            change(rec);
            rec.status.modified_by = rec.status.master.clone();
            (rec.status.modified, rec.status.master_modified) = (at, Some(at));
        }
    }

    /// A record that vanished comes back, if need be somewhere else.
    pub(super) fn put_back(&mut self, mut rec: Rec) {
        let original = rec.original.as_mut().unwrap();
        if !self.has_room(&original.path, None) {
            original.path = format!("back/{}", rec.key.1);
        }
        rec.status.modified_by = rec.status.master.clone();
        self.records.insert(rec.key.clone(), rec);
    }

    /// Every record is saved by its owner, so that it wins against whatever a mirror made of it.
    pub(super) fn save_all(&mut self) {
        let keys: Vec<Key> = self.records.keys().cloned().collect();
        for key in keys {
            let at = self.tick();
            let status = &mut self.records.get_mut(&key).unwrap().status;
            (status.modified, status.master_modified) = (at, Some(at));
        }
    }

    /// Carries out what happens at a master. `is_settled` says of a record whether the mirror has it as it is here: only then
    /// does a save that loses leave both nodes with the same files.
    pub(super) fn apply(&mut self, op: Op, is_settled: impl Fn(&Rec) -> bool) {
        let settled = |world: &Self, id| world.live(&asset(id)).is_some_and(&is_settled);
        match op {
            Op::Add(id, path) => self.add(asset(id), PATHS[path], None),
            Op::Clone(id, from, path) => self.clone_of(id, from, path),
            Op::Edit(id) => {
                let title = self.number();
                self.save(&asset(id), |rec| rec.title = title);
            }
            Op::Mark(id) => self.save(&asset(id), |rec| rec.is_marked = true),
            Op::HandOver(id) => {
                let other = NodeId::new("node-x").unwrap();
                self.save(&asset(id), |rec| rec.status.master = other);
            }
            Op::Delete(id) => self.bury(&asset(id)),
            Op::DeleteCategory(id) => self.bury(&category(id)),
            Op::Vanish(id) => {
                if self.live(&asset(id)).is_some() {
                    self.records.remove(&asset(id));
                }
            }
            Op::Category(id) => self.name_category(category(id)),
            Op::EditElsewhere(id) | Op::Backdate(id) | Op::SameMoment(id, _)
                if settled(self, id) =>
            {
                self.restamp(op, id);
            }
            _ => self.change_files(op),
        }
    }

    /// Another title under a status that is not the owner's doing.
    fn restamp(&mut self, op: Op, id: usize) {
        let (title, at) = (self.number(), self.tick());
        let rec = self.records.get_mut(&asset(id)).unwrap();
        rec.title = title;
        let status = &mut rec.status;
        let earlier = |at: Timestamp| Timestamp::from_millis(at.as_millis() - 3);
        match op {
            Op::EditElsewhere(_) => status.modified = at,
            Op::Backdate(_) => {
                status.modified = at;
                status.master_modified = status.master_modified.map(earlier);
            }
            Op::SameMoment(_, is_greater) => {
                let first = if is_greater { "zz" } else { "aa" };
                status.modified_by = NodeId::new(format!("{first}{title}")).unwrap();
            }
            _ => unreachable!("no save elsewhere: {op:?}"),
        }
    }

    fn clone_of(&mut self, id: usize, from: usize, path: usize) {
        let from = self.live(&asset(from));
        if let Some(original) = from.and_then(|rec| rec.original.clone()) {
            let content = Some((original.bytes, original.mtime));
            self.add(asset(id), PATHS[path], content);
        }
    }

    fn original(&self, id: usize) -> Option<&Original> {
        self.live(&asset(id))?.original.as_ref()
    }

    fn change_original(&mut self, id: usize, change: impl FnOnce(&mut Original)) {
        self.save(&asset(id), |rec| {
            change(rec.original.as_mut().expect("a live asset has one"));
        });
    }

    fn change_files(&mut self, op: Op) {
        match op {
            Op::Replace(id) => {
                let (bytes, mtime) = self.fresh();
                self.change_original(id, |file| (file.bytes, file.mtime) = (bytes, mtime));
            }
            Op::ReplaceAlike(id) => {
                if let Some(length) = self.original(id).map(|original| original.bytes.len()) {
                    let bytes = self.bytes(length);
                    self.change_original(id, |file| file.bytes = bytes);
                }
            }
            Op::Move(id, path) if self.has_room(PATHS[path], Some(&asset(id))) => {
                self.change_original(id, |file| PATHS[path].clone_into(&mut file.path));
            }
            Op::Swap(id, other) if id != other => {
                let path = |id| self.original(id).map(|original| original.path.clone());
                if let (Some(one), Some(two)) = (path(id), path(other)) {
                    self.change_original(id, |file| file.path = two);
                    self.change_original(other, |file| file.path = one);
                }
            }
            Op::Render(id, name) => {
                let (bytes, mtime) = self.fresh();
                let file = (bytes[..80].to_vec(), mtime);
                self.save(&asset(id), |rec| {
                    rec.renditions.insert(RENDITIONS[name].to_owned(), file);
                });
            }
            Op::Unrender(id, name) => self.save(&asset(id), |rec| {
                rec.renditions.remove(RENDITIONS[name]);
            }),
            _ => {}
        }
    }

    fn bury(&mut self, key: &Key) {
        self.save(key, |rec| {
            rec.status.deleted = true;
            rec.original = None;
            rec.renditions.clear();
        });
    }

    fn name_category(&mut self, key: Key) {
        let rec = Rec {
            title: self.number(),
            is_marked: false,
            status: self.owned_now(),
            original: None,
            renditions: BTreeMap::new(),
            key: key.clone(),
        };
        self.records.insert(key, rec);
    }
}
