"""The completion script for zsh, made of `_arguments`, one function for each verb."""

from __future__ import annotations

from shlex import quote

from runner.cli.completion.grammar import Argument, Command, Option, Values


def script(root: Command) -> str:
    """The whole script: a file named `_runner` for a folder of `fpath`; it may be sourced as well."""
    return _SCRIPT.format(functions="\n\n".join(_function(each) for each in root.all()))


def _function(command: Command) -> str:
    body = _group(command) if command.commands else _verb(command)
    return f"{_named(command)}() {{\n{body}\n}}"


def _named(command: Command) -> str:
    return "_".join(("_runner_verb", *command.path)).replace("-", "_") if command.path else "_runner_itself"


def _verb(command: Command) -> str:
    specs = [*(spec for each in command.options for spec in _option(each))]
    specs += [_argument(each, place) for place, each in enumerate(command.arguments, 1)]
    return "    _arguments -s -S \\\n" + " \\\n".join(f"        {each}" for each in specs)


def _group(command: Command) -> str:
    specs = [*(spec for each in command.options for spec in _option(each)), "'1:verb:->verb'", "'*::argument:->rest'"]
    listed = "\n".join(f"        {quote(_before_colon(each.name) + ':' + each.help)}" for each in command.commands)
    branches = "\n".join(f"        {each.name}) {_named(each)} ;;" for each in command.commands)
    given = " \\\n".join(f"        {each}" for each in specs)
    return f"""\
    local curcontext=$curcontext state state_descr line ret=1
    local -a verbs
    typeset -A opt_args
    verbs=(
{listed}
    )
    _arguments -C -S \\
{given} && ret=0
    case $state in
    verb) _describe -t verbs verb verbs && ret=0 ;;
    rest)
        curcontext=${{curcontext%:*:*}}:runner-$words[1]:
        case $words[1] in
{branches}
        esac && ret=0
        ;;
    esac
    return ret"""


def _option(option: Option) -> list[str]:
    """One spec for each spelling; they exclude each other unless the option may be repeated."""
    exclusion = "*" if option.repeats else f"({' '.join(option.names)})"
    found = []
    for name in option.names:
        value = ""
        if option.values is not None:
            sign = ("=-" if option.optional else "=") if name.startswith("--") else "+"
            colon = "::" if option.optional else ":"
            value = f"{colon}{_before_colon(option.label)}:{_action(option.values)}"
            name += sign
        found.append(quote(f"{exclusion}{name}[{_in_brackets(option.help)}]{value}"))
    return found


def _argument(argument: Argument, place: int) -> str:
    where = "*" if argument.repeats else str(place)
    action = _action(argument.values)
    # A message alone, which a blank action stands for, would keep an option from being completed here.
    return quote(f"{where}:{_before_colon(argument.label)}:{action if action != ' ' else '_runner_nothing'}")


def _action(values: Values) -> str:
    parts = ["models"] if values.models else []
    parts += ["files"] if values.files else []
    parts += ["folders"] if values.folders else []
    if parts:
        return "_runner_offer " + " ".join((*parts, *(f"@{_before_colon(word)}" for word in values.words)))
    return f"({' '.join(map(_before_colon, values.words))})" if values.words else " "


def _before_colon(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _in_brackets(text: str) -> str:
    return "".join(f"\\{each}" if each in "[]\\:" else each for each in text)


_SCRIPT = """\
#compdef runner
# Completion of `runner` for zsh, written by `runner generate completion zsh`. Starts no Python: models' names come
# from a file that the daemon keeps.

_runner_models() {{
    local folder name
    local -a names
    if [[ -n $RUNNER_HOME ]]; then
        folder=$RUNNER_HOME/cache
    elif [[ $XDG_CACHE_HOME == /* ]]; then
        folder=$XDG_CACHE_HOME/runner
    elif [[ $OSTYPE == darwin* ]]; then
        folder=~/Library/Caches/runner
    else
        folder=~/.cache/runner
    fi
    [[ -r $folder/names ]] || return 1
    while IFS= read -r name; do
        # Nothing that a shell could take for more than a word.
        case $name in ('' | -* | *[^A-Za-z0-9._:/-]*) continue ;; esac
        names+=("$name")
    done <$folder/names
    compadd "$@" -a names
}}

_runner_offer() {{ # models, files, folders and @words, before which _arguments may put options of compadd
    local kind ret=1
    local -a options words_
    for kind in "$@"; do
        case $kind in
        (@*) words_+=("${{kind#@}}") ;;
        (models | files | folders) ;;
        (*) options+=("$kind") ;;
        esac
    done
    for kind in "$@"; do
        case $kind in
        (files) _files "${{options[@]}}" && ret=0 ;;
        (folders) _files -/ "${{options[@]}}" && ret=0 ;;
        (models)
            case $PREFIX in
            (./* | ../* | /* | '~'*) _files "${{options[@]}}" && ret=0 ;;
            (*) _runner_models "${{options[@]}}" && ret=0 ;;
            esac
            ;;
        esac
    done
    if (( $#words_ )); then compadd "${{options[@]}}" -a words_ && ret=0; fi
    return ret
}}

_runner_nothing() {{
    return 1
}}

{functions}

_runner() {{
    _runner_itself "$@"
}}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _runner "$@"
else
    compdef _runner runner
fi
"""
