//! Filter for local ports that the kernel evaluates: bytecode for
//! `INET_DIAG_REQ_BYTECODE` (`net/ipv4/inet_diag.c`).
//!
//! An operation is a comparison with two jump distances: `yes` if the comparison
//! holds, `no` if it does not. The kernel accepts a socket if evaluation reaches
//! exactly the end of the bytecode, and rejects it if evaluation reaches four bytes
//! beyond. The kernel audits the bytecode: following the `yes` distances must lead to
//! the end, and each `no` distance must lead to an operation on that path, to the
//! end, or to four bytes beyond it.
use std::ops::RangeInclusive;

/// Jumps the `no` distance unconditionally.
const INET_DIAG_BC_JMP: u8 = 1;
/// Compares: the local port is at least the port in the next four bytes.
const INET_DIAG_BC_S_GE: u8 = 2;
/// Compares: the local port is at most the port in the next four bytes.
const INET_DIAG_BC_S_LE: u8 = 3;
/// Size of a comparison.
const COMPARISON_BYTES: u8 = 8;
/// Size of a jump.
const JUMP_BYTES: u8 = 4;
/// Size of the operations of a range. The last range is one jump shorter.
const RANGE_BYTES: u8 = 2 * COMPARISON_BYTES + JUMP_BYTES;
/// Maximum number of ranges in a filter. Comparing a socket with this many ranges takes
/// half as long as dumping it, and that time is wasted for a selected socket.
const MAX_RANGES: usize = 64;

/// Returns bytecode that selects sockets at one of `ports`; `None` if `ports` is empty,
/// which selects all, or has more than `MAX_RANGES` ranges.
pub(super) fn bytecode(ports: &[RangeInclusive<u16>]) -> Option<Vec<u8>> {
    if ports.is_empty() || ports.len() > MAX_RANGES {
        return None;
    }
    let mut bytecode = Vec::new();
    for (index, range) in ports.iter().enumerate() {
        // If a comparison fails, evaluation continues at the next range. After the
        // last range, the same distance leads to four bytes beyond the end, because
        // the last range does not have a jump.
        push_comparison(&mut bytecode, INET_DIAG_BC_S_GE, *range.start(), RANGE_BYTES);
        push_comparison(
            &mut bytecode,
            INET_DIAG_BC_S_LE,
            *range.end(),
            RANGE_BYTES - COMPARISON_BYTES,
        );
        let n_remaining = ports.len() - index - 1;
        if n_remaining > 0 {
            // The end is exactly `n_remaining` ranges away from the start of this jump,
            // because this jump is as long as the one that the last range lacks.
            let distance_to_end = u16::try_from(n_remaining * usize::from(RANGE_BYTES))
                .expect("at most MAX_RANGES ranges");
            push_operation(&mut bytecode, INET_DIAG_BC_JMP, JUMP_BYTES, distance_to_end);
        }
    }
    Some(bytecode)
}

/// Appends a comparison of the local port with `port`.
fn push_comparison(bytecode: &mut Vec<u8>, code: u8, port: u16, no: u8) {
    push_operation(bytecode, code, COMPARISON_BYTES, no.into());
    push_operation(bytecode, 0, 0, port);
}

/// Appends a `struct inet_diag_bc_op`.
fn push_operation(bytecode: &mut Vec<u8>, code: u8, yes: u8, no: u16) {
    bytecode.extend([code, yes]);
    bytecode.extend(no.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct DecodedOperation {
        code: u8,
        yes: usize,
        no: usize,
        port: Option<u16>,
    }

    fn decode_at(bytecode: &[u8], offset: usize) -> DecodedOperation {
        let number = |offset: usize| u16::from_ne_bytes([bytecode[offset], bytecode[offset + 1]]);
        let code = bytecode[offset];
        DecodedOperation {
            code,
            yes: bytecode[offset + 1].into(),
            no: number(offset + 2).into(),
            port: (code != INET_DIAG_BC_JMP).then(|| number(offset + 6)),
        }
    }

    /// Checks `bytecode` like `inet_diag_bc_audit` of Linux 6.18.
    fn audit(bytecode: &[u8]) -> Result<(), String> {
        let mut path = vec![];
        let mut targets = vec![];
        let mut offset = 0;
        while offset < bytecode.len() {
            let DecodedOperation { yes, no, port, .. } = decode_at(bytecode, offset);
            let size = if port.is_some() { 8 } else { 4 };
            let remaining = bytecode.len() - offset;
            for distance in [yes, no] {
                if distance < size || distance > remaining + 4 || distance % 4 != 0 {
                    return Err(format!("{distance} at {offset} of {}", bytecode.len()));
                }
            }
            path.push(offset);
            targets.extend(Some(offset + no).filter(|&it| it < bytecode.len()));
            offset += yes;
        }
        match targets.into_iter().find(|it| !path.contains(it)) {
            None if offset == bytecode.len() => Ok(()),
            target => Err(format!("{target:?} is not on the path to {offset}")),
        }
    }

    /// Evaluates `bytecode` like `inet_diag_bc_run` for a socket with this local port.
    fn accepts(bytecode: &[u8], local_port: u16) -> bool {
        let mut offset = 0;
        while offset < bytecode.len() {
            let DecodedOperation { code, yes, no, port } = decode_at(bytecode, offset);
            let holds = match (code, port) {
                (INET_DIAG_BC_S_GE, Some(port)) => local_port >= port,
                (INET_DIAG_BC_S_LE, Some(port)) => local_port <= port,
                _ => false,
            };
            offset += if holds { yes } else { no };
        }
        offset == bytecode.len()
    }

    #[test]
    fn empty_and_oversized_port_lists_have_no_bytecode() {
        assert_eq!(bytecode(&[]), None);
        assert_eq!(bytecode(&vec![80..=80; MAX_RANGES + 1]), None);
        assert!(
            audit(&bytecode(&vec![80..=80; MAX_RANGES]).expect("at most MAX_RANGES ranges"))
                .is_ok()
        );
    }

    proptest! {
        #[test]
        fn bytecode_passes_audit_and_selects_exactly_the_ports(
            ends in prop::collection::vec((0..100u16, 0..100u16), 1..9),
            use_highest_ports in any::<bool>(),
        ) {
            let base = if use_highest_ports { u16::MAX - 99 } else { 0 };
            let ports: Vec<_> = ends.iter().map(|&(a, b)| base + a.min(b)..=base + a.max(b)).collect();
            let bytecode = bytecode(&ports).expect("at most MAX_RANGES ranges");
            prop_assert_eq!(audit(&bytecode), Ok(()));
            for port in (0..200).chain(u16::MAX - 200..=u16::MAX) {
                let is_selected = ports.iter().any(|range| range.contains(&port));
                prop_assert_eq!(accepts(&bytecode, port), is_selected, "{}", port);
            }
        }
    }
}
