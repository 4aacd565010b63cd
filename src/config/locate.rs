//! Which file is the configuration: the one named, else the first that exists of a short list.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::Error;

/// What the file is called everywhere.
pub const FILE_NAME: &str = "emsync.toml";

/// Finds the configuration file.
///
/// `given` is what `--config` or `EMSYNC_CONFIG` says, a file or the folder it is in; then nothing else is tried. Otherwise:
/// the current folder, `$XDG_CONFIG_HOME/emsync`, `~/.config/emsync`, `/etc/emsync`.
///
/// # Errors
/// [`Error::NotFound`] lists where it looked; [`Error::Read`] when a place cannot be looked at.
pub fn locate(given: Option<&Path>) -> Result<PathBuf, Error> {
    let places = match given {
        Some(given) if given.is_dir() => vec![given.join(FILE_NAME)],
        Some(given) => vec![given.to_owned()],
        None => places(
            env::current_dir().ok(),
            env::var_os("XDG_CONFIG_HOME").map(PathBuf::from),
            env::home_dir(),
        ),
    };
    first_of(places)
}

fn places(here: Option<PathBuf>, xdg: Option<PathBuf>, home: Option<PathBuf>) -> Vec<PathBuf> {
    let xdg = xdg.map(|xdg| xdg.join("emsync"));
    let home = home.map(|home| home.join(".config/emsync"));
    let etc = Some(PathBuf::from("/etc/emsync"));
    let mut places: Vec<PathBuf> = Vec::new();
    for dir in [here, xdg, home, etc].into_iter().flatten() {
        let place = dir.join(FILE_NAME);
        // The XDG rules say to ignore relative values.
        if dir.is_absolute() && !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

fn first_of(places: Vec<PathBuf>) -> Result<PathBuf, Error> {
    for place in &places {
        match fs::metadata(place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(place.clone()),
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(source) => {
                return Err(Error::Read {
                    file: place.clone(),
                    source,
                });
            }
        }
    }
    Err(Error::NotFound { looked: places })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_wins() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| root.path().join(name);
        let places = || places(Some(dir("here")), Some(dir("xdg")), Some(dir("home")));
        for at in ["home/.config/emsync", "xdg/emsync", "here"] {
            fs::create_dir_all(dir(at)).unwrap();
            let file = dir(at).join(FILE_NAME);
            fs::write(&file, "").unwrap();
            assert_eq!(first_of(places()).unwrap(), file);
        }
        assert_eq!(
            places().last().unwrap(),
            Path::new("/etc/emsync/emsync.toml")
        );
    }

    #[test]
    fn a_relative_or_repeated_folder_is_left_out() {
        let home = PathBuf::from("/h");
        assert_eq!(
            places(None, Some("rel".into()), Some(home.clone())).len(),
            2
        );
        assert_eq!(places(None, Some("/h/.config".into()), Some(home)).len(), 2);
    }

    #[test]
    fn a_named_file_is_the_only_place() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("other.toml");
        let error = locate(Some(&file)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "no configuration at {}: `emsync init` makes one, `--config FILE` names one",
                file.display()
            )
        );
        fs::write(&file, "").unwrap();
        assert_eq!(locate(Some(&file)).unwrap(), file);
    }

    #[test]
    fn a_named_folder_stands_for_the_file_in_it() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE_NAME);
        assert!(
            matches!(locate(Some(root.path())), Err(Error::NotFound { looked }) if looked == [file.clone()])
        );
        fs::write(&file, "").unwrap();
        assert_eq!(locate(Some(root.path())).unwrap(), file);
    }
}
