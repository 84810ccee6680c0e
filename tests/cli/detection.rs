//! The rules reach their targets, in a shorter run of `benches/detection`.
#[path = "../../benches/detection/random.rs"]
mod random;
#[path = "../../benches/detection/workload.rs"]
mod workload;
#[allow(dead_code, reason = "the benchmark prints more")]
#[path = "../../benches/detection/score.rs"]
mod score;
#[allow(dead_code, reason = "the benchmark prints more")]
#[path = "../../benches/detection/real.rs"]
mod real;

#[test]
fn rules_reach_targets() {
    let targets = score::targets(&score::false_alarms(2000), &score::detections(150));
    for target in targets {
        let name = score::NAMES[target.rule];
        assert!(target.is_reached(), "{name}, {}: {:.4}", target.name, target.found);
    }
}

/// The real crowds have no targets of their own; these bounds are the measured values.
#[test]
fn real_crowds_have_few_false_alarms() {
    let crowds = real::crowds();
    let clean = real::Tally::new(crowds.iter().filter(|it| !it.is_hostile));
    let floods = crowds.iter().filter(|it| it.is_hostile && it.counts[0] >= 50);
    let floods = real::Tally::new(floods);
    assert_eq!(clean.n, 34_086);
    for rule in [score::LOGNORMAL, score::AUTO] {
        let name = score::NAMES[rule];
        assert!(clean.share(rule) < 0.0035, "{name}: {}", clean.share(rule));
        assert!(floods.share(rule) > 0.98, "{name}: {}", floods.share(rule));
    }
}

#[test]
fn offenders_that_take_turns_are_critical() {
    for result in score::turns(100) {
        let (name, found) = (result.site.name, result.shares.two_samples[score::AUTO]);
        // Gateways and proxies may have as many connections.
        let is_ambiguous = name.starts_with("NAT") || name.starts_with("CDN");
        assert!(found > 0.97 || is_ambiguous, "{name}: {found}");
    }
}
