//! The words for the TCP states that tools print.
use crate::model::connection::TcpState;

/// The state that `word` stands for.
///
/// net-tools translates the words. Its languages that do are Brazilian
/// Portuguese, Czech and German (`po/` of net-tools 2.10). So does Windows, of
/// which only some of the German words could be found. All stand here in UTF-8
/// and in the older character sets of their languages.
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
        // Sockets that have not begun or are done: ss says UNCONN, Solaris and
        // Windows have words for "has a port, and that is all".
        b"CLOSE" | b"CLOSED" | b"UNCONN" | b"IDLE" | b"BOUND" | b"DELETE_TCB" | b"FECHAR" => {
            TcpState::Close
        }
        b"LAST_ACK" | b"LAST-ACK" => TcpState::LastAck,
        b"CLOSING" | b"FECHANDO" => TcpState::Closing,
        _ => return translated(word),
    })
}

/// The words with letters beyond ASCII.
fn translated(word: &[u8]) -> Option<TcpState> {
    const WORDS: [(&str, TcpState); 7] = [
        ("ABHÖREN", TcpState::Listen),
        ("NASLOUCHÁ", TcpState::Listen),
        ("OUÇA", TcpState::Listen),
        ("ZAVŘEN", TcpState::Close),
        ("ZAVÍRÁ", TcpState::Closing),
        // Two words in Czech, "POSLEDNÍ ACK"; the second is left alone.
        ("POSLEDNÍ", TcpState::LastAck),
        ("ÚLTIMO_ACK", TcpState::LastAck),
    ];
    WORDS
        .into_iter()
        .find(|(name, _)| {
            word == name.as_bytes()
                || word.iter().copied().eq(latin(name))
                || word.iter().copied().eq(code_page_850(name))
        })
        .map(|(_, state)| state)
}

/// `name` in ISO 8859-1 or, for Czech, 8859-2; they agree on its letters but one.
fn latin(name: &str) -> impl Iterator<Item = u8> {
    name.chars().map(|letter| match letter {
        'Ř' => 0xD8,
        // Each of them below U+0100 is its own number.
        other => u8::try_from(other).unwrap_or(b'?'),
    })
}

/// `name` in the code page of a German Windows' console.
fn code_page_850(name: &str) -> impl Iterator<Item = u8> {
    name.chars().map(|letter| match letter {
        'Ö' => 0x99,
        other => u8::try_from(other).unwrap_or(b'?'),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_beyond_ascii() {
        assert_eq!(tcp_state("ÚLTIMO_ACK".as_bytes()), Some(TcpState::LastAck));
        assert_eq!(tcp_state(b"\xDALTIMO_ACK"), Some(TcpState::LastAck));
        assert_eq!(tcp_state(b"OU\xC7A"), Some(TcpState::Listen));
        assert_eq!(tcp_state(b"ZAV\xD8EN"), Some(TcpState::Close));
    }

    #[test]
    fn the_kernels_names_are_known() {
        for state in TcpState::ALL {
            assert_eq!(tcp_state(state.name().as_bytes()), Some(state));
        }
        for word in [&b"estab"[..], b"", b"FIN_WAIT", b"0A", b"UNKNOWN", b"?"] {
            assert_eq!(tcp_state(word), None);
        }
    }
}
