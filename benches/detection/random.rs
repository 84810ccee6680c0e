//! A random number generator with the same sequence in every run.

/// A generator of pseudo-random numbers: `SplitMix64`, by Steele, Lea and Flood
/// (2014). Every seed is equally good.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number above 0 and below 1.
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Returns true with this probability.
    pub fn with_probability(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a uniformly distributed integer from `min` to `max`.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + (self.unit() * (max - min + 1) as f64) as u64
    }

    /// Returns a standard normal variate, by Box and Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Returns the number of `n` independent events of this probability that occur.
    pub fn binomial(&mut self, n: u64, probability: f64) -> u64 {
        (0..n).filter(|_| self.with_probability(probability)).count() as u64
    }
}
