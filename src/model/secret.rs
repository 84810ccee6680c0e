//! A text that must not be shown.
use std::{ffi::OsString, fmt, os::unix::ffi::OsStringExt, sync::Arc};

use zeroize::{Zeroize, Zeroizing};

/// A password or passphrase. It shows as dots, is in memory once, however many
/// have it, and is wiped from there when nobody needs it any longer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// Keeps `text`, and no copy of it. What is not UTF-8 in it is no letter.
    #[must_use]
    pub fn of(text: OsString) -> Self {
        Self::new(String::from_utf8(text.into_vec()).unwrap_or_else(|error| {
            let mut bytes = error.into_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes.zeroize();
            text
        }))
    }

    /// The text, for whoever it is meant for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

impl std::str::FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(...)");
    }
}
