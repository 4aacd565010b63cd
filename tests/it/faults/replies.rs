//! Faults of the transport: answers with another status than 200, refusals, and answers to ranges.

use std::time::Duration;

use axum::body::Bytes;
use emsync::cli::ExitCode;

use super::case::{Case, Expected, case};
use super::catalogue::Entry::*;
use super::faulty::{answer, set_range, to_login};
use super::transport::{BIG, F1, LIST, PAGE, once};
use super::world::World;
use crate::support::fault::Fault;

const NEXT: &str = "nextall";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = statuses();
    cases.extend(refusals());
    cases.extend(ranges());
    cases
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
        case(
            ServerError500,
            "an original that is always a 500 is set aside alone, while the login is fine",
        )
        .round(
            |world| world.emdb.faults().always(F1, Fault::Answer(answer(500))),
            Expected::partial(&[(F1, "500")], &[F1]).check(|world, _| {
                let tries = world.mirror.node.config.limits.attempts as usize;
                assert_eq!(world.emdb.requests(F1).len(), tries, "tries of the file");
                // Beside the two lists of the pass itself the login is probed before the file is blamed.
                assert_eq!(world.emdb.requests(LIST).len(), 2 + tries, "probes");
            }),
        ),
        case(
            ServerError500,
            "a 500 of an original while the key is refused ends the pass, and nothing is set aside",
        )
        .round(
            |world| {
                let faults = world.emdb.faults();
                faults.from("originals", 2, Fault::Answer(answer(500)));
                faults.from(LIST, 3, Fault::Answer(to_login()));
            },
            Expected::fails(ExitCode::KeyRefused).wherever(),
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
