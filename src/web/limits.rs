//! How much at once and how fast: limits that hold for runs that go on as well, and the week's bandwidth, hour by hour. All of it is
//! written to `emsync.toml`, where the timetable stands in rclone's notation; the table shows what that says.

use std::num::NonZeroU64;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::Web;
use super::error::Error;
use super::shell::{Said, Shell, done, html};
use crate::catalogue::Session;
use crate::config::edit::change_settings;
use crate::config::members::Member;
use crate::config::{Bandwidth, Config, Limits, Rates};
use crate::text::bytes;

/// Days of the week, as the table has them.
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Letters of the rates that are told apart; further ones share the last.
const LETTERS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];

#[derive(Template)]
#[template(path = "limits.html", config = "src/web/askama.toml")]
struct Page {
    shell: Shell,
    fields: Fields,
    hours: Hours,
    /// What of it holds right now.
    now: String,
    transfers: usize,
    threads: usize,
    /// The bandwidth of the command line, which holds whatever the file says.
    held: Option<String>,
    days: Vec<Day>,
    rates: Vec<Rate>,
}

/// One day of the week.
struct Day {
    name: &'static str,
    number: usize,
    cells: Vec<Cell>,
}

/// One hour of it.
struct Cell {
    hour: u16,
    class: usize,
    letter: &'static str,
    said: String,
}

/// A rate that holds in some hour.
struct Rate {
    class: usize,
    letter: &'static str,
    said: String,
}

/// What the form of limits has; blank is the default.
#[derive(Default, Clone, serde::Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    transfers: String,
    thumb_threads: String,
    bwlimit: String,
}

/// What the form of hours has.
#[derive(Default, Clone, serde::Deserialize)]
#[serde(default)]
pub(super) struct Hours {
    mon: bool,
    tue: bool,
    wed: bool,
    thu: bool,
    fri: bool,
    sat: bool,
    sun: bool,
    from: u16,
    to: u16,
    rate: String,
}

impl Hours {
    /// What a form begins with.
    fn at_first() -> Self {
        Self {
            mon: true,
            tue: true,
            wed: true,
            thu: true,
            fri: true,
            from: 8,
            to: 18,
            ..Self::default()
        }
    }

    fn days(&self) -> [bool; 7] {
        [
            self.mon, self.tue, self.wed, self.thu, self.fri, self.sat, self.sun,
        ]
    }

    /// Days with the names of their fields.
    fn ticks(&self) -> impl Iterator<Item = (&'static str, String, bool)> {
        let days = DAYS.into_iter().zip(self.days());
        days.map(|(name, is_ticked)| (name, name.to_lowercase(), is_ticked))
    }

    /// The timetable with these hours.
    fn put_into(&self, bandwidth: &Bandwidth) -> Result<Bandwidth, String> {
        if !self.days().contains(&true) {
            return Err("choose at least one day".to_owned());
        }
        if self.from >= 24 || self.to > 24 {
            return Err("hours go from 0 to 24".to_owned());
        }
        let rates: Rates =
            (self.rate.trim().parse()).map_err(|error| crate::error::chain(&error))?;
        Ok(bandwidth.with(self.days(), (self.from, self.to), rates))
    }
}

impl Fields {
    /// As the file has it.
    fn of(config: &Config) -> Self {
        Self {
            transfers: config.limits.transfers.to_string(),
            thumb_threads: config.media.thumb_threads.to_string(),
            bwlimit: config.limits.bwlimit.to_string(),
        }
    }

    fn settings(&self) -> Result<[(&'static str, Member); 3], String> {
        Ok([
            (
                "limits.transfers",
                number("transfers", &self.transfers, Limits::default().transfers)?,
            ),
            (
                "media.thumb_threads",
                number("thumb_threads", &self.thumb_threads, 0)?,
            ),
            ("limits.bwlimit", bwlimit(&self.bwlimit)),
        ])
    }
}

/// As it is written; blank and the default stand nowhere.
fn number(name: &str, text: &str, default: usize) -> Result<Member, String> {
    let text = text.trim();
    if text.is_empty() || text == default.to_string() {
        return Ok(Member::Absent);
    }
    let number = text.parse().map(Member::Number);
    number.map_err(|_| format!("{name}: {text:?} is no number"))
}

/// As it is written, in one line; what limits nothing stands nowhere.
fn bwlimit(text: &str) -> Member {
    let entries: Vec<&str> = text.split_whitespace().collect();
    match entries.as_slice() {
        ["off"] => Member::Absent,
        entries => Member::text(&entries.join(" ")),
    }
}

/// The page.
pub(super) async fn page(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Query(said): Query<Said>,
) -> Result<Response, Error> {
    let shell = Shell::new(&web, &session, "limits").saying(said.said.as_deref());
    html(&shown(&web, shell, None, Hours::at_first())?)
}

/// Writes the limits.
pub(super) async fn change(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Form(fields): Form<Fields>,
) -> Result<Response, Error> {
    let written = match fields.settings() {
        Ok(settings) => written(&web, &settings),
        Err(why) => Err(why),
    };
    if let Err(why) = written {
        let shell = Shell::new(&web, &session, "limits").refusing(why);
        let page = shown(&web, shell, Some(fields), Hours::at_first())?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response());
    }
    web.reload().await?;
    Ok(done(
        "limits",
        "The limits hold now, for runs that go on as well.",
    ))
}

/// Writes some hours of the week into the timetable.
pub(super) async fn hours(
    State(web): State<Arc<Web>>,
    Extension(session): Extension<Session>,
    Form(hours): Form<Hours>,
) -> Result<Response, Error> {
    let bandwidth = config(&web)?.limits.bwlimit;
    let put = hours.put_into(&bandwidth);
    let written =
        put.and_then(|new| written(&web, &[("limits.bwlimit", bwlimit(&new.to_string()))]));
    if let Err(why) = written {
        let shell = Shell::new(&web, &session, "limits").refusing(why);
        let page = shown(&web, shell, None, hours)?;
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)?).into_response());
    }
    web.reload().await?;
    Ok(done("limits", "The timetable is changed."))
}

fn written(web: &Web, settings: &[(&'static str, Member)]) -> Result<(), String> {
    change_settings(&web.node.config.file, settings).map_err(|error| error.report())
}

/// What the file says now: it, not the process, is what a form changes.
fn config(web: &Web) -> Result<Config, Error> {
    Config::load(&web.node.config.file).map_err(|error| Error::Refused(error.report()))
}

fn shown(web: &Web, shell: Shell, sent: Option<Fields>, hours: Hours) -> Result<Page, Error> {
    let config = config(web)?;
    let bandwidth = &config.limits.bwlimit;
    let rates = told_apart(bandwidth);
    let at_once = &web.node.at_once;
    let now = web.scheduler.node().throttle.rates();
    Ok(Page {
        shell,
        fields: sent.unwrap_or_else(|| Fields::of(&config)),
        hours,
        now: said(now),
        transfers: at_once.transfers.get(),
        threads: at_once.threads.or_cores(),
        held: web.scheduler.held().map(ToString::to_string),
        days: days(bandwidth, &rates),
        rates: rates.iter().map(|of_hour| rate(*of_hour, &rates)).collect(),
    })
}

/// The rates of all hours, each once, in the order of the week.
fn told_apart(bandwidth: &Bandwidth) -> Vec<Rates> {
    let mut rates = Vec::new();
    for hour in 0..7 * 24 {
        let of_hour = bandwidth.at_minute(hour * 60);
        if !rates.contains(&of_hour) {
            rates.push(of_hour);
        }
    }
    rates
}

fn days(bandwidth: &Bandwidth, rates: &[Rates]) -> Vec<Day> {
    let cell = |day: usize, hour: u16| {
        let first = u16::try_from(day).unwrap_or(0) * 24 * 60 + hour * 60;
        let rates_of = |minute| bandwidth.at_minute(first + minute);
        let of_hour = rates_of(0);
        let (class, letter) = mark(of_hour, rates);
        let changes = (1..60).any(|minute| rates_of(minute) != of_hour);
        Cell {
            hour,
            class,
            letter,
            said: match changes {
                true => format!("{}, changes within the hour", said(of_hour)),
                false => said(of_hour),
            },
        }
    };
    let day = |(number, name): (usize, &'static str)| Day {
        name,
        number,
        cells: (0..24).map(|hour| cell(number, hour)).collect(),
    };
    DAYS.into_iter().enumerate().map(day).collect()
}

/// How a rate is told from the others: by its letter, and its shade.
fn mark(rates: Rates, all: &[Rates]) -> (usize, &'static str) {
    if rates == Rates::default() {
        return (LETTERS.len(), "·");
    }
    let limited = all.iter().filter(|rates| **rates != Rates::default());
    let at = limited.take_while(|other| **other != rates).count();
    let at = at.min(LETTERS.len() - 1);
    (at, LETTERS[at])
}

fn rate(rates: Rates, all: &[Rates]) -> Rate {
    let (class, letter) = mark(rates, all);
    Rate {
        class,
        letter,
        said: said(rates),
    }
}

fn said(rates: Rates) -> String {
    let one = |rate: Option<NonZeroU64>| {
        rate.map_or_else(
            || "no limit".to_owned(),
            |rate| format!("{}/s", bytes(rate.get())),
        )
    };
    match rates.up == rates.down {
        true => one(rates.up),
        false => format!("{} up, {} down", one(rates.up), one(rates.down)),
    }
}
