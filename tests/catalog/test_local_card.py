"""A card for any GGUF file, filled from what the file says of itself."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from modelrouter.catalog import ModelCard, quantization
from modelrouter.catalog.gguf import GGUFHeader, Tensor
from modelrouter.catalog.quantization import stored_as
from tests.support.gguf_factory import make_tiny_gguf, quantize
from tests.support.gguf_families import FAMILIES, make_family_gguf


def test_the_file_tells_size_window_storage_and_licence(tmp_path: Path) -> None:
    path = make_tiny_gguf(
        tmp_path / "Some-Model.v1.gguf",
        context_length=300,
        metadata={"general.license": "apache-2.0"},
    )
    card = ModelCard.local(path)
    peer = gguf.GGUFReader(path)
    assert card.name == "Some-Model.v1"
    assert card.parameters == sum(int(tensor.n_elements) for tensor in peer.tensors)
    assert (card.context_window, card.quantization) == (300, "F32")
    assert (card.licence, card.location, card.path) == ("apache-2.0", "local", path)
    assert card.price is not None
    assert card.price.cost_usd(1_000, 1_000) == 0


def test_a_quantized_file_says_how(tmp_path: Path) -> None:
    path = quantize(make_tiny_gguf(tmp_path / "m.gguf"), tmp_path / "q.gguf")
    assert ModelCard.local(path).quantization == "Q8_0"


def test_a_long_trained_window_is_not_taken_whole_unless_asked(tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "m.gguf", context_length=100_000)
    assert ModelCard.local(path).context_window == 8_192
    assert ModelCard.local(path, context_window=32_768).context_window == 32_768


def test_a_licence_with_a_name_is_called_by_it(tmp_path: Path) -> None:
    entries = {"general.license": "other", "general.license.name": "gemma"}
    path = make_tiny_gguf(tmp_path / "m.gguf", metadata=entries)
    assert ModelCard.local(path).licence == "gemma"
    assert ModelCard.local(make_tiny_gguf(tmp_path / "n.gguf")).licence is None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_architecture_tells_the_same(family: str, tmp_path: Path) -> None:
    path = make_family_gguf(tmp_path / "unknown.gguf", family, context_length=400)
    card = ModelCard.local(path)
    assert (card.name, card.context_window, card.quantization) == ("unknown", 400, "F32")
    assert card.parameters


def header(types: list[int], **metadata: object) -> GGUFHeader:
    tensors = tuple(Tensor(f"t{i}", (32, i + 1), type, 0) for i, type in enumerate(types))
    return GGUFHeader(3, metadata, tensors, 0, 0)


def test_without_a_word_the_largest_part_tells() -> None:
    assert stored_as(header([0, 12, 14])) == "Q6_K"
    assert stored_as(header([0, 12, 12])) == "Q4_K"
    assert stored_as(header([99])) is None
    assert stored_as(header([])) is None


def test_the_numbers_are_ggmls() -> None:
    for number, name in quantization._TENSOR_TYPES.items():
        assert gguf.GGMLQuantizationType(number).name == name
    for number, name in quantization._FILE_TYPES.items():
        known = gguf.LlamaFileType(number).name
        assert known.removeprefix("MOSTLY_").removeprefix("ALL_") == name
