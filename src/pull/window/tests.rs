//! A window against simulated peers: how wide it gets, how much it brings of what the best fixed width would, and how often
//! it is refused. Time is simulated, and chance drawn from a seed, so every number here is the same on every machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::*;

const KIB: u64 = 1 << 10;

fn ms(millis: f64) -> Duration {
    Duration::from_secs_f64(millis / 1e3)
}

/// A peer and the way to it.
#[derive(Debug, Clone)]
struct Peer {
    /// Without any load.
    round_trip: Duration,
    /// Requests that it works on at once, and how long on each.
    cores: usize,
    service: Duration,
    /// Bytes a second that the line carries.
    line: f64,
    /// In flight beyond this is answered 503.
    refuses_above: usize,
    /// Of each answer, by chance: up to so much later.
    jitter: Duration,
    /// From then on the round trip is another one.
    moves: Option<(Duration, Duration)>,
    /// So often we ourselves stand still for so long.
    stalls: Option<(Duration, Duration)>,
}

impl Peer {
    fn far(millis: f64) -> Self {
        Self {
            round_trip: ms(millis),
            cores: 10_000,
            service: ms(0.05),
            line: 1e12,
            refuses_above: usize::MAX,
            jitter: ms(millis / 10.0),
            moves: None,
            stalls: None,
        }
    }

    fn busy(cores: usize, service: f64) -> Self {
        Self {
            cores,
            service: ms(service),
            jitter: ms(service),
            ..Self::far(0.2)
        }
    }
}

impl Peer {
    /// When we notice what happens then.
    fn noticed(&self, at: Duration) -> Duration {
        let Some((every, long)) = self.stalls else {
            return at;
        };
        let into = at.as_nanos() % every.as_nanos();
        let rest = long.as_nanos().saturating_sub(into);
        at + Duration::from_nanos(rest as u64)
    }
}

/// What became of a run.
#[derive(Debug)]
struct Run {
    /// Files a second.
    rate: f64,
    /// The width over time: when it became that.
    widths: Vec<(Duration, usize)>,
    refused: usize,
}

impl Run {
    fn widest(&self) -> usize {
        self.widths.iter().map(|(_, width)| *width).max().unwrap()
    }

    /// The width that held most of the time in the second half.
    fn settled(&self) -> std::ops::RangeInclusive<usize> {
        let half = self.widths.last().unwrap().0 / 2;
        let late = self.widths.iter().filter(|(at, _)| *at >= half);
        let mut late: Vec<usize> = late.map(|(_, width)| *width).collect();
        late.sort_unstable();
        late[late.len() / 10]..=late[late.len() * 9 / 10]
    }

    fn reached(&self, width: usize) -> Option<Duration> {
        let reached = self.widths.iter().find(|(_, reached)| *reached >= width);
        reached.map(|(at, _)| *at)
    }
}

/// When a request ends, when it began, when its answer did, and the bytes of that, or none for a refusal.
type InFlight = (Duration, Duration, Duration, Option<u64>);

/// Fetches so many files of 20 to 60 KiB from a peer, as wide as the window says or as `fixed` does.
fn fetch(peer: &Peer, files: usize, fixed: Option<usize>) -> Run {
    fetch_by(Window::of_small(256), peer, files, fixed)
}

fn fetch_by(mut window: Window, peer: &Peer, files: usize, fixed: Option<usize>) -> Run {
    let mut chance = 1_u64;
    let mut draw = move |below: u64| {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % below
    };
    let mut cores = BinaryHeap::from(vec![Reverse(Duration::ZERO); peer.cores]);
    let mut line_free = Duration::ZERO;
    let (mut now, mut left, mut refused) = (Duration::ZERO, files, 0);
    let mut flight: BinaryHeap<Reverse<InFlight>> = BinaryHeap::new();
    let mut widths = vec![(now, window.width())];
    loop {
        assert!(refused <= files, "it never learns");
        let width = fixed.unwrap_or(window.width());
        while left > 0 && flight.len() < width {
            left -= 1;
            let round_trip = match peer.moves {
                Some((at, other)) if now >= at => other,
                _ => peer.round_trip,
            };
            if flight.len() >= peer.refuses_above {
                flight.push(Reverse((now + round_trip, now, now, None)));
                continue;
            }
            let bytes = (20 + draw(41)) * KIB;
            let jitter = Duration::from_nanos(draw(peer.jitter.as_nanos() as u64 + 1));
            let Reverse(core) = cores.pop().unwrap();
            let served = core.max(now + round_trip / 2) + peer.service;
            cores.push(Reverse(served));
            let sent = served.max(line_free);
            line_free = sent + Duration::from_secs_f64(bytes as f64 / peer.line);
            let head = sent + round_trip / 2 + jitter;
            let (head, end) = (
                peer.noticed(head),
                peer.noticed((line_free + round_trip / 2).max(head)),
            );
            flight.push(Reverse((end, now, head, Some(bytes))));
        }
        if left > 0 {
            window.held_up();
        }
        let in_flight = flight.len();
        let Some(Reverse((end, begun, head, bytes))) = flight.pop() else {
            break;
        };
        now = end;
        match bytes {
            Some(bytes) => {
                let waited = head - begun;
                let file = Arrival {
                    begun,
                    waited,
                    bytes,
                };
                window.arrived(now, file)
            }
            None => {
                (left, refused) = (left + 1, refused + 1);
                window.pushed_back(now, begun, in_flight)
            }
        };
        widths.push((now, window.width()));
    }
    Run {
        rate: files as f64 / now.as_secs_f64(),
        widths,
        refused,
    }
}

/// What the window brings, of what the best of the fixed widths would.
fn share_of_best(peer: &Peer, files: usize) -> (f64, Run) {
    let run = fetch(peer, files, None);
    let widths = [1, 2, 4, 8, 16, 32, 64, 128, 256];
    let taken = widths
        .into_iter()
        .filter(|width| *width <= peer.refuses_above);
    let best = taken
        .map(|width| fetch(peer, files, Some(width)).rate)
        .fold(0.0, f64::max);
    (run.rate / best, run)
}

/// Asserts what the window brings of what the best fixed width would, and answers the run.
#[track_caller]
fn brings(share: f64, peer: &Peer, files: usize) -> Run {
    let (brought, run) = share_of_best(peer, files);
    assert!(brought >= share, "{brought:.2} of the best of {peer:?}");
    run
}

#[track_caller]
fn settles(run: &Run, within: std::ops::RangeInclusive<usize>) {
    let settled = run.settled();
    assert!(
        within.contains(settled.start()) && within.contains(settled.end()),
        "settled at {settled:?}, not within {within:?}"
    );
}

#[test]
fn a_far_peer_is_asked_for_hundreds_of_files_within_a_few_round_trips() {
    for round_trip in [20.0, 40.0, 100.0] {
        let run = brings(0.8, &Peer::far(round_trip), 5_000);
        let reached = run.reached(128).unwrap();
        assert!(reached <= ms(6.0 * round_trip), "{reached:?}");
        settles(&run, 200..=256);
    }
}

#[test]
fn a_far_peer_that_one_core_of_ours_keeps_up_with_is_no_reason_to_stop_early() {
    let peer = Peer {
        cores: 1,
        service: ms(0.125),
        ..Peer::far(20.0)
    };
    let run = brings(0.85, &peer, 5_000);
    assert!(run.reached(128).unwrap() <= ms(120.0));
}

#[test]
fn a_near_peer_is_asked_for_few_files_and_gives_as_much() {
    // Two cores, 0.2 ms each: what a node on the same machine takes.
    let run = brings(0.95, &Peer::busy(2, 0.2), 20_000);
    settles(&run, 8..=32);
    assert!(run.widest() <= 32, "{}", run.widest());
}

#[test]
fn a_peer_bound_by_its_processors_is_not_asked_for_more_than_helps_it() {
    // EMDB, on two cores and on eight; fast link and 40 ms.
    settles(&brings(0.95, &Peer::busy(2, 4.0), 2_000), 8..=10);
    settles(&brings(0.9, &Peer::busy(8, 10.0), 5_000), 8..=16);
    let far = Peer {
        cores: 2,
        service: ms(4.0),
        ..Peer::far(40.0)
    };
    let run = brings(0.95, &far, 5_000);
    // 20 are on the way or at work at any time; twice that is where answers come late.
    settles(&run, 16..=48);
}

#[test]
fn a_line_that_is_full_is_not_filled_further() {
    let line = |bytes_per_second| Peer {
        line: bytes_per_second,
        ..Peer::far(20.0)
    };
    settles(&brings(0.95, &line(10e6), 3_000), 8..=16);
    settles(&brings(0.9, &line(100e6), 20_000), 48..=110);
}

#[test]
fn a_peer_that_refuses_is_asked_for_less_at_once_and_for_more_only_slowly() {
    for (most, files, share) in [(1, 1_000, 0.9), (4, 2_000, 0.9), (16, 5_000, 0.85)] {
        let peer = Peer {
            refuses_above: most,
            ..Peer::far(20.0)
        };
        let run = brings(share, &peer, files);
        settles(&run, most.div_ceil(2)..=most + 1);
        assert!(run.refused <= files / 25, "{} of {files}", run.refused);
    }
    let peer = Peer {
        refuses_above: 100,
        ..Peer::far(20.0)
    };
    let run = fetch(&peer, 20_000, None);
    assert!(run.refused <= 1_200, "{}", run.refused);
}

#[test]
fn stalls_of_our_own_are_not_taken_for_the_peers() {
    let stalls = |every, long, peer| Peer {
        stalls: Some((ms(every), ms(long))),
        ..peer
    };
    for peer in [
        stalls(100.0, 30.0, Peer::far(20.0)),
        stalls(30.0, 10.0, Peer::far(20.0)),
    ] {
        settles(&brings(0.75, &peer, 5_000), 200..=256);
    }
    let run = brings(0.75, &stalls(100.0, 30.0, Peer::busy(2, 0.2)), 20_000);
    settles(&run, 8..=64);
}

#[test]
fn answers_that_are_late_by_chance_are_no_queue() {
    let peer = Peer {
        jitter: ms(200.0),
        ..Peer::far(20.0)
    };
    settles(&brings(0.8, &peer, 5_000), 200..=256);
}

#[test]
fn another_route_is_followed() {
    let moves = |from, to| Peer {
        moves: Some((ms(2_000.0), ms(to))),
        ..Peer::far(from)
    };
    settles(&brings(0.8, &moves(20.0, 80.0), 50_000), 200..=256);
    settles(&brings(0.9, &moves(80.0, 20.0), 50_000), 200..=256);
}

#[test]
fn the_ceiling_is_never_passed() {
    for ceiling in [1, 2, 5, 30] {
        let run = fetch_by(Window::of_small(ceiling), &Peer::far(20.0), 2_000, None);
        assert_eq!(run.widths[0].1, ceiling.min(8));
        assert_eq!(run.widest(), ceiling);
    }
}

#[test]
fn a_lane_that_has_little_to_do_keeps_its_width() {
    let mut window = Window::of_small(256);
    for n in 0..1_000 {
        let (begun, waited) = (ms(20.0) * n, ms(20.0));
        let file = Arrival {
            begun,
            waited,
            bytes: KIB,
        };
        assert_eq!(window.arrived(begun + waited, file), None);
    }
}

#[test]
fn what_was_under_way_when_the_peer_refused_counts_once() {
    let mut window = Window::of_small(256);
    assert!(window.pushed_back(ms(50.0), ms(10.0), 8).is_some());
    assert_eq!(window.pushed_back(ms(51.0), ms(20.0), 7), None);
    assert_eq!(window.width(), 4);
    assert!(window.pushed_back(ms(90.0), ms(60.0), 4).is_some());
    assert_eq!(window.width(), 2);
}

/// Bytes a second that so many large files bring: each no more than its connection can, all no more than the line.
fn large(line: f64, each: f64) -> usize {
    let mut window = Window::of_large(256);
    for step in 1..240 {
        window.held_up();
        let bytes = (each * window.width() as f64).min(line) / 4.0;
        window.moved(ms(250.0) * step, bytes as u64);
    }
    window.width()
}

#[test]
fn more_large_files_are_fetched_while_together_they_bring_more() {
    // Four already fill the line; a fifth is a probe that will go again.
    assert!((4..=5).contains(&large(1e8, 1e8)));
    assert!((4..=5).contains(&large(1e8, 4e7)));
    let many = large(1e8, 5e6);
    assert!((16..=32).contains(&many), "{many}");
    assert_eq!(large(1e12, 1e6), 64);
}

/// Two take the time before they take turns, and the later one may be first.
#[test]
fn an_arrival_of_a_moment_before_the_round_began_does_no_harm() {
    let mut window = Window::of_small(64);
    window.begins(ms(1_000.0));
    let file = |begun| Arrival {
        begun,
        waited: ms(1.0),
        bytes: KIB,
    };
    for _ in 1..FILES {
        assert_eq!(window.arrived(ms(1_001.0), file(ms(1_000.5))), None);
    }
    assert_eq!(window.arrived(ms(999.0), file(ms(998.0))), None);
}

#[test]
fn a_ceiling_that_moves_takes_the_width_along_and_a_higher_one_is_looked_for() {
    let mut window = Window::of_small(4);
    assert_eq!(window.width(), 4);
    assert_eq!(window.keep_to(4), None);
    // At the ceiling it looks for its width anew, from where it stands, with what it begins with as the least.
    assert_eq!(window.keep_to(64), None);
    assert!(matches!(window.mode, Mode::Opening { .. }));
    assert_eq!((window.width(), window.start), (4, SMALL));
    let change = window.keep_to(2).unwrap();
    assert_eq!((change.from, change.to, window.start), (4, 2, 2));
    let mut large = Window::of_large(64);
    assert_eq!(large.width(), LARGE);
    assert_eq!(large.keep_to(8).unwrap().to, 2, "a quarter of both lanes");
}
