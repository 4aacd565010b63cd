//! What stands around every page: the node's name, the way to the other pages, who is logged in, and what was just done.

use askama::Template;
use axum::response::{Html, IntoResponse as _, Redirect, Response};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::Error;
use super::{ROOT, Web};
use crate::catalogue::Session;

/// The pages, in the order they are shown.
const PAGES: [(&str, &str); 8] = [
    ("", "Overview"),
    ("peers", "Peers"),
    ("schedule", "Schedule"),
    ("work", "Work"),
    ("limits", "Limits"),
    ("quarantine", "Set aside"),
    ("conflicts", "Conflicts"),
    ("assets", "Assets"),
];

/// The frame of one page.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) node: String,
    pub(super) user: String,
    here: &'static str,
    /// What was just done, told once.
    pub(super) said: String,
    /// Why something was not.
    pub(super) refused: String,
}

impl Shell {
    /// The frame of the page below this path.
    pub(super) fn new(web: &Web, session: &Session, here: &'static str) -> Self {
        Self {
            node: web.node.config.node.name.clone(),
            user: session.user.clone(),
            here,
            said: String::new(),
            refused: String::new(),
        }
    }

    /// The same, telling what was just done.
    pub(super) fn saying(mut self, said: Option<&str>) -> Self {
        said.unwrap_or_default().clone_into(&mut self.said);
        self
    }

    /// The same, telling why something was not done.
    pub(super) fn refusing(mut self, why: String) -> Self {
        self.refused = why;
        self
    }

    pub(super) fn pages(&self) -> [(&'static str, &'static str); PAGES.len()] {
        PAGES
    }

    pub(super) fn is_at(&self, path: &str) -> bool {
        self.here == path
    }
}

/// What a page was led to with: what was just done.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct Said {
    pub(super) said: Option<String>,
}

/// A page as the browser gets it.
pub(super) fn html(page: &impl Template) -> Result<Response, Error> {
    Ok(Html(page.render()?).into_response())
}

/// To another page, after something was done there.
pub(super) fn done(path: &str, said: &str) -> Response {
    let said = utf8_percent_encode(said, NON_ALPHANUMERIC);
    let mark = if path.contains('?') { '&' } else { '?' };
    Redirect::to(&format!("{ROOT}{path}{mark}said={said}")).into_response()
}

/// A part of a path, escaped.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A time in UTC as a person reads it.
pub(super) fn when(time: impl ToString) -> String {
    let text = time.to_string();
    let day_and_time = text.split_once('T').map(|(day, time)| {
        let second = time.split(['.', 'Z']).next().unwrap_or(time);
        format!("{day} {second}")
    });
    day_and_time.unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    #[test]
    fn times_are_short_and_to_the_second() {
        let time = Timestamp::from_millis(1_800_000_000_123);
        assert_eq!(when(time), "2027-01-15 08:00:00");
        assert_eq!(when("never"), "never");
    }
}
