"""`runner run`: one answer, or a conversation; the model is pulled first when it isn't there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runner.cli import abilities, answer, arguments, output
from runner.cli.answer import Answer, Look
from runner.cli.arguments import Host, Model
from runner.cli.client import Client, Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure

EXAMPLES = """
runner run demo
runner run demo "How do I pull a model?"
runner run qwen3 --file report.md "What is missing in it?"
cat notes.txt | runner run qwen3 "Summarise this:"
runner run qwen3 --think=high --verbose "How many primes are below 50?"
runner run qwen3 --show-prompt "Hello"
runner run all-minilm "a text to embed"
"""


def command(
    model: Model,
    prompt: Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="What to say.")] = None,
    system: Annotated[str | None, typer.Option(metavar="TEXT", help="Replace the system message.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--option", "-o", metavar="NAME=VALUE", help="Set a parameter: temperature=0.")
    ] = None,
    think: Annotated[
        str | None,
        typer.Option(metavar="[LEVEL]", help="Let it think: --think, or --think=low, medium, high, max or false."),
    ] = None,
    no_think: Annotated[bool, typer.Option("--no-think", help="The same as --think=false.")] = False,
    hide_thinking: Annotated[bool, typer.Option("--hidethinking", help="Don't print its thoughts.")] = False,
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="Form of the answer: json, or a JSON Schema.")
    ] = None,
    keepalive: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it stays loaded: 5m, 1h, 0, or -1 for ever.")
    ] = None,
    file: Annotated[
        list[Path] | None, typer.Option("--file", metavar="FILE", help="Put a text, or a picture, to the prompt.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", metavar="FILE", help="Show it a picture.")] = None,
    no_wrap: Annotated[
        bool, typer.Option("--nowordwrap", help="Print the answer as it comes, on a terminal too.")
    ] = False,
    dimensions: Annotated[
        int | None, typer.Option(metavar="N", help="Length of the vector, for an embedding model.")
    ] = None,
    no_stdin: Annotated[bool, typer.Option("--no-stdin", help="Never read standard input.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print timings after the answer.")] = False,
    show_prompt: Annotated[
        bool, typer.Option("--show-prompt", help="Print the prompt that it would be given, and don't ask it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole answer as one JSON object.")] = False,
    host: Host = None,
) -> None:
    """Ask a model, or chat with it.

    With a prompt it answers; without one, on a terminal, it opens a chat. A model that isn't there is pulled first.
    Standard input is read when it isn't a terminal; with a prompt as well, it goes before the prompt.
    """
    request: Json = {"model": model}
    _put(request, "system", system)
    _put(request, "options", arguments.options(option or ()) or None)
    _put(request, "think", False if no_think else arguments.think(think))
    _put(request, "format", arguments.answer_format(form))
    _put(request, "keep_alive", arguments.keep_alive(keepalive))
    look = Look("hide" if hide_thinking else "show", wrap=not no_wrap)
    text = _text(prompt or [], reads_stdin=not no_stdin and not sys.stdin.isatty())
    answer.prepare(look)
    client = daemon(host)
    can = abilities.of(client, model)
    if file or image:
        text = _with_files(request, file or [], image or [], text, "vision" in can)
    if show_prompt:
        _show_prompt(client, request, text, as_json)
    elif abilities.only_embeds(can):
        _embed(client, request, text, dimensions)
    elif text is None and sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
        from runner.cli.chat.repl import converse  # on use: the line editor takes longer to import than all the rest

        converse(client, request, can, look, verbose)
    elif text is None and sys.stdin.isatty():
        raise Failure(f"what shall {model!r} answer? Give a prompt, or pipe one in", Exit.USAGE)
    else:
        _answer(client, {**request, "prompt": text or ""}, look, verbose, as_json)


def _put(request: Json, name: str, value: Any) -> None:
    if value is not None:
        request[name] = value


def _text(prompt: list[str], reads_stdin: bool) -> str | None:
    """Standard input, then the prompt; None when there is neither."""
    parts = []
    if reads_stdin:
        parts.append(sys.stdin.buffer.read().decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n"))
    parts.append(" ".join(prompt))
    return "\n".join(part for part in parts if part.strip()) or None


def _with_files(request: Json, files: list[Path], images: list[Path], text: str | None, sees: bool) -> str:
    """The prompt with the texts before it; pictures go into the request."""
    from runner.cli import attachments  # on use

    attached = attachments.given(files, images, sees)
    _put(request, "images", attached.images or None)
    return "\n\n".join(part for part in (attached.text, text) if part)


def _answer(client: Client, request: Json, look: Look, verbose: bool, as_json: bool) -> None:
    came = Answer()
    try:
        with client.stream("/api/generate", {**request, "stream": True}, answer.is_last) as updates:
            if as_json:
                answer.collect(updates, came)
            else:
                answer.show(updates, came, look)
    except KeyboardInterrupt:
        if as_json or not came.text:  # what was shown of an answer has been ended
            output.after_interrupt()
        raise
    if as_json:
        output.data({**came.last, "response": came.text, "thinking": came.thinking or None})
    answer.warn(came.last)
    if came.last.get("done_reason") == "load":
        output.say(f"{request['model']!r} is loaded; it was given nothing to answer")
    if verbose:
        output.say("")
        answer.timings(came.last)


def _show_prompt(client: Client, request: Json, text: str | None, as_json: bool) -> None:
    if text is None:
        raise Failure("a prompt can be shown when there is something to say; give it one", Exit.USAGE)
    asked = {**request, "prompt": text, "stream": False, "_debug_render_only": True}
    shown = client.post("/api/generate", asked, timeout=None)
    if as_json:
        output.data(shown)
        return
    prompt = str((shown.get("_debug_info") or {}).get("rendered_template") or "")
    output.write(prompt)  # as it is, so that it can be compared
    if sys.stdout.isatty() and not prompt.endswith("\n"):
        output.line("")


def _embed(client: Client, request: Json, text: str | None, dimensions: int | None) -> None:
    if text is None:
        raise Failure(f"{request['model']!r} turns texts into vectors; give it one", Exit.USAGE)
    asked: Json = {key: request[key] for key in ("model", "options", "keep_alive") if key in request}
    _put(asked, "dimensions", dimensions)
    vectors = client.post("/api/embed", {**asked, "input": text}, timeout=None).get("embeddings") or [[]]
    output.data(vectors[0], indent=None)
