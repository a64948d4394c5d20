//! The parts of the benchmarks, in one list for the programs that share them. `peers` uses all but what the notes below say, which is how a part that nobody
//! uses any more is found; the others leave out more.

pub(crate) mod chart;
#[allow(dead_code, reason = "the benchmark `mixed` uses the rest")]
pub(crate) mod contest;
pub(crate) mod echo;
pub(crate) mod echo_client;
pub(crate) mod eddies_peer;
pub(crate) mod futures_io_echo;
pub(crate) mod grid;
#[allow(dead_code, reason = "the benchmark `mixed` uses the rest")]
pub(crate) mod http;
pub(crate) mod limit;
pub(crate) mod lineup;
pub(crate) mod machine;
pub(crate) mod messages;
#[cfg(feature = "monoio")]
pub(crate) mod monoio_peer;
#[allow(dead_code, reason = "the benchmarks `scaling`, `shared_writes` and `instructions` use the rest")]
pub(crate) mod options;
pub(crate) mod own;
#[allow(dead_code, reason = "the benchmark `mixed` uses the rest")]
pub(crate) mod peer;
pub(crate) mod report;
pub(crate) mod row;
pub(crate) mod smol_peer;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod tasks;
pub(crate) mod tokio_islands_peer;
#[allow(dead_code, reason = "the benchmark `mixed` uses the rest")]
pub(crate) mod tokio_peer;
pub(crate) mod waiting;
pub(crate) mod workload;
