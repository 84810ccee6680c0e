//! Looks up the operators of the peers that a report lists.
use std::path::PathBuf;

use crate::{
    analysis::{note::SourceDetail, operator::Operator, view::View},
    model::{
        network::Network,
        problem::{Hints, Problem},
    },
    storage::network_db::NetworkDb,
};

/// The network databases of a run. A run goes on without those that fail.
#[derive(Debug, Default)]
pub(super) struct Operators {
    databases: Vec<NetworkDb>,
    /// One problem for each database that failed.
    pub(super) problems: Vec<Problem>,
}

impl Operators {
    /// Reads the databases; of several that know an operator, the first one counts.
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

    /// Sets the operators of the peers in `views`.
    pub(super) fn set_operators(&mut self, views: &mut [View]) {
        for view in views {
            for peer in &mut view.sample.top {
                peer.operator = self.operator_of(peer.network);
            }
        }
    }

    /// Returns the operator of an address or network.
    pub(super) fn operator_of(&mut self, network: Network) -> Operator {
        let mut operator = Operator::default();
        let Self { databases, problems } = self;
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
