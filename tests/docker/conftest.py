from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def promtool() -> str:
    """`make promtool` fetches one; without it tests are left out, unless it is `required`."""
    fetched = ROOT / "build" / "tools" / "promtool"
    program = str(fetched) if fetched.exists() else shutil.which("promtool")
    if program is None:
        if os.environ.get("CATBREEDS_PROMTOOL") == "required":
            pytest.fail("no promtool in build/tools or on PATH")
        pytest.skip("no promtool in build/tools or on PATH")
    return program
