//! The recorded counts: a text file with a line per fact.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;

/// What was counted, and with what.
pub(crate) struct Record {
    /// Names and values: architecture, rustc, libc, valgrind. Counts of different ones are not to be compared.
    pub(crate) machine: Vec<(String, String)>,
    /// Instructions per operation.
    pub(crate) counts: Vec<(String, f64)>,
}

const HEAD: &str = "\
# Instructions per operation on the hot paths. Written by `cargo bench --bench instructions -- --record`.
";

/// A count's line begins with this.
const COUNT: &str = "count ";

impl Record {
    pub(crate) fn read(path: &Path) -> io::Result<Record> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
        let invalid = |line: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {line}", path.display()));
        let mut record = Record { machine: Vec::new(), counts: Vec::new() };
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) =
                line.strip_prefix(COUNT).unwrap_or(line).split_once(' ').ok_or_else(|| invalid(line))?;
            if line.starts_with(COUNT) {
                record.counts.push((name.to_owned(), value.parse().map_err(|_| invalid(line))?));
            } else {
                record.machine.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(record)
    }

    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut text = HEAD.to_owned();
        for (name, value) in &self.machine {
            let _ = writeln!(text, "{name} {value}");
        }
        for (name, count) in &self.counts {
            let _ = writeln!(text, "{COUNT}{name} {count:.0}");
        }
        std::fs::write(path, text)
    }

    pub(crate) fn count(&self, name: &str) -> Option<f64> {
        self.counts.iter().find(|(known, _)| known == name).map(|&(_, count)| count)
    }

    /// By how many per cent the count has grown; `None` where there is none to compare with.
    pub(crate) fn change(&self, now: &Record, name: &str) -> Option<f64> {
        Some((now.count(name)? / self.count(name)? - 1.0) * 100.0)
    }

    /// What was different when this was recorded, in words.
    pub(crate) fn differences(&self, now: &Record) -> Vec<String> {
        let recorded =
            |name: &str| self.machine.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let different = now.machine.iter().filter(|(name, value)| recorded(name) != Some(value));
        let words =
            different.map(|(name, value)| format!("{name}: {} then, {value} now", recorded(name).unwrap_or("unknown")));
        words.collect()
    }
}

fn first_line(program: &str, argument: &str) -> io::Result<String> {
    let output = Command::new(program).arg(argument).output()?;
    let text = String::from_utf8_lossy(if output.stdout.is_empty() { &output.stderr } else { &output.stdout });
    Ok(text.lines().next().unwrap_or("unknown").to_owned())
}

/// With what is counted now.
///
/// # Errors
///
/// valgrind cannot be started.
pub(crate) fn machine() -> io::Result<Vec<(String, String)>> {
    let valgrind = first_line("valgrind", "--version")?;
    let rustc = first_line("rustc", "--version").unwrap_or_else(|_| "unknown".to_owned());
    let libc = first_line("ldd", "--version").unwrap_or_else(|_| "unknown".to_owned());
    let arch = std::env::consts::ARCH.to_owned();
    Ok([("arch", arch), ("rustc", rustc), ("libc", libc), ("valgrind", valgrind)]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec())
}
