from __future__ import annotations

import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from training.original_files import (
    ImportRefusedError,
    UnreadableFileError,
    UnsafeFileError,
    WrongContentError,
    read_class_names,
    read_state,
)

NAMES = ["Abyssinian", "Domestic Short Hair", "Chat de gouttière", "日本猫"]


def write(folder: Path, content: bytes) -> Path:
    path = folder / "names"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_list_of_strings_is_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    path = write(tmp_path, pickle.dumps(NAMES, protocol=protocol))
    assert read_class_names(path) == NAMES


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_long_lists_and_long_names_are_read(tmp_path: Path, protocol: int) -> None:
    """Beyond 255 items and characters pickle uses other opcodes, and flushes in frames."""
    names = [f"breed {number}" for number in range(2500)] + ["x" * 300, "y" * 70_000]
    assert read_class_names(write(tmp_path, pickle.dumps(names, protocol))) == names


# What each would do in an unpickler: make the file MARKER (the working directory is the
# test's own folder).
COMMAND = b"touch MARKER"
EVIL = {
    "GLOBAL": (b"cos\nsystem\n(V" + COMMAND + b"\ntR.", "opcode GLOBAL (os.system)"),
    "STACK_GLOBAL": (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0c" + COMMAND + b"\x85R.",
        "opcode STACK_GLOBAL (os.system)",
    ),
    "INST": (b"(V" + COMMAND + b"\nios\nsystem\n.", "opcode INST (os.system)"),
    "OBJ": (b"(V" + COMMAND + b"\no.", "opcode OBJ"),
    "REDUCE": (b"]VMARKER\nR.", "opcode REDUCE"),
    "BUILD": (b"]VMARKER\nb.", "opcode BUILD"),
    "NEWOBJ": (b"\x80\x02]]\x81.", "opcode NEWOBJ"),
    "EXT1": (b"\x80\x02\x82\x07.", "opcode EXT1 (7)"),
    "EXT2": (b"\x80\x02\x83\x07\x01.", "opcode EXT2 (263)"),
    "EXT4": (b"\x80\x02\x84\x07\x00\x00\x00.", "opcode EXT4 (7)"),
    "PERSID": (b"Psomewhere else\n.", "opcode PERSID (somewhere.else)"),
    "BINPERSID": (b"Vsomewhere\nQ.", "opcode BINPERSID"),
    "behind good names": (
        pickle.dumps(NAMES)[:-1] + b"cbuiltins\neval\n\x8c\x01x\x85R.",
        "opcode GLOBAL (builtins.eval)",
    ),
}


@pytest.mark.parametrize(("content", "named"), EVIL.values(), ids=EVIL.keys())
def test_what_is_more_than_data_is_refused_by_name_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeFileError, match=re.escape(named)) as caught:
        read_class_names(write(tmp_path, content))
    assert str(tmp_path / "names") in str(caught.value)
    assert not (tmp_path / "MARKER").exists()


@pytest.mark.parametrize("evil", ["GLOBAL", "STACK_GLOBAL", "INST"])
def test_the_evil_files_of_these_tests_are_evil(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: str
) -> None:
    """Else the test above would prove nothing: an unpickler makes the marker of them."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(EVIL[evil][0])  # noqa: S301  (written above)
    assert (tmp_path / "MARKER").exists()


class Touches:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_object_that_acts_when_unpickled_is_refused(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "marker"
    path = write(tmp_path, pickle.dumps([*NAMES, Touches(str(marker))], protocol))
    with pytest.raises(UnsafeFileError, match=r"GLOBAL \(\w+\.mkdir\)"):
        read_class_names(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (tuple(NAMES), "opcode TUPLE"),
        ({"Abyssinian": 0}, "opcode EMPTY_DICT"),
        ([b"Abyssinian"], "opcode SHORT_BINBYTES"),
        ([1, 2], "opcode BININT1"),
        ([None], "opcode NONE"),
    ],
)
def test_other_data_is_refused_by_its_opcode(tmp_path: Path, value: object, named: str) -> None:
    with pytest.raises(UnsafeFileError, match=named):
        read_class_names(write(tmp_path, pickle.dumps(value, protocol=4)))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "at least one"),
        ("Abyssinian", "a list of class names"),
        ([["Abyssinian"]], "class 0 is not a string"),
        (["Abyssinian", ""], "class 1 is ''"),
        (["  "], "class 0 is '  '"),
        (["Manx\x1b[2J"], r"class 0 is 'Manx\x1b[2J'"),
        (["Manx\n"], r"class 0 is 'Manx\n'"),
        (["\ud800"], r"class 0 is '\ud800'"),
        (["Manx\u202e"], r"class 0 is 'Manx\u202e'"),
        (["Manx", "Bombay", "Manx"], "classes 0 and 2 are both 'Manx'"),
    ],
)
def test_names_that_cannot_be_names_are_refused(tmp_path: Path, value: object, named: str) -> None:
    with pytest.raises(WrongContentError, match=re.escape(named)):
        read_class_names(write(tmp_path, pickle.dumps(value)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_truncation_is_refused(tmp_path: Path, protocol: int) -> None:
    whole = pickle.dumps(NAMES, protocol)
    for length in range(len(whole)):
        with pytest.raises(UnreadableFileError):
            read_class_names(write(tmp_path, whole[:length]))


def test_bytes_behind_the_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="bytes behind its end"):
        read_class_names(write(tmp_path, pickle.dumps(NAMES) + pickle.dumps(NAMES)))


def test_a_large_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="too large"):
        read_class_names(write(tmp_path, b"\0" * (2 << 20)))
    with pytest.raises(UnreadableFileError, match="No such file"):
        read_class_names(tmp_path / "none")
    with pytest.raises(UnreadableFileError, match="directory"):
        read_class_names(tmp_path)


@st.composite
def mutated_pickles(draw: st.DrawFn) -> bytes:
    protocol = draw(st.integers(0, pickle.HIGHEST_PROTOCOL))
    content = bytearray(pickle.dumps(NAMES, protocol))
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(b"S'\\d'\n.")  # decoding it warns
@example(b"\x80\x04r\xff\xff\xff\xff.")  # an unpickler would make room for 4 billion entries
@example(b"](p0\n" + b"l" * 1000 + b".")
@example(b"\x80\x04]\x94h\x00a.")  # a list within itself
@given(st.one_of(st.binary(max_size=200), mutated_pickles()))
def test_random_bytes_give_names_or_the_typed_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "random-names"
    path.write_bytes(content)
    try:
        names = read_class_names(path)
    except ImportRefusedError:
        return
    assert names
    assert all(isinstance(name, str) and name.isprintable() for name in names)


def save(folder: Path, value: object, *, zipped: bool = True) -> Path:
    path = folder / "state"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_state_dict_is_read(tmp_path: Path, zipped: bool, prefix: str) -> None:
    tensors = {"a.weight": torch.randn(2, 3), "b": torch.randn(4).half()}
    state = OrderedDict((prefix + name, value) for name, value in tensors.items())
    read = read_state(save(tmp_path, state, zipped=zipped))
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_a_name_that_begins_with_module_among_others_is_kept(tmp_path: Path) -> None:
    state = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert read_state(save(tmp_path, state)).keys() == state.keys()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_that_acts_when_unpickled_is_refused_by_name(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "marker"
    path = save(tmp_path, {"a": torch.zeros(1), "b": Touches(str(marker))}, zipped=zipped)
    with pytest.raises(UnsafeFileError, match=r"global posix\.mkdir") as caught:
        read_state(path)
    assert str(path) in str(caught.value)
    # torch recommends to load such a file with weights_only=False.
    assert "weights_only" not in str(caught.value)
    assert not marker.exists()


@pytest.mark.parametrize("evil", ["GLOBAL", "STACK_GLOBAL", "INST"])
def test_a_bare_evil_pickle_as_state_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evil: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeFileError, match=r"global os\.system|opcode \w+"):
        read_state(write(tmp_path, EVIL[evil][0]))
    assert not (tmp_path / "MARKER").exists()


def test_a_whole_model_instead_of_its_state_is_refused_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, torch.nn.Linear(2, 2))
    with pytest.raises(UnsafeFileError, match=r"global torch\.nn\.modules\.linear\.Linear"):
        read_state(path)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([torch.zeros(1)], "holds a list"),
        ({"a": 1}, "entry 'a' is a int"),
        ({"model": {"a": torch.zeros(1)}}, "entry 'model' is a dict"),
        ({3: torch.zeros(1)}, "entry 3"),
        ({"a": torch.zeros(1, dtype=torch.int64)}, "a is not a dense tensor of floats"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "a is not a dense tensor of floats"),
        ({"a": torch.zeros(1, device="meta")}, "a is not a dense tensor of floats"),
    ],
)
def test_other_content_is_refused(tmp_path: Path, value: object, named: str) -> None:
    with pytest.raises(WrongContentError, match=named):
        read_state(save(tmp_path, value))


@pytest.mark.parametrize("zipped", [True, False])
def test_a_cut_state_gives_the_typed_error(tmp_path: Path, zipped: bool) -> None:
    """Mostly as unreadable; a cut within the name of a global makes it another global."""
    path = save(tmp_path, {"a": torch.randn(50)}, zipped=zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole), 17):
        path.write_bytes(whole[:length])
        with pytest.raises((UnreadableFileError, UnsafeFileError), match="state: "):
            read_state(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff\xe0", b"PK\x03\x04", b"hello, world"])
def test_another_file_is_not_a_state(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ImportRefusedError, match="names"):
        read_state(write(tmp_path, content))


def test_a_missing_state_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match="No such file"):
        read_state(tmp_path / "none")
