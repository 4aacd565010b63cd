//! States of a master that no protocol forbids: clocks, edits on two sides, records that come back, digests that lie.

use std::time::Duration;

use emsync::cli::ExitCode;
use emsync::model::{Sha256, Timestamp};
use emsync::protocol::lenient::parse_date;
use emsync::pull::metadata::Scope;
use serde_json::{Value, json};

use super::case::{Case, Expected, case};
use super::catalogue::Entry::*;
use super::invariants::trash;
use super::twice;
use super::world::{CLUSTER, MTIME, World, forget_files, md5, members};
use crate::support::emdb::Doc;
use crate::support::fault::{Fault, Reply};

const F1: &str = "originals/Album/f1.bin";

/// Cases whose feature is not built yet: run as soon as it is, and only counted until then.
pub(super) const PENDING: &[&str] = &[];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = clocks();
    cases.extend(edits());
    cases.extend(deletes());
    cases.extend(owners());
    cases.extend(contents());
    cases.extend(crops());
    cases
}

fn clocks() -> Vec<Case> {
    let off = |entry, name, minutes| {
        case(entry, name)
            .given(minutes)
            .round(World::resave_all, Expected::ok().finding("clock of master"))
            .round(
                |world| {
                    world.add("new", "Album/new.bin", "new");
                    world.resave("asset", "a1", |members| {
                        members["assettitle"] = json!("edited")
                    });
                },
                Expected::ok(),
            )
            .mend(|world| world.add("last", "Album/last.bin", "last"))
    };
    vec![
        off(ClockAhead, "a clock ten minutes ahead is reported, and nothing is missed", |world| world.set_clock(10)),
        off(ClockBehind, "a clock ten minutes behind is reported, and nothing is missed", |world| world.set_clock(-10)),
        case(ClockAhead, "a clock twenty minutes ahead stops the pass")
            .seeded()
            .round(
                |world| {
                    world.set_clock(20);
                    world.add("new", "Album/new.bin", "new");
                },
                Expected::stops(ExitCode::Fatal),
            )
            .mend(|world| {
                world.set_clock(0);
                world.resave("asset", "new", |_| {});
            }),
        case(ClockJumpsBack, "what is saved after the clock was set back arrives; what looks older stays and is kept as a conflict")
            .round(|world| world.set_clock(10), Expected::ok())
            .round(
                |world| {
                    world.set_clock(-1);
                    world.add("new", "Album/new.bin", "new");
                    world.resave("asset", "a1", |members| members["assettitle"] = json!("edited"));
                },
                Expected::ok().conflicts(1),
            )
            .mend(|world| {
                // Later than anything it said while it was ahead.
                world.set_clock(11);
                world.resave("asset", "a1", |members| members["assettitle"] = json!("edited again"));
            }),
        case(Dst, "dates of a zone that leaves summer time are the moments they are")
            .seeded()
            .round(
                |world| {
                    world.add("summer", "Album/summer.bin", "summer");
                    zone(world, "summer", 2);
                    world.add("winter", "Album/winter.bin", "winter");
                    zone(world, "winter", 1);
                    world.emdb.faults().always("all", Fault::Change(|reply| since_in(reply, 2)));
                },
                Expected::ok(),
            )
            .round(
                |world| {
                    world.emdb.faults().clear();
                    world.emdb.faults().always("all", Fault::Change(|reply| since_in(reply, 1)));
                    world.resave("asset", "summer", |members| members["assettitle"] = json!("edited"));
                    zone(world, "summer", 1);
                },
                Expected::ok(),
            ),
    ]
}

/// The same moment on the wall of a zone so many hours east.
fn on_the_wall(date: &str, hours: u64) -> String {
    let moment = parse_date(date)
        .unwrap()
        .plus(Duration::from_secs(hours * 3_600));
    moment.to_string().replace('Z', &format!("+0{hours}00"))
}

/// Writes the dates of an asset as a node in another zone might.
fn zone(world: &World, id: &str, hours: u64) {
    world.emdb.edit(|content| {
        let doc = content.docs.iter_mut().find(|doc| doc.id == id).unwrap();
        for date in ["recordmodificationdate", "masterrecordmodificationdate"] {
            let date = &mut doc.source["emrecordstatus"][date];
            *date = json!(on_the_wall(date.as_str().unwrap(), hours));
        }
        let date = &mut doc.source["assetmodificationdate"];
        *date = json!(on_the_wall(date.as_str().unwrap(), hours));
    });
}

/// `sincedate` as a server in such a zone writes it.
fn since_in(reply: &mut Reply, hours: u64) {
    let mut page: Value = serde_json::from_slice(&reply.body).unwrap();
    let Some(since) = page["response"]["sincedate"].as_str().map(str::to_owned) else {
        return;
    };
    let wall = on_the_wall(&since, hours);
    page["response"]["sincedate"] = json!(format!("{} {} +0{hours}00", &wall[..10], &wall[11..19]));
    reply.body = page.to_string().into();
}

fn edits() -> Vec<Case> {
    vec![
        case(
            EqualDates,
            "of two contents under the same dates every node takes the same one",
        )
        .own(twice::equal_dates),
        case(
            EqualDates,
            "the other content under the same dates is kept as a conflict",
        )
        .seeded()
        .round(
            |world| {
                world.emdb.edit(|content| {
                    let doc = content.docs.iter_mut().find(|doc| doc.id == "a1").unwrap();
                    doc.source["assettitle"] = json!("another");
                })
            },
            Expected::ok().conflicts(1),
        )
        .mend(|world| world.resave("asset", "a1", |_| {})),
        case(
            EditsOnBothSides,
            "the later edit of the master is taken, and ours is kept whole",
        )
        .seeded()
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    world
                        .edit_here("asset", "a1", |members| {
                            members["assettitle"] = json!("ours")
                        })
                        .await;
                    world.resave("asset", "a1", |members| {
                        members["assettitle"] = json!("theirs")
                    });
                })
            }),
            Expected::ok().conflicts(1),
        )
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    let stored = world.stored("asset", "a1").await.unwrap();
                    assert!(stored.record.source.contains("theirs"));
                    let kept = world.mirror.node.catalogue.conflicts(10).await.unwrap();
                    assert!(kept[0].local_source.contains("ours"));
                })
            }),
            Expected::ok().conflicts(1),
        ),
        case(
            EditsOnBothSides,
            "our edit stays while the master has not saved the record again",
        )
        .seeded()
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    world
                        .edit_here("asset", "a1", |members| {
                            members["assettitle"] = json!("ours")
                        })
                        .await;
                    world.add("new", "Album/new.bin", "new");
                })
            }),
            Expected::ok().everything(),
        )
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    assert!(
                        world
                            .stored("asset", "a1")
                            .await
                            .unwrap()
                            .record
                            .source
                            .contains("ours")
                    );
                })
            }),
            Expected::ok(),
        )
        .mend(|world| {
            world.resave("asset", "a1", |members| {
                members["assettitle"] = json!("theirs")
            })
        }),
    ]
}

fn deletes() -> Vec<Case> {
    vec![
        case(
            DeleteAgainstEdit,
            "a tombstone that is later than our edit wins, and ours is kept whole",
        )
        .seeded()
        .round_later(
            Box::new(|world| {
                Box::pin(async move {
                    world
                        .edit_here("asset", "a1", |members| {
                            members["assettitle"] = json!("ours")
                        })
                        .await;
                    world.delete("a1");
                })
            }),
            Expected::ok().taking(&["a1"], &["@a1"]).conflicts(1),
        ),
        case(
            DeleteAgainstEdit,
            "a tombstone whose date is before the master's last save loses",
        )
        .seeded()
        .round(
            |world| {
                let old = world.source("asset", "a1");
                let date = parse_date(
                    old["emrecordstatus"]["recordmodificationdate"]
                        .as_str()
                        .unwrap(),
                )
                .unwrap();
                let doc = Doc::new(
                    "asset",
                    "a1",
                    CLUSTER,
                    date.minus(Duration::from_millis(5)),
                    old,
                );
                world.emdb.edit(|content| content.record(doc.deleted()));
            },
            Expected::ok().conflicts(1).everything(),
        )
        .mend(|world| world.add("a1", "Album/f1.bin", "content of file 1")),
        case(
            Undelete,
            "an asset that lives again comes back with its files",
        )
        .seeded()
        .round(
            |world| world.delete("a1"),
            Expected::ok().taking(&["a1"], &["@a1"]),
        )
        .round(
            |world| world.add("a1", "Album/f1.bin", "content of file 1"),
            Expected::ok(),
        ),
        case(
            HardDelete,
            "a record that is gone from two complete listings goes with its files, and not before",
        )
        .seeded()
        .round(|world| world.forget("a1"), Expected::ok())
        .round(|_| {}, Expected::ok().may_take(&["a1"], &["@a1"]))
        .round(
            |_| {},
            Expected::ok()
                .may_take(&["a1"], &["@a1"])
                .check(|world, _| {
                    let gone = !world
                        .mirror
                        .path(emsync::model::FileKind::Original, "Album/f1.bin")
                        .exists();
                    assert!(gone, "the original is still there");
                    assert!(
                        trash(&world.mirror).contains(&Sha256::of(b"content of file 1")),
                        "it is not in the trash"
                    );
                }),
        ),
        case(
            MassMarked,
            "more marks than the guard allows are held, and nothing goes",
        )
        .assets(30)
        .seeded()
        .requests(120)
        .round(|world| mark(world, "7"), Expected::guarded(12))
        .mend(|world| mark(world, "6")),
    ]
}

fn mark(world: &World, status: &str) {
    for n in 0..12 {
        world.resave("asset", &format!("a{n}"), |members| {
            members["editstatus"] = json!(status)
        });
    }
}

fn owners() -> Vec<Case> {
    vec![
        case(
            MasterIdChanged,
            "records of a master that was renamed are followed",
        )
        .seeded()
        .round(
            |world| {
                for id in ["a0", "a1"] {
                    let doc = Doc::new(
                        "asset",
                        id,
                        "node-b-cluster",
                        world.now(),
                        world.source("asset", id),
                    );
                    world.emdb.edit(|content| content.record(doc));
                }
                let bytes = b"made under the new id";
                let made = members("Album/new.bin", bytes, MTIME);
                let doc = Doc::new("asset", "new", "node-b-cluster", world.now(), made);
                world.emdb.edit(|content| {
                    content.record(doc);
                    content.original("Album/new.bin", &bytes[..], MTIME);
                });
            },
            Expected::ok(),
        )
        .round(
            |world| {
                let source = world.source("asset", "a0");
                let doc = Doc::new("asset", "a0", "node-b-cluster", world.now(), source).deleted();
                world.emdb.edit(|content| {
                    content.record(doc);
                    forget_files(content, "Album/f0.bin");
                });
            },
            Expected::ok().taking(&["a0"], &["@a0"]),
        ),
        case(
            TwoMasters,
            "of two masters' records every node takes the same one, with its file",
        )
        .own(twice::two_masters),
    ]
}

/// What takes the place of `f1`, in its size.
const NEWER: &str = "CONTENT OF FILE 1";

/// Replaces the original of `f1` by another of the same size.
fn replace(world: &World, mtime: i64, change: impl FnOnce(&mut Value, &[u8])) {
    world
        .emdb
        .edit(|content| content.original("Album/f1.bin", NEWER, mtime));
    world.resave("asset", "a1", |members| change(members, NEWER.as_bytes()));
}

/// The same a minute later, and the record says so.
fn replace_later(world: &World, change: impl FnOnce(&mut Value, &[u8])) {
    let later = MTIME + 60_000;
    replace(world, later, |members, bytes| {
        members["assetmodificationdate"] = json!(Timestamp::from_millis(later).to_string());
        change(members, bytes);
    });
}

fn contents() -> Vec<Case> {
    vec![
        case(
            ReplacedInPlace,
            "an original of the same size and time is fetched when its MD5 is another",
        )
        .seeded()
        .round(
            |world| {
                replace(world, MTIME, |members, bytes| {
                    members["md5hex"] = json!(md5(bytes))
                })
            },
            Expected::ok().check(|world, _| {
                assert!(
                    trash(&world.mirror).contains(&Sha256::of(b"content of file 1")),
                    "the old one was not kept"
                );
            }),
        ),
        case(
            ReplacedInPlace,
            "an original of the same size, time and stated MD5 cannot be told from the old one",
        )
        .seeded()
        .round(
            |world| replace(world, MTIME, |_, _| {}),
            Expected::ok().lacking(&[F1]),
        )
        .mend(|world| {
            replace(world, MTIME, |members, bytes| {
                members["md5hex"] = json!(md5(bytes))
            })
        }),
        case(
            Md5Absent,
            "an original is compared by size and time where no MD5 is stated",
        )
        .round(
            |world| {
                (0..4).for_each(|n| {
                    world.resave("asset", &format!("a{n}"), |members| {
                        members.as_object_mut().unwrap().remove("md5hex");
                    })
                })
            },
            Expected::ok(),
        )
        .round(|world| replace_later(world, |_, _| {}), Expected::ok()),
        case(
            Md5Absent,
            "an MD5 that is stated later fetches nothing again",
        )
        .round(
            |world| {
                world.resave("asset", "a1", |members| {
                    drop(members.as_object_mut().unwrap().remove("md5hex"))
                })
            },
            Expected::ok(),
        )
        .round(
            |world| {
                world.resave("asset", "a1", |members| {
                    members["md5hex"] = json!(md5(b"content of file 1"))
                })
            },
            Expected::ok(),
        ),
        case(
            Md5Stale,
            "a file that is newer than its record's MD5 is set aside with both",
        )
        .given(|world| {
            world
                .emdb
                .edit(|content| content.original("Album/f1.bin", NEWER, MTIME))
        })
        .round(|_| {}, Expected::partial(&[(F1, "MD5")], &[F1]))
        .mend(|world| {
            world.resave("asset", "a1", |members| {
                members["md5hex"] = json!(md5(NEWER.as_bytes()))
            })
        }),
        case(
            Md5Stale,
            "a record that still states the MD5 of what is here keeps it until it states another",
        )
        .seeded()
        .round(
            |world| replace_later(world, |_, _| {}),
            Expected::ok().lacking(&[F1]),
        )
        .mend(|world| {
            replace_later(world, |members, bytes| {
                members["md5hex"] = json!(md5(bytes))
            })
        }),
        case(
            Md5Wrong,
            "a file whose MD5 is nobody's is set aside with both values",
        )
        .round(
            |world| {
                world.resave("asset", "a1", |members| {
                    members["md5hex"] = json!("0".repeat(32))
                })
            },
            Expected::partial(&[(F1, "00000000000000000000000000000000")], &[F1]),
        )
        .mend(|world| {
            world.resave("asset", "a1", |members| {
                members["md5hex"] = json!(md5(b"content of file 1"))
            })
        }),
    ]
}

fn crop(world: &World) {
    world
        .emdb
        .edit(|content| content.generated("Album/f1.bin/thumb.webp", "cropped", MTIME + 99_000));
}

fn crops() -> Vec<Case> {
    vec![
        case(CropOnly, "a rendition that changed alone comes with the next complete listing")
            .given(|world| {
                // Long before the window of the next pass.
                world.set_clock(-60 * 24);
                world.resave_all();
                world.set_clock(0);
            })
            .seeded()
            .round(|world| {
                crop(world);
                world.add("new", "Album/new.bin", "new");
            }, Expected::ok().lacking(&["generated/Album/f1.bin/thumb.webp"]))
            .round(|_| {}, Expected::ok().everything())
            .recovers_by(Scope::Everything),
        case(CropOnly, "a rendition that changed within its size comes, too").seeded().round(
            |world| world.emdb.edit(|content| {
                content.generated("Album/f1.bin/thumb.webp", "RENDITION OF Album/f1.bin", MTIME + 99_000);
            }),
            Expected::ok().everything(),
        ),
        case(CropTableUnsynced, "a crop whose rectangle is not listed comes with its asset's next save").seeded().round(
            |world| {
                crop(world);
                world.resave("asset", "a1", |members| members["assettitle"] = json!("cropped"));
            },
            Expected::ok(),
        ),
        case(CropTableUnsynced, "a rectangle that is listed is stored").seeded().round(
            |world| {
                crop(world);
                world.resave("asset", "a1", |_| {});
                let rectangle = json!({"assetid": "a1", "presetid": "thumb", "x": 1, "y": 2, "cropwidth": 3, "cropheight": 4});
                world.save("assetcrop", "crop1", rectangle);
            },
            Expected::ok(),
        ),
    ]
}
