//! Loops that run look after one another.
//!
//! The monitor rests where no poll is long, and it is a thread, which takes a CPU from somebody for each look. Where several loops run, one of them can look
//! as well: every [`Worker::check`] reads the clock, and once a [`PERIOD`] it compares where the next loop that runs is with where it was. One that stands
//! still is helped at once, as if the monitor had asked for it (the signal HELP): its ready I/O, due timers and queued tasks are taken over.
//!
//! What stands still is mostly no long poll: on a machine whose CPUs are all taken, it is a loop whose thread the kernel has put aside for some
//! milliseconds, while the looking one has a CPU. Its requests wait no longer than they would behind a long poll (benches/RESULTS.md).
//!
//! Each looks at one other only, the next in the ring that runs; the loops behind that one are left to those between, or to the monitor, as is a loop whose
//! neighbour makes no checks: because it sleeps between small batches, or is in a long poll itself. All of this is the looking thread's own; of the other loop it reads what the monitor reads.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::Worker;
use crate::loom::Arc;
use crate::scheduler::LoopShared;

/// The time between two looks: a poll that is shorter is none to stand still in.
const PERIOD: Duration = Duration::from_millis(1);

/// Where a loop was when it was looked at.
#[derive(Clone, Copy)]
struct Sighting {
    index: usize,
    /// Polls begun and turns made.
    progress: (usize, usize),
    at: Instant,
}

/// The last look at another loop. Its thread's own.
pub(super) struct Neighbour(Cell<Option<Sighting>>);

impl Neighbour {
    pub(super) fn new() -> Self {
        Neighbour(Cell::new(None))
    }

    /// Whether a look is due.
    fn is_due(&self, now: Instant) -> bool {
        self.0.get().is_none_or(|last| now >= last.at + PERIOD)
    }

    /// Takes the loop down; whether it was at the same point at the last look.
    fn stands_still(&self, each: &LoopShared, now: Instant) -> bool {
        let (index, progress) = (each.index, each.progress.read());
        let last = self.0.replace(Some(Sighting { index, progress, at: now }));
        last.is_some_and(|last| last.index == index && last.progress == progress)
    }
}

impl Worker {
    /// Looks at the next loop that runs, if that is due, and helps it if it stands still. `now` has just been read.
    pub(super) fn look_at_neighbour(&self, now: Instant) {
        if !self.neighbour.is_due(now) {
            return;
        }
        let loops = self.shared.in_use();
        let mut others = (1..loops.len()).map(|offset| &loops[(self.home.index + offset) % loops.len()]);
        let runs = |each: &&Arc<LoopShared>| each.is_occupied() && !self.shared.sleep.is_idle(each.index);
        if let Some(each) = others.find(runs)
            && self.neighbour.stands_still(each, now)
        {
            self.take_over(each);
        }
    }
}
