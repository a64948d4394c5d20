//! A small seedable generator: which victim a thief looks at first.

use std::cell::Cell;

/// Marsaglia's xorshift with 32 bits of state ("Xorshift RNGs", 2003): fast, and good enough to spread thieves over victims.
#[derive(Debug)]
pub(crate) struct Rand(Cell<u32>);

impl Rand {
    /// The same seed gives the same sequence. Zero is as good as any other.
    pub(crate) fn new(seed: u32) -> Self {
        Rand(Cell::new(seed.wrapping_mul(0x9e37_79b9) | 1))
    }

    /// A number below `bound`, which is not zero.
    #[inline]
    pub(crate) fn below(&self, bound: usize) -> usize {
        let mut word = self.0.get();
        word ^= word << 13;
        word ^= word >> 17;
        word ^= word << 5;
        self.0.set(word);
        ((u64::from(word) * bound as u64) >> 32) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Rand;

    #[test]
    fn every_victim_gets_its_turn() {
        let rand = Rand::new(0);
        let mut seen = [0_u32; 5];
        for _ in 0..1000 {
            seen[rand.below(5)] += 1;
        }
        assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
    }
}
