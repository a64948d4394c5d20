//! Order statistics over the rounds.

/// The value at `fraction` of an ascending, non-empty slice, between neighbours by linear interpolation.
pub(crate) fn percentile(sorted: &[f64], fraction: f64) -> f64 {
    let position = fraction * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// What is printed of one metric of one contestant.
#[derive(Clone, Copy)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) lower_quartile: f64,
    pub(crate) median: f64,
    pub(crate) upper_quartile: f64,
    pub(crate) max: f64,
}

impl Summary {
    /// `None` without samples.
    pub(crate) fn of(samples: &[f64]) -> Option<Summary> {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        Some(Summary {
            min,
            lower_quartile: percentile(&sorted, 0.25),
            median: percentile(&sorted, 0.5),
            upper_quartile: percentile(&sorted, 0.75),
            max,
        })
    }
}
