//! Faults of a listing: pages that contradict each other, stop, or do not hold what they should.

use axum::body::Bytes;
use emsync::cli::ExitCode;
use serde_json::{Value, json};

use super::case::{Case, Expected, case};
use super::catalogue::Entry::*;
use super::faulty::{rewrite, without_files};
use super::world::{CLUSTER, World};
use crate::support::emdb::{Doc, KEY};
use crate::support::fault::{Fault, Reply};

const LIST: &str = "listalldocs";
const NEXT: &str = "nextall";

fn page(text: &str) -> Fault {
    Fault::Answer(Reply::plain(200, "text/json;charset=UTF-8", text))
}

/// An error in form, with the key in it and a quote that makes it no JSON where `broken` (H-38).
fn error(status: u16, broken: bool) -> Fault {
    let quote = if broken { "\"" } else { "" };
    let text = format!(
        "{{\"reponse\":{{\"status\":\"error\",\"path\":\"{quote}x\",\"details\":\"token {KEY}: No search context found, expired\"}}}}"
    );
    Fault::Answer(Reply::plain(status, "text/json", &text))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = pages();
    cases.extend(cursors());
    cases.extend(statuses());
    cases.extend(members());
    cases.extend(damage());
    cases
}

fn pages() -> Vec<Case> {
    let whole = |entry, name, assets: usize, page_size: usize| {
        case(entry, name)
            .assets(assets)
            .page_size(page_size)
            .round(|_| {}, Expected::ok())
    };
    vec![
        whole(PagesZero, "a master that has nothing is mirrored", 0, 1_000),
        whole(PagesOne, "one page is the whole", 4, 5),
        whole(PagesTwo, "two full pages are the whole", 5, 3),
        whole(PagesThree, "three pages are the whole", 4, 2),
        whole(PagesMany, "a page for each record is the whole", 9, 1),
        case(
            TotalShrinks,
            "a total that shrinks begins the listing again",
        )
        .page_size(2)
        .round(
            |world| {
                world.emdb.faults().once(
                    NEXT,
                    1,
                    Fault::Change(|reply| {
                        rewrite(reply, |page| {
                            page["response"]["totalhits"] = json!(4);
                            page["response"]["pages"] = json!(2);
                        })
                    }),
                )
            },
            Expected::ok(),
        ),
        case(
            TotalShrinks,
            "a page that lost a record begins the listing again",
        )
        .page_size(2)
        .round(
            |world| {
                world.emdb.faults().once(
                    NEXT,
                    2,
                    Fault::Change(|reply| {
                        rewrite(reply, |page| {
                            page["response"]["totalhits"] = json!(4);
                            page["results"] = json!([]);
                        })
                    }),
                )
            },
            Expected::ok(),
        ),
        case(TotalShrinks, "a total that shrinks each time ends the pass")
            .page_size(2)
            .round(
                |world| {
                    world.emdb.faults().always(
                        NEXT,
                        Fault::Change(|reply| {
                            rewrite(reply, |page| {
                                page["response"]["pages"] = json!(2);
                            })
                        }),
                    )
                },
                Expected::fails(ExitCode::Temporary),
            ),
        case(TotalGrows, "a total that grows begins the listing again")
            .page_size(2)
            .round(
                |world| {
                    world.emdb.faults().once(
                        NEXT,
                        1,
                        Fault::Change(|reply| {
                            rewrite(reply, |page| {
                                page["response"]["totalhits"] = json!(7);
                                page["response"]["pages"] = json!(4);
                            })
                        }),
                    )
                },
                Expected::ok(),
            ),
        case(
            DuplicatesAndGaps,
            "a page that repeats the one before begins the listing again",
        )
        .page_size(2)
        .round(
            |world| world.emdb.faults().once(NEXT, 1, Fault::RepeatPage),
            Expected::ok(),
        ),
        case(
            DuplicatesAndGaps,
            "pages that always repeat end the pass, and the files that came stay",
        )
        .page_size(2)
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                world.emdb.faults().always(NEXT, Fault::RepeatPage);
            },
            Expected::fails(ExitCode::Temporary).everything(),
        ),
    ]
}

fn cursors() -> Vec<Case> {
    vec![
        case(
            ScrollExpired,
            "a cursor that expired begins the listing again",
        )
        .page_size(2)
        .round(
            |world| {
                world.emdb.faults().once(NEXT, 1, error(500, false));
                world.emdb.faults().once(NEXT, 3, error(500, true));
            },
            Expected::ok(),
        ),
        case(ScrollExpired, "a cursor that always expires ends the pass")
            .page_size(2)
            .round(
                |world| world.emdb.faults().always(NEXT, error(500, true)),
                Expected::fails(ExitCode::Temporary),
            ),
        case(
            SessionLost,
            "a session that is lost once begins the listing again",
        )
        .page_size(1)
        .round(
            |world| world.emdb.faults().once(NEXT, 2, Fault::ForgetSessions),
            Expected::ok(),
        ),
        case(SessionLost, "sessions that are always lost end the pass")
            .page_size(1)
            .round(
                |world| world.emdb.faults().always(NEXT, Fault::ForgetSessions),
                Expected::fails(ExitCode::Temporary),
            ),
        case(
            WindowDrift,
            "what was saved before a window that begins too late is asked for again",
        )
        .config(|config| config.limits.overlap = std::time::Duration::ZERO)
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                world.set_clock(5);
            },
            Expected::ok(),
        )
        .mend(|world| world.set_clock(0)),
    ]
}

fn statuses() -> Vec<Case> {
    vec![
        case(StatusOk, "status ok is a page")
            .round(
                |world| world.emdb.faults().always("no such path", Fault::Reset),
                Expected::ok(),
            )
            .requests(16),
        case(
            StatusEmpty,
            "two complete listings that say empty take nothing away",
        )
        .seeded()
        .round(
            |world| world.emdb.faults().always(LIST, page(EMPTY)),
            Expected::ok().lacking(&[]).everything(),
        )
        .round(|_| {}, Expected::ok().everything())
        .recovers_by(emsync::pull::metadata::Scope::Everything),
        case(StatusError, "status error is asked again")
            .page_size(2)
            .round(
                |world| {
                    world.emdb.faults().once(LIST, 1, error(200, false));
                    world.emdb.faults().once(NEXT, 1, error(200, false));
                },
                Expected::ok(),
            ),
        case(StatusError, "a peer that always says error ends the pass")
            .seeded()
            .round(
                |world| world.emdb.faults().always(LIST, error(200, false)),
                Expected::stops(ExitCode::Temporary).everything(),
            )
            .requests(4),
        case(StatusMissing, "a page without a status is asked for again").round(
            |world| {
                world
                    .emdb
                    .faults()
                    .once(LIST, 2, Fault::Change(without_status))
            },
            Expected::ok(),
        ),
        case(StatusMissing, "pages that never have a status end the pass")
            .round(
                |world| {
                    world
                        .emdb
                        .faults()
                        .always(LIST, Fault::Change(without_status))
                },
                Expected::stops(ExitCode::Other),
            )
            .requests(4),
    ]
}

const EMPTY: &str = r#"{"generated":[],"response":{"hitssessionid":"hitsallchanges","hitsperpage":1000,"pages":0,"catalogid":"finder\/catalog","totalhits":0,"page":1,"status":"empty"},"results":[]}"#;

fn without_status(reply: &mut Reply) {
    rewrite(reply, |page| {
        drop(page["response"].as_object_mut().unwrap().remove("status"))
    });
}

/// Every number below becomes text.
fn as_text(value: &mut Value) {
    match value {
        Value::Number(number) => *value = json!(number.to_string()),
        Value::Array(items) => items.iter_mut().for_each(as_text),
        Value::Object(members) => members.values_mut().for_each(as_text),
        _ => {}
    }
}

fn members() -> Vec<Case> {
    vec![
        case(NumbersAsText, "numbers as text are numbers")
            .page_size(2)
            .round(
                |world| {
                    world
                        .emdb
                        .faults()
                        .always("all", Fault::Change(|reply| rewrite(reply, as_text)))
                },
                Expected::ok(),
            ),
        case(
            FilesMissing,
            "entries that say nothing of files are set aside, and take no rendition away",
        )
        .seeded()
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .always(LIST, Fault::Change(without_files))
            },
            without_lists(&[]).everything(),
        )
        .round(|_| {}, without_lists(&[]).everything())
        .round(|_| {}, without_lists(&[]).everything()),
        case(
            FilesMissing,
            "originals of an entry that says nothing of files arrive",
        )
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .always(LIST, Fault::Change(without_files))
            },
            without_lists(&["generated/"]),
        ),
        case(
            StatusNull,
            "records without an edit history are stored with their files",
        )
        .round(
            |world| {
                world.emdb.faults().always(
                    LIST,
                    Fault::Change(|reply| {
                        rewrite(reply, |page| {
                            for row in page["results"].as_array_mut().unwrap() {
                                row["source"]["emrecordstatus"] = Value::Null;
                            }
                        })
                    }),
                )
            },
            Expected::ok(),
        ),
        case(
            UnknownTable,
            "a table nobody knows is stored like any other",
        )
        .round(
            |world| world.save("zebraCrossing2", "z", json!({"stripes": 9})),
            Expected::ok(),
        ),
        case(UnknownTable, "a table that cannot be is set aside")
            .round(
                |world| world.save("no table!", "x", json!({})),
                Expected::partial(&[("no table!", "")], &[]),
            )
            .mend(|world| {
                world
                    .emdb
                    .edit(|content| content.hard_delete("no table!", "x"))
            })
            .recovers_by(emsync::pull::metadata::Scope::Everything),
        case(SameIdTwice, "one id in two tables is two records").round(
            |world| world.save("category", "a1", json!({"name": "not the asset"})),
            Expected::ok(),
        ),
        case(HugePage, "a page of 50 MB is taken")
            .round(
                |world| {
                    for n in 0..10 {
                        world.save(
                            "librarycollection",
                            &format!("l{n}"),
                            json!({"longcaption": "wörter ".repeat(670_000)}),
                        );
                    }
                },
                Expected::ok(),
            )
            .mend(|world| {
                // So that the passes that follow need not carry it.
                for n in 0..10 {
                    let id = format!("l{n}");
                    let gone = Doc::new("librarycollection", &id, CLUSTER, world.now(), json!({}));
                    world.emdb.edit(|content| content.record(gone.deleted()));
                }
            }),
    ]
}

fn without_lists(lacking: &'static [&'static str]) -> Expected {
    let aside = [
        "record:file/a0/",
        "record:file/a1/",
        "record:file/a2/",
        "record:file/a3/",
    ];
    Expected::partial(&aside.map(|subject| (subject, "no list of files")), lacking)
}

fn damage() -> Vec<Case> {
    vec![
        case(
            TruncatedJson,
            "a page that stops in the middle is asked for again",
        )
        .page_size(2)
        .round(
            |world| {
                world.emdb.faults().once(LIST, 2, Fault::TruncatedJson);
                world.emdb.faults().once(NEXT, 1, Fault::TruncatedJson);
            },
            Expected::ok(),
        ),
        case(
            TruncatedJson,
            "pages that always stop in the middle end the pass",
        )
        .page_size(2)
        .seeded()
        .round(
            |world| {
                world.add("new", "Album/new.bin", "new");
                world.emdb.faults().always(NEXT, Fault::TruncatedJson);
            },
            Expected::fails(ExitCode::Other).everything(),
        ),
        case(
            InvalidUtf8,
            "a page that is no UTF-8 once is asked for again",
        )
        .round(
            |world| {
                world
                    .emdb
                    .faults()
                    .once(LIST, 2, Fault::Change(broken_text))
            },
            Expected::ok(),
        ),
        case(InvalidUtf8, "pages that never are UTF-8 end the pass")
            .round(
                |world| world.emdb.faults().always(LIST, Fault::Change(broken_text)),
                Expected::stops(ExitCode::Other),
            )
            .requests(4),
    ]
}

fn broken_text(reply: &mut Reply) {
    let mut bytes = reply.body.to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] = 0xff;
    reply.body = Bytes::from(bytes);
}

/// The path a listing states for the rendition of `f1` is another one.
pub(super) fn rename_rendition(reply: &mut Reply, to: &str) {
    rewrite(reply, |page| {
        for entry in page["generated"].as_array_mut().unwrap() {
            for file in entry["files"].as_array_mut().unwrap() {
                if file["localpath"].as_str().unwrap().contains("/f1.bin/") {
                    file["localpath"] = json!(to);
                }
            }
        }
    });
}

/// The master saves an asset whose path nobody can use; it has no files.
pub(super) fn save_at(world: &World, path: &str) {
    let mut members = super::world::members("x", b"abc", super::world::MTIME);
    members["sourcepath"] = json!(path);
    world.save("asset", "odd", members);
}
