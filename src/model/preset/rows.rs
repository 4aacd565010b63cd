//! Rows of EMDB's list tables `convertpreset` and `presetparameter`, and which of them count (media spec 1.1).

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use super::shipped::Shipped;

/// Where a row was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whence {
    /// The file.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
}

impl fmt::Display for Whence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One row of a list table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    /// Its attributes by name, `id` among them; its text is `name` where no attribute is.
    pub properties: BTreeMap<String, String>,
    /// Where it was read; none for a shipped row.
    pub whence: Option<Whence>,
}

impl Row {
    /// A property of the row itself.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    /// The row's id; empty for one without.
    #[must_use]
    pub fn id(&self) -> &str {
        self.get("id").unwrap_or_default()
    }

    fn is_deleted(&self) -> bool {
        self.get("recordstatus") == Some("deleted")
    }
}

/// The rows that count, of both tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lists {
    presets: Vec<Row>,
    /// By guid; those of one sorted by row id.
    parameters: BTreeMap<String, Vec<Row>>,
}

impl Lists {
    /// The site's rows, each table in load order, before those EMDB ships.
    ///
    /// Of the rows of one id the first counts, and none does when that one says it is deleted.
    #[must_use]
    pub fn new(site_presets: Vec<Row>, site_parameters: Vec<Row>, shipped: Shipped) -> Self {
        let presets = site_presets.into_iter().chain(shipped.presets());
        let parameters = site_parameters.into_iter().chain(shipped.parameters());
        let mut by_guid: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in first_of_each_id(parameters) {
            let guid = row.get("parameterdata").unwrap_or_default().to_owned();
            by_guid.entry(guid).or_default().push(row);
        }
        for rows in by_guid.values_mut() {
            rows.sort_by(|a, b| a.id().cmp(b.id()));
        }
        Self {
            presets: first_of_each_id(presets),
            parameters: by_guid,
        }
    }

    /// Rows of `convertpreset`, in load order.
    #[must_use]
    pub fn presets(&self) -> &[Row] {
        &self.presets
    }

    /// Rows of `presetparameter` of one guid, by row id. No guid has none.
    pub(super) fn parameters_of(&self, guid: &str) -> impl Iterator<Item = &Row> {
        let of_guid = self.parameters.get(guid).filter(|_| !guid.is_empty());
        of_guid.into_iter().flatten()
    }
}

fn first_of_each_id(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut seen = HashSet::new();
    // A row without an id is no other's double.
    let first = rows.filter(|row| row.id().is_empty() || seen.insert(row.id().to_owned()));
    first.filter(|row| !row.is_deleted()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(properties: &[(&str, &str)]) -> Row {
        let owned = properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Row {
            properties: owned.collect(),
            whence: None,
        }
    }

    #[test]
    fn the_first_row_of_an_id_counts() {
        let site = vec![
            row(&[("id", "largeimage"), ("ordering", "3")]),
            row(&[("id", "largeimage"), ("ordering", "4")]),
        ];
        let lists = Lists::new(site, Vec::new(), Shipped::Webp);
        let of_id = lists
            .presets()
            .iter()
            .filter(|row| row.id() == "largeimage");
        let orderings: Vec<_> = of_id.map(|row| row.get("ordering")).collect();
        assert_eq!(orderings, [Some("3")]);
        assert_eq!(
            lists.presets()[0].id(),
            "largeimage",
            "the site's come first"
        );
    }

    #[test]
    fn a_deleted_row_takes_the_shipped_one_along() {
        let gone = |id| row(&[("id", id), ("recordstatus", "deleted")]);
        let (presets, parameters) = (vec![gone("webpthumbimage")], vec![gone("webpimagemedium3")]);
        let lists = Lists::new(presets, parameters, Shipped::Webp);
        assert!(
            lists
                .presets()
                .iter()
                .all(|row| row.id() != "webpthumbimage")
        );
        let names = lists
            .parameters_of("webpimagemedium")
            .map(|row| row.get("name"));
        assert!(names.into_iter().all(|name| name != Some("quality")));
    }

    #[test]
    fn rows_without_an_id_are_no_doubles() {
        let site = vec![row(&[("ordering", "1")]), row(&[("ordering", "2")])];
        let lists = Lists::new(site, Vec::new(), Shipped::Webp);
        assert_eq!(
            lists
                .presets()
                .iter()
                .filter(|row| row.id().is_empty())
                .count(),
            2
        );
    }

    #[test]
    fn parameters_come_by_row_id_whatever_the_load_order() {
        let parameter = |id, value| {
            row(&[
                ("id", id),
                ("parameterdata", "g"),
                ("name", "quality"),
                ("value", value),
            ])
        };
        let site = vec![
            parameter("b", "1"),
            parameter("a", "2"),
            parameter("a", "3"),
        ];
        let lists = Lists::new(Vec::new(), site, Shipped::Webp);
        let values: Vec<_> = lists
            .parameters_of("g")
            .map(|row| row.get("value"))
            .collect();
        assert_eq!(values, [Some("2"), Some("1")]);
        assert_eq!(lists.parameters_of("").count(), 0);
    }
}
