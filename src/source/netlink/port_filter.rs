//! The ports of this machine that are wanted, as the kernel's own filter takes
//! them: the bytecode of `INET_DIAG_REQ_BYTECODE` (`net/ipv4/inet_diag.c`).
//!
//! An operation is a comparison, and two distances: how far it is to the next one
//! where it holds, and where it does not. A socket that comes to the end exactly
//! is given; whatever goes four bytes beyond it is not. The kernel takes only what
//! comes to its end by the first distances alone, and lets the second ones lead
//! to an operation on that way, or to where a socket is given or not.
use std::ops::RangeInclusive;

/// `INET_DIAG_BC_JMP`: goes the second distance.
const JUMP: u8 = 1;
/// `INET_DIAG_BC_S_GE`: whether the local port is at least that in the next four
/// bytes.
const AT_LEAST: u8 = 2;
/// `INET_DIAG_BC_S_LE`.
const AT_MOST: u8 = 3;
/// How many bytes a comparison takes, and a jump.
const COMPARISON: u8 = 8;
const OPERATION: u8 = 4;
/// How many bytes a range takes, but for the last one, which needs no jump.
const RANGE: u8 = 2 * COMPARISON + OPERATION;
/// To hold a socket against that many ranges takes half as long as to give it,
/// for nothing where it is wanted.
const MOST: usize = 64;

/// The bytecode for sockets at one of `ports`; `None` where all are wanted, or
/// more ranges than it is good for.
pub(super) fn bytecode(ports: &[RangeInclusive<u16>]) -> Option<Vec<u8>> {
    if ports.is_empty() || ports.len() > MOST {
        return None;
    }
    let mut bytecode = Vec::new();
    for (index, range) in ports.iter().enumerate() {
        // Where it does not hold, the next range is as far away as, behind the
        // last one, the place where a socket is not given.
        comparison(&mut bytecode, AT_LEAST, *range.start(), RANGE);
        comparison(&mut bytecode, AT_MOST, *range.end(), RANGE - COMPARISON);
        let n_left = ports.len() - index - 1;
        if n_left > 0 {
            // The jump that the last range does not have makes up for this one.
            let to_the_end = u16::try_from(n_left * usize::from(RANGE)).expect("they are few");
            operation(&mut bytecode, JUMP, OPERATION, to_the_end);
        }
    }
    Some(bytecode)
}

fn comparison(bytecode: &mut Vec<u8>, code: u8, port: u16, otherwise: u8) {
    operation(bytecode, code, COMPARISON, otherwise.into());
    operation(bytecode, 0, 0, port);
}

/// `struct inet_diag_bc_op`.
fn operation(bytecode: &mut Vec<u8>, code: u8, yes: u8, no: u16) {
    bytecode.extend([code, yes]);
    bytecode.extend(no.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Operation {
        code: u8,
        yes: usize,
        no: usize,
        port: Option<u16>,
    }

    fn at(bytecode: &[u8], place: usize) -> Operation {
        let number = |at: usize| u16::from_ne_bytes([bytecode[at], bytecode[at + 1]]);
        let code = bytecode[place];
        Operation {
            code,
            yes: bytecode[place + 1].into(),
            no: number(place + 2).into(),
            port: (code != JUMP).then(|| number(place + 6)),
        }
    }

    /// What `inet_diag_bc_audit` of Linux 6.18 asks of it.
    fn audit(bytecode: &[u8]) -> Result<(), String> {
        let mut on_the_way = vec![];
        let mut targets = vec![];
        let mut place = 0;
        while place < bytecode.len() {
            let Operation { yes, no, port, .. } = at(bytecode, place);
            let own = if port.is_some() { 8 } else { 4 };
            let left = bytecode.len() - place;
            for distance in [yes, no] {
                if distance < own || distance > left + 4 || distance % 4 != 0 {
                    return Err(format!("{distance} at {place} of {}", bytecode.len()));
                }
            }
            on_the_way.push(place);
            targets.extend(Some(place + no).filter(|&it| it < bytecode.len()));
            place += yes;
        }
        match targets.into_iter().find(|it| !on_the_way.contains(it)) {
            None if place == bytecode.len() => Ok(()),
            target => Err(format!("{target:?} is not on the way to {place}")),
        }
    }

    /// What `inet_diag_bc_run` says of a socket.
    fn gives(bytecode: &[u8], local: u16) -> bool {
        let mut place = 0;
        while place < bytecode.len() {
            let Operation { code, yes, no, port } = at(bytecode, place);
            let holds = match (code, port) {
                (AT_LEAST, Some(port)) => local >= port,
                (AT_MOST, Some(port)) => local <= port,
                _ => false,
            };
            place += if holds { yes } else { no };
        }
        place == bytecode.len()
    }

    #[test]
    fn no_ports_are_all() {
        assert_eq!(bytecode(&[]), None);
        assert_eq!(bytecode(&vec![80..=80; MOST + 1]), None);
        assert!(audit(&bytecode(&vec![80..=80; MOST]).expect("few enough")).is_ok());
    }

    proptest! {
        #[test]
        fn the_kernel_takes_it_and_gives_those_ports(
            ends in prop::collection::vec((0..100u16, 0..100u16), 1..9),
            highest in any::<bool>(),
        ) {
            let base = if highest { u16::MAX - 99 } else { 0 };
            let ports: Vec<_> = ends.iter().map(|&(a, b)| base + a.min(b)..=base + a.max(b)).collect();
            let bytecode = bytecode(&ports).expect("few enough");
            prop_assert_eq!(audit(&bytecode), Ok(()));
            for port in (0..200).chain(u16::MAX - 200..=u16::MAX) {
                let wanted = ports.iter().any(|range| range.contains(&port));
                prop_assert_eq!(gives(&bytecode, port), wanted, "{}", port);
            }
        }
    }
}
