"""Every source module has a test module of its own, at the mirrored place: trio_voice/x/y.py has tests/x/test_y.py."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
WITHOUT = {"__init__", "__main__"}


def missing(root: Path) -> list[str]:
    """The test modules that should be there and are not, or that test nothing."""
    found = []
    for source in sorted((root / "trio_voice").rglob("*.py")):
        if source.stem in WITHOUT:
            continue
        test = root / "tests" / source.relative_to(root / "trio_voice").with_name(f"test_{source.stem}.py")
        if not test.exists() or "def test_" not in test.read_text(encoding="utf-8"):
            found.append(str(test.relative_to(root)))
    return found


def test_every_source_module_has_a_test_module_of_its_own() -> None:
    assert missing(ROOT) == []


def test_a_missing_or_an_empty_test_module_is_seen(tmp_path: Path) -> None:
    for name in ("trio_voice/__init__.py", "trio_voice/a.py", "trio_voice/x/y.py", "trio_voice/x/z.py", "tests/x/test_y.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", encoding="utf-8")
    assert missing(tmp_path) == ["tests/test_a.py", "tests/x/test_y.py", "tests/x/test_z.py"]
    (tmp_path / "tests/x/test_y.py").write_text("def test_it() -> None: ...\n", encoding="utf-8")
    assert missing(tmp_path) == ["tests/test_a.py", "tests/x/test_z.py"]
