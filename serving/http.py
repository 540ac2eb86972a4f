"""One HTTP call to a server, with its token and without what the environment would add to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import ReadTimeoutError

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
# Before a call is repeated whose connection broke.
_PAUSES_S = (0.1, 0.3)


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
        try:
            return session.request(
                method,
                url,
                params=params,
                data=fields,
                files=files,
                auth=_Bearer(token),
                timeout=timeout_s,
            )
        except requests.ConnectionError as error:
            # requests takes an answer that stalls in its body for a connection that broke.
            if error.args and isinstance(error.args[0], ReadTimeoutError):
                raise requests.ReadTimeout(*error.args) from error
            raise


def call_repeatedly(
    method: str,
    url: str,
    token: str | None,
    timeout_s: float,
    params: Mapping[str, str] | None = None,
) -> tuple[requests.Response, bool]:
    """As `call`, again where the connection broke: for what may be done twice.

    Returns:
        The answer, and whether it was asked for more than once.

    Raises:
        requests.RequestException: it broke each time, no answer in time, or not an address.
    """
    for tries, pause in enumerate(_PAUSES_S):
        try:
            return call(method, url, token, timeout_s, params), tries > 0
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            # A connection that is not made in time is both.
            if isinstance(error, requests.Timeout):
                raise
        time.sleep(pause)
    return call(method, url, token, timeout_s, params), True
