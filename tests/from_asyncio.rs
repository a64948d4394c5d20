//! The page for those who come from asyncio: no public name of asyncio's is missing there, and no name that it gives is made up. That its pieces
//! of Rust run is the documentation tests' matter.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Every public name of Python 3.14's `asyncio`, without the exceptions that are the built-in ones and what only Windows has.
const MODULE: &str = "ALL_COMPLETED AbstractEventLoop AbstractEventLoopPolicy AbstractServer Barrier BaseEventLoop BaseProtocol \
    BaseTransport BoundedSemaphore BrokenBarrierError BufferedProtocol CancelledError Condition DatagramProtocol DatagramTransport \
    DefaultEventLoopPolicy Event EventLoop FIRST_COMPLETED FIRST_EXCEPTION Future Handle IncompleteReadError InvalidStateError LifoQueue \
    LimitOverrunError Lock PriorityQueue Protocol Queue QueueEmpty QueueFull QueueShutDown ReadTransport Runner SelectorEventLoop \
    Semaphore SendfileNotAvailableError Server StreamReader StreamReaderProtocol StreamWriter SubprocessProtocol SubprocessTransport Task \
    TaskGroup Timeout TimeoutError TimerHandle Transport WriteTransport all_tasks as_completed capture_call_graph \
    create_eager_task_factory create_subprocess_exec create_subprocess_shell create_task current_task eager_task_factory ensure_future \
    format_call_graph future_add_to_awaited_by future_discard_from_awaited_by gather get_event_loop get_event_loop_policy \
    get_running_loop iscoroutine iscoroutinefunction isfuture new_event_loop open_connection open_unix_connection print_call_graph run \
    run_coroutine_threadsafe set_event_loop set_event_loop_policy shield sleep start_server start_unix_server timeout timeout_at to_thread \
    wait wait_for wrap_future";

/// The methods of an event loop.
const LOOP: &str = "add_reader add_signal_handler add_writer call_at call_exception_handler call_later call_soon call_soon_threadsafe \
    close connect_accepted_socket connect_read_pipe connect_write_pipe create_connection create_datagram_endpoint create_future \
    create_server create_task create_unix_connection create_unix_server default_exception_handler get_debug get_exception_handler \
    get_task_factory getaddrinfo getnameinfo is_closed is_running remove_reader remove_signal_handler remove_writer run_forever \
    run_in_executor run_until_complete sendfile set_debug set_default_executor set_exception_handler set_task_factory \
    shutdown_asyncgens shutdown_default_executor sock_accept sock_connect sock_recv sock_recv_into sock_recvfrom sock_recvfrom_into \
    sock_sendall sock_sendfile sock_sendto start_tls stop subprocess_exec subprocess_shell time";

/// Those of everything else.
const METHODS: &str = "add_done_callback cancel cancelled done exception get_loop remove_done_callback result set_exception set_result \
    cancelling get_coro get_context get_name get_stack print_stack set_name uncancel acquire locked release clear is_set set notify \
    notify_all abort broken n_waiting parties reset empty full get get_nowait join maxsize put put_nowait qsize task_done shutdown at_eof \
    feed_data feed_eof read readexactly readline readuntil set_transport can_write_eof drain get_extra_info is_closing transport \
    wait_closed write write_eof writelines is_serving serve_forever sockets start_serving close_clients abort_clients connection_lost \
    connection_made data_received eof_received pause_writing resume_writing buffer_updated get_buffer datagram_received error_received \
    pipe_connection_lost pipe_data_received process_exited get_protocol get_write_buffer_limits get_write_buffer_size is_reading \
    pause_reading resume_reading set_protocol set_write_buffer_limits sendto get_pid get_pipe_transport get_returncode communicate kill \
    returncode send_signal terminate";

fn page() -> String {
    fs::read_to_string("docs/from-asyncio.md").unwrap()
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The columns of the tables that begin at the heading `Name for name`, without those of the heads.
fn rows(page: &str) -> Vec<[&str; 2]> {
    let tables = page.split("## Name for name").nth(1).expect("the tables");
    let of_table = tables.lines().filter(|line| line.starts_with("| ") && !line.contains("| eddies |"));
    of_table
        .map(|line| {
            let columns: Vec<&str> = line.split(" | ").collect();
            [columns[0], columns[1]]
        })
        .collect()
}

/// All words that are declared in the crate's sources: functions, types, constants, variants.
fn declared(folder: &Path, words: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words.extend(path.file_name().and_then(|name| name.to_str()).map(str::to_owned));
            declared(&path, words);
            continue;
        }
        words.extend(path.file_stem().and_then(|name| name.to_str()).map(str::to_owned));
        for line in fs::read_to_string(&path).unwrap().lines().filter(|line| !line.trim_start().starts_with("//")) {
            words.extend(line.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned));
        }
    }
}

#[test]
fn no_public_name_of_asyncio_is_missing() {
    let page = page();
    let known: HashSet<&str> = rows(&page)
        .iter()
        .flat_map(|[asyncio, _]| quoted(asyncio))
        .flat_map(|quoted| quoted.split(['.', '(', '=']).filter(|word| !word.is_empty()))
        .collect();
    assert!(known.len() > 200, "{}", known.len());
    for name in [MODULE, LOOP, METHODS].iter().flat_map(|names| names.split_whitespace()) {
        assert!(known.contains(name), "`{name}` has no place in docs/from-asyncio.md");
    }
}

#[test]
fn no_name_of_eddies_is_made_up() {
    let page = page();
    let mut words = HashSet::new();
    declared(Path::new("src"), &mut words);
    let mut count = 0;
    for word in rows(&page).iter().flat_map(|[_, eddies]| quoted(eddies)) {
        if word.starts_with('#') || ["Debug", "futures_util::io::copy", "spawn_blocking(f).share()"].contains(&word) {
            continue;
        }
        for part in word.split("::") {
            assert!(words.contains(part), "`{word}`, which docs/from-asyncio.md names, is not in the crate");
            count += 1;
        }
    }
    assert!(count > 300, "{count}");
}
