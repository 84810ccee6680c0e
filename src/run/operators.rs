//! Looks up operators and countries in network databases: those of the peers that a report
//! lists, the groups of all addresses, and the networks of excluded operators.
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    path::PathBuf,
};

use crate::{
    analysis::{
        label::Labels,
        note::SourceDetail,
        operator::{Operator, OperatorSelector},
        tally::{AddressGroups, Aggregation, Counts},
        view::View,
    },
    model::{
        network::Network,
        peer_id::{Group, GroupBy},
        problem::{Hints, Problem},
    },
    storage::network_db::{NetworkDb, RecordId},
};

/// The network databases of a run. A run continues without a database that fails.
#[derive(Debug, Default)]
pub(super) struct Operators {
    databases: Vec<NetworkDb>,
    /// One problem for each database that failed.
    pub(super) problems: Vec<Problem>,
    /// The result of `networks_of` for the last selectors.
    selected: Option<(BTreeSet<OperatorSelector>, SelectedNetworks)>,
}

/// The networks of operators, and the selectors for which no networks are known.
type SelectedNetworks = (Vec<Network>, BTreeSet<OperatorSelector>);

impl Operators {
    /// Reads the databases. If several databases know an operator, the first one is used.
    pub(super) fn open(paths: &[PathBuf]) -> Self {
        let mut operators = Self::default();
        for path in paths {
            match NetworkDb::open(path) {
                Ok(database) => operators.databases.push(database),
                Err(error) => operators.problems.push(error.to_problem()),
            }
        }
        operators
    }

    /// Returns the details of the databases that were read.
    pub(super) fn details(&self) -> impl Iterator<Item = SourceDetail> {
        self.databases.iter().map(NetworkDb::detail)
    }

    /// Returns the networks that `selectors` select in any of the databases.
    pub(super) fn networks_of(
        &mut self,
        selectors: BTreeSet<OperatorSelector>,
    ) -> SelectedNetworks {
        match &self.selected {
            Some((known, selected)) if *known == selectors => selected.clone(),
            _ => {
                let selected = self.find_networks_of(&selectors);
                self.selected = Some((selectors, selected.clone()));
                selected
            }
        }
    }

    fn find_networks_of(&mut self, selectors: &BTreeSet<OperatorSelector>) -> SelectedNetworks {
        let (mut networks, mut not_found) = (Vec::new(), selectors.clone());
        if selectors.is_empty() {
            return (networks, not_found);
        }
        let selectors: Vec<_> = selectors.iter().cloned().collect();
        let Self { databases, problems, .. } = self;
        databases.retain(|database| match database.networks_of(&selectors) {
            Ok((found, without_network)) => {
                networks.extend(found);
                not_found.retain(|selector| without_network.contains(selector));
                true
            }
            Err(error) => {
                problems.push(error.to_problem());
                false
            }
        });
        if !problems.is_empty() {
            // A database that cannot be read may have more networks for each selector.
            not_found.extend(selectors);
        }
        (networks, not_found)
    }

    /// Sets the operators of the peers in `views`.
    pub(super) fn set_operators(&mut self, views: &mut [View]) {
        for view in views {
            for peer in &mut view.sample.top {
                if let Some(network) = peer.id.network() {
                    peer.operator = self.operator_of(network);
                }
            }
        }
    }

    /// Sets the groups of all addresses in `counts`, for each of `aggregations` that has
    /// groups. If no database could be read, operators and countries are not set.
    pub(super) fn set_groups(
        &mut self,
        counts: &mut Counts,
        aggregations: &[Aggregation],
        labels: &Labels,
    ) {
        for by in aggregations.iter().filter_map(|aggregation| aggregation.group_by()) {
            let groups = match by {
                GroupBy::Label => Some(label_groups(counts, labels)),
                GroupBy::Asn | GroupBy::Country => self.operator_groups(counts, by),
            };
            if let Some(groups) = groups {
                counts.set_groups(by, groups);
            }
        }
    }

    fn operator_groups(&mut self, counts: &Counts, by: GroupBy) -> Option<AddressGroups> {
        let mut groups = AddressGroups::default();
        // Few records describe many addresses: each is decoded once.
        let mut known = HashMap::new();
        for address in counts.complete_addresses() {
            let records = self.records_of(address)?;
            let number = match known.get(&records) {
                Some(&number) => number,
                None => {
                    let operator = self.operator_of(Network::new(address, u8::MAX));
                    let group = operator.group(by);
                    let number = group.map(|(group, common)| groups.number_of(group, common));
                    known.insert(records, number);
                    number
                }
            };
            groups.push(number);
        }
        Some(groups).filter(|_| self.problems.is_empty())
    }

    /// Returns the record of an address in each database; `None` without a database, or if one
    /// cannot be read.
    fn records_of(&mut self, address: IpAddr) -> Option<Vec<Option<RecordId>>> {
        let records: Result<Vec<_>, _> =
            self.databases.iter().map(|database| database.record_of(address)).collect();
        match records {
            Ok(records) if records.is_empty() => None,
            Ok(records) => Some(records),
            Err(error) => {
                self.problems.push(error.to_problem());
                None
            }
        }
    }

    /// Returns the operator of an address or network.
    pub(super) fn operator_of(&mut self, network: Network) -> Operator {
        let mut operator = Operator::default();
        let Self { databases, problems, .. } = self;
        databases.retain(|database| match database.operator_of(network) {
            Ok(found) => {
                operator.merge(found.unwrap_or_default());
                true
            }
            Err(error) => {
                problems.push(error.to_problem());
                false
            }
        });
        operator
    }
}

/// Returns the label of each address as its group.
fn label_groups(counts: &Counts, labels: &Labels) -> AddressGroups {
    let mut groups = AddressGroups::default();
    for address in counts.complete_addresses() {
        let label = labels.name_of(Network::new(address, u8::MAX));
        let number = label.map(|label| {
            let group = Group { by: GroupBy::Label, name: label.to_owned() };
            groups.number_of(group, Operator::default())
        });
        groups.push(number);
    }
    groups
}
