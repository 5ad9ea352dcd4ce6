
# Names of the running process; none if it does not answer.
_reseal_names() {
    local name
    COMPREPLY=()
    while IFS= read -r name; do
        [[ $name == "${COMP_WORDS[COMP_CWORD]}"* ]] && COMPREPLY+=("$name")
    done < <("${COMP_WORDS[0]}" ctl names "$1" -- "${COMP_WORDS[@]:1}" 2>/dev/null)
}

_reseal_with_names() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
    if [[ ${COMP_WORDS[1]} == ctl && $current != -* ]]; then
        case $previous in
            --endpoint|limits) _reseal_names endpoints; return ;;
            --route) _reseal_names routes; return ;;
            --upstream|origin) _reseal_names upstreams; return ;;
            --origin) _reseal_names origins; return ;;
            --reason) _reseal_names reasons; return ;;
            --id|kill) _reseal_names connections; return ;;
        esac
        if (( COMP_CWORD > 2 )) && [[ ${COMP_WORDS[COMP_CWORD-2]} == origin ]]; then
            _reseal_names origins
            return
        fi
    fi
    _reseal "$@"
}

complete -F _reseal_with_names -o bashdefault -o default reseal
