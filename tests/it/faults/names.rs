//! Paths that must not be followed, and names that are hard on file systems.

use super::case::{Case, Expected, case};
use super::catalogue::Entry::{self, *};
use super::listing::{rename_rendition, save_at};
use crate::support::fault::Fault;

const LIST: &str = "listalldocs";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = hostile();
    cases.extend(awkward());
    cases.extend(in_the_way());
    cases
}

fn hostile() -> Vec<Case> {
    let set_aside = |entry: Entry, name, edit: fn(&super::world::World), reason: &'static str| {
        case(entry, name)
            .round(
                edit,
                Expected::partial(&[("record:asset/odd", reason)], &[]),
            )
            .mend(|world| world.add("odd", "Album/mended.bin", "mended"))
    };
    let elsewhere =
        |entry: Entry, name, distort: fn(&super::world::World), reason: &'static str| {
            case(entry, name)
                .seeded()
                .round(
                    distort,
                    Expected::partial(&[("record:file/a1", reason)], &[]).everything(),
                )
                .recovers_by(emsync::pull::metadata::Scope::Everything)
        };
    vec![
        set_aside(
            ParentPath,
            "a path with .. is set aside",
            |world| save_at(world, "../../etc/passwd"),
            "..",
        ),
        set_aside(
            ParentPath,
            "a path with .. in its middle is set aside",
            |world| save_at(world, "Album/../../../x"),
            "..",
        ),
        set_aside(
            AbsolutePath,
            "an absolute path is set aside",
            |world| save_at(world, "/etc/passwd"),
            "absolute",
        ),
        set_aside(
            NulInPath,
            "a path with NUL is set aside",
            |world| save_at(world, "Album/x\0.bin"),
            "NUL",
        ),
        elsewhere(
            ParentPath,
            "a listed file that leaves its tree is set aside",
            |world| {
                world.emdb.faults().always(LIST, Fault::Change(|reply| {
                rename_rendition(reply, "/WEB-INF/data/finder/catalog/generated/Album/f1.bin/../../../../../x.webp");
            }))
            },
            "",
        ),
        elsewhere(
            AbsolutePath,
            "a listed file outside the catalog is set aside",
            |world| {
                world.emdb.faults().always(
                    LIST,
                    Fault::Change(|reply| rename_rendition(reply, "/etc/passwd")),
                )
            },
            "catalog",
        ),
        case(LongName, "a name of 300 bytes is set aside or mapped")
            .round(
                |world| world.add("odd", LONG, "long"),
                Expected::partial_or_mapped(&[("record:asset/odd", "255")], &["xxxx"]),
            )
            .mend(|world| world.rename("odd", "Album/short.bin"))
            .recovery_may_take(&[], &["@odd"]),
    ]
}

/// 300 bytes in one element.
const LONG: &str = concat!(
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.bin"
);

fn awkward() -> Vec<Case> {
    vec![
        case(
            CatalogInPath,
            "a catalog's id inside a path stays where it is",
        )
        .round(
            |world| {
                world.add(
                    "in",
                    "finder/catalog/originals/finder/catalog/x.bin",
                    "inside",
                );
                world.add(
                    "in2",
                    "WEB-INF/data/finder/catalog/generated/x.bin",
                    "inside, too",
                );
            },
            Expected::ok(),
        ),
        case(UnicodePair, "two Unicode forms of one name are two files").round(
            |world| {
                world.add("nfc", "Gr\u{f6}\u{df}e/caf\u{e9}.bin", "composed");
                world.add("nfd", "Gr\u{f6}\u{df}e/cafe\u{301}.bin", "decomposed");
            },
            Expected::ok(),
        ),
        case(CasePair, "two names that differ in case are two files").round(
            |world| {
                world.add("lower", "Album/photo.bin", "lower");
                world.add("upper", "Album/PHOTO.BIN", "upper");
                world.add("folder", "album/photo.bin", "folder");
            },
            Expected::ok(),
        ),
        case(
            TrailingDotSpace,
            "names that end in dots and spaces are kept",
        )
        .round(
            |world| {
                for (n, path) in [
                    "Album/dot.",
                    "Album/space ",
                    "Folder. /inner. .bin ",
                    "Album/...",
                ]
                .iter()
                .enumerate()
                {
                    world.add(&format!("t{n}"), path, format!("trailing {n}"));
                }
            },
            Expected::ok(),
        ),
    ]
}

fn in_the_way() -> Vec<Case> {
    vec![
        case(
            FileForFolder,
            "a file whose folder is a file is set aside or mapped, and waits for its place",
        )
        .seeded()
        .round(
            |world| world.add("inner", "Album/f1.bin/inner.bin", "inner"),
            Expected::partial_or_mapped(
                &[("originals/Album/f1.bin/inner.bin", "")],
                &["originals/Album/f1.bin/inner.bin"],
            ),
        )
        .mend(|world| world.rename("a1", "Album/moved.bin"))
        .recovery_may_take(&[], &["@a1", "@inner"]),
        case(
            FileForFolder,
            "a file that gives way to a folder of its name does so in one pass",
        )
        .seeded()
        .round(
            |world| world.rename("a1", "Album/f1.bin/inner.bin"),
            Expected::ok().taking(&[], &["Album/f1.bin"]),
        ),
        case(
            FolderForFile,
            "a file whose name is a folder is set aside or mapped, and waits for its place",
        )
        .seeded()
        .round(
            |world| world.add("album", "Album", "a file of that name"),
            Expected::partial_or_mapped(&[("originals/Album", "")], &["originals/Album$"]),
        )
        .mend(|world| world.rename("album", "Cover.bin"))
        .recovery_may_take(&[], &["@album"]),
        case(
            FolderForFile,
            "a folder that gives way to a file of its name does so in one pass",
        )
        .seeded()
        .round(
            |world| {
                world.rename("a1", "Deep/f1.bin");
                world.add("deep", "Single/inner.bin", "inner");
            },
            Expected::ok().taking(&[], &["Album/f1.bin"]),
        )
        .round(
            |world| world.rename("deep", "Single"),
            Expected::ok().taking(&[], &["@deep"]),
        )
        // Its old rendition lies below its new path, so that only a second listing without it says that it is gone.
        .recovery_may_take(&[], &["@deep"]),
    ]
}
