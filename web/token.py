"""The gateway's one secret."""

from __future__ import annotations

from pathlib import Path


class Token:
    """The inference token, read from a file that is replaced when the token is renewed.

    The file holds one line, `Authorization: Bearer ...`: the gateway is never given the management
    token that lies beside it.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._header = ""

    @property
    def header(self) -> str:
        """The value of `Authorization`; empty where the file is not there."""
        return self._header or self.read()

    def read(self) -> str:
        """The same, from the file as it is now."""
        try:
            self._header = self.file.read_text().partition(":")[2].strip()
        except (OSError, ValueError):
            self._header = ""
        return self._header
