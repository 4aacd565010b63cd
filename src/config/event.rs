//! What a node does by itself, and when: an `[[event]]`, as EMDB's scheduled events are.
//!
//! A time without a zone is local: the zone is this machine's.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::error::{Error, Place, Problem};
use super::peer::{self, Peer};
use super::read::At;
use super::secret::Secret;
use super::window::Window;
use super::{file, notify, path, units};
use crate::model::MediaPath;

/// Something that a node does by itself.
#[derive(Debug, Clone)]
pub struct Event {
    /// What people call it, unique in the file.
    pub name: String,
    /// What is done.
    pub action: Action,
    /// With which peer; `None` is every enabled one, or nobody where the action needs no peer.
    pub peer: Option<String>,
    /// How often.
    pub when: When,
    /// Local time before which it does not run; also where the beats of a period begin.
    pub start: Option<DateTime>,
    /// When it may begin, and where a run that is still going ends as with `--max-duration`.
    pub window: Option<Window>,
    /// It begins up to so much later than it is due, so that many nodes do not ask one master at once.
    pub jitter: Duration,
    /// Whether a run that could not begin in its time, for the node was down, is made up for, once.
    pub makes_up: bool,
    /// Most media bytes a run brings or sends.
    pub max_transfer: Option<u64>,
    /// Longest time a run takes.
    pub max_duration: Option<Duration>,
    /// What is imported, where that is the action.
    pub folder: Option<Folder>,
    /// Asked for after a run that ended well, instead of `notify.ping`.
    pub ping: Option<Secret>,
    /// Whether it runs by itself; by hand it does in any case.
    pub enabled: bool,
    place: Place,
}

/// A folder that an event imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Where it is, absolute.
    pub dir: PathBuf,
    /// What its paths are put under.
    pub prefix: Option<MediaPath>,
    /// Whether renditions are made.
    pub thumbs: bool,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Pull, and push where the peer has `push`.
    Sync,
    /// Bring what changed there.
    Pull,
    /// Send what changed here.
    Push,
    /// Compare with the peer.
    Verify,
    /// Make renditions that are missing or stale.
    Thumbs,
    /// Read what is here again, where that is due, and heal what is damaged.
    Scrub,
    /// Take in what changed in a folder.
    Import,
    /// End what lies in the trash for longer than `limits.trash_days`.
    EmptyTrash,
}

/// How often an event runs.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// In beats of one length, in real time: over a change of clocks a day has 24 hours still.
    Every(Duration),
    /// By the clock on the wall.
    Cron(Box<Pattern>),
}

/// A pattern of times.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    /// As a person wrote it.
    text: String,
    cron: Cron,
}

/// Shortest period.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest period: ten years.
const LONGEST: Duration = Duration::from_secs(87_600 * 3_600);

impl Event {
    /// The keys of a section, as errors name them.
    pub(super) const KEYS: [&'static str; 15] = [
        "event.name",
        "event.action",
        "event.peer",
        "event.every",
        "event.cron",
        "event.start",
        "event.window",
        "event.jitter",
        "event.make_up",
        "event.max_transfer",
        "event.max_duration",
        "event.dir",
        "event.prefix",
        "event.thumbs",
        "event.enabled",
    ];

    /// Where its section starts in the file.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The first beat after a moment. `anchor` is when beats of a period begin that has no start.
    #[must_use]
    pub fn beat_after(
        &self,
        after: Timestamp,
        anchor: Timestamp,
        zone: &TimeZone,
    ) -> Option<Timestamp> {
        let start = self.start_in(zone);
        match &self.when {
            When::Every(period) => {
                let base = start.unwrap_or(anchor);
                if after < base {
                    return Some(base);
                }
                let period = i64::try_from(period.as_millis()).ok()?;
                let gone = after.as_millisecond() - base.as_millisecond();
                let beats = gone.checked_div(period)?.checked_add(1)?;
                let next = beats.checked_mul(period)?;
                Timestamp::from_millisecond(base.as_millisecond().checked_add(next)?).ok()
            }
            When::Cron(pattern) => {
                let just_before = start.and_then(|start| {
                    Timestamp::from_millisecond(start.as_millisecond().checked_sub(1)?).ok()
                });
                let after = just_before.map_or(after, |start| start.max(after));
                let after: Zoned = after.to_zoned(zone.clone());
                let next = pattern.cron.find_next_occurrence(&after, false).ok()?;
                Some(next.timestamp())
            }
        }
    }

    /// The moment that `start` names; one that clocks skip or show twice is the earlier.
    fn start_in(&self, zone: &TimeZone) -> Option<Timestamp> {
        let zoned = zone.to_zoned(self.start?).ok()?;
        Some(zoned.timestamp())
    }

    /// When it runs, as a person wrote it. An event for which this changes begins anew.
    #[must_use]
    pub fn shape(&self) -> String {
        let start = self
            .start
            .map_or_else(String::new, |start| format!(" from {start}"));
        format!("{}{start}", self.when)
    }

    pub(super) fn resolve(
        written: &file::Event,
        peers: &[Peer],
        dir: &Path,
    ) -> Result<Self, Error> {
        let missing = |key: &str, mend| Error::Missing {
            place: written.place.clone(),
            key: key.to_owned(),
            mend,
        };
        let Some(name) = &written.name else {
            return Err(missing("event.name", "write what you call this event"));
        };
        let Some(action) = &written.action else {
            let mend = "write what it does: sync, pull, push, verify, thumbs, scrub, import or empty-trash";
            return Err(missing("event.action", mend));
        };
        let when = match (&written.every, &written.cron) {
            (Some(every), None) => every.check(|text| period(text))?,
            (None, Some(cron)) => cron.check(|text| pattern(text))?,
            (Some(_), Some(cron)) => return Err(cron.wrong(Problem::EveryAndCron)),
            (None, None) => {
                let mend =
                    "write how often it runs, such as every = \"15m\" or cron = \"0 3 * * *\"";
                return Err(missing("event.every", mend));
            }
        };
        let action = action.check(|text| text.parse::<Action>())?;
        let span = |at: &Option<At<String>>| match at {
            Some(at) => at.check(|text| units::duration(text)).map(Some),
            None => Ok(None),
        };
        let max_transfer = match &written.max_transfer {
            Some(at) => Some(at.check(|text| units::size(text))?),
            None => None,
        };
        let start = written.start.as_ref();
        let window = written.window.as_ref();
        Ok(Self {
            name: name.check(|text| super::node_name(text))?,
            action,
            peer: peer_of(written, action, peers)?,
            when,
            start: start.map(|at| at.check(|text| date(text))).transpose()?,
            window: window
                .map(|at| at.check(|text| text.parse::<Window>()))
                .transpose()?,
            jitter: span(&written.jitter)?.unwrap_or_default(),
            makes_up: written.make_up.as_ref().is_none_or(|at| at.value),
            max_transfer,
            max_duration: span(&written.max_duration)?,
            folder: folder_of(written, action, dir)?,
            ping: notify::address(&written.ping)?,
            enabled: written.enabled.as_ref().is_none_or(|at| at.value),
            place: written.place.clone(),
        })
    }
}

/// Every event of the file; names are unique.
pub(super) fn events(
    written: &[file::Event],
    peers: &[Peer],
    dir: &Path,
) -> Result<Vec<Event>, Error> {
    let (mut events, mut names) = (Vec::with_capacity(written.len()), HashSet::new());
    for one in written {
        let event = Event::resolve(one, peers, dir)?;
        if let Some(at) = &one.name
            && !names.insert(event.name.clone())
        {
            let first = events
                .iter()
                .find(|first: &&Event| first.name == event.name);
            let line = first.and_then(|first| first.place.line).unwrap_or_default();
            return Err(at.wrong(Problem::Taken {
                what: "event",
                name: event.name,
                line,
            }));
        }
        events.push(event);
    }
    Ok(events)
}

fn peer_of(written: &file::Event, action: Action, peers: &[Peer]) -> Result<Option<String>, Error> {
    let Some(at) = &written.peer else {
        return Ok(None);
    };
    if !action.is_with_peers() {
        return Err(at.wrong(Problem::NoPeerNeeded(action.name())));
    }
    let name = at.check(|text| peer::check_name(text))?;
    let Some(peer) = peers.iter().find(|peer| peer.name == name) else {
        let known = peers.iter().map(|peer| peer.name.clone()).collect();
        return Err(at.wrong(Problem::NoSuchPeer { name, known }));
    };
    if action == Action::Push && !peer.push {
        return Err(at.wrong(Problem::NotPushedTo(name)));
    }
    Ok(Some(name))
}

fn folder_of(written: &file::Event, action: Action, dir: &Path) -> Result<Option<Folder>, Error> {
    if action != Action::Import {
        let text = [&written.dir, &written.prefix].into_iter().flatten();
        let wrong = text.map(|at| at.wrong(Problem::NoFolderNeeded)).next();
        let flag = written.thumbs.as_ref();
        let wrong = wrong.or(flag.map(|at| at.wrong(Problem::NoFolderNeeded)));
        return wrong.map_or(Ok(None), Err);
    }
    let Some(at) = &written.dir else {
        return Err(Error::Missing {
            place: written.place.clone(),
            key: "event.dir".to_owned(),
            mend: "write the folder that is imported, such as dir = \"/srv/photos\"",
        });
    };
    let prefix = |at: &At<String>| {
        at.check(|text| {
            MediaPath::new(text.as_str()).map_err(|error| Problem::Prefix(error.to_string()))
        })
    };
    Ok(Some(Folder {
        dir: at.check(|text| path(text, dir))?,
        prefix: written.prefix.as_ref().map(prefix).transpose()?,
        thumbs: written.thumbs.as_ref().is_none_or(|at| at.value),
    }))
}

fn period(text: &str) -> Result<When, Problem> {
    let period = units::duration(text)?;
    if !(SHORTEST..=LONGEST).contains(&period) {
        return Err(Problem::Range {
            value: text.to_owned(),
            least: units::show_duration(SHORTEST),
            most: units::show_duration(LONGEST),
        });
    }
    Ok(When::Every(period))
}

/// Five fields, or one of `@hourly`, `@daily` and so on. Seconds are no field: a minute is short enough.
fn pattern(text: &str) -> Result<When, Problem> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).build();
    let cron = parser.parse(text).map_err(|error| Problem::Cron {
        value: text.to_owned(),
        why: error.to_string().trim_end_matches('.').to_owned(),
    })?;
    Ok(When::Cron(Box::new(Pattern {
        text: text.trim().to_owned(),
        cron,
    })))
}

fn date(text: &str) -> Result<DateTime, Problem> {
    let date = text.trim().parse::<DateTime>();
    date.map_err(|_| Problem::Date(text.to_owned()))
}

impl Action {
    /// Each, in the order in which people think of them.
    pub const ALL: [Self; 8] = [
        Self::Sync,
        Self::Pull,
        Self::Push,
        Self::Verify,
        Self::Thumbs,
        Self::Scrub,
        Self::Import,
        Self::EmptyTrash,
    ];

    /// As it is written in the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Verify => "verify",
            Self::Thumbs => "thumbs",
            Self::Scrub => "scrub",
            Self::Import => "import",
            Self::EmptyTrash => "empty-trash",
        }
    }

    /// Whether it is done with a peer.
    #[must_use]
    pub const fn is_with_peers(self) -> bool {
        matches!(self, Self::Sync | Self::Pull | Self::Push | Self::Verify)
    }
}

impl FromStr for Action {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let known = Self::ALL.into_iter().find(|action| action.name() == text);
        known.ok_or_else(|| Problem::Choice {
            value: text.to_owned(),
            allowed: "sync, pull, push, verify, thumbs, scrub, import and empty-trash",
        })
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(period) => write!(f, "every {}", units::show_duration(*period)),
            Self::Cron(pattern) => write!(f, "cron {}", pattern.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn event(when: When) -> Event {
        Event {
            name: "nightly".to_owned(),
            action: Action::Pull,
            peer: None,
            when,
            start: None,
            window: None,
            jitter: Duration::ZERO,
            makes_up: true,
            max_transfer: None,
            max_duration: None,
            folder: None,
            ping: None,
            enabled: true,
            place: Place::default(),
        }
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse::<DateTime>()
            .unwrap()
            .to_zoned(berlin())
            .unwrap()
            .timestamp()
    }

    /// The next few beats.
    fn beats(event: &Event, after: &str, number: usize) -> Vec<String> {
        let (zone, mut last) = (berlin(), at(after));
        (0..number)
            .map(|_| {
                last = event
                    .beat_after(last, at("2026-01-01T00:10"), &zone)
                    .unwrap();
                last.to_zoned(zone.clone())
                    .strftime("%m-%d %H:%M%:z")
                    .to_string()
            })
            .collect()
    }

    #[test]
    fn a_period_beats_from_its_start_or_from_when_it_was_first_seen() {
        let mut hourly = event(When::Every(HOUR));
        assert_eq!(
            beats(&hourly, "2026-01-01T00:09", 2),
            ["01-01 00:10+01:00", "01-01 01:10+01:00"]
        );
        assert_eq!(beats(&hourly, "2026-06-01T05:10", 1), ["06-01 06:10+02:00"]);
        hourly.start = Some("2026-02-01T02:30".parse().unwrap());
        assert_eq!(
            beats(&hourly, "2026-01-05T00:00", 2),
            ["02-01 02:30+01:00", "02-01 03:30+01:00"]
        );
    }

    #[test]
    fn a_period_takes_no_notice_of_a_change_of_clocks() {
        let mut daily = event(When::Every(24 * HOUR));
        daily.start = Some("2026-03-27T03:00".parse().unwrap());
        assert_eq!(
            beats(&daily, "2026-03-27T12:00", 2),
            ["03-28 03:00+01:00", "03-29 04:00+02:00"]
        );
    }

    #[test]
    fn a_time_of_day_that_clocks_skip_is_made_up_for_and_one_they_show_twice_counts_once() {
        let daily = event(pattern("30 2 * * *").unwrap());
        assert_eq!(
            beats(&daily, "2026-03-28T00:00", 3),
            [
                "03-28 02:30+01:00",
                "03-29 03:00+02:00",
                "03-30 02:30+02:00"
            ]
        );
        assert_eq!(
            beats(&daily, "2026-10-24T12:00", 2),
            ["10-25 02:30+02:00", "10-26 02:30+01:00"]
        );
        // What runs in beats runs in both hours, and in none that is not there.
        let often = event(pattern("*/30 * * * *").unwrap());
        assert_eq!(
            beats(&often, "2026-10-25T02:20", 4),
            [
                "10-25 02:30+02:00",
                "10-25 02:00+01:00",
                "10-25 02:30+01:00",
                "10-25 03:00+01:00"
            ]
        );
        assert_eq!(
            beats(&often, "2026-03-29T01:20", 2),
            ["03-29 01:30+01:00", "03-29 03:00+02:00"]
        );
    }

    #[test]
    fn a_start_holds_a_pattern_back_and_is_a_beat_itself() {
        let mut daily = event(pattern("@daily").unwrap());
        daily.start = Some("2026-05-01T00:00".parse().unwrap());
        assert_eq!(
            beats(&daily, "2026-01-01T00:00", 2),
            ["05-01 00:00+02:00", "05-02 00:00+02:00"]
        );
    }

    #[test]
    fn a_pattern_that_never_comes_has_no_beat() {
        let never = event(pattern("0 0 30 2 *").unwrap());
        let now = at("2026-01-01T00:00");
        assert_eq!(never.beat_after(now, now, &berlin()), None);
    }
}
