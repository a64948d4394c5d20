//! What a helper does between two calls for help: it sleeps in a vigil over the loops it was sent to.
//!
//! The monitor notices a stall within two of its looks. A request that then comes in on a socket of the stalled loop should not wait for the next
//! tick, so a helper that has served a loop *attends* it: from then on it sleeps in a [`Vigil`], and what becomes ready on the stalled
//! loop's reactor wakes it at once. All of that is the helper's own; others see who attends a loop by its word
//! ([`Attendance`](crate::scheduler::attendance::Attendance)), which keeps the monitor from sending anybody for sockets.
//!
//! - **A3** A loop is attended for the length of one stall. Before each sleep, and before it serves, the helper compares the loop's progress with that at
//!   the beginning: a poll or a turn more, and the owner is back. So a healthy loop wakes a helper at most once.
//! - **A4** A loop in the list is in the vigil whenever the helper sleeps, or is taken out of the list (A1).
//!
//! Timers and queued tasks of a stalled loop stay the monitor's business, a tick at a time: their own resolution is a tick, and what is queued behind
//! a stall is found by searchers. Measured against repeated polls, once a tick: benches/RESULTS.md.

use std::io;
use std::task::Waker;
use std::time::Duration;

use super::{LoopShared, Progress, Worker};
use crate::reactor::Vigil;

/// A loop that this one attends.
struct Attended {
    index: usize,
    /// Its polls and turns when that began.
    progress: (usize, usize),
}

/// What a worker attends.
pub(super) struct Attending {
    loops: Vec<Attended>,
    /// Over the loops of the list that are in it; made for the first sleep, gone with the last loop.
    vigil: Option<Vigil>,
    /// How many loops of the list, from its beginning, are in the vigil.
    registered: usize,
    /// What the last sleep was told of.
    ready: Vec<usize>,
}

impl Attending {
    pub(super) fn new() -> Self {
        Attending { loops: Vec::new(), vigil: None, registered: 0, ready: Vec::new() }
    }
}

impl Worker {
    /// Whether loop `attended` still is where it was.
    fn is_still_stalled(&self, attended: &Attended) -> bool {
        let stalled = self.shared.at(attended.index);
        let is_away = stalled.is_lent() || stalled.progress.read() == attended.progress;
        is_away && stalled.is_occupied() && !self.shared.sleep.is_idle(attended.index)
    }

    /// This loop attends `stalled`, which it was sent to, while that stays where it is.
    pub(super) fn attend(&self, stalled: &LoopShared) {
        if stalled.reactor.sources() == 0 || stalled.index == self.home.index || self.shared.is_attended(stalled) {
            return;
        }
        let attended = Attended { index: stalled.index, progress: stalled.progress.read() };
        if !self.is_still_stalled(&attended) {
            return;
        }
        let mut attending = self.attending.borrow_mut();
        match attending.loops.iter_mut().find(|each| each.index == attended.index) {
            Some(known) => *known = attended,
            None => attending.loops.push(attended),
        }
        // A1: after the list has it.
        stalled.attendance.begin(self.home.index);
    }

    /// Owner, about to sleep: whether it is to sleep in a vigil, which then stands over every loop of the list (A4).
    pub(super) fn enters_vigil(&self) -> bool {
        if self.attending.borrow().loops.is_empty() {
            return false;
        }
        self.review_attended();
        match self.extend_vigil() {
            Ok(()) => self.attending.borrow().vigil.is_some(),
            Err(_) => {
                // No descriptors are left, for one. The monitor goes on sending somebody once a tick.
                self.attend_nobody();
                false
            }
        }
    }

    /// Adds the loops of the list that are not in the vigil yet.
    fn extend_vigil(&self) -> io::Result<()> {
        let mut attending = self.attending.borrow_mut();
        let Attending { loops, vigil, registered, .. } = &mut *attending;
        if loops.is_empty() {
            return Ok(());
        }
        if vigil.is_none() {
            *vigil = Some(Vigil::new(&self.home.reactor)?);
        }
        let Some(vigil) = vigil else { return Ok(()) };
        for attended in &loops[*registered..] {
            vigil.add(attended.index, &self.shared.at(attended.index).reactor)?;
            *registered += 1;
        }
        Ok(())
    }

    /// Takes the loops out of the list that need nobody any more, or have somebody else (A3).
    fn review_attended(&self) {
        let mut attending = self.attending.borrow_mut();
        let mut place = 0;
        while place < attending.loops.len() {
            let attended = &attending.loops[place];
            let index = attended.index;
            let attendance = &self.shared.at(index).attendance;
            if attendance.by() == Some(self.home.index) && self.is_still_stalled(attended) {
                place += 1;
                continue;
            }
            // A1: before the list loses it.
            attendance.end(self.home.index);
            attending.loops.remove(place);
            if place < attending.registered {
                attending.registered -= 1;
                if let Some(vigil) = &mut attending.vigil {
                    vigil.remove(index);
                }
            }
        }
        if attending.loops.is_empty() {
            attending.vigil = None;
        }
    }

    /// The list is emptied: the vigil failed, or the worker leaves.
    pub(super) fn attend_nobody(&self) {
        let mut attending = self.attending.borrow_mut();
        for attended in attending.loops.drain(..) {
            self.shared.at(attended.index).attendance.end(self.home.index);
        }
        attending.vigil = None;
        attending.registered = 0;
    }

    /// As `turn`, in the vigil, after `enters_vigil` has said so. What became ready on the loops of the list is served by `serve_attended`, once
    /// this loop sleeps no more. Whether anything ended it but the time.
    pub(super) fn turn_in_vigil(&self, timeout: Option<Duration>) -> bool {
        Progress::count(&self.home.progress.turns);
        let mut wakers: Vec<Waker> = std::mem::take(&mut *self.wakers.borrow_mut());
        let mut attending = self.attending.borrow_mut();
        let Attending { vigil, ready, .. } = &mut *attending;
        ready.clear();
        let ended = match vigil {
            Some(vigil) => self.home.reactor.turn_in(vigil, timeout, &mut wakers, ready),
            None => Ok(false),
        };
        drop(attending);
        let is_ended = ended.unwrap_or_else(|error| {
            self.shared.report_loop_error("turning several reactors", &error);
            self.attend_nobody();
            // Whatever was there is found by the next turn, which is not in a vigil.
            true
        });
        self.fire_timers(&mut wakers);
        self.dispatch(wakers);
        is_ended
    }

    /// Serves the loops that the last vigil was told of, unless their owners are back.
    pub(super) fn serve_attended(&self) {
        if self.attending.borrow().ready.is_empty() {
            return;
        }
        self.review_attended();
        let ready = std::mem::take(&mut self.attending.borrow_mut().ready);
        for &index in &ready {
            let is_attended = self.attending.borrow().loops.iter().any(|attended| attended.index == index);
            if is_attended {
                self.rescue(self.shared.at(index));
            }
        }
        let mut attending = self.attending.borrow_mut();
        attending.ready = ready;
        attending.ready.clear();
    }
}
