# SPDX-License-Identifier: Apache-2.0
# The Bash kernel: cells are evaluated in one shell, at its top level, so that all that they define
# stays. Frames are "<letter> <length>\n<bytes>" on descriptor 3 (envd/kernel/kernel_message.h), which
# is closed while a cell runs. Output needs no frame: envd reads the pipes behind 1 and 2 before it
# takes the end of a cell. A last command that fails is the cell's error. SIGINT leaves all loops, the
# kernel's own too, which then begins again.

# A body of $1 bytes into __adit_body; pairs NAME=value and a NUL into __adit_pairs.
__adit_read() {
    __adit_body=
    (($1 == 0)) || LC_ALL=C IFS= read -r -d '' -N "$1" -u 3 __adit_body
}
__adit_read_pairs() {
    local LC_ALL=C left=$1 pair
    __adit_pairs=()
    while ((left > 0)) && IFS= read -r -d '' -u 3 pair; do
        __adit_pairs+=("$pair")
        left=$((left - ${#pair} - 1))
    done
}
# Names with characters that no shell variable has are passed over.
__adit_export() {
    [[ ${1%%=*} =~ ^[A-Za-z_][A-Za-z_0-9]*$ ]] && export "$1"
}
__adit_set_for_cell() {
    local pair name
    for pair in "${__adit_pairs[@]}"; do
        name=${pair%%=*}
        if [[ -v $name ]]; then __adit_old+=("$name=${!name}"); else __adit_new+=("$name"); fi
        __adit_export "$pair"
    done 2>/dev/null
}
__adit_restore() {
    local each
    for each in "${__adit_old[@]}"; do __adit_export "$each"; done
    for each in "${__adit_new[@]}"; do unset "$each"; done 2>/dev/null
    __adit_old=() __adit_new=()
}
__adit_error() {
    local text="{\"name\":\"$1\",\"value\":\"$2\",\"traceback\":\"$3\"}"
    printf 'F 0\nX %d\n%s' "${#text}" "$text" >&3
}
# $1: the status of the cell's last command.
__adit_finish() {
    if ((__adit_interrupted)); then
        __adit_error KeyboardInterrupt '' 'interrupted'
    elif (($1 != 0)); then
        __adit_error ExitStatus "$1" "exit status $1"
    fi
    __adit_running=0 __adit_interrupted=0
    __adit_restore
    printf 'D 0\n' >&3
}
__adit_on_interrupt='if ((__adit_running)); then __adit_interrupted=1; break 1000; fi'

__adit_loop='
while IFS=" " read -r -u 3 __adit_kind __adit_length; do
    case $__adit_kind in
    G)
        __adit_read_pairs "$__adit_length"
        for __adit_pair in "${__adit_pairs[@]}"; do __adit_export "$__adit_pair"; done ;;
    V)
        __adit_read_pairs "$__adit_length"
        __adit_set_for_cell ;;
    D)
        __adit_read "$__adit_length"
        cd -- "$__adit_body" ;;
    X)
        __adit_read "$__adit_length"
        trap "$__adit_on_interrupt" INT
        __adit_running=1
        eval "$__adit_body" 3>&-
        __adit_finish $? ;;
    esac
done
if ((__adit_interrupted)); then
    __adit_finish 130
    eval "$__adit_loop"
fi
'
__adit_running=0 __adit_interrupted=0 __adit_old=() __adit_new=()
unset __adit_k __adit_n __adit_s
trap "$__adit_on_interrupt" INT
printf 'R 0\n' >&3
eval "$__adit_loop"
