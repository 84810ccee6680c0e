//! Names of TCP states in listings.
use crate::model::connection::TcpState;

/// Returns the TCP state that `word` names in the listing of any tool.
///
/// net-tools translates the names into Brazilian Portuguese, Czech and German (`po/` of
/// net-tools 2.10). Windows translates them as well; only some of its German names are
/// known. Translated names are recognized in UTF-8 and in the older character sets of
/// their languages.
pub(super) fn tcp_state(word: &[u8]) -> Option<TcpState> {
    Some(match word {
        b"ESTABLISHED" | b"ESTAB" | b"VERBUNDEN" | b"SPOJENO" | b"ESTABELECIDA"
        | b"HERGESTELLT" => TcpState::Established,
        b"TIME_WAIT" | b"TIME-WAIT" | b"WARTEND" => TcpState::TimeWait,
        b"LISTEN" | b"LISTENING" => TcpState::Listen,
        b"SYN_SENT" | b"SYN-SENT" | b"SYN_ENVIADO" | b"SYN_GESENDET" => TcpState::SynSent,
        b"SYN_RECV" | b"SYN-RECV" | b"SYN_RCVD" | b"SYN_RECEIVED" | b"SYN_RECEBIDO" => {
            TcpState::SynRecv
        }
        b"FIN_WAIT1" | b"FIN-WAIT-1" | b"FIN_WAIT_1" | b"ESPERA_FIN1" => TcpState::FinWait1,
        b"FIN_WAIT2" | b"FIN-WAIT-2" | b"FIN_WAIT_2" | b"ESPERA_FIN2" | b"FIN_WARTEN_2" => {
            TcpState::FinWait2
        }
        b"CLOSE_WAIT" | b"CLOSE-WAIT" | b"ESPERANDO_FECHAR" | b"SCHLIESSEN_WARTEN" => {
            TcpState::CloseWait
        }
        // Sockets without a connection: UNCONN is printed by ss; Solaris and Windows have
        // names for sockets that only have a port.
        b"CLOSE" | b"CLOSED" | b"UNCONN" | b"IDLE" | b"BOUND" | b"DELETE_TCB" | b"FECHAR" => {
            TcpState::Close
        }
        b"LAST_ACK" | b"LAST-ACK" => TcpState::LastAck,
        b"CLOSING" | b"FECHANDO" => TcpState::Closing,
        _ => return translated_tcp_state(word),
    })
}

/// Returns the TCP state of a word in which another column follows the name without a blank.
///
/// The column of net-tools is as wide as `ESTABLISHED`, and old versions print no blank
/// after it: `ESTABLISHED3160/httpd`, `ESTABLISHED-`. FreeBSD appends `*` while a SYN or FIN
/// is pending.
pub(super) fn joined_tcp_state(word: &[u8]) -> Option<TcpState> {
    if let Some(name) = word.strip_suffix(b"*").or_else(|| word.strip_suffix(b"-")) {
        return tcp_state(name);
    }
    let slash = word.iter().position(|&byte| byte == b'/')?;
    let name_length = length_without_digits(&word[..slash]);
    if name_length == slash { None } else { tcp_state(&word[..name_length]) }
}

/// Returns the TCP state of a word of `ss` that ends in the length of the receive queue.
/// Some versions print no blank between the two: `ESTAB0`, `FIN-WAIT-10`.
pub(super) fn tcp_state_with_queue(word: &[u8]) -> Option<TcpState> {
    let mut length = length_without_digits(word);
    while length < word.len() {
        let tcp_state = tcp_state(&word[..length]);
        if tcp_state.is_some() {
            return tcp_state;
        }
        length += 1;
    }
    None
}

/// Returns the length of a word without the digits at its end.
fn length_without_digits(word: &[u8]) -> usize {
    word.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1)
}

/// Returns true if a word may be the name of a TCP state in any language. Letters may be
/// lost: a German Windows prints `ABH?REN` where its character set lacks the Ö.
pub(super) fn may_be_state(word: &[u8]) -> bool {
    !word.first().is_some_and(u8::is_ascii_digit)
        && word.iter().any(|byte| byte.is_ascii_alphabetic() || *byte >= 0x80 || *byte == b'?')
        && word.iter().all(|byte| {
            byte.is_ascii_alphanumeric()
                || *byte >= 0x80
                || matches!(byte, b'?' | b'_' | b'-' | b'.')
        })
}

/// Returns the TCP state of a name with non-ASCII letters.
fn translated_tcp_state(word: &[u8]) -> Option<TcpState> {
    const NAMES: [(&str, TcpState); 7] = [
        ("ABHÖREN", TcpState::Listen),
        ("NASLOUCHÁ", TcpState::Listen),
        ("OUÇA", TcpState::Listen),
        ("ZAVŘEN", TcpState::Close),
        ("ZAVÍRÁ", TcpState::Closing),
        // "POSLEDNÍ ACK" is two words in Czech; the second word is ignored.
        ("POSLEDNÍ", TcpState::LastAck),
        ("ÚLTIMO_ACK", TcpState::LastAck),
    ];
    NAMES
        .into_iter()
        .find(|(name, _)| {
            word == name.as_bytes()
                || word.iter().copied().eq(encode_latin(name))
                || word.iter().copied().eq(encode_code_page_850(name))
        })
        .map(|(_, tcp_state)| tcp_state)
}

/// Encodes `name` in ISO 8859-1, or in ISO 8859-2 for Czech: the encodings differ in only
/// one of the letters used here.
fn encode_latin(name: &str) -> impl Iterator<Item = u8> {
    name.chars().map(|letter| match letter {
        'Ř' => 0xD8,
        // In ISO 8859-1, a letter below U+0100 is encoded as its code point.
        other => u8::try_from(other).unwrap_or(b'?'),
    })
}

/// Encodes `name` in code page 850, which the console of a German Windows uses.
fn encode_code_page_850(name: &str) -> impl Iterator<Item = u8> {
    name.chars().map(|letter| match letter {
        'Ö' => 0x99,
        other => u8::try_from(other).unwrap_or(b'?'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translated_names_are_known_in_all_encodings() {
        assert_eq!(tcp_state("ÚLTIMO_ACK".as_bytes()), Some(TcpState::LastAck));
        assert_eq!(tcp_state(b"\xDALTIMO_ACK"), Some(TcpState::LastAck));
        assert_eq!(tcp_state(b"OU\xC7A"), Some(TcpState::Listen));
        assert_eq!(tcp_state(b"ZAV\xD8EN"), Some(TcpState::Close));
    }

    #[test]
    fn joined_columns_are_separated() {
        for (word, expected) in [
            ("ESTABLISHED3160/httpd", Some(TcpState::Established)),
            ("ESTABLISHED-", Some(TcpState::Established)),
            ("ESTABLISHED*", Some(TcpState::Established)),
            ("ESTABELECIDA9/x", Some(TcpState::Established)),
            ("3160/httpd", None),
            ("ESTABLISHED", None),
            ("ESTABLISHED/", None),
            ("", None),
        ] {
            assert_eq!(joined_tcp_state(word.as_bytes()), expected, "{word}");
        }
        for (word, expected) in [
            ("ESTAB0", Some(TcpState::Established)),
            ("LISTEN128", Some(TcpState::Listen)),
            ("FIN-WAIT-10", Some(TcpState::FinWait1)),
            ("FIN-WAIT-2117", Some(TcpState::FinWait2)),
            ("ESTAB", None),
            ("10", None),
        ] {
            assert_eq!(tcp_state_with_queue(word.as_bytes()), expected, "{word}");
        }
    }

    #[test]
    fn kernel_names_are_known_and_other_words_are_not() {
        for expected in TcpState::ALL {
            assert_eq!(tcp_state(expected.name().as_bytes()), Some(expected));
        }
        for word in [&b"estab"[..], b"", b"FIN_WAIT", b"0A", b"UNKNOWN", b"?"] {
            assert_eq!(tcp_state(word), None);
        }
    }
}
