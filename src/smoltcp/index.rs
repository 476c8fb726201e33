//! Finding a connection by its four-tuple in a time that does not depend on how many there are.

use core::num::NonZeroU16;

/// A hash table with chaining over entries that are kept elsewhere, addressed by position.
///
/// Two words a connection, and no copy of the keys: a ready-made map would hold each key twice.
#[derive(Debug)]
pub(super) struct Index<const N: usize> {
    heads: [Position; N],
    next: [Position; N],
}

/// One more than a position in the table, so that "none" costs nothing.
type Position = Option<NonZeroU16>;

impl<const N: usize> Index<N> {
    /// What an entry adds to the index.
    pub(super) const BYTES_PER_ENTRY: usize = 2 * size_of::<Position>();

    pub(super) const fn new() -> Self {
        const {
            assert!(N < u16::MAX as usize, "at most 65534 connections");
        }
        Self {
            heads: [None; N],
            next: [None; N],
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.heads = [None; N];
        self.next = [None; N];
    }

    /// Adds the entry at `position`, whose key hashes to `hash`.
    pub(super) fn insert(&mut self, hash: u32, position: usize) {
        let number = u16::try_from(position)
            .ok()
            .and_then(|position| NonZeroU16::MIN.checked_add(position));
        if let (Some(head), Some(next)) = (
            self.heads.get_mut(Self::bucket(hash)),
            self.next.get_mut(position),
        ) {
            *next = *head;
            *head = number;
        }
    }

    /// The position for which `is_it` holds, among those whose key may hash to `hash`.
    #[inline]
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(usize) -> bool) -> Option<usize> {
        let mut link = *self.heads.get(Self::bucket(hash))?;
        while let Some(number) = link {
            let position = usize::from(number.get().wrapping_sub(1));
            if is_it(position) {
                return Some(position);
            }
            link = *self.next.get(position)?;
        }
        None
    }

    /// The upper bits of the hash, scaled to the size of the table without a division.
    #[inline]
    fn bucket(hash: u32) -> usize {
        let scaled = (u64::from(hash).wrapping_mul(N as u64)) >> 32;
        usize::try_from(scaled).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every entry is found, and only those: also when all of them share one bucket.
    #[test]
    fn entries_are_found_however_they_collide() {
        for spread in [0, 1, 0x9e37_79b1_u32] {
            let hashes = (0..7).map(|number| spread.wrapping_mul(number));
            let mut index = Index::<7>::new();
            for (position, hash) in hashes.clone().enumerate() {
                index.insert(hash, position);
            }
            for (position, hash) in hashes.enumerate() {
                assert_eq!(index.find(hash, |found| found == position), Some(position));
            }
            assert_eq!(index.find(0, |_| false), None);
            index.clear();
            assert_eq!(index.find(0, |_| true), None);
        }
    }

    /// Hashes are spread over all of a table, whatever its size.
    #[test]
    fn hashes_are_spread() {
        let buckets = [0, 1 << 31, u32::MAX].map(Index::<5>::bucket);
        assert_eq!(buckets, [0, 2, 4]);
    }

    /// A table without room holds nothing and finds nothing.
    #[test]
    fn an_empty_table_is_no_trouble() {
        let mut index = Index::<0>::new();
        index.insert(5, 0);
        assert_eq!(index.find(5, |_| true), None);
    }
}
