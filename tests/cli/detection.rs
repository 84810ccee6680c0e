//! The rules reach their targets, in a shorter run of `benches/detection`.
#[path = "../../benches/detection/random.rs"]
mod random;
#[path = "../../benches/detection/workload.rs"]
mod workload;
#[allow(dead_code, reason = "the benchmark prints more")]
#[path = "../../benches/detection/score.rs"]
mod score;

#[test]
fn rules_reach_targets() {
    let targets = score::targets(&score::false_alarms(2000), &score::detections(150));
    for target in targets {
        let name = score::NAMES[target.rule];
        assert!(target.is_reached(), "{name}, {}: {:.4}", target.name, target.found);
    }
}
