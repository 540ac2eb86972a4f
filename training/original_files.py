"""Reads the two files of the original cat-breeds project and executes nothing of them.

`cats_model_state` is a state dict saved by `torch.save`, `cat_model_class_names` a pickled list
of breed names. Both are pickles, and unpickling a file runs whatever its author wrote into it.
So neither reaches an unpickler that could call what it likes: the state goes through
`torch.load(weights_only=True)` (https://docs.pytorch.org/docs/stable/notes/serialization.html),
the list through the reader below, which knows lists and strings and nothing else.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


class ImportRefusedError(Exception):
    """Nothing was imported; the message names the file and what is wrong with it."""


class UnsafeFileError(ImportRefusedError):
    """The pickle asks for more than data; the message names the opcode or the global."""


class UnreadableFileError(ImportRefusedError):
    """The file is missing, truncated, damaged or of another kind."""


class WrongContentError(ImportRefusedError):
    """The file was read, and does not hold the state of an R50x1 or the names of its classes."""


# 67 breed names take 2 kB.
_MOST_CLASS_LIST_BYTES = 1 << 20

# Opcodes whose argument says what the file is after, such as `os system`.
_TELLING = {"GLOBAL", "INST", "PERSID", "EXT1", "EXT2", "EXT4"}
_MARK = object()


def read_class_names(path: Path) -> list[str]:
    """Read a pickled list of class names (any protocol) without unpickling it.

    Returns:
        The names, in order: unique, printable, not blank.

    Raises:
        UnsafeFileError: an opcode beyond lists and strings; named, with its global.
        UnreadableFileError: the file is missing, too large, truncated or not a pickle.
        WrongContentError: a pickle of something else than such names.
    """
    data = _read_bytes(path)
    with warnings.catch_warnings():
        # pickletools decodes the argument of an opcode before it can be refused, and that of
        # STRING warns about unknown escapes.
        warnings.simplefilter("ignore")
        value = _interpret(path, data)
    if not isinstance(value, list) or not value:
        raise WrongContentError(f"{path}: a list of class names with at least one is needed")
    names: list[str] = []
    for index, name in enumerate(value):
        if not isinstance(name, str):
            raise WrongContentError(f"{path}: class {index} is not a string")
        if not name.strip() or not name.isprintable():
            raise WrongContentError(
                f"{path}: class {index} is {name[:100]!a}; a name needs visible characters "
                "and no control characters"
            )
        names.append(name)
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        if seen.setdefault(name, index) != index:
            raise WrongContentError(
                f"{path}: classes {seen[name]} and {index} are both {name[:100]!r}"
            )
    return names


def _interpret(path: Path, data: bytes) -> Any:  # noqa: ANN401  (any list of lists and strings)
    """Run the opcodes of lists and strings; refuse the first other one."""
    stack: list[Any] = []
    memo: dict[Any, Any] = {}
    stream = io.BytesIO(data)
    try:
        for opcode, argument, position in pickletools.genops(stream):
            match opcode.name:
                case "PROTO" | "FRAME":
                    pass
                case "MARK":
                    stack.append(_MARK)
                case "EMPTY_LIST":
                    stack.append([])
                case "LIST":
                    stack.append(_pop_to_mark(stack))
                case "APPEND":
                    item = stack.pop()
                    _list_on_top(stack).append(item)
                case "APPENDS":
                    items = _pop_to_mark(stack)
                    _list_on_top(stack).extend(items)
                case "UNICODE" | "SHORT_BINUNICODE" | "BINUNICODE" | "BINUNICODE8":
                    stack.append(argument)
                case "PUT" | "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "GET" | "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "STOP":
                    if stream.read(1):
                        raise ValueError("bytes behind its end")
                    return stack.pop()
                case refused:
                    raise UnsafeFileError(_refusal(path, refused, argument, position, stack))
    except (ValueError, LookupError) as error:
        # genops: ValueError for a truncated or unknown opcode; the stack and the memo: LookupError.
        raise UnreadableFileError(f"{path}: not a whole pickle of a list: {error}") from error
    raise AssertionError("genops ends with STOP or an error")


def _pop_to_mark(stack: list[Any]) -> list[Any]:
    items: list[Any] = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _list_on_top(stack: list[Any]) -> list[Any]:
    if not isinstance(stack[-1], list):
        raise ValueError("an item is appended to something that is not a list")
    return stack[-1]


def _refusal(
    path: Path, opcode: str, argument: object, position: int | None, stack: list[Any]
) -> str:
    wanted = ""
    if opcode == "STACK_GLOBAL":
        # Its module and name are the two strings before it.
        wanted = ".".join(item for item in stack[-2:] if isinstance(item, str))
    elif opcode in _TELLING:
        wanted = str(argument).replace(" ", ".")
    what = f"opcode {opcode}" + (f" ({_plain(wanted)})" if wanted else "")
    return (
        f"{path}: refused, nothing of it was executed: {what} at byte {position}; "
        "a list of class names needs lists and strings only"
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state dict saved by `torch.save`.

    Returns:
        Dense tensors of floating point on the CPU, by name; `module.`, which
        `nn.DataParallel` puts before each name, is taken off.

    Raises:
        UnsafeFileError: a global or an opcode beyond tensors; named.
        UnreadableFileError: the file is missing, truncated or not written by `torch.save`.
        WrongContentError: something else than names with such tensors.
    """
    try:
        with warnings.catch_warnings():
            # torch warns about foreign pickle protocols, which it then refuses or reads.
            warnings.simplefilter("ignore")
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        # torch's message is a page that recommends to load the file without protection.
        if refused := _refused_by_torch(str(error)):
            raise UnsafeFileError(
                f"{path}: refused, nothing of it was executed: {refused}; a state dict, as "
                "`torch.save(model.state_dict(), path)` writes it, needs tensors only"
            ) from error
        raise UnreadableFileError(f"{path}: not a whole file of torch.save") from error
    except Exception as error:
        # torch's reader answers damaged files with nearly any exception.
        raise UnreadableFileError(
            f"{path}: not a whole file of torch.save: {type(error).__name__}: {_plain(str(error))}"
        ) from error
    if not isinstance(loaded, dict):
        raise WrongContentError(f"{path}: holds a {type(loaded).__name__}, not a state dict")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WrongContentError(
                f"{path}: entry {ascii(name)[:100]} is a {type(value).__name__}; "
                "names with tensors are needed"
            )
        if not value.is_floating_point() or value.layout != torch.strided or value.is_meta:
            raise WrongContentError(f"{path}: {_plain(name)} is not a dense tensor of floats")
    if loaded and all(name.startswith("module.") for name in loaded):
        return {name.removeprefix("module."): value for name, value in loaded.items()}
    return dict(loaded)


def _refused_by_torch(message: str) -> str | None:
    """What the file asked for; None where it is damaged rather than unsafe."""
    if wanted := re.search(r"GLOBAL (\S+)", message):
        return f"global {_plain(wanted[1])}"
    if operand := re.search(r"Unsupported operand (\d+)", message):
        names = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
        name = names.get(int(operand[1]))
        return name and f"opcode {name}"
    if call := re.search(r"unrecognized function (.+)|Can only .+ but got (.+)", message):
        return f"a call or an object of {_plain(call[1] or call[2])}"
    return None


def _plain(text: str) -> str:
    """Text out of a file, fit for a terminal: short, on one line, ASCII."""
    return ascii(text[:100])[1:-1]


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_CLASS_LIST_BYTES + 1)
    except OSError as error:
        raise UnreadableFileError(f"{path}: cannot be read: {error.strerror}") from error
    if len(data) > _MOST_CLASS_LIST_BYTES:
        raise UnreadableFileError(
            f"{path}: over {_MOST_CLASS_LIST_BYTES} bytes, too large for a list of class names"
        )
    return data
