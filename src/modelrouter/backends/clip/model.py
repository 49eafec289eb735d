"""One CLIP on this machine: its ONNX files run by onnxruntime, its own tokenizer and preprocessing.

Radford et al., "Learning Transferable Visual Models From Natural Language Supervision" (2021).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from modelrouter.backends.clip.reading import Preprocessing, pixels
from modelrouter.catalog.clip import check_clip, clip_graphs, read_json
from modelrouter.exceptions import BadRequestError, MissingDependencyError, ModelFileError

__all__ = ["ClipModel"]

_BATCH: Final = 16
_END: Final = "<|endoftext|>"


class ClipModel:
    """A CLIP loaded from its folder.

    Raises:
        MissingDependencyError: the extra ``clip`` is not installed.
        ModelFileError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import numpy  # noqa: F401 (with the others, so that one message names the extra)
            import onnxruntime
            import PIL  # noqa: F401
            import tokenizers
        except ImportError as exc:
            raise MissingDependencyError(
                f"A local CLIP needs onnxruntime, tokenizers and Pillow: {exc}.",
                hint="pip install 'modelrouter[clip]'",
            ) from exc
        config = check_clip(folder)
        self.window = int((config.get("text_config") or {}).get("max_position_embeddings", 77))
        self._how = Preprocessing(read_json(folder / "preprocessor_config.json"))
        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as exc:  # it raises plain Exception
            raise ModelFileError(f"{folder / 'tokenizer.json'} is damaged: {exc}.") from exc
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._pad = self._tokenizer.token_to_id(_END) or 0
        graphs = clip_graphs(folder)
        self._sessions: dict[Path, Any] = {}
        self._text = self._open(onnxruntime, graphs.get("text") or graphs["both"])
        self._vision = self._open(onnxruntime, graphs.get("vision") or graphs["both"])
        self._both = self._open(onnxruntime, graphs["both"]) if "both" in graphs else None
        self._scale: float | None = None
        self._lock = threading.Lock()

    def _open(self, onnxruntime: Any, path: Path) -> Any:
        if path not in self._sessions:
            try:
                self._sessions[path] = onnxruntime.InferenceSession(
                    str(path), providers=["CPUExecutionProvider"]
                )
            except Exception as exc:  # its errors have no base of their own
                raise ModelFileError(f"{path} cannot be loaded: {exc}.") from exc
        return self._sessions[path]

    def texts(self, texts: Sequence[str], places: Sequence[str], *, truncate: bool) -> Any:
        """Vectors of length one, a row a text, and how many tokens they took.

        Raises:
            BadRequestError: one is beyond the window; ``places`` says which.
        """
        import numpy as np

        rows, tokens = [], 0
        for text, place in zip(texts, places, strict=True):
            ids = self._tokenizer.encode(text).ids
            if len(ids) > self.window and not truncate:
                raise BadRequestError(
                    f"{place} has {len(ids)} tokens, the model reads {self.window}.",
                    hint="Shorten it, or pass truncate=True to have its beginning read.",
                )
            if len(ids) > self.window:
                ids = [*ids[: self.window - 1], ids[-1]]
            rows.append(ids)
            tokens += len(ids)
        found = []
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            found.append(self._run(self._text, "text_embeds", self._padded(part)))
        return _normalised(np.concatenate(found)), tokens

    def _padded(self, rows: Sequence[Sequence[int]]) -> dict[str, Any]:
        import numpy as np

        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self._pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
            mask[at, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def pictures(self, pictures: Sequence[bytes]) -> Any:
        """Vectors of length one, a row a picture.

        Raises:
            OSError, ValueError: Pillow cannot decode one.
        """
        import numpy as np

        found = []
        for start in range(0, len(pictures), _BATCH):
            given = pixels(pictures[start : start + _BATCH], self._how)
            found.append(self._run(self._vision, "image_embeds", {"pixel_values": given}))
        return _normalised(np.concatenate(found))

    def _run(self, session: Any, output: str, given: dict[str, Any]) -> Any:
        """One output; what else a graph of both wants gets the smallest there is."""
        import numpy as np

        wanted = {item.name for item in session.get_inputs()}
        side = self._how.crop
        spare = {
            "input_ids": np.full((1, 2), self._pad, np.int64),
            "attention_mask": np.ones((1, 2), np.int64),
            "pixel_values": np.zeros((1, 3, side, side), np.float32),
        }
        names = [item.name for item in session.get_outputs()]
        given = {name: value for name, value in {**spare, **given}.items() if name in wanted}
        return session.run([output if output in names else names[0]], given)[0]

    def logit_scale(self) -> float | None:
        """What this model multiplies cosines by; ``None`` where its files do not hold it."""
        with self._lock:
            if self._scale is None and self._both is not None:
                self._scale = self._measured(self._both)
        return self._scale

    def _measured(self, both: Any) -> float | None:
        """From one text and one picture: logits by cosine."""
        import numpy as np

        names = [item.name for item in both.get_outputs()]
        wanted = ("logits_per_image", "text_embeds", "image_embeds")
        if not set(wanted) <= set(names):
            return None
        side = self._how.crop
        rng = np.random.default_rng(0)
        given = {
            **self._padded([self._tokenizer.encode("a").ids]),
            "pixel_values": rng.standard_normal((1, 3, side, side)).astype(np.float32),
        }
        inputs = {item.name for item in both.get_inputs()}
        run = both.run(list(wanted), {k: v for k, v in given.items() if k in inputs})
        cosine = float(np.sum(_normalised(run[1]) * _normalised(run[2])))
        return float(run[0].ravel()[0]) / cosine if abs(cosine) > 1e-6 else None


def _normalised(vectors: Any) -> Any:
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-12)
