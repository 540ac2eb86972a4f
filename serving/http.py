"""One HTTP call to a server, with its token and without what the environment would add to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class _Bearer(requests.auth.AuthBase):
    """Adds the token. As `auth`, since requests lets ~/.netrc overrule a plain header."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def is_local(url: str) -> bool:
    """Whether the address is this machine's.

    Raises:
        ValueError: not an address.
    """
    return urlsplit(url).hostname in LOCAL_HOSTS


def call(
    method: str,
    url: str,
    token: str | None,
    timeout_s: float,
    params: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    files: Any = None,  # noqa: ANN401 - as requests takes them
) -> requests.Response:
    """Send one request.

    Args:
        token: sent as bearer token, or None to send none.
        fields: of a form, beside its `files`.

    Raises:
        requests.RequestException: no answer, or not an address.
    """
    with requests.Session() as session:
        # A proxy of the environment has no way to this machine, and must not see the token.
        session.trust_env = not is_local(url)
        return session.request(
            method,
            url,
            params=params,
            data=fields,
            files=files,
            auth=_Bearer(token),
            timeout=timeout_s,
        )
