//! The peers that run only where they are asked for by name, and the processes that measure one peer alone.

use std::io;

use super::contest::{Contestant, LIMIT};
use super::eddies_peer::Eddies;
use super::limit::Limit;
#[cfg(feature = "monoio")]
use super::monoio_peer::Monoio;
use super::options::{self, Options};
use super::peer::{Peer, Spawn};
use super::row::Row;
use super::smol_peer::Smol;
use super::tokio_islands_peer::TokioIslands;
use super::tokio_peer::{Tokio, TokioTuned};
use super::workload::counting::Counting;
use super::workload::idle;

/// What `--peers` takes.
pub(crate) const NAMES: &[&str] = &[
    Eddies::NAME,
    Tokio::NAME,
    Smol::NAME,
    LIMIT,
    TokioIslands::NAME,
    TokioTuned::NAME,
    #[cfg(feature = "monoio")]
    Monoio::NAME,
    options::ALL,
];

/// Starts those that were asked for. In front of the limit.
///
/// # Errors
///
/// The system's.
pub(crate) fn add_more<R: Row>(contestants: &mut Vec<Contestant<R>>, options: &Options) -> io::Result<()> {
    let mut more = Vec::new();
    if options.wants_also(TokioIslands::NAME) {
        more.push(Contestant::peer::<TokioIslands>(options.workers)?);
    }
    if options.wants_also(TokioTuned::NAME) {
        more.push(Contestant::peer::<TokioTuned>(options.workers)?);
    }
    #[cfg(feature = "monoio")]
    if options.wants_also(Monoio::NAME) {
        more.push(Contestant::peer::<Monoio>(options.workers)?);
    }
    let place = contestants.iter().position(|each| each.name == LIMIT).unwrap_or(contestants.len());
    contestants.splice(place..place, more);
    Ok(())
}

/// The `main` of a process that measures waiting tasks; `arguments` are those after [`idle::ARGUMENT`].
pub(crate) fn measure_idle_tasks(arguments: &[String]) -> io::Result<()> {
    Counting::begin();
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PEER WORKERS TASKS");
    let [peer, workers, tasks] = arguments else { return Err(invalid()) };
    let workers = workers.parse().map_err(|_| invalid())?;
    let tasks = tasks.parse().map_err(|_| invalid())?;
    let report = match peer.as_str() {
        Eddies::NAME => idle::run(Eddies::start(workers)?, tasks, 1),
        Tokio::NAME => idle::run(Tokio::start(workers)?, tasks, 1),
        Smol::NAME => idle::run(Smol::start(workers)?, tasks, 1),
        TokioIslands::NAME => idle::run(TokioIslands::start(workers)?, tasks, 1),
        TokioTuned::NAME => idle::run(TokioTuned::start(workers)?, tasks, 1),
        #[cfg(feature = "monoio")]
        Monoio::NAME => idle::run(Monoio::start(workers)?, tasks, 1),
        LIMIT => idle::run(Limit, tasks, 1),
        _ => return Err(invalid()),
    };
    report.map_err(io::Error::other)?.print();
    Ok(())
}
