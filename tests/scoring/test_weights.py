import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter.exceptions import ScorerFileError
from modelrouter.scoring import LearnedScorer
from modelrouter.scoring.weights import MAGIC, dump, load

SHIPPED = LearnedScorer().weights


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "shipped.bin"
    dump(SHIPPED, path)
    return path


def test_what_was_written_is_read(saved: Path) -> None:
    assert load(saved) == SHIPPED


def test_the_same_weights_give_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    dump(load(saved), tmp_path / "again.bin")
    assert (tmp_path / "again.bin").read_bytes() == saved.read_bytes()


def test_the_shipped_weights_are_small_and_say_where_they_come_from(saved: Path) -> None:
    assert saved.stat().st_size < 5_000_000
    assert {"data_sha256", "date", "held_out", "sources"} <= set(SHIPPED.about)
    assert all(row["calibration_error"] < 0.05 for row in SHIPPED.about["held_out"].values())


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScorerFileError, match=r"none\.bin"):
        load(tmp_path / "none.bin")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_text("{}")
    with pytest.raises(ScorerFileError, match="modelrouter fit"):
        load(tmp_path / "x.bin")


def test_another_version_is_named(saved: Path, tmp_path: Path) -> None:
    data = saved.read_bytes()
    length = int.from_bytes(data[8:12], "little")
    header = json.loads(data[12 : 12 + length])
    header["version"] = 99
    head = json.dumps(header).encode()
    changed = MAGIC + len(head).to_bytes(4, "little") + head + data[12 + length :]
    (tmp_path / "new.bin").write_bytes(changed)
    with pytest.raises(ScorerFileError, match="version 99"):
        load(tmp_path / "new.bin")


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_cut_or_altered_file_is_refused(saved: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(saved.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content = content[:place]
    else:
        # Beyond the header, where the checksum watches every bit.
        place = max(place, 12 + int.from_bytes(content[8:12], "little"))
        content[place] ^= data.draw(st.integers(1, 255))
    (tmp_path / "damaged.bin").write_bytes(bytes(content))
    with pytest.raises(ScorerFileError):
        load(tmp_path / "damaged.bin")
