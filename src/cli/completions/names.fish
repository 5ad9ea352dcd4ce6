
# Names of the running process; none if it does not answer.
function __reseal_names
    set -l line (commandline -opc)
    $line[1] ctl names $argv[1] -- $line[2..] 2>/dev/null
end

function __reseal_ctl_is
    set -l line (commandline -opc)
    test (count $line) -ge 2; and test $line[2] = ctl; and contains -- $argv[1] $line
end

for part in drain undrain connections kill failures
    complete -c reseal -n "__reseal_ctl_is $part" -l endpoint -x -a "(__reseal_names endpoints)"
end
for part in connections kill failures limits
    complete -c reseal -n "__reseal_ctl_is $part" -l route -x -a "(__reseal_names routes)"
end
for part in connections kill failures
    complete -c reseal -n "__reseal_ctl_is $part" -l origin -x -a "(__reseal_names origins)"
end
for part in connections kill
    complete -c reseal -n "__reseal_ctl_is $part" -l upstream -x -a "(__reseal_names upstreams)"
end
complete -c reseal -n "__reseal_ctl_is failures" -l reason -x -a "(__reseal_names reasons)"
complete -c reseal -n "__reseal_ctl_is kill" -f -a "(__reseal_names connections)"
complete -c reseal -n "__reseal_ctl_is limits" -f -a "(__reseal_names endpoints)"
complete -c reseal -n "__reseal_ctl_is origin" -f -a "(__reseal_names upstreams) (__reseal_names origins)"
