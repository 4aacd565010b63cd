//! A site's list files: `convertpreset` and `presetparameter`, each as one file and as a folder of files (media spec 1.1).

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::rows;
use crate::config::Error;
use crate::config::error::Place;
use crate::model::preset::Row;

/// Most bytes of a file.
const MOST_BYTES: u64 = 4 << 20;
/// Most files of a folder.
const MOST_FILES: usize = 1000;

/// The rows of a table in load order: `<table>.xml`, then the `*.xml` of the folder of its name, by name. Files of other names,
/// templates such as `thumbnails.xml_jpg` among them, are not lists.
pub(super) fn table(lists: &Path, table: &str) -> Result<Vec<Row>, Error> {
    let mut found = Vec::new();
    let file = lists.join(format!("{table}.xml"));
    if file.is_file() {
        found.extend(read(&file)?);
    }
    for file in files(&lists.join(table))? {
        found.extend(read(&file)?);
    }
    Ok(found)
}

/// The list files of a folder, if it exists, in order of name.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let unreadable = |source| Error::Read {
        file: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "xml") && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(fault(folder, None, format!("more than {MOST_FILES} files")));
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Vec<Row>, Error> {
    let unreadable = |source| Error::Read {
        file: file.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let open = File::open(file).map_err(unreadable)?;
    open.take(MOST_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        let message = format!("it has more than {MOST_BYTES} bytes, which no list has");
        return Err(fault(file, None, message));
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let before = &error.as_bytes()[..valid];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            return Err(fault(
                file,
                Some(line),
                "it is not UTF-8: save it as UTF-8".to_owned(),
            ));
        }
    };
    rows::rows(&text, file).map_err(|found| fault(file, Some(found.line), found.message))
}

fn fault(file: &Path, line: Option<usize>, message: String) -> Error {
    Error::List {
        place: Place {
            file: file.to_owned(),
            line,
        },
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let site = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let file = site.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, bytes).unwrap();
        }
        site
    }

    fn ids(site: &tempfile::TempDir) -> Result<Vec<String>, String> {
        let rows = table(site.path(), "convertpreset");
        let rows = rows.map_err(|error| {
            error
                .report()
                .replace(&site.path().display().to_string(), "SITE")
        })?;
        Ok(rows.iter().map(|row| row.id().to_owned()).collect())
    }

    #[test]
    fn the_file_comes_before_the_folder_and_only_xml_counts() {
        let site = site(&[
            ("convertpreset/b.xml", b"<p><x id='3'/></p>"),
            ("convertpreset/a.xml", b"<p><x id='2'/></p>"),
            ("convertpreset/c.xml_jpg", b"no list"),
            ("convertpreset/README", b"no list"),
            ("convertpreset/folder.xml/d.xml", b"<p><x id='9'/></p>"),
            ("convertpreset.xml", b"<p><x id='1'/><x id='2'/></p>"),
            ("presetparameter.xml", b"no list of this table"),
        ]);
        assert_eq!(ids(&site).unwrap(), ["1", "2", "2", "3"]);
    }

    #[test]
    fn a_site_without_lists_has_none() {
        assert!(ids(&site(&[])).unwrap().is_empty());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        let large = vec![b' '; usize::try_from(MOST_BYTES).unwrap() + 1];
        for (bytes, line, expected) in [
            (b"<p>\n<x id='1'>\n</p>".as_slice(), ":3", "expected `</x>`"),
            (b"<p>\n\xff</p>", ":2", "it is not UTF-8: save it as UTF-8"),
            (
                &large,
                "",
                "it has more than 4194304 bytes, which no list has",
            ),
        ] {
            let site = site(&[("convertpreset/custom.xml", bytes)]);
            let error = ids(&site).unwrap_err();
            let start = format!("SITE/convertpreset/custom.xml{line}: not a list of presets: ");
            assert!(
                error.starts_with(&start) && error.contains(expected),
                "{error}"
            );
        }
    }
}
