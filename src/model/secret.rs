//! Secret text, such as passwords.
use std::{ffi::OsString, fmt, os::unix::ffi::OsStringExt, sync::Arc};

use zeroize::{Zeroize, Zeroizing};

/// A password or passphrase. `Debug` does not show the text. All clones share one
/// copy in memory, which is wiped when the last clone is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Creates a secret from `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// Creates a secret from `text` without leaving a copy in memory. Bytes that are
    /// not UTF-8 become the replacement character.
    #[must_use]
    pub fn from_os_string(text: OsString) -> Self {
        Self::new(String::from_utf8(text.into_vec()).unwrap_or_else(|error| {
            let mut bytes = error.into_bytes();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes.zeroize();
            text
        }))
    }

    /// Returns the secret text.
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
    fn debug_output_hides_the_text() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "Secret(...)");
    }
}
