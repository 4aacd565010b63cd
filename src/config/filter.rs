//! What a peer's files are narrowed to, as `[[peer]]` says it.

use super::error::{Error, Problem};
use super::file;
use super::read::At;
use super::units::{age, size};
use crate::model::Filter;
use crate::model::filter::Pattern;

/// The members of a section that narrow it.
pub(super) fn resolve(written: &file::Peer) -> Result<Filter, Error> {
    let patterns = |list: &[At<String>]| -> Result<Vec<Pattern>, Error> {
        let patterns = list.iter();
        let patterns = patterns.map(|at| at.check(|text| text.parse().map_err(Problem::Pattern)));
        patterns.collect()
    };
    let names = |list: &[At<String>]| -> Result<Vec<String>, Error> {
        let names = list.iter();
        names.map(|at| at.check(|text| name(text))).collect()
    };
    let bytes = |at: &Option<At<String>>| at.as_ref().map(|at| at.check(|text| size(text)));
    let span = |at: &Option<At<String>>| at.as_ref().map(|at| at.check(|text| age(text)));
    let filter = Filter {
        include: patterns(&written.include)?,
        exclude: patterns(&written.exclude)?,
        categories: names(&written.categories)?,
        exclude_categories: names(&written.exclude_categories)?,
        collections: names(&written.collections)?,
        min_size: bytes(&written.min_size).transpose()?,
        max_size: bytes(&written.max_size).transpose()?,
        min_age: span(&written.min_age).transpose()?,
        max_age: span(&written.max_age).transpose()?,
        all_renditions: (written.all_renditions.as_ref()).is_some_and(|at| at.value),
    };
    if let Some(at) = &written.max_size
        && filter.min_size > filter.max_size
    {
        return Err(at.wrong(Problem::NothingLeft("min_size")));
    }
    if let (Some(at), Some(most)) = (&written.max_age, filter.max_age)
        && filter.min_age.is_some_and(|least| least > most)
    {
        return Err(at.wrong(Problem::NothingLeft("min_age")));
    }
    Ok(filter)
}

fn name(text: &str) -> Result<String, Problem> {
    match text.trim().trim_matches('/') {
        "" => Err(Problem::Empty),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;
    use crate::model::Filter;

    fn read(lines: &str) -> Result<Filter, String> {
        let text = format!(
            "node = {{ name = \"a\", cluster_id = \"a-1\" }}\n[[peer]]\nname = \"m\"\nbase_url = \"http://h/a\"\n{lines}\n"
        );
        let config = Config::parse(&text, Path::new("/c/emsync.toml"));
        let mut config = config.map_err(|error| error.report())?;
        Ok(config.peers.remove(0).filter)
    }

    #[test]
    fn every_member_narrows() {
        assert!(read("").unwrap().is_empty());
        assert!(read("all_renditions = true").unwrap().is_empty());
        let filter = read(
            "include = [\"/Photos/**\"]\nexclude = [\"*.tif\", \"*.psd\"]\ncategories = [\"/Index/Press/\"]\n\
             exclude_categories = [\"x\"]\ncollections = [\"Port\"]\nmin_size = \"1K\"\nmax_size = \"2G\"\n\
             min_age = \"36h\"\nmax_age = \"2y\"\nall_renditions = true",
        );
        let filter = filter.unwrap();
        assert_eq!((filter.include.len(), filter.exclude.len()), (1, 2));
        assert_eq!(filter.categories, ["Index/Press"]);
        assert_eq!(
            (filter.min_size, filter.max_size),
            (Some(1_024), Some(2 << 30))
        );
        let day = Duration::from_secs(86_400);
        assert_eq!(
            (filter.min_age, filter.max_age),
            (Some(day + day / 2), Some(730 * day))
        );
        assert!(filter.all_renditions && !filter.is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_said_with_its_line() {
        for (line, word) in [
            ("include = [\"a[\"]", "opens a set"),
            ("categories = [\" \"]", "it is empty"),
            ("min_size = \"2M\"\nmax_size = \"1M\"", "min_size"),
            ("min_age = \"2d\"\nmax_age = \"1d\"", "min_age"),
            ("min_age = \"soon\"", "soon"),
            ("include = \"*.jpg\"", "list"),
        ] {
            let error = read(line).unwrap_err();
            assert!(
                error.contains(word) && error.contains("emsync.toml:"),
                "{error}"
            );
        }
    }
}
