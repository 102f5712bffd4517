"""A worker process without a model: speaks the protocol and does as it is told, deterministically.

The load's first weight says how to load, the text of a prompt what to do; both are words with arguments after a colon:

    load      ok · slow (two signs of life, then ready) · silent (never a sign) · refuse · die:SIGNAL · exit:CODE
              once:PATH:WORD (WORD the first time, ok when PATH exists) · frame (bytes that are no frame) · flood
    prompt    say:WORDS (one event a word) · hold (begins, and ends when told) · release (lets all that hold go on)
              talk:WORDS (as hold, but the first word comes at once)
              die:SIGNAL · begin-and-die:SIGNAL · once:PATH:WORD · hang (stops reading and writing) · fail:CODE
              env (answers with the names of its environment) · close (closes its output and lives on) · deaf
              (never ends, not even when cancelled) · end-one-and-die:SIGNAL (after the end of the second choice)
              say-and-die:N:PATH:WORDS (dies behind every N words, till there are none left, and notes it in PATH)

A request of several choices gets its words once for each, with the choice's number behind them; each word is one token,
its place its number. A request that is resumed gets the words that it hasn't been told.

Nothing here sleeps to pass the time: what waits, waits for a command or a signal.
"""

from __future__ import annotations

import array
import os
import signal
import sys
from pathlib import Path

import msgspec

from runner.formats import THINKING, calls_of
from runner.protocol.codec import FrameReader, pack_events, unpack_command
from runner.protocol.commands import Cancel, ChatPrompt, Command, Embed, Generate, Load, Resumed, Stop, TextPrompt
from runner.protocol.events import (
    Alternative,
    Done,
    Ended,
    Event,
    Failed,
    Loading,
    Logprob,
    Ready,
    Reason,
    Started,
    Text,
    Usage,
    Vectors,
)

CALLS = calls_of("<tool_call> tools")


def main() -> int:
    frames = FrameReader()
    worker = Worker()
    while data := os.read(0, 1 << 16):
        for body in frames.feed(data):
            command = unpack_command(body)
            if isinstance(command, Stop):
                return 0
            worker.take(command)
    return 0


def send(*events: Event) -> None:
    os.write(1, pack_events(list(events)))


def die(name: str) -> None:
    print(f"about to die of {name}", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.Signals[name])
    signal.pause()


class Worker:
    def __init__(self) -> None:
        self.held: dict[int, list[str]] = {}
        self.asked: dict[int, Generate] = {}

    def take(self, command: Command) -> None:
        match command:
            case Load():
                self.load(command, Path(command.weights[0]).name if "/" in command.weights[0] else command.weights[0])
            case Generate():
                self.asked[command.id] = command
                self.generate(command.id, text_of(command))
            case Embed():
                self.embed(command)
            case Cancel(id=request):
                if self.held.pop(request, None) is not None:
                    send(Done(request, "cancelled", Usage()))

    def load(self, command: Load, how: str) -> None:
        word, _, argument = how.partition(":")
        match word:
            case "slow":
                send(Loading(0.3))
                send(Loading(0.6))
            case "silent":
                signal.pause()
            case "refuse":
                send(Failed(None, "load_failed", "unknown model architecture: 'fake'"))
                sys.exit(1)
            case "die":
                die(argument)
            case "exit":
                sys.exit(int(argument))
            case "once":
                path, _, first = argument.partition(":")
                flag = Path(path.replace("|", "/"))
                if not flag.exists():
                    flag.touch()
                    return self.load(command, first)
            case "frame":
                os.write(1, b"\xff\xff\xff\xff no frame of ours")
                signal.pause()
            case "flood":
                for _ in range(2000):
                    os.write(2, b"\xff\xfe no newline and no UTF-8 " * 200)
        options = command.options
        send(
            Ready(
                context_length=options.num_ctx, cells=options.cells, sequences=options.num_parallel, vocabulary=100,
                embedding_length=3, devices=("CPU",), gpu_layers=0, layers=1, weights_bytes={"CPU": 1000},
                kv_bytes={"CPU": 100}, compute_bytes={"CPU": 10}, load_ns=1, engine="fake", has_template=True,
            )
        )  # fmt: skip
        return None

    def generate(self, request: int, what: str) -> None:
        word, _, argument = what.partition(":")
        match word:
            case "say":
                self.say(request, argument.split(" "))
            case "hold":
                send(Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS))
                self.held[request] = (argument or "held").split(" ")
            case "talk":
                words = argument.split(" ")
                resumed = self.asked[request].resumed
                send(Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS))
                if not resumed:
                    send(Text(request, words[0], 1, ids=(0,)))
                    self.asked[request] = msgspec.structs.replace(
                        self.asked[request], resumed=(Resumed((0,), len(words[0])),)
                    )
                self.held[request] = words
            case "release":
                held, self.held = self.held, {}
                for other, words in held.items():
                    self.finish(other, words)
                self.say(request, ["released"])
            case "die":
                die(argument)
            case "begin-and-die":
                if not self.asked[request].resumed:
                    send(
                        Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS),
                        Text(request, "begun", 1, ids=(1,)),
                    )
                die(argument)
            case "say-and-die":
                self.say_some(request, argument)
            case "end-one-and-die":
                if self.asked[request].resumed:
                    return self.say(request, ["survived"])
                send(Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS), Ended(request, "stop", 1))
                die(argument)
            case "once":
                path, _, first = argument.partition(":")
                if Path(path).exists():
                    return self.say(request, ["survived"])
                Path(path).touch()
                return self.generate(request, first)
            case "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                send(Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS))
                while True:
                    signal.pause()
            case "fail":
                send(Failed(request, argument, "as you wish", "prompt"))
            case "env":
                self.say(request, sorted(os.environ))
            case "close":
                os.close(1)
                signal.pause()
            case "deaf":
                send(Started(id=request, prompt_tokens=1, thinking=THINKING[0], calls=CALLS))
            case _:
                self.say(request, ["echo", what])
        return None

    def say(self, request: int, words: list[str]) -> None:
        command = self.asked[request]
        shown = text_of(command)[: command.show] if command.show else None
        send(Started(id=request, prompt_tokens=2, thinking=THINKING[0], calls=CALLS, prompt=shown))
        self.finish(request, words)

    def say_some(self, request: int, argument: str) -> None:
        number, path, said = argument.split(":", 2)
        words = said.split(" ")
        resumed = self.asked[request].resumed
        told = len(resumed[0].tokens) if resumed else 0
        if told + int(number) >= len(words):
            return self.say(request, words)
        send(Started(id=request, prompt_tokens=2, thinking=THINKING[0], calls=CALLS))
        for place in range(told, told + int(number)):
            send(Text(request, words[place] if place == 0 else f" {words[place]}", 1, ids=(place,)))
        with Path(path).open("a") as deaths:
            deaths.write("x")
        return die("SIGKILL")

    def finish(self, request: int, words: list[str], reason: Reason = "stop") -> None:
        command = self.asked.pop(request)
        choices = command.choices
        ended = {choice for choice, told in enumerate(command.resumed) if told.reason is not None}
        for choice in set(range(choices)) - ended:
            offset = 0
            told = len(command.resumed[choice].tokens) if command.resumed else 0
            for index, word in enumerate([*words, str(choice)] if choices > 1 else words):
                text = word if index == 0 else f" {word}"
                logprobs = () if command.logprobs is None else (scored(text, offset, command.logprobs),)
                if index >= told:
                    send(Text(request, text, 1, choice, logprobs, (index,)))
                offset += len(text)
        for choice in set(range(1, choices)) - ended:
            send(Ended(request, reason, choice))
        tokens = len(words) + (choices > 1)
        usage = Usage(prompt_tokens=2, completion_tokens=tokens * choices, prefill_ns=5, decode_ns=7)
        send(Done(request, reason, usage))

    def embed(self, command: Embed) -> None:
        values = array.array("f")
        for given in command.inputs:
            values.extend([float(len(given)), 0.0, 1.0])
        send(Vectors(command.id, values.tobytes(), len(command.inputs), 3, Usage(prompt_tokens=len(command.inputs))))


def scored(text: str, offset: int, top: int) -> Logprob:
    return Logprob(text.encode(), -0.5, offset, tuple(Alternative(b"%d" % place, -0.5 - place) for place in range(top)))


def text_of(command: Generate) -> str:
    prompt = command.prompt
    if isinstance(prompt, TextPrompt):
        return prompt.text
    if isinstance(prompt, ChatPrompt):
        return prompt.messages[-1].content
    return repr(prompt)


if __name__ == "__main__":
    sys.exit(main())
