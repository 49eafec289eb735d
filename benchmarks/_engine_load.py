"""What a local engine bears besides steady callers: shared prefixes, a rough crowd, a soak.

Each part returns its figures; benchmarks/local_engine.py prints them.
"""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from statistics import median

from _engine_peers import LowLevel, Ours, Peer, Setup

WORDS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line"
).split()


def prompt(seed: int, chars: int) -> str:
    """Words, another run of them for each seed."""
    draw = random.Random(seed)
    words: list[str] = []
    while sum(map(len, words)) + len(words) < chars:
        words.append(draw.choice(WORDS))
    return " ".join(words)[:chars]


def resident_bytes() -> int:
    """Resident memory of this process."""
    import psutil

    gc.collect()
    size: int = psutil.Process().memory_info().rss
    return size


# A shared prefix


def prefix_of(tokens: int, seed: int, tokens_of: Callable[[str], Sequence[int]]) -> str:
    """A text of about so many tokens, at least."""
    text = prompt(seed, tokens)
    while (found := len(tokens_of(text))) < tokens:
        text = prompt(seed, len(text) + max(1, tokens - found))
    return text


@dataclass(frozen=True)
class FirstTokens:
    """Seconds to the first token: medians of the first request with a prefix, and of later ones."""

    first_s: float
    later_s: float

    @property
    def ratio(self) -> float:
        """How many times sooner the later ones begin."""
        return self.first_s / self.later_s


def shared_prefix(
    peer: Peer, prefixes: Sequence[str], *, enough_s: float, later: int = 4
) -> FirstTokens:
    """Ask several questions after each prefix, one after another, streamed.

    Once that took ``enough_s`` no further prefix is begun.
    """
    peer.prepare([1])
    began = time.perf_counter()
    firsts: list[float] = []
    laters: list[float] = []
    for prefix in prefixes:
        questions = (f"{prefix} {prompt(i, 8)}" for i in range(1 + later))
        times = [peer.first_token_s(question) for question in questions]
        firsts.append(times[0])
        laters += times[1:]
        if time.perf_counter() - began > enough_s:
            break
    return FirstTokens(median(firsts), median(laters))


# A rough crowd


@dataclass(frozen=True)
class Visitor:
    """One request of the crowd, and how its caller behaves.

    ``fate``: ``whole`` waits for the answer; ``left`` leaves a stream after some pieces;
    ``cancelled`` cancels an awaited call after some time; ``impatient`` gives it little time.
    """

    prompt: str
    max_tokens: int
    fate: str
    patience: float


def crowd(requests: int, context: int, seed: int = 0) -> list[Visitor]:
    """Requests of mixed lengths; a third of them share beginnings; a third are given up."""
    draw = random.Random(seed)
    fates = {"whole": 66, "left": 14, "cancelled": 14, "impatient": 6}
    visitors = []
    for i in range(requests):
        text = prompt(seed + i, draw.choice((8, 20, 40, 80, 160)))
        if draw.random() < 0.33:
            text = f"{prompt(-1 - draw.randrange(4), 120)} {text}"
        visitors.append(
            Visitor(
                prompt=text,
                max_tokens=draw.choice((1, 2, 4, 8, 16, 32, 64)),
                fate=draw.choices(list(fates), list(fates.values()))[0],
                patience=draw.random(),
            )
        )
    assert all(len(v.prompt) + v.max_tokens < context for v in visitors)
    return visitors


@dataclass
class CrowdResult:
    """How the crowd fared.

    Attributes:
        ends: how many requests ended in which way.
        unended: requests still without an end after the time allowed.
        compared: whole answers, each beside the same request's in a sequential run.
        different: those that are not the same text.
        widest_gap: among these, the largest difference of the two likeliest tokens' logits where
            the texts part; a small one says that rounding decided.
        seconds: from the first request to the last end.
        before_bytes, after_bytes: resident memory.
    """

    ends: dict[str, int]
    unended: int
    compared: int
    different: int
    widest_gap: float
    seconds: float
    before_bytes: int
    after_bytes: int

    @property
    def ended(self) -> int:
        """Requests that came to an end, whichever."""
        return sum(self.ends.values())

    @property
    def requests(self) -> int:
        """All of them."""
        return self.ended + self.unended


def rough_crowd(setup: Setup, *, requests: int, callers: int, allowed_s: float) -> CrowdResult:
    """Send the crowd to our engine from many threads, then every whole request by itself."""
    visitors = crowd(requests, setup.context)
    with closing(Ours(setup)) as ours:
        ours.answers([[v.prompt for v in visitors[c::callers]][:4] for c in range(callers)], 8)
        before = resident_bytes()
        began = time.perf_counter()
        ends, texts, unended = _visit(ours, visitors, callers, allowed_s)
        seconds = time.perf_counter() - began
        after = resident_bytes()
        alone = {
            visitor: ours.ask(visitor.prompt, visitor.max_tokens).text
            for visitor in dict.fromkeys(v for v in visitors if v in texts)
        }
    different = [v for v in alone if texts[v] != alone[v]]
    gap = 0.0
    with closing(LowLevel(setup)) as reference:
        for visitor in different:
            pair = (texts[visitor], alone[visitor])
            gap = max(gap, reference.gap(visitor.prompt, pair, visitor.max_tokens))
    return CrowdResult(
        dict(ends.most_common()), unended, len(alone), len(different), gap, seconds, before, after
    )


def _visit(
    ours: Ours, visitors: Sequence[Visitor], callers: int, allowed_s: float
) -> tuple[Counter[str], dict[Visitor, str], int]:
    ends: Counter[str] = Counter()
    texts: dict[Visitor, str] = {}
    lock = threading.Lock()
    waiting = iter(visitors)

    def call() -> None:
        while True:
            with lock:
                visitor = next(waiting, None)
            if visitor is None:
                return
            end, text = _behave(ours, visitor)
            with lock:
                ends[end] += 1
                if text is not None:
                    texts[visitor] = text

    threads = [threading.Thread(target=call, daemon=True) for _ in range(callers)]
    deadline = time.monotonic() + allowed_s
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    with lock:
        return Counter(ends), dict(texts), len(visitors) - ends.total()


def _behave(ours: Ours, visitor: Visitor) -> tuple[str, str | None]:
    """How the request ended, and its text if it was answered whole."""
    from modelrouter.exceptions import ModelRouterError

    try:
        if visitor.fate == "left":
            chunks = ours.backend.stream(ours.request(visitor.prompt, visitor.max_tokens))
            with closing(chunks):
                list(islice(chunks, 1 + int(visitor.patience * 16)))
            return "left", None
        if visitor.fate == "cancelled":
            return asyncio.run(_cancelled(ours, visitor)), None
        if visitor.fate == "impatient":
            patience_s = 0.001 + visitor.patience * 0.05
            ours.backend.complete(ours.request(visitor.prompt, visitor.max_tokens, patience_s))
            return "answered in little time", None
        return "answered", ours.ask(visitor.prompt, visitor.max_tokens).text
    except ModelRouterError as exc:
        return type(exc).__name__, None


async def _cancelled(ours: Ours, visitor: Visitor) -> str:
    call = asyncio.ensure_future(
        ours.backend.acomplete(ours.request(visitor.prompt, visitor.max_tokens))
    )
    done, _ = await asyncio.wait({call}, timeout=visitor.patience * 0.1)
    if done:
        call.result()
        return "answered before it was cancelled"
    call.cancel()
    try:
        await call
    except asyncio.CancelledError:
        return "cancelled"
    return "answered while it was cancelled"


# A soak


@dataclass(frozen=True)
class Soak:
    """Resident memory after the first requests and after all of them."""

    early: int
    early_bytes: int
    requests: int
    bytes: int


def soak(setup: Setup, *, requests: int, early: int, callers: int) -> Soak:
    """Send short requests, all different, and look at the memory on the way."""
    with closing(Ours(setup)) as ours:
        _short(ours, range(early), callers)
        early_bytes = resident_bytes()
        _short(ours, range(early, requests), callers)
        return Soak(early, early_bytes, requests, resident_bytes())


def _short(ours: Ours, seeds: range, callers: int) -> None:
    ours.answers([[prompt(i, 24) for i in seeds[c::callers]] for c in range(callers)], 4)
