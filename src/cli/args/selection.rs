//! Options for sources and for the selection of connections.
use std::{ops::RangeInclusive, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::{
    analysis::label::Label,
    cli::{
        server_name::ServerName,
        value_parser::{label, members, netns, ports, prefix4, prefix6},
    },
    model::{connection::TcpState, network::Network, peer_id::GroupBy, protocol::Protocol},
    source::NetnsSelector,
};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Source and selection")]
pub(in crate::cli) struct SelectionArgs {
    /// Check these servers over SSH
    ///
    /// A server is HOST, USER@HOST or USER@HOST:PORT, with an IPv6 address in brackets
    /// before a port. localhost is this host. The counts of several servers are added
    /// up. topip does not have to be installed on a server. The built-in SSH client
    /// does not read ~/.ssh/config; see --rsh.
    #[arg(
        short = 'H',
        visible_short_alias = 's',
        long,
        visible_alias = "server",
        value_name = "HOSTS",
        value_delimiter = ',',
        conflicts_with = "input"
    )]
    pub(in crate::cli) hostname: Vec<ServerName>,
    /// Read a saved listing; - is standard input
    ///
    /// The listing can be the output of netstat, ss or conntrack -L, a copy of
    /// /proc/net/tcp, or counts by address as sort | uniq -c prints them. The kind of
    /// listing is recognized by its text.
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(in crate::cli) input: Option<PathBuf>,
    /// Read by auto, netlink, bpf, proc or conntrack
    ///
    /// auto:      by the BPF program if it is loaded and faster, or by
    ///            netlink, or by /proc without netlink (default)
    /// netlink:   only by the kernel's sock_diag(7)
    /// bpf:       only by the BPF program of the service topip-bpf
    /// proc:      only by /proc/self/net/tcp and tcp6
    /// conntrack: the flows of connection tracking instead of sockets, to
    ///            this host and through it; applies to servers as well, and
    ///            needs CAP_NET_ADMIN, or sudo on servers
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "SOURCE",
        hide_default_value = true,
        hide_possible_values = true,
        verbatim_doc_comment
    )]
    pub(in crate::cli) source: SourceKind,
    /// Count tcp, udp or all
    ///
    /// The default is tcp. udp and all need --source conntrack, or a saved listing of
    /// flows.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "PROTOCOL",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(in crate::cli) protocol: Protocol,
    /// Read these network namespaces (containers)
    ///
    /// NAME:      the namespace with this name, as in ip netns list
    /// /PATH:     the namespace at this path
    /// pid:N:     the namespace of this process
    /// user:NAME: the namespaces of this user's rootless containers
    /// all:       each namespace of this host, also the current one, but
    ///            not those of unprivileged users
    ///
    /// The counts are added up; -v shows the share of each namespace. This
    /// option needs root, or CAP_SYS_ADMIN and CAP_SYS_PTRACE.
    #[arg(
        long,
        value_name = "NAMESPACES",
        value_delimiter = ',',
        value_parser = netns,
        verbatim_doc_comment,
        conflicts_with = "input"
    )]
    pub(in crate::cli) netns: Vec<NetnsSelector>,
    /// Count IPv4 only
    ///
    /// IPv4-mapped addresses and clients behind NAT64 are IPv4.
    #[arg(short = '4', conflicts_with = "ipv6_only")]
    pub(in crate::cli) ipv4_only: bool,
    /// Count IPv6 only
    #[arg(short = '6')]
    pub(in crate::cli) ipv6_only: bool,
    /// Accepted for compatibility, without effect
    ///
    /// IPv4-mapped addresses always count as IPv4.
    #[arg(long)]
    ipv6: bool,
    /// Count only connections to these local ports
    ///
    /// Give ports or ranges of ports, such as 80,443,8000-8100.
    #[arg(
        long,
        value_name = "PORTS",
        value_delimiter = ',',
        value_parser = ports
    )]
    pub(in crate::cli) port: Vec<RangeInclusive<u16>>,
    /// Count only connections in these TCP states
    ///
    /// The names are those of netstat or ss, in upper or lower case, such as
    /// ESTABLISHED,SYN_RECV. UDP flows are ASSURED, SEEN_REPLY or UNREPLIED.
    #[arg(long = "state", value_name = "STATES", value_delimiter = ',')]
    pub(in crate::cli) tcp_states: Vec<TcpState>,
    /// Do not count connections in these TCP states
    #[arg(long = "exclude-state", value_name = "STATES", value_delimiter = ',')]
    pub(in crate::cli) exclude_tcp_states: Vec<TcpState>,
    /// Count only connections to a listening port
    ///
    /// Connections that this host opened itself, such as those to a database, are not
    /// counted. A listing must show the listening sockets for that (netstat -natW,
    /// ss -tan). Of flows, those that this host only forwards are not counted.
    #[arg(long)]
    pub(in crate::cli) inbound: bool,
    /// Exclude these networks, in addition to the defaults
    ///
    /// 127.0.0.0/8, ::1 and 192.168.0.0/16 are excluded by default. A network is an
    /// address, or an address with a prefix length: 192.0.2.7, 192.0.2.0/24,
    /// 2001:db8::/32.
    #[arg(short = 'x', long, value_name = "NETS", value_delimiter = ',', value_parser = Network::parse_selector)]
    pub(in crate::cli) exclude: Vec<Network>,
    /// Count only connections from these networks
    ///
    /// -x and --exclude-file still exclude connections from them. The default
    /// exclusions do not apply.
    #[arg(
        long,
        value_name = "NETS",
        value_delimiter = ',',
        value_parser = Network::parse_selector,
        conflicts_with = "no_default_excludes"
    )]
    pub(in crate::cli) only: Vec<Network>,
    /// Exclude the networks and hosts in this file
    ///
    /// Each line is a network, a host name, or with --network-db an operator or a
    /// country, such as AS64500 or country:DE. # starts a comment.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) exclude_file: Vec<PathBuf>,
    /// Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too
    #[arg(long)]
    pub(in crate::cli) no_default_excludes: bool,
    /// Count IPv4 by this prefix length
    ///
    /// With 24, connections from 203.0.113.7 and 203.0.113.9 count together; 32 counts
    /// addresses. With several lengths, such as 32,24, each length is judged by itself.
    #[arg(
        long,
        value_name = "LENGTHS",
        value_delimiter = ',',
        value_parser = prefix4,
        allow_hyphen_values = true,
        default_value = "32"
    )]
    pub(in crate::cli) prefix4: Vec<u8>,
    /// Count IPv6 by this prefix length
    ///
    /// One client commonly has a /64, so 64 corresponds to single addresses of IPv4;
    /// 128 counts addresses.
    #[arg(
        long,
        value_name = "LENGTHS",
        value_delimiter = ',',
        value_parser = prefix6,
        allow_hyphen_values = true,
        default_value = "128"
    )]
    pub(in crate::cli) prefix6: Vec<u8>,
    /// Aggregate only networks with N addresses or more
    ///
    /// Aggregate a network only if at least N of its addresses are connected;
    /// otherwise each of these addresses counts by itself. The default is 1.
    #[arg(
        long,
        value_name = "N",
        value_parser = members, hide_default_value = true,
        allow_hyphen_values = true,
        default_value = "1"
    )]
    pub(in crate::cli) prefix_members: u64,
    /// Show this name with the addresses of a network
    ///
    /// Example: --label 198.51.100.0/24=office prints 198.51.100.7 (office). If several
    /// networks contain an address, the narrowest one gives the name.
    #[arg(long, value_name = "NET=NAME", value_parser = label)]
    pub(in crate::cli) label: Vec<Label>,
    /// Read names for --label from this file
    ///
    /// Each line is NET=NAME or NET NAME; # starts a comment.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) label_file: Vec<PathBuf>,
    /// Show operator and country from this MaxMind DB
    ///
    /// The file is one in MaxMind DB format, such as GeoLite2-ASN.mmdb or
    /// GeoLite2-Country.mmdb. The verdict depends on it only with --group-by, and if
    /// --exclude-file names an operator or a country.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) network_db: Vec<PathBuf>,
    /// Also judge by asn, country or label
    ///
    /// In addition, judge all addresses of one network operator (asn), country or
    /// label together. asn and country need --network-db; label needs --label or
    /// --label-file.
    #[arg(
        long,
        value_enum,
        value_name = "PROPERTIES",
        value_delimiter = ',',
        hide_possible_values = true
    )]
    pub(in crate::cli) group_by: Vec<GroupBy>,
}

/// Source of connections on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SourceKind {
    /// The BPF program if it is loaded and faster, else netlink, or /proc if netlink is not
    /// available.
    #[default]
    #[value(help = None)]
    Auto,
    /// Netlink only.
    #[value(help = None)]
    Netlink,
    /// The BPF program only.
    #[value(help = None)]
    Bpf,
    /// /proc only.
    #[value(help = None)]
    Proc,
    /// Flows of connection tracking instead of sockets.
    #[value(help = None)]
    Conntrack,
}
