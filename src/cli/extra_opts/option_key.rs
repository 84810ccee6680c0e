//! Keys of options, to find the options that replace or exclude each other.
use clap::{ArgMatches, Command};

use crate::{
    cli::given_options::GivenOptions,
    model::metric::{Metric, MetricRange},
};

/// Options whose values in files and on the command line add up. For all other options, a
/// later value replaces an earlier one.
const ADDED_UP: [&str; 8] = [
    "exclude",
    "exclude_file",
    "exclude_tcp_states",
    "identity",
    "label",
    "label_file",
    "network_db",
    "never_log",
];

/// Identity of an option, for comparison with others.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OptionKey {
    /// Name in clap.
    pub(super) id: String,
    /// Metric of a range; each metric may have one.
    pub(super) metric: Option<Metric>,
}

impl OptionKey {
    /// Returns the key of an option with this value.
    pub(super) fn new(id: &str, value: &str) -> Self {
        // A range that cannot be parsed is reported by the option's own parser.
        let range: Option<MetricRange> = if is_range(id) { value.parse().ok() } else { None };
        Self { id: id.to_owned(), metric: range.map(|range| range.metric) }
    }

    /// Returns the keys of the options that are given on a command line.
    pub(super) fn of_command_line(given: &GivenOptions, matches: &ArgMatches) -> Vec<Self> {
        let mut keys = Vec::new();
        for id in given.ids() {
            if is_range(id) {
                let ranges = matches.get_many::<MetricRange>(id).into_iter().flatten();
                let metrics = ranges.map(|range| Some(range.metric));
                keys.extend(metrics.map(|metric| Self { id: id.to_owned(), metric }));
            } else {
                keys.push(Self { id: id.to_owned(), metric: None });
            }
        }
        keys
    }

    /// Returns whether this option replaces an option that is given earlier.
    pub(super) fn replaces(&self, earlier: &Self, command: &Command) -> bool {
        let is_same = self == earlier && !ADDED_UP.contains(&&*self.id);
        is_same || self.excludes(earlier, command)
    }

    /// Returns whether clap rejects one of the options because of the other.
    pub(super) fn excludes(&self, other: &Self, command: &Command) -> bool {
        conflicts_with(command, &self.id, &other.id) || conflicts_with(command, &other.id, &self.id)
    }
}

fn is_range(id: &str) -> bool {
    id == "warning" || id == "critical"
}

/// Returns whether the first option is declared to conflict with the second one.
fn conflicts_with(command: &Command, id: &str, other: &str) -> bool {
    let arg = command.get_arguments().find(|arg| arg.get_id() == id);
    let conflicts = arg.map(|arg| command.get_arg_conflicts_with(arg)).unwrap_or_default();
    conflicts.iter().any(|arg| arg.get_id() == other)
}
