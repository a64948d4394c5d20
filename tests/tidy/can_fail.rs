//! Each checker of `tidy.rs` on something bad, and on its nearest good neighbour.

use super::*;

/// The number of complaints about a file called `name` with this text.
fn complaints(check: impl Fn(&Source) -> Vec<String>, name: &str, text: &str) -> usize {
    check(&Source::new(name, text).without_tests()).len()
}

#[test]
fn an_upward_import_is_found() {
    let modules = ["loom", "task", "queue", "scheduler", "runtime", "net", "io", "reactor"];
    let wrong = |name, text| complaints(|source| check_imports(source, &modules), name, text);
    assert_eq!(wrong("task/state.rs", "use crate::loom::atomic;"), 0);
    assert_eq!(wrong("task/state.rs", "use crate::task::cell::TaskCell;\nuse super::cell;"), 0);
    assert_eq!(wrong("task/state.rs", "use crate::scheduler::Shared;"), 1);
    assert_eq!(
        wrong("task/state.rs", "use crate::{loom::Arc, queue::{run_next::RunNext, Deque}};"),
        2,
        "islands, in a group"
    );
    assert_eq!(wrong("task/state.rs", "fn f() { crate::runtime::stop(); }"), 1, "a path in the code");
    assert_eq!(wrong("task/state.rs", "use super::super::scheduler::Shared;"), 1);
    assert_eq!(wrong("task/state/word.rs", "use super::super::cell;\nuse super::super::super::scheduler;"), 1);
    assert_eq!(wrong("task.rs", "use super::scheduler;"), 1);
    assert_eq!(wrong("task.rs", "use crate::Task;"), 1, "a re-export hides the module");
    assert_eq!(wrong("task/cell.rs", "use crate::queue::inbox::Node;"), 0, "a door");
    assert_eq!(wrong("net/tcp.rs", "use crate::{io::Lines, loom::Arc, runtime::LoopHandle, scheduler::current};"), 0);
    assert_eq!(wrong("net/tcp.rs", "use crate::reactor::Registration;"), 1);
    assert_eq!(wrong("net/source.rs", "use crate::reactor::Registration;"), 0, "a bridge");
    assert_eq!(wrong("net/tcp.rs", "use crate::scheduler::sleep;"), 1);
    assert_eq!(wrong("task.rs", "// use crate::net;\nconst A: &str = \"crate::net::b\"; /* crate::net */"), 0);
    assert_eq!(wrong("task.rs", "#[cfg(test)]\nmod tests {\n    fn f() { crate::net::f() }\n}\nuse crate::net::f;"), 1);
}

#[test]
fn a_way_around_the_facade_is_found() {
    let wrong = |name, text| complaints(check_facade, name, text);
    assert_eq!(wrong("task.rs", "use std::sync::Arc;"), 1);
    assert_eq!(wrong("task.rs", "use std::{fmt, sync::{Arc, Mutex}};"), 2);
    assert_eq!(wrong("task.rs", "use crate::loom::{Arc, atomic};"), 0);
    assert_eq!(wrong("queue/inbox.rs", "let t = ::std::thread::current();"), 1);
    assert_eq!(wrong("scheduler.rs", "use std::sync::{Arc, Mutex};"), 1, "an exception is for one path");
    assert_eq!(wrong("net/tcp.rs", "use std::sync::Arc;"), 0);
    assert_eq!(wrong("net/tcp.rs", "use loom::sync::Arc;"), 1);
    assert_eq!(wrong("lib.rs", "mod loom;"), 0);
    assert_eq!(wrong("queue/inbox.rs", "use crossbeam_deque::Worker;"), 1);
    assert_eq!(wrong("queue/crossbeam.rs", "use crossbeam_deque::Worker;"), 0);
    assert_eq!(wrong("net/source.rs", "use mio::{Interest, Waker};"), 1);
    assert_eq!(wrong("reactor/wakeup.rs", "use mio::{Interest, Waker};"), 0);
    assert_eq!(wrong("task.rs", "thread_local! { static A: u8 = 0; }"), 1);
    assert_eq!(wrong("task.rs", "use crate::loom::{Arc, thread_local};\nthread_local! { static A: u8 = 0; }"), 0);
}

#[test]
fn unargued_unsafe_is_found() {
    let wrong = |name, text| complaints(check_unsafe, name, text);
    assert_eq!(wrong("task/cell.rs", "// SAFETY: T1.\nlet a = unsafe { *p };"), 0);
    assert_eq!(wrong("task/cell.rs", "let a = unsafe { *p };"), 1);
    assert_eq!(wrong("task/cell.rs", "unsafe impl Send for A {}"), 1);
    assert_eq!(wrong("task/cell.rs", "unsafe fn f() {}"), 1);
    assert_eq!(wrong("task/cell.rs", "/// # Safety\n///\n/// Once.\nunsafe fn f() {}"), 0);
    assert_eq!(wrong("task/cell.rs", "/// # Safety\nfn g() {}\n\nunsafe fn f() {}"), 1, "the text belongs to another");
    assert_eq!(wrong("task/cell.rs", "impl Link for A {\n    unsafe fn f() {}\n}"), 0, "the trait says it");
    assert_eq!(wrong("task/cell.rs", "impl A {\n    unsafe fn f() {}\n}"), 1);
    assert_eq!(wrong("task/cell.rs", "struct Table { drop: unsafe fn(*const ()) }"), 0);
    assert_eq!(wrong("runtime.rs", "// SAFETY: none needed, it says.\nlet a = unsafe { *p };"), 1);
    assert_eq!(wrong("runtime.rs", "#![deny(unsafe_code)] // unsafe\nlet a = \"unsafe { }\";"), 0);
}

#[test]
fn an_unargued_ordering_is_found() {
    let wrong = |name, text| complaints(check_atomics, name, text);
    assert_eq!(wrong("task/state.rs", "// Ordering: pairs with a::b.\nself.a.load(Acquire);"), 0);
    assert_eq!(wrong("task/state.rs", "self.a.load(Ordering::Acquire);"), 1);
    assert_eq!(wrong("task/state.rs", "self.a.compare_exchange(\n    1,\n    2,\n    AcqRel,\n    Acquire,\n);"), 1);
    assert_eq!(wrong("task/state.rs", "// Ordering: yes.\nself.a.fetch_add(1, order);"), 1, "not a literal");
    assert_eq!(wrong("task/state.rs", "fence(SeqCst);"), 1);
    assert_eq!(wrong("task/state.rs", "slice.swap(1, 2);\nlet a = Acquire;"), 0);
    assert_eq!(wrong("error.rs", "// Ordering: yes.\nself.a.store(1, Release);"), 1, "not on the list");
}

#[test]
fn a_bad_name_is_found() {
    let wrong = |text| complaints(check_names, "task.rs", text);
    assert_eq!(wrong("pub(crate) struct Inner<T>(T);"), 1);
    assert_eq!(wrong("type Handle = u8;"), 1);
    assert_eq!(wrong("struct LoopHandle;\nuse std::task::Context;"), 0);
    assert_eq!(wrong("fn f() { todo!() }"), 1);
    assert_eq!(wrong("// todo!()\nlet a = \"dbg!\";"), 0);
}

#[test]
fn a_model_switch_in_the_middle_of_code_is_found() {
    let wrong = |text| check_cfg(&Source::new("task.rs", text)).len();
    assert_eq!(wrong("#[cfg(not(eddies_loom))]\nfn f() {}"), 1);
    assert_eq!(wrong("if cfg!(eddies_loom) { f() }"), 1);
    assert_eq!(wrong("const FIRST: usize = if cfg!(eddies_loom) { 2 } else { 64 };"), 0);
    assert_eq!(wrong("#[cfg(all(test, eddies_loom))]\n#[path = \"m.rs\"]\nmod models;"), 0);
    assert_eq!(wrong("#[cfg(not(eddies_loom))]\npub(crate) use real::*;"), 0);
}

#[test]
fn a_forgotten_model_is_found() {
    let included = |text: &str| vec![("task.rs".to_owned(), text.to_owned())];
    let models = ["task.rs".to_owned()];
    let line = "#[path = \"../loom-tests/models/task.rs\"]\n";
    assert_eq!(check_models(&models, &included(line)).len(), 0);
    assert_eq!(check_models(&models, &included("")).len(), 1);
    assert_eq!(check_models(&models, &included(&line.repeat(2))).len(), 1);
}

#[test]
fn a_file_of_tests_is_told_from_others() {
    let text = "#[cfg(all(test, not(eddies_loom)))]\nmod stress;\n\nmod inbox;\n";
    let files = [("queue.rs".to_owned(), text.to_owned())];
    assert_eq!(source::test_files(&files).into_iter().collect::<Vec<_>>(), ["queue/stress.rs"]);
}

#[test]
fn names_in_backticks_are_written_out() {
    let text = "see `src/task.rs`, `src/task/{state,cell}.rs`, `src/queue.rs::push`, and `task`, or src/none.rs";
    assert_eq!(files_named(text), ["src/task.rs", "src/task/state.rs", "src/task/cell.rs", "src/queue.rs"]);
}

#[test]
fn a_test_that_is_named_and_not_there_is_found() {
    let sources = "fn a_test_of_it() {}\ncheck(\"model_of_it_too\", 2);";
    let missing = tests_missing("`a_test_of_it`, `model_of_it_too`, `not_a_test`, `src/task.rs`, `a_b`", sources);
    assert_eq!(missing.into_iter().collect::<Vec<_>>(), ["not_a_test"]);
}

#[test]
fn literals_and_comments_are_no_code() {
    let text = "let a = r#\"unsafe \" // no\n\"#; b('\"', '\\'', 'c', x::<'a>()); /* unsafe /* b */\nunsafe */ d // e\n\"x\\\"y\" f";
    let source = Source::new("a.rs", text);
    let code: Vec<&str> = source.code.iter().map(|line| line.trim()).collect();
    assert_eq!(code, ["let a = r#\"\"", "; b(', ', ', x::<'a>());", "d", "\"\" f"]);
    assert!(source.comment[2].contains("// e"));
}

#[test]
fn a_hole_in_the_asyncio_table_is_found() {
    let tests = BTreeMap::from([("a.rs".to_owned(), "fn trap_001_x() {}".to_owned())]);
    let wrong = |rows: &str| check_asyncio_table(&format!("\n## Traps\n\n{rows}"), &tests);
    let rest: String = (2..=131).map(|n| format!("| {n} | t | cannot exist: so | |\n")).collect();
    assert_eq!(wrong(&format!("| 1 | t | done | `trap_001_x` (a.rs) |\n{rest}")), [""; 0]);
    assert_eq!(wrong(&rest).len(), 1, "no row");
    assert_eq!(wrong(&format!("| 1 | t | not done | |\n{rest}")).len(), 1);
    assert_eq!(wrong(&format!("| 1 | t | done | `other` (a.rs) |\n{rest}")).len(), 2, "not held, and not there");
    assert_eq!(wrong(&format!("| 1 | t | done | `trap_001_y` (a.rs) |\n{rest}")).len(), 1);
}

#[test]
fn a_mutation_of_nothing_is_found() {
    let list = "head\n\nname: a_b\nfile: f.rs\nmodels: m\n<<<<\n    let a = 1;\n====\n    let a = 2;\n>>>>\n";
    let table = "|---|\n| a_b | `f.rs` | about | killed | m |\n";
    let wrong = |table: &str, source: &str| check_mutations(list, table, |_| source.to_owned()).len();
    assert_eq!(wrong(table, "fn f() {\n    let a = 1;\n}"), 0);
    assert_eq!(wrong(table, "fn f() {\n    let a = 3;\n}"), 1);
    assert_eq!(wrong(table, "    let a = 1;\n    let a = 1;\n"), 1, "which of the two?");
    assert_eq!(wrong("", "    let a = 1;"), 1);
}
