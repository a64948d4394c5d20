//! [`Store`]: the notes, in SQLite.
//!
//! SQLite's calls block: they read files, wait for locks, and compute. So each runs as a job on the runtime's pool of blocking threads, and the
//! loops go on serving meanwhile. The pool is bounded: when the database cannot keep up, [`Store::read`] and [`Store::write`] refuse at once
//! (503) in place of building up a queue that nobody has the patience for.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::StatusCode;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::Serialize;

use crate::error::ApiError;

/// One note, as it is stored and as it is sent.
#[derive(Debug, Serialize)]
pub(crate) struct Note {
    id: i64,
    text: String,
    /// Milliseconds since 1970.
    created_ms: i64,
}

impl Note {
    pub(crate) fn id(&self) -> i64 {
        self.id
    }
}

/// The database. Clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    /// SQLite has one writer at a time; waiting for a mutex is cheaper than for SQLite's lock.
    writer: Mutex<Connection>,
    /// Connections that no job reads with now. There are never more than there are blocking threads.
    readers: Mutex<Vec<Connection>>,
}

impl Store {
    /// Opens the database at `path`, or makes it. Blocks: meant for the start, before anything is served.
    pub(crate) fn open(path: &Path) -> rusqlite::Result<Store> {
        let writer = connect(path)?;
        writer.execute_batch(
            "PRAGMA journal_mode = WAL; -- readers and the writer do not wait for one another
             CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL, created_ms INTEGER NOT NULL);",
        )?;
        let shared = Shared { path: path.to_owned(), writer: Mutex::new(writer), readers: Mutex::new(Vec::new()) };
        Ok(Store { shared: Arc::new(shared) })
    }

    /// Adds a note.
    pub(crate) async fn create(&self, text: String) -> Result<Note, ApiError> {
        self.write(move |database| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let created_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
            database
                .prepare_cached("INSERT INTO notes (text, created_ms) VALUES (?1, ?2)")?
                .execute((&text, created_ms))?;
            Ok(Note { id: database.last_insert_rowid(), text, created_ms })
        })
        .await
    }

    /// The note `id`, if there is one.
    pub(crate) async fn get(&self, id: i64) -> Result<Option<Note>, ApiError> {
        self.read(move |database| {
            let mut query = database.prepare_cached("SELECT id, text, created_ms FROM notes WHERE id = ?1")?;
            query.query_row([id], note).optional()
        })
        .await
    }

    /// The first `limit` notes behind `after`. Paging by key costs the same for the thousandth page as for the first; OFFSET would not.
    pub(crate) async fn list(&self, after: i64, limit: u32) -> Result<Vec<Note>, ApiError> {
        self.read(move |database| {
            let mut query =
                database.prepare_cached("SELECT id, text, created_ms FROM notes WHERE id > ?1 ORDER BY id LIMIT ?2")?;
            query.query_map((after, limit), note)?.collect()
        })
        .await
    }

    /// Runs `job` with a connection that reads.
    async fn read<T, F>(&self, job: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = self.shared.clone();
        blocking(move || {
            let idle = lock(&shared.readers).pop();
            let database = idle.map_or_else(|| connect(&shared.path), Ok)?;
            let answer = job(&database);
            lock(&shared.readers).push(database);
            answer
        })
        .await
    }

    /// Runs `job` with the connection that writes.
    async fn write<T, F>(&self, job: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = self.shared.clone();
        blocking(move || job(&lock(&shared.writer))).await
    }
}

/// Runs `job` on the blocking pool, or answers 503 when its queue is full.
async fn blocking<T, F>(job: F) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnOnce() -> rusqlite::Result<T> + Send + 'static,
{
    let Ok(task) = eddies::try_spawn_blocking(job) else {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the database has more to do than it can"));
    };
    // A request that times out drops this future, and a job that has not begun is not worth beginning any more. (Dropping the task alone would
    // detach it; a job that has begun runs to its end in any case.)
    let _abort = AbortOnDrop(task.handle());
    match task.await {
        Ok(answer) => Ok(answer?),
        Err(error) => {
            eprintln!("database job: {error}");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "a database job failed; the log says how"))
        }
    }
}

struct AbortOnDrop(eddies::TaskHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let database = Connection::open(path)?;
    // Another process may write too. With WAL, syncing at checkpoints keeps the file whole through a crash; a power cut may cost the latest notes.
    database.busy_timeout(Duration::from_secs(5))?;
    database.pragma_update(None, "synchronous", "NORMAL")?;
    Ok(database)
}

fn note(row: &Row<'_>) -> rusqlite::Result<Note> {
    Ok(Note { id: row.get(0)?, text: row.get(1)?, created_ms: row.get(2)? })
}

/// A job that panicked under the lock left a connection that is as good as before: SQLite rolled back what it had not finished.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
