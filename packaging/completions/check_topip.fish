complete -c check_topip -s H -s s -l hostname -l server -d 'Check these servers over SSH' -r
complete -c check_topip -l input -d 'Read a saved listing; - is standard input' -r -F
complete -c check_topip -l source -d 'Read by auto, netlink, bpf, proc or conntrack' -r -f -a "auto\t''
netlink\t''
bpf\t''
proc\t''
conntrack\t''"
complete -c check_topip -l protocol -d 'Count tcp, udp or all' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c check_topip -l netns -d 'Read these network namespaces (containers)' -r
complete -c check_topip -l port -d 'Count only connections to these local ports' -r
complete -c check_topip -l state -d 'Count only connections in these TCP states' -r
complete -c check_topip -l exclude-state -d 'Do not count connections in these TCP states' -r
complete -c check_topip -s x -l exclude -d 'Exclude these networks, in addition to the defaults' -r
complete -c check_topip -l only -d 'Count only connections from these networks' -r
complete -c check_topip -l exclude-file -d 'Exclude the networks and hosts in this file' -r -F
complete -c check_topip -l prefix4 -d 'Count IPv4 by this prefix length' -r
complete -c check_topip -l prefix6 -d 'Count IPv6 by this prefix length' -r
complete -c check_topip -l prefix-members -d 'Aggregate only networks with N addresses or more' -r
complete -c check_topip -l label -d 'Show this name with the addresses of a network' -r
complete -c check_topip -l label-file -d 'Read names for --label from this file' -r -F
complete -c check_topip -l network-db -d 'Show operator and country from this MaxMind DB' -r -F
complete -c check_topip -l group-by -d 'Also judge by asn, country or label' -r -f -a "asn\t''
country\t''
label\t''"
complete -c check_topip -s u -l username -d 'Log in as this user [default: the current user]' -r
complete -c check_topip -s p -l password -d 'Log in with this password (unsafe: use a file)' -r
complete -c check_topip -l password-file -d 'Read the password from this file' -r -F
complete -c check_topip -s i -l identity -d 'Log in with this private key' -r -F
complete -c check_topip -l passphrase-file -d 'Read the passphrase of the key from this file' -r -F
complete -c check_topip -l known-hosts -d 'Use the known host keys in this file only' -r -F
complete -c check_topip -l host-key -d 'Use strict, accept-new or ignore for host keys' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c check_topip -l rsh -d 'Use this SSH client, such as "ssh -J bastion"' -r
complete -c check_topip -l command -d 'Run this command on the server to list sockets' -r
complete -c check_topip -s n -l top -d 'Use only the N busiest addresses [default: all]' -r
complete -c check_topip -l limit -d 'Set the limit, instead of computing it by a rule' -r
complete -c check_topip -l rule -d 'Compute the limit by auto, stddev or lognormal' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c check_topip -l stddev -d 'Warn above N standard deviations [default: 5]' -r
complete -c check_topip -l false-alarm-rate -d 'Accept this rate of false alarms' -r
complete -c check_topip -l floor -d 'Never warn at or below N connections' -r
complete -c check_topip -l consecutive -d 'CRITICAL after COUNT samples in a row' -r
complete -c check_topip -l max-age -d 'Ignore a sample older than this' -r
complete -c check_topip -s w -l warning -d 'WARNING at once if the top count is outside RANGE' -r
complete -c check_topip -s c -l critical -d 'CRITICAL at once if the top count is outside RANGE' -r
complete -c check_topip -l state-file -d 'Keep the sample in this file' -r -F
complete -c check_topip -s t -l timeout -d 'End the run after this time [default: 10]' -r
complete -c check_topip -s l -l log -d 'Append alerts to a file, syslog or journald' -r
complete -c check_topip -l log-format -d 'Write lines as classic, rfc3339 or json' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c check_topip -l never-log -d 'Never log, and so never ban, these networks' -r
complete -c check_topip -s a -l alert -d 'Mail alerts from the first address to others' -r
complete -c check_topip -l smtp -d 'Send mails by this URL (localhost by default)' -r
complete -c check_topip -l smtp-password-file -d 'Read the password for --smtp from this file' -r -F
complete -c check_topip -l remind -d 'Mail again after this time' -r
complete -c check_topip -l exec -d 'Run this program at each sample with an alert' -r -F
complete -c check_topip -l extra-opts -d 'Read options from a section of an INI file' -r
complete -c check_topip -l output -d 'Print nagios, json, openmetrics or checkmk' -r -f -a "nagios\t''
json\t''
openmetrics\t''
checkmk\t''"
complete -c check_topip -l output-file -d 'Write the output to this file' -r -F
complete -c check_topip -l metrics-addresses -d 'Add metrics for the N busiest addresses' -r
complete -c check_topip -s 4 -d 'Count IPv4 only'
complete -c check_topip -s 6 -d 'Count IPv6 only'
complete -c check_topip -l ipv6 -d 'Accepted for compatibility, without effect'
complete -c check_topip -l inbound -d 'Count only connections to a listening port'
complete -c check_topip -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c check_topip -l recovery -d 'Also mail when an alert ends'
complete -c check_topip -s v -l verbose -d 'Show the busiest addresses; -vv, -vvv: more'
complete -c check_topip -s V -l version -d 'Print the version, and exit with 3'
complete -c check_topip -s h -l help -d 'Print help, and exit with 3 (--help: long help)'
