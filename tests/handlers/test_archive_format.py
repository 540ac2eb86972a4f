"""The archive's byte form: reproducible, and no byte of it is free."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from handlers.archive_format import ArchiveError, read_entry, verify_archive, write_archive

CONTENT = {
    "MAR-INF/MANIFEST.json": b'{"model": {}}\n',
    "golden/00.png": bytes(range(256)) * 3,
    "weights.safetensors": b"\x00weights\xff" * 500,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in CONTENT.items():
        (tmp_path / "content" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "content" / name).write_bytes(content)
    return tmp_path / "content"


@pytest.fixture
def mar(folder: Path, tmp_path: Path) -> Path:
    write_archive(folder, tmp_path / "a.mar")
    return tmp_path / "a.mar"


def test_what_was_packed_is_there_and_verifies(mar: Path) -> None:
    digests = verify_archive(mar)
    assert set(digests) == {*CONTENT, "SHA256SUMS"}
    assert all(read_entry(mar, name) == content for name, content in CONTENT.items())


def test_other_times_and_modes_give_the_same_bytes(folder: Path, mar: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for path in copy.rglob("*.*"):
        path.touch()
        path.chmod(0o700)
    write_archive(copy, tmp_path / "b.mar")
    assert (tmp_path / "b.mar").read_bytes() == mar.read_bytes()


def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """Each bit of a small archive: the zip's own records are where flips hide."""
    (tmp_path / "content").mkdir()
    (tmp_path / "content" / "a.txt").write_bytes(b"some content")
    write_archive(tmp_path / "content", tmp_path / "a.mar")
    content = (tmp_path / "a.mar").read_bytes()
    flipped = tmp_path / "flipped.mar"
    for position in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[position] ^= 1 << bit
            flipped.write_bytes(changed)
            with pytest.raises(ArchiveError):
                verify_archive(flipped)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_is_found(data: st.DataObject, mar: Path, tmp_path: Path) -> None:
    content = bytearray(mar.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    flipped = tmp_path / "flipped.mar"
    flipped.write_bytes(content)
    with pytest.raises(ArchiveError):
        verify_archive(flipped)


def test_a_compressed_entry_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.mar", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("SHA256SUMS", "")
        archive.writestr("weights.safetensors", bytes(50_000_000))
    with pytest.raises(ArchiveError, match=r"SHA256SUMS: is compressed") as caught:
        verify_archive(tmp_path / "bomb.mar")
    assert caught.value.entry == "SHA256SUMS"


@pytest.mark.parametrize("name", [*CONTENT, "SHA256SUMS"])
def test_a_flipped_byte_of_an_entry_names_the_entry(mar: Path, tmp_path: Path, name: str) -> None:
    content = bytearray(mar.read_bytes())
    with zipfile.ZipFile(mar) as archive:
        position = content.index(archive.read(name), archive.getinfo(name).header_offset) + 5
    content[position] ^= 1
    flipped = tmp_path / "flipped.mar"
    flipped.write_bytes(content)
    with pytest.raises(ArchiveError) as caught:
        verify_archive(flipped)
    assert caught.value.entry == name


@pytest.mark.parametrize("kept", [0, 1, 100, -1, -30])
def test_a_truncated_file_is_refused(mar: Path, tmp_path: Path, kept: int) -> None:
    cut = tmp_path / "cut.mar"
    cut.write_bytes(mar.read_bytes()[:kept])
    with pytest.raises(ArchiveError):
        verify_archive(cut)


def test_bytes_behind_the_end_are_refused(mar: Path) -> None:
    with mar.open("ab") as file:
        file.write(b"\0" * 10)
    with pytest.raises(ArchiveError):
        verify_archive(mar)


@pytest.mark.parametrize("name", ["../escape.py", "/etc/escape", "a/../../escape", "a\\..\\b"])
def test_an_entry_that_climbs_out_is_refused_by_name(mar: Path, name: str) -> None:
    with zipfile.ZipFile(mar, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ArchiveError, match="climbs out") as caught:
        verify_archive(mar)
    assert caught.value.entry == name


def test_an_entry_that_is_not_listed_is_refused_by_name(mar: Path) -> None:
    with zipfile.ZipFile(mar, "a") as archive:
        archive.writestr("sitecustomize.py", b"print('hello')")
    with pytest.raises(ArchiveError, match="not listed") as caught:
        verify_archive(mar)
    assert caught.value.entry == "sitecustomize.py"


def test_an_archive_without_checksums_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "plain.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", b"{}")
    with pytest.raises(ArchiveError, match="SHA256SUMS: missing"):
        verify_archive(tmp_path / "plain.mar")


def test_a_full_disk_leaves_the_old_archive(
    folder: Path, mar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mar.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("handlers.archive_format.shutil.copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        write_archive(folder, mar)
    assert mar.read_bytes() == before
    assert sorted(path.name for path in mar.parent.iterdir()) == ["a.mar", "content"]
