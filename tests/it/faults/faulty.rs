//! Faults that any request may meet, and the changes of replies that several tests share.
//!
//! Left out of the menu is what no client can see through: a page that says in good order that there is nothing new.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::support::emdb::KEY;
use crate::support::fault::{Fault, Gate, Length, Reply};

/// An answer with a body in which a peer repeats the key it was shown.
pub(super) fn answer(status: u16) -> Reply {
    let page = format!("<html><body>{status}: {KEY} is not welcome</body></html>");
    Reply::plain(status, "text/html", &page)
}

/// A redirect to a login page, with the key in it.
pub(super) fn to_login() -> Reply {
    let target = format!("/finder/mediadb/authentication/logon.html?entermedia.key={KEY}");
    Reply::plain(302, "image/jpeg", "").with("location", &target)
}

/// The body compressed, and said so.
pub(super) fn gzip(reply: &mut Reply) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&reply.body).unwrap();
    reply.body = encoder.finish().unwrap().into();
    reply.headers.push(("content-encoding", "gzip".to_owned()));
}

/// More is announced than comes.
pub(super) fn longer(reply: &mut Reply) {
    reply.length = Length::Claimed(reply.body.len() as u64 + 100);
}

/// Less comes, and is announced so.
pub(super) fn shorter(reply: &mut Reply) {
    let kept = reply.body.len().saturating_sub(3);
    reply.length = Length::Claimed(kept as u64);
    reply.body.truncate(kept);
}

/// Another place within the file.
pub(super) fn set_range(reply: &mut Reply, range: &str) {
    *reply = reply.clone().with("content-range", range);
}

/// Entries of a page without their list of files; other replies stay.
pub(super) fn without_files(reply: &mut Reply) {
    rewrite(reply, |page| {
        for entry in page["generated"].as_array_mut().into_iter().flatten() {
            entry.as_object_mut().unwrap().remove("files");
        }
    });
}

/// Changes the JSON of a page; other replies stay.
pub(super) fn rewrite(reply: &mut Reply, change: impl FnOnce(&mut Value)) {
    if let Ok(mut page) = serde_json::from_slice::<Value>(&reply.body)
        && page.is_object()
    {
        change(&mut page);
        reply.body = page.to_string().into();
    }
}

/// Faults for any request.
pub(super) fn menu() -> Vec<Fault> {
    let changes: [fn(&mut Reply); 7] = [
        gzip,
        longer,
        shorter,
        without_files,
        |reply| reply.length = Length::Chunked,
        |reply| set_range(reply, "bytes 7-9/10"),
        |reply| *reply = reply.clone().with("etag", "another"),
    ];
    let answers = [200, 401, 403, 404, 410, 500, 502].map(|status| Fault::Answer(answer(status)));
    let mut menu = vec![
        Fault::Reset,
        Fault::CutAfter(0),
        Fault::CutAfter(5),
        Fault::CutAfter(1_200_000),
        Fault::Unavailable(None),
        Fault::Unavailable(Some(0)),
        Fault::TooManyRequests(None),
        Fault::WrongBytes,
        Fault::ShortBody(4),
        Fault::Stall(2, Gate::default()),
        Fault::Answer(to_login()),
        Fault::Answer(Reply::plain(200, "text/json", "")),
        Fault::RepeatPage,
        Fault::TruncatedJson,
        Fault::Trickle(Duration::from_micros(50)),
        Fault::HalfClose(3),
        Fault::Http10,
        Fault::ForgetSessions,
        Fault::IgnoreRange,
        Fault::RangeFromZero,
    ];
    menu.extend(changes.map(Fault::Change));
    menu.extend(answers);
    menu
}
