//! The programs of `examples/asyncio`, under virtual time: what each prints, in which order, at what time, and in which states it leaves its
//! tasks and the loop.
//!
//! The very sources of the examples run here. Two things are put under them: the thread's event loop, which `get_event_loop` finds, has a
//! virtual clock; and `println!` is a macro of this file, which notes the line and the time.

use std::cell::RefCell;
use std::error::Error;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use eddies::{
    EventLoop, Runtime, SlowPoll, TaskHandle, TaskState, catch_cancel, gather, get_event_loop, set_event_loop, sleep,
    try_gather,
};

thread_local! {
    /// What was printed on this thread.
    static PRINTED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// Where its clock began.
    static BEGAN: RefCell<Option<Instant>> = const { RefCell::new(None) };
}

/// Notes a line with the seconds on the thread's clock. Threads without one print in vain.
fn note(line: &str) {
    if let Some(began) = BEGAN.with_borrow(|began| *began) {
        let now = get_event_loop().unwrap().time();
        PRINTED.with_borrow_mut(|printed| printed.push(format!("{} {line}", (now - began).as_secs_f64())));
    }
}

/// Macros of a surrounding module come before the standard library's.
macro_rules! println {
    ($($text:tt)*) => { crate::note(&format!($($text)*)) };
}

#[path = "../examples/asyncio/x01_task_and_callback.rs"]
mod x01;
#[path = "../examples/asyncio/x02_stop_from_a_callback.rs"]
mod x02;
#[path = "../examples/asyncio/x03_future_as_an_argument.rs"]
mod x03;
#[path = "../examples/asyncio/x04_three_tasks.rs"]
mod x04;
#[expect(dead_code, reason = "its `main` blocks for seconds")]
#[path = "../examples/asyncio/x05_blocking_library.rs"]
mod x05;
#[path = "../examples/asyncio/x06_coroutine.rs"]
mod x06;
#[path = "../examples/asyncio/x07_print_a_task.rs"]
mod x07;
#[path = "../examples/asyncio/x08_done_callback.rs"]
mod x08;
#[path = "../examples/asyncio/x09_callback_with_arguments.rs"]
mod x09;
#[path = "../examples/asyncio/x10_result_of_a_task.rs"]
mod x10;
#[path = "../examples/asyncio/x11_sleep.rs"]
mod x11;
#[path = "../examples/asyncio/x12_wait.rs"]
mod x12;
#[path = "../examples/asyncio/x13_nested_wait.rs"]
mod x13;
#[path = "../examples/asyncio/x14_nested_gather.rs"]
mod x14;
#[path = "../examples/asyncio/x15_return_the_gather.rs"]
mod x15;
#[path = "../examples/asyncio/x16_as_completed.rs"]
mod x16;
#[expect(dead_code, reason = "its `main` sends the process a signal: here the clock presses the key")]
#[path = "../examples/asyncio/x17_ctrl_c.rs"]
mod x17;
#[expect(dead_code, reason = "its `main` sends the process a signal: here the clock presses the key")]
#[path = "../examples/asyncio/x18_ctrl_c_and_drain.rs"]
mod x18;

type Outcome = Result<(), Box<dyn Error>>;

/// An event loop with a virtual clock, as the thread's.
struct Stage {
    event_loop: EventLoop,
    /// The tasks that were there when the key was pressed.
    seen: Arc<Mutex<Vec<TaskHandle>>>,
    slow: Arc<Mutex<Vec<SlowPoll>>>,
    /// What the loop's exception handler was told: also of tasks that a close has destroyed.
    exceptions: Arc<Mutex<Vec<String>>>,
}

impl Stage {
    fn set() -> Stage {
        let (slow, exceptions) = (Arc::<Mutex<Vec<SlowPoll>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (hear_slow, hear) = (slow.clone(), exceptions.clone());
        let event_loop = Runtime::builder()
            .virtual_time(true)
            .on_slow_poll(move |slow| hear_slow.lock().unwrap().push(slow.clone()))
            .exception_handler(move |exception| hear.lock().unwrap().push(exception.to_string()))
            .build_event_loop()
            .unwrap();
        PRINTED.take();
        BEGAN.set(Some(event_loop.time()));
        set_event_loop(Some(event_loop.clone()));
        Stage { event_loop, seen: Arc::default(), slow, exceptions }
    }

    /// Runs a program, and gives what it has printed.
    #[track_caller]
    fn play(&self, program: impl FnOnce() -> Outcome) -> Vec<String> {
        program().unwrap();
        assert!(!self.event_loop.is_running());
        PRINTED.take()
    }

    /// The same, with Ctrl-C at 0.2 s.
    #[track_caller]
    fn interrupt(&self, program: impl FnOnce(&EventLoop) -> Outcome) -> Vec<String> {
        let (seen, handle, event_loop) = (self.seen.clone(), self.event_loop.handle(), self.event_loop.clone());
        self.event_loop
            .call_later(Duration::from_millis(200), move || {
                *seen.lock().unwrap() = event_loop.all_tasks();
                handle.interrupt();
            })
            .unwrap();
        self.play(|| program(&self.event_loop))
    }

    /// The virtual seconds since the beginning.
    fn seconds(&self) -> f64 {
        let began = BEGAN.with_borrow(|began| began.unwrap());
        (self.event_loop.time() - began).as_secs_f64()
    }

    /// The loop has ended its run, and nothing is left in it; it can run again.
    #[track_caller]
    fn is_idle_and_open(&self) {
        assert!(!self.event_loop.is_running() && !self.event_loop.is_closed());
        assert_eq!(self.event_loop.all_tasks().len(), 0);
        assert_eq!(self.event_loop.run_until_complete(async { 42 }), Ok(42));
    }

    /// The four tasks that the interrupt met were cancelled, and none was left for the close to destroy.
    #[track_caller]
    fn ended_cancelled(&self) {
        let seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 4);
        assert!(seen.iter().all(|task| task.state() == TaskState::Cancelled), "{seen:?}");
        assert_eq!(*self.exceptions.lock().unwrap(), [""; 0]);
        assert!(self.event_loop.is_closed());
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        BEGAN.set(None);
        set_event_loop(None);
    }
}

#[test]
fn x01_the_callback_has_the_result_before_the_run_returns() {
    let stage = Stage::set();
    assert_eq!(stage.play(x01::main), ["1 Future is done!"]);
    assert_eq!(stage.seconds(), 1.0);
    stage.is_idle_and_open();
}

#[test]
fn x02_a_callback_stops_the_loop_which_stays_open() {
    let stage = Stage::set();
    assert_eq!(stage.play(x02::main), ["1 Future is done!"]);
    assert_eq!(stage.seconds(), 1.0);
    stage.is_idle_and_open();
    // And again, on the same loop.
    assert_eq!(stage.play(x02::main), ["2 Future is done!"]);
}

#[test]
fn x03_a_future_from_outside_is_answered() {
    let stage = Stage::set();
    assert_eq!(stage.play(x03::main), [r#"2 <Future finished result="Done!">"#]);
    stage.is_idle_and_open();
}

#[test]
fn x04_three_tasks_take_as_long_as_the_longest() {
    let stage = Stage::set();
    let printed = stage.play(x04::main);
    assert_eq!(
        printed,
        [
            "0 [Task-A] coroutine will sleep for 10 second(s)…",
            "0 [Task-B] coroutine will sleep for 1 second(s)…",
            "0 [Task-C] coroutine will sleep for 1 second(s)…",
            "1 [Task-B] done!",
            "1 [Task-C] done!",
            "10 [Task-A] done!",
            "10 [(), (), ()]",
        ]
    );
    assert_eq!(stage.seconds(), 10.0);
    stage.is_idle_and_open();
}

const SERIAL: [&str; 6] = [
    "0 [Task-A] coroutine will sleep for 3 second(s)…",
    "0 [Task-A] done!",
    "0 [Task-B] coroutine will sleep for 1 second(s)…",
    "0 [Task-B] done!",
    "0 [Task-C] coroutine will sleep for 1 second(s)…",
    "0 [Task-C] done!",
];

/// Blocks until so many threads are in it, or far too long.
#[derive(Default)]
struct Meeting {
    present: Mutex<usize>,
    came: Condvar,
}

impl Meeting {
    fn join(&self, threads: usize) {
        let mut present = self.present.lock().unwrap();
        *present += 1;
        self.came.notify_all();
        let (present, waited) =
            self.came.wait_timeout_while(present, Duration::from_secs(20), |present| *present < threads).unwrap();
        assert!(!waited.timed_out(), "only {present} of {threads} threads have come");
    }
}

#[test]
fn x05_a_blocking_call_holds_up_the_loop_and_is_warned_of_and_the_pool_does_not() {
    static MEETING: Meeting = Meeting { present: Mutex::new(0), came: Condvar::new() };
    /// On the loop: a library that blocks for as many milliseconds. In the pool: all three at the same time, or not at all.
    fn block(seconds: Duration) {
        if BEGAN.with_borrow(|began| began.is_some()) {
            thread::sleep(seconds / 1000);
        } else {
            MEETING.join(3);
        }
    }
    let stage = Stage::set();
    stage.event_loop.set_slow_callback_duration(Duration::from_micros(900));
    let printed = stage.play(|| x05::program(block));
    // One after the other: the loop cannot do anything else. A virtual clock stands still meanwhile, so this takes no time by it.
    assert_eq!(printed[..6], SERIAL);
    // All begin before one is done, and `block` has seen them all at once. Who is done first is up to the system's threads.
    assert_eq!(
        printed[7..10],
        [
            "0 [Task-A] coroutine will sleep for 3 second(s)…",
            "0 [Task-B] coroutine will sleep for 1 second(s)…",
            "0 [Task-C] coroutine will sleep for 1 second(s)…",
        ]
    );
    let mut done = printed[10..13].to_vec();
    done.sort();
    assert_eq!(done, ["0 [Task-A] done!", "0 [Task-B] done!", "0 [Task-C] done!"]);
    assert_eq!((&printed[6][..], &printed[13][..], printed.len()), ("0 TIME:  0ns", "0 TIME:  0ns", 14));

    // Each of the blocking tasks was told of, by the place of its spawn: three lines of the source.
    let slow = stage.slow.lock().unwrap();
    let lines: Vec<u32> = slow.iter().map(|slow| slow.spawned_at().unwrap().line()).collect();
    let first = *lines.iter().min().unwrap();
    assert!(slow.iter().all(|slow| slow.spawned_at().unwrap().file().ends_with("x05_blocking_library.rs")));
    assert!([first, first + 1, first + 2].iter().all(|line| lines.contains(line)), "{slow:?}");
}

#[test]
fn x05_several_loops_run_the_others_elsewhere_while_one_is_blocked() {
    static MEETING: Meeting = Meeting { present: Mutex::new(0), came: Condvar::new() };
    fn block(_: Duration) {
        MEETING.join(3);
    }
    let event_loop = Runtime::builder().workers(3).build_event_loop().unwrap();
    let tasks = [("Task-A", 3), ("Task-B", 1), ("Task-C", 1)]
        .map(|(name, seconds)| event_loop.create_task(x05::sleep_coro(name, seconds, block)).unwrap());
    // Each blocks the worker that polls it until all three are blocked.
    assert_eq!(event_loop.run_until_complete(try_gather(tasks)).unwrap().unwrap().len(), 3);
}

#[test]
fn x06_a_coroutine_runs_when_the_loop_does() {
    let stage = Stage::set();
    assert_eq!(stage.play(x06::main), ["0 Waiting:  2", "0 TIME:  0ns"]);
}

#[test]
fn x07_a_task_shows_its_state_before_and_after() {
    let stage = Stage::set();
    let printed = stage.play(x07::main);
    let [before, waiting, after, time] = &printed[..] else { panic!("{printed:?}") };
    assert!(before.starts_with("0 <Task pending spawned at ") && before.contains("x07_print_a_task.rs:"), "{before}");
    assert_eq!((&waiting[..], &time[..]), ("0 Waiting:  2", "0 TIME:  0ns"));
    // The same task, so the same place.
    assert_eq!(after.replace("finished", "pending").replace(" result=()", ""), *before);
    assert!(after.starts_with("0 <Task finished spawned at ") && after.ends_with(" result=()>"), "{after}");
}

#[test]
fn x08_a_callback_reads_the_result_of_its_task() {
    let stage = Stage::set();
    assert_eq!(stage.play(x08::main), ["0 Waiting:  2", "0 Callback:  Done after 2s", "0 TIME:  0ns"]);
}

#[test]
fn x09_a_callback_has_arguments_of_its_own() {
    let stage = Stage::set();
    assert_eq!(stage.play(x09::main), ["0 Waiting:  2", "0 Callback: 2 Done after 2s"]);
}

#[test]
fn x10_a_result_can_be_read_again_and_again() {
    let stage = Stage::set();
    let printed = stage.play(x10::main);
    assert_eq!(printed, ["0 Waiting 2", "0 Task ret: Done after 2s", "0 Task ret: Done after 2s", "0 TIME: 0ns"]);
}

#[test]
fn x11_a_sleep_takes_its_time() {
    let stage = Stage::set();
    assert_eq!(stage.play(x11::main), ["0 Waiting:  2", "2 Task ret:  Done after 2s", "2 TIME:  2s"]);
}

const WAITED: [&str; 7] = [
    "0 Waiting:  1",
    "0 Waiting:  2",
    "0 Waiting:  4",
    "4 Task ret:  Done after 1s",
    "4 Task ret:  Done after 2s",
    "4 Task ret:  Done after 4s",
    "4 TIME:  4s",
];

#[test]
fn x12_a_wait_takes_four_seconds_and_not_seven() {
    let stage = Stage::set();
    assert_eq!(stage.play(x12::main), WAITED);
    assert_eq!(stage.seconds(), 4.0);
    stage.is_idle_and_open();
}

#[test]
fn x13_a_nested_wait_gives_three_done_and_none_pending() {
    let stage = Stage::set();
    assert_eq!(stage.play(x13::main), WAITED);
    stage.is_idle_and_open();
}

#[test]
fn x14_a_gather_gives_results_in_the_order_of_the_arguments() {
    let stage = Stage::set();
    assert_eq!(stage.play(x14::main), WAITED);
    stage.is_idle_and_open();
}

#[test]
fn x15_the_results_of_main_come_out_of_the_loop() {
    let stage = Stage::set();
    assert_eq!(
        stage.play(x15::main),
        [
            "0 Waiting:  1",
            "0 Waiting:  2",
            "0 Waiting:  2",
            "2 Task ret:  Done after 1s",
            "2 Task ret:  Done after 2s",
            "2 Task ret:  Done after 2s",
        ]
    );
    stage.is_idle_and_open();
}

#[test]
fn x16_results_come_in_the_order_of_completion() {
    let stage = Stage::set();
    assert_eq!(
        stage.play(x16::main),
        [
            "0 Waiting:  1",
            "0 Waiting:  2",
            "0 Waiting:  4",
            "1 Task ret: Done after 1s",
            "2 Task ret: Done after 2s",
            "4 Task ret: Done after 4s",
            "4 TIME:  4s",
        ]
    );
    stage.is_idle_and_open();
}

#[test]
fn x17_ctrl_c_comes_out_of_the_run_and_one_iteration_cancels_all() {
    let stage = Stage::set();
    let mut printed = stage.interrupt(x17::program);
    let tasks = printed.remove(3);
    assert_eq!(tasks.matches("<Task ").count(), 4, "{tasks}");
    assert_eq!(tasks.matches("<Task pending spawned at ").count(), 4, "{tasks}");
    assert_eq!(
        printed,
        [
            "0 Waiting:  1",
            "0 Waiting:  2",
            "0 Waiting:  2",
            "0.2 true",
            "0.2 true",
            "0.2 true",
            "0.2 true",
            "0.2 TIME:  200ms",
        ]
    );
    stage.ended_cancelled();
}

#[test]
fn x18_ctrl_c_and_a_drain_leave_every_task_cancelled_main_included() {
    let stage = Stage::set();
    let mut printed = stage.interrupt(x18::program);
    let tasks = printed.remove(3);
    assert_eq!(tasks.matches("<Task pending spawned at ").count(), 4, "{tasks}");
    // `main` shows what it waits for.
    assert_eq!(tasks.matches(" wait_for=[").count(), 1, "{tasks}");
    assert_eq!(printed, ["0 Waiting:  1", "0 Waiting:  2", "0 Waiting:  4", "0.2 true", "0.2 TIME:  200ms"]);
    stage.ended_cancelled();
}

#[test]
fn x18_one_iteration_is_enough_for_main_but_not_for_a_task_that_cleans_up() {
    let stage = Stage::set();
    let event_loop = &stage.event_loop;
    let children = [1, 2, 4].map(|seconds| event_loop.create_task(sleep(Duration::from_secs(seconds))).unwrap());
    let main = event_loop.create_task(async { drop(gather(children).await) }).unwrap();
    let cleaner = event_loop
        .create_task(async {
            let _ = catch_cancel(sleep(Duration::from_secs(1))).await;
            sleep(Duration::from_millis(1)).await;
        })
        .unwrap();
    event_loop.run_once().unwrap();
    assert!(event_loop.all_tasks().iter().all(|task| task.cancel(None)));
    event_loop.stop();
    event_loop.run_forever().unwrap();
    assert!(main.cancelled());
    let left: Vec<_> = event_loop.all_tasks().iter().map(|task| task.id()).collect();
    assert_eq!(left, [cleaner.task().unwrap().id()]);
    event_loop.drain(Duration::from_secs(10)).unwrap();
    assert_eq!((cleaner.state(), event_loop.all_tasks().len()), (TaskState::Cancelled, 0));
}

/// The programs, in order, with their files. The blocking calls of X5 take no time here.
const PROGRAMS: [(&str, Program); 18] = [
    ("x01_task_and_callback", Program::Whole(x01::main)),
    ("x02_stop_from_a_callback", Program::Whole(x02::main)),
    ("x03_future_as_an_argument", Program::Whole(x03::main)),
    ("x04_three_tasks", Program::Whole(x04::main)),
    ("x05_blocking_library", Program::Whole(|| x05::program(|_| ()))),
    ("x06_coroutine", Program::Whole(x06::main)),
    ("x07_print_a_task", Program::Whole(x07::main)),
    ("x08_done_callback", Program::Whole(x08::main)),
    ("x09_callback_with_arguments", Program::Whole(x09::main)),
    ("x10_result_of_a_task", Program::Whole(x10::main)),
    ("x11_sleep", Program::Whole(x11::main)),
    ("x12_wait", Program::Whole(x12::main)),
    ("x13_nested_wait", Program::Whole(x13::main)),
    ("x14_nested_gather", Program::Whole(x14::main)),
    ("x15_return_the_gather", Program::Whole(x15::main)),
    ("x16_as_completed", Program::Whole(x16::main)),
    ("x17_ctrl_c", Program::Interrupted(x17::program)),
    ("x18_ctrl_c_and_drain", Program::Interrupted(x18::program)),
];

enum Program {
    Whole(fn() -> Outcome),
    Interrupted(fn(&EventLoop) -> Outcome),
}

impl Program {
    /// What it prints, and how many virtual seconds it takes.
    fn run(&self) -> (Vec<String>, f64) {
        let stage = Stage::set();
        let printed = match self {
            Program::Whole(main) => stage.play(main),
            Program::Interrupted(program) => stage.interrupt(program),
        };
        (printed, stage.seconds())
    }
}

#[test]
fn all_programs_together_take_less_than_a_second() {
    let began = Instant::now();
    let virtual_seconds: f64 = PROGRAMS.iter().map(|(_, program)| program.run().1).sum();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // X1 to X4, X11 to X18.
    let expected = 1.0 + 1.0 + 2.0 + 10.0 + 2.0 + 4.0 * 3.0 + 2.0 + 4.0 + 0.2 * 2.0;
    assert!((virtual_seconds - expected).abs() < 1e-9, "{virtual_seconds}");
}

/// The first block of text at the head of an example.
fn promised(source: &str) -> Vec<&str> {
    let lines = source.lines().skip_while(|line| *line != "//! ```text").skip(1);
    lines.take_while(|line| *line != "//! ```").map(|line| &line["//! ".len()..]).collect()
}

/// Whether a line is as promised, where an ellipsis stands for anything, and times are not compared.
fn keeps(promised: &str, printed: &str) -> bool {
    if promised.starts_with("TIME:") {
        return printed.starts_with("TIME:");
    }
    let mut rest = Some(printed);
    for (number, part) in promised.split('…').enumerate() {
        rest = rest.and_then(|rest| match number {
            0 => rest.strip_prefix(part),
            _ => rest.split_once(part).map(|(_, rest)| rest),
        });
    }
    rest.is_some_and(|rest| rest.is_empty() || promised.ends_with('…'))
}

#[test]
fn every_example_prints_what_its_head_says() {
    for (file, program) in &PROGRAMS {
        let path = format!("{}/examples/asyncio/{file}.rs", env!("CARGO_MANIFEST_DIR"));
        let source = std::fs::read_to_string(path).unwrap();
        let mut promised = promised(&source);
        let (printed, _) = program.run();
        let printed = printed.iter().map(|line| line.split_once(' ').unwrap().1.replace("tests/../", ""));
        let mut printed: Vec<String> = printed.collect();
        if file.starts_with("x05") {
            // Who of the pool is done first is not said.
            promised.sort();
            printed.sort();
        }
        assert_eq!(promised.len(), printed.len(), "{file}: {promised:#?} {printed:#?}");
        for (promised, printed) in promised.iter().zip(&printed) {
            assert!(keeps(promised, printed), "{file} promises {promised:?} and prints {printed:?}");
        }
    }
}
