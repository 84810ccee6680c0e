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
    /// Servers to reach by SSH, whose counts add up; none, localhost and its
    /// addresses are this host
    #[arg(
        short = 'H',
        visible_short_alias = 's',
        long,
        visible_alias = "server",
        value_name = "[USER@]HOST[:PORT],...",
        value_delimiter = ',',
        conflicts_with = "input"
    )]
    pub(in crate::cli) hostname: Vec<ServerName>,
    /// Read a saved listing instead of looking at this host; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    pub(in crate::cli) input: Option<PathBuf>,
    /// How to look at this host; conntrack counts what it and servers forward
    #[arg(long, value_enum, default_value_t, value_name = "SOURCE")]
    pub(in crate::cli) source: SourceKind,
    /// Protocols to count; udp and all need the flows of conntrack
    #[arg(long, value_enum, default_value_t, value_name = "PROTOCOL")]
    pub(in crate::cli) protocol: Protocol,
    /// Look into these network namespaces instead of this host's own; all is
    /// every one, its own too, except those of unprivileged users
    #[arg(
        long,
        value_name = "NAME|PATH|pid:N|user:NAME|all,...",
        value_delimiter = ',',
        value_parser = netns,
        conflicts_with = "input"
    )]
    pub(in crate::cli) netns: Vec<NetnsSelector>,
    /// Count IPv4 only; IPv4-mapped and NAT64 addresses are IPv4
    #[arg(short = '4', conflicts_with = "ipv6_only")]
    pub(in crate::cli) ipv4_only: bool,
    /// Count IPv6 only
    #[arg(short = '6')]
    pub(in crate::cli) ipv6_only: bool,
    /// Accepted and without effect: IPv4-mapped addresses always count as IPv4
    #[arg(long)]
    ipv6: bool,
    /// Count only connections to these ports of this host
    #[arg(
        long,
        value_name = "PORT[-PORT],...",
        value_delimiter = ',',
        value_parser = ports
    )]
    pub(in crate::cli) port: Vec<RangeInclusive<u16>>,
    /// Count only connections in these TCP states, or UDP flows in theirs
    #[arg(long = "state", value_name = "STATE,...", value_delimiter = ',')]
    pub(in crate::cli) tcp_states: Vec<TcpState>,
    /// Do not count connections or flows in these states
    #[arg(long = "exclude-state", value_name = "STATE,...", value_delimiter = ',')]
    pub(in crate::cli) exclude_tcp_states: Vec<TcpState>,
    /// Count only connections to a port that is listened on
    #[arg(long)]
    pub(in crate::cli) inbound: bool,
    /// Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16
    #[arg(short = 'x', long, value_name = "NET,...", value_delimiter = ',', value_parser = Network::parse_selector)]
    pub(in crate::cli) exclude: Vec<Network>,
    /// Count only connections from these networks
    #[arg(
        long,
        value_name = "NET,...",
        value_delimiter = ',',
        value_parser = Network::parse_selector,
        conflicts_with = "no_default_excludes"
    )]
    pub(in crate::cli) only: Vec<Network>,
    /// Do not count the networks and hosts in this file, one a line, # for
    /// comments
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) exclude_file: Vec<PathBuf>,
    /// Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too
    #[arg(long)]
    pub(in crate::cli) no_default_excludes: bool,
    /// Count IPv4 networks of so many bits; several are judged each, 32 is
    /// addresses
    #[arg(
        long,
        value_name = "LEN,...",
        value_delimiter = ',',
        value_parser = prefix4,
        allow_hyphen_values = true,
        default_value = "32"
    )]
    pub(in crate::cli) prefix4: Vec<u8>,
    /// Count IPv6 networks of so many bits; a client has a /64 of its own
    #[arg(
        long,
        value_name = "LEN,...",
        value_delimiter = ',',
        value_parser = prefix6,
        allow_hyphen_values = true,
        default_value = "128"
    )]
    pub(in crate::cli) prefix6: Vec<u8>,
    /// ... where connections come from so many addresses in it at least; where
    /// from fewer, count these
    #[arg(
        long,
        value_name = "N",
        value_parser = members,
        allow_hyphen_values = true,
        default_value = "1"
    )]
    pub(in crate::cli) prefix_members: u64,
    /// What to call a network, as in 198.51.100.7 (office)
    #[arg(long, value_name = "NET=NAME", value_parser = label)]
    pub(in crate::cli) label: Vec<Label>,
    /// File of such names, one a line, # for comments
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) label_file: Vec<PathBuf>,
    /// MaxMind DB file with the operators or countries of addresses, to show with
    /// them
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) network_db: Vec<PathBuf>,
    /// Judge the addresses of one operator, country or label together, too
    #[arg(long, value_enum, value_name = "PROPERTY,...", value_delimiter = ',')]
    pub(in crate::cli) group_by: Vec<GroupBy>,
}

/// Source of connections on this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum SourceKind {
    /// Netlink, or /proc if netlink is not available.
    #[default]
    #[value(help = None)]
    Auto,
    /// Netlink only.
    #[value(help = None)]
    Netlink,
    /// /proc only.
    #[value(help = None)]
    Proc,
    /// Flows of connection tracking instead of sockets.
    #[value(help = None)]
    Conntrack,
}
