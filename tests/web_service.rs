//! `examples/web_service.rs` from outside: the program as a process, over plain sockets, to its exit.
//!
//! The client is a blocking one of a few lines, so that nothing of what is tested tests itself.

#![cfg(feature = "hyper")]

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

#[path = "shared/folder.rs"]
mod folder;

use folder::Folder;

/// Far longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A folder for what one service leaves behind, killed or not. Not where the system has its temporary files, in which it would stay for good if this
/// test is killed.
fn folder() -> Folder {
    Folder::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The service, with its temporary files, and what it names without a folder, in this one.
fn service_in(folder: &Folder) -> Command {
    let mut command = Command::new(program());
    command.current_dir(&folder.0).env("TMPDIR", &folder.0).env("ADDR", "127.0.0.1:0").env_remove("DATABASE");
    command
}

fn files_in(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(&folder.0).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The service as a child process; killed when it is dropped.
struct Service {
    child: Child,
    address: String,
    log: Lines<BufReader<ChildStdout>>,
    folder: Folder,
}

impl Service {
    fn start(settings: &[(&str, &str)]) -> Service {
        let folder = folder();
        let mut command = service_in(&folder);
        let mut child =
            command.envs(settings.iter().copied()).stdout(Stdio::piped()).spawn().expect("the service starts");
        let mut log = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = log.next().expect("the service tells its address").unwrap();
        let url = first.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let address = url.unwrap_or_else(|| panic!("no URL in {first:?}")).to_owned();
        assert!(first.ends_with("workers"), "{first}");
        Service { child, address, log, folder }
    }

    fn connect(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    fn terminate(&self) {
        let status = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.child.id())).status().unwrap();
        assert!(status.success());
    }

    /// How it ended, and what it said since its first line.
    fn wait(&mut self) -> (ExitStatus, String) {
        let begin = Instant::now();
        let status = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status,
                None if begin.elapsed() > LONG => panic!("it does not end"),
                None => thread::sleep(Duration::from_millis(2)),
            }
        };
        let rest: Vec<String> = self.log.by_ref().map(Result::unwrap).collect();
        (status, rest.join("\n"))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Cargo puts examples beside the folder of the tests, and builds them for `cargo test`; not for `cargo test --test web_service`.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/web_service");
    assert!(program.exists(), "{} is missing: run `cargo build --example web_service` first", program.display());
    program
}

struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

impl Client {
    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).unwrap();
    }

    fn get(&mut self, path: &str) -> Answer {
        self.send(&format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n"));
        self.answer().expect("an answer")
    }

    fn post(&mut self, path: &str, content_type: &str, body: &str) -> Answer {
        self.send(&post(path, content_type, body));
        self.answer().expect("an answer")
    }

    /// Status and head; `None` when the connection ends, or breaks, before the first byte.
    fn head(&mut self) -> Option<(u16, String)> {
        if !matches!(self.stream.fill_buf(), Ok([_, ..])) {
            return None;
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.stream.read_line(&mut head).unwrap(), 0, "the head ends early: {head:?}");
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, head))
    }

    /// One whole response; panics when it is cut short.
    fn answer(&mut self) -> Option<Answer> {
        let (status, head) = self.head()?;
        let mut body = Vec::new();
        if header(&head, "transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        } else {
            let length = header(&head, "content-length").expect("a length").parse().unwrap();
            body.resize(length, 0);
            self.stream.read_exact(&mut body).unwrap();
        }
        Some(Answer { status, head, body })
    }

    fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut size = String::new();
        self.stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("no size of a chunk: {size:?}"));
        let mut chunk = vec![0; size + 2];
        self.stream.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then_some(chunk)
    }

    fn is_at_end(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]))
    }
}

fn post(path: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

const JSON: &str = "application/json";

#[test]
fn every_endpoint_answers() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    for n in 1..=5 {
        let created = client.post("/notes", JSON, &json!({ "text": format!("note {n}") }).to_string());
        assert_eq!(created.status, 201);
        assert_eq!(created.header("location"), Some(&*format!("/notes/{n}")));
        assert_eq!(client.get(&format!("/notes/{n}")).json(), created.json());
        assert_eq!(created.json()["text"], format!("note {n}"));
    }

    let ids = |answer: &Answer| -> Vec<i64> {
        answer.json()["notes"].as_array().unwrap().iter().map(|note| note["id"].as_i64().unwrap()).collect()
    };
    let first = client.get("/notes?limit=3");
    assert_eq!((ids(&first), &first.json()["next"]), (vec![1, 2, 3], &json!(3)));
    let second = client.get("/notes?after=3&limit=3");
    assert_eq!((ids(&second), &second.json()["next"]), (vec![4, 5], &Value::Null));
    assert_eq!(ids(&client.get("/notes")).len(), 5);

    for (below, count) in
        [(0, 0), (2, 0), (3, 1), (100, 25), (121, 30), (122, 30), (32_768, 3_512), (1_000_000, 78_498)]
    {
        let primes = client.get(&format!("/primes?below={below}"));
        assert_eq!((primes.status, &primes.json()["count"]), (200, &json!(count)), "below {below}");
    }
    assert_eq!(client.get("/health").json()["status"], "ok");
    let page = client.get("/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(String::from_utf8(page.body).unwrap().contains("eddies"));

    let ticks = client.get("/ticks?count=3&every_ms=5");
    assert_eq!(ticks.header("content-type"), Some("application/x-ndjson"));
    let lines: Vec<Value> =
        ticks.body.split(|&byte| byte == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    assert_eq!(lines.iter().map(|line| line["tick"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn bad_input_is_refused_in_json_with_the_right_status() {
    let service = Service::start(&[]);
    let long = json!({ "text": "x".repeat(1_001) }).to_string();
    let huge = json!({ "text": "x".repeat(70_000) }).to_string();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let chunked = "POST /notes HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        (get("/nothing"), 404, "there is nothing at /nothing"),
        (get("/notes/77"), 404, "no note 77"),
        (get("/notes/seven"), 400, "Cannot parse"),
        (get("/notes?limit=0"), 400, "`limit` is from 1 to 100"),
        (get("/notes?limit=101"), 400, "`limit` is from 1 to 100"),
        (get("/notes?after=x"), 400, "invalid digit"),
        (get("/primes"), 400, "missing field `below`"),
        (get("/primes?below=-1"), 400, "invalid digit"),
        (get("/primes?below=100000001"), 400, "`below` is from"),
        (get("/ticks?count=0"), 400, "`count` is from"),
        (get("/ticks?every_ms=0"), 400, "`every_ms` is from"),
        (post("/health", JSON, ""), 405, "/health does not take POST"),
        ("DELETE /notes HTTP/1.1\r\nhost: test\r\n\r\n".to_owned(), 405, "/notes does not take DELETE"),
        (post("/notes", JSON, "{\"text\""), 400, "Failed to parse"),
        (post("/notes", JSON, ""), 400, "Failed to parse"),
        (post("/notes", JSON, "{}"), 422, "missing field `text`"),
        (post("/notes", JSON, "{\"text\": 7}"), 422, "expected a string"),
        (post("/notes", JSON, "{\"text\": \"x\", \"id\": 7}"), 422, "unknown field `id`"),
        (post("/notes", JSON, "{\"text\": \"  \"}"), 422, "1 to 1000 characters"),
        (post("/notes", JSON, &long), 422, "1 to 1000 characters"),
        (post("/notes", "text/plain", "{\"text\": \"x\"}"), 415, "application/json"),
        (post("/notes", JSON, &huge), 413, "at most 65536 bytes"),
        (format!("{chunked}{:x}\r\n{huge}\r\n0\r\n\r\n", huge.len()), 413, "at most 65536 bytes"),
    ];
    for (request, status, message) in cases {
        let mut client = service.connect();
        client.send(&request);
        let answer = client.answer().expect("an answer");
        let shown = &request[..request.len().min(120)];
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some(JSON), "{shown}");
        let error = &answer.json()["error"];
        assert_eq!(error["status"], status, "{shown}");
        assert!(error["message"].as_str().unwrap().contains(message), "{shown}: {error}");
        if status == 405 {
            assert!(answer.header("allow").is_some(), "{shown}: {answer:?}");
        }
    }
    // What is no HTTP at all never reaches the router.
    let mut client = service.connect();
    client.send("NONSENSE\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 400);
    assert_eq!(service.connect().get("/notes").json(), json!({ "notes": [], "next": null }), "nothing was stored");
}

#[test]
fn a_connection_is_kept_alive_and_pipelined_requests_are_answered_in_order() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    let paths: Vec<String> = (1..=20).map(|n| format!("/primes?below={n}")).collect();
    let requests: String = paths.iter().map(|path| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).collect();
    client.send(&requests);
    for n in 1..=20 {
        assert_eq!(client.answer().unwrap().json()["below"], n);
    }
    assert_eq!(client.get("/health").status, 200);
}

#[test]
fn a_stream_is_sent_as_it_arises() {
    let service = Service::start(&[]);
    let mut client = service.connect();
    client.send("GET /ticks?count=2&every_ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 200);
    // The second one is due in a minute, which this test's time limit for a read is too short for.
    let tick: Value = serde_json::from_slice(&client.chunk().unwrap()).unwrap();
    assert_eq!((&tick["tick"], &tick["of"]), (&json!(1), &json!(2)));
}

#[test]
fn slow_clients_are_given_up() {
    let service = Service::start(&[("HEADER_MS", "100"), ("REQUEST_MS", "100")]);
    let mut slow_head = service.connect();
    slow_head.send("GET /health HTTP/1.1\r\nhost:");
    assert!(slow_head.is_at_end());
    let mut slow_body = service.connect();
    slow_body.send("POST /notes HTTP/1.1\r\nhost: test\r\ncontent-length: 100\r\n\r\n{");
    let answer = slow_body.answer().unwrap();
    assert_eq!((answer.status, &answer.json()["error"]["status"]), (408, &json!(408)));
    assert_eq!(service.connect().get("/health").status, 200);
}

#[test]
fn a_stuck_database_is_refused_or_timed_out_and_holds_up_nothing_else() {
    let settings =
        [("DATABASE", "notes.db"), ("DATABASE_THREADS", "1"), ("DATABASE_QUEUE", "1"), ("REQUEST_MS", "400")];
    let mut service = Service::start(&settings);
    // Another process, as far as SQLite knows, that writes and does not come to an end.
    let other = rusqlite::Connection::open(service.folder.0.join("notes.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let mut clients: Vec<Client> = (0..4).map(|_| service.connect()).collect();
    for client in &mut clients {
        client.send(&post("/notes", JSON, "{\"text\": \"is it stored?\"}"));
    }
    assert_eq!(service.connect().get("/health").status, 200, "the loops are free");
    let answers: Vec<Answer> = clients.iter_mut().map(|client| client.answer().unwrap()).collect();
    assert!(
        answers.iter().all(|answer| answer.status == 503 && answer.header("retry-after") == Some("1")),
        "{answers:?}"
    );
    let count = |text| answers.iter().filter(|a| a.json()["error"]["message"].as_str().unwrap().contains(text)).count();
    assert_eq!(
        (count("no answer within"), count("more to do than it can")),
        (2, 2),
        "one in the thread, one in the queue, two refused: {answers:?}"
    );

    other.execute_batch("COMMIT").unwrap();
    let mut client = service.connect();
    let created = loop {
        // Until the job that had begun has ended, the one thread is taken.
        let answer = client.post("/notes", JSON, "{\"text\": \"again\"}");
        if answer.status != 503 {
            break answer;
        }
    };
    assert_eq!(created.status, 201);
    let notes = client.get("/notes").json();
    let texts: Vec<&str> = notes["notes"].as_array().unwrap().iter().map(|n| n["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["is it stored?", "again"], "the job that had not begun was cancelled with its request");
    service.terminate();
    assert!(service.wait().0.success());
    assert!(files_in(&service.folder).contains(&"notes.db".to_owned()), "what has a name is kept");
}

/// How a client of the load ended.
#[derive(Default, Debug)]
struct Tally {
    answered: usize,
    /// Closed before a byte of the response, after a pause in which the server may well have taken the connection for idle.
    closed_idle: usize,
}

/// Requests one after the other on one connection, until the server ends it. Panics when a response is cut short, or missing.
fn load(mut client: Client, number: usize, answered: &AtomicUsize) -> Tally {
    let note = post("/notes", JSON, "{\"text\": \"under load\"}");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n");
    let requests =
        [note, get("/notes?limit=5"), get("/health"), get("/primes?below=50000"), get("/ticks?count=3&every_ms=1")];
    let mut tally = Tally::default();
    let mut ended = Instant::now();
    for request in requests.iter().cycle().skip(number) {
        let written = client.stream.get_mut().write_all(request.as_bytes()).is_ok();
        let pause = ended.elapsed();
        match client.answer().filter(|_| written) {
            Some(answer) => {
                assert!([200, 201].contains(&answer.status), "{answer:?}");
                tally.answered += 1;
                answered.fetch_add(1, Ordering::SeqCst);
                if answer.header("connection") == Some("close") {
                    assert!(client.is_at_end());
                    return tally;
                }
            }
            None => {
                assert!(
                    pause > Duration::from_millis(50),
                    "a request was not answered, {pause:?} after the last answer"
                );
                tally.closed_idle += 1;
                return tally;
            }
        }
        ended = Instant::now();
    }
    unreachable!("a cycle does not end")
}

#[test]
fn sigterm_in_the_middle_of_load_leaves_no_request_unanswered() {
    const CLIENTS: usize = 16;
    let mut service = Service::start(&[("SHUTDOWN_MS", "20000")]);
    let clients: Vec<Client> = (0..CLIENTS).map(|_| service.connect()).collect();
    let mut stream = service.connect();
    stream.send("GET /ticks?count=20&every_ms=25 HTTP/1.1\r\nhost: test\r\n\r\n");
    stream.head().unwrap();
    let mut idle = service.connect();
    assert_eq!(idle.get("/health").status, 200);

    let answered = AtomicUsize::new(0);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let answered = &answered;
        let load = |(number, client)| scope.spawn(move || load(client, number, answered));
        let threads: Vec<_> = clients.into_iter().enumerate().map(load).collect();
        while answered.load(Ordering::SeqCst) < 20 * CLIENTS {
            assert!(!threads.iter().any(|thread| thread.is_finished()), "the load ended before the signal");
            thread::sleep(Duration::from_millis(1));
        }
        service.terminate();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(tallies.iter().all(|tally| tally.answered > 0), "{tallies:?}");
    assert!(tallies.iter().filter(|tally| tally.closed_idle == 0).count() > CLIENTS / 2, "{tallies:?}");

    let mut ticks = 0;
    while stream.chunk().is_some() {
        ticks += 1;
    }
    assert_eq!(ticks, 20, "the stream went on to its end");
    assert!(idle.is_at_end());
    let (status, log) = service.wait();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains(&format!("stopped: {} connections served, 0 of them aborted", CLIENTS + 2)), "{log}");
    assert_eq!(files_in(&service.folder), [""; 0], "the temporary database is gone");
}

#[test]
fn what_is_in_flight_at_the_deadline_is_aborted_and_the_exit_is_a_success() {
    let mut service = Service::start(&[("SHUTDOWN_MS", "200")]);
    let mut client = service.connect();
    client.send("GET /ticks?count=2&every_ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n");
    client.head().unwrap();
    service.terminate();
    let (status, log) = service.wait();
    assert!(status.success(), "{status}: {log}");
    assert!(log.contains("stopped: 1 connections served, 1 of them aborted"), "{log}");
}

#[test]
fn a_temporary_database_goes_also_when_the_service_ends_by_an_error() {
    let mut service = Service::start(&[("REQUEST_MS", "1000"), ("SHUTDOWN_MS", "100")]);
    let folder = folder();
    let output = service_in(&folder).env("ADDR", &service.address).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the port is taken: {output:?}");
    assert_eq!(files_in(&folder), [""; 0]);

    // A job of the database that is under way at the end: somebody else holds the lock, and only the request has an end.
    let files = files_in(&service.folder);
    let database = files.iter().find(|name| name.ends_with(".db")).expect("a temporary database");
    let other = rusqlite::Connection::open(service.folder.0.join(database)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = service.connect().post("/notes", JSON, "{\"text\": \"is it stored?\"}");
    assert_eq!(answer.status, 503, "{answer:?}");
    service.terminate();
    let (status, log) = service.wait();
    assert_eq!(status.code(), Some(1), "{log}");
    assert_eq!(files_in(&service.folder), [""; 0]);
}

#[test]
fn a_bad_setting_is_an_error_and_not_a_default() {
    let output = service_in(&folder()).env("REQUEST_MS", "soon").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("REQUEST_MS is \"soon\""));
}
