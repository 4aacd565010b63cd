//! Processes run to their good end, and what that cost.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a process cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// From its start to its end.
    pub(crate) wall: Duration,
    /// User and system time of it and its children.
    pub(crate) cpu: Duration,
    /// Most resident memory at one moment, KiB.
    pub(crate) peak_kib: u64,
}

/// A process that has ended well.
#[derive(Debug)]
pub(crate) struct Ran {
    /// What it cost.
    pub(crate) cost: Cost,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
}

/// Runs a command to its good end.
pub(crate) fn run(command: &mut Command) -> Ran {
    run_to(command, 0)
}

/// Runs a command that is to end with this code.
pub(crate) fn run_to(command: &mut Command, code: i32) -> Ran {
    let (cpu, started) = (children(), Instant::now());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let watched = peak_while_running(child.id());
    let output = child.wait_with_output().unwrap();
    let wall = started.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    let cost = Cost {
        wall,
        cpu: children() - cpu,
        peak_kib: watched.join().unwrap(),
    };
    Ran {
        cost,
        stdout: output.stdout,
    }
}

/// Whether a program is on the PATH.
pub(crate) fn is_installed(program: &str) -> bool {
    let found = Command::new("sh")
        .arg("-c")
        .arg(format!("command -v {program}"))
        .output();
    found.is_ok_and(|output| output.status.success())
}

/// The first line of what a program says of its version.
pub(crate) fn version(program: &str, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let said = output
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines().next().unwrap_or("unknown version").to_owned()
}

/// Most resident memory so far, KiB, of a running process and of the children it has.
pub(crate) fn peak_of(child: &Child) -> u64 {
    family(child.id()).iter().filter_map(peak_of_pid).sum()
}

/// Lets the peak of a running process begin anew.
pub(crate) fn forget_peak_of(child: &Child) {
    std::fs::write(format!("/proc/{}/clear_refs", child.id()), "5").unwrap();
}

/// User and system time of a running process and of the children it has.
pub(crate) fn cpu_of(child: &Child) -> Duration {
    // utime and stime are the 11th and 12th number behind the name and the state.
    let spent = |pid: &u32| times(&format!("/proc/{pid}/stat"), 10);
    family(child.id()).iter().map(spent).sum()
}

fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let all = children.split_whitespace().map(|pid| pid.parse().unwrap());
    all.chain([pid]).collect()
}

/// A process that ends with its handle.
#[derive(Debug)]
pub(crate) struct Background(pub Child);

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the peak resident size of a process again and again until it is gone.
fn peak_while_running(pid: u32) -> std::thread::JoinHandle<u64> {
    std::thread::spawn(move || {
        let mut peak = 0;
        while let Some(now) = peak_of_pid(&pid) {
            peak = now.max(peak);
            std::thread::park_timeout(Duration::from_millis(5));
        }
        peak
    })
}

/// `VmHWM` in KiB; `None` once the process is gone.
fn peak_of_pid(pid: &u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time of all children that ended.
fn children() -> Duration {
    times("/proc/self/stat", 12)
}

/// Two neighbouring times of a `stat` file, added; counted from the first number behind the state, in hundredths of a second.
fn times(file: &str, at: usize) -> Duration {
    let stat = std::fs::read_to_string(file).unwrap_or_default();
    let behind_the_name = stat.rsplit(')').next().unwrap_or_default();
    let numbers: Vec<i64> = behind_the_name
        .split_whitespace()
        .filter_map(|field| field.parse().ok())
        .collect();
    let ticks = numbers.get(at..at + 2).map_or(0, |pair| pair[0] + pair[1]);
    Duration::from_millis(ticks.unsigned_abs() * 10)
}
