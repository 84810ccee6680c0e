//! Cursor that reads the words of a row, eight bytes at a time.
use std::net::Ipv4Addr;

use crate::parse::proc_net::HEX_DIGIT_VALUES;

/// Window on the start of a row, with the position of the next unread byte.
pub(super) struct RowCursor<'a> {
    pub(super) bytes: &'a [u8; RowCursor::WINDOW_BYTES],
    pub(super) position: usize,
}

// Constants with the same value in each of the eight bytes.
const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;
const ASCII_BLANKS: u64 = 0x2020_2020_2020_2020;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

impl<'a> RowCursor<'a> {
    /// Size of the window. A row fits up to its second IPv6 endpoint.
    pub(super) const WINDOW_BYTES: usize = 160;

    /// Creates a cursor, or returns `None` if `text` is shorter than the window: the end
    /// of a text is left to the regular parsers.
    pub(super) fn new(text: &'a [u8]) -> Option<Self> {
        Some(Self { bytes: text.first_chunk()?, position: 0 })
    }

    /// Skips `bytes` if they are next. Returns true if they are.
    pub(super) fn skip_if_next(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.rest().starts_with(bytes);
        if is_next {
            self.position += bytes.len();
        }
        is_next
    }

    /// Skips one byte. Returns `None` if it is not `byte`.
    pub(super) fn expect_byte(&mut self, byte: u8) -> Option<()> {
        let is_next = self.is_at_byte(byte);
        self.position += 1;
        is_next.then_some(())
    }

    /// Skips `tcp` or `tcp6`.
    pub(super) fn skip_protocol(&mut self) -> Option<()> {
        let is_next = self.skip_if_next(b"tcp");
        self.skip_if_next(b"6");
        is_next.then_some(())
    }

    /// Skips `tcp` and the blanks after it, if the row has a Netid.
    pub(super) fn skip_netid(&mut self) -> Option<()> {
        if self.skip_if_next(b"tcp ") {
            self.position -= 1;
            self.skip_blanks()?;
        }
        Some(())
    }

    /// Returns true if `byte` is next.
    pub(super) fn is_at_byte(&self, byte: u8) -> bool {
        self.bytes.get(self.position) == Some(&byte)
    }

    /// Returns true if a printable character is next.
    pub(super) fn is_at_word(&self) -> bool {
        self.bytes.get(self.position).is_some_and(u8::is_ascii_graphic)
    }

    /// Returns true if a blank or a line end is next.
    pub(super) fn is_at_word_end(&self) -> bool {
        matches!(self.bytes.get(self.position), Some(b' ' | b'\n' | b'\r'))
    }

    /// Reads a word of printable characters.
    pub(super) fn read_word(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let (word, _) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_graphic())?);
        self.position += word.len();
        Some(word)
    }

    /// Returns up to `length` unread bytes without skipping them.
    pub(super) fn peek(&self, length: usize) -> &'a [u8] {
        let rest = self.rest();
        &rest[..rest.len().min(length)]
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    fn load_u32(&self, position: usize) -> Option<u32> {
        // With this form of the check, the compiler checks the bounds only once.
        if position > Self::WINDOW_BYTES - 4 {
            return None;
        }
        Some(u32::from_le_bytes(*self.bytes[position..].first_chunk()?))
    }

    fn load_u64(&self) -> Option<u64> {
        if self.position > Self::WINDOW_BYTES - 8 {
            return None;
        }
        Some(u64::from_le_bytes(*self.bytes[self.position..].first_chunk()?))
    }

    /// Skips one or more blanks.
    pub(super) fn skip_blanks(&mut self) -> Option<()> {
        let start = self.position;
        self.skip_optional_blanks()?;
        (self.position > start).then_some(())
    }

    /// Skips any blanks.
    pub(super) fn skip_optional_blanks(&mut self) -> Option<()> {
        loop {
            let non_blanks = self.load_u64()? ^ ASCII_BLANKS;
            if non_blanks != 0 {
                self.position += non_blanks.trailing_zeros() as usize / 8;
                return Some(());
            }
            self.position += 8;
        }
    }

    /// Skips a number of one to seven digits.
    pub(super) fn skip_number(&mut self) -> Option<()> {
        let n_digits = count_digits(self.load_u64()?);
        self.position += n_digits as usize;
        (1..=7).contains(&n_digits).then_some(())
    }

    /// Reads a port of one to five digits.
    #[inline]
    pub(super) fn read_port(&mut self) -> Option<u16> {
        let bytes = self.load_u64()?;
        let n_digits = count_digits(bytes);
        if !(1..=5).contains(&n_digits) {
            return None;
        }
        self.position += n_digits as usize;
        u16::try_from(decode_decimal((bytes ^ ASCII_ZEROS) << (64 - 8 * n_digits))).ok()
    }

    /// Reads an IPv4 address without a branch per digit. Accepts the same texts as the
    /// standard library.
    #[inline]
    pub(super) fn read_ipv4(&mut self) -> Option<Ipv4Addr> {
        let text: &[u8; 16] = self.bytes.get(self.position..)?.first_chunk()?;
        let (low, high) = (text.first_chunk()?, text.last_chunk()?);
        // Find the ends of all octets at once: in a sequential search, each octet would
        // wait for the previous one, and the next word for all of them.
        let mut ends = gather_high_bits(non_digit_mask(u64::from_le_bytes(*low)))
            | gather_high_bits(non_digit_mask(u64::from_le_bytes(*high))) << 8;
        let (mut start, mut address, mut is_invalid) = (0, 0, false);
        for octet in 0..4 {
            let end = (ends | 1 << 31).trailing_zeros();
            ends &= ends.wrapping_sub(1);
            let length = end.wrapping_sub(start);
            let n_bits = 8 * (length & 3);
            let digits = self.load_u32(self.position + start as usize)? ^ 0x3030_3030;
            is_invalid |= octet < 3 && digits >> n_bits & 0xFF != u32::from(b'.' ^ b'0');
            let digits = digits.wrapping_shl(32 - n_bits);
            let (min, max) = OCTET_RANGES[length as usize & 3];
            is_invalid |= digits.swap_bytes().wrapping_sub(min) > max - min || length > 3;
            // 100 * first digit + 10 * second digit + third digit, in the highest byte.
            address = address << 8 | digits.wrapping_mul(0x64_0A01) >> 24;
            start = end + 1;
        }
        if is_invalid {
            return None;
        }
        self.position += start as usize - 1;
        Some(Ipv4Addr::from_bits(address))
    }

    /// Reads a number of exactly `n_digits` uppercase hexadecimal digits, at most eight.
    pub(super) fn read_hex(&mut self, n_digits: usize) -> Option<u32> {
        let bytes = self.load_u64()?;
        self.position += n_digits;
        // Drop the bytes after the digits, and add leading zeros.
        let n_spare_bits = 64 - 8 * n_digits;
        let zeros = if n_spare_bits == 0 { 0 } else { ASCII_ZEROS >> (8 * n_digits) };
        decode_hex(if n_spare_bits == 0 { bytes } else { bytes << n_spare_bits | zeros })
    }
}

/// Returns the number of decimal digits at the start of eight bytes, at most seven.
fn count_digits(bytes: u64) -> u32 {
    (non_digit_mask(bytes) | 1 << 63).trailing_zeros() / 8
}

/// Returns the high bit of each byte that is not a decimal digit. After a non-ASCII byte,
/// the high bit of a `9` may be set as well because of a carry.
fn non_digit_mask(bytes: u64) -> u64 {
    let digits = bytes ^ ASCII_ZEROS;
    (digits.wrapping_add(ONES * 0x76) | digits) & HIGH_BITS
}

/// Returns the high bits of eight bytes as one byte. The other bits must be 0.
fn gather_high_bits(high_bits: u64) -> u32 {
    ((high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// Smallest and largest octet by its number of digits, with one byte per digit. Leading
/// zeros are excluded, because other programs parse 010 as octal 8. The entry for zero
/// and four digits matches no octet.
const OCTET_RANGES: [(u32, u32); 4] =
    [(0xFF, 0xFF), (0, 0x09), (0x01_00, 0x09_09), (0x01_00_00, 0x02_05_05)];

/// Returns the number of eight digits, with the first digit in the lowest byte.
fn decode_decimal(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (odd, even) = (pairs & 0xFF_0000_00FF, pairs >> 16 & 0xFF_0000_00FF);
    odd.wrapping_mul(100 + (1_000_000 << 32)).wrapping_add(even.wrapping_mul(1 + (10_000 << 32)))
        >> 32
}

/// Returns the number of eight hexadecimal digits. Letters must be uppercase, as in
/// `/proc`.
fn decode_hex(bytes: u64) -> Option<u32> {
    // Digits are 0x30 to 0x39, letters 0x41 to 0x46.
    let letters = (bytes >> 6) & ONES;
    let low = bytes & (ONES * 0xF);
    let is_too_high = low + ONES * 6 + letters * 3;
    let is_too_low = (letters << 4) & !(low + ONES * 15);
    let is_other = (bytes & (ONES * 0xF0)) ^ ASCII_ZEROS ^ (letters * 0x70);
    if (is_too_high & (ONES * 0x10)) | is_too_low | is_other != 0 {
        return None;
    }
    let values = low + letters * 9;
    let pairs = (values << 4 | values >> 8) & 0x00FF_00FF_00FF_00FF;
    let words = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    Some(((words | words >> 16) as u32).swap_bytes())
}

/// Parses a group of an IPv6 address: one to four hexadecimal digits. Returns the group
/// and its number of digits.
pub(super) fn parse_group(text: &[u8]) -> Option<(u16, usize)> {
    let (mut group, mut n_digits) = (0, 0);
    while let Some(value) = text.get(n_digits).map(|&digit| HEX_DIGIT_VALUES[usize::from(digit)])
        && value < 0x10
        && n_digits < 5
    {
        group = group << 4 | u16::from(value);
        n_digits += 1;
    }
    (1..=4).contains(&n_digits).then_some((group, n_digits))
}
