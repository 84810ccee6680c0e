//! A damaged or edited state file.
use std::{cell::LazyCell, fs, time::Instant};

use topip::storage::state_file::{LoadedState, State, StateFile, StateLocation};

use super::room;

thread_local! {
    static STATE_FILE: LazyCell<StateFile> = LazyCell::new(|| {
        let location = StateLocation::File(room::path("state.ron"));
        StateFile::open(&location, vec!["web1".to_owned()], Instant::now()).expect("the state file can be opened")
    });
}

/// Checks that a state file is read, rejected as foreign, or quarantined unchanged; and
/// that a loaded state can be saved again.
pub fn check(bytes: &[u8]) {
    STATE_FILE.with(|state_file| {
        let quarantined = room::path("state.ron.bad");
        let _ = fs::remove_file(&quarantined);
        room::write("state.ron", bytes);
        let Ok(LoadedState { state, damaged_file }) = state_file.load() else {
            assert_eq!(fs::read(state_file.path()).expect("the foreign file is unchanged"), bytes);
            return;
        };
        if let Some(damaged_file) = damaged_file {
            assert_eq!(state, State::default());
            assert_eq!(damaged_file.renamed_to.expect("the disk has space"), quarantined);
            assert_eq!(fs::read(&quarantined).expect("not taken before"), bytes, "unchanged");
            return;
        }
        state_file.save(&state).expect("the disk has space");
        let reloaded = state_file.load().expect("the file was just written");
        assert!(reloaded.damaged_file.is_none(), "{:?}", reloaded.damaged_file);
        assert_eq!(reloaded.state, state);
    });
}
