"""Files that are not models, or broken ones: a typed error each, and never the process's end."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.trial import try_out
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.gguf import read_header
from modelrouter.exceptions import LocalModelError, ModelFileError
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import make_chain_gguf, make_tiny_gguf

PROGRAM = """
import sys
from pathlib import Path
from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import BackendError

backend = LlamaCppBackend(LlamaCppSettings(cache_dir=Path(sys.argv[1])))
for path in sys.argv[2:]:
    card = ModelCard(name="m", families={"slm"}, location="local", backend="llamacpp",
                     context_window=128, path=path)
    request = Request(card, [{"role": "user", "content": "Hi  there"}],
                      GenerationSettings(max_tokens=3))
    outcomes = []
    for _ in range(2):
        try:
            outcomes.append("answered " + str(backend.complete(request).usage.total_tokens > 0))
        except BackendError as error:
            outcomes.append(f"{type(error).__name__} {error}")
    assert outcomes[0] == outcomes[1], outcomes
    print(Path(path).name, outcomes[0].replace("\\n", " "))
backend.close()
print("alive")
"""


def outcomes(trials: Path, paths: list[Path]) -> dict[str, str]:
    """File name to what came of asking it twice, all in one process, which must live on."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", PROGRAM, str(trials), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    *lines, last = done.stdout.splitlines()
    assert last == "alive"
    return dict(line.split(" ", 1) for line in lines)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return make_tiny_gguf(tmp_path_factory.mktemp("good") / "good.gguf")


def test_what_is_no_model_file_is_a_model_file_error(good, tmp_path, trials):
    data = good.read_bytes()
    noise = random.Random(5).randbytes
    contents = {
        "empty.gguf": b"",
        "three.gguf": b"GGU",
        "magic.gguf": b"GGUF",
        "noise.gguf": noise(5_000),
        "magic_noise.gguf": b"GGUF" + noise(5_000),
        "version_noise.gguf": data[:8] + noise(5_000),
        "wrong_magic.gguf": b"GGML" + data[4:],
        "big_endian.gguf": data[:4] + data[4:8][::-1] + data[8:],
        "version_1.gguf": data[:4] + (1).to_bytes(4, "little") + data[8:],
        "version_99.gguf": data[:4] + (99).to_bytes(4, "little") + data[8:],
        "text.gguf": b"<html>404 Not Found</html>" * 100,
        "no_tensors.gguf": data[:8] + bytes(8) + data[16:],
        "all_zero.gguf": bytes(4_096),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "folder.gguf").mkdir()
    paths = [*sorted(tmp_path.iterdir()), tmp_path / "missing.gguf"]
    got = outcomes(trials, paths)
    assert len(got) == len(contents) + 2
    for name, outcome in got.items():
        assert outcome.startswith("ModelFileError"), (name, outcome)
        assert name in outcome


def test_a_file_cut_anywhere_is_a_model_file_error(good, tmp_path, trials):
    data = good.read_bytes()
    start = read_header(good).data_start
    cuts = [*range(24, start, start // 60), *range(start, len(data), len(data) // 12)]
    cuts += [start - 1, start, start + 1, len(data) - 1]
    paths = []
    for at in sorted(set(cuts)):
        paths.append(tmp_path / f"cut{at}.gguf")
        paths[-1].write_bytes(data[:at])
    got = outcomes(trials, paths)
    assert len(got) == len(set(cuts)) > 70
    assert [o for o in got.values() if not o.startswith("ModelFileError")] == []


def test_counts_and_lengths_that_lie_are_model_file_errors(good, tmp_path, trials):
    data = good.read_bytes()
    paths = []
    for at in (8, 16, 24):  # number of tensors, of metadata entries, length of the first key
        for bit in (0, 1, 7, 16, 31, 40, 63):
            lie = bytearray(data)
            lie[at + bit // 8] ^= 1 << bit % 8
            paths.append(tmp_path / f"at{at}_bit{bit}.gguf")
            paths[-1].write_bytes(lie)
    got = outcomes(trials, paths)
    assert [o for o in got.values() if not o.startswith("ModelFileError")] == []


def test_what_llama_cpp_refuses_or_dies_of_is_a_model_file_error(good, tmp_path, trials):
    def text(value: str) -> bytes:
        return len(value).to_bytes(8, "little") + value.encode()

    data = good.read_bytes()
    # Two tokens of the same text: llama.cpp aborts (llama-vocab.cpp).
    (tmp_path / "twice.gguf").write_bytes(data.replace(text("and"), text("the"), 1))
    (tmp_path / "no_norm.gguf").write_bytes(data.replace(b"output_norm", b"output_morn"))
    for name, entry in {
        "architecture": {"general.architecture": "wibble"},
        "vocabulary": {"tokenizer.ggml.model": "none"},
        "types": {"tokenizer.ggml.token_type": "none"},
        "layers": {"llama.block_count": 600},
        "heads": {"llama.attention.head_count": 7},
        "double_space": {"tokenizer.ggml.pre": "whitespace"},  # aborts on "a  b", for this model
    }.items():
        make_tiny_gguf(tmp_path / f"{name}.gguf", metadata=entry)
    got = outcomes(trials, sorted(tmp_path.iterdir()))
    assert len(got) == 8
    for name, outcome in got.items():
        assert outcome.startswith("ModelFileError"), (name, outcome)
    assert "wibble" in got["architecture.gguf"]
    assert "ends llama.cpp" in got["double_space.gguf"]  # nothing in its header is wrong
    assert "/llama" not in str(got)  # no path of the machine that compiled llama.cpp


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no signals")
def test_the_error_says_how_llama_cpp_died(good, tmp_path):
    """Two tokens of the same text end the process (an assertion in llama-vocab.cpp)."""
    one, other = ((3).to_bytes(8, "little") + word for word in (b"and", b"the"))
    path = tmp_path / "twice.gguf"
    path.write_bytes(good.read_bytes().replace(one, other, 1))
    with pytest.raises(ModelFileError, match=r"ends llama\.cpp \(SIGABRT\).*ASSERT"):
        try_out(path, 1, tmp_path / "cache", lambda: True)


def test_random_damage_never_ends_the_process(good, tmp_path, trials):
    data = good.read_bytes()
    header = read_header(good).data_start
    draw = random.Random(11)
    paths = []
    for i in range(20):
        damaged = bytearray(data)
        for _ in range(draw.choice((1, 1, 3))):
            at = draw.randrange(24, header)
            damaged[at] = draw.choice((damaged[at] ^ 1 << draw.randrange(8), draw.randrange(256)))
        paths.append(tmp_path / f"{i}.gguf")
        paths[-1].write_bytes(damaged)
    got = outcomes(trials, paths)
    kinds = Counter(outcome.split()[0] for outcome in got.values())
    assert kinds["ModelFileError"] > 5
    # Some damage is a letter of a token that nobody meets, or breaks the template.
    assert set(kinds) <= {"ModelFileError", "LocalModelError", "BadRequestError", "answered"}


def test_weights_that_are_no_numbers_are_an_error_not_text(tmp_path, trials):
    path = make_chain_gguf(tmp_path / "nan.gguf", {})
    header = read_header(path)
    data = bytearray(path.read_bytes())
    data[header.data_start :] = np.full(
        (len(data) - header.data_start) // 4, np.nan, np.float32
    ).tobytes()
    path.write_bytes(data)
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    with closing(backend), pytest.raises(LocalModelError, match="nan"):
        backend.complete(ask(ModelCard.local(path), "?"))


def test_a_path_that_no_file_can_have_is_a_model_file_error(shared_backend, models):
    card = models.tiny.model_copy(update={"path": Path("a\0b.gguf")})
    with pytest.raises(ModelFileError):
        shared_backend.complete(ask(card, "?"))


def test_a_file_that_is_mended_loads_at_the_next_request(tmp_path, trials):
    path = tmp_path / "late.gguf"
    card = ModelCard(name="late", families={"slm"}, location="local", backend="llamacpp",
                     context_window=128, path=path)  # fmt: skip
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        backend.warm(card)  # tells nobody
        with pytest.raises(ModelFileError, match="does not exist"):
            backend.complete(ask(card, "?"))
        make_tiny_gguf(path)
        assert backend.complete(ask(card, "?", max_tokens=2)).usage.completion_tokens > 0


def test_a_name_in_any_script_is_found(tmp_path, trials):
    folder = tmp_path / "modèles 模型"
    folder.mkdir()
    card = ModelCard.local(make_tiny_gguf(folder / "té st.gguf"))
    with closing(LlamaCppBackend(LlamaCppSettings(cache_dir=trials))) as backend:
        assert backend.complete(ask(card, "?", max_tokens=2)).usage.total_tokens


def test_a_file_is_tried_out_once_for_each_version_of_it(good, tmp_path):
    cache = tmp_path / "cache"
    path = tmp_path / "model.gguf"
    path.write_bytes(good.read_bytes())
    try_out(path, 1, cache, lambda: True)
    (mark,) = cache.iterdir()
    try_out(path, 1, cache, lambda: False)  # remembered: nothing is begun that could be broken off
    path.write_bytes(good.read_bytes()[:-1])
    with pytest.raises(ModelFileError):
        try_out(path, 1, cache, lambda: True)
    assert [*cache.iterdir()] == [mark]


def test_a_trial_can_be_broken_off(good, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(good.read_bytes())
    started = time.perf_counter()
    with pytest.raises(LocalModelError, match="broken off"):
        try_out(path, 1, tmp_path / "cache", lambda: False)
    assert time.perf_counter() - started < 2
    try_out(path, 1, tmp_path / "cache", lambda: True)


def test_a_cache_that_cannot_be_written_is_no_error(good, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(good.read_bytes())
    (tmp_path / "cache").write_text("a file where the folder belongs")
    try_out(path, 1, tmp_path / "cache", lambda: True)


def test_the_packages_own_file_is_not_tried(tmp_path):
    from importlib import resources

    own = Path(str(resources.files("modelrouter"))) / "assets" / "no-such.gguf"
    try_out(own, 1, tmp_path, lambda: False)
    assert [*tmp_path.iterdir()] == []


def test_a_closed_backend_does_not_wait_for_a_trial(good, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(good.read_bytes())
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=tmp_path / "cache"))
    backend.warm(ModelCard.local(path))
    time.sleep(0.05)
    started = time.perf_counter()
    backend.close()
    assert time.perf_counter() - started < 2


def test_a_request_without_user_turn_reaches_the_template(shared_backend, models):
    reply = shared_backend.complete(Request(models.chain, [{"role": "system", "content": "w"}]))
    assert reply.text == "xyz"
