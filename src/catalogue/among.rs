//! Of which assets rows are read: of some that are named, or of all from one to another.

use sqlx::QueryBuilder;

use super::dialect::{Engine, ROWS_A_STATEMENT, padded};

/// Some assets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among<'a> {
    /// These ids.
    These(&'a [&'a str]),
    /// All from the first id to the last, both included: for whoever walks over all of them, since one stretch of an index is read
    /// in half the time that as many single places of it take.
    Between(&'a str, &'a str),
}

impl<'a, T: AsRef<[&'a str]> + ?Sized> From<&'a T> for Among<'a> {
    fn from(ids: &'a T) -> Self {
        Self::These(ids.as_ref())
    }
}

impl<'a> Among<'a> {
    /// The same in parts of which each is small enough for a statement.
    pub(super) fn parts(self) -> Vec<Self> {
        match self {
            Self::These(ids) => ids.chunks(ROWS_A_STATEMENT).map(Self::These).collect(),
            Self::Between(..) => vec![self],
        }
    }

    /// Whether this id is one of them.
    pub(super) fn has(self, id: &str) -> bool {
        match self {
            Self::These(ids) => ids.contains(&id),
            Self::Between(first, last) => (first..=last).contains(&id),
        }
    }

    /// Narrows a statement to rows whose `asset` is one of a part.
    pub(super) fn narrow(self, query: &mut QueryBuilder<Engine>) {
        match self {
            Self::These(ids) => {
                query.push(" WHERE asset IN (");
                let mut list = query.separated(", ");
                for id in padded(ids) {
                    list.push_bind(*id);
                }
                query.push(")");
            }
            Self::Between(first, last) => {
                query.push(" WHERE asset BETWEEN ");
                query.push_bind(first).push(" AND ").push_bind(last);
            }
        }
    }
}
