//! Faults of the transport: connections that break, stall or lead elsewhere, and bodies that are not what they should be.

use std::time::Duration;

use emsync::cli::ExitCode;
use emsync::pull::metadata::Scope;
use serde_json::json;

use super::case::{Case, Expected, Later, case, one_pass, recover};
use super::catalogue::Entry::*;
use super::faulty::{gzip, longer, shorter, to_login};
use super::invariants::{self, MayGo};
use super::tls;
use super::world::{Door, World, short_timeouts};
use crate::support::fault::{Fault, Gate, Length, Reply};

pub(super) const LIST: &str = "listalldocs";
/// The first listing of a pass asks for the clock alone, the second is the page.
pub(super) const PAGE: u64 = 2;
pub(super) const F1: &str = "originals/Album/f1.bin";
pub(super) const BIG: &str = "originals/Album/big.bin";

pub(super) fn once(path: &'static str, nth: u64, fault: Fault) -> impl Fn(&World) {
    move |world| world.emdb.faults().once(path, nth, fault.clone())
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = connections();
    cases.extend(bodies());
    cases.extend(super::replies::cases());
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
        case(Trickle, "a pass whose file would drip for weeks fetches the others and ends when it is asked to").own(drips_for_weeks),
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

/// At a byte a second a large file takes weeks, and nothing cuts it while it comes.
fn drips_for_weeks() -> Later<'static> {
    Box::pin(async {
        let mut world = World::new(4, 1_000, Door::None, |_| {}).await;
        world.add_big();
        world
            .emdb
            .faults()
            .always(BIG, Fault::Trickle(Duration::from_secs(1)));
        let others_then_stop = async {
            let files = || async { invariants::rows(&world.mirror).await.len() };
            // Four originals and five renditions.
            while files().await < 9 || world.emdb.requests(BIG).is_empty() {
                tokio::task::yield_now().await;
            }
            world.mirror.shutdown.request();
        };
        let nothing = MayGo::default();
        let pass = one_pass(&world, Scope::Changes, &nothing, 60, "drips");
        let both = async { tokio::join!(pass, others_then_stop) };
        let (ended, ()) = tokio::time::timeout(Duration::from_secs(60), both)
            .await
            .expect("the pass goes on");
        assert_eq!(ended.exit, ExitCode::Interrupted);
        world.emdb.faults().clear();
        world.mirror = world.mirror.restarted();
        recover(&world, (Scope::Changes, &MayGo::default()), 60).await;
    })
}
