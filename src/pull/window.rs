//! How many files of a lane may be in flight at once: pure, without a clock of its own.
//!
//! ```text
//! a round    about one round trip, or a little longer: what arrived in it, and how soon answers began
//! opening    double after each round while the goodput grows by a quarter; when it stops, back to the width that carried the best
//! resting    stay; after some rounds, try a quarter more
//! probing    two rounds of it: where the goodput followed it stays, else it goes, and the next rest is twice as long
//! crowded    answers begin later than twice the floor: what is above that only waits at the peer, and goes
//! pushed     429, 503, or a connection that fails: half of what was in flight, at once and once for all that was under way
//! ```
//!
//! The idea is that of TCP's Vegas and BBR: width × floor ÷ latency is what works, the rest is a queue. Neither signal is
//! believed alone. Latency is measured on the machine that does the work, so late answers may be our own doing; that is why the
//! floor is the best *round* (the lower quartile of each), a slack of milliseconds is allowed, and no lateness makes the width
//! less than it began with, which is what any peer can be asked. Goodput swings with sizes and stalls; that is why it takes
//! several rounds that do not grow to end the opening. Being pushed back is believed at once, down to one.
//!
//! Rounds in which the lane was not held up by its width say nothing about it: then there was too little to do. Nor do files
//! that were begun before the last push, or while the peer had asked for a pause.
//!
//! Large files share what the line carries: their rounds last half a second, count the bytes of *both* lanes, and know no latency.

mod round;

use std::time::Duration;

pub(super) use round::Arrival;
use round::{Floor, Round, Seen};

/// Growth of the goodput that makes an opening go on.
const GROWN: f64 = 1.25;
/// Of the growth that a probe hopes for, what it must bring.
const FOLLOWED: f64 = 0.4;
/// Of the goodput, what must stay when the width is taken back because answers come late.
const KEPT: f64 = 0.8;
/// Rounds in a row without growth that end an opening; fewer when answers also come late.
const FLAT: u32 = 3;
const FLAT_AND_LATE: u32 = 2;
/// Answers this much later than the floor are late, and with the slack on top crowded.
const LATE: f64 = 1.5;
const CROWDED: f64 = 2.0;
/// What the scheduling of either side may add to an answer.
const SLACK: Duration = Duration::from_millis(2);
/// Rounds between two probes, and at most so many when they bring nothing.
const REST: u32 = 3;
const LONGEST_REST: u32 = 96;
/// How long a width that was refused is not tried again; doubles with each further refusal.
const BARRED: Duration = Duration::from_secs(2);
const LONGEST_BARRED: Duration = Duration::from_secs(60);
/// Fewest files that make a round.
const FILES: usize = 4;
/// Shortest round, of small files and of large ones.
const ROUND: Duration = Duration::from_millis(20);
const LONG_ROUND: Duration = Duration::from_millis(500);

/// Width at which a lane of small files begins, and one of large files.
const SMALL: usize = 8;
const LARGE: usize = 4;

/// The width of one lane, and what it goes by. Times are since any fixed moment.
#[derive(Debug)]
pub(super) struct Window {
    width: usize,
    /// Where it begins, unless the ceiling is lower.
    usual: usize,
    start: usize,
    ceiling: usize,
    counts: Counts,
    round: Round,
    floor: Floor,
    mode: Mode,
    rest: u32,
    /// Rounds in a row that were crowded.
    crowded: u32,
    /// What was begun before says nothing any more.
    since: Duration,
    barred: Option<Barred>,
}

/// What makes a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// Files that arrived.
    Files,
    /// Bytes on the line.
    Bytes,
}

#[derive(Debug, Clone, Copy)]
enum Mode {
    /// The best goodput so far, the width that carried it, and rounds since.
    Opening {
        best: f64,
        carried: f64,
        flat: u32,
    },
    Resting {
        rounds: u32,
        seen: Seen,
    },
    /// Wider or narrower than before, with the goodput that it takes to stay so. `None` until the first round at the new width
    /// is over, which the old one still colours.
    Probing {
        before: usize,
        hoped: f64,
        seen: Option<Seen>,
    },
}

/// A width that the peer refused.
#[derive(Debug, Clone, Copy)]
struct Barred {
    width: usize,
    until: Duration,
    last: Duration,
}

/// Another width, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) why: &'static str,
}

impl Window {
    /// For small files, of which up to `ceiling` may be in flight.
    pub(super) fn of_small(ceiling: usize) -> Self {
        Self::new(ceiling.max(1), SMALL, Counts::Files)
    }

    /// For large files beside `ceiling` small ones: a quarter of that.
    pub(super) fn of_large(ceiling: usize) -> Self {
        Self::new((ceiling / 4).max(1), LARGE, Counts::Bytes)
    }

    fn new(ceiling: usize, usual: usize, counts: Counts) -> Self {
        let start = usual.min(ceiling);
        Self {
            width: start,
            usual,
            start,
            ceiling,
            counts,
            round: Round::default(),
            floor: Floor::default(),
            mode: Mode::OPENING,
            rest: REST,
            crowded: 0,
            since: Duration::ZERO,
            barred: None,
        }
    }

    /// How many files may be in flight.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Another ceiling for both lanes together. What had come to the former one looks for its width anew.
    pub(super) fn keep_to(&mut self, ceiling: usize) -> Option<Change> {
        let ceiling = match self.counts {
            Counts::Files => ceiling.max(1),
            Counts::Bytes => (ceiling / 4).max(1),
        };
        if ceiling == self.ceiling {
            return None;
        }
        if ceiling < self.width {
            self.mode = Mode::RESTING;
        } else if self.width == self.ceiling {
            self.mode = Mode::OPENING;
        }
        self.ceiling = ceiling;
        self.start = self.usual.min(ceiling);
        self.set(self.width, "the ceiling moved")
    }

    /// The lane had a file to begin, and no room for it.
    pub(super) fn held_up(&mut self) {
        self.round.held_up = true;
    }

    /// The lane begins anew after nothing was in flight: the time between does not count.
    pub(super) fn begins(&mut self, now: Duration) {
        self.round = Round::at(now);
    }

    /// A file arrived.
    pub(super) fn arrived(&mut self, now: Duration, file: Arrival) -> Option<Change> {
        if self.counts != Counts::Files || file.begun < self.since {
            return None;
        }
        self.round.take(now, file);
        let is_whole = self.round.has_own
            && self.round.files >= FILES.max(self.width / 2)
            // Who took the time a moment earlier may come later.
            && now.saturating_sub(self.round.begun) >= ROUND;
        is_whole.then(|| self.close(now)).flatten()
    }

    /// So many bytes came over the line since the last call; of interest to large files.
    pub(super) fn moved(&mut self, now: Duration, bytes: u64) -> Option<Change> {
        if self.counts != Counts::Bytes {
            return None;
        }
        self.round.work += bytes;
        let is_whole = now.saturating_sub(self.round.begun) >= LONG_ROUND;
        is_whole.then(|| self.close(now)).flatten()
    }

    /// The peer, or the way to it, refused a file that was begun then, while so many were in flight.
    pub(super) fn pushed_back(
        &mut self,
        now: Duration,
        begun: Duration,
        in_flight: usize,
    ) -> Option<Change> {
        if begun < self.since {
            return None;
        }
        self.since = now;
        self.round = Round::at(now);
        self.rest = REST;
        self.crowded = 0;
        self.mode = Mode::RESTING;
        let refused = in_flight.clamp(1, self.width);
        // A refusal soon after the last one was over says that a wait of that length is too short.
        let last = match self.barred {
            Some(barred) if now < barred.until + barred.last => {
                (barred.last * 2).min(LONGEST_BARRED)
            }
            _ => BARRED,
        };
        self.barred = Some(Barred {
            width: refused,
            until: now + last,
            last,
        });
        self.set((refused / 2).max(1), "pushed back")
    }

    /// The end of a round.
    fn close(&mut self, now: Duration) -> Option<Change> {
        let round = std::mem::replace(&mut self.round, Round::at(now));
        let goodput = round.goodput(now);
        if goodput <= 0.0 {
            return None;
        }
        let carried = match self.counts {
            Counts::Files => round.carried(now),
            Counts::Bytes => self.width as f64,
        };
        let (held_up, latency) = (round.held_up, round.latency());
        if let Some(latency) = latency {
            self.floor.note(now, latency);
        }
        let late = |by: f64| {
            let floor = self.floor.get();
            latency
                .zip(floor)
                .is_some_and(|(latency, floor)| latency > floor.mul_f64(by) + SLACK)
        };
        let (is_late, is_crowded) = (late(LATE), late(CROWDED));
        self.crowded = if is_crowded { self.crowded + 1 } else { 0 };
        match self.mode {
            Mode::Opening {
                best,
                carried: by,
                flat,
            } if held_up => self.opening((goodput, carried), (best, by, flat), is_late),
            Mode::Opening { .. } => None,
            Mode::Probing {
                before,
                hoped,
                seen,
            } if self.width < before => {
                self.probing((before, hoped), seen.map(|seen| seen.with(goodput)))
            }
            _ if self.crowded >= FLAT_AND_LATE && self.width > self.start => {
                self.thin_out(latency.unwrap_or_default(), goodput)
            }
            Mode::Resting { .. } | Mode::Probing { .. } if !held_up => None,
            Mode::Resting { rounds, seen } => {
                self.resting(now, (rounds + 1, seen.with(goodput)), is_late)
            }
            Mode::Probing {
                before,
                hoped,
                seen,
            } => self.probing((before, hoped), seen.map(|seen| seen.with(goodput))),
        }
    }

    fn opening(
        &mut self,
        (goodput, carried): (f64, f64),
        (best, by, flat): (f64, f64, u32),
        is_late: bool,
    ) -> Option<Change> {
        if goodput >= best * GROWN {
            self.mode = Mode::Opening {
                best: goodput,
                carried,
                flat: 0,
            };
            return self.set(self.width * 2, "goodput grows");
        }
        let flat = flat + 1;
        let enough = if is_late { FLAT_AND_LATE } else { FLAT };
        if flat < enough && self.width < self.ceiling {
            self.mode = Mode::Opening {
                best,
                carried: by,
                flat,
            };
            return None;
        }
        self.mode = Mode::RESTING;
        // Where no answer is late, a little more than it takes does no harm, and saves a search from below.
        let is_spare = self.counts == Counts::Files && !is_late;
        let width = if is_spare { by * GROWN } else { by };
        let width = (width.ceil() as usize).max(self.start).min(self.width);
        self.set(width, "goodput stands")
    }

    fn resting(
        &mut self,
        now: Duration,
        (rounds, seen): (u32, Seen),
        is_late: bool,
    ) -> Option<Change> {
        let more = self.more(now);
        if rounds < self.rest || is_late || more <= self.width {
            self.mode = Mode::Resting { rounds, seen };
            return None;
        }
        let growth = more as f64 / self.width as f64 - 1.0;
        self.mode = Mode::Probing {
            before: self.width,
            hoped: seen.mean() * (1.0 + growth * FOLLOWED),
            seen: None,
        };
        self.set(more, "probe")
    }

    fn probing(&mut self, (before, hoped): (usize, f64), seen: Option<Seen>) -> Option<Change> {
        let seen = seen.unwrap_or_default();
        if seen.rounds < 2 {
            self.mode = Mode::Probing {
                before,
                hoped,
                seen: Some(seen),
            };
            return None;
        }
        self.mode = Mode::RESTING;
        let wider = self.width > before;
        if seen.mean() >= hoped {
            self.rest = if wider { 1 } else { REST };
            return None;
        }
        if wider {
            self.rest = (self.rest.max(REST) * 2).min(LONGEST_REST);
            return self.set(before, "probe brought nothing");
        }
        // Less came of it, so nothing had been waiting: the way is longer than it was.
        self.floor = Floor::default();
        self.set(before, "goodput fell")
    }

    /// Takes away what only waits at the peer, unless the goodput goes with it.
    fn thin_out(&mut self, latency: Duration, goodput: f64) -> Option<Change> {
        let floor = self.floor.get().unwrap_or(latency);
        let works = self.width as f64 * floor.as_secs_f64() / latency.as_secs_f64();
        let width = (works * CROWDED).min(self.width as f64 * 0.9) as usize;
        self.crowded = 0;
        self.mode = Mode::Probing {
            before: self.width,
            hoped: goodput * KEPT,
            seen: None,
        };
        self.set(width.max(self.start), "answers come late")
    }

    /// What a probe tries now: a quarter more; where some width was refused once, little steps from there on.
    fn more(&self, now: Duration) -> usize {
        let step = |by: usize| (self.width + (self.width / by).max(1)).min(self.ceiling);
        match self.barred {
            Some(barred) if step(4) >= barred.width && now < barred.until => {
                barred.width.saturating_sub(1).max(self.width)
            }
            Some(barred) if step(4) >= barred.width => step(32).max(barred.width.min(step(4))),
            _ => step(4),
        }
    }

    fn set(&mut self, width: usize, why: &'static str) -> Option<Change> {
        let from = self.width;
        self.width = width.min(self.ceiling);
        let to = self.width;
        (from != to).then_some(Change { from, to, why })
    }
}

impl Mode {
    const OPENING: Self = Self::Opening {
        best: 0.0,
        carried: 0.0,
        flat: 0,
    };
    const RESTING: Self = Self::Resting {
        rounds: 0,
        seen: Seen::NOTHING,
    };
}

#[cfg(test)]
mod tests;
