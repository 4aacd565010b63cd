//! How templates write numbers.

#![expect(
    unreachable_pub,
    reason = "the macro makes items that are as public as it likes"
)]

use askama::Values;

/// A count with its digits in groups.
#[askama::filter_fn]
pub(super) fn count(number: &u64, _: &dyn Values) -> askama::Result<String> {
    Ok(crate::text::count(*number))
}

/// Bytes in the unit a person would choose.
#[askama::filter_fn]
pub(super) fn bytes(number: &u64, _: &dyn Values) -> askama::Result<String> {
    Ok(crate::text::bytes(*number))
}
