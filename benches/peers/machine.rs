//! What a reader has to know about the machine and the programs to judge the figures.

use std::fs;
use std::io;
use std::thread;
use std::time::Duration;

use super::contest::Contestant;
use super::echo;
use super::row::Row;

/// The lock file tells which versions were built.
const LOCK: &str = include_str!("../../Cargo.lock");

/// Under which allocator all of them run.
const ALLOCATOR: &str = if cfg!(feature = "mimalloc") { "mimalloc" } else { "system allocator" };

/// `name` with its version, where it is a crate, or one with something behind a hyphen.
fn with_version(name: &str) -> String {
    let package = name.split('-').next().unwrap_or(name);
    let entry = format!("name = \"{package}\"\nversion = \"");
    match LOCK.split_once(&entry).and_then(|(_, rest)| rest.split_once('"')) {
        Some((version, _)) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}

/// Processor, kernel, load, versions: one line each.
pub(crate) fn describe<R: Row>(contestants: &[Contestant<R>], workers: usize) -> String {
    describe_named(contestants.iter().map(|contestant| contestant.name), workers)
}

/// The same for the peers of these names.
pub(crate) fn describe_named<'a>(peers: impl Iterator<Item = &'a str>, workers: usize) -> String {
    let peers: Vec<String> = peers.map(with_version).collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{}, {} CPUs, {} {}, {workers} workers, {ALLOCATOR}\n{}\nload average at the start: {}",
        processor(),
        num_cpus::get(),
        std::env::consts::OS,
        kernel.trim(),
        peers.join(", "),
        load_average(),
    )
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("model name"));
    line.map_or(std::env::consts::ARCH, |line| line.trim_start_matches([' ', '\t', ':'])).to_owned()
}

/// The three load averages; empty where the system does not tell.
pub(crate) fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Context switches of this process while all runtimes are idle, per second: what the waiting ones do to the one that is measured.
///
/// # Errors
///
/// The system's, when it does not tell.
pub(crate) fn idle_switches_per_second() -> io::Result<f64> {
    // The threads that were just started get to sleep first.
    thread::sleep(Duration::from_millis(300));
    let before = echo::switches_so_far()?;
    thread::sleep(Duration::from_secs(1));
    // The last sleep of this thread is one of them.
    Ok((echo::switches_so_far()? - before - 1).max(0) as f64)
}
