"""Reading GGUF headers: agrees with the gguf package on sound files, refuses every other."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import gguf as peer
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelrouter.catalog.gguf import GGUFArray, GGUFHeader, check, read_header
from modelrouter.exceptions import ModelFileError
from tests.catalog.conftest import Put
from tests.catalog.gguf_file import (
    ARRAY,
    F32,
    STRING,
    U8,
    U32,
    U64,
    Entry,
    GGUFFile,
    TensorEntry,
    text,
    tiny_llama,
)

LLAMA = tiny_llama()


def refusal(path: Path) -> str:
    """The message of the error with which a file is refused."""
    with pytest.raises(ModelFileError) as caught:
        check(path)
    message = str(caught.value)
    assert str(path) in message
    assert caught.value.hint
    assert message.endswith(caught.value.hint)
    return message


def with_tensor(index: int, **fields: object) -> GGUFFile:
    tensors = list(LLAMA.tensors)
    tensors[index] = replace(tensors[index], **fields)  # type: ignore[arg-type] # any field
    return replace(LLAMA, tensors=tuple(tensors))


class TestASoundFile:
    def test_is_read_as_the_gguf_package_reads_it(self, put: Put) -> None:
        path = put()
        ours, theirs = read_header(path), peer.GGUFReader(path)
        for tensor, other in zip(ours.tensors, theirs.tensors, strict=True):
            assert tensor.name == other.name
            assert list(tensor.dimensions) == [int(d) for d in other.shape]
            assert ours.data_start + tensor.offset == other.data_offset
        scalars = {k: v for k, v in ours.metadata.items() if not isinstance(v, GGUFArray)}
        assert scalars == {
            k: pytest.approx(v) if isinstance(v := theirs.fields[k].contents(), float) else v
            for k in scalars
        }
        arrays = {k: v.length for k, v in ours.metadata.items() if isinstance(v, GGUFArray)}
        assert arrays == {k: len(theirs.fields[k].contents()) for k in arrays}
        assert arrays["tokenizer.ggml.tokens"] == 29

    def test_passes_the_check(self, put: Put) -> None:
        header = check(put())
        assert header.architecture == "llama"
        assert header.whole_number("context_length") == 256
        assert header.parameters == sum(int(t.n_elements) for t in peer.GGUFReader(put()).tensors)

    def test_of_version_2_is_read(self, put: Put) -> None:
        assert check(put(replace(LLAMA, version=2))).version == 2

    def test_the_bundled_model_passes_the_check(self, bundled_model: Path) -> None:
        assert check(bundled_model).architecture == "llama"

    def test_with_a_tensor_type_of_the_future_is_left_to_llama_cpp(self, put: Put) -> None:
        assert check(put(with_tensor(0, type=4_000))).tensors[0].type == 4_000

    def test_with_tokens_that_only_look_alike_passes(self, put: Put) -> None:
        tokens = ["", "", "a", "A", "Ġa", "ab\0c"]
        check(put(LLAMA.with_entry("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))))

    def test_without_attention_passes(self, put: Put) -> None:
        # As models of the Mamba and RWKV kind state it.
        check(put(LLAMA.with_entry("llama.attention.head_count", U32, 0)))

    def test_that_is_the_first_of_several_parts_passes(self, put: Put) -> None:
        part = LLAMA.with_entry("split.no", U32, 0).with_entry("split.count", U32, 3)
        assert check(put(replace(part, tensors=part.tensors[:1]))).tensors

    def test_is_read_again_once_it_has_changed(self, put: Put) -> None:
        path = put()
        check(path)
        put(b"GGUF" + bytes(100))
        refusal(path)
        put(tiny_llama(context=128))
        assert check(path).whole_number("context_length") == 128

    def test_block_sizes_are_those_of_ggml(self, put: Put) -> None:
        # Q8_1 is never stored; the package and ggml disagree about it.
        for type_, (elements, size) in peer.GGML_QUANT_SIZES.items():
            if type_ is peer.GGMLQuantizationType.Q8_1:
                continue
            only = replace(LLAMA, tensors=(TensorEntry("x", (elements,), int(type_)),))
            head = only.header()
            head += bytes(-len(head) % 32)
            check(put(head + bytes(size), f"{type_.name}.gguf"))
            assert "truncated" in refusal(put(head + bytes(size - 1), f"{type_.name}-.gguf"))


class TestAMissingOrForeignFile:
    def test_that_does_not_exist(self, tmp_path: Path) -> None:
        assert "does not exist. Check the path." in refusal(tmp_path / "nothing.gguf")

    def test_that_is_a_directory(self, tmp_path: Path) -> None:
        assert "is not a file" in refusal(tmp_path)

    def test_that_is_no_path(self) -> None:
        assert "is not a path" in refusal(Path("a\0b.gguf"))

    @pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
    def test_that_is_a_device(self) -> None:
        assert "is not a file" in refusal(Path("/dev/zero"))

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
    def test_that_may_not_be_read(self, put: Put) -> None:
        path = put()
        path.chmod(0)
        assert "Permission denied" in refusal(path)

    @pytest.mark.parametrize("size", [0, 1, 4, 23])
    def test_that_is_too_short(self, put: Put, size: int) -> None:
        assert f"only {size} bytes" in refusal(put(LLAMA.write()[:size]))

    @pytest.mark.parametrize(
        "content",
        [
            b"<!DOCTYPE html><html><body>Not found</body></html>",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            b"PK\x03\x04" + bytes(60),
            b"FUGG" + LLAMA.write()[4:],
        ],
    )
    def test_that_is_something_else_says_how_it_begins(self, put: Put, content: bytes) -> None:
        message = refusal(put(content))
        assert f"is not a GGUF file: it starts with {content[:4]!r}" in message
        assert "Download or convert it again." in message

    @pytest.mark.parametrize("version", [0, 1, 4, 3 << 24])
    def test_of_a_version_that_is_not_read(self, put: Put, version: int) -> None:
        assert f"has GGUF version {version};" in refusal(put(replace(LLAMA, version=version)))


class TestADamagedFile:
    def test_cut_anywhere_is_refused(self, put: Put) -> None:
        whole = LLAMA.write()
        header = len(LLAMA.header())
        for end in [*range(0, header, 3), header, header + 1, len(whole) // 2, len(whole) - 32]:
            refusal(put(whole[:end]))

    def test_cut_in_its_data_says_where(self, put: Put) -> None:
        whole = LLAMA.write()
        message = refusal(put(whole[:-33]))
        assert re.search(r"is truncated: tensor '.*' ends at byte [\d,]+, the file at ", message)
        assert "Download or convert it again." in message

    def test_cut_inside_a_list_of_texts_at_its_end(self, put: Put) -> None:
        # The last thing in the header, and the file ends exactly between two of its texts.
        file = GGUFFile(entries=(Entry("x", ARRAY, (STRING, ["ab", "cd"])),))
        with pytest.raises(ModelFileError, match="truncated"):
            read_header(put(file.header()[: -len(text("cd"))]))

    @pytest.mark.parametrize(
        ("file", "problem"),
        [
            (replace(LLAMA, tensor_count=1 << 40), "claims 1099511627776 tensors"),
            (replace(LLAMA, entry_count=(1 << 64) - 1), "metadata entries"),
            (replace(LLAMA, entry_count=19), "is truncated|of unknown type|dimensions"),
            (LLAMA.with_entry("x", STRING, struct.pack("<Q", 1 << 62)), "is truncated"),
            (LLAMA.with_entry("x", ARRAY, struct.pack("<IQ", U8, 1 << 62)), "is truncated"),
            (LLAMA.with_entry("x", ARRAY, struct.pack("<IQ", U64, 1 << 62)), "is truncated"),
            (LLAMA.with_entry("x", ARRAY, struct.pack("<IQ", STRING, 1 << 40)), "claims an array"),
            (LLAMA.with_entry("x", ARRAY, struct.pack("<IQ", ARRAY, 1 << 40)), "claims an array"),
            (LLAMA.with_entry("x", ARRAY, struct.pack("<IQ", 77, 1)), "of unknown type 77"),
            (LLAMA.with_entry("x", 13, b""), "metadata 'x' of unknown type 13"),
            (replace(LLAMA, entries=(*LLAMA.entries, LLAMA.entries[0])), "metadata key .* twice"),
            (replace(LLAMA, tensors=LLAMA.tensors[:1] * 2), "two tensors of the same name"),
            (replace(LLAMA, tensors=()), "holds no tensors"),
            (LLAMA.without_entry("general.architecture"), "names no general.architecture"),
            (LLAMA.with_entry("general.architecture", U32, 7), "names no general.architecture"),
            (LLAMA.with_entry("general.alignment", U32, 0), "has alignment 0"),
            (LLAMA.with_entry("general.alignment", U32, 33), "has alignment 33"),
            (LLAMA.with_entry("general.alignment", STRING, "32"), "has alignment '32'"),
            (LLAMA.with_entry("general.alignment", ARRAY, (U8, [0] * 32)), "has alignment"),
            (with_tensor(0, dimensions=(1,) * 5), "with 5 dimensions"),
            (with_tensor(0, dimensions=(32, 0)), r"with dimensions \(32, 0\)"),
            (with_tensor(0, dimensions=(32, 1 << 40)), "is truncated: tensor"),
            (with_tensor(0, offset=1 << 40), "is truncated: tensor"),
            (with_tensor(0, offset=1), "not a multiple of 32"),
            (with_tensor(0, type=4), "of type 4, which llama.cpp no longer reads"),
            (with_tensor(0, dimensions=(33, 29), type=8), "does not fill its blocks"),
        ],
    )
    def test_says_what_is_wrong(self, put: Put, file: GGUFFile, problem: str) -> None:
        # Tensors of absurd dimensions have no data to write.
        absurd = any(d > 1 << 20 for t in file.tensors for d in t.dimensions)
        path = put(file.header() + bytes(4096) if absurd else file)
        assert re.search(problem, refusal(path))

    @pytest.mark.parametrize("kind", ["adapter", "mmproj", "imatrix"])
    def test_that_holds_no_whole_model(self, put: Put, kind: str) -> None:
        message = refusal(put(LLAMA.with_entry("general.type", STRING, kind)))
        assert "Name the model's own file." in message

    def test_that_is_the_image_part_of_a_model(self, put: Put) -> None:
        file = LLAMA.with_entry("general.architecture", STRING, "clip")
        assert "the image part of a model" in refusal(put(file))

    def test_that_is_a_later_part(self, put: Put) -> None:
        file = LLAMA.with_entry("split.no", U32, 1).with_entry("split.count", U32, 3)
        assert "is part 2 of 3. Name the first part." in refusal(put(file))


# On each of these llama.cpp 0.3.36 of the Python bindings ends the process.
FATAL = {
    "blocks": LLAMA.with_entry("llama.block_count", U32, 4096),
    "no blocks": LLAMA.with_entry("llama.block_count", U32, 0),
    "alignment": LLAMA.with_entry("general.alignment", U32, 2),
    "experts": LLAMA.with_entry("llama.expert_count", U32, 1 << 20),
    "experts unused": LLAMA.with_entry("llama.expert_count", U32, 8),
    "experts used": LLAMA.with_entry("llama.expert_used_count", U32, 3),
    "epsilon": LLAMA.with_entry("llama.attention.layer_norm_rms_epsilon", F32, -1.0),
    "rope scaling": LLAMA.with_entry("llama.rope.scaling.type", STRING, "x"),
    "tokens twice": LLAMA.with_entry("tokenizer.ggml.tokens", ARRAY, (STRING, ["x"] * 29)),
    "no vocabulary": LLAMA.with_entry("tokenizer.ggml.model", STRING, "none"),
    "whole-number weights": with_tensor(0, type=26),
}


@pytest.mark.parametrize("name", FATAL)
def test_what_would_end_the_process_is_refused(put: Put, name: str) -> None:
    refusal(put(FATAL[name]))


LOAD = """
import json, os, sys
from pathlib import Path
import llama_cpp
from modelrouter.catalog.gguf import check
from modelrouter.exceptions import ModelFileError
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
outcomes = {"refused": 0, "loaded": 0, "reported": 0}
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    try:
        check(path)
    except ModelFileError:
        outcomes["refused"] += 1
        continue
    try:
        model = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, verbose=False)
        next(model.generate(model.tokenize(b"abc", add_bos=False), temp=0))
        model.close()
        outcomes["loaded"] += 1
    except Exception:
        outcomes["reported"] += 1
print(json.dumps(outcomes))
"""


def test_what_passes_the_check_does_not_end_llama_cpp(tmp_path: Path) -> None:
    """Every number in the metadata at its edges, in a process of its own."""
    edges = (0, 1, 3, 255, 1 << 16, (1 << 31) - 1, (1 << 32) - 1)
    for entry in LLAMA.entries:
        for edge in edges if entry.type == U32 else ():
            file = LLAMA.with_entry(entry.key, U32, edge)
            (tmp_path / f"{entry.key}={edge}").write_bytes(file.write())
        if entry.type != U32:
            (tmp_path / f"{entry.key} absent").write_bytes(LLAMA.without_entry(entry.key).write())
    for i, tensor in enumerate(LLAMA.tensors):
        for type_ in (1, 2, 8, 26, 30):
            (tmp_path / f"{tensor.name} of type {type_}").write_bytes(
                with_tensor(i, type=type_).write()
            )
    (tmp_path / "whole").write_bytes(LLAMA.write())
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    *_, last = done.stdout.splitlines()
    assert done.returncode == 0, f"llama.cpp ended with {done.returncode} on {last}"
    outcomes = json.loads(last)
    assert outcomes["loaded"] >= 10
    assert outcomes["refused"] >= 10


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that the property tests overwrite."""
    return tmp_path_factory.mktemp("gguf") / "scratch.gguf"


def header_or_refusal(path: Path, content: bytes) -> GGUFHeader | None:
    path.write_bytes(content)
    try:
        return read_header(path)
    except ModelFileError:
        return None


quickly = settings(
    max_examples=300, deadline=1000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(content=st.binary(max_size=400))
@quickly
def test_any_bytes_are_read_or_refused(scratch: Path, content: bytes) -> None:
    header_or_refusal(scratch, content)


@given(body=st.binary(max_size=400), counts=st.tuples(*[st.integers(0, 40)] * 2))
@quickly
def test_any_bytes_behind_the_magic_are_read_or_refused(
    scratch: Path, body: bytes, counts: tuple[int, int]
) -> None:
    header_or_refusal(scratch, b"GGUF" + struct.pack("<IQQ", 3, *counts) + body)


WHOLE = tiny_llama().write()


@given(data=st.data())
@quickly
def test_a_file_with_some_bytes_changed_is_read_or_refused(
    scratch: Path, data: st.DataObject
) -> None:
    spoilt = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 8))):
        place = data.draw(st.integers(0, len(LLAMA.header()) - 1))
        spoilt[place] = data.draw(st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255))
    end = data.draw(st.integers(0, len(spoilt)) | st.just(len(spoilt)))
    scratch.write_bytes(spoilt[:end])
    try:
        header = check(scratch)
    except ModelFileError:
        return
    assert header.file_size == end
    assert header.architecture


class TestItsCost:
    def test_of_absurd_claims_in_a_file_of_gigabytes_is_small(self, tmp_path: Path) -> None:
        size = 6 << 30
        claims = {
            "text": struct.pack("<Q", 5 << 30),
            "numbers": struct.pack("<IQ", U64, 1 << 29),
            "texts": struct.pack("<IQ", STRING, 1 << 29),
            "many texts": struct.pack("<IQ", STRING, 1 << 22),
        }
        for name, claim in claims.items():
            type_ = STRING if name == "text" else ARRAY
            path = tmp_path / name
            path.write_bytes(LLAMA.with_entry("x", type_, claim).header())
            os.truncate(path, size)  # sparse: no disk is used
            tracemalloc.start()
            started = time.perf_counter()
            with pytest.raises(ModelFileError):
                check(path)
            seconds = time.perf_counter() - started
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            path.unlink()
            assert peak < 4 << 20, f"{name}: {peak:,} bytes"
            assert seconds < 20, f"{name}: {seconds:.1f} s"

    def test_of_a_vocabulary_of_150_000_tokens_is_under_100_ms(self, put: Put) -> None:
        tokens = [f"token{i}" for i in range(150_000)]
        file = LLAMA.with_entry("tokenizer.ggml.tokens", ARRAY, (STRING, tokens))
        path = put(file)

        def seconds() -> float:
            started = time.process_time()
            assert read_header(path).repeated_tokens == 0
            return time.process_time() - started

        # Processor time, the best of several: what it costs, not what else this machine did.
        assert min(seconds() for _ in range(7)) < 0.1
