//! The sample media, compiled in, so that the demo runs wherever the program does.

use std::path::Path;

use anyhow::Context as _;

use super::write_file;
use crate::model::Crop;

macro_rules! sample {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets-fixtures/originals/", $path)).as_slice())),*]
    };
}

/// Path and bytes of every file; `assets-fixtures/README.md` says where each comes from and under which licence.
const FILES: &[(&str, &[u8])] = sample![
    "Animals/chelsea.jpg",
    "Broken/html-page.jpg",
    "Broken/png-named.jpg",
    "Broken/truncated.jpg",
    "Cafe/coffee.jpg",
    "Café/café.txt",
    "Graphics/alpha.png",
    "Graphics/animated.gif",
    "Graphics/grey-16-bit.png",
    "Graphics/lossless.webp",
    "Notes/notes.txt",
    "Odd names/R&D (2024) 100%~a+b #7.jpg",
    "Portraits/orientation-6.jpg",
    "Scans/three-pages.tif",
    "Sound/empty.dat",
    "Sound/silence.bin",
    "Space/astronaut.jpg",
    "Space/rocket.jpg",
];

/// The file whose thumbnail is cropped.
pub(super) const CROPPED: &str = "Space/astronaut.jpg";
/// What it shows then: the face.
pub(super) const CROP: Crop = Crop {
    x: 320,
    y: 30,
    width: 320,
    height: 320,
};

/// Writes the sample media into a folder.
pub(super) fn unpack(dir: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !dir.exists(),
        "{} is there already; choose an empty --dir",
        dir.display()
    );
    FILES
        .iter()
        .try_for_each(|(path, bytes)| write_file(dir, path, bytes))
}

/// What a day in an archive brings: a file added, one replaced, one moved, one deleted.
pub(super) fn change(dir: &Path) -> anyhow::Result<()> {
    let astronaut = dir.join("Space/astronaut.jpg");
    let portrait = std::fs::read(&astronaut).context("Space/astronaut.jpg")?;
    write_file(dir, "Space/Crew/portrait.jpg", &portrait)?;
    let coffee = std::fs::read(dir.join("Cafe/coffee.jpg")).context("Cafe/coffee.jpg")?;
    write_file(dir, "Animals/chelsea.jpg", &coffee)?;
    std::fs::create_dir_all(dir.join("Launches")).context("Launches")?;
    std::fs::rename(
        dir.join("Space/rocket.jpg"),
        dir.join("Launches/rocket.jpg"),
    )
    .context("Launches/rocket.jpg")?;
    std::fs::remove_file(dir.join("Notes/notes.txt")).context("Notes/notes.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_in_the_repository_is_part_of_the_demo() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets-fixtures/originals");
        let mut found: Vec<String> = walkdir::WalkDir::new(&root)
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .map(|entry| {
                entry
                    .path()
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        found.sort();
        let mut listed: Vec<String> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        listed.sort();
        assert_eq!(found, listed);
    }
}
