"""The traits that tell one cat breed from another, as typed values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

Colour = tuple[int, int, int]


class Pattern(Enum):
    """How the mark colour lies on the ground colour."""

    SOLID = "solid"
    TICKED = "ticked"
    MACKEREL = "mackerel tabby"
    CLASSIC = "classic tabby"
    SPOTTED = "spotted"
    ROSETTED = "rosetted"
    POINTED = "pointed"
    LYNX_POINT = "lynx point"
    TORTIE = "tortoiseshell"
    TORBIE = "tortoiseshell tabby"
    CALICO = "calico"
    PATCHED = "patched"
    VAN = "van"
    TIPPED = "tipped"
    SMOKE = "smoke"


class White(Enum):
    """How much of the coat white spotting covers."""

    NONE = "none"
    MITTED = "mitted"
    BIB = "tuxedo"
    BICOLOUR = "bicolour"


class Hair(Enum):
    HAIRLESS = "hairless"
    SHORT = "short"
    PLUSH = "plush"
    WIRY = "wiry"
    MEDIUM = "medium"
    LONG = "long"
    CURLY = "curly"
    LONG_CURLY = "long, curly"

    @property
    def shaggy(self) -> float:
        """Length of the free hair at the edge, as a share of a head's radius."""
        return {
            Hair.HAIRLESS: 0.0,
            Hair.SHORT: 0.03,
            Hair.PLUSH: 0.05,
            Hair.WIRY: 0.09,
            Hair.MEDIUM: 0.16,
            Hair.LONG: 0.26,
            Hair.CURLY: 0.08,
            Hair.LONG_CURLY: 0.22,
        }[self]

    @property
    def curly(self) -> bool:
        return self in (Hair.CURLY, Hair.LONG_CURLY)


class EarShape(Enum):
    STRAIGHT = "straight"
    FOLDED = "folded"
    CURLED = "curled"
    TUFTED = "tufted"


class Tail(Enum):
    LONG = "long"
    WHIP = "whip"
    PLUMED = "plumed"
    BOB = "bob"
    NONE = "none"


@dataclass(frozen=True)
class Ears:
    """`size` 1 is a house cat's ear; `spread` turns the ears outwards (0 upright, 1 sideways)."""

    shape: EarShape = EarShape.STRAIGHT
    size: float = 1.0
    spread: float = 0.35


@dataclass(frozen=True)
class Build:
    """Proportions, 1 being a house cat's: thickness, leg length, neck length, size of the head."""

    girth: float = 1.0
    legs: float = 1.0
    neck: float = 1.0
    head: float = 1.0


@dataclass(frozen=True)
class Face:
    """Half widths of the head from the front, in radii of the head, and where the features sit.

    `chin` is how far the chin lies below the centre; `muzzle` the size of the whisker pads;
    `nose` how far below the centre the nose sits (a flat face has it between the eyes).
    """

    temple: float = 0.9
    cheek: float = 0.95
    jaw: float = 0.56
    chin: float = 0.92
    muzzle: float = 1.0
    nose: float = 0.36
    eye: float = 1.0
    eye_round: float = 0.8
    eye_tilt: float = 0.18


@dataclass(frozen=True)
class Coat:
    """Colours are sRGB, 0..255. `mark` is the colour of stripes, spots, points or tips.

    `second` is the second patch colour of tortoiseshells and calicos. `sheen` is how much the
    hair tips shine silver at the edges, 0..1.
    """

    pattern: Pattern
    ground: Colour
    mark: Colour
    second: Colour = (214, 128, 58)
    white: White = White.NONE
    sheen: float = 0.0


@dataclass(frozen=True)
class Breed:
    """One breed's look. `eyes` are the left and right iris; `note` says what was chosen."""

    name: str
    coat: Coat
    hair: Hair
    build: Build
    face: Face
    ears: Ears
    tail: Tail
    eyes: tuple[Colour, Colour]
    nose: Colour
    note: str
    extra_toes: bool = False
