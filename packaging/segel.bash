# Completion for bash: commands and options, as the program's own help names them.
_segel() {
    local word="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD - 1]}" help path=() part
    case "$previous" in
        -c | --*file | --dir | --trust | --untrusted | --crl | --ocsp | --key | --new) return ;;
    esac
    for part in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ "$part" =~ ^[a-z]+$ && ${#path[@]} -lt 2 ]] && path+=("$part")
    done
    help="$(segel "${path[@]}" --help 2> /dev/null)" || help="$(segel "${path[0]}" --help 2> /dev/null)" || return
    # Commands stand alone at the beginning of their lines, options anywhere in theirs.
    mapfile -t COMPREPLY < <(compgen -W "$(
        sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' <<< "$help"
        grep -oE -- '--[a-z-]+' <<< "$help"
    )" -- "$word")
}
complete -o default -F _segel segel
