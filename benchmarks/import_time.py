"""Import time: modelrouter against litellm, each in fresh processes, medians from one run.

    python benchmarks/import_time.py [RUNS]

Prints milliseconds, the number of modules each loads, and the ratio to ``import litellm``.
litellm is kept from the network (LITELLM_LOCAL_MODEL_COST_MAP), which favours it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median

CASES = {
    "import modelrouter": "import modelrouter",
    "from modelrouter import Router": "from modelrouter import Router",
    "Router()": "from modelrouter import Router; Router()",
    "import litellm": "import litellm",
    "import openai": "import openai",
}
PEER = "import litellm"
MEASURE = """
import sys, time
before, started = len(sys.modules), time.perf_counter()
{code}
print((time.perf_counter() - started) * 1e3, len(sys.modules) - before)
"""


def measure(code: str) -> tuple[float, int]:
    """Milliseconds and modules loaded by the code in a process of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")
    }
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(code=code)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    milliseconds, modules = done.stdout.split()[-2:]
    return float(milliseconds), int(modules)


def main() -> None:
    """Measure all cases in turn, so that a busy moment hits them alike."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    seen: dict[str, list[tuple[float, int]]] = {name: [] for name in CASES}
    for code in CASES.values():
        measure(code)  # warms the file cache and the byte code
    for _ in range(runs):
        for name, code in CASES.items():
            seen[name].append(measure(code))
    peer = median(ms for ms, _ in seen[PEER])
    print(f"{'':<32}{'median ms':>10}{'min':>8}{'modules':>9}{'ratio':>9}   ({runs} runs)")
    for name, results in seen.items():
        ms = median(ms for ms, _ in results)
        fastest, modules = min(ms for ms, _ in results), results[-1][1]
        print(f"{name:<32}{ms:>10.1f}{fastest:>8.1f}{modules:>9}{peer / ms:>8.0f}x")


if __name__ == "__main__":
    main()
