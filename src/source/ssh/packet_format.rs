//! Lengths of SSH packets, from their content and the negotiated algorithms (RFC 4253,
//! section 6).
use ssh2::{MethodType, Session};

/// Bytes of a packet before the data: message number, channel, length of the data.
const DATA_HEADER_BYTES: usize = 9;
/// Minimum length of the padding.
const MIN_PADDING_BYTES: usize = 4;
/// Bytes of the field for the length of a packet.
const LENGTH_BYTES: usize = 4;

/// Format of the packets that a server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketFormat {
    /// Packets are padded to a multiple of this.
    block_bytes: usize,
    /// True if the field for the length is part of the padded content.
    pads_length: bool,
    /// Length of the MAC or tag.
    mac_bytes: usize,
}

impl PacketFormat {
    /// Returns the format that was negotiated.
    pub(super) fn negotiated(session: &Session) -> Self {
        let name = |method| session.methods(method).unwrap_or_default();
        Self::from_names(name(MethodType::CryptSc), name(MethodType::MacSc))
    }

    fn from_names(cipher: &str, mac: &str) -> Self {
        if cipher.starts_with("chacha20-poly1305") {
            return Self { block_bytes: 8, pads_length: false, mac_bytes: 16 };
        }
        if cipher.contains("-gcm") {
            return Self { block_bytes: 16, pads_length: false, mac_bytes: 16 };
        }
        let mac_bytes = if mac.contains("sha2-512") { 64 } else { 32 };
        Self { block_bytes: 16, pads_length: !mac.contains("-etm"), mac_bytes }
    }

    /// Returns the length of a packet with this number of bytes of output, with the least
    /// padding.
    pub(super) fn length(self, n_bytes: usize) -> usize {
        // The length of the padding takes one byte.
        let content = 1 + DATA_HEADER_BYTES + n_bytes + MIN_PADDING_BYTES;
        if self.pads_length {
            (LENGTH_BYTES + content).next_multiple_of(self.block_bytes) + self.mac_bytes
        } else {
            LENGTH_BYTES + content.next_multiple_of(self.block_bytes) + self.mac_bytes
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_follow_the_algorithms() {
        let length = |cipher, mac, n_bytes| PacketFormat::from_names(cipher, mac).length(n_bytes);
        assert_eq!(length("chacha20-poly1305@openssh.com", "", 2), 4 + 16 + 16);
        assert_eq!(length("chacha20-poly1305@openssh.com", "", 3), 4 + 24 + 16);
        assert_eq!(length("aes256-gcm@openssh.com", "", 2), 4 + 16 + 16);
        assert_eq!(length("aes256-gcm@openssh.com", "", 80), 4 + 96 + 16);
        assert_eq!(length("aes128-ctr", "hmac-sha2-256", 14), 32 + 32);
        assert_eq!(length("aes128-ctr", "hmac-sha2-256", 15), 48 + 32);
        assert_eq!(length("aes128-ctr", "hmac-sha2-256-etm@openssh.com", 18), 4 + 32 + 32);
        assert_eq!(length("aes256-ctr", "hmac-sha2-512-etm@openssh.com", 19), 4 + 48 + 64);
    }
}
