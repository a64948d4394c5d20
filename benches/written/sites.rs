//! Which line of which source an instruction came from, by binutils' `addr2line`: the functions that were inlined there, the innermost first.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::thread;

/// One function, and the line of it.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) function: String,
    /// With the line after a colon.
    pub(crate) place: String,
}

/// The frames at each of `addresses` in the executable.
///
/// # Errors
///
/// `addr2line` cannot be run.
pub(crate) fn frames(executable: &str, addresses: Vec<u64>) -> io::Result<HashMap<u64, Vec<Frame>>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-C", "-e", executable])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| io::Error::new(error.kind(), format!("addr2line: {error}")))?;
    let mut input = child.stdin.take().expect("it is piped");
    let writer = thread::spawn(move || addresses.iter().try_for_each(|address| writeln!(input, "{address:x}")));
    let output = child.wait_with_output()?;
    writer.join().expect("the writer does not panic")?;
    let mut found: HashMap<u64, Vec<Frame>> = HashMap::new();
    let mut current = 0;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(address) = line.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok()) {
            current = address;
            continue;
        }
        let place = lines.next().unwrap_or("").split(" (").next().unwrap_or("").to_owned();
        found.entry(current).or_default().push(Frame { function: line.to_owned(), place });
    }
    Ok(found)
}

/// Sources that say nothing about who wanted it: the standard library, and what stands between it and a runtime.
const FACADES: &[&str] = &["/library/", "src/loom.rs", "/src/loom/std/", "/lib/rustlib/src/"];

/// The line of the runtime, or of the library it uses, that an instruction stands for.
pub(crate) fn line_of(frames: &[Frame]) -> String {
    let own = frames.iter().find(|frame| !FACADES.iter().any(|facade| frame.place.contains(facade)));
    let Some(frame) = own.or(frames.last()) else { return "?".to_owned() };
    // The package's folder in the registry, or this repository's.
    let place = match frame.place.find("/registry/src/") {
        Some(at) => frame.place[at..].splitn(5, '/').last().unwrap_or(""),
        None => frame.place.strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/")).unwrap_or(&frame.place),
    };
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/").trim_end_matches("benches/");
    let function = frame.function.split('<').next().unwrap_or("");
    format!("{} {function}", place.strip_prefix(root).unwrap_or(place))
}
