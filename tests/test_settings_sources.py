"""Each source of settings, and what each mistake in it is told."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
from attrs import field, frozen, make_class, validators

from trio_voice.errors import ConfigError
from trio_voice.settings_sources import Given, build, from_assignments, from_environment, from_file


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@frozen
class House:
    rooms: int = field(default=3, validator=validators.ge(1))
    height_m: float = 2.5
    colour: Colour = Colour.RED
    street: str = field(default="Main", validator=validators.min_len(1))
    sold: bool = False
    garden_m2: float | None = None
    plan: Path | None = None


@frozen
class Car:
    wheels: int = 4
    doors: int = field(default=4, validator=validators.in_((2, 4)))


SECTIONS = {"house": House, "car": Car}
REFUSED = {"car.key": "hide it", "car.wheels": "they are always four"}


def file_with(folder: Path, text: str) -> Path:
    path = folder / "t.toml"
    path.write_text(text, encoding="utf-8")
    return path


def read(folder: Path, text: str) -> House:
    return build("house", House, from_file(file_with(folder, text), SECTIONS, refused=REFUSED))


def test_every_type_is_read_from_a_file(tmp_path: Path) -> None:
    text = 'rooms = 5\nheight_m = 3\ncolour = "blue"\nstreet = "Elm"\nsold = true\ngarden_m2 = 1.5\nplan = "~/a.txt"'
    assert read(tmp_path, f"[house]\n{text}\n") == House(5, 3.0, Colour.BLUE, "Elm", True, 1.5, Path.home() / "a.txt")
    assert read(tmp_path, "") == House()


def test_every_type_is_read_from_the_environment() -> None:
    environ = {
        "TRIO_VOICE_HOUSE_ROOMS": "5",
        "TRIO_VOICE_HOUSE_HEIGHT_M": "3",
        "TRIO_VOICE_HOUSE_COLOUR": "blue",
        "TRIO_VOICE_HOUSE_STREET": "5",
        "TRIO_VOICE_HOUSE_SOLD": "true",
        "TRIO_VOICE_HOUSE_GARDEN_M2": "1.5",
        "TRIO_VOICE_HOUSE_PLAN": "a.txt",
        "TRIO_VOICE_CAR_DOORS": "",
        "TRIO_VOICE_SPEECH": "means something else",
        "HOME": "/root",
    }
    values = from_environment(environ, SECTIONS, refused=REFUSED, others=frozenset({"TRIO_VOICE_SPEECH"}))
    assert build("house", House, values) == House(5, 3.0, Colour.BLUE, "5", True, 1.5, Path("a.txt"))
    assert build("car", Car, values) == Car()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[house]\nrooms = 0", "house.rooms = 0 ({path}): must be >= 1"),
        ('[house]\nrooms = "two"', "house.rooms = 'two' ({path}): must be a whole number"),
        ("[house]\nrooms = 2.5", "house.rooms = 2.5 ({path}): must be a whole number"),
        ("[house]\nrooms = true", "house.rooms = True ({path}): must be a whole number"),
        ('[house]\nheight_m = "2"', "house.height_m = '2' ({path}): must be a number"),
        ("[house]\nheight_m = nan", "house.height_m = nan ({path}): must be a number"),
        ('[house]\ncolour = "green"', "house.colour = 'green' ({path}): must be one of 'red', 'blue'"),
        ("[house]\nstreet = 5", "house.street = 5 ({path}): must be a text"),
        ('[house]\nsold = "yes"', "house.sold = 'yes' ({path}): must be true or false"),
        ('[house]\ngarden_m2 = "big"', "house.garden_m2 = 'big' ({path}): must be a number"),
        ("[house]\nplan = 1", "house.plan = 1 ({path}): must be a path"),
        ("[house]\nrooms = 1979-05-27", "house.rooms = datetime.date(1979, 5, 27) ({path}): must be a whole number"),
        ("[house]\nromos = 3", "{path}: there is no setting house.romos; did you mean house.rooms?"),
        ("[hose]\nrooms = 3", "{path}: there is no section [hose]; did you mean [house]?"),
        ("[xyz]\nrooms = 3", "{path}: there is no section [xyz]; there are: [house], [car]"),
        ("[car]\nxyzzy = 3", "{path}: there is no setting car.xyzzy; [car] has: wheels, doors"),
        ("[car]\nrooms = 3", "{path}: there is no setting car.rooms; did you mean house.rooms?"),
        # As "car.window" this looks much like "car.doors": the section must not count.
        ("[car]\nwindow = 3", "{path}: there is no setting car.window; [car] has: wheels, doors"),
        ("rooms = 3", "{path}: rooms belongs into a section: write it below [house]"),
        ("house = 3", "{path}: house must be a table: write [house] and its settings below it"),
        ("[car]\nkey = 3", "{path}: car.key is not set here; hide it"),
        ("[house", "{path}: not valid TOML: Expected ']' at the end of a table declaration (at end of document)"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_key_origin_and_fix(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert str(error.value) == says.format(path=tmp_path / "t.toml")


def test_a_section_that_is_too_long_for_a_line_is_not_listed(tmp_path: Path) -> None:
    long = make_class("Long", [f"setting_{number}" for number in range(21)])
    (tmp_path / "t.toml").write_text("[long]\nxyzzy = 1\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"there is no setting long\.xyzzy; docs/settings\.md lists the 21 settings of \[long\]$"
    ):
        from_file(tmp_path / "t.toml", {"long": long}, refused={})


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, f'[house]\nrooms = "{"x" * 1000}"')
    assert len(str(error.value)) < 200 + len(str(tmp_path))


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such file; give the path of a TOML file"):
        from_file(tmp_path / "nowhere.toml", SECTIONS, refused={})
    with pytest.raises(ConfigError, match=r"the file cannot be read \(Is a directory\)"):
        from_file(tmp_path, SECTIONS, refused={})
    (tmp_path / "latin.toml").write_bytes(b'[house]\nstreet = "Stra\xdfe"\n')
    with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 22\); save it as UTF-8"):
        from_file(tmp_path / "latin.toml", SECTIONS, refused={})


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("TRIO_VOICE_HOUSE_ROMS", "there is no such setting; did you mean TRIO_VOICE_HOUSE_ROOMS?"),
        ("TRIO_VOICE_DOORS", "there is no such setting; did you mean TRIO_VOICE_CAR_DOORS?"),
        ("TRIO_VOICE_HUSE_ROOMS", "there is no such setting; did you mean TRIO_VOICE_HOUSE_ROOMS?"),
        ("TRIO_VOICE_CAR_ROOMS", "there is no such setting; did you mean TRIO_VOICE_HOUSE_ROOMS?"),
        ("TRIO_VOICE_CAR_WINDOW", "there is no such setting; they are named TRIO_VOICE_<SECTION>_<KEY>"),
        ("TRIO_VOICE_X", "there is no such setting; they are named TRIO_VOICE_<SECTION>_<KEY>"),
    ],
)
def test_an_unknown_variable_is_not_ignored(variable: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_environment({variable: "1"}, SECTIONS, refused=REFUSED, others=frozenset())
    assert str(error.value) == f"environment variable {variable}: {says}"


def test_a_wrong_value_names_its_variable() -> None:
    values = from_environment({"TRIO_VOICE_HOUSE_SOLD": "maybe"}, SECTIONS, refused=REFUSED, others=frozenset())
    with pytest.raises(ConfigError) as error:
        build("house", House, values)
    assert str(error.value) == "house.sold = 'maybe' (environment variable TRIO_VOICE_HOUSE_SOLD): must be true or false"


def test_what_is_refused_is_refused_everywhere() -> None:
    with pytest.raises(ConfigError, match=r"environment variable TRIO_VOICE_CAR_WHEELS: car\.wheels is not set here; they are"):
        from_environment({"TRIO_VOICE_CAR_WHEELS": "3"}, SECTIONS, refused=REFUSED, others=frozenset())
    with pytest.raises(ConfigError, match=r"--set: car\.wheels is not set here; they are always four"):
        from_assignments(["car.wheels=3"], SECTIONS, refused=REFUSED, flag="--set")


def test_assignments_are_read_as_text() -> None:
    values = from_assignments(["house.rooms=7", "house.street = a=b "], SECTIONS, refused=REFUSED, flag="--set")
    assert build("house", House, values) == House(rooms=7, street="a=b")


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        ("house.rooms", "--set house.rooms: must look like section.key=value, for instance call.watchdog_s=2"),
        ("house.room=1", "--set: there is no setting house.room; did you mean house.rooms?"),
        ("rooms=1", "--set: rooms belongs into a section: write it below [house]"),
    ],
)
def test_a_bad_assignment_says_how_it_must_look(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_assignments([assignment], SECTIONS, refused=REFUSED, flag="--set")
    assert str(error.value) == says


def test_a_validator_with_words_of_its_own_is_quoted() -> None:
    with pytest.raises(ConfigError) as error:
        build("car", Car, {"car.doors": Given(3, "--doors")})
    assert str(error.value) == "car.doors = 3 (--doors): 'doors' must be in (2, 4) (got 3)"
