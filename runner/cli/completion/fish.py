"""The completion script for fish, from 3.0 on."""

from __future__ import annotations

from collections.abc import Iterator

from runner.cli.completion.grammar import Argument, Command, Option, Values


def script(root: Command) -> str:
    """The whole script."""
    commands = list(root.all())
    return _SCRIPT.format(
        taking=_cases((_path(each), " ".join(_taking(each))) for each in commands),
        verbs=_cases((_path(each), " ".join(below.name for below in each.commands)) for each in commands),
        completions="\n".join(line for each in commands for line in _lines(each)),
    )


def _path(command: Command) -> str:
    return " ".join(("runner", *command.path))


def _taking(command: Command) -> Iterator[str]:
    """The options whose value is the next word."""
    return (name for each in command.options if each.takes_next for name in each.names)


def _cases(rows: Iterator[tuple[str, str]]) -> str:
    by_text: dict[str, list[str]] = {}
    for path, text in rows:
        if text:
            by_text.setdefault(text, []).append(path)
    return "\n".join(
        f"        case {' '.join(map(_quoted, paths))}\n            echo -- {text}" for text, paths in by_text.items()
    )


def _lines(command: Command) -> Iterator[str]:
    here = f"-n {_quoted('__runner_at ' + _quoted(_path(command)))}"
    for below in command.commands:
        yield f"complete -c runner {here} -a {_quoted(below.name)} -d {_quoted(below.help)}"
    for option in command.options:
        within = f"-n {_quoted('__runner_within ' + _quoted(_path(command)))}"
        yield f"complete -c runner {within} {_spelled(option)} -d {_quoted(option.help)}"
    for place, argument in enumerate(command.arguments):
        yield from _argument(command, place, argument)


def _argument(command: Command, place: int, argument: Argument) -> Iterator[str]:
    where = f"__runner_at {_quoted(_path(command))} {place}" + (" more" if argument.repeats else "")
    for flags in _offers(argument.values):
        yield f"complete -c runner -n {_quoted(where)} {flags}"


def _spelled(option: Option) -> str:
    spelled = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    if option.values is None:
        return spelled
    if option.optional:
        return f"{spelled} {' '.join(_offers(option.values))}".rstrip()
    if option.values.files:
        return f"{spelled} -r -F"
    return f"{spelled} -x {' '.join(_offers(option.values))}".rstrip()


def _offers(values: Values) -> list[str]:
    found = []
    if values.models:
        found.append("-a '(__runner_models)'")
    if values.words:
        found.append(f"-a {_quoted(' '.join(values.words))}")
    if values.files:
        found.append("-F")
    if values.folders:
        found.append("-a '(__fish_complete_directories)'")
    return found


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


_SCRIPT = """\
# Completion of `runner` for fish, written by `runner generate completion fish`. Starts no Python: models' names come
# from a file that the daemon keeps.

function __runner_taking -a at # the options of a command whose value is the next word
    switch $at
{taking}
    end
end

function __runner_verbs -a at # the words that may follow a command
    switch $at
{verbs}
    end
end

function __runner_place # two lines: the command that the line names so far, and how many of its arguments are there
    set -l at runner
    set -l place 0
    set -l ended
    set -l pending
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$pending"
            set pending
            continue
        end
        if test -z "$ended"
            switch $word
                case --
                    set ended yes
                    continue
                case '--*=*'
                    continue
                case '-?*'
                    contains -- $word (__runner_taking $at | string split ' '); and set pending yes
                    continue
            end
        end
        if contains -- $word (__runner_verbs $at | string split ' ')
            set at "$at $word"
        else
            set place (math $place + 1)
        end
    end
    echo $at
    echo $place
end

function __runner_within -a at # whether the line names this command
    set -l here (__runner_place)
    test "$here[1]" = "$at"
end

function __runner_at -a at place more # whether the next word is this command's, at this place (or a later one)
    set -l here (__runner_place)
    test "$here[1]" = "$at"; or return
    test -z "$place"; or test "$here[2]" = "$place"; or test -n "$more" -a "$here[2]" -ge "$place"
end

function __runner_models
    set -l folder ~/.cache/runner
    if test -n "$RUNNER_HOME"
        set folder $RUNNER_HOME/cache
    else if string match -q '/*' -- "$XDG_CACHE_HOME"
        set folder $XDG_CACHE_HOME/runner
    else if test -d ~/Library/Caches
        set folder ~/Library/Caches/runner
    end
    if test -r $folder/names
        # Nothing that a shell could take for more than a word.
        string match -r '^[A-Za-z0-9_][A-Za-z0-9._:/-]*$' <$folder/names
    end
    # A model may be a file too.
    if string match -qr '^(\\.{{1,2}}/|/|~)' -- (commandline -ct)
        complete -C "'' "(commandline -ct)
    end
end

complete -c runner -e
complete -c runner -f
{completions}
"""
