
# Names of the running process; none if it does not answer.
_reseal_names() {
    local -a line names
    line=(${(z)BUFFER})
    names=(${(f)"$(${(Q)line[1]} ctl names $1 -- ${(Q)line[2,-1]} 2>/dev/null)"})
    compadd -a names
}
