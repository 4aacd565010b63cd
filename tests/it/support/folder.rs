//! A folder of ten small assets, and a set of changes to it in which each kind of change occurs.

use std::fs;
use std::path::Path;

use image::{ImageBuffer, Rgb};

/// Writes a file and its parents.
pub(crate) fn write(folder: &Path, path: &str, bytes: &[u8]) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Bytes that differ from file to file and from block to block.
pub(crate) fn content(of: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(of) + 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn picture(folder: &Path, path: &str, hue: u8) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture =
        ImageBuffer::from_fn(48 + u32::from(hue), 32, |x, y| Rgb([x as u8, y as u8, hue]));
    picture.save(path).unwrap();
}

/// Ten assets.
pub(crate) fn fill(folder: &Path) {
    for n in 0..5 {
        write(
            folder,
            &format!("Noise/{}/n{n}.bin", n % 2),
            &content(n, 5_000 + usize::from(n)),
        );
    }
    write(folder, "Large/l.bin", &content(9, (1 << 20) + 4_321));
    write(folder, "Place", &content(10, 300));
    picture(folder, "Pictures/stays.png", 1);
    picture(folder, "Pictures/moves.jpg", 2);
    picture(folder, "Pictures/goes.png", 3);
}

/// Something of each kind: replaced, deleted, moved, moved below its own name, copied, added.
pub(crate) fn change(folder: &Path) {
    write(folder, "Noise/1/n1.bin", &content(11, 6_000));
    fs::remove_file(folder.join("Noise/0/n0.bin")).unwrap();
    fs::remove_file(folder.join("Pictures/goes.png")).unwrap();
    fs::create_dir(folder.join("Moved")).unwrap();
    let moves = [
        ("Noise/0/n2.bin", "Moved/n2.bin"),
        ("Pictures/moves.jpg", "Moved/p.jpg"),
    ];
    for (from, to) in moves {
        fs::rename(folder.join(from), folder.join(to)).unwrap();
    }
    fs::rename(folder.join("Place"), folder.join("aside")).unwrap();
    fs::create_dir(folder.join("Place")).unwrap();
    fs::rename(folder.join("aside"), folder.join("Place/Place")).unwrap();
    write(folder, "New/copy.bin", &content(3, 5_003));
    write(folder, "New/large.bin", &content(12, (1 << 20) + 17));
    picture(folder, "New/picture.jpg", 4);
}
