//! The state file, as somebody may have damaged or edited it.
use std::{cell::LazyCell, fs, time::Instant};

use topip::storage::state_file::{Loaded, Place, StateFile};

use super::room;

thread_local! {
    static STATE_FILE: LazyCell<StateFile> = LazyCell::new(|| {
        let place = Place::File(room::path("state.ron"));
        StateFile::open(&place, vec!["web1".to_owned()], Instant::now()).expect("it is ours")
    });
}

/// A state file is a record, or of somebody else, or put aside as it is; and
/// what is read of it can be kept again.
pub fn check(bytes: &[u8]) {
    STATE_FILE.with(|state_file| {
        let aside = room::path("state.ron.bad");
        let _ = fs::remove_file(&aside);
        room::file("state.ron", bytes);
        let Ok(Loaded { records, mails, damage }) = state_file.load() else {
            assert_eq!(fs::read(state_file.path()).expect("it is left alone"), bytes);
            return;
        };
        if let Some(damage) = damage {
            assert!(records.is_empty() && mails == Default::default());
            assert_eq!(damage.kept_as.expect("there is room"), aside);
            assert_eq!(fs::read(&aside).expect("it is kept"), bytes, "as it was");
            return;
        }
        assert!(!records.is_empty());
        state_file.save(&records, &mails).expect("there is room");
        let again = state_file.load().expect("it was just written");
        assert!(again.damage.is_none(), "{:?}", again.damage);
        assert_eq!((again.records, again.mails), (records, mails));
    });
}
