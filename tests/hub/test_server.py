"""The hub on loopback is one: huggingface_hub's own client works with it as with the real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.hub.conftest import PHI_2
from tests.support.hub_server import LET_IN, HubServer

PROGRAM = """
import json, sys
from pathlib import Path
from huggingface_hub import HfApi, hf_hub_download
repository, gated, token, folder = sys.argv[1:]
api = HfApi()
info = api.model_info(repository, files_metadata=True)
tree = {entry.path: entry.lfs.sha256 for entry in api.list_repo_tree(repository)}
siblings = {entry.rfilename: entry.lfs.sha256 for entry in info.siblings}
def failing(*words, **more):
    try:
        hf_hub_download(*words, cache_dir=folder, **more)
    except Exception as error:
        return [t.__name__ for t in type(error).__mro__]
fetched = hf_hub_download(repository, "phi-2.Q4_K_M.gguf", cache_dir=folder)
print(json.dumps({
    "sha": info.sha,
    "licence": info.card_data.license,
    "same": tree == siblings,
    "fetched": Path(fetched).read_bytes().hex()[:64],
    "size": Path(fetched).stat().st_size,
    "in_snapshot": info.sha in fetched,
    "blob": Path(fetched).resolve().name,
    "missing": failing(repository, "nothing.gguf"),
    "gated": failing(gated, "m.gguf"),
    "stranger": failing(gated, "m.gguf", token="hf_stranger"),
    "let_in": failing(gated, "m.gguf", token=token),
    "unknown": failing("nobody/nothing", "m.gguf"),
}))
"""


def test_the_hubs_own_client_works_with_it(hub: HubServer, tmp_path: Path, small: bytes) -> None:
    hub.add("google/gated", {"m.gguf": small}, gated=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, PHI_2, "google/gated", LET_IN, str(tmp_path)],
        env={
            **os.environ,
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    seen = json.loads(done.stdout)
    repository = hub.repositories[PHI_2]
    assert (seen["sha"], seen["licence"]) == (repository.commit, "mit")
    assert seen["same"]
    assert seen["in_snapshot"]
    assert (seen["size"], seen["fetched"]) == (len(small), small.hex()[:64])
    assert seen["blob"] == repository.sha256("phi-2.Q4_K_M.gguf")
    assert "EntryNotFoundError" in seen["missing"]
    assert "GatedRepoError" in seen["gated"]
    assert "GatedRepoError" in seen["stranger"]
    assert seen["let_in"] is None
    assert "RepositoryNotFoundError" in seen["unknown"]
    assert "GatedRepoError" not in seen["unknown"]
