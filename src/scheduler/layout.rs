//! Which fields of a loop share cache lines: a test that holds what docs/SCALING.md says of it.
//!
//! A line is what one CPU takes away from another when it writes: 64 bytes, of which current CPUs fetch two at a time. So what one thread writes often
//! stands 128 bytes apart from what others read or write.

use std::mem::offset_of;

use super::LoopShared;

/// What a CPU fetches at once.
const BLOCK: usize = 128;

macro_rules! offsets {
    ($($field:ident)*) => { [$((stringify!($field), offset_of!(LoopShared, $field))),*] };
}

#[test]
fn what_is_written_often_shares_no_line_with_what_others_read() {
    let alone = offsets!(inbox yielded pinned_inbox next registry parker signals progress);
    // Written by the owner for each of its local tasks and callbacks; nobody else comes there.
    let owners = offsets!(local_registry callbacks local_callbacks);
    // By each wake (the runtime of the task's home), by thieves, by the monitor, by who spawns from outside.
    let read = offsets!(index shared sleep clock reactor timers stealer is_occupied is_lent is_stuck);
    for (name, offset) in alone {
        let others = alone.iter().chain(&owners).chain(&read);
        let beside: Vec<_> = others.filter(|other| other.0 != name && other.1 / BLOCK == offset / BLOCK).collect();
        assert!(beside.is_empty(), "{name} shares its line with {beside:?}");
    }
    for (name, offset) in owners {
        let beside: Vec<_> = read.iter().filter(|other| other.1 / BLOCK == offset / BLOCK).collect();
        assert!(beside.is_empty(), "{name} shares its line with {beside:?}");
    }
}
