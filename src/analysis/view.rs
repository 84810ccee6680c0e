//! A judged sample: one view of the connections.
use crate::model::verdict::Verdict;

use super::{
    history::{History, PreviousSample},
    label::Labels,
    rule::{self, JudgeConfig},
    sample::Sample,
};

/// A sample with one aggregation, and its verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The connections per peer.
    pub sample: Sample,
    /// The verdict on the sample.
    pub verdict: Verdict,
    /// The previous sample; `None` if none is on record.
    pub previous: Option<PreviousSample>,
}

/// Judges the samples of one run, each with the record of its own aggregation. Returns
/// the views to report and the records to save.
#[must_use]
pub fn judge_samples(
    samples: Vec<Sample>,
    records: &[PreviousSample],
    labels: &Labels,
    config: &JudgeConfig,
) -> (Vec<View>, Vec<PreviousSample>) {
    let mut views = Vec::new();
    let mut new_records = Vec::new();
    for (index, mut sample) in samples.into_iter().enumerate() {
        let previous =
            records.iter().find(|record| record.has_same_prefixes(sample.aggregation)).cloned();
        let history = History { previous };
        let verdict = rule::judge(&sample, &history, &config.for_view(index));
        new_records.push(PreviousSample::new(&sample, &history, verdict.consecutive));
        for peer in &mut sample.top {
            peer.first_on_top = history.first_on_top(peer.network, sample.timestamp);
            peer.label = labels.name_of(peer.network).map(str::to_owned);
        }
        views.push(View { sample, verdict, previous: history.previous });
    }
    (views, new_records)
}
