"""Makes docs/api.md and docs/web-api.md from their templates and running services.

A template is the page without its answers. Each of its fenced blocks marked `call` is run as it
stands, in bash or Python, and followed by what it got; a block marked `run` only prepares. What
differs between two calls (ids, times) is replaced, and base64 is cut.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_DOCS = Path(__file__).parent.parent / "docs"
PAGES = (_DOCS / "api.md", _DOCS / "web-api.md")

_BLOCK = re.compile(r"^```(sh|python|js) (call|run)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_WIDTH = 96
# An answer's own status and content type, behind its body.
_CURLRC = 'silent\nshow-error\nwrite-out = "\\n%{http_code} %{content_type}\\n"\n'
_TIMEOUT_S = 120

# Parts of a model card that another training, or another library, changes: only keys are compared.
_CARD_PARTS = ("data", "metrics", "expected", "libraries")
# What no two calls have in common, and what stands for it on the page.
_VARIABLE = (
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>"),
    (r'(decode\\?": )[\d.]+', r"\g<1>1.0"),
    (r'(inference\\?": )[\d.]+', r"\g<1>4.0"),
    (r'("git_sha": ")[^"]+', r"\g<1><commit>"),
    (r'("startTime": ")[^"]+', r"\g<1><time>"),
    (r'("id": ")\d+', r"\g<1>9000"),
    (r'("pid": )\d+', r"\g<1>4711"),
    (r'("memoryUsage": )\d+', r"\g<1>0"),
    # Of the shares of all classes the first three.
    (r'("predicted": \{(?:[^,}]+,){3})[^}]+', r'\g<1> "...": "..."'),
    (r"[A-Za-z0-9+/]{24}[A-Za-z0-9+/]{60,}={0,2}", lambda base64: base64[0][:24] + "..."),
)


def make_page(
    page: Path, variables: Mapping[str, str], files: Mapping[str, bytes], folder: Path
) -> str:
    """The page with real answers.

    Args:
        page: one of `PAGES`; its template lies beside it.
        variables: of the shell, where the services are.
        files: name -> content of the files that the calls send.
        folder: an empty one, where the calls run.

    Raises:
        AssertionError: a block failed, which curl does only where there was no answer.
    """
    for name, content in files.items():
        (folder / name).write_bytes(content)
    (folder / ".curlrc").write_text(_CURLRC)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "CURL_HOME": str(folder),
        **variables,
    }
    answered = functools.partial(_with_answer, folder=folder, environment=environment)
    template = page.with_suffix(".template.md")
    source = f"Made from {template.name} by tests/test_documentation.py: edit that, not this."
    return f"<!-- {source} -->\n\n" + _BLOCK.sub(answered, template.read_text())


def skeleton(page: str) -> str:
    """The page without what may differ between two trainings of the same demo.

    Kept are the text, the calls, and of each answer the status, the keys, whole numbers, the best
    breed and how many follow it.
    """
    return re.sub(r"(?<=^```json\n).*?(?=^```)", _answer_skeleton, page, flags=re.M | re.S)


def _with_answer(block: re.Match[str], folder: Path, environment: dict[str, str]) -> str:
    language, kind, code = block.groups()
    shell, node = shutil.which("bash") or "bash", shutil.which("node") or "node"
    interpreters = {
        "sh": [shell, "-euc"],
        "python": [sys.executable, "-c"],
        "js": [node, "--input-type=module", "--eval"],
    }
    done = subprocess.run(
        [*interpreters[language], code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{code}\nfailed: {done.stderr}")
    shown = f"```{language}\n{code}```\n"
    return shown + (f"\n{_answer(done.stdout, language)}" if kind == "call" else "")


def _answer(output: str, language: str) -> str:
    body, status_line = output.rstrip("\n"), ""
    if language == "sh":
        body, _, status_line = body.rpartition("\n")
    for pattern, replacement in _VARIABLE:
        body = re.sub(pattern, replacement, body)
    heading = f"Answer: `{status_line.strip()}`" if status_line else "Answer:"
    if not body.strip():
        return f"{heading}, without a body.\n"
    return f"{heading}\n\n```json\n{_laid_out(json.loads(body))}\n```\n"


def _laid_out(value: object, indent: int = 0) -> str:
    """JSON with a line for whatever fits in one."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(line) + indent <= _WIDTH:
        return line
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        inner = [
            f"{pad}{json.dumps(key, ensure_ascii=False)}: {_laid_out(each, indent + 2)}"
            for key, each in value.items()
        ]
        return "{\n" + ",\n".join(inner) + f"\n{' ' * indent}}}"
    inner = [pad + _laid_out(each, indent + 2) for each in value]
    return "[\n" + ",\n".join(inner) + f"\n{' ' * indent}]"


def _answer_skeleton(block: re.Match[str]) -> str:
    return json.dumps(_reduced(json.loads(block[0])), indent=1) + "\n"


def _reduced(value: Any) -> Any:  # noqa: ANN401 - parsed JSON
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        if value.startswith("{"):  # KServe v2 has its results as text
            return _reduced(json.loads(value))
        # A heat map is another one after another training; another drawing has other bytes.
        text = re.sub(r"^[A-Za-z0-9+/]{24}\.\.\.$", "base64", value)
        return re.sub(r"\d+(?= bytes)", "n", text)
    if isinstance(value, list):
        if value and all(isinstance(each, dict) and "class_id" in each for each in value):
            return {"best": _reduced(value[0]), "in all": len(value)}
        return [_reduced(each) for each in value]
    if isinstance(value, dict):
        if len(value) > 1 and all(isinstance(each, float) for each in value.values()):
            return {"best": next(iter(value)), "in all": len(value)}  # labels
        return {
            key: sorted(each) if key in _CARD_PARTS and isinstance(each, dict) else _reduced(each)
            for key, each in value.items()
        }
    return value
