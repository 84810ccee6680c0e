# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_topip_log_global_optspecs
    string join \n H/hostname= input= source= protocol= netns= 4 6 ipv6 port= state= exclude-state= inbound x/exclude= only= exclude-file= no-default-excludes prefix4= prefix6= prefix-members= label= label-file= network-db= group-by= u/username= p/password= password-file= i/identity= passphrase-file= known-hosts= host-key= rsh= command= n/top= limit= rule= stddev= false-alarm-rate= floor= consecutive= max-age= w/warning= c/critical= state-file= t/timeout= l/log= log-format= never-log= a/alert= smtp= smtp-password-file= remind= recovery exec= extra-opts= v/verbose h/help V/version
end

function __fish_topip_log_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_topip_log_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_topip_log_using_subcommand
    set -l cmd (__fish_topip_log_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c topip_log -n "__fish_topip_log_needs_command" -s H -s s -l hostname -l server -d 'Check these servers over SSH' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l input -d 'Read a saved listing; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l source -d 'Read by auto, netlink, bpf, proc or conntrack' -r -f -a "auto\t''
netlink\t''
bpf\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l protocol -d 'Count tcp, udp or all' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l netns -d 'Read these network namespaces (containers)' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l port -d 'Count only connections to these local ports' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l state -d 'Count only connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exclude-state -d 'Do not count connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s x -l exclude -d 'Exclude these networks, in addition to the defaults' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exclude-file -d 'Exclude the networks and hosts in this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix4 -d 'Count IPv4 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix6 -d 'Count IPv6 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix-members -d 'Aggregate only networks with N addresses or more' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l label -d 'Show this name with the addresses of a network' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l label-file -d 'Read names for --label from this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l network-db -d 'Show operator and country from this MaxMind DB' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l group-by -d 'Also judge by asn, country or label' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -s u -l username -d 'Log in as this user [default: the current user]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s p -l password -d 'Log in with this password (unsafe: use a file)' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l password-file -d 'Read the password from this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -s i -l identity -d 'Log in with this private key' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l passphrase-file -d 'Read the passphrase of the key from this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l known-hosts -d 'Use the known host keys in this file only' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l host-key -d 'Use strict, accept-new or ignore for host keys' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l rsh -d 'Use this SSH client, such as "ssh -J bastion"' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l command -d 'Run this command on the server to list sockets' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s n -l top -d 'Use only the N busiest addresses [default: all]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l limit -d 'Set the limit, instead of computing it by a rule' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l rule -d 'Compute the limit by auto, stddev or lognormal' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l stddev -d 'Warn above N standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l false-alarm-rate -d 'Accept this rate of false alarms' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l floor -d 'Never warn at or below N connections' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l consecutive -d 'CRITICAL after COUNT samples in a row' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l max-age -d 'Ignore a sample older than this' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s w -l warning -d 'WARNING at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s c -l critical -d 'CRITICAL at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l state-file -d 'Keep the sample in this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -s t -l timeout -d 'End the run after this time [default: 10]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s l -l log -d 'Append alerts to a file, syslog or journald' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l log-format -d 'Write lines as classic, rfc3339 or json' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l never-log -d 'Never log, and so never ban, these networks' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s a -l alert -d 'Mail alerts from the first address to others' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l smtp -d 'Send mails by this URL (localhost by default)' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l smtp-password-file -d 'Read the password for --smtp from this file' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l remind -d 'Mail again after this time' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exec -d 'Run this program at each sample with an alert' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l extra-opts -d 'Read options from a section of an INI file' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s 4 -d 'Count IPv4 only'
complete -c topip_log -n "__fish_topip_log_needs_command" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_needs_command" -l ipv6 -d 'Accepted for compatibility, without effect'
complete -c topip_log -n "__fish_topip_log_needs_command" -l inbound -d 'Count only connections to a listening port'
complete -c topip_log -n "__fish_topip_log_needs_command" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_needs_command" -l recovery -d 'Also mail when an alert ends'
complete -c topip_log -n "__fish_topip_log_needs_command" -s v -l verbose -d 'Show the result; -vv, -vvv: more'
complete -c topip_log -n "__fish_topip_log_needs_command" -s h -l help -d 'Print help (--help: long help)'
complete -c topip_log -n "__fish_topip_log_needs_command" -s V -l version -d 'Print the version'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "record" -d 'Take a sample, and log alerts; the default command'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "report" -d 'Summarize logged alerts by address'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "watch" -d 'Continuously display the busiest addresses, until Ctrl-C'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s H -s s -l hostname -l server -d 'Check these servers over SSH' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l input -d 'Read a saved listing; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l source -d 'Read by auto, netlink, bpf, proc or conntrack' -r -f -a "auto\t''
netlink\t''
bpf\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l protocol -d 'Count tcp, udp or all' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l netns -d 'Read these network namespaces (containers)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l port -d 'Count only connections to these local ports' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l state -d 'Count only connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exclude-state -d 'Do not count connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s x -l exclude -d 'Exclude these networks, in addition to the defaults' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exclude-file -d 'Exclude the networks and hosts in this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix4 -d 'Count IPv4 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix6 -d 'Count IPv6 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix-members -d 'Aggregate only networks with N addresses or more' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l label -d 'Show this name with the addresses of a network' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l label-file -d 'Read names for --label from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l network-db -d 'Show operator and country from this MaxMind DB' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l group-by -d 'Also judge by asn, country or label' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s u -l username -d 'Log in as this user [default: the current user]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s p -l password -d 'Log in with this password (unsafe: use a file)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l password-file -d 'Read the password from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s i -l identity -d 'Log in with this private key' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l passphrase-file -d 'Read the passphrase of the key from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l known-hosts -d 'Use the known host keys in this file only' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l host-key -d 'Use strict, accept-new or ignore for host keys' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l rsh -d 'Use this SSH client, such as "ssh -J bastion"' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l command -d 'Run this command on the server to list sockets' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s n -l top -d 'Use only the N busiest addresses [default: all]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l limit -d 'Set the limit, instead of computing it by a rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l rule -d 'Compute the limit by auto, stddev or lognormal' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l stddev -d 'Warn above N standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l false-alarm-rate -d 'Accept this rate of false alarms' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l floor -d 'Never warn at or below N connections' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l consecutive -d 'CRITICAL after COUNT samples in a row' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l max-age -d 'Ignore a sample older than this' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s w -l warning -d 'WARNING at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s c -l critical -d 'CRITICAL at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l state-file -d 'Keep the sample in this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s t -l timeout -d 'End the run after this time [default: 10]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s l -l log -d 'Append alerts to a file, syslog or journald' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l log-format -d 'Write lines as classic, rfc3339 or json' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l never-log -d 'Never log, and so never ban, these networks' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s a -l alert -d 'Mail alerts from the first address to others' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l smtp -d 'Send mails by this URL (localhost by default)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l smtp-password-file -d 'Read the password for --smtp from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l remind -d 'Mail again after this time' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exec -d 'Run this program at each sample with an alert' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l extra-opts -d 'Read options from a section of an INI file' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s 4 -d 'Count IPv4 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l ipv6 -d 'Accepted for compatibility, without effect'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l inbound -d 'Count only connections to a listening port'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l recovery -d 'Also mail when an alert ends'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s v -l verbose -d 'Show the result; -vv, -vvv: more'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s h -l help -d 'Print help (--help: long help)'
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s l -l log -d 'Read this log and its rotated files' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l since -d 'Count only alerts since this time' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l until -d 'Count only alerts before this time' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l prefix4 -d 'Sum IPv4 addresses by networks of this length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l prefix6 -d 'Sum IPv6 addresses by networks of this length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l network-db -d 'Show operator and country from this MaxMind DB' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l group-by -d 'Sum the alerts by asn or country' -r -f -a "asn\t''
country\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s n -l top -d 'List only the N addresses with the most alerts' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l output -d 'Print text, json, csv or html' -r -f -a "text\t''
json\t''
csv\t''
html\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l resolve -d 'Look up the names of the listed addresses'
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s h -l help -d 'Print help (--help: long help)'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s H -s s -l hostname -l server -d 'Check these servers over SSH' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l input -d 'Read a saved listing; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l source -d 'Read by auto, netlink, bpf, proc or conntrack' -r -f -a "auto\t''
netlink\t''
bpf\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l protocol -d 'Count tcp, udp or all' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l netns -d 'Read these network namespaces (containers)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l port -d 'Count only connections to these local ports' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l state -d 'Count only connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l exclude-state -d 'Do not count connections in these TCP states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s x -l exclude -d 'Exclude these networks, in addition to the defaults' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l exclude-file -d 'Exclude the networks and hosts in this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix4 -d 'Count IPv4 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix6 -d 'Count IPv6 by this prefix length' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix-members -d 'Aggregate only networks with N addresses or more' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l label -d 'Show this name with the addresses of a network' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l label-file -d 'Read names for --label from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l network-db -d 'Show operator and country from this MaxMind DB' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l group-by -d 'Also judge by asn, country or label' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s u -l username -d 'Log in as this user [default: the current user]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s p -l password -d 'Log in with this password (unsafe: use a file)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l password-file -d 'Read the password from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s i -l identity -d 'Log in with this private key' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l passphrase-file -d 'Read the passphrase of the key from this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l known-hosts -d 'Use the known host keys in this file only' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l host-key -d 'Use strict, accept-new or ignore for host keys' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l rsh -d 'Use this SSH client, such as "ssh -J bastion"' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l command -d 'Run this command on the server to list sockets' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s n -l top -d 'Use only the N busiest addresses [default: all]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l limit -d 'Set the limit, instead of computing it by a rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l rule -d 'Compute the limit by auto, stddev or lognormal' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l stddev -d 'Warn above N standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l false-alarm-rate -d 'Accept this rate of false alarms' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l floor -d 'Never warn at or below N connections' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l consecutive -d 'CRITICAL after COUNT samples in a row' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l max-age -d 'Ignore a sample older than this' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s w -l warning -d 'WARNING at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s c -l critical -d 'CRITICAL at once if the top count is outside RANGE' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l state-file -d 'Keep the sample in this file' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s t -l timeout -d 'End the run after this time [default: 10]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l extra-opts -d 'Read options from a section of an INI file' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s 4 -d 'Count IPv4 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l ipv6 -d 'Accepted for compatibility, without effect'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l inbound -d 'Count only connections to a listening port'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s h -l help -d 'Print help (--help: long help)'
