//! How much of a CPU a loop's thread has had: what tells a long poll from a thread that waits for a CPU.
//!
//! Both look alike in the counters of [`Progress`](super::worker::Progress): no poll was begun since the last look. A long poll needs somebody else's thread. A
//! thread that waits for a CPU needs the CPU, and a spare worker would be one more that waits: where two workers with polls of 10 us and their client kept two
//! CPUs busy, one to three spare workers came, and had more of them than the workers (benches/RESULTS.md).
//!
//! The owner writes down who it is when it begins to run ([`sit_down`](ThreadCpu::sit_down)). The monitor asks the kernel: [`used`](ThreadCpu::used), one system call, for each loop
//! that made progress between two looks; [`is_asleep`](ThreadCpu::is_asleep), a read of `/proc`, only for a loop that stands still in a poll that had hardly any CPU. Both are hints. Where they
//! cannot be had (another system than Linux, no `/proc`, nobody sat down) a loop without progress counts as stalled.
//!
//! Rejected: the times in `/proc/self/task/*/schedstat`, without unsafe: those of a running thread are as old as the kernel's last tick, which is up to 10 ms.

#![allow(unsafe_code, reason = "another thread's CPU clock has no safe wrapper among the dependencies")]

use std::time::Duration;

use crate::loom::atomic::AtomicU32;
use crate::loom::atomic::Ordering::Relaxed;

/// A thread that has used so much since its last poll began is in a long one. Less is what is left of a slice when the CPU was taken away.
pub(crate) const LONG: Duration = Duration::from_micros(100);

/// It is in one that is no ordinary poll in whose middle the CPU was taken away, either: half of the monitor's tick.
pub(crate) const SURELY_LONG: Duration = Duration::from_micros(500);

/// Who is in a loop's seat, as the kernel names him.
pub(crate) struct ThreadCpu {
    /// The thread's number, or 0. Written by the owner, read by the monitor.
    thread: AtomicU32,
}

impl ThreadCpu {
    pub(crate) fn new() -> Self {
        ThreadCpu { thread: AtomicU32::new(0) }
    }

    /// The calling thread is the loop's from now on.
    pub(crate) fn sit_down(&self) {
        // Ordering: Relaxed: a hint for the monitor; it publishes nothing.
        self.thread.store(current_thread(), Relaxed);
    }

    fn thread(&self) -> Option<u32> {
        // Ordering: Relaxed: a hint. Of a thread that has ended since the kernel knows nothing, or something of another one.
        Some(self.thread.load(Relaxed)).filter(|&thread| thread != 0)
    }

    /// The CPU time of the loop's thread so far, if it can be had.
    pub(crate) fn used(&self) -> Option<Duration> {
        self.thread().and_then(cpu_time)
    }

    /// Whether the loop's thread sleeps in the kernel; `None` where nobody knows.
    fn is_asleep(&self) -> Option<bool> {
        self.thread().and_then(state).map(|state| state != b'R')
    }

    /// The loop made no progress since `used` was taken: whether it waits for nothing but a CPU, if a poll that had `long` of one is a long poll.
    pub(crate) fn waits_since(&self, used: Option<Duration>, long: Duration) -> bool {
        let (Some(before), Some(now)) = (used, self.used()) else { return false };
        now.saturating_sub(before) < long && self.is_asleep() == Some(false)
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
fn current_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn current_thread() -> u32 {
    0
}

#[cfg(target_os = "linux")]
fn cpu_time(thread: u32) -> Option<Duration> {
    // What `pthread_getcpuclockid` computes, of which the kernel's interface says that it is so: the thread's number inverted, then 4 for "of a
    // thread" and 2 for "by the scheduler's account".
    let clock = (!thread).cast_signed() << 3 | 6;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which writes nothing else. No clock of that number is an error, not undefined.
    let answer = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let is_known = answer == 0;
    is_known.then(|| Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0)))
}

#[cfg(not(target_os = "linux"))]
fn cpu_time(_thread: u32) -> Option<Duration> {
    None
}

/// The letter for a thread's state: `R` has a CPU or waits for one. It follows the name, which is in brackets and may contain some.
fn state(thread: u32) -> Option<u8> {
    let line = std::fs::read(format!("/proc/self/task/{thread}/stat")).ok()?;
    let name_end = line.iter().rposition(|&byte| byte == b')')?;
    line.get(name_end + 2).copied()
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    /// A thread that sits down and then does `work`; `check` runs once it has begun.
    fn beside(work: impl FnOnce() + Send + 'static, check: impl FnOnce(&ThreadCpu)) {
        let cpu = Arc::new(ThreadCpu::new());
        let (tell, seated) = mpsc::channel();
        let sitter = cpu.clone();
        let thread = thread::Builder::new().name("a) R (b".into()).spawn(move || {
            sitter.sit_down();
            tell.send(()).unwrap();
            work();
        });
        seated.recv().unwrap();
        check(&cpu);
        thread.unwrap().join().unwrap();
    }

    /// Repeats `ask` until it answers true; the time limit is the test runner's.
    fn until(mut ask: impl FnMut() -> bool) {
        while !ask() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_computes_is_in_a_long_poll_before_long() {
        let done = Arc::new(AtomicBool::new(false));
        let is_done = done.clone();
        let spin = move || {
            while !is_done.load(SeqCst) {
                std::hint::spin_loop();
            }
        };
        beside(spin, |cpu| {
            let before = cpu.used();
            assert!(before.is_some());
            // However seldom it gets a CPU: what it had adds up.
            until(|| cpu.used() >= before.map(|used| used + LONG));
            assert_eq!(cpu.is_asleep(), Some(false), "it has a CPU, or waits for one");
            assert!(!cpu.waits_since(before, LONG));
            // The reading of a moment in the future: as if it had had none since.
            assert!(cpu.waits_since(before.map(|used| used + Duration::from_secs(3600)), LONG));
            done.store(true, SeqCst);
        });
    }

    #[test]
    fn a_thread_that_sleeps_in_the_kernel_waits_for_no_cpu() {
        let (wake, woken) = mpsc::channel::<()>();
        beside(
            move || assert!(woken.recv().is_err()),
            |cpu| {
                until(|| cpu.is_asleep() == Some(true));
                let before = cpu.used();
                assert!(before.is_some());
                assert!(!cpu.waits_since(before, LONG));
                drop(wake);
            },
        );
    }

    #[test]
    fn of_a_seat_that_nobody_took_nothing_is_known() {
        let cpu = ThreadCpu::new();
        assert_eq!((cpu.used(), cpu.is_asleep()), (None, None));
        assert!(!cpu.waits_since(Some(Duration::ZERO), LONG));
    }
}
