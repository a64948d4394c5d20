//! How much memory this process has: what the kernel says, and what was asked of the allocator.

use std::fs;
use std::io;

use super::counting::Counting;

/// Bytes.
#[derive(Clone, Copy)]
pub(crate) struct Footprint {
    /// Resident, as the kernel counts the pages.
    pub(crate) rss: i64,
    /// Asked of the allocator and not given back.
    pub(crate) heap: i64,
}

impl Footprint {
    /// # Errors
    ///
    /// The system does not tell.
    pub(crate) fn now() -> io::Result<Footprint> {
        // Not `statm`: its counters are kept per CPU and summed up late.
        let text = fs::read_to_string("/proc/self/smaps_rollup")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
        let rss_kb: i64 = number.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Footprint { rss: rss_kb << 10, heap: Counting::bytes() })
    }
}
