//! The structure of the sources, held by a test: imports run downward, machine and models meet only behind the facade, and unsafe and
//! orderings are argued where they stand. ARCHITECTURE.md says why; the tables below are the rules. Sizes are no rule.
//!
//! A checker takes one file and answers with what is wrong in it. The last module feeds each of them something bad.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;

#[path = "tidy/source.rs"]
mod source;
use source::{Source, root, rust_files};

/// The layer of each module below the library; whatever is not named here is library, layer 4, and reaches the rest through layer 3.
const LAYERS: [&[&str]; 4] = [
    &["loom", "error", "rand", "coop", "report"],
    &["task", "queue", "reactor", "blocking"],
    &["scheduler"],
    &["runtime", "spawn", "event_loop"],
];
const LIBRARY: usize = LAYERS.len();

/// Imports that the layers alone would forbid: from (a file, or a folder with `/`; empty: the whole library), to, why.
const DOORS: &[(&str, &str, &str)] = &[
    ("report.rs", "error", "an exception carries the text of a panic"),
    ("report.rs", "loom", "the handler of a loop can be replaced, under a lock"),
    ("task/", "queue::inbox", "a task is its own node in an inbox: waking allocates nothing"),
    ("spawn.rs", "runtime", "`run` builds one"),
    ("event_loop.rs", "runtime", "an event loop owns a runtime of its own"),
    ("event_loop/", "runtime", "an event loop owns a runtime of its own"),
    ("runtime/builder.rs", "event_loop", "`build_event_loop` makes one"),
    ("net/source.rs", "reactor", "bridge: a socket owns its registration"),
    ("io/watch.rs", "reactor", "bridge: a descriptor that somebody has in a reactor is refused"),
    ("time/deadline.rs", "task::scope", "bridge: a deadline is a scope of the task it is in"),
    ("future/task_group.rs", "task::scope", "bridge: a group's body is a scope of the task it is in"),
    ("time.rs", "reactor", "bridge: a sleep owns its entry in the timers"),
    ("time.rs", "scheduler::fresh_timer", "bridge: a sleep's entry is made when the poll is over"),
    ("time/timeout.rs", "scheduler::fresh_timer", "bridge: as above, and its time begins then"),
    ("", "scheduler::current", "the one door from the library to the worker that runs it"),
];

/// Path (with `::` at the end: only what is inside it), the layers that the rule holds for, the files that may name it, why no others.
const FACADE: &[(&str, RangeInclusive<usize>, &[&str], &str)] = &[
    ("loom::", 0..=LIBRARY, &["loom.rs"], "the facade is the only place that knows loom"),
    ("crossbeam_deque", 0..=LIBRARY, &["queue/crossbeam.rs"], "another deque must be able to take its place"),
    ("mio::Poll", 0..=LIBRARY, &["loom.rs", "reactor.rs", "reactor/"], "only a reactor blocks on I/O"),
    ("mio::Waker", 0..=LIBRARY, &["loom.rs", "reactor.rs", "reactor/"], "only a reactor is woken through the kernel"),
    (
        "crate::loom::mio",
        0..=LIBRARY,
        &["loom.rs", "reactor/turn.rs", "reactor/vigil.rs"],
        "only a reactor blocks on I/O",
    ),
    ("std::sync", 0..=2, &["loom.rs"], "loom cannot see it: take it from crate::loom"),
    ("core::sync", 0..=2, &["loom.rs"], "loom cannot see it: take it from crate::loom"),
    ("std::thread", 0..=2, &["loom.rs"], "loom cannot see it: take it from crate::loom"),
    ("std::thread_local", 0..=2, &["loom.rs"], "loom cannot see it: take it from crate::loom"),
    ("thread_local", 0..=2, &["loom.rs"], "the prelude's: import crate::loom::thread_local"),
    ("std::cell::UnsafeCell", 0..=LIBRARY, &["loom.rs"], "loom cannot see it: take it from crate::loom"),
];

/// What may go around the facade: file, path, why.
const AROUND_THE_FACADE: &[(&str, &str, &str)] = &[
    ("loom/kernel.rs", "std::sync::Arc", "the kernel is not what a model is about: loom must not see its state"),
    ("loom/kernel.rs", "std::sync::Mutex", "as above"),
    ("loom/kernel.rs", "std::sync::PoisonError", "as above"),
    ("error.rs", "std::thread::current", "reads the name of its thread"),
    ("error.rs", "std::sync::Arc", "the text of a cancellation is shared by clones, and no model looks at the count"),
    ("error.rs", "std::sync::Mutex", "the payload of a panic, which is taken out once; no model looks at it"),
    ("error.rs", "std::sync::PoisonError", "as above"),
    ("task/context.rs", "std::sync::Arc", "a value is a `dyn Any`, which loom's Arc cannot hold"),
    ("coop.rs", "std::thread_local", "the budget is its thread's own, and no model looks at it"),
    ("report.rs", "std::thread_local", "the handler is its thread's own, and no model looks at it"),
    ("report.rs", "std::sync::Arc", "the handler is the user's: a `dyn Fn`, which loom's Arc cannot hold"),
    ("scheduler.rs", "std::sync::Arc", "`std::task::Wake` and the user's hooks ask for it"),
    ("scheduler.rs", "std::sync::Weak", "points back at the ring, which no model builds"),
    ("scheduler/monitor.rs", "std::sync::Weak", "points back at the ring, which no model builds"),
    ("scheduler/monitor.rs", "std::sync::OnceLock", "set once, before the monitor starts"),
    ("scheduler/worker.rs", "std::sync::Weak", "points back at the ring, which no model builds"),
];

/// The only files with `unsafe` in them.
const UNSAFE: &str = "task.rs task/cell.rs task/runnable.rs task/waker.rs task/join.rs task/label.rs task/registry.rs task/extension.rs task/frame.rs signal.rs \
     queue/inbox.rs queue/chase_lev.rs queue/run_next.rs queue/word.rs scheduler/home.rs scheduler/current.rs scheduler/thread_cpu.rs hyper/stream.rs";

/// The only files with atomic operations in them; elsewhere a Mutex.
const ATOMICS: &str = "loom.rs loom/kernel.rs task/state.rs task/extension.rs queue/inbox.rs queue/chase_lev.rs queue/run_next.rs queue/locked.rs reactor.rs reactor/readiness.rs reactor/registration.rs \
     reactor/table.rs reactor/timer.rs blocking.rs blocking/bunk.rs scheduler.rs scheduler/clock.rs scheduler/standstill.rs scheduler/thread_cpu.rs scheduler/thread_waker.rs scheduler/sleep.rs scheduler/park.rs scheduler/rescue.rs scheduler/attendance.rs scheduler/drowse.rs \
     scheduler/signals.rs scheduler/seat.rs scheduler/worker.rs signal.rs hyper/connections.rs";

const BANNED_TYPES: &[&str] =
    &["Inner", "Core", "Context", "Manager", "Util", "Utils", "Helper", "Helpers", "Data", "Handle"];

/// The file that may define a banned name, and why.
const NAMES_WITH_A_REASON: &[(&str, &str, &str)] =
    &[("task/context.rs", "Context", "the values of context variables have no other name in the field")];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or(LIBRARY)
}

fn starts_with_path(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn check_imports(source: &Source, modules: &[&str]) -> Vec<String> {
    let (from, own) = (layer(source.module()), source.module());
    // So many `super` lead from this file to the crate; from a module inside it, one more.
    let depth = source.name.matches('/').count() + 1;
    let outward = "super::".repeat(depth);
    let mut wrong = Vec::new();
    for (line, path) in source.paths() {
        let outer = path.strip_prefix(&outward).filter(|_| depth > 1 || source.code[line].starts_with("use"));
        let Some(path) = path.strip_prefix("crate::").or(outer) else { continue };
        let to = path.split("::").next().unwrap();
        let door = |&(file, target, _): &(&str, &str, &str)| {
            starts_with_path(path, target) && if file.is_empty() { from == LIBRARY } else { source.is_in(&[file]) }
        };
        if !modules.contains(&to) {
            if from < LIBRARY {
                wrong.push(
                    source
                        .at(line, &format!("`crate::{path}`: below the library name the module, not the crate's root")),
                );
            }
        } else if to != own && !DOORS.iter().any(door) {
            let down = layer(to) < from && (from < LIBRARY || [0, 3].contains(&layer(to)))
                || from == LIBRARY && layer(to) == LIBRARY;
            let from = if from == LIBRARY { "the library".to_owned() } else { format!("layer {from}") };
            if !down {
                wrong.push(source.at(
                    line,
                    &format!("{from} imports `crate::{path}`, which its layer does not allow (DOORS, LAYERS)"),
                ));
            }
        }
    }
    wrong
}

fn check_facade(source: &Source) -> Vec<String> {
    let (mut wrong, paths) = (Vec::new(), source.paths());
    let shadowed = |name: &str| paths.iter().any(|(_, path)| path.strip_prefix("crate::loom::") == Some(name));
    for (line, path) in &paths {
        for (prefix, layers, files, why) in FACADE {
            let named = starts_with_path(path, prefix) && !shadowed(prefix)
                || prefix.ends_with("::") && path.starts_with(prefix);
            let around =
                AROUND_THE_FACADE.iter().any(|(file, to, _)| source.name == *file && starts_with_path(path, to));
            if named && layers.contains(&layer(source.module())) && !source.is_in(files) && !around {
                wrong.push(source.at(*line, &format!("`{path}`: {why}")));
            }
        }
    }
    wrong
}

fn check_unsafe(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, code) in source.lines() {
        let words: Vec<&str> = source::tokens(code).collect();
        let Some(at) = words.iter().position(|&word| word == "unsafe") else { continue };
        let next = (words.get(at + 1).copied().unwrap_or("{"), words.get(at + 2).copied().unwrap_or(""));
        let argued = match next {
            ("fn", "(") | ("extern", _) => continue, // a type
            ("fn" | "trait", _) => source.is_in_trait_impl(line) || source.doc(line).any(|doc| doc.contains("Safety")),
            _ => source.argued(line, 12, "SAFETY:"),
        };
        if !UNSAFE.split_whitespace().any(|file| file == source.name) {
            wrong.push(source.at(line, "unsafe in a file that is not on the list UNSAFE"));
        }
        if !argued {
            wrong.push(source.at(line, "unsafe without a `SAFETY:` comment (a function: a `# Safety` section)"));
        }
    }
    wrong
}

fn check_atomics(source: &Source) -> Vec<String> {
    const CERTAIN: [&str; 5] = [".compare_exchange", ".fetch_add(", ".fetch_sub(", ".fetch_or(", ".fetch_and("];
    const MAYBE: [&str; 4] = [".load(", ".store(", ".swap(", "fence("];
    const LITERALS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];
    let mut wrong = Vec::new();
    for (line, code) in source.lines() {
        let end =
            (line..source.code.len()).find(|&l| source.code[l].contains([';', '{'])).unwrap_or(line).min(line + 8);
        let literal = source.code[line..=end].iter().any(|c| source::tokens(c).any(|word| LITERALS.contains(&word)));
        let certain = CERTAIN.iter().any(|op| code.contains(op));
        let atomic = certain || literal && MAYBE.iter().any(|op| code.contains(op));
        if !atomic {
            continue;
        }
        if !ATOMICS.split_whitespace().any(|file| file == source.name) {
            wrong.push(source.at(line, "an atomic operation in a file that is not on the list ATOMICS"));
        }
        if !literal {
            wrong.push(source.at(line, "the ordering is not a literal"));
        }
        if !source.argued(line, 12, "Ordering:") {
            wrong.push(source.at(line, "an atomic operation without an `Ordering:` comment"));
        }
    }
    wrong
}

fn check_names(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, code) in source.lines() {
        let words: Vec<&str> = source::tokens(code).collect();
        for pair in words.windows(2) {
            if ["struct", "enum", "union", "trait", "type"].contains(&pair[0])
                && BANNED_TYPES.contains(&pair[1])
                && !NAMES_WITH_A_REASON.iter().any(|(file, name, _)| source.name == *file && pair[1] == *name)
            {
                wrong.push(source.at(line, &format!("`{}` says nothing about what the type is", pair[1])));
            }
            if pair[1] == "!" && ["todo", "unimplemented", "dbg"].contains(&pair[0]) {
                wrong.push(source.at(line, &format!("`{}!` is for work in progress", pair[0])));
            }
        }
    }
    wrong
}

fn check_cfg(source: &Source) -> Vec<String> {
    let mut wrong = Vec::new();
    for (line, code) in source.lines().filter(|(_, code)| code.contains("eddies_loom")) {
        let item = source.code[line + 1..]
            .iter()
            .find(|next| !next.trim_start().starts_with("#["))
            .map_or("", |next| next.trim());
        let item = item.strip_prefix("pub(crate) ").or(item.strip_prefix("pub ")).unwrap_or(item);
        let module_line = ["mod ", "use ", "type "].iter().any(|start| item.starts_with(start));
        let is_bound = code.trim_start().trim_start_matches("pub(crate) ").starts_with("const ");
        if !module_line && !is_bound && !code.starts_with("#![") {
            wrong.push(
                source.at(
                    line,
                    "cfg(eddies_loom) belongs into loom.rs, or on a line that chooses a module or a constant",
                ),
            );
        }
    }
    wrong
}

/// Names in backticks that look like files of this repository.
fn files_named(text: &str) -> Vec<String> {
    const ROOTS: [&str; 7] = ["src/", "tests/", "loom-tests/", "benches/", "examples/", "macros/", ".ci/"];
    let spans = text.split('`').skip(1).step_by(2).filter(|span| ROOTS.iter().any(|root| span.starts_with(root)));
    let written_out = |span: &str| match (span.find('{'), span.find('}')) {
        (Some(open), Some(close)) => span[open + 1..close]
            .split(',')
            .map(|name| format!("{}{}{}", &span[..open], name.trim(), &span[close + 1..]))
            .collect(),
        _ => vec![span.split("::").next().unwrap().to_owned()],
    };
    spans.flat_map(written_out).collect()
}

/// Each model must be the module of exactly one source file, or it is not run, or run twice.
fn check_models(models: &[String], texts: &[(String, String)]) -> Vec<String> {
    let count = |model: &String| {
        texts.iter().map(|(_, text)| text.matches(&format!("loom-tests/models/{model}\"")).count()).sum()
    };
    let counted = models.iter().map(|model| (model, count(model))).filter(|&(_, count): &(_, usize)| count != 1);
    counted.map(|(model, count)| format!("loom-tests/models/{model} is included {count} times")).collect()
}

/// Runs `check` over the sources, tests left out, and shows all that is wrong.
#[track_caller]
fn hold(check: impl Fn(&Source) -> Vec<String>) {
    let files = rust_files("src");
    assert!(files.iter().any(|(name, _)| name == "loom.rs"), "the sources are not where this test looks");
    let tests = source::test_files(&files);
    let files = files.iter().filter(|(name, _)| !tests.contains(name));
    let wrong: Vec<String> = files.flat_map(|(name, text)| check(&Source::new(name, text).without_tests())).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn imports_run_downward() {
    let files = rust_files("src");
    let mut modules: Vec<&str> = files.iter().map(|(name, _)| name.split(['/', '.']).next().unwrap()).collect();
    modules.extend(LAYERS.concat());
    hold(|source| if source.name == "lib.rs" { Vec::new() } else { check_imports(source, &modules) });
}

#[test]
fn the_machine_is_behind_the_facade() {
    hold(check_facade);
}

#[test]
fn unsafe_is_argued_and_where_it_belongs() {
    hold(check_unsafe);
}

#[test]
fn atomic_operations_are_argued_and_where_they_belong() {
    hold(|source| if source.name == "loom.rs" { Vec::new() } else { check_atomics(source) });
}

#[test]
fn names_say_something_and_nothing_is_unfinished() {
    hold(check_names);
    let others =
        ["macros/src", "tests", "loom-tests", "fuzz/checks", "benches", "examples"].into_iter().flat_map(rust_files);
    let wrong: Vec<String> = others.flat_map(|(name, text)| check_names(&Source::new(&name, &text))).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn only_the_facade_and_module_lines_know_the_models() {
    hold(|source| if source.name == "loom.rs" { Vec::new() } else { check_cfg(source) });
}

#[test]
fn every_file_has_a_name_of_its_own() {
    let mut seen = BTreeMap::new();
    for (name, _) in rust_files("src") {
        let base = name.rsplit('/').next().unwrap().to_owned();
        if base == "tests.rs" {
            continue;
        }
        assert_ne!(base, "mod.rs", "src/{name}: write x.rs beside x/");
        if let Some(other) = seen.insert(base, name.clone()) {
            panic!("src/{name} and src/{other} have the same name");
        }
    }
}

#[test]
fn every_model_is_run_once() {
    let models: Vec<String> = rust_files("loom-tests/models").into_iter().map(|(name, _)| name).collect();
    let wrong = check_models(&models, &rust_files("src"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_files_that_the_architecture_names_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named = files_named(&text);
    assert!(named.len() > 10, "ARCHITECTURE.md has a map of the code");
    let missing: BTreeSet<_> = named.iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");
}

/// What is wrong in the tables of docs/asyncio.md, where `tests` holds the functions of each file below tests/: a trap without a row, a row without a
/// verdict, a test that is not there.
fn check_asyncio_table(text: &str, tests: &BTreeMap<String, String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let traps = text.split("\n## Traps\n").nth(1).unwrap_or("");
    let rows: Vec<Vec<&str>> = traps.lines().filter(|l| l.starts_with("| ")).map(|l| l.split(" |").collect()).collect();
    for number in 1..=131 {
        let of_number = |row: &&Vec<&str>| row[0].trim_start_matches("| ") == number.to_string();
        match rows.iter().filter(of_number).collect::<Vec<_>>()[..] {
            [row] if row.len() > 3 => {
                let verdict = row[2].trim();
                let is_held =
                    row[3].contains(&format!("`trap_{number:03}_")) || row[3].contains(&format!("_and_{number:03}_"));
                if !(verdict.starts_with("done") && is_held || verdict.starts_with("cannot exist: ")) {
                    wrong
                        .push(format!("trap {number} is neither held by a test of its name nor said to be impossible"));
                }
            }
            _ => wrong.push(format!("trap {number} has not one row")),
        }
    }
    for line in text.lines().filter(|line| line.starts_with("| ")) {
        // `name` (file.rs), and other words in backticks.
        let parts: Vec<&str> = line.split('`').collect();
        for pair in parts.windows(2) {
            let file = pair[1].strip_prefix(" (").and_then(|rest| rest.split_once(".rs)"));
            let Some((file, _)) = file else { continue };
            let functions = tests.get(&format!("{file}.rs")).map_or("", String::as_str);
            if !functions.contains(&format!("fn {}(", pair[0])) {
                wrong.push(format!("there is no test `{}` in tests/{file}.rs", pair[0]));
            }
        }
    }
    wrong
}

#[test]
fn the_asyncio_table_is_complete_and_its_tests_exist() {
    let text = fs::read_to_string(root().join("docs/asyncio.md")).unwrap();
    let wrong = check_asyncio_table(&text, &rust_files("tests").into_iter().collect());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The names in backticks of `text` that look like a test's or a model's, and are neither in `sources`.
fn tests_missing<'a>(text: &'a str, sources: &str) -> BTreeSet<&'a str> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let named = text.split('`').skip(1).step_by(2).filter(|name| is_name(name) && name.matches('_').count() > 1);
    named.filter(|name| !sources.contains(&format!("fn {name}")) && !sources.contains(&format!("\"{name}\""))).collect()
}

#[test]
fn the_tests_that_the_page_on_correctness_names_exist() {
    let text = fs::read_to_string(root().join("docs/CORRECTNESS.md")).unwrap();
    let sources: String = ["src", "tests", "loom-tests", "fuzz/checks"]
        .into_iter()
        .flat_map(rust_files)
        .map(|(_, source)| source)
        .collect();
    let missing = tests_missing(&text, &sources);
    assert!(missing.is_empty(), "docs/CORRECTNESS.md names tests that do not exist: {missing:?}");
    let missing: BTreeSet<_> = files_named(&text).into_iter().filter(|name| !root().join(name).exists()).collect();
    assert!(missing.is_empty(), "docs/CORRECTNESS.md names files that do not exist: {missing:?}");
}

/// What is wrong with the list of mutations: a text that is not in its file exactly once breaks nothing, or something else; and each has a row in
/// `table`.
fn check_mutations(list: &str, table: &str, read: impl Fn(&str) -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    for block in list.split("\nname:").skip(1) {
        let name = block.lines().next().unwrap_or("").trim();
        let file = block.lines().find_map(|line| line.strip_prefix("file:")).unwrap_or("").trim();
        let text = block.split_once("\n<<<<\n").and_then(|(_, rest)| rest.split_once("\n====\n")).map(|(text, _)| text);
        let count = text.map_or(0, |text| read(file).matches(text).count());
        if count != 1 {
            wrong.push(format!("{name}: its text is {count} times in {file}"));
        }
        if !table.contains(&format!("\n| {name} | `{file}` |")) {
            wrong.push(format!("{name}: has no row in MUTATIONS.md"));
        }
    }
    wrong
}

#[test]
fn every_mutation_breaks_what_is_there_and_has_its_row() {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap();
    let list = read("loom-tests/mutations.txt");
    assert!(list.matches("\nname:").count() > 40, "the list is not where this test looks");
    let wrong = check_mutations(&list, &read("loom-tests/MUTATIONS.md"), read);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[path = "tidy/can_fail.rs"]
mod can_fail;
