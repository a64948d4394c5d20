//! The contestants and the order in which they run.
//!
//! Round r runs every workload once on every contestant, and begins with contestant r (modulo their number), so that a slow minute of
//! the machine, or a neighbour's after-effects, meet all of them alike. The first round warms up and is thrown away. All runtimes are
//! built at the start and stay; those whose turn it is not sleep in the kernel, which `main` checks before it begins.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::eddies_peer::Eddies;
use super::options::Options;
use super::peer::Peer;
use super::row::{Outcome, Row};
use super::smol_peer::Smol;
use super::tokio_peer::{Tokio, TokioBlocking, TokioInPlace};

/// A measurement that takes longer than this hangs: the process ends and names it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who runs workloads.
pub(crate) struct Contestant<R: Row> {
    pub(crate) name: &'static str,
    /// `None` where the workload makes no sense for this one.
    run: Box<Run<R>>,
}

type Run<R> = dyn Fn(R, &<R as Row>::Scale) -> Option<Outcome>;

impl<R: Row> Contestant<R> {
    /// Starts the runtime `P`.
    pub(crate) fn peer<P: Peer>(workers: usize) -> io::Result<Self> {
        let peer = P::start(workers)?;
        Ok(Contestant {
            name: P::NAME,
            run: Box::new(move |row: R, scale| {
                let lacks = P::LACKS.contains(&row.describe().name);
                (!lacks).then(|| row.run_peer(peer, scale))
            }),
        })
    }

    /// Somebody without futures, who brings rows of its own.
    pub(crate) fn with(name: &'static str, run: fn(R, &R::Scale) -> Option<Outcome>) -> Self {
        Contestant { name, run: Box::new(run) }
    }

    /// The hand-written code.
    pub(crate) fn limit() -> Self {
        Contestant { name: LIMIT, run: Box::new(R::run_limit) }
    }
}

/// The name of the limit in the table, and of the peer that all are compared with.
pub(crate) const LIMIT: &str = "limit";
pub(crate) const REFERENCE: &str = "tokio";

/// What one contestant did in one workload over all rounds.
#[derive(Default)]
pub(crate) struct Entry {
    /// Per metric, the figures of the rounds. Empty where the contestant does not take part.
    pub(crate) samples: Vec<Vec<f64>>,
    /// Why a round could not be verified; then there are no ratios.
    pub(crate) failure: Option<String>,
}

impl Entry {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Ok(figures) => {
                self.samples.resize(figures.len(), Vec::new());
                self.samples.iter_mut().zip(figures).for_each(|(samples, figure)| samples.push(figure));
            }
            Err(why) => self.failure = Some(why),
        }
    }
}

/// Runs all rounds. The result has a row per workload and in it an entry per contestant.
pub(crate) fn run<R: Row>(
    contestants: &[Contestant<R>],
    workloads: &[R],
    scale: &R::Scale,
    rounds: usize,
) -> Vec<Vec<Entry>> {
    let watchdog = Watchdog::start();
    let start = Instant::now();
    let mut entries: Vec<Vec<Entry>> =
        workloads.iter().map(|_| contestants.iter().map(|_| Entry::default()).collect()).collect();
    for round in 0..=rounds {
        for (workload, row) in workloads.iter().zip(&mut entries) {
            let name = workload.describe().name;
            let (warm_up, seconds) = (if round == 0 { " (warm-up)" } else { "" }, start.elapsed().as_secs_f64());
            eprintln!("{seconds:6.1} s, round {round} of {rounds}{warm_up}: {name}");
            for turn in 0..contestants.len() {
                let index = (round + turn) % contestants.len();
                let contestant = &contestants[index];
                watchdog.watch(format!("{name} on {}", contestant.name));
                let Some(outcome) = (contestant.run)(*workload, scale) else { continue };
                if round > 0 || outcome.is_err() {
                    row[index].add(outcome);
                }
            }
        }
    }
    eprintln!("{:6.1} s in all", start.elapsed().as_secs_f64());
    entries
}

/// Ends the process when a measurement does not end.
struct Watchdog {
    /// What begins now. Closed at the end.
    begins: mpsc::Sender<String>,
}

impl Watchdog {
    fn start() -> Watchdog {
        let (begins, news) = mpsc::channel::<String>();
        thread::spawn(move || {
            let mut current = String::new();
            loop {
                match news.recv_timeout(PATIENCE) {
                    Ok(next) => current = next,
                    Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        eprintln!("{current} has not ended after {PATIENCE:?}: giving up");
                        std::process::exit(2);
                    }
                }
            }
        });
        Watchdog { begins }
    }

    fn watch(&self, what: String) {
        self.begins.send(what).expect("the watchdog lives as long as its sender");
    }
}

fn start<R: Row, P: Peer>(options: &Options) -> Option<io::Result<Contestant<R>>> {
    options.wants(P::NAME).then(|| Contestant::peer::<P>(options.workers))
}

/// tokio with what it advises for long polls, where that was asked for. In front of the limit.
pub(crate) fn add_advised<R: Row>(contestants: &mut Vec<Contestant<R>>, options: &Options) -> io::Result<()> {
    let advised = [start::<R, TokioInPlace>(options), start::<R, TokioBlocking>(options)];
    let place = contestants.iter().position(|each| each.name == LIMIT).unwrap_or(contestants.len());
    for (offset, contestant) in advised.into_iter().flatten().enumerate() {
        contestants.insert(place + offset, contestant?);
    }
    Ok(())
}

/// Starts the contestants that were asked for. A new peer is one line here.
pub(crate) fn contestants<R: Row>(options: &Options) -> io::Result<Vec<Contestant<R>>> {
    let peers = [start::<R, Eddies>(options), start::<R, Tokio>(options), start::<R, Smol>(options)];
    let mut contestants = peers.into_iter().flatten().collect::<io::Result<Vec<_>>>()?;
    if options.wants(LIMIT) {
        contestants.push(Contestant::limit());
    }
    Ok(contestants)
}
