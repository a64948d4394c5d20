//! Looking for the end of a line, or for the first of several separators, in a buffer that grows. Pure: no I/O, no waiting.
//!
//! - X1: the answer does not depend on how the bytes were cut into pieces: the separator that *ends* first wins, and of two that end at the
//!   same byte the shorter.
//! - X2: a byte is looked at again only as part of a separator that may span two pieces, so a search over n bytes in k pieces costs
//!   O(n + k * longest separator) per separator.

use super::stream_errors::LimitOverrun;

/// Where a separator was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Its first byte.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
}

/// How far a search has come. Lives as long as the buffer only grows at its end.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// No separator begins before this.
    offset: usize,
}

impl Search {
    /// Looks on in `buffer`, of which only the end is new. `None`: more bytes are needed. No separator may be empty.
    pub(super) fn advance<S: AsRef<[u8]>>(
        &mut self,
        buffer: &[u8],
        separators: &[S],
        limit: usize,
    ) -> Result<Option<Found>, LimitOverrun> {
        let found = separators.iter().filter_map(|separator| find(buffer, separator.as_ref(), self.offset));
        if let Some(found) = found.min_by_key(|found| (found.end, found.end - found.start)) {
            if found.start > limit {
                return Err(LimitOverrun { consumed: found.start, limit, is_found: true });
            }
            return Ok(Some(found));
        }
        let longest = separators.iter().map(|separator| separator.as_ref().len()).max().unwrap_or(1);
        self.offset = (buffer.len() + 1).saturating_sub(longest);
        if self.offset > limit {
            return Err(LimitOverrun { consumed: self.offset, limit, is_found: false });
        }
        Ok(None)
    }
}

/// The first `separator` in `buffer` that begins at `from` or later.
fn find(buffer: &[u8], separator: &[u8], from: usize) -> Option<Found> {
    let (&first, rest) = separator.split_first()?;
    let mut at = from;
    loop {
        at += buffer.get(at..)?.iter().position(|&byte| byte == first)?;
        if buffer[at + 1..].starts_with(rest) {
            return Some(Found { start: at, end: at + separator.len() });
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Slow and plain: the shortest beginning of `bytes` that ends with a separator.
    fn naive(bytes: &[u8], separators: &[Vec<u8>]) -> Option<Found> {
        (1..=bytes.len()).find_map(|end| {
            let ending = separators.iter().filter(|separator| bytes[..end].ends_with(separator));
            ending.map(Vec::len).min().map(|len| Found { start: end - len, end })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// Few letters and short separators, so that separators overlap, contain each other and span pieces.
        #[test]
        fn a_search_in_pieces_finds_what_the_naive_one_finds(
            bytes in proptest::collection::vec(0_u8..3, 0..40),
            separators in proptest::collection::vec(proptest::collection::vec(0_u8..3, 1..5), 1..4),
            pieces in proptest::collection::vec(1_usize..6, 0..40),
            limit in 0_usize..30,
        ) {
            let (mut search, mut len, mut answer) = (Search::default(), 0, Ok(None));
            for piece in pieces.into_iter().chain([bytes.len()]) {
                len = (len + piece).min(bytes.len());
                answer = search.advance(&bytes[..len], &separators, limit);
                if answer != Ok(None) {
                    break;
                }
            }
            match naive(&bytes, &separators) {
                Some(found) if found.start <= limit => prop_assert_eq!(answer, Ok(Some(found))),
                Some(found) => {
                    let overrun = answer.expect_err("it is beyond the limit");
                    prop_assert!(overrun.consumed > limit && overrun.consumed <= found.start);
                    prop_assert_eq!(overrun.is_found, overrun.is_found && overrun.consumed == found.start);
                }
                None => {
                    let longest = separators.iter().map(Vec::len).max().unwrap();
                    let free = (bytes.len() + 1).saturating_sub(longest);
                    prop_assert_eq!(answer.is_err(), free > limit);
                }
            }
        }
    }

    #[test]
    fn of_two_that_end_together_the_shorter_wins() {
        let found = Search::default().advance(b"ab\r\n", &["\r\n", "\n"], 100);
        assert_eq!(found, Ok(Some(Found { start: 3, end: 4 })));
    }
}
