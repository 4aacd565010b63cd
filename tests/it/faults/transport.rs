//! Faults of the transport: what happens to a request or its answer on the way.

use std::time::Duration;

use axum::body::Bytes;
use emsync::cli::ExitCode;
use serde_json::json;

use super::case::{Case, Expected, case};
use super::catalogue::Entry::*;
use super::faulty::{answer, gzip, longer, set_range, shorter, to_login};
use super::tls;
use super::world::{Door, World, short_timeouts};
use crate::support::fault::{Fault, Gate, Length, Reply};

const LIST: &str = "listalldocs";
const NEXT: &str = "nextall";
/// The first listing of a pass asks for the clock alone, the second is the page.
const PAGE: u64 = 2;
const F1: &str = "originals/Album/f1.bin";
const BIG: &str = "originals/Album/big.bin";

fn once(path: &'static str, nth: u64, fault: Fault) -> impl Fn(&World) {
    move |world| world.emdb.faults().once(path, nth, fault.clone())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = connections();
    cases.extend(bodies());
    cases.extend(statuses());
    cases.extend(refusals());
    cases.extend(ranges());
    cases
}

fn connections() -> Vec<Case> {
    vec![
        case(Refused, "a peer that is not up is a temporary failure")
            .door(Door::Shut)
            .round(|_| {}, Expected::stops(ExitCode::Temporary))
            .mend(|world| world.front.as_ref().unwrap().open()),
        case(
            DnsFlip,
            "another machine under the name refuses our key, and nothing moves",
        )
        .door(Door::Open)
        .seeded()
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    let stranger = crate::support::emdb::Emdb::start(Default::default()).await;
                    stranger.faults().always("", Fault::Answer(to_login()));
                    world.add("new", "Album/new.bin", "new");
                    world.front.as_ref().unwrap().lead_to(stranger.address());
                    world.stranger = Some(stranger);
                })
            }),
            Expected::stops(ExitCode::KeyRefused),
        )
        .mend(|world| world.front.as_ref().unwrap().lead_to(world.emdb.address())),
        case(
            DnsFlip,
            "a machine that is gone from the address is a temporary failure",
        )
        .door(Door::Open)
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                // A port that was bound once and is nobody's now.
                let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                world
                    .front
                    .as_ref()
                    .unwrap()
                    .lead_to(nobody.local_addr().unwrap());
            },
            Expected::stops(ExitCode::Temporary),
        )
        .mend(|world| world.front.as_ref().unwrap().lead_to(world.emdb.address())),
        case(
            TlsExpired,
            "an expired certificate is refused with its reason, and nothing moves",
        )
        .own(tls::expires),
        case(ResetAtByte, "a page that breaks off is asked for again").round(
            |world| {
                for (nth, at) in [(1, 0), (3, 1), (5, 400)] {
                    once(LIST, nth, Fault::CutAfter(at))(world);
                }
                once(LIST, 2, Fault::Reset)(world);
            },
            Expected::ok(),
        ),
        case(
            ResetAtByte,
            "files that break off are asked for again, large ones from where they stood",
        )
        .round(
            |world| {
                world.add_big();
                once(F1, 1, Fault::Reset)(world);
                once("originals/Album/f2", 1, Fault::CutAfter(3))(world);
                once("generatedpreview/Album/f0", 1, Fault::CutAfter(0))(world);
                once(BIG, 1, Fault::CutAfter(1_200_000))(world);
            },
            Expected::ok().check(|world, _| {
                let resumed = world.emdb.requests(BIG);
                let ranges: Vec<_> = resumed
                    .iter()
                    .filter_map(|request| request.headers.get("range"))
                    .collect();
                assert_eq!(ranges.len(), 1, "the large file was not resumed");
            }),
        ),
        case(
            ResetAtByte,
            "a file that always breaks off is set aside alone",
        )
        .round(
            |world| world.emdb.faults().always(F1, Fault::CutAfter(5)),
            Expected::partial(&[(F1, "")], &[F1]),
        ),
        case(ResetAtByte, "a page that always breaks off ends the pass").round(
            |world| world.emdb.faults().always(LIST, Fault::CutAfter(100)),
            Expected::stops(ExitCode::Temporary),
        ),
        case(Stall, "a file that stalls is given up and asked for again")
            .config(short_timeouts)
            .round(
                |world| once(F1, 1, Fault::Stall(3, Gate::default()))(world),
                Expected::ok(),
            ),
        case(Stall, "a page that stalls is given up and asked for again")
            .config(short_timeouts)
            .round(
                |world| once(LIST, PAGE, Fault::Stall(200, Gate::default()))(world),
                Expected::ok(),
            ),
        case(Stall, "a file that always stalls is set aside alone")
            .config(short_timeouts)
            .round(
                |world| {
                    world
                        .emdb
                        .faults()
                        .always(F1, Fault::Stall(3, Gate::default()))
                },
                Expected::partial(&[(F1, "")], &[F1]),
            ),
        case(
            HalfClose,
            "a page or file whose peer ended its direction is asked for again",
        )
        .round(
            |world| {
                world.add_big();
                once(LIST, PAGE, Fault::HalfClose(300))(world);
                once(F1, 1, Fault::HalfClose(4))(world);
                once(BIG, 1, Fault::HalfClose(1_100_000))(world);
            },
            Expected::ok(),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    vec![
        case(Trickle, "a file that drips for longer than the timeout arrives with its first request")
            .config(|config| config.limits.timeout = Duration::from_secs(2))
            .round(
                |world| {
                    world.add("slow", "Album/slow.bin", "thirty-two bytes, one by one....");
                    world.emdb.faults().always("originals/Album/slow", Fault::Trickle(Duration::from_millis(80)));
                },
                Expected::ok().check(|world, _| assert_eq!(world.emdb.requests("originals/Album/slow").len(), 1)),
            ),
        case(Trickle, "a page that drips for longer than its timeout arrives with its first request")
            .config(|config| config.limits.list_timeout = Duration::from_millis(1_500))
            .assets(0)
            .round(
                |world| {
 world.save("category", "c0", json!({"name": "x".repeat(100)}));
 once(LIST, PAGE, Fault::Trickle(Duration::from_millis(5)))(world);
},
                Expected::ok().check(|world, _| assert_eq!(world.emdb.requests(LIST).len(), 2)),
            ),
        case(GzipMedia, "a file that comes compressed once is asked for again").round(
            |world| {
                world.add_big();
                once(F1, 1, Fault::Change(gzip))(world);
                once(BIG, 1, Fault::Change(gzip))(world);
                once("generatedpreview/Album/f0", 1, Fault::Change(gzip))(world);
            },
            Expected::ok(),
        ),
        case(GzipMedia, "a file that always comes compressed is set aside, though nothing is known of its content").round(
            |world| {
                world.resave("asset", "a1", |members| {
                    for known in ["filesize", "md5hex"] {
                        members.as_object_mut().unwrap().remove(known);
                    }
                });
                world.emdb.faults().always(F1, Fault::Change(gzip));
            },
            Expected::partial(&[(F1, "gzip")], &[F1]),
        ),
        case(GzipMedia, "pages may come compressed")
            .round(|world| world.emdb.faults().always(LIST, Fault::Change(gzip)), Expected::ok()),
        case(Http10, "a peer of HTTP/1.0 is mirrored like any other")
            .page_size(2)
            .round(
                |world| {
                    world.add_big();
                    world.emdb.faults().always("", Fault::Http10);
                },
                Expected::ok(),
            ),
        case(EmptyBody, "an answer with nothing in it is asked for again").round(
            |world| {
                for path in [LIST, F1, "generatedpreview/Album/f0"] {
                    once(path, 1, Fault::Answer(Reply::plain(200, "text/json", "")))(world);
                }
            },
            Expected::ok(),
        ),
        case(EmptyBody, "an original that always comes empty is set aside with both values").round(
            |world| world.emdb.faults().always(F1, Fault::Answer(Reply::plain(200, "image/jpeg", ""))),
            Expected::partial(&[(F1, "d41d8cd98f00b204e9800998ecf8427e came")], &[F1]),
        ),
        case(EmptyBody, "a page that is always empty ends the pass").round(
            |world| world.emdb.faults().always(LIST, Fault::Answer(Reply::plain(200, "text/json", ""))),
            Expected::stops(ExitCode::Other),
        ),
        case(NoLength, "files and pages need not say how long they are").round(
            |world| {
                world.add_big();
                world.emdb.faults().always("", Fault::Change(|reply| reply.length = Length::Chunked));
            },
            Expected::ok(),
        ),
        case(NoLength, "a body without a length that is cut is no whole file").round(
            |world| {
                once(F1, 1, Fault::Change(|reply| {
                    reply.length = Length::Chunked;
                    reply.body.truncate(4);
                }))(world);
            },
            Expected::ok(),
        ),
        case(WrongLength, "a length that is not the body's costs another try").round(
            |world| {
                world.add_big();
                once(F1, 1, Fault::Change(longer))(world);
                once("originals/Album/f2", 1, Fault::Change(shorter))(world);
                once(BIG, 1, Fault::Change(longer))(world);
                once(LIST, PAGE, Fault::Change(longer))(world);
            },
            Expected::ok(),
        ),
        case(WrongLength, "a file that is always shorter than announced is set aside").round(
            |world| world.emdb.faults().always(F1, Fault::Change(shorter)),
            Expected::partial(&[(F1, "")], &[F1]),
        ),
    ]
}

fn statuses() -> Vec<Case> {
    vec![
        case(Proxy5xx, "what a proxy says in between is outlasted")
            .page_size(2)
            .round(
                |world| {
                    once(LIST, 1, Fault::Answer(answer(502)))(world);
                    once(NEXT, 1, Fault::Answer(answer(504)))(world);
                    once(F1, 1, Fault::Answer(answer(502)))(world);
                    once("generatedpreview/Album/f0", 1, Fault::Answer(answer(504)))(world);
                },
                Expected::ok(),
            ),
        case(
            Proxy5xx,
            "a proxy that never reaches the peer is a temporary failure",
        )
        .round(
            |world| world.emdb.faults().always("", Fault::Answer(answer(502))),
            Expected::stops(ExitCode::Temporary),
        )
        .requests(4),
        case(
            Proxy5xx,
            "one file that a proxy never gets is set aside with the status",
        )
        .round(
            |world| world.emdb.faults().always(F1, Fault::Answer(answer(504))),
            Expected::partial(&[(F1, "504")], &[F1]),
        ),
        case(Gone410, "a listing that is gone ends the pass")
            .round(
                |world| world.emdb.faults().always(LIST, Fault::Answer(answer(410))),
                Expected::stops(ExitCode::Other),
            )
            .requests(1),
        case(Gone410, "a file that is gone is set aside with the status").round(
            |world| world.emdb.faults().always(F1, Fault::Answer(answer(410))),
            Expected::partial(&[(F1, "410")], &[F1]),
        ),
        case(TooMany, "a peer that says it is busy is asked again")
            .page_size(2)
            .round(
                |world| {
                    world
                        .emdb
                        .faults()
                        .burst(LIST, 2, Fault::TooManyRequests(None));
                    world
                        .emdb
                        .faults()
                        .burst("originals", 3, Fault::TooManyRequests(None));
                },
                Expected::ok(),
            ),
        case(
            TooMany,
            "a peer that is always busy is left alone after its tries",
        )
        .round(
            |world| world.emdb.faults().always("", Fault::TooManyRequests(None)),
            Expected::stops(ExitCode::Temporary),
        )
        .requests(4),
        case(TooManyRetryAfter, "nobody asks before the peer said").round(
            |world| {
                once(LIST, PAGE, Fault::TooManyRequests(Some(1)))(world);
                once(F1, 1, Fault::TooManyRequests(Some(1)))(world);
            },
            Expected::ok().check(|world, _| {
                for path in [LIST, F1] {
                    let nth = if path == LIST { 1 } else { 0 };
                    let asked = world.emdb.requests(path);
                    let gap = asked[nth + 1].at - asked[nth].at;
                    assert!(
                        gap >= Duration::from_secs(1),
                        "{path} was asked for again after {gap:?}"
                    );
                }
            }),
        ),
        case(Unavailable503, "a burst of 503 is outlasted")
            .page_size(2)
            .round(
                |world| {
                    world.emdb.faults().burst(LIST, 3, Fault::Unavailable(None));
                    world.emdb.faults().burst(NEXT, 2, Fault::Unavailable(None));
                    world
                        .emdb
                        .faults()
                        .burst("downloads", 6, Fault::Unavailable(None));
                },
                Expected::ok(),
            ),
        case(Unavailable503, "a longer burst is a temporary failure")
            .round(
                |world| world.emdb.faults().burst("", 40, Fault::Unavailable(None)),
                Expected::stops(ExitCode::Temporary),
            )
            .requests(4),
        case(NotFoundOnce, "a file that is there the second time arrives").round(
            |world| {
                once(F1, 1, Fault::Answer(answer(404)))(world);
                once("generatedpreview/Album/f0", 1, Fault::Answer(answer(404)))(world);
            },
            Expected::ok(),
        ),
        case(
            NotFoundOnce,
            "a file that never is there is set aside alone",
        )
        .round(
            |world| world.emdb.faults().always(F1, Fault::Answer(answer(404))),
            Expected::partial(&[(F1, "404")], &[F1]),
        ),
    ]
}

fn refusals() -> Vec<Case> {
    vec![
        case(
            RedirectToLogin,
            "a listing that leads to a login is a refused key",
        )
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                world.emdb.faults().always(LIST, Fault::Answer(to_login()));
            },
            Expected::stops(ExitCode::KeyRefused),
        )
        .requests(1),
        case(
            RedirectToLogin,
            "a login page in place of a listing is a refused key",
        )
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                world.emdb.faults().always(LIST, Fault::Answer(answer(200)));
            },
            Expected::stops(ExitCode::KeyRefused),
        )
        .requests(1),
        case(
            RedirectToLogin,
            "one original that leads to a login is set aside, never its page",
        )
        .round(
            |world| {
                world.emdb.faults().always(F1, Fault::Answer(to_login()));
                world
                    .emdb
                    .faults()
                    .always("originals/Album/f2", Fault::LoginPage);
            },
            Expected::partial(
                &[(F1, "302"), ("f2.bin", "HTML")],
                &[F1, "originals/Album/f2"],
            ),
        ),
        case(
            Unauthorised401,
            "a key that is taken back in mid-run ends the pass, and nothing is set aside",
        )
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .from("originals", 2, Fault::Answer(answer(401)));
                world
                    .emdb
                    .faults()
                    .from(LIST, 3, Fault::Answer(answer(401)));
            },
            Expected::fails(ExitCode::KeyRefused).wherever(),
        ),
        case(
            Unauthorised401,
            "a key that is taken back between two pages ends the pass",
        )
        .page_size(2)
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .from(NEXT, 1, Fault::Answer(answer(401)));
                world
                    .emdb
                    .faults()
                    .from(LIST, 3, Fault::Answer(answer(401)));
            },
            Expected::fails(ExitCode::KeyRefused),
        ),
        case(
            Forbidden403,
            "one asset that we may not have is set aside alone",
        )
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .always("Album/f1.bin", Fault::Answer(answer(403)))
            },
            Expected::partial(
                &[(F1, "403"), ("generated/Album/f1", "403")],
                &["Album/f1.bin"],
            ),
        ),
    ]
}

/// The first try of the large file ends after most of it; the second, which asks for the rest, meets `fault`.
fn second_meets(fault: Fault) -> impl Fn(&World) {
    move |world| {
        world.add_big();
        once(BIG, 1, Fault::CutAfter(1_200_000))(world);
        once(BIG, 2, fault.clone())(world);
    }
}

fn ranges() -> Vec<Case> {
    let asked_for_a_range = |world: &World, _: &_| {
        let asked = world.emdb.requests(BIG);
        assert!(
            asked[1].headers.contains_key("range"),
            "the second try asked for the whole"
        );
    };
    let resumed = || Expected::ok().check(asked_for_a_range);
    vec![
        case(WrongContentRange, "a part from elsewhere is not appended").round(
            |world| {
                second_meets(Fault::Change(|reply| {
                    set_range(reply, "bytes 10-299999/1500000")
                }))(world)
            },
            resumed(),
        ),
        case(
            WrongContentRange,
            "a part that does not say where it begins is not taken for the whole",
        )
        .round(
            |world| {
                second_meets(Fault::Change(|reply| {
                    reply.headers.retain(|(name, _)| *name != "content-range")
                }))(world)
            },
            resumed(),
        ),
        case(
            WrongContentRange,
            "a part whose place cannot be read is not taken for the whole",
        )
        .round(
            |world| second_meets(Fault::Change(|reply| set_range(reply, "nonsense")))(world),
            resumed(),
        ),
        case(
            WrongContentRange,
            "a part of a file of another size is not appended",
        )
        .round(
            |world| {
                second_meets(Fault::Change(|reply| {
                    set_range(reply, "bytes 1200000-1499999/1600000")
                }))(world)
            },
            resumed(),
        ),
        case(
            WrongContentRange,
            "a part that is another than it says is found out by its digest",
        )
        .round(|world| second_meets(Fault::WrongBytes)(world), resumed()),
        case(
            WrongContentRange,
            "a part that nobody asked for is not taken for the whole",
        )
        .round(
            |world| {
                once(
                    F1,
                    1,
                    Fault::Change(|reply| {
                        reply.status = 206;
                        reply.body.truncate(4);
                        set_range(reply, "bytes 0-3/17");
                    }),
                )(world)
            },
            Expected::ok(),
        ),
        case(
            ChangedFile206,
            "the rest of another file is not appended to the first",
        )
        .round(
            |world| {
                second_meets(Fault::Change(|reply| {
                    let other: Bytes = reply.body.iter().map(|byte| byte ^ 0x55).collect();
                    reply.body = other;
                    *reply = reply.clone().with("etag", "1772201009999");
                }))(world)
            },
            resumed(),
        ),
        case(WholeForRange, "the whole in answer to a range is the whole")
            .round(|world| second_meets(Fault::IgnoreRange)(world), resumed()),
        case(
            RangeStartIgnored,
            "a part from the first byte is not appended",
        )
        .round(|world| second_meets(Fault::RangeFromZero)(world), resumed()),
    ]
}
