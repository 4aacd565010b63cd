//! The names, by family. Each is a text that some server, some system or some person took for something else.

use std::collections::BTreeSet;

/// Ways up and out, in every spelling that somebody decodes once too often.
const DOTS: &[&str] = &[
    "..",
    ".",
    "../x",
    "../../x",
    "../../../../../../etc/passwd",
    "a/../b",
    "a/../../b",
    "./a",
    "a/.",
    "a/..",
    "a/./b",
    "..\\x",
    "a\\..\\..\\x",
    "..\\..\\..\\windows\\x",
    "%2e%2e/x",
    "%2E%2E/%2E%2E/x",
    "%2e%2e%2fx",
    "..%2fx",
    "..%5cx",
    "%252e%252e/x",
    "%252e%252e%252fx",
    "..%c0%afx",
    "%c0%ae%c0%ae/x",
    "\u{ff0e}\u{ff0e}/x",
    "..\u{2215}x",
    "..\u{2044}x",
    "..;/x",
    ".. /x",
    "... /x",
    ".../x",
    "....//x",
    "..\u{200b}/x",
    ". ./x",
    "..\u{a0}/x",
    "%00",
    "%2f",
    "..%00/x",
    "a/%2e%2e/%2e%2e/b",
];
/// Paths that begin somewhere else.
const ELSEWHERE: &[&str] = &[
    "",
    "/",
    "//",
    "///",
    "/etc/passwd",
    "//host/share/x",
    "/tmp/x",
    "a//b",
    "a/",
    "a///b",
    "C:\\Windows\\x",
    "C:/Windows/x",
    "c:x",
    "\\\\host\\share\\x",
    "\\\\?\\C:\\x",
    "\\\\.\\pipe\\x",
    "\\x",
    "file:///etc/passwd",
    "http://evil/x",
    "~",
    "~root/x",
    "\u{0}",
    "a\u{0}b",
    "a\u{0}",
    "a/\u{0}/b",
    "x.jpg\u{0}.exe",
];
/// Names with which a node of ours, or of EMDB, means something.
const OURS: &[&str] = &[
    ".emsync",
    ".emsync/root.json",
    ".emsync/staging/x",
    ".emsync/trash/originals/x",
    ".EMSYNC/root.json",
    "../.emsync/root.json",
    "../../.emsync/root.json",
    "originals",
    "generated",
    "originals/x",
    "../generated/x",
    "../originals/x",
    "emsync.db",
    "root.json",
    "finder/catalog/originals/x",
    "assets/catalog/x",
    "WEB-INF/data/finder/catalog/originals/x",
    "/WEB-INF/data/finder/catalog/originals/x",
    "/WEB-INF/data/finder/catalog/originals/../../x",
    "/WEB-INF/data/finder/catalog/generated/../../../x",
    "/WEB-INF/data/other/catalog/generated/x",
    "names-\u{c5}",
];
/// What shells, loggers and eyes stumble over.
const TRICKS: &[&str] = &[
    "-rf",
    "--help",
    "-",
    "$(id)",
    "`id`",
    "a;b",
    "&&x",
    "|x2",
    "line\nbreak",
    "\r\nSet-Cookie: x=1",
    "\u{202e}gnp.exe",
    "gnp.exe",
    "\u{200f}rtl",
    "rtl",
    "zero\u{200b}width",
    "zerowidth",
    "\u{feff}bom",
    "bom",
    "\u{2066}iso\u{2069}",
    "tag\u{e0041}",
    "tag",
    "\u{85}",
    "\u{2028}",
    "\u{fffd}",
    "\u{10ffff}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{1f468}\u{1f469}",
    "'; DROP TABLE file; --",
    "<script>x</script>",
    "a?b#c%d&e=f+g",
    "%41",
    "{a,b}",
    "[a-z]",
    "*.jpg",
    "!x",
    "#x",
    "@x",
];
/// Names that some system takes for one.
const SAME: &[&str] = &[
    "Case.bin",
    "case.bin",
    "CASE.BIN",
    "Folder/one.bin",
    "folder/ONE.bin",
    "Caf\u{e9}.bin",
    "Cafe\u{301}.bin",
    "CAF\u{c9}.bin",
    "\u{212b}.bin",
    "\u{c5}.bin",
    "A\u{30a}.bin",
    "\u{e5}.bin",
    "\u{ac00}.bin",
    "\u{1100}\u{1161}.bin",
    "stra\u{df}e",
    "STRASSE",
    "strasse",
    "\u{130}",
    "i\u{307}",
    "I",
    "\u{131}",
    "\u{3c3}",
    "\u{3c2}",
    "\u{3a3}",
    "\u{17f}",
    "s",
    "\u{212a}",
    "k",
    "\u{1e9b}\u{323}",
    "\u{1e9b}",
    "\u{fb01}x",
    "fix",
];
/// Names that Windows cuts, or cannot hold.
const ENDS: &[&str] = &[
    "trail.",
    "trail ",
    "trail..",
    "trail. .",
    "trail",
    " ",
    "  ",
    "...",
    "dir./x",
    "dir /x",
    "dir/x",
    " lead",
    "a<b",
    "a>b",
    "a:b",
    "a\"b",
    "a|b",
    "a?b",
    "a*b",
    "a\\b",
    "a_b",
    "ads.txt:stream",
    "ads.txt::$DATA",
    "CONIN$",
    "conout$.txt",
    "COM\u{b9}",
    "lpt\u{b3}.log",
    "con.tar.gz",
    "CON .txt",
    "CON/inside.bin",
    "deep/NUL/x.bin",
    "PROGRA~1",
    "a~1",
];
/// A file where others need a folder, and the reverse; which of them is first is anybody's guess.
const CLASHES: &[&str] = &[
    "clash",
    "clash/inside",
    "clash/inside/more",
    "other/a/b",
    "other/a",
    "other/a/b/c/d",
];

/// All names, each once.
pub(super) fn names() -> Vec<String> {
    let families = [DOTS, ELSEWHERE, OURS, TRICKS, SAME, ENDS, CLASHES];
    let mut all: Vec<String> = families
        .iter()
        .flat_map(|family| family.iter())
        .map(|name| (*name).to_owned())
        .collect();
    all.extend(controls());
    all.extend(devices());
    all.extend(long());
    let mut seen = BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    assert!(all.len() >= 300, "only {} names", all.len());
    all
}

fn controls() -> impl Iterator<Item = String> {
    let controls = (1_u8..32).chain([127]).map(char::from);
    controls.map(|c| format!("ctl{c}x"))
}

fn devices() -> impl Iterator<Item = String> {
    let plain = ["CON", "PRN", "AUX", "NUL"].map(str::to_owned).into_iter();
    let numbered = (0..10).flat_map(|n| [format!("COM{n}"), format!("lpt{n}")]);
    plain
        .chain(numbered)
        .flat_map(|name| [format!("{name}.txt"), name])
}

/// Elements and paths just within and just beyond every limit there is, in one and in several bytes a character.
fn long() -> Vec<String> {
    let mut names = Vec::new();
    for length in [254, 255, 256, 300, 765, 1_019, 1_020, 1_021, 2_000] {
        names.push("x".repeat(length));
        names.push(format!("{}.jpeg", "y".repeat(length - 5)));
        names.push(format!("{}/leaf.bin", "d".repeat(length)));
        names.push(format!("{}/other leaf.bin", "d".repeat(length)));
        names.push("\u{20ac}".repeat(length / 3));
        names.push(format!("{}.bin", "\u{1f600}".repeat(length / 4)));
    }
    // The same beginning, so that only the digits tell them apart.
    names.extend((0..4).map(|n| format!("{}{n}.jpg", "z".repeat(400))));
    for length in [3_490, 3_500, 3_501, 5_000] {
        let mut path = "p/".repeat(length / 2);
        path.truncate(length - 1);
        names.push(format!(
            "{}e",
            path.trim_end_matches('/').to_owned() + if path.ends_with('/') { "/" } else { "" }
        ));
    }
    names.push(["CON"; 500].join("/"));
    names
}
