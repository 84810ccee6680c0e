//! Statistics files of the kernel's network code in `/proc` (proc(5)).

/// Returns a counter of `/proc/net/netstat`, or `None` if the kernel does not have the counter.
///
/// For each protocol, the file has a line of names, followed by a line of values.
#[must_use]
pub fn tcp_ext_counter(netstat: &str, name: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let column = names.split_whitespace().position(|word| word == name)?;
    values.split_whitespace().nth(column)?.parse().ok()
}

/// Returns the sum of a column of `/proc/net/stat/nf_conntrack`, or `None` if the file does
/// not have the column. The names of the columns are followed by a line of hexadecimal numbers
/// for each processor.
#[must_use]
pub fn conntrack_counter(stat: &str, name: &str) -> Option<u64> {
    let mut lines = stat.lines();
    let column = lines.next()?.split_whitespace().position(|word| word == name)?;
    let mut sum: u64 = 0;
    for line in lines {
        let digits = line.split_whitespace().nth(column)?;
        sum = sum.saturating_add(u64::from_str_radix(digits, 16).ok()?);
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_counter_is_in_the_column_of_its_name() {
        let netstat = "TcpExt: SyncookiesSent SyncookiesRecv ListenOverflows\n\
                       TcpExt: 12 0 18446744073709551615\nIpExt: InNoRoutes\nIpExt: 3\n";
        assert_eq!(tcp_ext_counter(netstat, "SyncookiesSent"), Some(12));
        assert_eq!(tcp_ext_counter(netstat, "ListenOverflows"), Some(u64::MAX));
        assert_eq!(tcp_ext_counter(netstat, "InNoRoutes"), None);
        for malformed in ["", "TcpExt: A\n", "TcpExt: A\nTcpExt:\n", "TcpExt: A\nTcpExt: x\n"] {
            assert_eq!(tcp_ext_counter(malformed, "A"), None, "{malformed}");
        }
    }

    #[test]
    fn conntrack_counter_is_the_sum_over_processors() {
        let stat = "entries  drop early_drop\n00000001  0000000a 00000000\n00000001  00000002 0\n";
        assert_eq!(conntrack_counter(stat, "drop"), Some(12));
        assert_eq!(conntrack_counter(stat, "insert"), None);
        for malformed in ["", "drop\nx\n", "a drop\n1\n"] {
            assert_eq!(conntrack_counter(malformed, "drop"), None, "{malformed}");
        }
    }
}
