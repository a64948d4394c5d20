//! The limit of a task's references (T5): a count that is about to wrap ends the process before it can reach the flags or zero.
//!
//! The end of the process is watched from another one, so each way is a child that runs this test once more.

use std::env;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use super::{AtomicUsize, REFERENCE, REFERENCES_MAX, State};
use crate::loom::{Arc, StartLine, check};

/// Tells the child at how many references below the limit it begins.
const ROOM: &str = "EDDIES_TEST_REFERENCES";

/// 2 threads that make a reference each where there is room for `room` more: either both succeed, or the process ends.
fn two_more(room: usize) {
    check("task_references", 3, 2, move || {
        let line = StartLine::new();
        let state = Arc::new(State(AtomicUsize::new(REFERENCES_MAX / REFERENCE * REFERENCE - room * REFERENCE)));
        let other = state.clone();
        let other = line.spawn(move || other.retain());
        line.pass();
        state.retain();
        other.join().unwrap();
    });
}

/// The number of the signal that ended the child, or else whether it succeeded.
fn child(room: usize) -> Result<bool, i32> {
    let path = concat!(module_path!(), "::too_many_references_end_the_process");
    let (_, test) = path.split_once("::").expect("the crate's name comes first");
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(ROOM, room.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("running 1 test"));
    output.status.signal().map_or(Ok(output.status.success()), Err)
}

/// With room for two references both threads get theirs, in every order; with room for one the process is aborted. Bound 3.
#[test]
fn too_many_references_end_the_process() {
    const SIGABRT: i32 = 6;
    if let Ok(room) = env::var(ROOM) {
        return two_more(room.parse().unwrap());
    }
    assert_eq!(child(1), Ok(true), "the first that goes above the limit is the last one");
    assert_eq!(child(0), Err(SIGABRT));
}
