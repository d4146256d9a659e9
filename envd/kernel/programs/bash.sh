# SPDX-License-Identifier: Apache-2.0
# The Bash kernel: cells are evaluated in one shell, at its top level, so that all that they define
# stays. Frames are "<letter> <length>\n<bytes>" (envd/kernel/kernel_message.h). Output needs none:
# envd reads the pipes behind 1 and 2 before it takes the end of a cell. A last command that fails
# is the cell's error.
#
# Descriptors: 203 is the channel, 201 and 202 are the pipes. They are closed while a cell runs;
# Bash keeps them then, close-on-exec, at the first free numbers from 10 on.
#
# A cell may end the shell: exit, a failure under set -e, a break too many; an interrupt does it,
# too, since nothing else leaves functions and loops. Then the shell writes down its state and
# becomes a new one, with this text again, which reads that state from 204. What was local to the
# functions that were left is global from then on, and background programs are not its jobs.

# A body of $1 bytes into __adit_body; pairs NAME=value and a NUL into __adit_pairs.
__adit_read() {
    __adit_body=
    (($1 == 0)) || LC_ALL=C IFS= builtin read -r -d '' -N "$1" -u 203 __adit_body
}
__adit_read_pairs() {
    local LC_ALL=C left=$1 pair
    __adit_pairs=()
    while ((left > 0)) && IFS= builtin read -r -d '' -u 203 pair; do
        __adit_pairs+=("$pair")
        left=$((left - ${#pair} - 1))
    done
}
# Names with characters that no shell variable has are passed over.
__adit_export() {
    [[ ${1%%=*} =~ ^[A-Za-z_][A-Za-z_0-9]*$ ]] && builtin export "$1"
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
    builtin printf 'F 0\nX %d\n%s' "${#text}" "$text" >&203
}
__adit_finish() {
    builtin unset -f exec # a function of that name cannot do what is needed here
    exec 1>&201 2>&202 0</dev/null
    if ((__adit_interrupted)); then
        __adit_error KeyboardInterrupt '' interrupted
    elif ((__adit_status != 0)); then
        __adit_error ExitStatus "$__adit_status" "exit status $__adit_status"
    fi
    __adit_running=0 __adit_interrupted=0
    __adit_restore
    builtin printf 'D 0\n' >&203
}

# What makes a shell like this one.
__adit_state() {
    local __adit_name
    while IFS= builtin read -r __adit_name; do
        case $__adit_name in
        __adit_* | BASH* | DIRSTACK | EUID | UID | PPID | SHELLOPTS | GROUPS | FUNCNAME | LINENO) ;;
        RANDOM | SECONDS | SRANDOM | EPOCH* | _ | PIPESTATUS | COMP_* | HISTCMD) ;;
        *) declare -p -- "$__adit_name" ;;
        esac
    done < <(compgen -v)
    while IFS= builtin read -r __adit_name; do
        case $__adit_name in
        __adit_* | trap) ;;
        *) declare -f -- "$__adit_name" ;;
        esac
    done < <(compgen -A function)
    declare -Fx
    shopt -po
    shopt -p
    alias -p
    umask -p
    builtin trap -p $(compgen -A signal SIG | while IFS= builtin read -r __adit_name; do
        [[ $__adit_name == SIGINT ]] || builtin printf '%s ' "$__adit_name"
    done)
}
# The shell is about to end.
__adit_leave() {
    builtin unset -f exec
    # Left from within a function. A duplicate is close-on-exec as its source is, but for that at 0.
    [[ -e /proc/$$/fd/203 ]] || exec 0<&"${__adit_kept[0]}" 201<&0 0<&"${__adit_kept[1]}" 202<&0 \
        0<&"${__adit_kept[2]}" 203<&0 0</dev/null
    [[ ! $__adit_exit_trap ]] || (eval "$__adit_exit_trap")
    __adit_finish
    exec 204<<<"$(__adit_state 2>/dev/null)"
    exec "$BASH" --noprofile --norc -c "$BASH_EXECUTION_STRING" bash "$__adit_flags"
}
# Cells set their traps with it: what they want done at the end of the shell comes before the above.
trap() {
    if ((BASHPID != $$ || $# < 2)) || [[ $1 == -?* && $1 != -- ]]; then
        builtin trap "$@"
        return
    fi
    [[ $1 != -- ]] || shift
    local action=$1 each
    for each in "${@:2}"; do
        case $each,$action in
        EXIT,- | 0,-) __adit_exit_trap= ;;
        EXIT,* | 0,*) __adit_exit_trap=$action ;;
        INT,- | SIGINT,- | 2,-) builtin trap "$__adit_on_interrupt" INT ;;
        *) builtin trap -- "$action" "$each" ;;
        esac
    done
}
__adit_on_interrupt='if ((__adit_running)); then __adit_interrupted=1; exit 130; fi'
__adit_find_room() {
    local fd
    __adit_kept=()
    for ((fd = 10; ${#__adit_kept[@]} < 3; fd++)); do
        [[ -e /proc/$$/fd/$fd ]] || __adit_kept+=("$fd")
    done
}

__adit_running=0 __adit_interrupted=0 __adit_old=() __adit_new=() __adit_exit_trap=
__adit_flags=${1//[!eux]/}
builtin set --
builtin trap "$__adit_on_interrupt" INT
builtin trap '{ __adit_status=$? __adit_flags=$-; builtin set +eux; } 2>/dev/null
__adit_leave' EXIT
shopt -s expand_aliases
if [[ -e /proc/$$/fd/204 ]]; then
    { builtin eval "$(</dev/fd/204)"; } 2>/dev/null
    exec 204<&-
else
    builtin printf 'R 0\n' >&203
fi
while :; do
    if ! IFS=' ' builtin read -r -u 203 __adit_kind __adit_length; then
        builtin trap - EXIT
        exit
    fi
    case $__adit_kind in
    G)
        __adit_read_pairs "$__adit_length"
        for __adit_pair in "${__adit_pairs[@]}"; do __adit_export "$__adit_pair"; done
        ;;
    V)
        __adit_read_pairs "$__adit_length"
        __adit_set_for_cell
        ;;
    D)
        __adit_read "$__adit_length"
        cd -- "$__adit_body"
        ;;
    X)
        __adit_read "$__adit_length"
        __adit_find_room
        __adit_running=1
        builtin eval "${__adit_flags:+set -$__adit_flags; }$__adit_body" 201>&- 202>&- 203>&-
        { __adit_status=$? __adit_flags=${-//[!eux]/}; builtin set +eux; } 2>/dev/null
        __adit_finish
        ;;
    esac
done
