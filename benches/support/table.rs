//! Rows of measured rounds, as the table that README shows.

use std::time::Duration;

use super::process::Cost;

/// One contender and its rounds.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Cost>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rounds: Vec::new(),
        }
    }

    pub(crate) fn wall(&self) -> Duration {
        median(self.rounds.iter().map(|cost| cost.wall))
    }

    /// The wall seconds of each round.
    pub(crate) fn each(&self) -> String {
        let wall = |cost: &Cost| format!("{:.2}", cost.wall.as_secs_f64());
        let each: Vec<_> = self.rounds.iter().map(wall).collect();
        each.join(" ")
    }

    pub(crate) fn cpu(&self) -> Duration {
        median(self.rounds.iter().map(|cost| cost.cpu))
    }

    pub(crate) fn peak_mib(&self) -> u64 {
        self.rounds
            .iter()
            .map(|cost| cost.peak_kib)
            .max()
            .unwrap_or(0)
            / 1024
    }
}

/// Prints rows, each with the time of `first`'s relative to its own.
pub(crate) fn print(what: &str, rows: &[Row]) {
    println!("| {what} | wall | rounds | user+sys | peak RSS | emsync takes |");
    println!("| --- | ---: | ---: | ---: | ---: | ---: |");
    let ours = rows.first().map_or(0.0, |row| row.wall().as_secs_f64());
    for row in rows.iter().filter(|row| !row.rounds.is_empty()) {
        println!(
            "| {} | {:.2} s | {} | {:.2} s | {} MiB | {:.2} |",
            row.name,
            row.wall().as_secs_f64(),
            row.each(),
            row.cpu().as_secs_f64(),
            row.peak_mib(),
            ours / row.wall().as_secs_f64(),
        );
    }
    println!();
}

pub(crate) fn median(of: impl Iterator<Item = Duration>) -> Duration {
    let mut sorted: Vec<_> = of.collect();
    sorted.sort();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

pub(crate) fn middle(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}
