//! How fast renditions are made of photographs, beside what people would use instead, and whether they are as good.
//!
//! ```text
//! cargo bench --bench regenerate            sets A and B of eight photographs of 24 megapixels, then one of 20 and one of 45
//! EMSYNC_BENCH_ROUNDS=3                     rounds, in which all contenders take turns
//! EMSYNC_BENCH_PHOTOS=8                     photographs
//! EMSYNC_BENCH_SHARP=/opt/sharp             a folder where `npm i sharp` has run; without it sharp does not take part
//! ```
//!
//! What counts is the time of the processor, user and system, per photograph, with one thread each: it is fair while others
//! use the machine too. This program renders in a process of its own, like its rivals. Quality is measured against the whole
//! original, scaled by Lanczos's filter: who is fast and blurs, shows.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench prints, and stops where it cannot go on"
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use emsync::media::{Limits, Recipe, Regenerator, Task, render};
use emsync::model::Crop;
use support::painters::{Painter, Set};
use support::process::Cost;
use support::quality::{Quality, judge};
use support::table::{Row, middle};
use support::{machine, number, painters, photos};

fn main() {
    let words = support::words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["one-thread", set, from, to] => {
            one_thread(Set::named(set), Path::new(from), Path::new(to))
        }
        ["one-crop", from] => one_crop(Path::new(from)),
        ["pool", threads, from] => pool(threads.parse().unwrap(), Path::new(from)),
        _ => race(),
    }
}

/// Everything, with this program as one contender.
fn race() {
    let rounds = number("EMSYNC_BENCH_ROUNDS", 3);
    let count = number("EMSYNC_BENCH_PHOTOS", 8);
    let dir = support::directory();
    let photos = dir.path().join("24");
    let described = photos::make(&photos, count, (6000, 4000));
    let painters = painters::present(dir.path());
    println!("machine   {}", machine::machine());
    println!("versions  {}", machine::versions());
    for painter in &painters {
        println!("          {}: {}", painter.name(), painter.version());
    }
    println!("input     {described}");
    println!();
    for set in [Set::A, Set::B] {
        set_of(set, &photos, &painters, rounds, dir.path());
    }
    for (megapixels, size) in [(20, (5472, 3648)), (45, (8192, 5464))] {
        let photo = dir.path().join(megapixels.to_string());
        photos::make(&photo, 1, size);
        println!("One photograph of {megapixels} megapixels, once:");
        println!();
        set_of(Set::A, &photo, &painters, 1, dir.path());
    }
    others(&photos, rounds);
}

/// One set of all photographs by all painters, in rounds.
fn set_of(set: Set, photos: &Path, painters: &[Painter], rounds: u64, dir: &Path) {
    let count = std::fs::read_dir(photos).unwrap().count() as f64;
    let mut rows: Vec<Row> = painters
        .iter()
        .map(|painter| Row::new(painter.name()))
        .collect();
    let mut qualities: BTreeMap<usize, Quality> = BTreeMap::new();
    for round in 0..rounds {
        for (at, (painter, row)) in painters.iter().zip(&mut rows).enumerate() {
            let out = dir.join("out");
            std::fs::create_dir(&out).unwrap();
            let cost = painter.paint(set, photos, &out);
            row.rounds.push(Cost {
                cpu: cost.cpu.div_f64(count),
                ..cost
            });
            if round == 0 {
                qualities.insert(at, judge(set, photos, &out));
            }
            std::fs::remove_dir_all(&out).unwrap();
        }
    }
    let [large, small] = set.judged();
    println!(
        "| set {set:?} | CPU a photo | rounds | peak RSS | times emsync's | SSIM-Y {large} | SSIM-Y {small} | mean difference {large} | KB a photo |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let ours = rows[0].cpu().as_secs_f64();
    for (row, quality) in rows.iter().zip(qualities.values()) {
        let each: Vec<_> = row
            .rounds
            .iter()
            .map(|cost| format!("{:.0}", cost.cpu.as_secs_f64() * 1e3))
            .collect();
        println!(
            "| {} | {:.0} ms | {} | {} MiB | {:.2} | {:.4} | {:.4} | {:.2} | {:.0} |",
            row.name,
            row.cpu().as_secs_f64() * 1e3,
            each.join(" "),
            row.peak_mib(),
            row.cpu().as_secs_f64() / ours,
            quality.large,
            quality.small,
            quality.difference,
            quality.bytes / count / 1e3,
        );
    }
    println!();
}

/// What only this program is asked for: one crop changed, and both cores.
fn others(photos: &Path, rounds: u64) {
    let spent = |words: &[&str]| {
        let each: Vec<_> = (0..rounds)
            .map(|_| painters::ourselves(words).cost)
            .collect();
        let of = |get: fn(&Cost) -> f64| middle(&each.iter().map(get).collect::<Vec<_>>());
        (
            of(|cost| cost.cpu.as_secs_f64()),
            of(|cost| cost.wall.as_secs_f64()),
            of(|cost| cost.peak_kib as f64),
        )
    };
    let from = photos.to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let (whole, ..) = spent(&["one-thread", "A", from, out.path().to_str().unwrap()]);
    let (crop, ..) = spent(&["one-crop", from]);
    let (_, one, one_kib) = spent(&["pool", "1", from]);
    let (_, two, two_kib) = spent(&["pool", "2", from]);
    println!("| emsync alone | |");
    println!("| --- | ---: |");
    println!(
        "| one crop of 550 px changed: CPU against the whole set A | {:.2} |",
        crop / whole
    );
    println!(
        "| photos a second with two threads against one | {:.2} |",
        one / two
    );
    println!(
        "| peak RSS with one thread, with two | {:.0} MiB, {:.0} MiB |",
        one_kib / 1024.0,
        two_kib / 1024.0
    );
}

/// Renders a set of every photograph, one after the other on this thread.
fn one_thread(set: Set, from: &Path, to: &Path) {
    let recipe = Recipe::from(set.presets());
    for (name, photo) in photos::all(from) {
        for made in render(&photo, &recipe, &Limits::default()).unwrap() {
            std::fs::write(to.join(format!("{name}.{}", made.file_name)), made.bytes).unwrap();
        }
    }
}

/// Makes the one file that a user's crop of the 550 px preset changes.
fn one_crop(from: &Path) {
    let mut presets = Set::A.presets();
    presets.retain(|preset| preset.width == 550);
    let crop = Crop {
        x: 1200,
        y: 700,
        width: 2500,
        height: 2500,
    };
    let recipe = Recipe {
        crops: [(presets[0].id.clone(), crop)].into(),
        ..Recipe::from(presets)
    };
    for (_, photo) in photos::all(from) {
        render(&photo, &recipe, &Limits::default()).unwrap();
    }
}

/// Renders set A of every photograph through the pool.
fn pool(threads: usize, from: &Path) {
    let (send, tasks) = crossbeam_channel::bounded(1);
    let (done, mut finished) = tokio::sync::mpsc::channel(1);
    let pool = Regenerator::start(threads, Limits::default(), tasks, done).unwrap();
    let names: Vec<_> = photos::paths(from);
    let feeder = std::thread::spawn(move || {
        for path in names {
            let original = {
                let path = path.clone();
                Box::new(move || std::fs::read(path))
            };
            let recipe = Set::A.presets().into();
            send.send(Task {
                ticket: path,
                original,
                child_bytes: 0,
                recipe,
            })
            .unwrap();
        }
    });
    while let Some(one) = finished.blocking_recv() {
        one.result.unwrap();
    }
    feeder.join().unwrap();
    pool.join();
}
