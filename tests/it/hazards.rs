//! `tests/HAZARDS.md` keeps its word: each hazard and each promise has one row, and each test that it names exists.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What a row says where it names no test.
const WITHOUT: [&str; 2] = ["not yet: push", "operators: README"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Id and last cell of every row of both tables.
fn rows(text: &str) -> Vec<(&str, &str)> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            continue;
        };
        let cells: Vec<&str> = line.trim_end_matches(" |").split(" | ").collect();
        let (id, tests) = (cells[0], cells[cells.len() - 1]);
        if id != "id" && id != "---" {
            assert_eq!(cells.len(), 4, "{id} has not four cells");
            rows.push((id, tests));
        }
    }
    rows
}

fn expected_ids() -> Vec<String> {
    let hazards = (1..=50).map(|n| format!("H-{n}"));
    let promises = (1..=14).filter(|n| *n != 11).map(|n| format!("I{n}"));
    hazards.chain(promises).collect()
}

/// The tests of a cell: what stands between backticks.
fn cited(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// Why a cited test cannot be the one that is meant, if it cannot.
fn flaw(test: &str) -> Option<String> {
    let (file, wanted) = match test.split_once(": ") {
        Some((file, name)) => (file, name.to_owned()),
        None => {
            let (path, name) = test.rsplit_once("::")?;
            let file = path.strip_suffix("::tests").unwrap_or(path);
            (file, format!("fn {name}("))
        }
    };
    let Ok(text) = fs::read_to_string(root().join(file)) else {
        return Some(format!("{test}: there is no file {file}"));
    };
    (!text.contains(&wanted)).then(|| format!("{test}: no {wanted} in {file}"))
}

#[test]
fn every_hazard_and_promise_has_one_row_and_every_test_it_names_exists() {
    let text = fs::read_to_string(root().join("tests/HAZARDS.md")).unwrap();
    let rows = rows(&text);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (id, _) in &rows {
        *counts.entry(*id).or_default() += 1;
    }
    let expected = expected_ids();
    let mut flaws: Vec<String> = (expected.iter())
        .filter(|id| counts.get(id.as_str()) != Some(&1))
        .map(|id| format!("{id}: not exactly one row"))
        .collect();
    let others = counts
        .keys()
        .filter(|id| !expected.iter().any(|known| known == *id));
    flaws.extend(others.map(|id| format!("{id}: neither a hazard nor a promise")));
    let mut named = 0;
    for (id, cell) in rows {
        if WITHOUT.contains(&cell) {
            continue;
        }
        let before = named;
        for test in cited(cell) {
            named += 1;
            assert!(test.contains("::") || test.contains(": "), "{id}: {test}");
            flaws.extend(flaw(test).map(|flaw| format!("{id}: {flaw}")));
        }
        if named == before {
            flaws.push(format!(
                "{id}: neither a test nor a word about why there is none"
            ));
        }
    }
    assert!(flaws.is_empty(), "{flaws:#?}");
    assert!(named > 100, "only {named} tests are named");
}
