"""A pickle interpreter that builds plain data and calls nothing.

Python's own unpickler looks up and calls whatever a file names. This one knows the instructions
of protocols 0 to 5 (Lib/pickletools.py of CPython describes them) and builds dicts, lists, tuples,
strings and numbers. A call becomes the result of one of the caller's own `builders`, or, for every
other name, an inert `Opaque` that keeps the name and nothing else. Nothing is imported or executed.

Bytes and long texts come out as parts of the file, not read: a tensor inside a pickle costs nothing
until it is asked for.
"""

import struct
from codecs import escape_decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError
from ._keys import safe
from .storage import Part, Storage

_MARK = object()

_WINDOW = 16 << 10  # bytes of the pickle read at a time
_LONGEST_TEXT = 4096  # bytes; a longer one is not a name

# Steps: two seconds, or one for each four bytes that were interpreted, up to twenty seconds. The
# optimizer of a large model takes 100,000; a tensor takes 40 and has 200 bytes.
_STEPS, _MOST_STEPS, _BYTES = 2_000_000, 20_000_000, 4
_CHARACTERS = 32  # of a text that a builder may copy in one step

# Attributes of a torch.nn.Module, which are its state; Paddle's Layer cannot be pickled.
_MODEL = {"_parameters", "_modules"}

# What interpreting malformed data may raise.
MALFORMED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Global:
    """A name that a pickle refers to, such as collections.OrderedDict; never looked up."""

    name: str


class Opaque:
    """Stands for an object that is not a tensor and was not built."""

    __slots__ = ("is_model", "name")  # a hostile file asks for millions of them

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_model = False

    def set_state(self, state: object) -> None:
        """Ignore the state that the pickle restores the object from, but for whose it is."""
        self.is_model = isinstance(state, dict) and state.keys() >= _MODEL


class Text:
    """A long UTF-8 text, not read."""

    def __init__(self, part: Part) -> None:
        self.part = part


Builder = Callable[..., Any]


def load(
    source: Storage,
    builders: Mapping[str, Builder],
    persistent_load: Callable[[Any], Any] | None = None,
    start: int = 0,
    names: set[str] | None = None,
) -> tuple[Any, int]:
    """Interpret a pickle.

    Args:
        source: Holds the pickle; may continue behind its end.
        builders: Full name -> stand-in for that function. It gets the pickled arguments. If its
            result has a method `set_state`, that gets the pickled state.
        persistent_load: Gives the object for a persistent id, for files that have them.
        start: Where it begins.
        names: Gets every name that the pickle refers to.

    Returns:
        The pickled object, made of plain data, the builders' results, `Part`, `Text` and `Opaque`;
        and where the pickle ends.

    Raises:
        CheckpointError: The pickle is malformed or cut short.
    """
    machine = _Machine(source, builders, persistent_load, start, set() if names is None else names)
    try:
        return machine.run(), machine.at
    except MALFORMED as error:
        raise CheckpointError(
            f"malformed or cut-off pickle, at byte {machine.start} of {source.size}: the file is "
            f"cut short or damaged. Copy or download it again."
        ) from error


class _Machine:
    """Stack, memo and position of one run; `_OPS` says what each instruction does to them."""

    def __init__(
        self,
        source: Storage,
        builders: Mapping[str, Builder],
        persistent_load: Callable[[Any], Any] | None,
        start: int,
        names: set[str],
    ) -> None:
        self.source = source
        self.window = b""  # the bytes of the source from `begin` on
        self.begin = start
        self.builders = builders
        self.persistent_load = persistent_load
        # torch.load, whose files alone have persistent ids, and paddle.load differ in this.
        self.encoding = "latin-1" if persistent_load is None else "utf-8"
        self.names = names
        self.at = self.start = start
        self.steps = self.taken = 0
        self.stack: list[Any] = []
        self.memo: dict[bytes, Any] = {}  # a file cannot choose bytes that hash alike

    def run(self) -> Any:
        most = _STEPS
        while self.steps < most or self.steps < (most := self.most()):
            self.steps += 1
            self.start = self.at
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                return self.stack.pop()
            _OPS[code](self)
        raise CheckpointError(
            f"refused: the pickle has more than {most:,} instructions, or copies its own content "
            f"too often."
        )

    def most(self) -> int:
        """Give how many steps the bytes so far allow; the data of tensors does not count."""
        return min(_MOST_STEPS, _STEPS + self.taken // _BYTES)

    # -- reading arguments

    def take(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_TEXT:
            raise ValueError("longer than any number or name")
        chunk = self.peek(size)
        if len(chunk) < size:
            raise ValueError("cut off")
        self.at += size
        self.taken += size
        return chunk

    def peek(self, size: int) -> bytes:
        """Give the next bytes, fewer at the end of the source."""
        offset = self.at - self.begin
        if not 0 <= offset <= offset + size <= len(self.window):
            size = max(0, min(size, self.source.size - self.at))
            window = max(0, min(max(size, _WINDOW), self.source.size - self.at))
            self.window, self.begin, offset = self.source.read(self.at, window), self.at, 0
        return self.window[offset : offset + size]

    def part(self, size: int) -> Part:
        if self.at + size > self.source.size:
            raise ValueError("cut off")
        self.at += size
        return Part(self.source, self.at - size, size)

    def number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "little", signed=signed)

    def line(self) -> bytes:
        # A line in a pickle is a short number or a name, rarely a text; longer lines are refused.
        head = self.peek(_LONGEST_TEXT)
        end = head.index(b"\n")
        self.at += end + 1
        self.taken += end + 1
        return head[:end]

    def text(self, size: int) -> str | Text:
        if size > _LONGEST_TEXT:
            return Text(self.part(size))
        return str(self.take(size), "utf-8", "surrogatepass")

    def old_string(self, size: int) -> str | Part:
        """Give a string of Python 2, which may be text or bytes: by length."""
        return self.part(size) if size > _LONGEST_TEXT else str(self.take(size), self.encoding)

    def quoted(self) -> str:
        """Give a string of protocol 0, which is written as in Python's own code."""
        line = self.line().strip()
        if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
            raise ValueError("a string without quotes")
        return str(escape_decode(line[1:-1])[0], self.encoding)

    def items(self) -> list[Any]:
        """Pop everything down to the last mark."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise ValueError("no mark")

    # -- building

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def call(self, function: Any, args: Any) -> None:
        name = function.name if isinstance(function, Global) else "(not a name)"
        builder = self.builders.get(name) if isinstance(args, tuple) else None
        if builder:  # a builder may copy its arguments
            self.steps += sum(len(arg) for arg in args if isinstance(arg, (dict, list, tuple)))
            self.steps += sum(len(arg) // _CHARACTERS for arg in args if isinstance(arg, str))
        self.push(builder(*args) if builder else Opaque(name))

    def add_pairs(self, pairs: list[Any]) -> None:
        target = self.stack[-1]
        if len(pairs) % 2:
            raise ValueError("a key without a value")
        if isinstance(target, Opaque):
            return
        if not isinstance(target, dict):
            raise TypeError("items of something that is not a dict")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            target[safe(key, Opaque)] = value

    def add_values(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Opaque):
            raise TypeError("elements of something that is not a list")

    def set_state(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if hasattr(target, "set_state"):
            target.set_state(state)
        elif not isinstance(target, dict):  # an OrderedDict's own state is torch's _metadata
            raise TypeError("state of something that has none")

    def persistent(self, identity: Any) -> None:
        if self.persistent_load is None:
            raise ValueError("a persistent id, which this format does not have")
        self.push(self.persistent_load(identity))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise TypeError("a name that is not a string")
        self.push(self.named(module, name))

    def line_global(self) -> Global:
        return self.named(self.line().decode(), self.line().decode())

    def named(self, module: str, name: str) -> Global:
        self.names.add(found := f"{module}.{name}")
        return Global(found)

    def two(self, use: Callable[[Any, Any], None]) -> None:
        last = self.stack.pop()
        use(self.stack.pop(), last)

    def extension(self, size: int) -> None:
        self.take(size)  # which one, nobody asks
        self.push(_EXTENSION)

    def old_instance(self, items: list[Any]) -> None:
        self.call(items[0], tuple(items[1:]))

    def new_with_keywords(self) -> None:
        cls = self.stack[-3]  # below its arguments and keywords, which no builder takes
        del self.stack[-3:]
        self.push(Opaque(cls.name if isinstance(cls, Global) else "(not a name)"))

    def dictionary(self) -> None:
        pairs = self.items()
        self.push({})
        self.add_pairs(pairs)

    def integer_line(self) -> None:
        text = self.line()
        self.push({b"00": False, b"01": True}[text] if text in (b"00", b"01") else int(text))

    def tuple_of(self, count: int) -> None:
        values = tuple(self.stack[len(self.stack) - count :])
        if len(values) < count:
            raise IndexError("stack too short")
        del self.stack[len(self.stack) - count :]
        self.push(values)

    def memoize(self, index: bytes) -> None:
        self.memo[index.ljust(4, b"\0")] = self.stack[-1]

    def remembered(self, index: bytes) -> None:
        self.push(self.memo[index.ljust(4, b"\0")])


_EXTENSION = Opaque("(extension)")


def ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    """Stand in for collections.OrderedDict, which a pickle may call with its pairs."""
    return {safe(key, Opaque): value for key, value in pairs}


def _index(number: int) -> bytes:
    return number.to_bytes(4, "little")


def _float(data: bytes) -> float:
    value: float = struct.unpack(">d", data)[0]
    return value


_OPS: dict[int, Callable[[_Machine], Any]] = {
    # stack
    ord("("): lambda m: m.push(_MARK),
    ord("0"): lambda m: m.stack.pop(),
    ord("1"): lambda m: m.items(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    # memo
    ord("p"): lambda m: m.memoize(_index(int(m.line()))),
    ord("q"): lambda m: m.memoize(m.take(1)),
    ord("r"): lambda m: m.memoize(m.take(4)),
    0x94: lambda m: m.memoize(_index(len(m.memo))),
    ord("g"): lambda m: m.remembered(_index(int(m.line()))),
    ord("h"): lambda m: m.remembered(m.take(1)),
    ord("j"): lambda m: m.remembered(m.take(4)),
    # constants and numbers
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.integer_line(),
    ord("L"): lambda m: m.push(int(m.line().rstrip(b"L"))),
    ord("F"): lambda m: m.push(float(m.line())),
    ord("J"): lambda m: m.push(m.number(4, signed=True)),
    ord("K"): lambda m: m.push(m.number(1)),
    ord("M"): lambda m: m.push(m.number(2)),
    ord("G"): lambda m: m.push(_float(m.take(8))),
    0x8A: lambda m: m.push(m.number(m.number(1), signed=True)),
    0x8B: lambda m: m.push(m.number(m.number(4, signed=True), signed=True)),
    # text and bytes
    ord("S"): lambda m: m.push(m.quoted()),
    ord("T"): lambda m: m.push(m.old_string(m.number(4, signed=True))),
    ord("U"): lambda m: m.push(str(m.take(m.number(1)), m.encoding)),
    ord("V"): lambda m: m.push(m.line().decode("raw-unicode-escape")),
    ord("X"): lambda m: m.push(m.text(m.number(4))),
    0x8C: lambda m: m.push(m.text(m.number(1))),
    0x8D: lambda m: m.push(m.text(m.number(8))),
    ord("B"): lambda m: m.push(m.part(m.number(4))),
    ord("C"): lambda m: m.push(m.part(m.number(1))),
    0x8E: lambda m: m.push(m.part(m.number(8))),
    0x96: lambda m: m.push(m.part(m.number(8))),
    # containers; a set is kept as a list, since nothing here needs one
    ord("}"): lambda m: m.push({}),
    ord("d"): lambda m: m.dictionary(),
    ord("s"): lambda m: m.two(lambda key, value: m.add_pairs([key, value])),
    ord("u"): lambda m: m.add_pairs(m.items()),
    ord("]"): lambda m: m.push([]),
    ord("l"): lambda m: m.push(m.items()),
    ord("a"): lambda m: m.add_values([m.stack.pop()]),
    ord("e"): lambda m: m.add_values(m.items()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.items())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    0x8F: lambda m: m.push([]),
    0x90: lambda m: m.add_values(m.items()),
    0x91: lambda m: m.push(m.items()),
    # names, calls and state: none is looked up, called or restored
    ord("c"): lambda m: m.push(m.line_global()),
    0x93: lambda m: m.stack_global(),
    0x82: lambda m: m.extension(1),
    0x83: lambda m: m.extension(2),
    0x84: lambda m: m.extension(4),
    ord("R"): lambda m: m.two(m.call),
    0x81: lambda m: m.two(m.call),
    0x92: lambda m: m.new_with_keywords(),
    ord("i"): lambda m: m.call(m.line_global(), tuple(m.items())),
    ord("o"): lambda m: m.old_instance(m.items()),
    ord("b"): lambda m: m.set_state(),
    ord("P"): lambda m: m.persistent(m.line().decode()),
    ord("Q"): lambda m: m.persistent(m.stack.pop()),
    # framing; protocol 5's out-of-band buffers never occur in a file
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
}
