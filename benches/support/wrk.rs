//! `wrk`, many keep-alive connections that ask as fast as they get answers, and what it counted.

use std::path::Path;
use std::process::Command;

use super::process::run;

/// Walks over paths, each thread from a place of its own, and prints one line that is easy to read.
const SCRIPT: &str = r#"
local threads = 0
function setup(thread)
  thread:set("at", threads * 1237)
  threads = threads + 1
end
local requests = {}
function init(args)
  for path in io.lines(args[1]) do requests[#requests + 1] = wrk.format("GET", path) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary)
  local e = summary.errors
  local bad = e.connect + e.read + e.write + e.status + e.timeout
  print(string.format("\nCOUNTED %d %d %d %d", summary.requests, summary.bytes, summary.duration, bad))
end
"#;

/// What is asked for.
#[derive(Debug)]
pub(crate) struct Asking<'a> {
    /// Base URL, without its path.
    pub(crate) server: &'a str,
    /// Paths, each of a file of `size` bytes.
    pub(crate) paths: &'a [String],
    pub(crate) size: usize,
    pub(crate) key: &'a str,
    pub(crate) connections: u16,
    pub(crate) seconds: u64,
    /// For the script and the list.
    pub(crate) lists: &'a Path,
}

/// Answers a second. All of them were good ones, and as long as they had to be.
pub(crate) fn requests_per_second(asking: &Asking<'_>) -> f64 {
    let (script, list) = (asking.lists.join("walk.lua"), asking.lists.join("paths"));
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::write(&list, asking.paths.join("\n")).unwrap();
    let ran = run(Command::new("wrk")
        .args(["-t2", "-c", &asking.connections.to_string()])
        .args(["-d", &format!("{}s", asking.seconds)])
        .args(["-H", &format!("X-token: {}", asking.key)])
        .args(["-H", "X-tokentype: entermedia", "-s"])
        .args([&script])
        .args([asking.server, "--"])
        .arg(&list));
    let said = String::from_utf8(ran.stdout).unwrap();
    let counted = said.lines().find_map(|line| line.strip_prefix("COUNTED "));
    let counted = counted.unwrap_or_else(|| panic!("{said}"));
    let numbers: Vec<u64> = counted
        .split(' ')
        .map(|number| number.parse().unwrap())
        .collect();
    let [requests, bytes, micros, bad] = numbers[..] else {
        panic!("{said}")
    };
    let wanted = requests * asking.size as u64;
    assert!(bad == 0 && requests > 0 && bytes >= wanted, "{said}");
    requests as f64 / (micros as f64 / 1e6)
}
