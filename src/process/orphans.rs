//! Processes that nobody waits for any more, and the thread that reaps them (X2).
//!
//! A parent must ask the system for the status of each child, or the child stays a zombie. The thread is started for the first orphan and ends
//! with the last one. It sleeps in a read of the pair that SIGCHLD's handler writes to, asks for each orphan after each signal, and belongs
//! to no runtime. When it cannot be started (no descriptor or thread left) the orphans stay in the list, and are asked for when the next one
//! comes.

use std::io::{self, Read};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::loom::{Mutex, thread};
use crate::signal::unix::{Listener, SignalKind, listen};

/// The orphans of this process. Any thread.
struct Orphans {
    /// Not reaped, so the numbers are theirs.
    pids: Vec<Pid>,
    /// Whether the thread runs; it says itself when it leaves, under the lock under which it saw that no orphan is left.
    has_reaper: bool,
}

static ORPHANS: Mutex<Orphans> = Mutex::new(Orphans { pids: Vec::new(), has_reaper: false });

impl Orphans {
    /// Reaps those that have ended.
    fn reap(&mut self) {
        // An error: somebody else has reaped it.
        self.pids.retain(|pid| matches!(waitpid(Some(*pid), WaitOptions::NOHANG), Ok(None)));
    }
}

/// Takes over a process that is not reaped, and whose end nobody waits for.
pub(super) fn adopt(pid: Pid) {
    let mut orphans = ORPHANS.lock();
    orphans.pids.push(pid);
    if !orphans.has_reaper {
        // From here on no end is missed: the reaper's first look comes after its listener is there.
        orphans.has_reaper = start_reaper().is_ok();
    }
    if !orphans.has_reaper {
        orphans.reap();
    }
}

fn start_reaper() -> io::Result<()> {
    let listener = listen(SignalKind::child())?;
    listener.reader.set_nonblocking(false)?;
    let reaper = thread::Builder::new().name("eddies-reaper".to_owned()).stack_size(64 * 1024);
    reaper.spawn(move || run_reaper(listener)).map(drop)
}

fn run_reaper(mut listener: Listener) {
    loop {
        {
            let mut orphans = ORPHANS.lock();
            orphans.reap();
            if orphans.pids.is_empty() {
                orphans.has_reaper = false;
                return;
            }
        }
        // The writing end lives as long as the action, so this ends with at least a byte, or by a signal's interruption.
        let _ = listener.reader.read(&mut [0; 64]);
    }
}
