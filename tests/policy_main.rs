//! The policy on the main thread, which the test harness does not have: it makes a loop on demand. Trap 32.

fn main() {
    let made = eddies::get_event_loop().expect("the main thread gets a loop on demand");
    assert_eq!(eddies::get_event_loop().as_ref(), Ok(&made), "and only one");
    assert_eq!(made.run_until_complete(async { eddies::get_event_loop().unwrap() }).as_ref(), Ok(&made));
    assert!(eddies::get_running_loop().is_err(), "it is set, but does not run");

    let other = eddies::new_event_loop().unwrap();
    assert_ne!(other, made);
    let seen = other.run_until_complete(async { eddies::get_event_loop().unwrap() }).unwrap();
    assert_eq!(seen, other, "the running loop wins over the policy");

    eddies::set_event_loop(None);
    let error = eddies::get_event_loop().unwrap_err().to_string();
    assert!(error.starts_with("There is no current event loop in thread `main`"), "{error}");
    eddies::set_event_loop(Some(other.clone()));
    assert_eq!(eddies::get_event_loop(), Ok(other));
    println!("trap_032_the_main_thread ... ok");
    // Both loops are closed by destructors of thread-locals, or never: the process ends in either case.
}
