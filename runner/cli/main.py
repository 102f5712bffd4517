"""The `runner` command: dispatches to a verb, and is the one place where an exception becomes an exit code.

Imports as little as it can at the top, so that Ctrl-C is in order from the first moment.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from runner.cli.failures import Exit, Failure

if TYPE_CHECKING:
    from typer import TyperException


def main() -> NoReturn:
    """Run the command that sys.argv holds, and exit."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_guarded(sys.argv[1:]))


def _prepare_streams() -> None:
    """A closed stream takes anything, and a character that the terminal's encoding lacks becomes a question mark."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull, encoding="utf-8")  # noqa: SIM115 - for the whole process
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the whole process
        else:
            stream.reconfigure(errors="replace")


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    # An exception, so that a hidden cursor and a raw terminal are put back on the way out.
    raise SystemExit(Exit.TERMINATED)


def _guarded(arguments: list[str]) -> int:
    """The command's exit code; whatever went wrong has been said in one line."""
    try:
        try:
            code = _run(arguments)
            sys.stdout.flush()
            sys.stderr.flush()
            return code
        except BrokenPipeError:
            raise
        except OSError as error:  # the daemon's connection raises Failure, so this is a file or standard output
            _drop_output()
            return _fail(Failure(": ".join(filter(None, (error.filename, error.strerror or str(error)))), Exit.IO))
    except BrokenPipeError:
        _end_quietly()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED


def _run(arguments: list[str]) -> int:
    try:
        if arguments in (["--version"], ["-v"]):  # typer alone takes ten times as long
            from runner.cli.commands.version import command

            command()
            return Exit.OK
        from typer import TyperException

        from runner.cli.verbs import dispatch

        try:
            return dispatch(arguments)
        except TyperException as error:
            return _fail(_usage(error))
    except Failure as failure:
        return _fail(failure)
    except (OSError, KeyboardInterrupt):
        raise
    except Exception as error:
        if os.environ.get("RUNNER_LOG_LEVEL") == "debug":
            raise
        return _fail(
            Failure(
                f"a fault in Runner: {type(error).__name__}: {error}",
                detail="RUNNER_LOG_LEVEL=debug shows where it comes from",
            )
        )


def _usage(error: TyperException) -> Failure:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return Failure(error.format_message().rstrip() + hint, Exit(error.exit_code))


def _fail(failure: Failure) -> int:
    from runner.cli.output import report

    report(failure)
    return failure.code


def _end_quietly() -> NoReturn:
    """Whoever reads us has read enough. End as every filter does, by SIGPIPE where there is one."""
    _drop_output()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(Exit.FAILED)


def _drop_output() -> None:
    """What couldn't be written is let go: Python would try again on its way out, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
