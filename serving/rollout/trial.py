"""A new version under real traffic: as a canary beside the default, and after the switch."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving.deployments import Deployments
from serving.inference import ServiceError
from serving.rollout.observed import Observed, observe
from serving.rollout.site import RolloutError, Site
from serving.traffic import Canary

# A gateway takes a canary's entry for gone when it has not been renewed for so long.
_LEASE_S = 5.0
_LOOK_S = 0.5
_FAILED_IN_A_ROW = 3
# Of a few photos one that had to wait for the processor makes the mean.
_FEW_PHOTOS = 50
_FEW_REQUESTS = 20

Tick = Callable[[str], None]


@dataclass(frozen=True)
class TrafficLimits:
    """How far a new version may fall behind the one that it replaces.

    Attributes:
        max_error_share: of requests that end with an internal error.
        max_slowdown: network's time for a photo, as a multiple of the other version's.
        max_refused_share: by how much more of the photos may be refused.
    """

    max_error_share: float = 0.01
    max_slowdown: float = 3.0
    max_refused_share: float = 0.1


class Trial:
    """Watches a version from now on.

    Args:
        new: the version on trial; its workers must be ready.
        current: what it is compared with; None for the first version of a model.
    """

    def __init__(
        self, site: Site, model: str, new: str, current: str | None, limits: TrafficLimits
    ) -> None:
        self._site, self._model, self._new, self._current = site, model, new, current
        self._limits = limits
        self._failed = 0
        # Requests of others to the new version, in the canary or the watch.
        self.asked = 0
        self._pids = self._worker_pids()
        self._versions = [version for version in (new, current) if version]
        self._began = self._observe()

    def canary(
        self,
        record: Deployments,
        share: float,
        photos: Sequence[bytes],
        seconds: float,
        tick: Tick,
    ) -> Mapping[str, Any]:
        """Send a share of the clients to the new version, and compare. It is asked for photos of
        ours as well: what a worker does not answer at all is in none of its metrics.

        Raises:
            RolloutError: it does worse than the limits allow, or no request came to it.
        """
        deadline = time.monotonic() + seconds
        asked, before = itertools.cycle(photos), self._observe()
        ours = 0
        while (left := deadline - time.monotonic()) > 0:
            lease = Canary(self._new, share, time.time() + _LEASE_S)
            self._site.announce(record, {self._model: lease})
            self._probe(next(asked), self._new)
            ours += 1
            now = self._checked()
            self.asked = now[self._new].requests - before[self._new].requests - ours
            tick(f"{self.asked} requests, {left:.0f} s left")
            time.sleep(min(_LOOK_S, left))
        now = self._checked()
        self.asked = now[self._new].requests - before[self._new].requests - ours
        if self.asked <= 0:
            others = sum(
                (now[version] - before[version]).requests
                for version in self._versions
                if version != self._new
            )
            raise RolloutError(
                f"nothing to judge the canary by: of {others} requests in {seconds:.0f} s none was "
                "of a client that was drawn for it. It takes more clients or a larger share "
                "(--canary 100% where you try it alone), or go without --canary"
            )
        return self._figures(now)

    def watch(self, photos: Sequence[bytes], seconds: float, tick: Tick) -> Mapping[str, Any]:
        """Look at the new version as the default, with requests of our own beside the real ones.

        Raises:
            RolloutError: a worker died, another version answers, or it does worse than allowed.
        """
        deadline = time.monotonic() + seconds
        before = self._observe()
        for ours, photo in enumerate(itertools.cycle(photos), start=1):
            self._probe(photo, None)
            now = self._checked()
            self.asked = max(0, now[self._new].requests - before[self._new].requests - ours)
            left = deadline - time.monotonic()
            # A failure is never the last word: there is another one, or an answer.
            if left <= 0 and not self._failed:
                break
            tick(f"{self.asked} requests, {max(0.0, left):.0f} s left")
            time.sleep(min(_LOOK_S, max(left, _LOOK_S / 5)))
        return self._figures(now)

    def _probe(self, photo: bytes, version: str | None) -> None:
        """Ask for one photo, of the default where no version is named."""
        try:
            answer = self._site.inference.predict(photo, self._model, version)
        except ServiceError as error:
            self._failed += 1
            if self._failed >= _FAILED_IN_A_ROW:
                said = f"{self._failed} predictions in a row failed: {error}"
                raise RolloutError(said) from error
            return
        self._failed = 0
        answering = answer.version or version or self._site.default_version(self._model)
        if answering != self._new:
            raise RolloutError(f"{answering} answers where {self._new} should")

    def _figures(self, now: Mapping[str, Observed]) -> dict[str, Any]:
        return {version: (now[version] - self._began[version]).figures() for version in now}

    def _checked(self) -> dict[str, Observed]:
        """What all versions have done so far, if the new one is within the limits."""
        if self._worker_pids() != self._pids:
            raise RolloutError(f"a worker of {self._new} died; TorchServe's log says why")
        now = self._observe()
        new = now[self._new] - self._began[self._new]
        if new.error_share > self._limits.max_error_share:
            raise RolloutError(
                f"{new.error_share:.1%} of {new.requests} requests to {self._new} ended "
                f"with an internal error; at most {self._limits.max_error_share:.1%} may"
            )
        if self._current is not None:
            current = now[self._current] - self._began[self._current]
            if new.requests and current.requests:
                self._check_against(new, current)
        return now

    def _check_against(self, new: Observed, current: Observed) -> None:
        most = current.refused_share + self._limits.max_refused_share
        if new.requests >= _FEW_REQUESTS and new.refused_share > most:
            raise RolloutError(
                f"{self._new} refuses {new.refused_share:.1%} of the photos, {self._current} "
                f"{current.refused_share:.1%}; at most {most:.1%} may be refused"
            )
        if min(new.photos, current.photos) < _FEW_PHOTOS:
            return
        ours, theirs = new.inference_s_per_photo, current.inference_s_per_photo
        if theirs and ours / theirs > self._limits.max_slowdown:
            raise RolloutError(
                f"{self._new} takes {1000 * ours:.1f} ms a photo ({new.photos} photos), "
                f"{self._current} {1000 * theirs:.1f} ({current.photos}); --max-slowdown "
                f"{self._limits.max_slowdown:g} allows no more"
            )

    def _worker_pids(self) -> frozenset[int]:
        status = self._site.management.describe(self._model, self._new)
        return frozenset(status.worker_pids)

    def _observe(self) -> dict[str, Observed]:
        return observe(self._site.metrics_url, self._model, self._versions)
