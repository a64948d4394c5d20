//! From instructions to what they are: locks, other read-modify-writes, fences, wake-ups, sleeps, allocations.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use super::callgrind::Profile;
use super::opcodes::{Image, Opcode};
use super::operations::{ARGUMENT, Operation};
use super::sites::{self, Frame};

/// What is counted, in the order of the columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A lock is taken, or tried: one read-modify-write.
    Lock,
    /// A lock is given back: one read-modify-write.
    Unlock,
    /// Any other read-modify-write in the executable: the runtime, the crates it uses, the standard library.
    Rmw,
    /// One in the system's library: `malloc` and `free`, which are alone in a lock there.
    System,
    Fence,
    /// A system call that wakes a thread: a futex's, or a write to an eventfd.
    Wake,
    /// One in which a thread may sleep: a futex's, or epoll's.
    Sleep,
    Alloc,
}

/// A place in the sources (or a function of the system's library), and what is done there.
pub(crate) type Counts = BTreeMap<(Kind, String), f64>;

/// An instruction that is counted, or a call from one.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Site {
    object: String,
    address: u64,
    /// The function that is called; empty for what the instruction does itself.
    callee: String,
    /// The function that it is in.
    function: String,
    opcode: Option<Opcode>,
}

const ALLOCATORS: [&str; 5] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
const ENTRIES: [&str; 3] = ["syscall", "write", "epoll_wait"];

/// Knows the executables and the lines of their instructions.
pub(crate) struct Counter {
    images: HashMap<String, Option<Image>>,
    executable: String,
    frames: HashMap<u64, Vec<Frame>>,
}

impl Counter {
    pub(crate) fn new() -> io::Result<Counter> {
        let executable = std::env::current_exe()?.display().to_string();
        Ok(Counter { images: HashMap::new(), executable, frames: HashMap::new() })
    }

    /// What one operation costs.
    ///
    /// # Errors
    ///
    /// valgrind or `addr2line` cannot be run, or a process fails.
    pub(crate) fn count(&mut self, peer: &str, operation: Operation, workers: usize) -> io::Result<Counts> {
        let (few, many) = operation.sizes();
        let mut take = |size: usize| {
            let arguments = [ARGUMENT, peer, operation.name(), &workers.to_string(), &size.to_string()];
            Profile::take(&arguments.map(str::to_owned)).map(|profile| self.sites(&profile))
        };
        let (before, after) = (take(few)?, take(many)?);
        let own =
            after.keys().filter(|site| site.object == self.executable && !self.frames.contains_key(&site.address));
        let addresses = own.map(|site| site.address).collect();
        let found = sites::frames(&self.executable, addresses)?;
        self.frames.extend(found);
        let mut counts = Counts::new();
        for (site, count) in after {
            let difference = count as f64 - before.get(&site).copied().unwrap_or(0) as f64;
            let (kind, line) = match self.classify(&site) {
                Some(classified) => classified,
                None => continue,
            };
            *counts.entry((kind, line)).or_default() += difference / (many - few) as f64;
        }
        Ok(counts)
    }

    fn sites(&mut self, profile: &Profile) -> HashMap<Site, u64> {
        let mut sites = HashMap::new();
        for (place, &count) in &profile.executed {
            let (object, address) = (&profile.objects[place.0], place.1);
            let image = self.images.entry(object.clone()).or_insert_with(|| Image::read(Path::new(object)));
            let opcode = image.as_ref().and_then(|image| image.opcode(address));
            if opcode.is_some_and(|opcode| opcode != Opcode::SystemCall) {
                let function = profile.functions.get(place).cloned().unwrap_or_default();
                let site = Site { object: object.clone(), address, callee: String::new(), function, opcode };
                *sites.entry(site).or_default() += count;
            }
        }
        for (((object, address), callee), &count) in &profile.calls {
            if ALLOCATORS.contains(&callee.as_str()) || ENTRIES.contains(&callee.as_str()) {
                let object = profile.objects[*object].clone();
                let site =
                    Site { object, address: *address, callee: callee.clone(), function: String::new(), opcode: None };
                *sites.entry(site).or_default() += count;
            }
        }
        sites
    }

    /// What happens at a site. `None`: nothing that is counted.
    fn classify(&self, site: &Site) -> Option<(Kind, String)> {
        let nothing = Vec::new();
        let is_own = site.object == self.executable;
        let frames = if is_own { self.frames.get(&site.address).unwrap_or(&nothing) } else { &nothing };
        let line = if is_own { sites::line_of(frames) } else { library_line(site) };
        let is_in = |file: &str, function: &str| {
            frames.iter().any(|frame| frame.place.contains(file) && frame.function.contains(function))
        };
        let kind = match (site.opcode, site.callee.as_str()) {
            (Some(Opcode::Fence), _) => Kind::Fence,
            (Some(_), _) if !is_own => Kind::System,
            (Some(_), _) if is_in("sync/mutex/futex.rs", "unlock") => Kind::Unlock,
            (Some(_), _) if is_in("sync/mutex/futex.rs", "lock") => Kind::Lock,
            (Some(_), _) => Kind::Rmw,
            (None, "epoll_wait") => Kind::Sleep,
            (None, "syscall") if is_in("futex.rs", "futex_wake") => Kind::Wake,
            (None, "syscall") if is_in("futex.rs", "futex_wait") => Kind::Sleep,
            // The standard library's files alone call it, and of them the processes have only mio's eventfd: sockets are sent to.
            (None, "write") if is_own => Kind::Wake,
            (None, callee) if ALLOCATORS.contains(&callee) && is_own => Kind::Alloc,
            _ => return None,
        };
        Some((kind, line))
    }
}

fn library_line(site: &Site) -> String {
    let file = site.object.rsplit('/').next().unwrap_or("");
    format!("{file} {}", site.function)
}

/// How much of the kinds there is in all.
pub(crate) fn total(counts: &Counts, kinds: &[Kind]) -> f64 {
    counts.iter().filter(|((kind, _), _)| kinds.contains(kind)).map(|(_, count)| count).sum()
}
