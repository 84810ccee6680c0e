//! The lognormal rule reaches what it is for, in a smaller benchmark than that
//! of `benches/detection`.
#[path = "../../benches/detection/random.rs"]
mod random;
#[path = "../../benches/detection/scene.rs"]
mod scene;
#[allow(dead_code, reason = "the benchmark tells more")]
#[path = "../../benches/detection/score.rs"]
mod score;

#[test]
fn the_targets_are_reached() {
    let targets = score::targets(&score::alarms(2000), &score::detections(150));
    for target in targets {
        assert!(target.reached(), "{}: {:.4}", target.name, target.found);
    }
}
