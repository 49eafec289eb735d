"""From nothing to the first token of a local model: modelrouter beside llama_cpp.Llama.

    python benchmarks/first_token.py [RUNS] [FILE.gguf ...]

Each run is a process of its own and takes turns with its peer's; medians of the runs. ``cold`` is
from the program's first line (imports included) to the first text of a streamed answer; ``warm``
another question of that length asked there, of the same Router or Llama. The peer loads the same
file, with as many threads, and reads the same prompt through the file's template. ``first ever`` is
cold, with no mark of an earlier trial: a file that is not part of the package is first loaded in
another process.
The files lie in the system's cache; reading them from the disk comes on top, for both alike.
Default files: the bundled model, and those of benchmarks/_models.py that were made before.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import modelrouter
from _models import cache_dir
from modelrouter.backends.llamacpp import LlamaCppSettings

QUESTION = "Fix the grammar: She go to school every days."

OURS = """
import sys, time
begun = time.perf_counter()
from pathlib import Path
from modelrouter import ModelCard, Router
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
path, cache, threads, question = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
card = ModelCard.local(path, name="measured")
settings = LlamaCppSettings(cache_dir=cache, n_threads=threads)
router = Router([card], backends={"llamacpp": LlamaCppBackend(settings)})
def first(question):
    with router.completion(question, model="measured", max_tokens=8, stream=True) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return time.perf_counter()
    raise SystemExit("no text")
cold = first(question) - begun
again = time.perf_counter()
warm = first(question.swapcase()) - again
print(cold, warm)
"""

PEER = """
import sys, time
begun = time.perf_counter()
from llama_cpp import Llama
path, _, threads, question = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
model = Llama(path, n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
def first(question):
    messages = [{"role": "user", "content": question}]
    for chunk in model.create_chat_completion(messages, max_tokens=8, temperature=0, stream=True):
        if chunk["choices"][0]["delta"].get("content"):
            return time.perf_counter()
    raise SystemExit("no text")
cold = first(question) - begun
again = time.perf_counter()
warm = first(question.swapcase()) - again
print(cold, warm)
"""


def measure(program: str, file: Path, cache: Path) -> tuple[float, float]:
    """Seconds, cold and warm, in a process of its own."""
    threads = LlamaCppSettings().threads_for(file.stat().st_size)
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", program, str(file), str(cache), str(threads), QUESTION],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    cold, warm = done.stdout.split()[-2:]
    return float(cold), float(warm)


def main() -> None:
    """Measure each file with both, in turn."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    bundled = Path(modelrouter.__file__).parent / "assets" / "tiny-editor.gguf"
    made = [bundled, *sorted(cache_dir().glob("*.gguf"), key=lambda p: p.stat().st_size)]
    files = [Path(name) for name in sys.argv[2:]] or made
    print(f"{'milliseconds, medians of ' + str(runs):<34}{'ours':>9}{'Llama':>9}{'ratio':>8}")
    for file in files:
        size = f"{file.name}, {file.stat().st_size / 1e6:,.0f} MB"
        with tempfile.TemporaryDirectory() as folder:
            ever = [measure(OURS, file, Path(folder) / str(i))[0] for i in range(min(runs, 3))]
            cache = Path(folder) / "kept"
            measure(OURS, file, cache)
            pairs = [(measure(OURS, file, cache), measure(PEER, file, cache)) for _ in range(runs)]
        print(f"{size}\n{'  first ever':<34}{median(ever) * 1e3:>9.0f}")
        for place, name in enumerate(("cold", "warm")):
            ours = median(pair[0][place] for pair in pairs) * 1e3
            peer = median(pair[1][place] for pair in pairs) * 1e3
            print(f"{'  ' + name:<34}{ours:>9.1f}{peer:>9.1f}{peer / ours:>7.2f}x")


if __name__ == "__main__":
    main()
