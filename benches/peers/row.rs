//! What a row of a benchmark is: a name, its metrics, and how it is measured.

use super::peer::Peer;

/// Which direction of a metric is the good one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One figure that a workload reports per run.
pub(crate) struct Metric {
    pub(crate) label: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
}

/// What is said about a workload in the table.
pub(crate) struct Description {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) metrics: &'static [Metric],
}

/// One figure per metric, or why the run could not be verified.
pub(crate) type Outcome = Result<Vec<f64>, String>;

/// Something that can be measured on every contestant.
pub(crate) trait Row: Copy + 'static {
    /// How often and how long it repeats its operation in one run.
    type Scale: 'static;

    fn describe(self) -> Description;

    fn name_and_about(self) -> (&'static str, &'static str) {
        let Description { name, about, .. } = self.describe();
        (name, about)
    }

    /// Measures a whole runtime.
    fn run_peer<P: Peer>(self, peer: P, scale: &Self::Scale) -> Outcome;

    /// Measures the hand-written limit, where there is one.
    fn run_limit(self, scale: &Self::Scale) -> Option<Outcome>;
}
