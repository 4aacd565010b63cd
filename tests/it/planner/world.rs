//! Worlds for the planner, drawn by perturbing a state that once was equal: what the peer lists now, what the rows here say,
//! and records of others that want the same names.

use emsync::catalogue::FileRow;
use emsync::config::Generated;
use emsync::model::{
    Asset, AssetId, FileKind, ListedFile, Md5, MediaFile, MediaPath, Sha256, Timestamp,
};
use emsync::pull::plan::{Authority, Policy};

use crate::support::chance::Chance;

/// Where assets lie: close to each other, in two spellings, one inside another.
const PATHS: [&str; 6] = [
    "d/a.jpg",
    "d/A.jpg",
    "e/a.jpg",
    "e/b.bin",
    "d/set",
    "d/set/a.jpg",
];
/// Renditions; the first is one that an image preset makes here as well.
const RENDITIONS: [&str; 5] = [
    "image3000x3000.webp",
    "image200x200.webp",
    "IMAGE200x200.webp",
    "poster.jpg",
    "crop/x.webp",
];
const MEMBERS: [&str; 4] = ["p1.jpg", "P1.jpg", "p2.jpg", "sub/p3.jpg"];

fn one_of(names: &[&'static str], chance: &mut Chance) -> &'static str {
    names[chance.below(names.len())]
}

pub(super) fn path(text: &str) -> MediaPath {
    MediaPath::new(text).unwrap()
}

/// The bytes of a file, told apart by a number, and when they were last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) number: u8,
    pub(super) modified: Timestamp,
}

impl Content {
    fn draw(chance: &mut Chance) -> Self {
        let ms = 5_000_000 + 1_000 * chance.below(4) as i64 + *chance.pick(&[0, 0, 250]);
        Self {
            number: 1 + u8::try_from(chance.below(7)).unwrap(),
            modified: Timestamp::from_millis(ms),
        }
    }

    pub(super) fn sha256(self) -> Sha256 {
        Sha256::from_bytes([self.number; 32])
    }

    pub(super) fn md5(self) -> Md5 {
        Md5::from_bytes([self.number; 16])
    }

    /// Some are equally long.
    pub(super) fn size(self) -> u64 {
        10 + u64::from(self.number % 3)
    }
}

/// A file as the peer has it.
#[derive(Debug, Clone)]
pub(super) struct There {
    pub(super) kind: FileKind,
    pub(super) path: MediaPath,
    pub(super) content: Content,
}

/// One asset: its record and the files its peer has of it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) asset: Asset,
    pub(super) files: Vec<There>,
    pub(super) lists_originals: bool,
    pub(super) lists_generated: bool,
    pub(super) authority: Authority,
    pub(super) unrenderable_here: bool,
    /// Whether it is another peer's or our own: then this peer lists nothing for it.
    pub(super) is_elsewhere: bool,
}

impl Site {
    /// What the peer lists of a kind.
    pub(super) fn listed(&self, kind: FileKind, with_digests: bool) -> Option<Vec<ListedFile>> {
        let lists = match kind {
            FileKind::Original => self.lists_originals,
            FileKind::Generated => self.lists_generated,
        };
        lists.then(|| {
            (self.files.iter())
                .filter(|file| file.kind == kind)
                .map(|file| ListedFile {
                    kind,
                    path: file.path.clone(),
                    size: Some(file.content.size()),
                    modified: Some(file.content.modified),
                    sha256: with_digests.then(|| file.content.sha256()),
                    md5: None,
                    exact: true,
                })
                .collect()
        })
    }
}

/// Everything there is.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) sites: Vec<Site>,
    pub(super) rows: Vec<FileRow>,
    pub(super) policy: Policy,
    /// Whether the peer states a SHA-256 of every file, as emsync nodes do.
    pub(super) with_digests: bool,
}

impl World {
    /// Draws one.
    pub(super) fn draw(chance: &mut Chance) -> Self {
        let generated = *chance.pick(&[
            Generated::Copy,
            Generated::Copy,
            Generated::Auto,
            Generated::Auto,
            Generated::Rebuild,
            Generated::Off,
        ]);
        let mut world = Self {
            sites: Vec::new(),
            rows: Vec::new(),
            policy: Policy {
                originals: chance.percent(85),
                generated,
            },
            with_digests: chance.percent(60),
        };
        for n in 0..1 + chance.below(3) {
            let site = world.site(chance, n);
            world.sites.push(site);
        }
        world.agree();
        world.rows_that_were_equal(chance);
        for _ in 0..chance.below(4) {
            world.perturb_rows(chance);
        }
        for _ in 0..chance.below(5) {
            world.perturb_peer(chance);
        }
        world
    }

    fn site(&self, chance: &mut Chance, n: usize) -> Site {
        let at = one_of(&PATHS, chance);
        let is_folder = at == "d/set";
        let format = at
            .rsplit_once('.')
            .map(|(_, extension)| extension.to_owned());
        let asset = Asset {
            id: AssetId::new(format!("a{n}")).unwrap(),
            source_path: path(at),
            archive_path: chance.percent(15).then(|| path(one_of(&PATHS, chance))),
            is_folder,
            primary_file: (is_folder && chance.percent(70)).then(|| path("p1.jpg")),
            size: None,
            modified: None,
            md5: None,
            format,
            categories: Vec::new(),
            pages: 0,
            marked_deleted: false,
            unrenderable: chance.percent(5),
            unfinished: chance.percent(10),
        };
        let authorities = [
            Authority::Decides,
            Authority::Decides,
            Authority::Decides,
            Authority::Replaces,
            Authority::Supplies,
        ];
        let mut site = Site {
            asset,
            files: Vec::new(),
            lists_originals: self.with_digests,
            lists_generated: chance.percent(90),
            authority: *chance.pick(&authorities),
            unrenderable_here: chance.percent(5),
            is_elsewhere: n > 0 && chance.percent(25),
        };
        let primary = site.asset.original();
        let is_lost = chance.percent(8);
        for at in primary.iter().filter(|_| !is_lost) {
            site.files.push(There {
                kind: FileKind::Original,
                path: at.clone(),
                content: Content::draw(chance),
            });
        }
        for name in MEMBERS.iter().filter(|_| is_folder) {
            add(&mut site, FileKind::Original, name, chance);
        }
        for name in RENDITIONS {
            add(&mut site, FileKind::Generated, name, chance);
        }
        state(&mut site, chance);
        site
    }

    /// A peer that has no digests has one tree of files: two records of one name speak of one file.
    fn agree(&mut self) {
        if self.with_digests {
            return;
        }
        let mut first: Vec<There> = Vec::new();
        let of_peer = self.sites.iter_mut().filter(|site| !site.is_elsewhere);
        for file in of_peer.flat_map(|site| &mut site.files) {
            let same = |other: &&There| other.kind == file.kind && other.path == file.path;
            match first.iter().find(same) {
                Some(other) => file.content = other.content,
                None => first.push(file.clone()),
            }
        }
        // There is one wish for the one file: were an MD5 wrong in one record, the other could not have it either.
        let of_peer = || self.sites.iter().filter(|site| !site.is_elsewhere);
        let named: Vec<MediaPath> = of_peer().filter_map(|site| site.asset.original()).collect();
        for site in &mut self.sites {
            let original = site.asset.original();
            let sharers = named.iter().filter(|name| Some(*name) == original.as_ref());
            if sharers.count() > 1 {
                site.asset.md5 = None;
            }
        }
    }

    fn rows_that_were_equal(&mut self, chance: &mut Chance) {
        for site in &self.sites {
            let share = *chance.pick(&[0, 50, 100, 100]);
            for file in &site.files {
                if !site.is_elsewhere && !chance.percent(share) {
                    continue;
                }
                let row = row(file, &site.asset.id, chance.percent(50));
                let is_taken = (self.rows.iter())
                    .any(|other| other.file.kind == file.kind && other.file.path == file.path);
                if !is_taken {
                    self.rows.push(row);
                }
            }
        }
    }

    /// One thing here is no longer as it was.
    fn perturb_rows(&mut self, chance: &mut Chance) {
        let own = |site: &&Site| !site.is_elsewhere;
        let Some(site) = self.sites.iter().filter(own).nth(chance.below(2)) else {
            return;
        };
        let (id, source) = (site.asset.id.clone(), site.asset.source_path.clone());
        let mut mine = (self.rows.iter_mut()).filter(|row| row.file.asset == id);
        let Some(row) = mine.nth(chance.below(4)) else {
            return;
        };
        let other = Content::draw(chance);
        match chance.below(7) {
            0 => {
                row.file.size = other.size();
                row.file.sha256 = other.sha256();
                row.file.md5 = row.file.md5.map(|_| other.md5());
            }
            1 => row.file.modified = other.modified,
            2 => row.file.authored = row.file.kind == FileKind::Generated,
            // What other times left here: nobody lists it, or the record has another path by now.
            3 => self.left_behind(
                &id,
                &source.join("old.webp").unwrap(),
                FileKind::Generated,
                other,
            ),
            4 => self.left_behind(&id, &path("old/a.jpg"), FileKind::Original, other),
            5 => self.left_behind(&id, &path("old/a.jpg/t.webp"), FileKind::Generated, other),
            _ => {
                let name = (row.file.kind, row.file.path.clone());
                self.rows.retain(|row| {
                    row.file.asset != id || (row.file.kind, row.file.path.clone()) != name
                });
            }
        }
    }

    fn left_behind(&mut self, asset: &AssetId, at: &MediaPath, kind: FileKind, content: Content) {
        let is_taken = (self.rows.iter()).any(|row| row.file.kind == kind && row.file.path == *at);
        if !is_taken {
            let path = at.clone();
            let file = There {
                kind,
                path,
                content,
            };
            self.rows.push(row(&file, asset, true));
        }
    }

    /// The peer changes one thing.
    pub(super) fn perturb_peer(&mut self, chance: &mut Chance) {
        let n = chance.below(self.sites.len());
        let site = &mut self.sites[n];
        if site.is_elsewhere {
            return;
        }
        match chance.below(8) {
            0 | 1 => move_to(site, chance),
            2 => {
                if let Some(file) = any(&mut site.files, chance) {
                    file.content = Content::draw(chance);
                }
            }
            3 => {
                if let Some(file) = any(&mut site.files, chance) {
                    file.content.modified = Content::draw(chance).modified;
                }
            }
            4 => {
                let gone = chance.below(site.files.len().max(1));
                if gone < site.files.len() {
                    site.files.remove(gone);
                }
            }
            5 => add(
                site,
                FileKind::Generated,
                one_of(&RENDITIONS, chance),
                chance,
            ),
            6 => {
                let to = site
                    .asset
                    .source_path
                    .join(one_of(&RENDITIONS, chance))
                    .unwrap();
                let is_taken = site.files.iter().any(|file| file.path == to);
                let mut made =
                    (site.files.iter_mut()).filter(|file| file.kind == FileKind::Generated);
                if let (Some(file), false) = (made.next(), is_taken) {
                    file.path = to;
                }
            }
            _ => site.asset.unfinished = !site.asset.unfinished,
        }
        state(site, chance);
        self.agree();
    }
}

fn any<'a>(files: &'a mut [There], chance: &mut Chance) -> Option<&'a mut There> {
    let n = chance.below(files.len().max(1));
    files.get_mut(n)
}

fn add(site: &mut Site, kind: FileKind, name: &str, chance: &mut Chance) {
    let dir = match kind {
        FileKind::Original => site.asset.original_root(),
        FileKind::Generated => &site.asset.source_path,
    };
    let path = dir.join(name).unwrap();
    let is_there = |file: &There| file.kind == kind && file.path == path;
    if chance.percent(55) && !site.files.iter().any(is_there) {
        let content = Content::draw(chance);
        site.files.push(There {
            kind,
            path,
            content,
        });
    }
}

/// The asset goes to another path, its files with it, now and then under another name inside.
fn move_to(site: &mut Site, chance: &mut Chance) {
    let (old_root, old_source) = (
        site.asset.original_root().clone(),
        site.asset.source_path.clone(),
    );
    let to = path(one_of(&PATHS, chance));
    if site.asset.archive_path.is_some() && chance.percent(50) {
        site.asset.archive_path = Some(to);
    } else {
        site.asset.source_path = to;
    }
    for file in &mut site.files {
        let (from, to) = match file.kind {
            FileKind::Original => (&old_root, site.asset.original_root()),
            FileKind::Generated => (&old_source, &site.asset.source_path),
        };
        file.path = match file.path.below(from) {
            Some(tail) => to.join(tail).unwrap(),
            None => to.clone(),
        };
    }
}

/// Lets the record say what it says of its original; now and then it is behind.
fn state(site: &mut Site, chance: &mut Chance) {
    let original = site.asset.original();
    let found = (site.files.iter())
        .find(|file| file.kind == FileKind::Original && Some(&file.path) == original.as_ref());
    let Some(file) = found else {
        return;
    };
    let content = file.content;
    if chance.percent(90) {
        site.asset.modified = Some(content.modified);
    }
    if chance.percent(80) {
        site.asset.size = Some(content.size());
    }
    site.asset.md5 = chance.percent(30).then(|| content.md5());
}

/// A row of a file that is here.
pub(super) fn row(file: &There, asset: &AssetId, with_md5: bool) -> FileRow {
    FileRow {
        file: MediaFile {
            kind: file.kind,
            path: file.path.clone(),
            place: None,
            asset: asset.clone(),
            size: file.content.size(),
            modified: file.content.modified,
            sha256: file.content.sha256(),
            md5: with_md5.then(|| file.content.md5()),
            authored: false,
            fingerprint: None,
        },
        received_at: Timestamp::EPOCH,
        unlisted_at: None,
        damaged_at: None,
        evicted: false,
    }
}
