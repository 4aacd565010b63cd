//! Limits and the hours of the week: written as rclone has them, shown as a table, and in force at once.

use std::fs;
use std::num::NonZeroU64;

use super::*;

fn file_of(site: &Site) -> String {
    fs::read_to_string(&site.node.config.file).unwrap()
}

#[tokio::test]
async fn hours_of_the_week_are_written_into_the_timetable_and_shown_by_the_table() {
    let mut site = Site::entered("[limits]\n").await;
    site.get("/ui/limits").await.is(200).holds("no limit");
    let week = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let mut fields: Vec<_> = week.iter().map(|day| (*day, "true")).collect();
    fields.extend([("from", "8"), ("to", "19"), ("rate", "512k")]);
    site.post("/ui/limits/hours", &fields).await.is(303);
    assert!(file_of(&site).contains("bwlimit = \"08:00,512KiB 19:00,off\"\n"));
    let sunday = [
        ("sun", "true"),
        ("from", "22"),
        ("to", "6"),
        ("rate", "1M:2M"),
    ];
    site.post("/ui/limits/hours", &sunday).await.is(303);
    let shown = site.get("/ui/limits").await.is(200);
    let shown = shown
        .holds("title=\"Sun 22:00: 1.00 MiB/s up, 2.00 MiB/s down\"")
        .holds("title=\"Mon 5:00: 1.00 MiB/s up, 2.00 MiB/s down\"")
        .holds("title=\"Mon 8:00: 512.00 KiB/s\"")
        .holds("title=\"Mon 6:00: no limit\"");
    assert_eq!(shown.text.matches("data-hour=").count(), 7 * 24);
    let before = file_of(&site);
    for (field, value, says) in [
        ("rate", "fast", "fast"),
        ("sun", "false", "at least one day"),
        ("to", "25", "from 0 to 24"),
    ] {
        let mut wrong = sunday.to_vec();
        wrong.retain(|(name, _)| *name != field);
        wrong.push((field, value));
        let refused = site.post("/ui/limits/hours", &wrong).await.is(422);
        refused.holds(says);
    }
    assert_eq!(file_of(&site), before);
}

#[tokio::test]
async fn limits_hold_at_once_and_a_blank_one_is_the_default() {
    let mut site = Site::entered("").await;
    let (at_once, throttle) = (site.node.at_once.clone(), site.node.throttle.clone());
    let some = [
        ("transfers", "12"),
        ("thumb_threads", "3"),
        ("bwlimit", "1M"),
    ];
    site.post("/ui/limits", &some).await.is(303);
    assert_eq!((at_once.transfers.get(), at_once.threads.get()), (12, 3));
    assert_eq!(throttle.rates().up, NonZeroU64::new(1 << 20));
    let before = file_of(&site);
    for (field, value, says) in [
        ("transfers", "0", "limits.transfers"),
        ("thumb_threads", "some", "is no number"),
        ("bwlimit", "fast", "limits.bwlimit"),
    ] {
        let refused = site.post("/ui/limits", &[(field, value)]).await.is(422);
        refused.holds(says);
    }
    assert_eq!(file_of(&site), before);
    let blank = ["transfers", "thumb_threads", "bwlimit"].map(|field| (field, ""));
    site.post("/ui/limits", &blank).await.is(303);
    assert_eq!((at_once.transfers.get(), at_once.threads.get()), (256, 0));
    assert!(!file_of(&site).contains("transfers"));
}
