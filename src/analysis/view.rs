//! A judged sample: one view of the connections.
use std::collections::BTreeMap;

use crate::model::{peer_id::PeerId, verdict::Verdict};

use super::{
    history::{History, MAX_RECORDED_OVER, PreviousSample},
    label::Labels,
    rule::{self, JudgeConfig},
    sample::Sample,
    tally::{Counts, Peer, Streak},
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

impl View {
    /// Returns the peer that the verdict is about; `None` if nothing was counted.
    #[must_use]
    pub fn decisive_peer(&self) -> Option<&Peer> {
        self.sample.top.get(self.verdict.rank)
    }

    /// Returns the number of peers over the limit that are not put on record because of the
    /// maximum number of records.
    #[must_use]
    pub fn n_unrecorded(&self) -> usize {
        self.sample.n_over.saturating_sub(MAX_RECORDED_OVER)
    }
}

/// Judges the samples of `counts`, each with the record of its own aggregation. Returns
/// the views to report and the records to save.
#[must_use]
pub fn judge_samples(
    samples: Vec<Sample>,
    counts: &Counts,
    records: &[PreviousSample],
    labels: &Labels,
    config: &JudgeConfig,
) -> (Vec<View>, Vec<PreviousSample>) {
    let mut views = Vec::new();
    let mut new_records = Vec::new();
    for (index, mut sample) in samples.into_iter().enumerate() {
        let previous =
            records.iter().find(|record| record.has_same_peers(sample.aggregation)).cloned();
        let history = History { previous };
        sample.add_recorded_peers(counts, &history);
        let (mut view, record) = judge_sample(sample, history, &config.for_view(index));
        for peer in &mut view.sample.top {
            peer.label = peer.id.network().and_then(|it| labels.name_of(it)).map(str::to_owned);
        }
        views.push(view);
        new_records.push(record);
    }
    (views, new_records)
}

/// Judges a sample that comes after `history`. Returns the view to report and the record
/// to save.
#[must_use]
pub fn judge_sample(
    mut sample: Sample,
    history: History,
    config: &JudgeConfig,
) -> (View, PreviousSample) {
    let continued = history.continued(sample.timestamp, config.max_age);
    mark_peers_over(&mut sample, continued.ok());
    for peer in &mut sample.top {
        if peer.truncated.is_none() {
            peer.first_on_top = history.first_on_top(&peer.id, sample.timestamp);
        }
    }
    let mut verdict = rule::judge(&sample, config);
    verdict.first_sample = continued.err();
    let record = PreviousSample::new(&sample, &history);
    (View { sample, verdict, previous: history.previous }, record)
}

/// Marks each peer over the limit with the number of its consecutive samples.
fn mark_peers_over(sample: &mut Sample, previous: Option<&PreviousSample>) {
    let mut streaks = BTreeMap::new();
    for peer in previous.map_or(&[][..], |previous| &previous.over) {
        streaks.insert(&peer.id, peer.streak);
    }
    for index in 0..sample.top.len() {
        let peer = &sample.top[index];
        if sample.is_attributable(peer) && sample.limit.is_exceeded_by(peer.connections) {
            let streak = continued_streak(&streaks, &peer.id, sample.timestamp);
            sample.top[index].over = Some(streak);
        }
    }
}

/// Returns the streak of a peer that is over the limit at `now`.
fn continued_streak(streaks: &BTreeMap<&PeerId, Streak>, id: &PeerId, now: u64) -> Streak {
    match streaks.get(id) {
        Some(streak) => Streak {
            consecutive: streak.consecutive.saturating_add(1),
            // A time after this sample comes from a wrong clock, and 0 from an edited file.
            since: if (1..=now).contains(&streak.since) { streak.since } else { now },
        },
        None => Streak { consecutive: 1, since: now },
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        net::{Ipv4Addr, SocketAddr},
        time::Duration,
    };

    use proptest::prelude::*;

    use crate::{
        analysis::{
            rule::Rule,
            sample::SampleSize,
            tally::{Aggregation, Tally},
        },
        model::{
            connection::Connection,
            verdict::{FirstSampleReason, Reason, Status},
        },
    };

    use super::*;

    /// Limit of all samples: the floor, because the standard deviation is multiplied by 0.
    const LIMIT: f64 = 10.0;

    fn config() -> JudgeConfig {
        JudgeConfig {
            rule: Rule::Stddev(0.0),
            other_rule: Rule::Stddev(0.0),
            floor: LIMIT,
            consecutive: 2,
            max_age: Some(Duration::from_secs(3600)),
            warning: Vec::new(),
            critical: Vec::new(),
        }
    }

    /// Returns a sample of these hosts of 198.51.100.0/22, with their connections.
    fn sample(timestamp: u64, hosts: &[(u16, u64)]) -> Sample {
        let size = SampleSize { max_judged: None, max_listed: 1 };
        Sample::new(&counts(hosts), timestamp, Aggregation::PER_ADDRESS, size, &config())
    }

    fn counts(hosts: &[(u16, u64)]) -> Counts {
        let mut tally = Tally::default();
        for &(host, connections) in hosts {
            for port in 0..connections {
                tally.add(&Connection {
                    local: SocketAddr::new([192, 0, 2, 250].into(), 443),
                    peer: SocketAddr::new(address(host).into(), port as u16),
                    tcp_state: None,
                    peer_truncated: None,
                    count: None,
                    is_local_truncated: false,
                });
            }
        }
        tally.finish()
    }

    fn address(host: u16) -> Ipv4Addr {
        Ipv4Addr::from_bits(Ipv4Addr::new(198, 51, 100, 0).to_bits() + u32::from(host))
    }

    /// Returns the status, and the decisive peer with its consecutive samples.
    fn describe(view: &View) -> String {
        let peer = view.decisive_peer().map_or_else(String::new, |peer| {
            let consecutive = peer.over.map_or(0, |streak| streak.consecutive);
            format!(" {} x{consecutive}", peer.id)
        });
        format!("{}{}", view.verdict.status, peer.replace("198.51.100.", "."))
    }

    /// Judges the samples in order, each with the history of those before it.
    #[track_caller]
    fn check(config: &JudgeConfig, samples: &[Sample], expected: &str) {
        let mut history = History::default();
        let mut found = Vec::new();
        for sample in samples {
            let (view, record) = judge_sample(sample.clone(), history, config);
            found.push(describe(&view));
            history = History { previous: Some(record) };
        }
        assert_eq!(found.join(", "), expected);
    }

    /// Checks samples that were taken one minute apart.
    #[track_caller]
    fn check_minutes(samples: &[&[(u16, u64)]], expected: &str) {
        let times = (0..).step_by(60);
        let samples: Vec<_> = times.zip(samples).map(|(time, hosts)| sample(time, hosts)).collect();
        check(&config(), &samples, expected);
    }

    #[test]
    fn peer_over_limit_twice_is_critical() {
        check_minutes(
            &[&[(1, 30)], &[(1, 11)], &[(1, 300)]],
            "WARNING .1 x1, CRITICAL .1 x2, CRITICAL .1 x3",
        );
        check_minutes(&[&[(1, 10)], &[(1, 300)]], "OK .1 x0, WARNING .1 x1");
    }

    #[test]
    fn peers_that_take_turns_on_top_are_critical() {
        check_minutes(
            &[&[(1, 30), (2, 31)], &[(1, 31), (2, 30)], &[(1, 30), (2, 31)]],
            "WARNING .2 x1, CRITICAL .1 x2, CRITICAL .2 x3",
        );
    }

    #[test]
    fn newcomer_on_top_does_not_hide_a_continuing_peer() {
        check_minutes(
            &[&[(1, 30)], &[(1, 30), (2, 500)], &[(2, 500), (3, 600)]],
            "WARNING .1 x1, CRITICAL .1 x2, CRITICAL .2 x2",
        );
    }

    #[test]
    fn pause_restarts_the_count() {
        check_minutes(
            &[&[(1, 30)], &[(1, 5)], &[(1, 30)], &[], &[(1, 30)], &[(1, 30)]],
            "WARNING .1 x1, OK .1 x0, WARNING .1 x1, OK, WARNING .1 x1, CRITICAL .1 x2",
        );
        check_minutes(
            &[&[(1, 30)], &[(2, 30)], &[(1, 30)]],
            "WARNING .1 x1, WARNING .2 x1, WARNING .1 x1",
        );
    }

    #[test]
    fn first_on_top_and_over_since_differ() {
        let mut history = History::default();
        let mut found = Vec::new();
        for (time, connections) in [(100, 5), (200, 30), (300, 31)] {
            let (view, record) =
                judge_sample(sample(time, &[(1, connections)]), history, &config());
            let peer = &view.sample.top[0];
            found.push((peer.first_on_top, peer.over.map(|streak| streak.since)));
            history = History { previous: Some(record) };
        }
        assert_eq!(found, [(None, None), (Some(100), Some(200)), (Some(100), Some(200))]);
    }

    #[test]
    fn old_or_future_sample_is_ignored() {
        let twice = |first, second| [sample(first, &[(1, 30)]), sample(second, &[(1, 30)])];
        let critical = "WARNING .1 x1, CRITICAL .1 x2";
        let warning = "WARNING .1 x1, WARNING .1 x1";
        check(&config(), &twice(0, 3600), critical);
        check(&config(), &twice(0, 3601), warning);
        check(&config(), &twice(100, 99), warning);
        check(&config(), &twice(99, 99), critical);
        let unlimited_age = JudgeConfig { max_age: None, ..config() };
        check(&unlimited_age, &twice(0, 1_000_000_000), critical);
        check(&unlimited_age, &twice(100, 99), warning);
    }

    #[test]
    fn alert_needs_the_configured_number_of_samples() {
        let samples: Vec<_> = (0..4).map(|time| sample(time, &[(1, 30)])).collect();
        let config_with = |consecutive| JudgeConfig { consecutive, ..config() };
        check(&config_with(1), &samples[..2], "CRITICAL .1 x1, CRITICAL .1 x2");
        check(
            &config_with(4),
            &samples,
            "WARNING .1 x1, WARNING .1 x2, WARNING .1 x3, CRITICAL .1 x4",
        );
    }

    #[test]
    fn ranges_apply_at_once_and_the_worst_status_wins() {
        let with_ranges = |warning: &str, critical: &str| JudgeConfig {
            warning: vec![warning.parse().expect("a range")],
            critical: vec![critical.parse().expect("a range")],
            ..config()
        };
        check(&with_ranges("5", "8"), &[sample(0, &[(1, 8), (2, 1)])], "WARNING .1 x0");
        check(&with_ranges("5", "8"), &[sample(0, &[(1, 9), (2, 1)])], "CRITICAL .1 x0");
        check(&with_ranges("500", "800"), &[sample(0, &[(1, 300)])], "WARNING .1 x1");
        // A range can also have a lower bound.
        check(&with_ranges("1:", "0:"), &[sample(0, &[])], "WARNING");
        let (view, _) =
            judge_sample(sample(0, &[(1, 30)]), History::default(), &with_ranges("5", "8"));
        assert_eq!(view.verdict.status, Status::Critical);
        assert!(matches!(
            view.verdict.reasons[..],
            [Reason::Critical(_), Reason::Limit, Reason::Warning(_)]
        ));
    }

    #[test]
    fn record_is_bounded_to_the_peers_with_the_most_connections() {
        let hosts: Vec<_> = (0..1200).map(|host| (host, 11 + u64::from(host / 100))).collect();
        let (view, record) = judge_sample(sample(60, &hosts), History::default(), &config());
        assert_eq!((view.sample.n_over, view.n_unrecorded()), (1200, 200));
        assert_eq!(record.over.len(), MAX_RECORDED_OVER);
        assert!(record.over.iter().all(|peer| peer.connections >= 13));
        let (view, _) =
            judge_sample(sample(120, &hosts), History { previous: Some(record) }, &config());
        assert_eq!(view.verdict.status, Status::Critical);
        let critical = view.sample.peers_over().filter(|peer| config().is_alert(peer));
        assert_eq!(critical.count(), MAX_RECORDED_OVER);
    }

    /// A thousand newcomers with more connections do not hide a peer that stays.
    #[test]
    fn newcomers_do_not_displace_a_recorded_peer() {
        let size = SampleSize { max_judged: None, max_listed: 1 };
        let mut records = Vec::new();
        let found = [60, 120, 180].map(|time| {
            let mut hosts: Vec<_> = (0..1000).map(|host| (host, 12)).collect();
            if time == 60 {
                hosts.clear();
            }
            hosts.push((1010, 11));
            let counts = counts(&hosts);
            let sample = Sample::new(&counts, time, Aggregation::PER_ADDRESS, size, &config());
            let (views, new_records) =
                judge_samples(vec![sample], &counts, &records, &Labels::default(), &config());
            records = new_records;
            let peer = views[0].sample.peers_over().find(|peer| peer.connections == 11);
            assert!(records[0].over.len() <= MAX_RECORDED_OVER);
            (views[0].verdict.status, peer.and_then(|peer| peer.over))
        });
        let expected = [1, 2, 3].map(|consecutive| Some(Streak { consecutive, since: 60 }));
        assert_eq!(found.map(|(_, over)| over), expected);
        assert_eq!(found[1].0, Status::Critical);
    }

    #[test]
    fn implausible_start_of_a_streak_is_replaced() {
        for since in [0, 61, u64::MAX] {
            let (_, mut record) =
                judge_sample(sample(0, &[(1, 30)]), History::default(), &config());
            record.over[0].streak = Streak { consecutive: u32::MAX, since };
            let history = History { previous: Some(record) };
            let (view, _) = judge_sample(sample(60, &[(1, 30)]), history, &config());
            let expected = Streak { consecutive: u32::MAX, since: 60 };
            assert_eq!(view.sample.top[0].over, Some(expected));
        }
    }

    #[test]
    fn reason_for_a_first_sample_has_the_distance_in_time() {
        let (_, record) = judge_sample(sample(5000, &[(1, 1)]), History::default(), &config());
        let reason = |time| {
            let history = History { previous: Some(record.clone()) };
            judge_sample(sample(time, &[(1, 1)]), history, &config()).0.verdict.first_sample
        };
        assert_eq!(reason(4999), Some(FirstSampleReason::InFuture { ahead_secs: 1 }));
        assert_eq!(reason(0), Some(FirstSampleReason::InFuture { ahead_secs: 5000 }));
        assert_eq!(reason(5000), None);
        assert_eq!(reason(8600), None);
        assert_eq!(reason(8601), Some(FirstSampleReason::TooOld { age_secs: 3601 }));
        let (view, _) = judge_sample(sample(5000, &[(1, 1)]), History::default(), &config());
        assert_eq!(view.verdict.first_sample, Some(FirstSampleReason::NoHistory));
    }

    proptest! {
        /// The verdicts agree with a model that keeps every sample.
        #[test]
        fn sequences_match_a_naive_model(
            minutes in prop::collection::vec(
                (1..100u64, prop::collection::btree_map(0..6u16, 5..16u64, 0..6)),
                1..8,
            ),
            consecutive in 1..4u32,
        ) {
            let config = JudgeConfig {
                consecutive,
                max_age: Some(Duration::from_secs(60)),
                ..config()
            };
            let mut history = History::default();
            let mut time = 0;
            let mut earlier: Vec<(u64, BTreeMap<u16, u64>)> = Vec::new();
            for (pause, hosts) in minutes {
                time += pause;
                earlier.push((pause, hosts.clone()));
                let hosts: Vec<_> = hosts.into_iter().collect();
                let (view, record) = judge_sample(sample(time, &hosts), history, &config);
                history = History { previous: Some(record) };
                // The consecutive samples of a peer start after the last sample in which it was
                // not over the limit, or after a pause that is too long.
                let samples_over = |host: u16| {
                    let mut n = 0;
                    for (pause, hosts) in earlier.iter().rev() {
                        if hosts.get(&host).is_none_or(|&count| count <= 10) {
                            break;
                        }
                        n += 1;
                        if *pause > 60 {
                            break;
                        }
                    }
                    n
                };
                let longest = (0..6).map(samples_over).max().unwrap_or(0);
                let expected = match longest {
                    0 => Status::Ok,
                    _ if longest >= consecutive => Status::Critical,
                    _ => Status::Warning,
                };
                prop_assert_eq!(view.verdict.status, expected);
                for peer in view.sample.peers_over() {
                    let host = (0..6).find(|&host| {
                        peer.id.network().is_some_and(|it| it.contains(address(host).into()))
                    });
                    let found = peer.over.expect("over the limit").consecutive;
                    prop_assert_eq!(Some(found), host.map(samples_over));
                }
                let all_over = (0..6).filter(|&host| samples_over(host) > 0).count();
                prop_assert_eq!(view.sample.peers_over().count(), all_over);
            }
        }
    }
}
