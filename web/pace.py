"""How long a photo takes the model server, from what it has answered.

By the utilisation law (Denning and Buzen, "The Operational Analysis of Queueing Network Models",
ACM Computing Surveys 10(3), 1978) the time that a server needs for one piece of work is its busy
time divided by the number of those that it has finished in it. That holds without knowing how many
workers there are, how they make batches, or in which order answers come; a pause in which nothing
is there is not busy, so it does not count. The photos that are there, times this, are how long one
that comes now has to wait (Little's law). PIE (RFC 8033) bounds a router's queue by the same two.

Where few photos come, batches are small, and a photo seems to take longer than it would in a full
one. With more of them it takes less, and is known to, some tens of photos later.
"""

from __future__ import annotations

# After so many photos what was before them counts half.
_HALF_LIFE = 32
# Fewer say nothing yet: about as much as eight photos, of which the older count a little less.
_FEWEST = 7.0
# Longer than a batch takes: a server that hung or was away, which says nothing of the next photos.
_MOST_S = 10.0


class Pace:
    """Learns from each photo that comes to the model server and leaves it.

    `now` is in seconds, of any clock that never goes back.
    """

    def __init__(self) -> None:
        self._there = 0
        self._seen = 0.0
        self._since_last_s = 0.0
        self._busy_s = 0.0
        self._photos = 0.0

    @property
    def photo_s(self) -> float | None:
        """Seconds from one photo's answer to the next, while there is work; None: not known yet."""
        return self._busy_s / self._photos if self._photos >= _FEWEST else None

    def begin(self, now: float) -> None:
        """A photo goes to the model server."""
        self._pass(now)
        self._there += 1

    def end(self, now: float, is_answered: bool) -> None:
        """One has left it.

        Args:
            is_answered: by the model's own code, be it with a problem. Where the server refused or
                failed, which may come quickly, the time counts and the photo does not, so that no
                flood of these makes the server look fast.
        """
        self._pass(now)
        self._there -= 1
        if is_answered:
            kept = 0.5 ** (1 / _HALF_LIFE)
            self._busy_s = kept * self._busy_s + min(self._since_last_s, _MOST_S)
            self._photos = kept * self._photos + 1
            self._since_last_s = 0.0

    def _pass(self, now: float) -> None:
        if self._there:
            self._since_last_s += now - self._seen
        self._seen = now
