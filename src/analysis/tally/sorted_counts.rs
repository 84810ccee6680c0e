//! Counts of keys, by sorting.
//!
//! A hash table would miss the processor's caches at every step, and its time would
//! depend on keys that untrusted peers choose. Keys are instead collected in batches
//! that fit into a cache, sorted, and merged into the counts in one pass. The standard
//! library's sort takes O(n log n) comparisons, whatever the keys are.
//! docs/decisions/tally-sort.md compares it with a radix sort.

/// Distinct keys, and the number of times that each was added.
#[derive(Debug)]
pub(super) struct SortedCounts<K> {
    /// Sorted, each key once.
    counts: Vec<(K, u32)>,
    /// Unsorted keys that are not yet in `counts`.
    pending: Vec<K>,
    /// Unsorted keys that were added several times at once, and are not yet in `counts`.
    pending_counts: Vec<(K, u32)>,
    /// Number of keys when memory was exhausted; `None` if it was not.
    keys_when_exhausted: Option<usize>,
}

// A derived implementation would require K: Default.
impl<K> Default for SortedCounts<K> {
    fn default() -> Self {
        Self {
            counts: Vec::new(),
            pending: Vec::new(),
            pending_counts: Vec::new(),
            keys_when_exhausted: None,
        }
    }
}

/// Minimum number of keys that are sorted at a time: they fit into a processor's cache, and
/// are enough to make merging cheap.
const MIN_BATCH_KEYS: usize = 32 * 1024;

impl<K: Copy + Ord> SortedCounts<K> {
    /// Adds a key.
    pub(super) fn add(&mut self, key: K) {
        if self.pending.len() == self.pending.capacity() && !self.reserve_pending() {
            return;
        }
        self.pending.push(key);
        // Each merge passes over all counts. Waiting for at least as many pending keys as
        // `counts` has keeps the total time linear in the number of added keys.
        if self.pending.len() >= MIN_BATCH_KEYS.max(self.counts.len()) {
            self.merge_pending_keys();
        }
    }

    /// Adds a key `n` times. The run time does not depend on `n`.
    pub(super) fn add_many(&mut self, key: K, n: u32) {
        if self.keys_when_exhausted.is_some() {
            return;
        }
        if self.pending_counts.try_reserve(1).is_err() {
            return self.discard();
        }
        self.pending_counts.push((key, n));
        if self.pending_counts.len() >= MIN_BATCH_KEYS.max(self.counts.len()) {
            self.merge_pending_counts();
        }
    }

    /// Reserves memory for pending keys. Returns false if memory is exhausted.
    fn reserve_pending(&mut self) -> bool {
        // Doubles the capacity, like a growing `Vec`.
        let more = self.pending.capacity().max(64);
        if self.keys_when_exhausted.is_none() && self.pending.try_reserve(more).is_err() {
            self.discard();
        }
        self.keys_when_exhausted.is_none()
    }

    /// Stops counting and frees the memory, which is needed to report the error.
    fn discard(&mut self) {
        let n = self.counts.len();
        *self = Self {
            keys_when_exhausted: Some(self.keys_when_exhausted.unwrap_or(n)),
            ..Self::default()
        };
    }

    /// Merges the pending keys and frees their buffer.
    ///
    /// # Errors
    ///
    /// Returns an error with the number of keys if memory was exhausted.
    pub(super) fn check_memory(&mut self) -> Result<(), usize> {
        self.merge_pending();
        self.pending = Vec::new();
        self.keys_when_exhausted.map_or(Ok(()), Err)
    }

    /// Returns the number of distinct keys, without pending ones.
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Adds the counts of `other`.
    pub(super) fn merge(&mut self, mut other: Self) {
        other.merge_pending();
        self.merge_pending();
        if other.counts.is_empty() && other.keys_when_exhausted.is_none() {
            return;
        }
        if self.counts.is_empty() || other.keys_when_exhausted.is_some() {
            // With one target, which is the usual case, the counts are moved, not copied.
            let keys_when_exhausted = self.keys_when_exhausted.or(other.keys_when_exhausted);
            *self = Self { keys_when_exhausted, ..other };
            return;
        }
        self.merge_counts(&mut other.counts);
    }

    /// Adds counts that are sorted by key.
    fn merge_counts(&mut self, counts: &mut Vec<(K, u32)>) {
        let n = counts.len();
        // A stable sort allocates a buffer for half of the elements.
        let sort_buffer = Vec::<(K, u32)>::new().try_reserve_exact((self.counts.len() + n) / 2);
        if sort_buffer.is_err() || self.counts.try_reserve(n).is_err() {
            return self.discard();
        }
        self.counts.append(counts);
        // A stable sort merges two sorted parts in one pass.
        self.counts.sort_by_key(|&(key, _)| key);
        self.counts.dedup_by(|next, first| {
            let is_same_key = next.0 == first.0;
            if is_same_key {
                first.1 = first.1.saturating_add(next.1);
            }
            is_same_key
        });
    }

    /// Sorts the keys that were added several times at once, and adds them to the counts.
    fn merge_pending_counts(&mut self) {
        let mut counts = std::mem::take(&mut self.pending_counts);
        if !counts.is_empty() {
            counts.sort_unstable_by_key(|&(key, _)| key);
            self.merge_counts(&mut counts);
        }
    }

    /// Replaces each key.
    pub(super) fn map_keys(&mut self, map: impl Fn(K) -> K) {
        self.merge_pending();
        let mut counts = std::mem::take(&mut self.counts);
        for (key, _) in &mut counts {
            *key = map(*key);
        }
        self.merge_counts(&mut counts);
    }

    /// Removes the keys for which `is_wanted` returns false.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(K) -> bool) {
        self.merge_pending();
        self.counts.retain(|&(key, _)| is_wanted(key));
    }

    /// Returns the number of keys that were added.
    pub(super) fn total(&self) -> u64 {
        let n_merged: u64 = self.counts.iter().map(|&(_, n)| u64::from(n)).sum();
        let n_pending: u64 = self.pending_counts.iter().map(|&(_, n)| u64::from(n)).sum();
        n_merged + n_pending + self.pending.len() as u64
    }

    /// Returns each key and the number of times that it was added, sorted by key.
    pub(super) fn into_sorted(mut self) -> Vec<(K, u32)> {
        self.merge_pending();
        self.counts
    }

    /// Adds all pending keys to the counts.
    fn merge_pending(&mut self) {
        self.merge_pending_keys();
        self.merge_pending_counts();
    }

    /// Sorts the pending keys and adds them to the counts.
    fn merge_pending_keys(&mut self) {
        self.pending.sort_unstable();
        let Some(&filler) = self.pending.first() else {
            return;
        };
        let n_distinct = self.pending.chunk_by(|a, b| a == b).count();
        let (mut from, mut to) = (self.counts.len(), self.counts.len() + n_distinct);
        if self.counts.try_reserve(n_distinct).is_err() {
            return self.discard();
        }
        self.counts.resize(to, (filler, 0));
        // Merging from the back moves the old entries within the same memory.
        for equal_keys in self.pending.chunk_by(|a, b| a == b).rev() {
            let key = equal_keys[0];
            while from > 0 && self.counts[from - 1].0 > key {
                (from, to) = (from - 1, to - 1);
                self.counts[to] = self.counts[from];
            }
            let mut n = u32::try_from(equal_keys.len()).unwrap_or(u32::MAX);
            if from > 0 && self.counts[from - 1].0 == key {
                from -= 1;
                n = n.saturating_add(self.counts[from].1);
            }
            to -= 1;
            self.counts[to] = (key, n);
        }
        // Keys that `counts` already had leave a gap.
        self.counts.drain(from..to);
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn counts_of(keys: &[u64]) -> SortedCounts<u64> {
        let mut counts = SortedCounts::default();
        keys.iter().for_each(|&key| counts.add(key));
        counts
    }

    #[test]
    fn exhausted_memory_is_reported_with_the_number_of_keys() {
        let mut counts = counts_of(&[3, 1, 3, 2]);
        assert_eq!(counts.check_memory(), Ok(()));
        counts.discard();
        counts.add(4);
        counts.discard();
        assert_eq!((counts.check_memory(), counts.total()), (Err(3), 0));

        // The number survives a merge in both directions.
        counts.merge(counts_of(&[7, 8]));
        assert_eq!(counts.check_memory(), Err(3));
        let mut merged = counts_of(&[7, 8]);
        merged.merge(counts);
        assert_eq!(merged.check_memory(), Err(3));
    }

    proptest! {
        #[test]
        fn merged_counts_are_sums(
            first in prop::collection::vec(0..50u64, 0..200),
            second in prop::collection::vec(0..50u64, 0..200),
        ) {
            let mut merged = counts_of(&first);
            merged.merge(counts_of(&second));
            let expected = counts_of(&[&first[..], &second].concat());
            prop_assert_eq!(merged.total(), expected.total());
            prop_assert_eq!(merged.into_sorted(), expected.into_sorted());
        }

        #[test]
        fn keys_added_at_once_match_those_of_a_map(
            rows in prop::collection::vec((0..50u64, 0..9u32), 0..2000),
        ) {
            let (mut counts, mut map) = (SortedCounts::default(), BTreeMap::new());
            for (nth, &(key, n)) in rows.iter().enumerate() {
                counts.add_many(key, n + 1);
                counts.add(key);
                *map.entry(key).or_insert(0) += n + 2;
                if nth % 97 == 0 {
                    counts.merge_pending_counts();
                }
            }
            prop_assert_eq!(counts.total(), map.values().map(|&n| u64::from(n)).sum::<u64>());
            prop_assert_eq!(counts.into_sorted(), map.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn counts_match_those_of_a_map(keys in prop::collection::vec(0..50u64, 0..2000)) {
            let (mut counts, mut map) = (SortedCounts::default(), BTreeMap::new());
            for chunk in keys.chunks(97) {
                for &key in chunk {
                    counts.add(key);
                    *map.entry(key).or_insert(0) += 1;
                }
                counts.merge_pending();
            }
            prop_assert_eq!(counts.into_sorted(), map.into_iter().collect::<Vec<_>>());
        }
    }
}
