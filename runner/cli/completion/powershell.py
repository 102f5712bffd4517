"""The completion script for PowerShell, 5.1 and later."""

from __future__ import annotations

from runner.cli.completion.grammar import Command, Values


def script(root: Command) -> str:
    """The whole script."""
    return _SCRIPT.replace("@TABLE@", "\n".join(_entry(each) for each in root.all()))


def _entry(command: Command) -> str:
    path = " ".join(("runner", *command.path))
    verbs = ", ".join(f"@({_quoted(each.name)}, {_quoted(each.help)})" for each in command.commands)
    # Keys of a table are the same in either case, and one given twice is an error.
    spelled = {name.lower(): (name, each) for each in reversed(command.options) for name in each.names}
    options = "\n".join(
        f"            {_quoted(name)} = @({_quoted(_kind(each.values, each.optional))}, {_quoted(each.help)})"
        for name, each in reversed(spelled.values())
    )
    # A repeated argument is the last, and its kind serves all that follow.
    kinds = ", ".join(_quoted(_kind(each.values)) for each in command.arguments)
    repeats = "$true" if any(each.repeats for each in command.arguments) else "$false"
    return f"""\
    {_quoted(path)} = @{{
        Verbs = @({"," if len(command.commands) == 1 else ""}{verbs})
        Arguments = @({kinds})
        Repeats = {repeats}
        Options = @{{
{options}
        }}
    }}"""


def _kind(values: Values | None, optional: bool = False) -> str:
    if values is None:
        return ""
    kinds = ["optional"] if optional else []
    kinds += [kind for kind in ("models", "files", "folders") if getattr(values, kind)]
    return " ".join((*kinds, *(f"={word}" for word in values.words))) or "any"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


_SCRIPT = """\
# Completion of `runner` for PowerShell, written by `runner generate completion powershell`. Starts no Python: models'
# names come from a file that the daemon keeps.

$script:RunnerCommands = @{
@TABLE@
}

function script:Get-RunnerModel {
    if ($env:RUNNER_HOME) {
        $folder = Join-Path $env:RUNNER_HOME 'cache'
    } elseif ($env:LOCALAPPDATA) {
        $folder = Join-Path (Join-Path $env:LOCALAPPDATA 'runner') 'Cache'
    } elseif ($env:XDG_CACHE_HOME) {
        $folder = Join-Path $env:XDG_CACHE_HOME 'runner'
    } elseif ($IsMacOS) {
        $folder = Join-Path $HOME 'Library/Caches/runner'
    } else {
        $folder = Join-Path $HOME '.cache/runner'
    }
    $file = Join-Path $folder 'names'
    if (Test-Path -LiteralPath $file -PathType Leaf) {
        # Nothing that a shell could take for more than a word.
        Get-Content -LiteralPath $file -ErrorAction SilentlyContinue |
            Where-Object { $_ -cmatch '^[A-Za-z0-9_][A-Za-z0-9._:/-]*$' }
    }
}

Register-ArgumentCompleter -Native -CommandName 'runner', 'runner.exe', 'runner.cmd' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements |
            Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
            Select-Object -Skip 1 | ForEach-Object { $_.Extent.Text })
    $at = 'runner'
    $place = 0
    $pending = ''
    $ended = $false
    foreach ($word in $words) {
        if ($pending) { $pending = ''; continue }
        if (-not $ended) {
            if ($word -eq '--') { $ended = $true; continue }
            if ($word -like '--*=*') { continue }
            if ($word -like '-?*') {
                $option = $script:RunnerCommands[$at].Options[$word]
                if ($option -and $option[0] -notlike 'optional*') { $pending = $option[0] }
                continue
            }
        }
        if ($script:RunnerCommands.ContainsKey("$at $word")) { $at = "$at $word" } else { $place++ }
    }
    $command = $script:RunnerCommands[$at]
    $typed = $wordToComplete
    $lead = ''
    if (-not $pending -and -not $ended -and $typed -like '--*=*') {
        $name, $typed = $typed -split '=', 2
        $lead = "$name="
        $option = $command.Options[$name]
        $pending = if ($option -and $option[0]) { $option[0] } else { 'none' }
    }
    $found = New-Object System.Collections.ArrayList
    $kinds = ''
    if ($pending) {
        $kinds = $pending
    } elseif (-not $ended -and $typed -like '-*') {
        foreach ($name in ($command.Options.Keys | Sort-Object)) {
            [void]$found.Add(@($name, $command.Options[$name][1]))
        }
    } else {
        foreach ($verb in $command.Verbs) { [void]$found.Add($verb) }
        if ($command.Arguments.Count) {
            if ($place -lt $command.Arguments.Count) {
                $kinds = $command.Arguments[$place]
            } elseif ($command.Repeats) {
                $kinds = $command.Arguments[-1]
            }
        }
    }
    foreach ($kind in ($kinds -split ' ')) {
        if ($kind -like '=*') {
            $value = $kind.Substring(1)
            [void]$found.Add(@($value, $value))
        } elseif ($kind -eq 'models') {
            foreach ($model in Get-RunnerModel) { [void]$found.Add(@($model, $model)) }
        }
    }
    # Where a file may stand and nothing else fits, PowerShell offers files by itself.
    foreach ($pair in $found) {
        if ($pair[0].StartsWith($typed, [StringComparison]::Ordinal)) {
            $about = if ($pair[1]) { $pair[1] } else { $pair[0] }
            [System.Management.Automation.CompletionResult]::new("$lead$($pair[0])", $pair[0], 'ParameterValue', $about)
        }
    }
}
"""
