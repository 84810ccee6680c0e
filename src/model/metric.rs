//! The numbers of a sample that thresholds can be set for.
use std::{fmt, str::FromStr};

use super::range::{Range, RangeError};

/// A number of a sample, by its name in the performance data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Connections of the top peer.
    Max,
    /// Average of the connections per peer.
    Avg,
    /// Population standard deviation of the connections per peer.
    Stddev,
    /// Upper median of the connections per peer.
    Med,
    /// Fewest connections of a peer.
    Min,
    /// Number of addresses.
    Addresses,
    /// Number of connections.
    Connections,
    /// Number of peers over the limit.
    Over,
}

impl Metric {
    /// All metrics, in the order of the performance data.
    pub const ALL: [Self; 8] = [
        Self::Max,
        Self::Avg,
        Self::Stddev,
        Self::Med,
        Self::Min,
        Self::Addresses,
        Self::Connections,
        Self::Over,
    ];

    /// Returns the name in the performance data.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Avg => "avg",
            Self::Stddev => "stddev",
            Self::Med => "med",
            Self::Min => "min",
            Self::Addresses => "addresses",
            Self::Connections => "connections",
            Self::Over => "over",
        }
    }
}

/// A range for one metric, as `METRIC=RANGE`; a range alone is for [`Metric::Max`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricRange {
    /// The metric.
    pub metric: Metric,
    /// Range of the values without an alert.
    pub range: Range,
}

/// Error for a text that is not a range for a metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetricRangeError {
    /// No metric has this name.
    #[error("unknown metric {0}; use max, avg, stddev, med, min, addresses, connections or over")]
    UnknownMetric(String),
    /// The range cannot be parsed.
    #[error(transparent)]
    Range(#[from] RangeError),
}

impl FromStr for MetricRange {
    type Err = MetricRangeError;

    fn from_str(text: &str) -> Result<Self, MetricRangeError> {
        let Some((name, range)) = text.split_once('=') else {
            return Ok(Self { metric: Metric::Max, range: text.parse()? });
        };
        let metric = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        let metric = metric.ok_or_else(|| MetricRangeError::UnknownMetric(name.to_owned()))?;
        Ok(Self { metric, range: range.parse()? })
    }
}

impl fmt::Display for MetricRange {
    /// Writes a range for [`Metric::Max`] without the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.metric {
            Metric::Max => self.range.fmt(f),
            metric => write!(f, "{}={}", metric.name(), self.range),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_parsed_and_written() {
        for text in ["50", "connections=10:5000", "over=0", "stddev=@1:2"] {
            assert_eq!(text.parse::<MetricRange>().unwrap().to_string(), text);
        }
        assert_eq!("max=50".parse::<MetricRange>().unwrap().to_string(), "50");
    }

    #[test]
    fn malformed_texts_are_rejected() {
        let error = |text: &str| text.parse::<MetricRange>().unwrap_err().to_string();
        assert!(error("maximum=5").starts_with("unknown metric maximum; use max, "));
        assert!(error("max=").starts_with("not a range"));
        assert!(error("=5").starts_with("unknown metric ;"));
        assert!(error("connections").starts_with("not a range"));
    }
}
