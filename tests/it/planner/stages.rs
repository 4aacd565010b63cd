//! The stages as far as the planner can see them: a job table with one wish a subject, rows that come and go as `publisher`,
//! `places`, `deletes` and `due` let them, and listings of which some are never finished.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use emsync::catalogue::FileRow;
use emsync::model::job::{FetchJob, RegenerateJob, RemoveJob, Work, fetch_subject};
use emsync::model::preset::{PresetTable, Shipped};
use emsync::model::{FileKind, ListedFile, MediaFile, MediaPath, Sha256, Timestamp};
use emsync::pull::plan::{Claim, Here, Listed, Plan, plan};

use super::world::{Site, World, path};
use crate::support::chance::Chance;

/// Read once: thousands of plans are made.
static PRESETS: LazyLock<PresetTable> = LazyLock::new(|| PresetTable::shipped(Shipped::Webp));

/// A file of an asset.
pub(super) type Name = (FileKind, String, String);

pub(super) fn name_of(row: &FileRow) -> Name {
    (
        row.file.kind,
        row.file.path.to_string(),
        row.file.asset.to_string(),
    )
}

/// A job with the asset it serves.
type Wish = (usize, Work);

/// A world with its job table and its clock.
pub(super) struct Stages {
    pub(super) world: World,
    jobs: BTreeMap<String, Wish>,
    /// The last wish of each asset for each subject.
    last: BTreeMap<(usize, String), Work>,
    tried: BTreeSet<String>,
    /// Wishes that cannot be had: what is there is not what the record says.
    pub(super) set_aside: BTreeSet<String>,
    /// When the listing under way began, in ms.
    pub(super) now: i64,
    pub(super) complete_until: Timestamp,
    /// How many complete listings lacked a row since one last had it.
    pub(super) lacked: BTreeMap<Name, u32>,
}

/// What an asset was planned from, and the plan.
pub(super) struct Planned<'a> {
    pub(super) site: &'a Site,
    pub(super) originals: Option<&'a [ListedFile]>,
    pub(super) generated: Option<&'a [ListedFile]>,
    pub(super) own: &'a [FileRow],
    pub(super) others: &'a [(FileRow, Claim)],
    pub(super) plan: &'a Plan,
}

impl Stages {
    pub(super) fn new(world: World) -> Self {
        Self {
            world,
            jobs: BTreeMap::new(),
            last: BTreeMap::new(),
            tried: BTreeSet::new(),
            set_aside: BTreeSet::new(),
            now: 1_000,
            complete_until: Timestamp::EPOCH,
            lacked: BTreeMap::new(),
        }
    }

    /// Lists the first `sites` assets, shows each plan to `look`, and queues what is wished. Answers how many wishes there are
    /// that can be had.
    pub(super) fn list(
        &mut self,
        sites: usize,
        mut look: impl FnMut(&Self, &Planned<'_>),
    ) -> usize {
        self.now += 1_000;
        let (mut open, mut lacking) = (0, Vec::new());
        for n in 0..sites {
            if self.world.sites[n].is_elsewhere {
                continue;
            }
            let plan = self.plan(n, &mut look);
            lacking.extend(self.lacking(n));
            self.queue(n, &plan);
            open += self.unfulfilled(n, &plan);
        }
        if sites == self.world.sites.len() {
            self.complete_until = Timestamp::from_millis(self.now);
            for (name, is_listed) in lacking {
                let lacked = self.lacked.entry(name).or_default();
                *lacked = if is_listed { 0 } else { *lacked + 1 };
            }
        } else {
            // One that was begun and never finished counts for what it has and not for what it lacks.
            for (name, _) in lacking.into_iter().filter(|(_, is_listed)| *is_listed) {
                self.lacked.insert(name, 0);
            }
        }
        open
    }

    fn plan(&self, n: usize, look: &mut impl FnMut(&Self, &Planned<'_>)) -> Plan {
        let site = &self.world.sites[n];
        let digests = self.world.with_digests;
        let originals = site.listed(FileKind::Original, digests);
        let generated = site.listed(FileKind::Generated, digests);
        let (own, rest): (Vec<FileRow>, Vec<FileRow>) =
            (self.world.rows.iter().cloned()).partition(|row| row.file.asset == site.asset.id);
        let others: Vec<_> = rest
            .into_iter()
            .map(|row| {
                let claim = self.claim(&row);
                (row, claim)
            })
            .collect();
        let listed = Listed {
            originals: originals.as_deref(),
            generated: generated.as_deref(),
        };
        let here = Here {
            own: &own,
            others: &others,
            unrenderable: site.unrenderable_here,
            authority: site.authority,
            complete_until: self.complete_until,
        };
        let presets = &*PRESETS;
        let policy = self.world.policy;
        let said = plan(&site.asset, listed, here, policy, presets);
        assert_eq!(
            said,
            plan(&site.asset, listed, here, policy, presets),
            "the same question has two answers"
        );
        let planned = Planned {
            site,
            originals: listed.originals,
            generated: listed.generated,
            own: &own,
            others: &others,
            plan: &said,
        };
        look(self, &planned);
        said
    }

    /// What wants the name of a row besides the asset that is planned.
    fn claim(&self, row: &FileRow) -> Claim {
        let owner = (self.world.sites.iter()).find(|site| site.asset.id == row.file.asset);
        match owner {
            Some(site) if site.asset.names(row.file.kind, &row.file.path) => {
                if site.is_elsewhere {
                    Claim::Elsewhere
                } else {
                    Claim::SamePeer
                }
            }
            _ => Claim::Nobody,
        }
    }

    /// Which own rows of an asset its listing has and lacks, as far as it speaks of their kind.
    fn lacking(&self, n: usize) -> Vec<(Name, bool)> {
        let site = &self.world.sites[n];
        let speaks = |kind| match kind {
            FileKind::Original => site.lists_originals,
            FileKind::Generated => site.lists_generated,
        };
        let own = (self.world.rows.iter()).filter(|row| row.file.asset == site.asset.id);
        own.filter(|row| speaks(row.file.kind))
            .map(|row| {
                let is_it = |kind, at: &MediaPath| kind == row.file.kind && *at == row.file.path;
                let is_listed = site.files.iter().any(|file| is_it(file.kind, &file.path));
                (name_of(row), is_listed)
            })
            .collect()
    }

    /// Wishes and marks of a plan that somebody could act on.
    fn unfulfilled(&self, n: usize, plan: &Plan) -> usize {
        let asset = &self.world.sites[n].asset;
        let aside = |job: &&FetchJob| self.set_aside.contains(&self.fetch_subject(n, job));
        let fetches = plan.fetch.iter().filter(|job| !aside(job)).count();
        // A former original stays until the new one is here.
        let waits = self
            .awaited(n, FileKind::Original)
            .any(|(subject, _)| self.set_aside.contains(subject));
        let stays = |job: &&RemoveJob| {
            waits && job.kind == FileKind::Original && !asset.names_original(&path(&job.path))
        };
        let removes = plan.remove.iter().filter(|job| !stays(job)).count();
        let marks = plan.unlisted.len() + plan.relisted.len();
        fetches + removes + plan.gone.len() + marks + usize::from(plan.regenerate.is_some())
    }

    fn fetch_subject(&self, n: usize, job: &FetchJob) -> String {
        let second = job
            .sha256
            .is_some()
            .then_some(&self.world.sites[n].asset.id);
        fetch_subject(job.kind, &job.path, second)
    }

    /// Wishes, marks, and what is wished no longer.
    fn queue(&mut self, n: usize, plan: &Plan) {
        let (id, at) = (
            self.world.sites[n].asset.id.clone(),
            Timestamp::from_millis(self.now),
        );
        let marks = (plan.unlisted.iter().map(|name| (name, Some(at))))
            .chain(plan.relisted.iter().map(|name| (name, None)));
        for ((kind, path), at) in marks {
            let is_it = |row: &&mut FileRow| {
                row.file.kind == *kind && row.file.path == *path && row.file.asset == id
            };
            self.world.rows.iter_mut().find(is_it).unwrap().unlisted_at = at;
        }
        let mut wished = BTreeMap::new();
        for job in &plan.fetch {
            wished.insert(self.fetch_subject(n, job), Work::Fetch(job.clone()));
        }
        for job in plan.remove.iter().chain(&plan.gone) {
            let subject = format!("remove:{}/{}//{id}", job.kind.dir(), job.path);
            wished.insert(subject, Work::Remove(job.clone()));
        }
        if let Some(job) = &plan.regenerate {
            wished.insert(format!("render:{id}"), Work::Regenerate(job.clone()));
        }
        // What is set aside stays so while nothing about the wish has changed.
        for (subject, work) in &wished {
            let last = self.last.insert((n, subject.clone()), work.clone());
            if last.as_ref() != Some(work) {
                self.set_aside.remove(subject);
            }
        }
        self.jobs
            .retain(|subject, (of, _)| *of != n || wished.contains_key(subject));
        let wished = wished
            .into_iter()
            .map(|(subject, work)| (subject, (n, work)));
        self.jobs.extend(wished);
    }

    /// Does a share of the jobs in any order, some of them twice; 100 percent tries all. Answers how many are over.
    pub(super) fn work(&mut self, percent: u64, chance: &mut Chance) -> usize {
        let mut over = 0;
        let mut subjects: Vec<String> = self.jobs.keys().cloned().collect();
        for n in (1..subjects.len()).rev() {
            subjects.swap(n, chance.below(n + 1));
        }
        let most = subjects.len() as u64 * percent / 100;
        for subject in subjects.iter().take(usize::try_from(most).unwrap()) {
            let Some((n, work)) = self.jobs.get(subject).cloned() else {
                continue;
            };
            for _ in 0..1 + usize::from(chance.percent(10)) {
                if self.run(subject, n, &work) && self.jobs.remove(subject).is_some() {
                    over += 1;
                }
            }
        }
        over
    }

    /// Whether it is over.
    fn run(&mut self, subject: &str, n: usize, work: &Work) -> bool {
        match work {
            Work::Fetch(job) => self.fetch(subject, n, job),
            Work::Remove(job) => self.remove(subject, n, job),
            Work::Regenerate(job) => {
                self.render(n, job);
                true
            }
            Work::Delete(_)
            | Work::Absent(_)
            | Work::Trash(_)
            | Work::Upload(_)
            | Work::Send(_) => {
                unreachable!("never planned")
            }
        }
    }

    fn fetch(&mut self, subject: &str, n: usize, job: &FetchJob) -> bool {
        let site = &self.world.sites[n];
        let is_it =
            |kind: FileKind, path: &MediaPath| kind == job.kind && path.as_str() == job.path;
        let of_peer = |site: &&Site| !site.is_elsewhere && !self.world.with_digests;
        let found = std::iter::once(site)
            .chain(self.world.sites.iter().filter(of_peer))
            .flat_map(|site| &site.files)
            .find(|file| is_it(file.kind, &file.path));
        let content = found.map(|file| file.content).filter(|content| {
            (job.sha256.is_none_or(|sha256| sha256 == content.sha256()))
                && (job.md5.is_none_or(|md5| md5 == content.md5()))
        });
        let Some(content) = content else {
            // It stays in the table as one that is set aside, and is awaited.
            self.set_aside.insert(subject.to_owned());
            return false;
        };
        self.set_aside.remove(subject);
        let file = MediaFile {
            kind: job.kind,
            path: path(&job.path),
            place: None,
            asset: site.asset.id.clone(),
            size: content.size(),
            modified: job.modified.unwrap_or(content.modified),
            sha256: content.sha256(),
            md5: job.md5,
            authored: false,
            fingerprint: None,
        };
        let shares = job.sha256;
        self.publish(file, shares, job.sha256.is_none());
        if let Some(then) = &job.then {
            self.render(n, then);
        }
        true
    }

    /// As `Catalogue::places` has it: the asset's own file is replaced, one whose owner has no claim gives way, any other keeps
    /// its place or is the wanted one already.
    fn publish(&mut self, mut file: MediaFile, shares: Option<Sha256>, one_file: bool) {
        let at_name = |row: &&FileRow| row.file.kind == file.kind && row.file.path == file.path;
        let own = (self.world.rows.iter().filter(at_name)).find(|row| row.file.asset == file.asset);
        let own_place = own.map(|row| row.file.place.clone());
        let gives_way = |row: &FileRow| match self.claim(row) {
            Claim::Nobody => true,
            Claim::SamePeer => one_file,
            Claim::Elsewhere => false,
        };
        if own_place.is_none() {
            let stays: Vec<&FileRow> = (self.world.rows.iter().filter(at_name))
                .filter(|row| !gives_way(row))
                .collect();
            if stays.iter().any(|row| Some(row.file.sha256) == shares) {
                return;
            }
            if stays.iter().any(|row| row.file.place.is_none()) {
                let place = format!("{}~{}", file.path, file.asset);
                file.place = Some(path(&place));
            }
        } else {
            file.place = own_place.flatten();
        }
        let is_replaced = |row: &FileRow| {
            row.file.kind == file.kind
                && row.file.path == file.path
                && (row.file.asset == file.asset || row.file.place == file.place)
        };
        self.world.rows.retain(|row| !is_replaced(row));
        let received_at = Timestamp::from_millis(self.now);
        let row = FileRow {
            file,
            received_at,
            unlisted_at: None,
            damaged_at: None,
            evicted: false,
        };
        self.lacked.remove(&name_of(&row));
        self.world.rows.push(row);
    }

    fn render(&mut self, n: usize, job: &RegenerateJob) {
        let asset = &self.world.sites[n].asset;
        let is_original = |row: &&FileRow| {
            row.file.kind == FileKind::Original && row.file.path.as_str() == job.original
        };
        if !self.world.rows.iter().any(|row| is_original(&row)) {
            return;
        }
        let made: Vec<MediaFile> = (PRESETS.renditions(asset.format.as_deref()).iter())
            .filter(|preset| job.presets.iter().any(|id| id == preset.id.as_str()))
            .map(|preset| MediaFile {
                kind: FileKind::Generated,
                path: path(&format!("{}/{}", job.output_dir, preset.file_name)),
                place: None,
                asset: asset.id.clone(),
                size: 99,
                modified: Timestamp::from_millis(self.now),
                sha256: Sha256::from_bytes([99; 32]),
                md5: None,
                authored: true,
                fingerprint: None,
            })
            .collect();
        for file in made {
            self.publish(file, None, false);
        }
    }

    /// Subjects and paths of the files that an asset waits for. Two assets of one file at a peer without digests share one wish.
    fn awaited(&self, n: usize, kind: FileKind) -> impl Iterator<Item = (&String, &str)> {
        let asset = &self.world.sites[n].asset;
        self.jobs.iter().filter_map(move |(subject, (of, work))| {
            let Work::Fetch(fetch) = work else {
                return None;
            };
            let is_shared = fetch.sha256.is_none() && asset.names_original(&path(&fetch.path));
            let is_it = fetch.kind == kind && (*of == n || is_shared);
            is_it.then_some((subject, fetch.path.as_str()))
        })
    }

    /// The second look of `due`, and the row.
    fn remove(&mut self, subject: &str, n: usize, job: &RemoveJob) -> bool {
        let asset = &self.world.sites[n].asset;
        let at = path(&job.path);
        let is_it = |row: &FileRow| {
            row.file.kind == job.kind && row.file.path == at && row.file.asset == asset.id
        };
        if asset.names(job.kind, &at) {
            let absent = |row: &FileRow| is_it(row) && row.unlisted_at.is_some();
            if !self.world.rows.iter().any(absent) {
                return true;
            }
        } else if job.kind == FileKind::Original {
            let awaited: Vec<&str> = self.awaited(n, job.kind).map(|(_, path)| path).collect();
            let inside = |path: &str, dir: &str| path.starts_with(&format!("{dir}/"));
            let in_the_way =
                (awaited.iter()).any(|new| inside(new, &job.path) || inside(&job.path, new));
            let has_named = (self.world.rows.iter()).any(|row| {
                row.file.asset == asset.id
                    && row.file.kind == job.kind
                    && asset.names_original(&row.file.path)
            });
            let nothing_awaited = awaited.is_empty();
            let was_tried = !self.tried.insert(subject.to_owned());
            if !in_the_way && !(nothing_awaited && (was_tried || has_named)) {
                return false;
            }
        }
        self.world
            .rows
            .retain(|row| !(is_it(row) && row.file.sha256 == job.sha256));
        self.tried.remove(subject);
        true
    }
}
