//! Keys and how often each was added, by sorting.
//!
//! A table that is hashed into would miss the processor's caches at every step, and
//! its time be at the mercy of who chooses the keys. Keys are collected instead, as
//! many as stay in a cache, sorted digit by digit, which takes the same time
//! whatever they are, and merged into what is there in one walk.

/// What can be sorted digit by digit.
pub(super) trait Key: Copy + Ord {
    /// How many digits it has.
    const DIGITS: usize;

    /// One of them, the lowest first.
    fn digit(self, index: usize) -> u8;

    /// Digits that are zero where they agree in both.
    fn differences(self, other: Self) -> Self;

    /// What is in either.
    fn union(self, other: Self) -> Self;
}

impl Key for u64 {
    const DIGITS: usize = 8;

    fn digit(self, index: usize) -> u8 {
        (self >> (8 * index)) as u8
    }

    fn differences(self, other: Self) -> Self {
        self ^ other
    }

    fn union(self, other: Self) -> Self {
        self | other
    }
}

impl Key for [u32; 5] {
    const DIGITS: usize = 20;

    fn digit(self, index: usize) -> u8 {
        (self[4 - index / 4] >> (8 * (index % 4))) as u8
    }

    fn differences(self, other: Self) -> Self {
        std::array::from_fn(|word| self[word] ^ other[word])
    }

    fn union(self, other: Self) -> Self {
        std::array::from_fn(|word| self[word] | other[word])
    }
}

/// Keys and how often each was added.
#[derive(Debug)]
pub(super) struct Runs<K> {
    /// In order, each key once.
    counted: Vec<(K, u32)>,
    /// As they came.
    pending: Vec<K>,
    /// Room to sort them.
    spare: Vec<K>,
    /// How many keys there were when there was no memory for more.
    full: Option<usize>,
}

// Derived, it would ask for K: Default.
impl<K> Default for Runs<K> {
    fn default() -> Self {
        Self { counted: Vec::new(), pending: Vec::new(), spare: Vec::new(), full: None }
    }
}

/// How many keys are sorted at a time: few enough to stay in a processor's
/// cache, enough to make the merging cheap.
const PENDING: usize = 32 * 1024;

impl<K: Key> Runs<K> {
    /// Adds a key.
    pub(super) fn add(&mut self, key: K) {
        if self.pending.len() == self.pending.capacity() && !self.grow() {
            return;
        }
        self.pending.push(key);
        // As many as are there: merging costs a walk over all of it, so that the
        // walks together stay linear in what was added.
        if self.pending.len() >= PENDING.max(self.counted.len()) {
            self.merge();
        }
    }

    /// Makes room for what is pending; gives whether there is.
    fn grow(&mut self) -> bool {
        // Twice as much each time, as a list that grows by itself.
        let more = self.pending.capacity().max(64);
        if self.full.is_none() && self.pending.try_reserve(more).is_err() {
            self.give_up();
        }
        self.full.is_none()
    }

    /// Counts no more, and gives the memory back: there is an answer to be given.
    fn give_up(&mut self) {
        let n = self.counted.len();
        *self = Self { full: Some(self.full.unwrap_or(n)), ..Self::default() };
    }

    /// Counts what is pending, and gives back the room for that.
    ///
    /// # Errors
    ///
    /// With how many keys there were when there was no memory for more.
    pub(super) fn fits(&mut self) -> Result<(), usize> {
        self.merge();
        (self.pending, self.spare) = (Vec::new(), Vec::new());
        self.full.map_or(Ok(()), Err)
    }

    /// How many keys have been counted, but for those that are pending.
    pub(super) fn len(&self) -> usize {
        self.counted.len()
    }

    /// Adds what was counted elsewhere.
    pub(super) fn add_all(&mut self, mut other: Self) {
        other.merge();
        self.merge();
        if self.counted.is_empty() || other.full.is_some() {
            // There is one target, mostly: its counts need not be there twice.
            let full = self.full.or(other.full);
            *self = Self { full, ..other };
            return;
        }
        let n = other.counted.len();
        // Sorting takes half of it again.
        let half = Vec::<(K, u32)>::new().try_reserve_exact((self.counted.len() + n) / 2);
        if half.is_err() || self.counted.try_reserve(n).is_err() {
            return self.give_up();
        }
        self.counted.append(&mut other.counted);
        // Two sorted runs are merged in one walk.
        self.counted.sort_by_key(|&(key, _)| key);
        self.counted.dedup_by(|next, first| {
            let same = next.0 == first.0;
            if same {
                first.1 = first.1.saturating_add(next.1);
            }
            same
        });
    }

    /// Takes out the keys that are not wanted.
    pub(super) fn retain(&mut self, wanted: impl Fn(K) -> bool) {
        self.merge();
        self.counted.retain(|&(key, _)| wanted(key));
    }

    /// How often any key was added.
    pub(super) fn sum(&self) -> u64 {
        let counted: u64 = self.counted.iter().map(|&(_, n)| u64::from(n)).sum();
        counted + self.pending.len() as u64
    }

    /// Each key and how often it was added, in their order.
    pub(super) fn in_order(mut self) -> Vec<(K, u32)> {
        self.merge();
        self.counted
    }

    /// Sorts what is pending and adds it to what is counted.
    fn merge(&mut self) {
        sort(&mut self.pending, &mut self.spare);
        let Some(&filler) = self.pending.first() else {
            return;
        };
        let n_runs = self.pending.chunk_by(|a, b| a == b).count();
        let (mut from, mut to) = (self.counted.len(), self.counted.len() + n_runs);
        if self.counted.try_reserve(n_runs).is_err() {
            return self.give_up();
        }
        self.counted.resize(to, (filler, 0));
        // From the back, so that the old entries move up in the same memory.
        for run in self.pending.chunk_by(|a, b| a == b).rev() {
            let key = run[0];
            while from > 0 && self.counted[from - 1].0 > key {
                (from, to) = (from - 1, to - 1);
                self.counted[to] = self.counted[from];
            }
            let mut n = u32::try_from(run.len()).unwrap_or(u32::MAX);
            if from > 0 && self.counted[from - 1].0 == key {
                from -= 1;
                n = n.saturating_add(self.counted[from].1);
            }
            to -= 1;
            self.counted[to] = (key, n);
        }
        // Keys that were there already left a gap.
        self.counted.drain(from..to);
        self.pending.clear();
    }
}

/// How few keys are sorted sooner by comparing them.
const FEW: usize = 512;

/// Sorts `keys` from their lowest digit to their highest, of which most are the
/// same in all of them and left out: a server has few ports.
fn sort<K: Key>(keys: &mut Vec<K>, spare: &mut Vec<K>) {
    let Some(&first) = keys.first().filter(|_| keys.len() >= FEW) else {
        keys.sort_unstable();
        return;
    };
    // Without room for it, it takes longer.
    if spare.try_reserve(keys.len().saturating_sub(spare.len())).is_err() {
        keys.sort_unstable();
        return;
    }
    let differences =
        keys.iter().fold(first.differences(first), |all, key| all.union(key.differences(first)));
    spare.resize(keys.len(), first);
    for index in (0..K::DIGITS).filter(|&index| differences.digit(index) != 0) {
        let mut places = [0_usize; 256];
        for key in &*keys {
            places[usize::from(key.digit(index))] += 1;
        }
        let mut begin = 0;
        for place in &mut places {
            begin += std::mem::replace(place, begin);
        }
        for key in &*keys {
            let place = &mut places[usize::from(key.digit(index))];
            spare[*place] = *key;
            *place += 1;
        }
        std::mem::swap(keys, spare);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn of(keys: &[u64]) -> Runs<u64> {
        let mut runs = Runs::default();
        keys.iter().for_each(|&key| runs.add(key));
        runs
    }

    proptest! {
        #[test]
        fn two_tallies_add_up(
            one in prop::collection::vec(0..50u64, 0..200),
            two in prop::collection::vec(0..50u64, 0..200),
        ) {
            let mut sum = of(&one);
            sum.add_all(of(&two));
            let both = of(&[&one[..], &two].concat());
            prop_assert_eq!(sum.sum(), both.sum());
            prop_assert_eq!(sum.in_order(), both.in_order());
        }

        #[test]
        fn it_counts_as_a_map_does(keys in prop::collection::vec(0..50u64, 0..2000)) {
            let (mut runs, mut map) = (Runs::default(), BTreeMap::new());
            for chunk in keys.chunks(97) {
                for &key in chunk {
                    runs.add(key);
                    *map.entry(key).or_insert(0) += 1;
                }
                runs.merge();
            }
            prop_assert_eq!(runs.in_order(), map.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn digits_sort_as_comparing_does(
            short in prop::collection::vec(any::<u64>(), 0..3 * FEW),
            mask in any::<u64>(),
            long in prop::collection::vec(any::<[u32; 5]>(), 0..3 * FEW),
            words in any::<[bool; 5]>(),
        ) {
            let short: Vec<_> = short.into_iter().map(|key| key & mask).collect();
            check(short)?;
            let long = long.into_iter().map(|mut key| {
                key.iter_mut().zip(words).for_each(|(word, is_one)| *word *= u32::from(is_one));
                key
            });
            check(long.collect())?;
        }
    }

    fn check<K: Key + std::fmt::Debug>(keys: Vec<K>) -> Result<(), TestCaseError> {
        let (mut by_digits, mut by_comparing) = (keys.clone(), keys);
        sort(&mut by_digits, &mut Vec::new());
        by_comparing.sort_unstable();
        prop_assert_eq!(by_digits, by_comparing);
        Ok(())
    }
}
