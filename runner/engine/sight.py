"""A conversation with images, made ready for the loop: rendered, every image looked at, and all of it as tokens.

Joins the template's places with what the eye sees. Belongs to one thread of the intake.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from runner.conversation import Message
from runner.engine.eye import Eye
from runner.engine.pictures import Picture, Pictures
from runner.errors import Cancelled, ContextOverflow, Unsupported
from runner.prompt.fit import drop_oldest_turns
from runner.prompt.placing import Render, place
from runner.protocol.commands import ChatPrompt


@dataclass(frozen=True, slots=True)
class Seen:
    """A prompt: its text with a mark at each image's place, its tokens, with those that stand for pictures, and
    whether it ends inside a thought. `lost` tokens were left out to make it fit."""

    text: str
    tokens: list[int]
    pictures: Pictures
    in_thought: bool
    lost: int = 0


class Sight:
    """`own_mark` says what a prompt's template writes for an image; `most` tokens can be computed together.

    `render` and `tokenize` are the mailbox's; the second is told whether the text is the beginning of the prompt.
    """

    def __init__(
        self,
        eye: Eye,
        own_mark: Callable[[ChatPrompt], str | None],
        render: Render,
        tokenize: Callable[[str, bool], list[int]],
        *,
        most: int,
    ) -> None:
        self._eye = eye
        self._own_mark = own_mark
        self._render = render
        self._tokenize = tokenize
        self._most = most

    def measure(self, prompt: ChatPrompt) -> Seen:
        """The prompt with its images measured but not embedded. Raises InvalidRequest and its kinds."""
        rendered, mark = place(prompt, self._own_mark(prompt), self._render)
        images = [self._eye.measure(*each) for each in _images(prompt)]
        tokens: list[int] = []
        placed: list[tuple[int, Picture]] = []
        for index, text in enumerate(rendered.text.split(mark)):
            for part in images[index - 1] if index else ():
                if isinstance(part, Picture):
                    self._check(part, len(images))
                    placed.append((len(tokens), part))
                    tokens += part.ids
                else:
                    tokens += part
            tokens += self._tokenize(text, index == 0)
        return Seen(rendered.text, tokens, Pictures(tuple(placed)), rendered.in_thought)

    def see(
        self, prompt: ChatPrompt, limit: int, room: int | None, given_up: Callable[[], bool] = lambda: False
    ) -> Seen:
        """The prompt with its images embedded. One of `limit` tokens or more loses its oldest turns until it has at
        most `room`, if that isn't None.

        Raises InvalidRequest and its kinds, or Cancelled as soon as `given_up` says so between two images.
        """
        seen = self.measure(prompt)
        if (whole := len(seen.tokens)) >= limit:
            fitting = None if room is None else self._fitting(prompt, room)
            if fitting is None:  # an image can't be cut
                raise ContextOverflow(whole, limit, field="prompt")
            prompt, seen = fitting, self.measure(fitting)
        pictures: list[Picture] = []
        for each in _images(prompt):
            if given_up():
                raise Cancelled("nobody waits for this request any more")
            pictures += [part for part in self._eye.see(*each) if isinstance(part, Picture)]
        placed = ((start, picture) for (start, _), picture in zip(seen.pictures.placed, pictures, strict=True))
        return replace(seen, pictures=Pictures(tuple(placed)), lost=whole - len(seen.tokens))

    def close(self) -> None:
        """Free the projector."""
        self._eye.close()

    def _fitting(self, prompt: ChatPrompt, room: int) -> ChatPrompt | None:
        fields = {id(message): names for message, names in zip(prompt.messages, _fields(prompt), strict=True)}

        def of(messages: tuple[Message, ...]) -> ChatPrompt:
            names = tuple(name for message in messages for name in fields[id(message)])
            return msgspec.structs.replace(prompt, messages=messages, image_fields=names)

        left = drop_oldest_turns(prompt.messages, lambda messages: len(self.measure(of(messages)).tokens) <= room)
        return None if left is None else of(left)

    def _check(self, picture: Picture, images: int) -> None:
        if picture.is_whole and len(picture.ids) > self._most:
            raise Unsupported(
                f"an image takes {len(picture.ids)} tokens, which this model has to see at once, and num_batch is "
                f"{self._most}: load it with a larger num_batch",
                field="options.num_batch",
            )
        if picture.is_numbered and images > 1:
            raise Unsupported("this model's images are numbered; one image in a request is supported", field="messages")


def has_images(prompt: object) -> bool:
    """Whether there is anything to look at."""
    return isinstance(prompt, ChatPrompt) and any(message.images for message in prompt.messages)


def _fields(prompt: ChatPrompt) -> list[tuple[str, ...]]:
    """For each message the names of its images, as the client knows them."""
    names = iter(prompt.image_fields)
    return [
        tuple(next(names, f"messages[{place}].images[{index}]") for index in range(len(message.images)))
        for place, message in enumerate(prompt.messages)
    ]


def _images(prompt: ChatPrompt) -> list[tuple[bytes, str]]:
    return [
        (image, name)
        for message, names in zip(prompt.messages, _fields(prompt), strict=True)
        for image, name in zip(message.images, names, strict=True)
    ]
