"""From a Go template's text to its tree, in the subset that Ollama's Modelfiles use.

Everything outside the subset is named together with its line. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn

from runner.prompt.go_literals import character, number, unquoted
from runner.prompt.go_scan import Doing, GoFault, Token, scan
from runner.prompt.go_tree import (
    Action,
    Branch,
    Command,
    Field,
    Function,
    Invoke,
    Jump,
    Nested,
    Node,
    Nodes,
    Operand,
    Pipe,
    Range,
    Text,
    Tree,
    Value,
    Variable,
)

_DEEPEST = 50  # blocks in blocks, and parentheses in parentheses
_CONSTANTS = {"true": True, "false": False, "nil": None}
_KEYWORDS = frozenset(
    ("if", "else", "end", "range", "with", "define", "block", "template", "break", "continue")
)  # fmt: skip


def parse(text: str, functions: frozenset[str]) -> Tree:
    """The tree of a template that may call these functions. Raises GoFault."""
    return _Parser(text, functions).tree()


class _Parser:
    """Walks over the pieces once. `_variables` are those in scope, as they were declared."""

    def __init__(self, text: str, functions: frozenset[str]) -> None:
        self._pieces = scan(text)
        self._at = 0
        self._functions = functions
        self._variables = ["$"]
        self._defined: dict[str, Nodes] = {}
        self._depth = 0
        self._ranges = 0

    def tree(self) -> Tree:
        nodes, ending = self._nodes(0)
        if ending is not None:
            raise GoFault(ending.line, f"this {ending.word} belongs to nothing")
        return Tree(nodes, self._defined)

    def _nodes(self, opened: int) -> tuple[Nodes, _Words | None]:
        """Nodes up to an `end` or `else`, which is given back, or up to the end of the text if nothing is open.

        `opened` is the line of what is to be ended, 0 for nothing.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise GoFault(opened, "it is nested too deeply")
        found: list[Node] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                found.append(Text(piece))
                continue
            words = _Words(self, piece)
            if words.word in ("end", "else"):
                self._depth -= 1
                return tuple(found), words
            if (node := self._node(words)) is not None:
                found.append(node)
        self._depth -= 1
        if opened:
            raise GoFault(opened, "what begins here is never ended")
        return tuple(found), None

    def _node(self, words: _Words) -> Node | None:
        match words.word:
            case "if" | "with" as kind:
                return self._branch(words, kind)
            case "range":
                return self._range(words)
            case "define":
                self._define(words)
                return None
            case "block":
                return self._block(words)
            case "template":
                words.skip()
                name = words.text("template")
                pipe = None if words.is_done else words.pipe()
                return Invoke(words.line, name, pipe)
            case "break" | "continue" as kind:
                if not self._ranges:
                    raise GoFault(words.line, f"{kind} stands outside of any range")
                words.skip()
                words.finish()
                return Jump(kind)
        return Action(words.pipe())

    def _branch(self, words: _Words, kind: Literal["if", "with"]) -> Node:
        opened, scope = words.line, len(self._variables)
        words.skip()
        arms: list[tuple[Pipe, Nodes]] = []
        pipe = words.pipe()
        while True:
            inner = len(self._variables)
            body, ending = self._nodes(opened)
            del self._variables[inner:]
            assert ending is not None  # or it would have been an error
            arms.append((pipe, body))
            if not ending.continues(kind):
                break
            pipe = ending.pipe()
        otherwise = self._otherwise(ending, opened)
        del self._variables[scope:]
        return Branch(kind, tuple(arms), otherwise)

    def _range(self, words: _Words) -> Node:
        opened, scope = words.line, len(self._variables)
        words.skip()
        pipe = words.pipe(is_range=True)
        self._ranges += 1
        body, ending = self._nodes(opened)
        self._ranges -= 1
        assert ending is not None
        otherwise = self._otherwise(ending, opened)
        del self._variables[scope:]
        return Range(pipe, body, otherwise)

    def _otherwise(self, ending: _Words, opened: int) -> Nodes:
        """What follows a last `else`, if that is what has come instead of `end`."""
        word = ending.word
        ending.skip()
        ending.finish()
        if word == "end":
            return ()
        inner = len(self._variables)
        nodes, last = self._nodes(opened)
        del self._variables[inner:]
        assert last is not None
        last.expect_end()
        return nodes

    def _define(self, words: _Words) -> None:
        if self._depth > 1:
            raise GoFault(words.line, "define stands within another block")
        words.skip()
        name = words.text("define")
        words.finish()
        self._body(name, words.line)

    def _block(self, words: _Words) -> Node:
        words.skip()
        name = words.text("block")
        pipe = words.pipe()
        self._body(name, words.line)
        return Invoke(words.line, name, pipe)

    def _body(self, name: str, opened: int) -> None:
        """A template of its own: it sees no variable of the one around it."""
        variables, ranges = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        nodes, ending = self._nodes(opened)
        assert ending is not None
        ending.expect_end()
        self._variables, self._ranges = variables, ranges
        self._defined[name] = nodes

    def is_function(self, name: str) -> bool:
        return name in self._functions

    def is_variable(self, name: str) -> bool:
        return name in self._variables

    def declare(self, names: Sequence[str]) -> None:
        self._variables += names

    def nest(self, by: int, line: int) -> None:
        self._depth += by
        if self._depth > _DEEPEST:
            raise GoFault(line, "it is nested too deeply")


class _Words:
    """The words between one pair of braces, read from the first to the last."""

    def __init__(self, parser: _Parser, doing: Doing) -> None:
        self._parser = parser
        self._tokens = doing.tokens
        self._at = 0
        self.line = doing.line

    @property
    def word(self) -> str:
        """The keyword that stands next, nothing if none does."""
        token = self._next()
        return token.text if token is not None and token.kind == "word" and token.text in _KEYWORDS else ""

    @property
    def is_done(self) -> bool:
        return self._at == len(self._tokens)

    def skip(self) -> None:
        self._at += 1

    def finish(self) -> None:
        """Nothing may follow."""
        token = self._next()
        if token is not None:
            self._unexpected(token)

    def expect_end(self) -> None:
        if self.word != "end":
            raise GoFault(self.line, "an end is missing before this else")
        self.skip()
        self.finish()

    def continues(self, kind: str) -> bool:
        """Whether this is `else if` (or `else with`), which is then behind us."""
        if self.word != "else":
            return False
        self._at += 1
        if self.word == kind:
            self._at += 1
            return True
        self._at -= 1
        return False

    def text(self, of: str) -> str:
        """A name in quotes."""
        token = self._take()
        if token is None or token.kind not in ("string", "raw"):
            raise GoFault(self.line, f"{of} needs a name in quotes")
        return unquoted(token)

    def pipe(self, *, is_range: bool = False) -> Pipe:
        """All that follows."""
        pipe = self._pipe(is_range=is_range)
        self.finish()
        return pipe

    def _pipe(self, *, is_range: bool = False, nested: bool = False) -> Pipe:
        line = self._tokens[self._at].line if not self.is_done else self.line
        targets, assigns = ((), False) if nested else self._targets(is_range)
        commands = [self._command(is_first=True)]
        while (token := self._next()) is not None and token.kind == "pipe":
            self._at += 1
            commands.append(self._command(is_first=False))
        if targets and not assigns:
            self._parser.declare(targets)
        return Pipe(line, tuple(commands), targets, assigns)

    def _targets(self, is_range: bool) -> tuple[tuple[str, ...], bool]:
        """`$x :=`, `$x =`, and for a range also `$i, $x :=`."""
        kinds = [token.kind for token in self._tokens[self._at : self._at + 4]]
        signs = ("declare", "assign")
        if kinds[:1] == ["variable"] and kinds[1:2] and kinds[1] in signs:
            count = 1
        elif kinds[:3] == ["variable", "comma", "variable"] and kinds[3:4] and kinds[3] in signs:
            if not is_range:
                raise GoFault(self.line, "only a range can fill two variables")
            count = 2
        else:
            return (), False
        tokens = self._tokens[self._at : self._at + 2 * count]
        names = tuple(token.text for token in tokens if token.kind == "variable")
        self._at += len(tokens)
        assigns = tokens[-1].kind == "assign"
        for name in names:
            if name == "$":
                raise GoFault(self.line, "$ can't be given another value")
            if assigns and not self._parser.is_variable(name):
                raise GoFault(self.line, f"the variable {name} was never declared")
        return names, assigns

    def _command(self, *, is_first: bool) -> Command:
        operands: list[Operand] = []
        while (token := self._next()) is not None and token.kind not in ("pipe", "close"):
            if operands and not token.apart:
                self._unexpected(token)
            operands.append(self._operand())
        if not operands:
            raise GoFault(self.line, "something is missing here: there is nothing to take the value of")
        head = operands[0]
        if not isinstance(head, Function) and (len(operands) > 1 or not is_first):
            raise GoFault(self.line, "only a function can be given values, and this is none")
        return Command(tuple(operands))

    def _operand(self) -> Operand:
        token = self._take()
        assert token is not None
        match token.kind:
            case "string" | "raw":
                return Value(unquoted(token))
            case "char":
                return Value(character(token))
            case "number":
                return Value(number(token))
            case "dot":
                return Field()
            case "field":
                return Field((token.text[1:], *self._names()))
            case "variable":
                if not self._parser.is_variable(token.text):
                    raise GoFault(token.line, f"the variable {token.text} was never declared")
                return Variable(token.text, self._names())
            case "open":
                return self._nested(token)
            case "word":
                return self._named(token)
        return self._unexpected(token)

    def _nested(self, opening: Token) -> Operand:
        self._parser.nest(1, opening.line)
        pipe = self._pipe(nested=True)
        self._parser.nest(-1, opening.line)
        closing = self._take()
        if closing is None or closing.kind != "close":
            raise GoFault(opening.line, "a parenthesis is never closed")
        return Nested(pipe, self._names())

    def _named(self, token: Token) -> Operand:
        if token.text in _CONSTANTS:
            return Value(_CONSTANTS[token.text])
        if self._parser.is_function(token.text):
            return Function(token.text)
        raise GoFault(
            token.line, f"{token.text!r} is not supported in a Go template; write the TEMPLATE in Jinja"
        )  # fmt: skip

    def _names(self) -> tuple[str, ...]:
        """Fields that follow without a blank."""
        names: list[str] = []
        while (token := self._next()) is not None and token.kind == "field" and not token.apart:
            names.append(token.text[1:])
            self._at += 1
        return tuple(names)

    def _next(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _take(self) -> Token | None:
        token = self._next()
        self._at += 1
        return token

    def _unexpected(self, token: Token) -> NoReturn:
        raise GoFault(token.line, f"{token.text!r} is not expected here")
