//! Ids of what an import makes: derived from the cluster id and the first path, so that the same folder imported into a
//! fresh node of the same name gives the same ids (design section 8, Identity and Import).

use crate::model::id::derived;
use crate::model::{AssetId, MediaPath, Module, NodeId};

/// The root category. It is built in: no record stands for it.
pub(super) const ROOT_CATEGORY: &str = "index";

/// The ids an asset with this first path may have, best first: later ones are for when the file that had this path before
/// has moved and took its id along.
pub(super) fn assets(own: &NodeId, path: &MediaPath) -> impl Iterator<Item = AssetId> + use<> {
    let base = derived(own, Module::ASSET, path.as_str());
    (1_u64..).map(move |n| {
        let id = if n == 1 {
            base.clone()
        } else {
            format!("{base}-{n}")
        };
        AssetId::new(id).expect("letters and digits are an id")
    })
}

/// The id of the category that stands for a directory.
pub(super) fn category(own: &NodeId, path: &str) -> String {
    derived(own, Module::CATEGORY, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_depend_on_node_table_and_path_and_on_nothing_else() {
        let (a, b) = (NodeId::new("a").unwrap(), NodeId::new("b").unwrap());
        let path = MediaPath::new("x/y.jpg").unwrap();
        let first = |own| assets(own, &path).next().unwrap().to_string();
        assert_eq!(first(&a), first(&a));
        assert_ne!(first(&a), first(&b));
        assert_ne!(first(&a), category(&a, "x/y.jpg"));
        assert_eq!(first(&a).len(), 20);
        assert!(
            first(&a)
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        );
    }

    #[test]
    fn a_clash_is_resolved_by_a_number() {
        let own = NodeId::new("a").unwrap();
        let path = MediaPath::new("x.jpg").unwrap();
        let ids: Vec<_> = assets(&own, &path)
            .take(3)
            .map(|id| id.to_string())
            .collect();
        assert_eq!(ids[1], format!("{}-2", ids[0]));
        assert_eq!(ids[2], format!("{}-3", ids[0]));
    }
}
