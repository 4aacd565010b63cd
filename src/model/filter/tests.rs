//! What each rule leaves out, and that none leaves out what a record does not state.

use serde_json::json;

use super::*;
use crate::model::{AssetId, MediaPath};

const DAY: Duration = Duration::from_secs(86_400);

fn asset(path: &str) -> Asset {
    Asset {
        id: AssetId::new("a").unwrap(),
        source_path: MediaPath::new(path).unwrap(),
        archive_path: None,
        is_folder: false,
        primary_file: None,
        size: Some(1_000),
        modified: Some(Timestamp::from_millis(1_000_000_000_000)),
        md5: None,
        format: None,
        categories: vec!["index".to_owned(), "press".to_owned()],
        pages: 0,
        marked_deleted: false,
        unrenderable: false,
        unfinished: false,
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000).plus(10 * DAY)
}

fn keeps(filter: Filter, asset: &Asset) -> bool {
    let selection = Selection {
        wanted: filter.categories.iter().cloned().collect(),
        left_out: filter.exclude_categories.iter().cloned().collect(),
        filter,
        unknown: Vec::new(),
    };
    selection.keeps(asset, now())
}

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn each_rule_narrows_by_itself() {
    let photo = asset("Photos/2024/a.jpg");
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let cases: [(Filter, Filter); 6] = [
        (
            Filter {
                include: patterns(&["/Photos/**"]),
                ..Filter::default()
            },
            Filter {
                include: patterns(&["/Films/**"]),
                ..Filter::default()
            },
        ),
        (
            Filter {
                exclude: patterns(&["*.tif"]),
                ..Filter::default()
            },
            Filter {
                exclude: patterns(&["*.jpg"]),
                include: patterns(&["/Photos/**"]),
                ..Filter::default()
            },
        ),
        (
            Filter {
                categories: named(&["press", "other"]),
                ..Filter::default()
            },
            Filter {
                categories: named(&["other"]),
                ..Filter::default()
            },
        ),
        (
            Filter {
                exclude_categories: named(&["other"]),
                ..Filter::default()
            },
            Filter {
                exclude_categories: named(&["press"]),
                categories: named(&["index"]),
                ..Filter::default()
            },
        ),
        (
            Filter {
                min_size: Some(1_000),
                max_size: Some(1_000),
                ..Filter::default()
            },
            Filter {
                min_size: Some(1_001),
                ..Filter::default()
            },
        ),
        (
            Filter {
                min_age: Some(10 * DAY),
                max_age: Some(10 * DAY),
                ..Filter::default()
            },
            Filter {
                max_age: Some(9 * DAY),
                ..Filter::default()
            },
        ),
    ];
    for (yes, no) in cases {
        assert!(keeps(yes.clone(), &photo), "{yes}");
        assert!(!keeps(no.clone(), &photo), "{no}");
    }
}

#[test]
fn what_a_record_does_not_state_leaves_nothing_out() {
    let unknown = Asset {
        size: None,
        modified: None,
        ..asset("a.jpg")
    };
    let narrow = Filter {
        min_size: Some(1 << 40),
        max_age: Some(Duration::ZERO),
        ..Filter::default()
    };
    assert!(keeps(narrow, &unknown));
}

#[test]
fn a_name_that_nothing_bears_yet_wants_nothing() {
    let selection = Selection {
        filter: Filter {
            exclude_categories: vec!["Index/Private".to_owned()],
            ..Filter::default()
        },
        unknown: vec!["Index/Private".to_owned()],
        ..Selection::default()
    };
    assert!(!selection.keeps(&asset("a.jpg"), now()));
    assert!(Selection::default().keeps(&asset("a.jpg"), now()));
    assert_ne!(
        selection.identity(),
        Selection {
            unknown: Vec::new(),
            ..selection.clone()
        }
        .identity()
    );
}

#[test]
fn a_folder_goes_by_its_primary_file_and_a_moved_original_by_where_it_lies() {
    let folder = Asset {
        is_folder: true,
        primary_file: Some(MediaPath::new("p.jpg").unwrap()),
        ..asset("Shoots/one")
    };
    let only = |text: &str| Filter {
        include: patterns(&[text]),
        ..Filter::default()
    };
    assert!(keeps(only("/Shoots/one/*.jpg"), &folder));
    let archived = Asset {
        archive_path: Some(MediaPath::new("Cold/a.jpg").unwrap()),
        ..asset("a.jpg")
    };
    assert!(keeps(only("/Cold/**"), &archived) && !keeps(only("/a.jpg"), &archived));
}

#[test]
fn the_categories_of_a_record_are_read_with_their_ancestors() {
    let source =
        json!({"sourcepath": "a.jpg", "category": ["index", "x"], "category-exact": ["x", "y"]});
    let source = serde_json::value::to_raw_value(&source).unwrap();
    let record = crate::protocol::record::record("asset", "a", &source).unwrap();
    let asset = crate::protocol::record::asset(&record).unwrap();
    assert_eq!(asset.categories, ["index", "x", "y"]);
}
