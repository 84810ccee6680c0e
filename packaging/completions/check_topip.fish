complete -c check_topip -s H -s s -l hostname -l server -d 'Servers to reach by SSH, whose counts add up; none, localhost and its addresses are this host' -r
complete -c check_topip -l input -d 'Read a saved listing instead of looking at this host; - is standard input' -r -F
complete -c check_topip -l source -d 'How to look at this host; conntrack counts what it and servers forward' -r -f -a "auto\t''
netlink\t''
proc\t''
conntrack\t''"
complete -c check_topip -l protocol -d 'Protocols to count; udp and all need the flows of conntrack' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c check_topip -l netns -d 'Look into these network namespaces instead of this host\'s own; all is every one, its own too, except those of unprivileged users' -r
complete -c check_topip -l port -d 'Count only connections to these ports of this host' -r
complete -c check_topip -l state -d 'Count only connections in these TCP states, or UDP flows in theirs' -r
complete -c check_topip -l exclude-state -d 'Do not count connections or flows in these states' -r
complete -c check_topip -s x -l exclude -d 'Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16' -r
complete -c check_topip -l only -d 'Count only connections from these networks' -r
complete -c check_topip -l exclude-file -d 'Do not count the networks and hosts in this file, one a line, # for comments' -r -F
complete -c check_topip -l prefix4 -d 'Count IPv4 networks of so many bits; several are judged each, 32 is addresses' -r
complete -c check_topip -l prefix6 -d 'Count IPv6 networks of so many bits; a client has a /64 of its own' -r
complete -c check_topip -l prefix-members -d '... where connections come from so many addresses in it at least; where from fewer, count these' -r
complete -c check_topip -l label -d 'What to call a network, as in 198.51.100.7 (office)' -r
complete -c check_topip -l label-file -d 'File of such names, one a line, # for comments' -r -F
complete -c check_topip -l network-db -d 'MaxMind DB file with the operators or countries of addresses, to show with them' -r -F
complete -c check_topip -l group-by -d 'Judge the addresses of one operator, country or label together, too' -r -f -a "asn\t''
country\t''
label\t''"
complete -c check_topip -s u -l username -d 'Log in as this user [default: the current one]' -r
complete -c check_topip -s p -l password -d 'Password; anybody can see it in the process list: use a file' -r
complete -c check_topip -l password-file -d 'File with the password, or set TOPIP_PASSWORD' -r -F
complete -c check_topip -s i -l identity -d 'Private key, or public key of one in the agent [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]' -r -F
complete -c check_topip -l passphrase-file -d 'File with the passphrase of the private key' -r -F
complete -c check_topip -l known-hosts -d 'Known host keys [default: the user\'s files, then the system\'s]' -r -F
complete -c check_topip -l host-key -d 'What to do with a host key that is not known' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c check_topip -l rsh -d 'Reach servers by this SSH client instead of the built-in one, as in ssh -J bastion' -r
complete -c check_topip -l command -d 'Run this there instead of the built-in choice' -r
complete -c check_topip -s n -l top -d 'Judge the N addresses with the most connections; 0 and 1 are all [default: all]' -r
complete -c check_topip -l limit -d 'Limit for every address, in place of a rule' -r
complete -c check_topip -l rule -d 'How the limit is found; see topip(7) [default: auto, or stddev where --stddev is given]' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c check_topip -l stddev -d 'Rule stddev: warn above so many standard deviations [default: 5]' -r
complete -c check_topip -l false-alarm-rate -d 'Rules auto and lognormal: how likely a clean sample may be over its limit' -r
complete -c check_topip -l floor -d 'Any rule: but never at or below so many connections; 0 for the bare rule' -r
complete -c check_topip -l consecutive -d 'Critical once an address was over the limit in so many consecutive samples' -r
complete -c check_topip -l max-age -d 'An earlier sample that is older does not count; 0: however old' -r
complete -c check_topip -s w -l warning -d 'Warn at once if the top count, or another metric, is outside this range' -r
complete -c check_topip -s c -l critical -d 'Critical at once if the top count, or another metric, is outside this range' -r
complete -c check_topip -l state-file -d 'Keep the sample here [default: a file of its own in /var/lib/topip]' -r -F
complete -c check_topip -s t -l timeout -d 'Give up after so long, with this status [default: 10:unknown]' -r
complete -c check_topip -s l -l log -d 'Append alerts to a log, by default /var/log/topip.log; or syslog, journald' -r
complete -c check_topip -l log-format -d 'How a line of the log is written' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c check_topip -l never-log -d 'Neither log nor pass on alerts about these networks, nor about networks that contain one of their addresses' -r
complete -c check_topip -s a -l alert -d 'Mail an alert (CRITICAL by the limit, not by -w or -c) from the first address to the others' -r
complete -c check_topip -l smtp -d 'By smtp://[USER@]HOST[:PORT][?tls=HOW&helo=NAME], smtps://... or sendmail:[PATH]' -r
complete -c check_topip -l smtp-password-file -d 'File with the password of the USER in --smtp' -r -F
complete -c check_topip -l remind -d 'Mail about the same address again only after so long; 0: at every sample' -r
complete -c check_topip -l exec -d 'Run this program at each sample with an alert, with the offenders as JSON on its standard input' -r -F
complete -c check_topip -l extra-opts -d 'Read options from an INI file [default: the section of the program\'s name in /etc/topip/topip.ini]' -r
complete -c check_topip -l output -d 'Format of the answer' -r -f -a "nagios\t''
json\t''
openmetrics\t''
checkmk\t''"
complete -c check_topip -l output-file -d 'Replace this file by the answer, instead of printing it' -r -F
complete -c check_topip -l metrics-addresses -d 'Add a metric for each of the N busiest addresses to openmetrics' -r
complete -c check_topip -s 4 -d 'Count IPv4 only; IPv4-mapped and NAT64 addresses are IPv4'
complete -c check_topip -s 6 -d 'Count IPv6 only'
complete -c check_topip -l ipv6 -d 'Accepted and without effect: IPv4-mapped addresses always count as IPv4'
complete -c check_topip -l inbound -d 'Count only connections to a port that is listened on'
complete -c check_topip -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c check_topip -l recovery -d 'Mail when it is over, too'
complete -c check_topip -s v -l verbose -d 'Show the addresses; -vv: how it was done; -vvv: all'
complete -c check_topip -s V -l version -d 'Print the version; exit code 3'
complete -c check_topip -s h -l help -d 'Print this help; exit code 3'
