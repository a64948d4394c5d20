//! A small web service, whole: JSON notes in SQLite, a computation, a stream, a page, limits, and an orderly end.
//!
//! ```sh
//! cargo run --release --example web_service       # then open http://127.0.0.1:8080
//! curl -i localhost:8080/notes -H 'content-type: application/json' -d '{"text": "hello"}'
//! curl -i 'localhost:8080/notes?after=0&limit=10'
//! curl -N 'localhost:8080/ticks?count=5&every_ms=500'
//! ```
//!
//! The parts: axum routes and extracts, hyper speaks HTTP, and eddies runs it all: `eddies::hyper::serve` accepts and ends, every connection is a
//! task, every call of SQLite a job on the blocking pool (`web_service/store.rs`), and a computation yields so that it delays nobody.
//!
//! Settings come from the environment; `Config` lists them.

#[path = "web_service/error.rs"]
mod error;
#[path = "web_service/store.rs"]
mod store;

use std::convert::Infallible;
use std::error::Error;
use std::future::{Future, IntoFuture};
use std::ops::Range;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use eddies::hyper::TowerService;
use eddies::signal::unix::{SignalKind, signal};
use serde::Deserialize;
use serde_json::{Value, json};

use error::ApiError;
use store::{Note, Store};

/// Most bytes of a request's body.
const BODY_MAX: usize = 64 * 1024;
/// Most characters of a note.
const TEXT_MAX: usize = 1_000;
/// Most notes on a page of the list.
const PAGE_MAX: u32 = 100;
/// Largest bound of `/primes`.
const PRIMES_MAX: u32 = 100_000_000;
/// Most ticks of one stream, and most milliseconds between two.
const TICKS_MAX: (u32, u64) = (10_000, 60_000);
/// Most connections at a time; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 10_000;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("web_service: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the runtime and serves on it. A program without settings would write `eddies::run(serve(config))`, or put `#[eddies::main]` on an
/// `async fn main`.
fn run() -> Result<(), Box<dyn Error>> {
    let config = Config::from_env()?;
    // EDDIES_WORKERS sets the number of loops; without it there is one for each CPU. This thread becomes one of them.
    let runtime = eddies::Runtime::builder()
        .thread_name("web")
        .blocking_threads(config.database_threads)
        .blocking_queue(config.database_queue)
        .build()?;
    let workers = runtime.workers();
    let outcome = runtime.block_on(serve(&config, workers));
    // Database jobs of clients that have gone may still run.
    runtime.shutdown(config.shutdown_time)?;
    outcome
}

/// Serves until Ctrl-C or SIGTERM.
async fn serve(config: &Config, workers: usize) -> Result<(), Box<dyn Error>> {
    // Before there is a file, which a signal that nobody listens for would leave behind.
    let stop = stop_signal()?;
    let store = Store::open(&config.database.path)?;
    let listener = eddies::net::TcpListener::bind(&*config.addr).await?;
    // The port is the kernel's choice where ADDR asks for port 0, so the listener is asked and not the configuration.
    println!("listening on http://{} with {workers} workers", listener.local_addr()?);
    let Database { path, is_temporary } = &config.database;
    let lifetime = if *is_temporary { "temporary: gone at the end, set DATABASE to keep it" } else { "kept" };
    println!("database: {} ({lifetime})", path.display());

    let served = eddies::hyper::serve(listener, TowerService::new(router(store, config)))
        .max_connections(CONNECTIONS_MAX)
        .header_read_timeout(config.header_time)
        .with_graceful_shutdown(stop, config.shutdown_time)
        .into_future()
        .await?;
    println!("stopped: {} connections served, {} of them aborted at the deadline", served.connections, served.aborted);
    Ok(())
}

/// Ready at the first Ctrl-C or SIGTERM. It listens from this call on, not from the first poll.
fn stop_signal() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        futures_util::future::select(pin!(interrupt.recv()), pin!(terminate.recv())).await;
        println!("stopping: no new connections, finishing what is in flight");
    })
}

/// All routes, and what holds for all of them.
fn router(store: Store, config: &Config) -> Router {
    let app = App { store, started: Instant::now() };
    Router::new()
        .route("/", get(page))
        .route("/health", get(health))
        .route("/notes", get(list_notes).post(create_note))
        .route("/notes/{id}", get(get_note))
        .route("/primes", get(primes))
        .route("/ticks", get(ticks))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(config.request_time, within_limits))
        .with_state(app)
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    store: Store,
    started: Instant,
}

/// Around every handler: a request's body has to arrive whole, in time and within bounds, before its handler runs; and the handler has to
/// answer in time. One that does not is dropped where it waits, which ends what it was doing.
async fn within_limits(State(limit): State<Duration>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let body = match eddies::timeout(limit, to_bytes(body, BODY_MAX)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) if is_too_large(&error) => {
            let message = format!("a body has at most {BODY_MAX} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Ok(Err(error)) => return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("reading the body: {error}"))),
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {limit:?}");
            return Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, message));
        }
    };
    let answer = next.run(Request::from_parts(head, Body::from(body)));
    eddies::timeout(limit, answer).await.map_err(|_elapsed| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, format!("there was no answer within {limit:?}"))
    })
}

fn is_too_large(error: &axum::Error) -> bool {
    error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

async fn unknown_route(uri: Uri) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} does not take {method}", uri.path()))
}

/// `GET /`: a page that uses all the rest.
async fn page() -> Html<&'static str> {
    Html(include_str!("web_service/page.html"))
}

/// `GET /health`: for load balancers. Touches nothing that could be slow.
async fn health(State(app): State<App>) -> Json<Value> {
    Json(json!({ "status": "ok", "uptime_s": app.started.elapsed().as_secs() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNote {
    text: String,
}

/// `POST /notes` with `{"text": "..."}`: 201 and the note.
async fn create_note(
    State(app): State<App>,
    body: Result<Json<NewNote>, JsonRejection>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(NewNote { text }) = body?;
    if text.trim().is_empty() || text.chars().count() > TEXT_MAX {
        let message = format!("`text` has 1 to {TEXT_MAX} characters, and not only spaces");
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, message));
    }
    let note = app.store.create(text).await?;
    let location = format!("/notes/{}", note.id());
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(note)))
}

/// `GET /notes/{id}`: the note, or 404.
async fn get_note(State(app): State<App>, id: Result<Path<i64>, PathRejection>) -> Result<Json<Note>, ApiError> {
    let Path(id) = id?;
    match app.store.get(id).await? {
        Some(note) => Ok(Json(note)),
        None => Err(ApiError::new(StatusCode::NOT_FOUND, format!("there is no note {id}"))),
    }
}

#[derive(Deserialize)]
struct PageQuery {
    #[serde(default)]
    after: i64,
    #[serde(default = "default_limit")]
    limit: u32,
}

fn default_limit() -> u32 {
    20
}

/// `GET /notes?after=ID&limit=N`: a page of the list, and in `next` the `after` of the page behind it, if there may be one.
async fn list_notes(
    State(app): State<App>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    let Query(PageQuery { after, limit }) = query?;
    within("limit", limit, 1, PAGE_MAX)?;
    let notes = app.store.list(after, limit).await?;
    let next = notes.last().map(Note::id).filter(|_| notes.len() == limit as usize);
    Ok(Json(json!({ "notes": notes, "next": next })))
}

#[derive(Deserialize)]
struct PrimesQuery {
    below: u32,
}

/// `GET /primes?below=N`: counts primes. A second of work for large N, in pieces of well under a millisecond, between which the loop
/// serves everybody else.
async fn primes(query: Result<Query<PrimesQuery>, QueryRejection>) -> Result<Json<Value>, ApiError> {
    let Query(PrimesQuery { below }) = query?;
    within("below", below, 0, PRIMES_MAX)?;
    let begin = Instant::now();
    let count = count_primes(below).await;
    Ok(Json(json!({ "below": below, "count": count, "took_ms": begin.elapsed().as_secs_f64() * 1e3 })))
}

/// Piece by piece, so that the longest poll is that of one piece.
async fn count_primes(below: u32) -> usize {
    const PIECE: usize = 32 * 1024;
    let below = below as usize;
    let is_divisible = |candidate: usize, divisors: &[usize]| {
        divisors
            .iter()
            .take_while(|&divisor| divisor * divisor <= candidate)
            .any(|&divisor| candidate.is_multiple_of(divisor))
    };
    let mut divisors: Vec<usize> = Vec::new();
    for candidate in (2..).take_while(|candidate| candidate * candidate < below) {
        if !is_divisible(candidate, &divisors) {
            divisors.push(candidate);
        }
    }
    let mut count = 0;
    for begin in (0..below).step_by(PIECE) {
        count += count_primes_in(begin..below.min(begin + PIECE), &divisors);
        // To the back of the queue: whoever else is ready has a turn first.
        eddies::yield_now().await;
    }
    count
}

/// The sieve of Eratosthenes, for one piece. `divisors` are the primes up to the root of its end.
fn count_primes_in(piece: Range<usize>, divisors: &[usize]) -> usize {
    let mut is_prime = vec![true; piece.len()];
    for &divisor in divisors.iter().take_while(|&divisor| divisor * divisor < piece.end) {
        let first = (divisor * divisor).max(piece.start.next_multiple_of(divisor));
        for multiple in (first..piece.end).step_by(divisor) {
            is_prime[multiple - piece.start] = false;
        }
    }
    piece.clone().filter(|number| *number >= 2 && is_prime[number - piece.start]).count()
}

#[derive(Deserialize)]
struct TicksQuery {
    #[serde(default = "default_count")]
    count: u32,
    #[serde(default = "default_every_ms")]
    every_ms: u64,
}

fn default_count() -> u32 {
    10
}

fn default_every_ms() -> u64 {
    1_000
}

/// `GET /ticks?count=N&every_ms=M`: a line of JSON every M milliseconds, N times. The body is a stream that is polled as the client reads; a client
/// that goes away drops it.
async fn ticks(query: Result<Query<TicksQuery>, QueryRejection>) -> Result<impl IntoResponse, ApiError> {
    let Query(TicksQuery { count, every_ms }) = query?;
    within("count", count, 1, TICKS_MAX.0)?;
    within("every_ms", every_ms, 1, TICKS_MAX.1)?;
    let begin = Instant::now();
    let interval = eddies::interval(Duration::from_millis(every_ms));
    let lines = futures_util::stream::unfold((interval, 1), move |(mut interval, tick)| async move {
        if tick > count {
            return None;
        }
        interval.tick().await;
        let line = json!({ "tick": tick, "of": count, "at_ms": begin.elapsed().as_secs_f64() * 1e3 });
        Some((Ok::<_, Infallible>(format!("{line}\n")), (interval, tick + 1)))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)))
}

/// 400 for a parameter out of its bounds.
fn within<T: PartialOrd + std::fmt::Display>(name: &str, value: T, min: T, max: T) -> Result<(), ApiError> {
    if value < min || value > max {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, format!("`{name}` is from {min} to {max}, not {value}")));
    }
    Ok(())
}

/// The settings, each an environment variable.
struct Config {
    /// ADDR: where to listen; port 0 takes a free one.
    addr: String,
    /// DATABASE: the file of the notes. Without it a temporary one.
    database: Database,
    /// DATABASE_THREADS: most jobs of the database at a time.
    database_threads: usize,
    /// DATABASE_QUEUE: most jobs that wait for one of these threads; requests that need one more are refused.
    database_queue: usize,
    /// HEADER_MS: how long a client may take for the head of a request, and leave its connection idle.
    header_time: Duration,
    /// REQUEST_MS: how long a request's body may take, and then how long its answer.
    request_time: Duration,
    /// SHUTDOWN_MS: how long requests in flight have after the signal.
    shutdown_time: Duration,
}

impl Config {
    fn from_env() -> Result<Config, String> {
        Ok(Config {
            addr: setting("ADDR", "127.0.0.1:8080".to_owned())?,
            database: Database::from_env(),
            database_threads: setting("DATABASE_THREADS", 8)?,
            database_queue: setting("DATABASE_QUEUE", 1_024)?,
            header_time: Duration::from_millis(setting("HEADER_MS", 30_000)?),
            request_time: Duration::from_millis(setting("REQUEST_MS", 10_000)?),
            shutdown_time: Duration::from_millis(setting("SHUTDOWN_MS", 10_000)?),
        })
    }
}

fn setting<T: FromStr>(name: &str, default: T) -> Result<T, String> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| format!("{name} is {text:?}, which makes no sense there")),
        Err(std::env::VarError::NotPresent) => Ok(default),
        Err(error) => Err(format!("{name}: {error}")),
    }
}

/// Where the notes are.
struct Database {
    path: PathBuf,
    is_temporary: bool,
}

impl Database {
    fn from_env() -> Database {
        let temporary = || std::env::temp_dir().join(format!("eddies-web-service-{}.db", std::process::id()));
        let named = std::env::var_os("DATABASE").map(PathBuf::from);
        Database { is_temporary: named.is_none(), path: named.unwrap_or_else(temporary) }
    }
}

/// At the end, also at one by an error or a panic.
impl Drop for Database {
    fn drop(&mut self) {
        // The file, and the two that SQLite keeps beside it. Any of them may be gone already.
        for suffix in ["", "-wal", "-shm"].into_iter().filter(|_| self.is_temporary) {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            let _ = std::fs::remove_file(name);
        }
    }
}
