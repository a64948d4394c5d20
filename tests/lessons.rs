//! The lessons of others: what went wrong in other runtimes and their libraries, and does not here. The table in docs/CORRECTNESS.md has them
//! all, with those that other tests hold; each test here names the public report.
//!
//! What needs a process of its own (limits, signals, forks, the end of a process) starts this program again; see [`alone`].

#[path = "lessons/advisories.rs"]
mod advisories;
#[cfg(target_os = "linux")]
#[path = "lessons/processes.rs"]
mod processes;
#[path = "lessons/surprises.rs"]
mod surprises;

use std::task::{Wake, Waker};
use std::time::Duration;

/// The environment variable that names the test whose body a child is to run.
const CHILD: &str = "EDDIES_TEST_CHILD";

/// Runs `body` in a process of its own, which must succeed: this program again, with nothing but `test`, which is the caller's full name.
#[cfg(target_os = "linux")]
fn alone(test: &str, body: impl FnOnce()) {
    alone_with(eddies::process::Command::new(std::env::current_exe().unwrap()), test, body);
}

/// As [`alone`], but `command` starts this program.
#[cfg(target_os = "linux")]
fn alone_with(mut command: eddies::process::Command, test: &str, body: impl FnOnce()) {
    if std::env::var(CHILD).as_deref() == Ok(test) {
        return body();
    }
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, test).kill_on_drop(true);
    let output = eddies::run(async { eddies::timeout(Duration::from_secs(60), command.output()).await });
    let output = output.expect("it does not hang").expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {text}", output.status);
    assert!(text.contains("1 passed"), "no test has this name: {text}");
}

/// A waker that calls a closure.
struct Call<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
    fn wake(self: std::sync::Arc<Self>) {
        (self.0)();
    }
}

fn waker(call: impl Fn() + Send + Sync + 'static) -> Waker {
    Waker::from(std::sync::Arc::new(Call(call)))
}
