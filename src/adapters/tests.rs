//! Each way a program can misbehave, as a script; and real pictures where the programs are on this machine.

use std::io::{Seek as _, Write as _};

use super::run::Failure;
use super::*;
use crate::config::ADAPTERS;
use crate::error::Class;
use crate::model::preset::Product;
use std::time::Instant;

/// Limits that a misbehaving script meets soon.
const TIGHT: Limits = Limits {
    wall: Duration::from_secs(20),
    cpu_seconds: 1,
    memory_bytes: 512 << 20,
    file_bytes: 64 << 10,
};

pub(super) fn original(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file.rewind().unwrap();
    file
}

/// A script in the place of the program that reads SVG, and the folder it lies in.
fn scripted(script: &str, limits: Limits) -> (Adapters, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("-a program; with 'odd' $letters");
    let asked = "if [ \"$1\" = --version ]; then echo fake 7.1; exit; fi";
    std::fs::write(&program, format!("#!/bin/sh\n{asked}\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tool = TOOLS.iter().find(|tool| tool.name == "rsvg").unwrap();
    let adapter = Adapter {
        limits: Some(limits),
        ..Adapter::new(tool, program)
    };
    let found = Arc::new(vec![adapter]);
    let adapters = Adapters {
        found,
        ..Adapters::none()
    };
    (adapters, dir)
}

fn failed(script: &str, limits: Limits) -> (Failure, String, Class) {
    let (adapters, _dir) = scripted(script, limits);
    let error = adapters.picture(original(b"<svg/>"), "svg").unwrap_err();
    let class = error.class();
    match error {
        Error::Failed { failure, said, .. } => (failure, said, class),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_program_reads_the_original_and_sees_nothing_else_of_ours() {
    let script = "{ cat \"$5\"; echo; pwd; echo \"$HOME\"; env | sort | cut -d= -f1; } > \"$4\"";
    let (adapters, _dir) = scripted(script, TIGHT);
    let made = adapters.picture(original(b"the original"), "SVG").unwrap();
    let made = String::from_utf8(made).unwrap();
    let lines: Vec<_> = made.lines().collect();
    assert_eq!((lines[0], lines[1]), ("the original", lines[2]));
    let allowed = [
        "HOME", "LANG", "PATH", "PWD", "OLDPWD", "SHLVL", "TMPDIR", "_",
    ];
    assert!(
        lines[3..].iter().all(|name| allowed.contains(name)),
        "{made}"
    );
    assert!(!Path::new(lines[1]).exists(), "its directory is gone");
    assert_eq!(adapters.all()[0].said(), "rsvg: fake 7.1");
}

#[test]
fn each_failure_is_told_apart() {
    let (failure, said, class) = failed("echo a line; echo no such glyph >&2; exit 3", TIGHT);
    assert_eq!((failure, class), (Failure::Exit(3), Class::Permanent));
    assert_eq!(said, "a line; no such glyph");
    let (failure, _, class) = failed("while :; do :; done", TIGHT);
    assert_eq!((failure, class), (Failure::Processor(1), Class::Permanent));
    let (failure, _, class) = failed("exec cat /dev/zero > \"$4\"", TIGHT);
    let file_size = Failure::FileSize(TIGHT.file_bytes);
    assert_eq!((failure, class), (file_size, Class::Permanent));
    let (failure, _, class) = failed("kill -9 $$", TIGHT);
    assert_eq!((failure, class), (Failure::Signal(9), Class::Transient));
    let (failure, ..) = failed("kill -6 $$", TIGHT);
    assert_eq!(failure.class(), Class::Permanent);
}

#[test]
fn memory_ends_at_its_limit() {
    let small = Limits {
        memory_bytes: 64 << 20,
        ..TIGHT
    };
    let eats = "dd if=/dev/zero of=/dev/null bs=256M count=1 || exit 9; echo fed > \"$4\"";
    assert_eq!(failed(eats, small).0, Failure::Exit(9));
    let enough = scripted(
        eats,
        Limits {
            memory_bytes: 1 << 30,
            ..TIGHT
        },
    );
    assert_eq!(enough.0.picture(original(b""), "svg").unwrap(), b"fed\n");
}

#[test]
fn time_ends_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let alive = dir.path().join("alive");
    let made = std::process::Command::new("mkfifo").arg(&alive).status();
    assert!(made.unwrap().success());
    // Its children hold the fifo open for writing as long as they live.
    let script = format!("exec 3<>'{}'; sleep 600 & sleep 600", alive.display());
    let short = Limits {
        wall: Duration::from_millis(300),
        ..TIGHT
    };
    let began = Instant::now();
    let (failure, _, class) = failed(&script, short);
    assert_eq!(
        (failure, class),
        (Failure::Time(short.wall), Class::Permanent)
    );
    assert!(began.elapsed() < Duration::from_secs(60));
    // Ends only when no writer is left.
    let reader = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let fifo = rustix::fs::open(&alive, reader, rustix::fs::Mode::empty()).unwrap();
    let is_left = || rustix::io::read(&fifo, &mut [0; 1]) == Err(rustix::io::Errno::AGAIN);
    while is_left() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "somebody is left"
        );
        std::thread::yield_now();
    }
}

#[test]
fn whoever_is_to_end_does_not_wait() {
    let (adapters, _dir) = scripted("sleep 600", TIGHT);
    adapters.all()[0].version();
    let stop = Shutdown::new();
    stop.request();
    let error = adapters.until(&stop).picture(original(b""), "svg");
    let error = error.unwrap_err();
    assert_eq!(error.class(), Class::Cancelled, "{error}");
}

#[test]
fn a_flood_of_words_is_kept_short_and_no_picture_is_a_failure() {
    let flood = "i=0; while [ $i -lt 3000 ]; do echo 'garbage \u{1b}[31m and more of it, at some length'; i=$((i+1)); done; echo last";
    let (adapters, _dir) = scripted(
        flood,
        Limits {
            cpu_seconds: 20,
            ..TIGHT
        },
    );
    let error = adapters.picture(original(b""), "svg").unwrap_err();
    let Error::Nothing { said, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(said.len() <= 400 && said.ends_with("last") && !said.contains('\u{1b}'));
    let io = std::io::Error::from(error);
    assert_eq!(io.kind(), std::io::ErrorKind::InvalidData);
    // A link that it leaves leads nowhere.
    let (adapters, _dir) = scripted("ln -s /etc/passwd \"$4\"", TIGHT);
    let error = adapters.picture(original(b""), "svg").unwrap_err();
    assert!(matches!(error, Error::Nothing { .. }), "{error:?}");
}

#[test]
fn a_person_names_a_program_or_switches_it_off() {
    let (fake, _dir) = scripted("echo x > \"$4\"", TIGHT);
    let program = fake.all()[0].program.clone();
    let mut chosen: BTreeMap<_, _> = ADAPTERS.map(|name| (name, Program::Off)).into();
    assert!(Adapters::find(&chosen).all().is_empty());
    chosen.insert("rsvg", Program::At(program));
    let found = Adapters::find(&chosen);
    assert_eq!(found.formats().collect::<Vec<_>>(), ["svg"]);
    assert_eq!(found.picture(original(b""), "svg").unwrap(), b"x\n");
    let error = found
        .picture(original(b""), "heic")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("vips") && error.contains("install libvips-tools"),
        "{error}"
    );
    chosen.insert("rsvg", Program::At("/nowhere".into()));
    assert!(Adapters::find(&chosen).for_format("svg").is_none());
}

#[test]
fn every_tool_can_be_named_and_writes_what_it_is_told_to() {
    let mut names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
    assert_eq!(names, ADAPTERS);
    names.dedup();
    assert_eq!(names.len(), TOOLS.len());
    for tool in TOOLS {
        let (name, ways) = (tool.name, tool.ways);
        let all = ways
            .iter()
            .flat_map(|way| [Some(way.arguments), way.at_density, way.at_moment]);
        for arguments in all.flatten() {
            let arguments = Way::arguments_for(arguments, "input.x", Some(123), Part::FIRST);
            let names_it = arguments.iter().any(|it| it.contains("input.x"));
            assert!(names_it, "{name}");
            assert!(!arguments.concat().contains('{'), "{name}");
        }
        // The first way that has a format is the one that is used.
        let mut formats: Vec<_> = tool.formats().collect();
        let all = formats.len();
        formats.sort_unstable();
        formats.dedup();
        assert_eq!(formats.len(), all, "{name}");
    }
}

const PDF: &str = "%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R>>endobj\n4 0 obj<</Length 34>>stream\n1 0 0 rg 0 0 300 400 re f\n         \nendstream endobj\ntrailer<</Root 1 0 R>>\n";
const SVG: &str = "<svg xmlns='http://www.w3.org/2000/svg' width='30' height='20'><rect width='30' height='20' fill='red'/></svg>";

/// Scripts in the places of an office and of the program that reads what it makes.
fn office(script: &str) -> (Adapters, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut chosen: BTreeMap<_, _> = ADAPTERS.map(|name| (name, Program::Off)).into();
    let asked = "case \"$1\" in -v | --version) echo fake 5.2; exit;; esac";
    let reader = "for it; do case $it in input.*) cat $it > out.png; esac; done";
    for (name, script) in [("soffice", script), ("pdftoppm", reader)] {
        let program = dir.path().join(name);
        std::fs::write(&program, format!("#!/bin/sh\n{asked}\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        chosen.insert(name, Program::At(program));
    }
    (Adapters::find(&chosen), dir)
}

#[test]
fn what_an_office_makes_is_read_by_another_program() {
    // It writes beside what it opens, and finds the settings that keep it quiet.
    let script = "{ [ -L input.docx ] && exit 5; grep -c DisableMacrosExecution \
        .config/libreoffice/4/user/registrymodifications.xcu; cat input.docx; } > input.pdf";
    let (adapters, dir) = office(script);
    let made = adapters.picture(original(b"a letter"), "DOCX").unwrap();
    assert_eq!(String::from_utf8(made).unwrap(), "1\na letter");
    let decoder = adapters.decoder(Some("docx")).unwrap();
    assert_eq!(decoder, "soffice: fake 5.2, pdftoppm: fake 5.2");
    assert!(adapters.formats().any(|format| format == "odt"));
    // An office alone makes no picture.
    let mut chosen: BTreeMap<_, _> = ADAPTERS.map(|name| (name, Program::Off)).into();
    chosen.insert("soffice", Program::At(dir.path().join("soffice")));
    let alone = Adapters::find(&chosen);
    assert_eq!((alone.all().len(), alone.formats().count()), (1, 0));
    assert!(alone.for_format("docx").is_none() && alone.decoder(Some("docx")).is_none());
    let error = alone
        .picture(original(b""), "docx")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("libreoffice-nogui") && error.contains("poppler-utils"),
        "{error}"
    );
}

#[test]
fn what_an_office_makes_is_a_file_of_its_own_too() {
    let (adapters, _dir) = office("cat input.odt > input.pdf");
    let mut made = Vec::new();
    let asked = (&Product::Pdf, "ODT");
    adapters
        .convert(original(b"a letter"), asked, &mut made)
        .unwrap();
    assert_eq!(made, b"a letter");
    assert!(adapters.converts(&Product::Pdf, "Docx") && !adapters.converts(&Product::Pdf, "pdf"));
    let sound = Product::Mp3 { kilobits: 64 };
    let error = adapters
        .convert(original(b""), (&sound, "wav"), &mut made)
        .unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("wav needs ffmpeg, which is not here: install ffmpeg"),
        "{said}"
    );
}

#[test]
fn of_an_office_there_is_one_at_a_time() {
    let shared = tempfile::tempdir().unwrap();
    let taken = shared.path().join("taken");
    // Whoever meets another one fails; long enough that they would meet.
    let script = format!(
        "mkdir '{0}' || exit 7; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
         echo made > input.pdf; rmdir '{0}'",
        taken.display()
    );
    let (adapters, _dir) = office(&script);
    std::thread::scope(|scope| {
        let work = || adapters.clone().picture(original(b"x"), "odt");
        let all = [0; 4].map(|_| scope.spawn(work));
        for one in all {
            assert_eq!(one.join().unwrap().unwrap(), b"made\n");
        }
    });
}

/// Two pages, a red one and a green one of another size.
const PAGES: &str = "%PDF-1.1\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R 5 0 R]/Count 2>>endobj\n3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R>>endobj\n4 0 obj<</Length 25>>stream\n1 0 0 rg 0 0 300 400 re f\nendstream endobj\n5 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 6 0 R>>endobj\n6 0 obj<</Length 25>>stream\n0 1 0 rg 0 0 300 300 re f\nendstream endobj\ntrailer<</Root 1 0 R>>\n";

/// A page is the one that was asked for; one that is not there, and that of what has no pages, are refused for good.
#[test]
fn real_programs_show_the_page_that_is_asked_for() {
    let found = Adapters::find(&BTreeMap::new());
    let make = |name: &str, format: &str, content: &str, page| {
        let adapter = found.all().iter().find(|it| it.tool.name == name)?;
        let way = adapter.tool.way(format).unwrap();
        let part = Part {
            page,
            ..Part::FIRST
        };
        let file = original(content.as_bytes());
        Some(adapter.make(way, file, (format, part), &Shutdown::new()))
    };
    for name in ["pdftoppm", "ghostscript"] {
        if let Some(made) = make(name, "pdf", PAGES, 2) {
            let made = image::load_from_memory(&made.unwrap()).unwrap().to_rgb8();
            assert_eq!(made.width(), made.height(), "{name}");
            assert_eq!(made.get_pixel(1000, 1000).0, [0, 255, 0], "{name}");
            let beyond = make(name, "pdf", PAGES, 3).unwrap().unwrap_err();
            assert_eq!(beyond.class(), Class::Permanent, "{name}: {beyond}");
        }
    }
    if let Some(made) = make("rsvg", "svg", SVG, 2) {
        assert!(matches!(made, Err(Error::NoPages { .. })));
    }
}

/// Every real program here that reads one of these makes a picture of the right size, red in the middle.
#[test]
fn real_programs_make_pictures() {
    let found = Adapters::find(&BTreeMap::new());
    let mut left_out = Vec::new();
    for (name, format, content, size) in [
        ("pdftoppm", "pdf", PDF, (2250, 3000)),
        ("ghostscript", "pdf", PDF, (2258, 3011)),
        ("rsvg", "svg", SVG, (30, 20)),
    ] {
        let Some(adapter) = found.all().iter().find(|it| it.tool.name == name) else {
            left_out.push(name);
            continue;
        };
        let way = adapter.tool.way(format).unwrap();
        let made = adapter.make(
            way,
            original(content.as_bytes()),
            (format, Part::FIRST),
            &Shutdown::new(),
        );
        let made = image::load_from_memory(&made.unwrap()).unwrap().to_rgb8();
        assert!(
            made.width().abs_diff(size.0) <= 1 && made.height().abs_diff(size.1) <= 1,
            "{name}: {:?}",
            made.dimensions()
        );
        assert_eq!(
            made.get_pixel(size.0 / 2, size.1 / 2).0,
            [255, 0, 0],
            "{name}"
        );
    }
    if !left_out.is_empty() {
        #[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
        {
            eprintln!(
                "left out, for they are not on this machine: {}",
                left_out.join(", ")
            );
        }
    }
}
