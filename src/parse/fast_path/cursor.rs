//! Words of a row, eight bytes at a time.
use std::net::Ipv4Addr;

use crate::parse::proc_net::VALUES;

/// The beginning of a row, and how far it has been read.
pub(super) struct Words<'a> {
    pub(super) bytes: &'a [u8; Words::LENGTH],
    pub(super) at: usize,
}

/// Each byte a zero, a blank, a one, a high bit.
const ZEROS: u64 = 0x3030_3030_3030_3030;
const BLANKS: u64 = 0x2020_2020_2020_2020;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

impl<'a> Words<'a> {
    /// How much of a row is looked at: two ends of IPv6 and what is before them fit.
    pub(super) const LENGTH: usize = 160;

    /// Nothing, where there is less than that: the end of a text is for others.
    pub(super) fn of(text: &'a [u8]) -> Option<Self> {
        Some(Self { bytes: text.first_chunk()?, at: 0 })
    }

    /// Takes these bytes, if they come next.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        let is_next = self.rest().starts_with(bytes);
        if is_next {
            self.at += bytes.len();
        }
        is_next
    }

    pub(super) fn byte(&mut self, byte: u8) -> Option<()> {
        let is_next = self.is(byte);
        self.at += 1;
        is_next.then_some(())
    }

    /// `tcp` or `tcp6`.
    pub(super) fn protocol(&mut self) -> Option<()> {
        let is_next = self.take(b"tcp");
        self.take(b"6");
        is_next.then_some(())
    }

    /// `tcp` and the blanks behind it, where other families are listed too.
    pub(super) fn netid(&mut self) -> Option<()> {
        if self.take(b"tcp ") {
            self.at -= 1;
            self.blanks()?;
        }
        Some(())
    }

    pub(super) fn is(&self, byte: u8) -> bool {
        self.bytes.get(self.at) == Some(&byte)
    }

    /// Whether something stands here.
    pub(super) fn is_word(&self) -> bool {
        self.bytes.get(self.at).is_some_and(u8::is_ascii_graphic)
    }

    /// Whether a word ends here.
    pub(super) fn is_word_end(&self) -> bool {
        matches!(self.bytes.get(self.at), Some(b' ' | b'\n' | b'\r'))
    }

    /// A word of letters, or whatever can be printed.
    pub(super) fn graphic(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest();
        let (word, _) = rest.split_at(rest.iter().position(|byte| !byte.is_ascii_graphic())?);
        self.at += word.len();
        Some(word)
    }

    /// No more than `length` of what comes next.
    pub(super) fn ahead(&self, length: usize) -> &'a [u8] {
        let rest = self.rest();
        &rest[..rest.len().min(length)]
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn four(&self, at: usize) -> Option<u32> {
        // Said like this, it is asked for once.
        if at > Self::LENGTH - 4 {
            return None;
        }
        Some(u32::from_le_bytes(*self.bytes[at..].first_chunk()?))
    }

    fn eight(&self) -> Option<u64> {
        if self.at > Self::LENGTH - 8 {
            return None;
        }
        Some(u64::from_le_bytes(*self.bytes[self.at..].first_chunk()?))
    }

    /// One blank or more.
    pub(super) fn blanks(&mut self) -> Option<()> {
        let begin = self.at;
        self.indent()?;
        (self.at > begin).then_some(())
    }

    /// Blanks, if there are any.
    pub(super) fn indent(&mut self) -> Option<()> {
        loop {
            let others = self.eight()? ^ BLANKS;
            if others != 0 {
                self.at += others.trailing_zeros() as usize / 8;
                return Some(());
            }
            self.at += 8;
        }
    }

    /// Up to seven digits, of which nobody asks what they say.
    pub(super) fn number(&mut self) -> Option<()> {
        let n_digits = n_digits(self.eight()?);
        self.at += n_digits as usize;
        (1..=7).contains(&n_digits).then_some(())
    }

    /// Up to five digits.
    #[inline]
    pub(super) fn port(&mut self) -> Option<u16> {
        let eight = self.eight()?;
        let n_digits = n_digits(eight);
        if !(1..=5).contains(&n_digits) {
            return None;
        }
        self.at += n_digits as usize;
        u16::try_from(decimal((eight ^ ZEROS) << (64 - 8 * n_digits))).ok()
    }

    /// What the standard library takes, without a branch for a digit.
    #[inline]
    pub(super) fn ipv4(&mut self) -> Option<Ipv4Addr> {
        let text: &[u8; 16] = self.bytes.get(self.at..)?.first_chunk()?;
        let (low, high) = (text.first_chunk()?, text.last_chunk()?);
        // Where octets end, at once: of one after the other, each waits for the one
        // before, and the next word for all of them.
        let mut ends = side_by_side(non_digits(u64::from_le_bytes(*low)))
            | side_by_side(non_digits(u64::from_le_bytes(*high))) << 8;
        let (mut start, mut address, mut is_wrong) = (0, 0, false);
        for octet in 0..4 {
            let end = (ends | 1 << 31).trailing_zeros();
            ends &= ends.wrapping_sub(1);
            let length = end.wrapping_sub(start);
            let bits = 8 * (length & 3);
            let digits = self.four(self.at + start as usize)? ^ 0x3030_3030;
            is_wrong |= octet < 3 && digits >> bits & 0xFF != u32::from(b'.' ^ b'0');
            let digits = digits.wrapping_shl(32 - bits);
            let (least, most) = OCTETS[length as usize & 3];
            is_wrong |= digits.swap_bytes().wrapping_sub(least) > most - least || length > 3;
            // A hundred times the first, ten times the second, and the third.
            address = address << 8 | digits.wrapping_mul(0x64_0A01) >> 24;
            start = end + 1;
        }
        if is_wrong {
            return None;
        }
        self.at += start as usize - 1;
        Some(Ipv4Addr::from_bits(address))
    }

    /// The number that so many hexadecimal digits are, eight at the most.
    pub(super) fn hex(&mut self, n_digits: usize) -> Option<u32> {
        let eight = self.eight()?;
        self.at += n_digits;
        // Zeros before it, and nothing of what is behind it.
        let spare = 64 - 8 * n_digits;
        let zeros = if spare == 0 { 0 } else { ZEROS >> (8 * n_digits) };
        hex(if spare == 0 { eight } else { eight << spare | zeros })
    }
}

/// How many decimal digits eight bytes begin with, of which the last is not asked.
fn n_digits(eight: u64) -> u32 {
    (non_digits(eight) | 1 << 63).trailing_zeros() / 8
}

/// The high bit of each byte that is no decimal digit; and, behind one that is no
/// ASCII, maybe that of a 9, by what is carried.
fn non_digits(eight: u64) -> u64 {
    let digits = eight ^ ZEROS;
    (digits.wrapping_add(ONES * 0x76) | digits) & HIGH
}

/// The high bits of eight bytes.
fn side_by_side(high: u64) -> u32 {
    ((high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// The least and the most that an octet of as many digits is, a byte for each
/// digit: others read 010 as 8. Of none or four digits, what no such digits are.
const OCTETS: [(u32, u32); 4] =
    [(0xFF, 0xFF), (0, 0x09), (0x01_00, 0x09_09), (0x01_00_00, 0x02_05_05)];

/// The number that eight digits are, the first in the lowest byte.
fn decimal(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let (odd, even) = (pairs & 0xFF_0000_00FF, pairs >> 16 & 0xFF_0000_00FF);
    odd.wrapping_mul(100 + (1_000_000 << 32)).wrapping_add(even.wrapping_mul(1 + (10_000 << 32)))
        >> 32
}

/// The number that eight hexadecimal digits are, with letters as /proc has them.
fn hex(eight: u64) -> Option<u32> {
    // Digits are 0x30 to 0x39, letters 0x41 to 0x46.
    let letters = (eight >> 6) & ONES;
    let low = eight & (ONES * 0xF);
    let is_too_high = low + ONES * 6 + letters * 3;
    let is_too_low = (letters << 4) & !(low + ONES * 15);
    let is_other = (eight & (ONES * 0xF0)) ^ ZEROS ^ (letters * 0x70);
    if (is_too_high & (ONES * 0x10)) | is_too_low | is_other != 0 {
        return None;
    }
    let values = low + letters * 9;
    let pairs = (values << 4 | values >> 8) & 0x00FF_00FF_00FF_00FF;
    let words = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    Some(((words | words >> 16) as u32).swap_bytes())
}

/// A number of up to four hexadecimal digits, and how many those are.
pub(super) fn group(text: &[u8]) -> Option<(u16, usize)> {
    let (mut group, mut n_digits) = (0, 0);
    while let Some(value) = text.get(n_digits).map(|&digit| VALUES[usize::from(digit)])
        && value < 0x10
        && n_digits < 5
    {
        group = group << 4 | u16::from(value);
        n_digits += 1;
    }
    (1..=4).contains(&n_digits).then_some((group, n_digits))
}
