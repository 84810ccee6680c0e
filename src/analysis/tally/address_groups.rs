//! The groups of the addresses of a tally.
use std::collections::BTreeMap;

use crate::{analysis::operator::Operator, model::peer_id::Group};

/// The group of each address, in the order of the addresses.
#[derive(Debug, Default)]
pub struct AddressGroups {
    groups: Vec<(Group, Operator)>,
    numbers: BTreeMap<Group, u32>,
    of_address: Vec<Option<u32>>,
}

impl AddressGroups {
    /// Returns the number of a group, and adds the group if it is new. `operator` has the
    /// properties that the addresses of the group have in common.
    pub fn number_of(&mut self, group: Group, operator: Operator) -> u32 {
        if let Some(&number) = self.numbers.get(&group) {
            return number;
        }
        let number = u32::try_from(self.groups.len()).expect("a sample has fewer than 2^32 groups");
        self.numbers.insert(group.clone(), number);
        self.groups.push((group, operator));
        number
    }

    /// Sets the group of the next address; `None` for an address without a group.
    pub fn push(&mut self, number: Option<u32>) {
        self.of_address.push(number);
    }

    /// Returns the number of groups.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Returns the group of each address.
    pub(super) fn of_addresses(&self) -> &[Option<u32>] {
        &self.of_address
    }

    /// Returns a group and the operator data that its addresses have in common.
    pub(super) fn group(&self, number: u32) -> (Group, Operator) {
        self.groups[number as usize].clone()
    }

    /// Returns the number of a group, which may be from another sample; `None` if no address
    /// belongs to it.
    pub(super) fn find(&self, group: &Group) -> Option<u32> {
        self.numbers.get(group).copied()
    }
}
