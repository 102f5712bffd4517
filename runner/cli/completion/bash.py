"""The completion script for bash, from 3.2 (which Macs have) on.

Knows what bash's readline does to words with colons and equals signs in them: it takes them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from shlex import quote

from runner.cli.completion.grammar import Command, Values


def script(root: Command) -> str:
    """The whole script."""
    commands = list(root.all())
    return _SCRIPT.format(
        verbs=_cases((_path(each), " ".join(below.name for below in each.commands)) for each in commands),
        options=_cases((_path(each), " ".join(_spelled(each))) for each in commands),
        values=_cases(
            (f"{_path(each)} {name}", _kind(option.values, option.optional))
            for each in commands
            for option in each.options
            for name in option.names
            if option.values is not None
        ),
        arguments="\n".join((_arguments(commands, repeating=False), _arguments(commands, repeating=True))),
    )


def _arguments(commands: Iterable[Command], repeating: bool) -> str:
    """Those that are repeated come last: they match any place."""
    return _cases(
        (f"{_path(each)} {'*' if repeating else place}", _kind(argument.values))
        for each in commands
        for place, argument in enumerate(each.arguments)
        if argument.repeats == repeating
    )


def _path(command: Command) -> str:
    return " ".join(("runner", *command.path))


def _spelled(command: Command) -> Iterable[str]:
    return (name for option in command.options for name in option.names)


def _kind(values: Values, optional: bool = False) -> str:
    """Words for `_runner_offer`: `=word` is itself, `models`, `files` and `folders` are looked up."""
    kinds = ["optional"] if optional else []
    kinds += [kind for kind in ("models", "files", "folders") if getattr(values, kind)]
    return " ".join((*kinds, *(f"={word}" for word in values.words))) or "any"


def _cases(rows: Iterable[tuple[str, str]]) -> str:
    """Branches of a `case`; what is the same for many is written once. Words and metavars hold no quotes."""
    by_text: dict[str, list[str]] = {}
    for pattern, text in rows:
        if text:
            by_text.setdefault(text, []).append(pattern)
    return "\n".join(f"    {' | '.join(map(_pattern, keys))}) found='{text}' ;;" for text, keys in by_text.items())


def _pattern(key: str) -> str:
    return f"{quote(key[:-1])}*" if key.endswith("*") else quote(key)


_SCRIPT = """\
# shellcheck shell=bash
# Completion of `runner` for bash, written by `runner generate completion bash`. Starts no Python: models' names
# come from a file that the daemon keeps.

_runner_verbs() {{ # the words that may follow a command
    found=
    case $1 in
{verbs}
    esac
}}

_runner_options() {{ # the options of a command
    found=
    case $1 in
{options}
    esac
}}

_runner_value() {{ # the kind of value that an option of a command takes; none for a flag
    found=
    case $1 in
{values}
    esac
}}

_runner_argument() {{ # the kind of word at a command's place 0, 1, ...
    found=
    case $1 in
{arguments}
    esac
}}

# The command line up to the cursor as words, as the shell will see them: readline breaks them at colons and such.
_runner_words() {{
    local line=${{COMP_LINE:0:COMP_POINT}} index word blank
    words=()
    for ((index = 0; index <= COMP_CWORD; index++)); do
        blank=${{line%%[![:blank:]]*}}
        line=${{line#"$blank"}}
        word=${{COMP_WORDS[index]}}
        if ((index == COMP_CWORD)); then word=$line; fi
        line=${{line#"$word"}}
        if [[ -z $blank ]] && ((index > 0)); then
            words[${{#words[@]}} - 1]+=$word
        else
            words+=("$word")
        fi
    done
}}

_runner_add() {{ # a candidate, if it begins with what is typed; readline wants it without what it broke off
    if [[ $1 == "$current"* ]]; then COMPREPLY+=("$lead${{1#"$broken"}}"); fi
}}

_runner_models() {{
    local folder name
    if [[ -n ${{RUNNER_HOME-}} ]]; then
        folder=$RUNNER_HOME/cache
    elif [[ ${{XDG_CACHE_HOME-}} == /* ]]; then
        folder=$XDG_CACHE_HOME/runner
    elif [[ $OSTYPE == darwin* ]]; then
        folder=~/Library/Caches/runner
    else
        folder=~/.cache/runner
    fi
    [[ -r $folder/names ]] || return 0
    while IFS= read -r name; do
        # Nothing that a shell could take for more than a word.
        case $name in '' | -* | *[!A-Za-z0-9._:/-]*) continue ;; esac
        _runner_add "$name"
    done <"$folder/names"
}}

_runner_files() {{ # $1: -f for files, -d for folders
    # Not compgen, which takes quotes within a home's name for quoting.
    local tilde='' home='' name
    if [[ -z $quoted && $current =~ ^~[A-Za-z0-9._-]*/ ]]; then
        tilde=${{BASH_REMATCH[0]}}
        eval "home=$tilde" # `~` or `~name`, and nothing else
    fi
    compopt -o filenames 2>/dev/null
    while IFS= read -r name; do _runner_add "$tilde${{name#"$home"}}"; done < <(
        shopt -u failglob nocaseglob
        set +f
        GLOBIGNORE=
        for name in "$home${{current#"$tilde"}}"*; do
            if [[ -d $name || $1 == -f && -e $name ]]; then printf '%s\\n' "$name"; fi
        done
    )
}}

_runner_plain() {{ # what is typed, as it will be without the backslashes
    local rest=$current
    current=
    while [[ $rest == *\\\\* ]]; do
        current+=${{rest%%\\\\*}}
        rest=${{rest#*\\\\}}
        current+=${{rest:0:1}}
        rest=${{rest:1}}
    done
    current+=$rest
}}

_runner_offer() {{ # what a kind stands for
    local kind
    for kind in $1; do
        case $kind in
        =*) _runner_add "${{kind#=}}" ;;
        files) _runner_files -f ;;
        folders) _runner_files -d ;;
        models)
            case $current in
            ./* | ../* | /* | '~'*) _runner_files -f ;;
            *) _runner_models ;;
            esac
            ;;
        esac
    done
}}

_runner() {{
    local words current lead='' broken='' breaks='' found word each at=runner place=0 pending='' ended='' quoted=''
    COMPREPLY=()
    _runner_words
    current=${{words[${{#words[@]}} - 1]}}
    if ((${{#words[@]}} < 2)); then return; fi
    for word in "${{words[@]:1:${{#words[@]}}-2}}"; do
        if [[ -n $pending ]]; then
            pending=
            continue
        fi
        if [[ -z $ended ]]; then
            case $word in
            --) ended=yes && continue ;;
            --*=*) continue ;;
            -?*)
                _runner_value "$at $word"
                if [[ $found != optional* ]]; then pending=$found; fi
                continue
                ;;
            esac
        fi
        _runner_verbs "$at"
        if [[ " $found " == *" $word "* ]]; then at+=" $word"; else ((place++)); fi
    done
    case $current in
    [\\"\\']*) quoted=yes current=${{current:1}} ;;
    *)
        _runner_plain
        if [[ $COMP_WORDBREAKS == *:* ]]; then breaks=:; fi
        if [[ $COMP_WORDBREAKS == *=* ]]; then breaks+='='; fi
        ;;
    esac
    if [[ -z $pending$ended && $current == --*=* ]]; then
        _runner_value "$at ${{current%%=*}}"
        if [[ $breaks != *=* ]]; then lead=${{current%%=*}}=; fi
        current=${{current#*=}}
        pending=${{found:-none}}
    fi
    if [[ -n $breaks ]]; then broken=${{current%"${{current##*["$breaks"]}}"}}; fi
    if [[ -n $pending ]]; then
        _runner_offer "$pending"
    elif [[ -z $ended && $current == -* ]]; then
        _runner_options "$at"
        for each in $found; do _runner_add "$each"; done
    else
        _runner_verbs "$at"
        for each in $found; do _runner_add "$each"; done
        _runner_argument "$at $place"
        _runner_offer "$found"
    fi
}}

complete -F _runner runner
"""
