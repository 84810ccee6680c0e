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

complete -c topip_log -n "__fish_topip_log_needs_command" -s H -s s -l hostname -l server -d 'Servers to reach by SSH, whose counts add up; none, localhost and its addresses are this host' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l input -d 'Read a saved listing instead of looking at this host; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l source -d 'How to look at this host; conntrack counts what it and servers forward' -r -f -a "auto\t''
netlink\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l protocol -d 'Protocols to count; udp and all need the flows of conntrack' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l netns -d 'Look into these network namespaces instead of this host\'s own; all is every one, its own too, except those of unprivileged users' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l port -d 'Count only connections to these ports of this host' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l state -d 'Count only connections in these TCP states, or UDP flows in theirs' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exclude-state -d 'Do not count connections or flows in these states' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s x -l exclude -d 'Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exclude-file -d 'Do not count the networks and hosts in this file, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix4 -d 'Count IPv4 networks of so many bits; several are judged each, 32 is addresses' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix6 -d 'Count IPv6 networks of so many bits; a client has a /64 of its own' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l prefix-members -d '... where connections come from so many addresses in it at least; where from fewer, count these' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l label -d 'What to call a network, as in 198.51.100.7 (office)' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l label-file -d 'File of such names, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l network-db -d 'MaxMind DB file with the operators or countries of addresses, to show with them' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l group-by -d 'Judge the addresses of one operator, country or label together, too' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -s u -l username -d 'Log in as this user [default: the current one]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s p -l password -d 'Password; anybody can see it in the process list: use a file' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l password-file -d 'File with the password, or set TOPIP_PASSWORD' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -s i -l identity -d 'Private key, or public key of one in the agent [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l passphrase-file -d 'File with the passphrase of the private key' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l known-hosts -d 'Known host keys [default: the user\'s files, then the system\'s]' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l host-key -d 'What to do with a host key that is not known' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l rsh -d 'Reach servers by this SSH client instead of the built-in one, as in ssh -J bastion' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l command -d 'Run this there instead of the built-in choice' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s n -l top -d 'Judge the N addresses with the most connections; 0 and 1 are all [default: all]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l limit -d 'Limit for every address, in place of a rule' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l rule -d 'How the limit is found; see topip(7) [default: auto, or stddev where --stddev is given]' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l stddev -d 'Rule stddev: warn above so many standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l false-alarm-rate -d 'Rules auto and lognormal: how likely a clean sample may be over its limit' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l floor -d 'Any rule: but never at or below so many connections; 0 for the bare rule' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l consecutive -d 'Critical once an address was over the limit in so many consecutive samples' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l max-age -d 'An earlier sample that is older does not count; 0: however old' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s w -l warning -d 'Warn at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s c -l critical -d 'Critical at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l state-file -d 'Keep the sample here [default: a file of its own in /var/lib/topip]' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -s t -l timeout -d 'Give up after so long, with this status [default: 10:unknown]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s l -l log -d 'Append alerts to a log, by default /var/log/topip.log; or syslog, journald' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l log-format -d 'How a line of the log is written' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c topip_log -n "__fish_topip_log_needs_command" -l never-log -d 'Neither log nor pass on alerts about these networks, nor about networks that contain one of their addresses' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s a -l alert -d 'Mail an alert (CRITICAL by the limit, not by -w or -c) from the first address to the others' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l smtp -d 'By smtp://[USER@]HOST[:PORT][?tls=HOW&helo=NAME], smtps://... or sendmail:[PATH]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l smtp-password-file -d 'File with the password of the USER in --smtp' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l remind -d 'Mail about the same address again only after so long; 0: at every sample' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -l exec -d 'Run this program at each sample with an alert, with the offenders as JSON on its standard input' -r -F
complete -c topip_log -n "__fish_topip_log_needs_command" -l extra-opts -d 'Read options from an INI file [default: the section of the program\'s name in /etc/topip/topip.ini]' -r
complete -c topip_log -n "__fish_topip_log_needs_command" -s 4 -d 'Count IPv4 only; IPv4-mapped and NAT64 addresses are IPv4'
complete -c topip_log -n "__fish_topip_log_needs_command" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_needs_command" -l ipv6 -d 'Accepted and without effect: IPv4-mapped addresses always count as IPv4'
complete -c topip_log -n "__fish_topip_log_needs_command" -l inbound -d 'Count only connections to a port that is listened on'
complete -c topip_log -n "__fish_topip_log_needs_command" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_needs_command" -l recovery -d 'Mail when it is over, too'
complete -c topip_log -n "__fish_topip_log_needs_command" -s v -l verbose -d 'Show what was found, as check_topip does; -vv: how; -vvv: all'
complete -c topip_log -n "__fish_topip_log_needs_command" -s h -l help -d 'Print this help'
complete -c topip_log -n "__fish_topip_log_needs_command" -s V -l version -d 'Print the version'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "record" -d 'Take a sample, and log an alert where there is one; as without a command'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "report" -d 'Tell whom the alerts of a log are about'
complete -c topip_log -n "__fish_topip_log_needs_command" -f -a "watch" -d 'Show who has the connections now, again and again, until Ctrl-C'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s H -s s -l hostname -l server -d 'Servers to reach by SSH, whose counts add up; none, localhost and its addresses are this host' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l input -d 'Read a saved listing instead of looking at this host; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l source -d 'How to look at this host; conntrack counts what it and servers forward' -r -f -a "auto\t''
netlink\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l protocol -d 'Protocols to count; udp and all need the flows of conntrack' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l netns -d 'Look into these network namespaces instead of this host\'s own; all is every one, its own too, except those of unprivileged users' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l port -d 'Count only connections to these ports of this host' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l state -d 'Count only connections in these TCP states, or UDP flows in theirs' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exclude-state -d 'Do not count connections or flows in these states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s x -l exclude -d 'Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exclude-file -d 'Do not count the networks and hosts in this file, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix4 -d 'Count IPv4 networks of so many bits; several are judged each, 32 is addresses' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix6 -d 'Count IPv6 networks of so many bits; a client has a /64 of its own' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l prefix-members -d '... where connections come from so many addresses in it at least; where from fewer, count these' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l label -d 'What to call a network, as in 198.51.100.7 (office)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l label-file -d 'File of such names, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l network-db -d 'MaxMind DB file with the operators or countries of addresses, to show with them' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l group-by -d 'Judge the addresses of one operator, country or label together, too' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s u -l username -d 'Log in as this user [default: the current one]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s p -l password -d 'Password; anybody can see it in the process list: use a file' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l password-file -d 'File with the password, or set TOPIP_PASSWORD' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s i -l identity -d 'Private key, or public key of one in the agent [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l passphrase-file -d 'File with the passphrase of the private key' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l known-hosts -d 'Known host keys [default: the user\'s files, then the system\'s]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l host-key -d 'What to do with a host key that is not known' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l rsh -d 'Reach servers by this SSH client instead of the built-in one, as in ssh -J bastion' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l command -d 'Run this there instead of the built-in choice' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s n -l top -d 'Judge the N addresses with the most connections; 0 and 1 are all [default: all]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l limit -d 'Limit for every address, in place of a rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l rule -d 'How the limit is found; see topip(7) [default: auto, or stddev where --stddev is given]' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l stddev -d 'Rule stddev: warn above so many standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l false-alarm-rate -d 'Rules auto and lognormal: how likely a clean sample may be over its limit' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l floor -d 'Any rule: but never at or below so many connections; 0 for the bare rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l consecutive -d 'Critical once an address was over the limit in so many consecutive samples' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l max-age -d 'An earlier sample that is older does not count; 0: however old' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s w -l warning -d 'Warn at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s c -l critical -d 'Critical at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l state-file -d 'Keep the sample here [default: a file of its own in /var/lib/topip]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s t -l timeout -d 'Give up after so long, with this status [default: 10:unknown]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s l -l log -d 'Append alerts to a log, by default /var/log/topip.log; or syslog, journald' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l log-format -d 'How a line of the log is written' -r -f -a "classic\t''
rfc3339\t''
json\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l never-log -d 'Neither log nor pass on alerts about these networks, nor about networks that contain one of their addresses' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s a -l alert -d 'Mail an alert (CRITICAL by the limit, not by -w or -c) from the first address to the others' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l smtp -d 'By smtp://[USER@]HOST[:PORT][?tls=HOW&helo=NAME], smtps://... or sendmail:[PATH]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l smtp-password-file -d 'File with the password of the USER in --smtp' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l remind -d 'Mail about the same address again only after so long; 0: at every sample' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l exec -d 'Run this program at each sample with an alert, with the offenders as JSON on its standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l extra-opts -d 'Read options from an INI file [default: the section of the program\'s name in /etc/topip/topip.ini]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s 4 -d 'Count IPv4 only; IPv4-mapped and NAT64 addresses are IPv4'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l ipv6 -d 'Accepted and without effect: IPv4-mapped addresses always count as IPv4'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l inbound -d 'Count only connections to a port that is listened on'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -l recovery -d 'Mail when it is over, too'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s v -l verbose -d 'Show what was found, as check_topip does; -vv: how; -vvv: all'
complete -c topip_log -n "__fish_topip_log_using_subcommand record" -s h -l help -d 'Print this help'
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s l -l log -d 'Read this log and what was rotated away from it; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l since -d 'Count alerts from then on: a duration ago, or a date with or without time' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l until -d 'Count alerts before then only' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l prefix4 -d 'Count IPv4 addresses by networks of so many bits' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l prefix6 -d 'Count IPv6 addresses by networks of so many bits' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l network-db -d 'MaxMind DB file with the operators or countries of addresses, to show with them' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l group-by -d 'Sum the alerts by operator or country, as --network-db has them' -r -f -a "asn\t''
country\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s n -l top -d 'Tell about N addresses; 0 is all [default: 10 as text, 100 as html, else all]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l output -d 'Format of the report' -r -f -a "text\t''
json\t''
csv\t''
html\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -l resolve -d 'Look up the names of the listed addresses, for 10 seconds at most'
complete -c topip_log -n "__fish_topip_log_using_subcommand report" -s h -l help -d 'Print this help'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s H -s s -l hostname -l server -d 'Servers to reach by SSH, whose counts add up; none, localhost and its addresses are this host' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l input -d 'Read a saved listing instead of looking at this host; - is standard input' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l source -d 'How to look at this host; conntrack counts what it and servers forward' -r -f -a "auto\t''
netlink\t''
proc\t''
conntrack\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l protocol -d 'Protocols to count; udp and all need the flows of conntrack' -r -f -a "tcp\t''
udp\t''
all\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l netns -d 'Look into these network namespaces instead of this host\'s own; all is every one, its own too, except those of unprivileged users' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l port -d 'Count only connections to these ports of this host' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l state -d 'Count only connections in these TCP states, or UDP flows in theirs' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l exclude-state -d 'Do not count connections or flows in these states' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s x -l exclude -d 'Do not count these networks, beside 127.0.0.0/8 ::1 192.168.0.0/16' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l only -d 'Count only connections from these networks' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l exclude-file -d 'Do not count the networks and hosts in this file, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix4 -d 'Count IPv4 networks of so many bits; several are judged each, 32 is addresses' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix6 -d 'Count IPv6 networks of so many bits; a client has a /64 of its own' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l prefix-members -d '... where connections come from so many addresses in it at least; where from fewer, count these' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l label -d 'What to call a network, as in 198.51.100.7 (office)' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l label-file -d 'File of such names, one a line, # for comments' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l network-db -d 'MaxMind DB file with the operators or countries of addresses, to show with them' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l group-by -d 'Judge the addresses of one operator, country or label together, too' -r -f -a "asn\t''
country\t''
label\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s u -l username -d 'Log in as this user [default: the current one]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s p -l password -d 'Password; anybody can see it in the process list: use a file' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l password-file -d 'File with the password, or set TOPIP_PASSWORD' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s i -l identity -d 'Private key, or public key of one in the agent [default: ~/.ssh/id_ed25519, id_ecdsa, id_rsa, and the agent]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l passphrase-file -d 'File with the passphrase of the private key' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l known-hosts -d 'Known host keys [default: the user\'s files, then the system\'s]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l host-key -d 'What to do with a host key that is not known' -r -f -a "strict\t''
accept-new\t''
ignore\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l rsh -d 'Reach servers by this SSH client instead of the built-in one, as in ssh -J bastion' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l command -d 'Run this there instead of the built-in choice' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s n -l top -d 'Judge the N addresses with the most connections; 0 and 1 are all [default: all]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l limit -d 'Limit for every address, in place of a rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l rule -d 'How the limit is found; see topip(7) [default: auto, or stddev where --stddev is given]' -r -f -a "auto\t''
stddev\t''
lognormal\t''"
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l stddev -d 'Rule stddev: warn above so many standard deviations [default: 5]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l false-alarm-rate -d 'Rules auto and lognormal: how likely a clean sample may be over its limit' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l floor -d 'Any rule: but never at or below so many connections; 0 for the bare rule' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l consecutive -d 'Critical once an address was over the limit in so many consecutive samples' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l max-age -d 'An earlier sample that is older does not count; 0: however old' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s w -l warning -d 'Warn at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s c -l critical -d 'Critical at once if the top count, or another metric, is outside this range' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l state-file -d 'Keep the sample here [default: a file of its own in /var/lib/topip]' -r -F
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s t -l timeout -d 'Give up after so long, with this status [default: 10:unknown]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l extra-opts -d 'Read options from an INI file [default: the section of the program\'s name in /etc/topip/topip.ini]' -r
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s 4 -d 'Count IPv4 only; IPv4-mapped and NAT64 addresses are IPv4'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s 6 -d 'Count IPv6 only'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l ipv6 -d 'Accepted and without effect: IPv4-mapped addresses always count as IPv4'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l inbound -d 'Count only connections to a port that is listened on'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -l no-default-excludes -d 'Count 127.0.0.0/8, ::1 and 192.168.0.0/16 too'
complete -c topip_log -n "__fish_topip_log_using_subcommand watch" -s h -l help -d 'Print this help'
