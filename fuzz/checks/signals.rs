//! Numbers that are no signal, or one that nobody may handle: refused, and nothing is left of the attempt.
//!
//! A number that may be listened for is left alone: its handler would stay with the process.

use super::unix::{SignalKind, is_known, listen};
use crate::fuzzing::Tape;

/// Of Linux, by their numbers: ILL, FPE, KILL, SEGV, STOP.
const REFUSED: [i32; 5] = [4, 8, 9, 11, 19];

/// The real-time signals are the last, with two that the C library keeps for itself.
const LAST: i32 = 64;

/// The tape is the number: small, or any.
pub(crate) fn check(tape: &[u8]) {
    let mut tape = Tape::new(tape);
    let is_small = tape.byte().is_multiple_of(2);
    let number = i32::from_le_bytes([tape.byte(), tape.byte(), tape.byte(), tape.byte()]);
    let number = if is_small { number % 80 } else { number };
    let kind = SignalKind::from_raw(number);
    assert_eq!((kind.as_raw_value(), kind), (number, SignalKind::from_raw(number)));
    if (1..=LAST).contains(&number) && !REFUSED.contains(&number) {
        return;
    }
    let Err(error) = listen(kind) else { panic!("{number} is listened for") };
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{number}: {error}");
    assert!(!is_known(kind), "{number} is known now");
}

#[cfg(all(test, target_os = "linux"))]
#[test]
fn numbers_that_are_no_signal_leave_nothing() {
    let known: &[&[u8]] = &[
        &[0, 0, 0, 0, 0],
        &[0, 9, 0, 0, 0],
        &[0, 19, 0, 0, 0],
        &[0, 11, 0, 0, 0],
        &[1, 65, 0, 0, 0],
        &[1, 255, 255, 255, 255],
        &[1, 0, 0, 0, 128],
        &[1, 255, 255, 255, 127],
    ];
    crate::fuzzing::drive("signals", known, check);
}
