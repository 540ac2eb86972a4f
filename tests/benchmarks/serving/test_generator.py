"""Programs that print: what comes of them."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from benchmarks.serving.errors import BenchError
from benchmarks.serving.load.closed import read_closed
from benchmarks.serving.load.generator import Told, run_generator
from benchmarks.serving.load.open import read_open


def run(code: str, read: Any = list, **options: Any) -> Any:  # noqa: ANN401 - as run_generator takes them
    return run_generator("it", (sys.executable, "-c", code), 1, read, **options)


def test_the_objects_are_found_among_other_lines() -> None:
    code = "print('Running'); print('{\"a\": 1}'); print('{\"a\": 2}'); print('done')"
    assert run(code) == [{"a": 1}, {"a": 2}]


def test_what_is_asked_comes_in_where_no_other_user_sees_it() -> None:
    code = "import json, sys; print(json.dumps({'got': sys.stdin.read(), 'argv': sys.argv[1:]}))"
    assert run(code, asked="a token") == [{"got": "a token", "argv": []}]


def test_one_may_watch() -> None:
    seen: list[int] = []

    def watch(told: Told) -> None:
        seen.append(len(told))

    code = (
        "import sys, time\n"
        "for number in range(3):\n"
        "    print('{}', flush=True)\n"
        "    time.sleep(0.5)"
    )
    run(code, watch=watch)
    assert seen == sorted(seen)
    # Not all at once in the end.
    assert {1, 2} & set(seen)
    assert seen[-1] == 3


def test_it_says_itself_why_it_fails() -> None:
    with pytest.raises(BenchError, match=r"^it: no such server$"):
        run("raise SystemExit('no such server')")
    # wrk complains on standard output.
    with pytest.raises(BenchError, match=r"^it: unable to connect$"):
        run("print('unable to connect'); raise SystemExit(1)")
    # Its input does not matter any more.
    with pytest.raises(BenchError, match=r"^it: early$"):
        run("raise SystemExit('early')", asked="x" * 1_000_000)


@pytest.mark.parametrize("read", [read_closed, read_open])
@pytest.mark.parametrize("output", ["", "Running 1s test\n", '{"seconds": 1}\n', "{\n"])
def test_what_cannot_be_read_is_told(read: object, output: str) -> None:
    with pytest.raises(BenchError, match="printed what cannot be read"):
        run(f"print({output!r})", read)
