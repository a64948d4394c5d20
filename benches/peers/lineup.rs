//! The peers that run only where they are asked for by name, and the processes that measure one peer alone.

use std::io;

use super::contest::{Contestant, LIMIT};
use super::eddies_peer::Eddies;
use super::limit::Limit;
use super::options::Options;
use super::peer::{Peer, Spawn};
use super::row::Row;
use super::smol_peer::Smol;
use super::tokio_peer::Tokio;
use super::workload::idle;

/// Starts those that were asked for. In front of the limit.
pub(crate) fn add_more<R: Row>(contestants: &mut Vec<Contestant<R>>, options: &Options) -> io::Result<()> {
    let _ = (contestants, options);
    Ok(())
}

/// The `main` of a process that measures waiting tasks; `arguments` are those after [`idle::ARGUMENT`].
pub(crate) fn measure_idle_tasks(arguments: &[String]) -> io::Result<()> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected: PEER WORKERS TASKS");
    let [peer, workers, tasks] = arguments else { return Err(invalid()) };
    let workers = workers.parse().map_err(|_| invalid())?;
    let tasks = tasks.parse().map_err(|_| invalid())?;
    let report = match peer.as_str() {
        Eddies::NAME => idle::run(Eddies::start(workers)?, tasks),
        Tokio::NAME => idle::run(Tokio::start(workers)?, tasks),
        Smol::NAME => idle::run(Smol::start(workers)?, tasks),
        LIMIT => idle::run(Limit, tasks),
        _ => return Err(invalid()),
    };
    report.map_err(io::Error::other)?.print();
    Ok(())
}
