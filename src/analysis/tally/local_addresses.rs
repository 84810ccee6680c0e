//! Local addresses of counted connections, as small numbers for the keys of a tally.
use std::net::IpAddr;

/// Distinct local addresses, numbered from 1 in the order of their first connection.
///
/// Clients of a gateway choose the destinations of their flows, so the number is bounded:
/// addresses beyond it have the number [`OTHER`](Self::OTHER).
#[derive(Clone, Debug, Default)]
pub(super) struct LocalAddresses {
    in_order: Vec<IpAddr>,
    /// The same addresses with their numbers, sorted.
    sorted: Vec<(IpAddr, u16)>,
    /// The latest address and its number: on most hosts, nearly all connections have the same
    /// local address.
    latest: Option<(IpAddr, u16)>,
}

impl LocalAddresses {
    /// Maximum number: keys have 11 bits for the number.
    pub(super) const MAX_NUMBER: u16 = 2047;
    /// Number that stands for unknown addresses, and for those beyond the maximum.
    pub(super) const OTHER: u16 = 0;

    /// Returns the number of an address.
    #[inline]
    pub(super) fn number(&mut self, address: IpAddr) -> u16 {
        match self.latest {
            Some((latest, number)) if latest == address => number,
            _ => self.find_or_add(address),
        }
    }

    fn find_or_add(&mut self, address: IpAddr) -> u16 {
        let number = match self.sorted.binary_search_by_key(&address, |&(known, _)| known) {
            Ok(at) => self.sorted[at].1,
            Err(at) => {
                let number = u16::try_from(self.in_order.len() + 1).unwrap_or(u16::MAX);
                if number > Self::MAX_NUMBER {
                    return Self::OTHER;
                }
                self.in_order.push(address);
                self.sorted.insert(at, (address, number));
                number
            }
        };
        self.latest = Some((address, number));
        number
    }

    /// Adds the addresses of `other`. Returns the new number for each number of `other`,
    /// starting at 0; `None` if all numbers stay the same.
    pub(super) fn merge(&mut self, other: Self) -> Option<Vec<u16>> {
        let new_numbers = other.in_order.into_iter().map(|address| self.number(address));
        let numbers: Vec<_> = std::iter::once(Self::OTHER).chain(new_numbers).collect();
        let is_same = (0..).zip(&numbers).all(|(old, &new)| old == new);
        if is_same { None } else { Some(numbers) }
    }

    /// Returns the addresses in the order of their numbers, starting at 1.
    pub(super) fn into_addresses(self) -> Vec<IpAddr> {
        self.in_order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        [10, 0, high, low].into()
    }

    #[test]
    fn numbers_are_bounded() {
        let mut addresses = LocalAddresses::default();
        for n in [0, 1, 0, 254, 1] {
            addresses.number(address(n));
        }
        assert_eq!([0, 1, 254].map(|n| addresses.number(address(n))), [1, 2, 3]);
        for n in 0..3000 {
            addresses.number(address(n));
        }
        assert_eq!([0, 254, 2046, 2047].map(|n| addresses.number(address(n))), [1, 3, 2047, 0]);
        assert_eq!(addresses.into_addresses().len(), 2047);
    }

    #[test]
    fn merged_addresses_have_new_numbers() {
        let with = |ns: &[u16]| {
            let mut addresses = LocalAddresses::default();
            for &n in ns {
                addresses.number(address(n));
            }
            addresses
        };
        assert_eq!(with(&[]).merge(with(&[1, 2])), None);
        assert_eq!(with(&[1, 2, 3]).merge(with(&[1, 2])), None);
        let numbers = with(&[1, 2]).merge(with(&[2, 3, 1])).expect("they differ");
        assert_eq!(numbers, [0, 2, 3, 1]);
    }
}
