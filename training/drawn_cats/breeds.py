"""The table of the 67 breeds: one look for each, chosen from the looks that its standard allows.

Where a breed comes in several colours, the note says "one of several" and the row holds one that
no other row has, so that a photo of 96 px still tells the two apart. Traits follow the breed
standards of TICA (https://tica.org/breeds) and CFA (https://cfa.org/breeds).
"""

from __future__ import annotations

from training.drawn_cats.traits import (
    Breed,
    Build,
    Coat,
    Colour,
    Ears,
    EarShape,
    Face,
    Hair,
    Pattern,
    Tail,
    White,
)

BLACK, EBONY, BLUE, SLATE = (38, 36, 40), (34, 32, 36), (112, 122, 142), (92, 100, 118)
ASH, STEEL, NIGHT = (142, 150, 166), (124, 136, 158), (78, 88, 110)
CHOCOLATE, SABLE, SEAL, MINK = (112, 66, 42), (74, 52, 42), (62, 46, 42), (122, 92, 74)
LILAC, CREAM, RED, FAWN = (190, 168, 164), (240, 214, 168), (222, 132, 56), (206, 172, 138)
WHITE, IVORY, SNOW = (246, 243, 238), (238, 222, 194), (250, 250, 252)
RUDDY, TAWNY, SEPIA = (204, 138, 76), (150, 122, 88), (222, 198, 162)
BROWN, DARK, GOLDEN, SILVER = (164, 124, 82), (56, 42, 34), (206, 156, 92), (206, 210, 216)

COPPER, AMBER, YELLOW, HAZEL = (216, 118, 36), (228, 156, 34), (240, 204, 52), (176, 156, 60)
GREEN, EMERALD, LIME = (112, 176, 66), (24, 164, 104), (164, 208, 78)
SKY, SAPPHIRE, AQUA = (92, 176, 236), (44, 104, 222), (84, 204, 196)

PINK, BRICK, DARK_NOSE, ROSE = (226, 150, 148), (190, 92, 78), (52, 44, 46), (236, 172, 168)

HOUSE, ROUND = Face(), Face(0.95, 1.06, 0.68, 0.9, 1.0, 0.34, 1.1, 0.95, 0.08)
FLAT = Face(1.02, 1.2, 0.82, 0.82, 0.9, 0.14, 1.1, 1.0, 0.0)
WEDGE = Face(0.76, 0.64, 0.34, 1.12, 0.72, 0.5, 0.92, 0.55, 0.42)
SOFT_WEDGE = Face(0.84, 0.8, 0.44, 1.0, 0.86, 0.42, 1.0, 0.7, 0.3)
SQUARE = Face(0.88, 0.92, 0.66, 1.08, 1.3, 0.46, 0.92, 0.78, 0.24)
APPLE = Face(0.98, 1.02, 0.6, 0.88, 0.9, 0.36, 1.05, 0.82, 0.16)
HEART = Face(1.04, 0.86, 0.4, 0.94, 0.76, 0.42, 1.3, 0.98, 0.1)
PIXIE = Face(1.0, 0.92, 0.36, 0.86, 0.8, 0.36, 1.36, 0.88, 0.22)
CHUBBY = Face(0.98, 1.2, 0.84, 0.9, 1.2, 0.34, 1.02, 1.0, 0.04)
SMILING = Face(0.86, 1.02, 0.66, 0.94, 1.34, 0.38, 0.94, 0.86, 0.12)

AVERAGE, STURDY, COBBY = Build(), Build(1.14, 0.94, 0.9, 1.04), Build(1.28, 0.78, 0.7, 1.14)
SLENDER, LITHE = Build(0.74, 1.14, 1.3, 0.86), Build(0.88, 1.08, 1.12, 0.94)
TALL, LOW = Build(0.94, 1.22, 1.2, 0.92), Build(1.06, 0.42, 0.9, 1.06)
BIG, TINY = Build(1.22, 1.0, 1.0, 1.04), Build(0.84, 0.86, 0.9, 1.06)

UPRIGHT, SMALL, LARGE = Ears(), Ears(size=0.86, spread=0.5), Ears(size=1.24)
HUGE, LOW_HUGE = Ears(size=1.5, spread=0.62), Ears(size=1.46, spread=0.85)
TUFTED, LYNX = Ears(EarShape.TUFTED, 1.1, 0.25), Ears(EarShape.TUFTED, 1.3, 0.2)
FOLDED, CURLED = Ears(EarShape.FOLDED, 0.9, 0.5), Ears(EarShape.CURLED, 1.15, 0.3)

P, H, W = Pattern, Hair, White


def _row(
    name: str,
    coat: Coat,
    hair: Hair,
    shape: tuple[Build, Face, Ears, Tail],
    eyes: Colour,
    nose: Colour,
    note: str,
    other_eye: Colour | None = None,
    extra_toes: bool = False,
) -> Breed:
    return Breed(name, coat, hair, *shape, (eyes, other_eye or eyes), nose, note, extra_toes)


LONG, WHIP, PLUME, BOB, BARE = Tail.LONG, Tail.WHIP, Tail.PLUMED, Tail.BOB, Tail.NONE

# fmt: off
BREEDS: tuple[Breed, ...] = (
    _row("Abyssinian", Coat(P.TICKED, RUDDY, (92, 46, 24)), H.SHORT,
         (LITHE, SOFT_WEDGE, LARGE, LONG), GREEN, BRICK, "ruddy, ticked, no stripes"),
    _row("American Bobtail", Coat(P.LYNX_POINT, IVORY, SEAL), H.MEDIUM,
         (STURDY, SQUARE, TUFTED, BOB), SKY, BRICK, "seal lynx point, one of several; bobbed tail"),
    _row("American Curl", Coat(P.MACKEREL, SILVER, (84, 84, 92)), H.LONG,
         (LITHE, SOFT_WEDGE, CURLED, PLUME), GREEN, BRICK,
         "silver tabby, one of several; ears curl back"),
    _row("American Shorthair", Coat(P.CLASSIC, (212, 214, 218), (36, 36, 42)), H.SHORT,
         (STURDY, ROUND, UPRIGHT, LONG), HAZEL, BRICK,
         "silver classic tabby, the best known of several"),
    _row("American Wirehair", Coat(P.MACKEREL, (172, 166, 160), (84, 92, 110)), H.WIRY,
         (STURDY, ROUND, UPRIGHT, LONG), AMBER, DARK_NOSE,
         "blue tabby, one of several; crimped hair"),
    _row("Applehead Siamese", Coat(P.POINTED, (228, 230, 234), (112, 124, 146)), H.SHORT,
         (STURDY, APPLE, UPRIGHT, LONG), SAPPHIRE, DARK_NOSE,
         "blue point, one of four; round head"),
    _row("Balinese", Coat(P.POINTED, SNOW, (206, 178, 178)), H.LONG,
         (SLENDER, WEDGE, LARGE, PLUME), SAPPHIRE, PINK, "lilac point, one of four; plumed tail"),
    _row("Bengal", Coat(P.ROSETTED, (218, 160, 86), (62, 38, 22)), H.SHORT,
         (LITHE, HOUSE, Ears(size=0.86), LONG), GREEN, BRICK,
         "brown rosetted, the best known of several"),
    _row("Birman", Coat(P.POINTED, (240, 218, 176), (84, 60, 48), white=W.MITTED), H.LONG,
         (BIG, ROUND, UPRIGHT, PLUME), SAPPHIRE, DARK_NOSE,
         "seal point with a golden body and white gloves"),
    _row("Bombay", Coat(P.SOLID, (28, 26, 30), (18, 16, 20)), H.SHORT,
         (STURDY, ROUND, UPRIGHT, LONG), COPPER, DARK_NOSE, "black, the only colour; copper eyes"),
    _row("British Shorthair", Coat(P.SOLID, SLATE, NIGHT), H.PLUSH,
         (COBBY, CHUBBY, SMALL, LONG), COPPER, DARK_NOSE, "blue, the best known of several"),
    _row("Burmese", Coat(P.SOLID, SABLE, DARK), H.SHORT,
         (STURDY, ROUND, UPRIGHT, LONG), YELLOW, DARK_NOSE, "sable, the first of four colours"),
    _row("Burmilla", Coat(P.TIPPED, (236, 232, 226), (142, 110, 92)), H.SHORT,
         (AVERAGE, SOFT_WEDGE, UPRIGHT, LONG), LIME, BRICK,
         "chocolate-shaded silver, one of several"),
    _row("Calico", Coat(P.CALICO, WHITE, BLACK, RED), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), AMBER, PINK, "white with black and red patches"),
    _row("Canadian Hairless", Coat(P.PATCHED, (226, 178, 164), (96, 92, 104)), H.HAIRLESS,
         (SLENDER, WEDGE, HUGE, WHIP), YELLOW, DARK_NOSE, "blue and white skin, one of several"),
    _row("Chartreux", Coat(P.SOLID, ASH, STEEL, sheen=0.25), H.PLUSH,
         (Build(1.24, 0.84, 0.8, 0.94), SMILING, UPRIGHT, LONG), AMBER, DARK_NOSE,
         "blue (ash), the only colour; a smiling muzzle"),
    _row("Chausie", Coat(P.TICKED, TAWNY, (66, 50, 36)), H.SHORT,
         (TALL, SOFT_WEDGE, LYNX, LONG), YELLOW, BRICK,
         "brown ticked tabby, one of three; ear tufts"),
    _row("Chinchilla", Coat(P.TIPPED, SNOW, (120, 124, 134)), H.LONG,
         (COBBY, FLAT, SMALL, PLUME), EMERALD, BRICK, "silver-tipped white, rimmed emerald eyes"),
    _row("Cornish Rex", Coat(P.SOLID, (244, 240, 236), (222, 214, 208)), H.CURLY,
         (SLENDER, WEDGE, HUGE, WHIP), AMBER, PINK, "white, one of several; waved coat"),
    _row("Cymric", Coat(P.PATCHED, WHITE, BLACK), H.LONG,
         (COBBY, ROUND, UPRIGHT, BARE), AMBER, PINK,
         "black and white, one of several; no tail, long hair"),
    _row("Devon Rex", Coat(P.SOLID, (218, 140, 76), (180, 96, 44)), H.CURLY,
         (SLENDER, PIXIE, LOW_HUGE, WHIP), LIME, PINK,
         "red, one of several; pixie face, low huge ears"),
    _row("Dilute Calico", Coat(P.CALICO, WHITE, (128, 138, 156), (238, 206, 160)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, PINK, "white with blue and cream patches"),
    _row("Dilute Tortoiseshell", Coat(P.TORTIE, (118, 128, 146), BLUE, (232, 200, 160)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), LIME, ROSE, "blue brindled with cream"),
    _row("Domestic Long Hair", Coat(P.SMOKE, (50, 48, 54), (206, 208, 214)), H.LONG,
         (AVERAGE, HOUSE, UPRIGHT, PLUME), GREEN, DARK_NOSE, "black smoke, one of many"),
    _row("Domestic Medium Hair",
         Coat(P.MACKEREL, (236, 176, 104), (204, 112, 44), white=W.BICOLOUR), H.MEDIUM,
         (AVERAGE, HOUSE, UPRIGHT, PLUME), GREEN, PINK, "red tabby and white, one of many"),
    _row("Domestic Short Hair", Coat(P.MACKEREL, BROWN, DARK, white=W.BICOLOUR), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, PINK,
         "brown mackerel tabby and white, one of many"),
    _row("Egyptian Mau", Coat(P.SPOTTED, (204, 206, 208), (54, 54, 60)), H.SHORT,
         (LITHE, HOUSE, UPRIGHT, LONG), LIME, BRICK,
         "silver spotted, one of three; gooseberry eyes"),
    _row("Exotic Shorthair", Coat(P.CLASSIC, (216, 122, 60), (146, 58, 22)), H.PLUSH,
         (COBBY, FLAT, SMALL, LONG), COPPER, BRICK, "red classic tabby, one of several; flat face"),
    _row("Extra-Toes Cat - Hemingway Polydactyl",
         Coat(P.MACKEREL, (240, 216, 174), (212, 172, 120), white=W.MITTED), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, PINK,
         "cream tabby with white mittens, one of many; extra toes", extra_toes=True),
    _row("Havana", Coat(P.SOLID, (124, 68, 42), (92, 46, 28)), H.SHORT,
         (LITHE, SQUARE, LARGE, LONG), EMERALD, ROSE, "chestnut brown, green eyes"),
    _row("Himalayan", Coat(P.POINTED, (246, 234, 214), SEAL), H.LONG,
         (COBBY, FLAT, SMALL, PLUME), SAPPHIRE, DARK_NOSE, "seal point, one of several; flat face"),
    _row("Japanese Bobtail", Coat(P.VAN, WHITE, BLACK, RED), H.SHORT,
         (LITHE, SOFT_WEDGE, LARGE, BOB), SKY, PINK,
         "mi-ke with odd eyes, the best loved of several; pompom tail", other_eye=AMBER),
    _row("Javanese", Coat(P.LYNX_POINT, (250, 238, 218), (222, 132, 64)), H.LONG,
         (SLENDER, WEDGE, LARGE, PLUME), SAPPHIRE, PINK, "red lynx point, one of several"),
    _row("Korat", Coat(P.SOLID, NIGHT, SLATE, sheen=0.7), H.SHORT,
         (AVERAGE, HEART, LARGE, LONG), LIME, DARK_NOSE,
         "silver-tipped blue, the only colour; heart face, huge eyes"),
    _row("LaPerm", Coat(P.TORTIE, (60, 46, 42), BLACK, (206, 128, 68)), H.LONG_CURLY,
         (LITHE, SOFT_WEDGE, UPRIGHT, PLUME), AMBER, DARK_NOSE,
         "tortoiseshell, one of several; ringlets"),
    _row("Maine Coon", Coat(P.CLASSIC, (158, 116, 72), (44, 34, 28)), H.LONG,
         (BIG, SQUARE, LYNX, PLUME), AMBER, BRICK,
         "brown classic tabby, the best known of several; lynx tips"),
    _row("Manx", Coat(P.PATCHED, WHITE, (218, 124, 52)), H.SHORT,
         (COBBY, ROUND, UPRIGHT, BARE), COPPER, PINK, "red and white, one of several; no tail"),
    _row("Munchkin", Coat(P.SOLID, (176, 144, 142), LILAC, white=W.BICOLOUR), H.SHORT,
         (LOW, ROUND, UPRIGHT, LONG), SKY, PINK, "lilac and white, one of several; short legs"),
    _row("Nebelung", Coat(P.SOLID, (120, 130, 152), BLUE, sheen=0.6), H.LONG,
         (LITHE, SOFT_WEDGE, LARGE, PLUME), LIME, DARK_NOSE,
         "silver-tipped blue, the only colour; long hair"),
    _row("Norwegian Forest Cat",
         Coat(P.MACKEREL, (170, 136, 98), (58, 46, 40), white=W.BICOLOUR), H.LONG,
         (BIG, Face(0.92, 0.84, 0.46, 1.02, 0.9, 0.44, 1.0, 0.7, 0.34), TUFTED, PLUME), GREEN, PINK,
         "brown tabby and white, one of several; triangular head"),
    _row("Ocicat", Coat(P.SPOTTED, (236, 206, 164), (134, 76, 40)), H.SHORT,
         (LITHE, HOUSE, LARGE, LONG), AMBER, BRICK, "chocolate spotted, one of several"),
    _row("Oriental Long Hair", Coat(P.SOLID, (196, 174, 176), (170, 148, 152)), H.LONG,
         (SLENDER, WEDGE, HUGE, PLUME), GREEN, ROSE, "lavender, one of many"),
    _row("Oriental Short Hair", Coat(P.SOLID, EBONY, BLACK), H.SHORT,
         (SLENDER, WEDGE, HUGE, WHIP), GREEN, DARK_NOSE, "ebony, one of many"),
    _row("Oriental Tabby", Coat(P.MACKEREL, (214, 170, 124), (112, 66, 38)), H.SHORT,
         (SLENDER, WEDGE, HUGE, WHIP), GREEN, BRICK, "chocolate tabby, one of many"),
    _row("Persian", Coat(P.SOLID, (250, 248, 244), (228, 224, 220)), H.LONG,
         (COBBY, FLAT, SMALL, PLUME), COPPER, PINK,
         "white with copper eyes, one of many; flat face"),
    _row("Pixiebob", Coat(P.SPOTTED, (152, 126, 100), (78, 56, 42)), H.MEDIUM,
         (STURDY, SQUARE, LYNX, BOB), YELLOW, BRICK,
         "brown spotted, the only pattern; bobbed tail, ear tufts"),
    _row("Ragamuffin", Coat(P.SOLID, (134, 144, 162), BLUE, white=W.BICOLOUR), H.LONG,
         (BIG, ROUND, UPRIGHT, PLUME), AMBER, PINK, "blue and white, one of many"),
    _row("Ragdoll", Coat(P.POINTED, (244, 242, 238), (116, 122, 138), white=W.BICOLOUR), H.LONG,
         (BIG, HOUSE, UPRIGHT, PLUME), SAPPHIRE, PINK,
         "blue bicolour, one of several; inverted V on the face"),
    _row("Russian Blue", Coat(P.SOLID, (128, 140, 164), STEEL, sheen=0.5), H.PLUSH,
         (LITHE, SOFT_WEDGE, LARGE, LONG), EMERALD, DARK_NOSE,
         "silver-tipped blue, the only colour; green eyes"),
    _row("Scottish Fold", Coat(P.SOLID, (120, 130, 150), BLUE, white=W.BICOLOUR), H.PLUSH,
         (COBBY, CHUBBY, FOLDED, LONG), COPPER, PINK, "blue and white, one of many; folded ears"),
    _row("Selkirk Rex", Coat(P.SOLID, CREAM, (214, 180, 130)), H.LONG_CURLY,
         (COBBY, CHUBBY, SMALL, LONG), COPPER, PINK, "cream, one of many; plush curls"),
    _row("Siamese", Coat(P.POINTED, (242, 226, 200), (48, 36, 34)), H.SHORT,
         (SLENDER, WEDGE, LARGE, WHIP), SAPPHIRE, DARK_NOSE,
         "seal point, the first of four; wedge face"),
    _row("Siberian", Coat(P.MACKEREL, (222, 174, 110), (96, 62, 40)), H.LONG,
         (BIG, ROUND, TUFTED, PLUME), GREEN, BRICK, "golden tabby, one of several"),
    _row("Silver", Coat(P.MACKEREL, (222, 226, 232), (104, 108, 118)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), EMERALD, BRICK, "silver mackerel tabby"),
    _row("Singapura", Coat(P.TICKED, SEPIA, (134, 96, 66)), H.SHORT,
         (TINY, Face(0.96, 0.94, 0.5, 0.9, 0.86, 0.38, 1.34, 0.85, 0.2), LARGE, LONG), HAZEL, BRICK,
         "sepia agouti, the only colour; huge eyes"),
    _row("Snowshoe", Coat(P.POINTED, (236, 220, 196), (74, 54, 46), white=W.BICOLOUR), H.SHORT,
         (AVERAGE, SOFT_WEDGE, UPRIGHT, LONG), SKY, PINK, "seal point with white face and feet"),
    _row("Somali", Coat(P.TICKED, (166, 80, 46), (56, 28, 20)), H.LONG,
         (LITHE, SOFT_WEDGE, LARGE, PLUME), AMBER, BRICK, "red, one of four; a fox-like tail"),
    _row("Sphynx - Hairless Cat", Coat(P.SOLID, (236, 190, 172), (210, 152, 138)), H.HAIRLESS,
         (Build(0.9, 1.0, 1.1, 0.94), PIXIE, HUGE, WHIP), AQUA, PINK,
         "pink skin, one of several; wrinkles"),
    _row("Tabby", Coat(P.CLASSIC, (172, 130, 86), (52, 38, 30)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), YELLOW, BRICK, "brown classic tabby"),
    _row("Tiger", Coat(P.MACKEREL, (244, 178, 92), (176, 84, 24)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, PINK, "red mackerel tabby, striped as a tiger"),
    _row("Tonkinese", Coat(P.POINTED, (190, 158, 128), (92, 64, 50)), H.SHORT,
         (AVERAGE, SOFT_WEDGE, UPRIGHT, LONG), AQUA, DARK_NOSE,
         "natural mink, one of several; aqua eyes"),
    _row("Torbie", Coat(P.TORBIE, (158, 124, 88), (56, 44, 36), (228, 140, 66)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, BRICK, "brown tabby with red patches"),
    _row("Tortoiseshell", Coat(P.TORTIE, (38, 34, 34), BLACK, (206, 112, 40)), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), YELLOW, DARK_NOSE, "black brindled with red"),
    _row("Turkish Angora", Coat(P.SOLID, SNOW, (228, 230, 236)), H.LONG,
         (SLENDER, SOFT_WEDGE, HUGE, PLUME), SKY, PINK,
         "white with odd eyes, the best known of several", other_eye=AMBER),
    _row("Turkish Van", Coat(P.VAN, WHITE, (186, 96, 46), (186, 96, 46)), H.LONG,
         (BIG, HOUSE, UPRIGHT, PLUME), AMBER, PINK,
         "white with auburn head marks and tail, the first of several"),
    _row("Tuxedo", Coat(P.SOLID, (34, 32, 36), BLACK, white=W.BIB), H.SHORT,
         (AVERAGE, HOUSE, UPRIGHT, LONG), GREEN, PINK, "black with a white shirt and gloves"),
    _row("York Chocolate", Coat(P.SOLID, (108, 66, 44), CHOCOLATE, white=W.BIB), H.MEDIUM,
         (LITHE, SOFT_WEDGE, LARGE, PLUME), HAZEL, PINK, "chocolate and white, one of several"),
)
# fmt: on

CLASSES: tuple[str, ...] = tuple(breed.name for breed in BREEDS)

_BY_NAME = {breed.name: breed for breed in BREEDS}


class UnknownBreedError(ValueError):
    """The name is none of `CLASSES`."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown breed {name!r}; allowed: {', '.join(CLASSES)}")
        self.name = name


def breed_named(name: str) -> Breed:
    """The row of the table; UnknownBreedError names the name and what is allowed."""
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownBreedError(name) from None
