//! Models of the word that says who attends a stalled loop.

use super::Attendance;
use crate::loom::atomic::{AtomicBool, Ordering};
use crate::loom::{Arc, StartLine, check};

/// A stalled loop, and whether each of two helpers has it in its list.
struct Stalled {
    attendance: Attendance,
    lists: [AtomicBool; 2],
}

impl Stalled {
    /// As `Worker::attend`: the list first, then the word.
    fn attend(&self, helper: usize) {
        // Ordering: Relaxed: A1 is about what is left when all is quiet, and about a helper's own view.
        self.lists[helper].store(true, Ordering::Relaxed);
        self.attendance.begin(helper);
    }

    /// As `Worker::review_attended`, of a helper that goes: the word first, then the list.
    fn leave(&self, helper: usize) {
        self.attendance.end(helper);
        assert_ne!(self.attendance.by(), Some(helper), "it is named after it has taken itself out");
        // Ordering: Relaxed, as in `attend`.
        self.lists[helper].store(false, Ordering::Relaxed);
    }

    fn has(&self, helper: usize) -> bool {
        // Ordering: Relaxed, as in `attend`.
        self.lists[helper].load(Ordering::Relaxed)
    }
}

/// 2 helpers that come to one stalled loop and go, 1 of them for a second time, 1 that stays: when all is quiet the word names nobody who has gone, and
/// the one who came last and stays is not taken out by the other (A1). Bound 3.
#[test]
fn who_has_gone_is_not_named_and_who_stays_is_not_taken_out() {
    check("attendance_two", 3, 55, || {
        let line = StartLine::new();
        let stalled =
            Arc::new(Stalled { attendance: Attendance::new(), lists: std::array::from_fn(|_| AtomicBool::new(false)) });
        let of_other = stalled.clone();
        let other = line.spawn(move || {
            of_other.attend(1);
            // It stays if it is named: whatever comes after must leave that alone.
            if of_other.attendance.by() != Some(1) {
                of_other.leave(1);
            }
        });
        line.pass();
        stalled.attend(0);
        let was_named = stalled.attendance.by() == Some(1);
        stalled.leave(0);
        other.join().unwrap();
        match stalled.attendance.by() {
            Some(helper) => assert!(stalled.has(helper), "the word names a helper that has gone"),
            None => assert!(!was_named || !stalled.has(1), "the helper that stays was taken out"),
        }
    });
}
