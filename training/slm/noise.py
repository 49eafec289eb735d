"""Errors as learners of English make them, put into clean sentences.

Each error type has a weight (roughly its share in learner corpora) and a function that tries to
make that error once. Types that find no place in a sentence are skipped, so that the mixture is
chosen by type and not by which words are frequent. Verb and noun forms come from lemminflect,
misspellings from codespell's dictionary (Wikipedia's list of common misspellings among its
sources).
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

Words = list[str]


def _listed(text: str) -> list[str]:
    return text.split()


_CORE = re.compile(r"^([\"'(\[]*)(.*?)([.,;:!?\"')\]]*)$")

BE = {"am", "is", "are", "was", "were", "'m", "'re"}
HAVE = {"have", "has", "had", "having", "haven't", "hasn't", "hadn't"}
DO = {"do", "does", "did", "don't", "doesn't", "didn't"}
MODAL = set(
    _listed(
        "can could will would shall should may might must cannot can't couldn't won't wouldn't "
        "shouldn't mustn't"
    )
)
THIRD = set(_listed("he she it this that everyone everybody nobody someone each one who which"))
OTHERS = set(_listed("i you we they these those people"))
PLURAL_CUES = set(
    _listed(
        "two three four five six seven eight nine ten many several few these those some all most "
        "other both various hundred thousand"
    )
)
SINGULAR_CUES = set(_listed("a an one this that each every another"))
PAST_CUES = set(_listed("yesterday ago last was were had did when then once before"))

AGREEMENT = {
    "is": ["are"], "are": ["is"], "was": ["were"], "were": ["was"], "has": ["have"],
    "have": ["has"], "does": ["do"], "do": ["does"], "doesn't": ["don't"], "don't": ["doesn't"],
    "isn't": ["aren't"], "aren't": ["isn't"], "wasn't": ["weren't"], "weren't": ["wasn't"],
    "hasn't": ["haven't"], "haven't": ["hasn't"], "am": ["is", "are"],
}  # fmt: skip
PREPOSITIONS = {
    "in": ["on", "at", "to", "in the"], "on": ["in", "at"], "at": ["in", "on", "to"],
    "to": ["at", "for", "in"], "for": ["to", "of", "since", "from"], "of": ["from", "for", "in"],
    "with": ["by", "from", "of", "to"], "by": ["with", "from", "of"], "from": ["of", "by", "since"],
    "about": ["of", "on"], "into": ["in", "to"], "since": ["for", "from"], "during": ["in", "for"],
}  # fmt: skip
NEEDLESS_PREPOSITION = {
    "discuss": "about", "discussed": "about", "enter": "in", "entered": "in", "marry": "with",
    "married": "with", "answer": "to", "answered": "to", "reach": "to", "reached": "to",
    "contact": "with", "approach": "to", "visit": "to", "visited": "to", "tell": "to",
    "told": "to", "phone": "to", "mention": "about", "mentioned": "about", "request": "for",
}  # fmt: skip
HOMOPHONES = [
    ("their", "there", "they're"), ("your", "you're"), ("its", "it's"), ("to", "too"),
    ("two", "too"), ("then", "than"), ("whose", "who's"), ("affect", "effect"), ("lose", "loose"),
    ("were", "where"), ("weather", "whether"), ("quiet", "quite"), ("accept", "except"),
    ("here", "hear"), ("know", "no"), ("knew", "new"), ("by", "buy"), ("write", "right"),
    ("piece", "peace"), ("week", "weak"), ("passed", "past"), ("advice", "advise"),
    ("brake", "break"), ("see", "sea"), ("our", "are"), ("of", "off"), ("through", "threw"),
    ("wear", "where"), ("which", "witch"), ("would", "wood"), ("meet", "meat"), ("son", "sun"),
    ("wait", "weight"), ("whole", "hole"), ("one", "won"), ("hour", "our"), ("for", "four"),
    ("principal", "principle"), ("desert", "dessert"), ("have", "of"), ("plane", "plain"),
    ("sent", "scent"), ("fair", "fare"), ("role", "roll"), ("steal", "steel"), ("tail", "tale"),
    ("wood", "would"), ("breath", "breathe"), ("choose", "chose"), ("site", "sight"),
]  # fmt: skip
IRREGULAR_PLURALS = {
    "children": ["childs", "childrens", "childen"], "men": ["mans", "mens"],
    "women": ["womans", "womens"], "people": ["peoples", "persons"], "feet": ["foots", "feets"],
    "teeth": ["tooths", "teeths"], "mice": ["mouses", "mices"], "wives": ["wifes"],
    "lives": ["lifes"], "knives": ["knifes"], "leaves": ["leafs"], "sheep": ["sheeps"],
    "fish": ["fishes"], "geese": ["gooses"], "halves": ["halfs"],
}  # fmt: skip
UNCOUNTABLE = {
    w: w + "s"
    for w in _listed(
        "information advice furniture equipment homework luggage news knowledge money music "
        "traffic research work progress weather bread rice water evidence luck baggage software "
        "happiness electricity food milk paper housework scenery"
    )
    if not w.endswith("s")
}
PRONOUNS = {
    "i": ["me"], "me": ["i"], "he": ["him"], "him": ["he"], "she": ["her"], "they": ["them"],
    "them": ["they"], "we": ["us"], "us": ["we"], "my": ["mine", "me"], "her": ["she"],
    "their": ["them"], "himself": ["hisself"], "themselves": ["theirselves"], "these": ["this"],
    "those": ["that"], "this": ["these"], "that": ["those"], "much": ["many"], "many": ["much"],
    "fewer": ["less"], "who": ["which"], "mine": ["my"], "hers": ["her"], "yours": ["your"],
}  # fmt: skip
KEYS = {
    "a": "qws", "b": "vn", "c": "xv", "d": "sfe", "e": "wra", "f": "dg", "g": "fh", "h": "gj",
    "i": "uoe", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "bm", "o": "ipa", "p": "o",
    "q": "w", "r": "et", "s": "adc", "t": "ry", "u": "yia", "v": "cb", "w": "qe", "x": "zc",
    "y": "tui", "z": "xs",
}  # fmt: skip
PHONETIC = [
    ("ie", "ei"), ("ei", "ie"), ("ph", "f"), ("ck", "k"), ("ance", "ence"), ("ence", "ance"),
    ("able", "ible"), ("ible", "able"), ("ious", "ous"), ("tion", "sion"), ("ough", "off"),
    ("ary", "ery"), ("ery", "ary"), ("ll", "l"), ("tt", "t"), ("ss", "s"), ("mm", "m"),
    ("cc", "c"), ("rr", "r"), ("pp", "p"), ("nn", "n"), ("wh", "w"), ("kn", "n"), ("au", "a"),
    ("ea", "ee"), ("ee", "ea"), ("ful", "full"), ("ely", "ly"), ("our", "or"), ("gh", "g"),
]  # fmt: skip


class Lexicon:
    """Word forms and misspellings over the training text's vocabulary."""

    def __init__(self, forms: dict[str, list[list[str]]], misspelt: dict[str, list[str]]) -> None:
        self.by_tag: dict[str, dict[str, dict[str, str]]] = {}
        for word, analyses in forms.items():
            for lemma, pos, tag, *others in analyses:
                entry = {"lemma": lemma, "tag": tag, **dict(o.split("=", 1) for o in others)}
                self.by_tag.setdefault(word, {})[pos] = entry
        self.misspelt = misspelt

    @classmethod
    def load(cls, cache: Path, sentences: Iterable[str]) -> Lexicon:
        """Read the cached tables, or make them from the sentences' vocabulary."""
        if not cache.exists():
            counts = Counter(w for s in sentences for w in re.findall(r"[a-z]+", s.lower()))
            vocabulary = [w for w, n in counts.items() if n >= 3 and len(w) > 1]
            tables = {"forms": _forms(vocabulary), "misspelt": _misspellings(set(vocabulary))}
            cache.write_text(json.dumps(tables))
        tables = json.loads(cache.read_text())
        return cls(tables["forms"], tables["misspelt"])

    def verb(self, word: str) -> dict[str, str] | None:
        """The verb analysis of a word: lemma, tag and every other form by tag."""
        return self.by_tag.get(word, {}).get("VERB")

    def noun(self, word: str) -> dict[str, str] | None:
        """The noun analysis of a word."""
        return self.by_tag.get(word, {}).get("NOUN")


def _forms(vocabulary: list[str]) -> dict[str, list[list[str]]]:
    from lemminflect import getAllInflections, getAllLemmas

    forms: dict[str, list[list[str]]] = {}
    for word in vocabulary:
        for pos, lemmas in getAllLemmas(word).items():
            if pos not in ("VERB", "NOUN"):
                continue
            inflections = getAllInflections(lemmas[0], upos=pos)
            tags = [t for t, ws in inflections.items() if word in ws]
            if tags:
                others = [f"{t}={ws[0]}" for t, ws in inflections.items()]
                forms.setdefault(word, []).append([lemmas[0], pos, tags[0], *others])
    return forms


def _misspellings(vocabulary: set[str]) -> dict[str, list[str]]:
    import codespell_lib

    table: dict[str, list[str]] = defaultdict(list)
    path = Path(codespell_lib.__file__).parent / "data" / "dictionary.txt"
    for line in path.read_text(encoding="utf-8").splitlines():
        wrong, _, right = line.partition("->")
        right = right.strip().rstrip(",")
        if "," not in right and " " not in right and right in vocabulary:
            table[right].append(wrong)
    return table


class Noise:
    """Puts errors into sentences."""

    def __init__(self, lexicon: Lexicon, rng: random.Random) -> None:
        self.lexicon = lexicon
        self.rng = rng
        self.same_sound: dict[str, list[str]] = defaultdict(list)
        for group in HOMOPHONES:
            for word in group:
                self.same_sound[word] += [w for w in group if w != word]
        self.makers: list[tuple[Callable[[Words], bool], float]] = [
            (self.agreement, 14),
            (self.article, 14),
            (self.preposition, 12),
            (self.verb_form, 14),
            (self.noun_number, 12),
            (self.spelling, 20),
            (self.homophone, 10),
            (self.apostrophe, 8),
            (self.pronoun, 3),
            (self.comparison, 1.5),
            (self.word_order, 1.5),
            (self.extra_or_missing, 3),
            (self.punctuation, 6),
        ]

    def corrupt(self, sentence: str, errors: int) -> str:
        """The sentence with up to ``errors`` errors."""
        words = sentence.split(" ")
        functions = [f for f, _ in self.makers]
        weights = [w for _, w in self.makers]
        made = 0
        for _ in range(errors * 5):
            if made == errors:
                break
            made += self.rng.choices(functions, weights)[0](words)
        return " ".join(w for w in words if w)

    # -- one error each; True when made -------------------------------------------------------

    def agreement(self, words: Words) -> bool:
        """A verb that does not agree with its subject."""
        places = []
        for i, word in enumerate(words):
            low = _core(word)
            infinitive = low in ("have", "do") and _before(words, i) in MODAL | {"to"}
            if low in AGREEMENT and not infinitive:
                places.append((i, self.rng.choice(AGREEMENT[low])))
                continue
            verb, before = self.lexicon.verb(low), _before(words, i)
            if verb is None or i == 0:
                continue
            if verb["tag"] == "VBZ" and (before in THIRD or not self.lexicon.noun(low)):
                places.append((i, verb.get("VB", "")))
            elif verb["tag"] == "VB" and before in OTHERS and "VBZ" in verb and low not in MODAL:
                places.append((i, verb["VBZ"]))
        return self._replace_one(words, places)

    def article(self, words: Words) -> bool:
        """An article missing, needless or another."""
        kind = self.rng.random()
        places = [i for i, w in enumerate(words) if _core(w) in ("a", "an", "the")]
        if kind < 0.16:
            return self._needless_article(words)
        if not places:
            return False
        i = self.rng.choice(places)
        low = _core(words[i])
        if kind < 0.68:
            if i + 1 >= len(words):
                return False
            if words[i][:1].isupper():
                words[i + 1] = words[i + 1][:1].upper() + words[i + 1][1:]
            del words[i]
            return True
        if kind < 0.88 and low in ("a", "an"):
            return self._set(words, i, "an" if low == "a" else "a")
        return self._set(words, i, self.rng.choice([x for x in ("a", "the") if x != low]))

    def _needless_article(self, words: Words) -> bool:
        places = [
            i
            for i in range(1, len(words))
            if words[i].isalpha()
            and words[i].islower()
            and (self.lexicon.noun(words[i]) or {}).get("tag") == "NNS"
            and _before(words, i) not in ("a", "an", "the", "my", "your", "his", "her", "our")
        ]
        places += [i for i in range(1, len(words)) if _core(words[i]) in UNCOUNTABLE]
        if not places:
            return False
        words.insert(self.rng.choice(places), self.rng.choice(["the", "the", "a"]))
        return True

    def preposition(self, words: Words) -> bool:
        """A preposition missing, needless or another."""
        needless = [i for i, w in enumerate(words) if _core(w) in NEEDLESS_PREPOSITION]
        needless = [i for i in needless if i + 1 < len(words) and words[i][-1:].isalpha()]
        if needless and self.rng.random() < 0.5:
            i = self.rng.choice(needless)
            words.insert(i + 1, NEEDLESS_PREPOSITION[_core(words[i])])
            return True
        places = [i for i, w in enumerate(words) if _core(w) in PREPOSITIONS and i > 0]
        if not places:
            return False
        i = self.rng.choice(places)
        if self.rng.random() < 0.25 and words[i][-1:].isalpha():
            del words[i]
            return True
        return self._set(words, i, self.rng.choice(PREPOSITIONS[_core(words[i])]))

    def verb_form(self, words: Words) -> bool:
        """A verb in another form or tense, or over-regularised."""
        past = any(_core(w) in PAST_CUES for w in words)
        places = []
        for i, word in enumerate(words):
            low, before = _core(word), _before(words, i)
            verb = self.lexicon.verb(low)
            if verb is None or low in BE | HAVE | DO | MODAL:
                continue
            wrong = self._wrong_form(low, verb, before, past)
            if wrong and wrong != low:
                places.append((i, wrong))
        return self._replace_one(words, places)

    def _wrong_form(self, low: str, verb: dict[str, str], before: str, past: bool) -> str:
        pick = self.rng.choice
        base, third, ing = verb.get("VB", ""), verb.get("VBZ", ""), verb.get("VBG", "")
        did, done = verb.get("VBD", ""), verb.get("VBN", "")
        if before in MODAL | DO or before == "to":
            return pick([third, did, did, ing])
        if before in HAVE:
            return pick([did, base, base])
        if before in BE and low == ing:
            return pick([base, base, third])
        if low == ing and before in PREPOSITIONS:
            return pick([base, f"to {base}"])
        if low == did and low != done and before in THIRD | OTHERS:
            return pick([done, base, _regular(base), _regular(base)])
        if low == did and (past or before in THIRD | OTHERS):
            return pick([base, base, third])
        return ""

    def noun_number(self, words: Words) -> bool:
        """A singular for a plural, or the reverse."""
        places = []
        for i, word in enumerate(words):
            low, before = _core(word), _before(words, i)
            if low in IRREGULAR_PLURALS:
                places.append((i, self.rng.choice(IRREGULAR_PLURALS[low])))
                continue
            if low in UNCOUNTABLE:
                places.append((i, UNCOUNTABLE[low]))
                continue
            noun = self.lexicon.noun(low)
            if noun is None or (i == 0 and before == ""):
                continue
            cue = {before, _before(words, i - 1)} if i else {before}
            if noun["tag"] == "NNS" and "NN" in noun:
                sure = bool(cue & PLURAL_CUES)
                if sure or self.rng.random() < 0.35:
                    places += [(i, noun["NN"])] * (3 if sure else 1)
            elif noun["tag"] == "NN" and "NNS" in noun and before in SINGULAR_CUES:
                places.append((i, noun["NNS"]))
        return self._replace_one(words, places)

    def spelling(self, words: Words) -> bool:
        """A misspelling: a recorded one, phonetic, or a slip of the keys."""
        places = [i for i, w in enumerate(words) if len(_core(w)) > 3 and _core(w).isalpha()]
        if not places:
            return False
        known = [i for i in places if _core(words[i]) in self.lexicon.misspelt]
        if known and self.rng.random() < 0.6:
            i = self.rng.choice(known)
            return self._set(words, i, self.rng.choice(self.lexicon.misspelt[_core(words[i])]))
        i = self.rng.choice(places)
        low = _core(words[i])
        return self._set(words, i, self._misspell(low))

    def _misspell(self, low: str) -> str:
        kind, i = self.rng.random(), self.rng.randrange(1, len(low))
        if kind < 0.3:
            swaps = [(a, b) for a, b in PHONETIC if a in low]
            if swaps:
                a, b = self.rng.choice(swaps)
                return low.replace(a, b, 1)
        if kind < 0.5:
            return low[:i] + low[i + 1 :]
        if kind < 0.68:
            return low[: i - 1] + low[i] + low[i - 1] + low[i + 1 :]
        if kind < 0.84:
            return low[:i] + low[i - 1] + low[i:]
        return low[:i] + self.rng.choice(KEYS.get(low[i], low[i])) + low[i + 1 :]

    def homophone(self, words: Words) -> bool:
        """A word that sounds alike."""
        places = [
            (i, self.rng.choice(self.same_sound[_core(w)]))
            for i, w in enumerate(words)
            if _core(w) in self.same_sound
        ]
        # Frequent words would crowd out the rest.
        rare = [p for p in places if _core(words[p[0]]) not in ("to", "of", "for", "by", "one")]
        return self._replace_one(words, rare if rare and self.rng.random() < 0.8 else places)

    def apostrophe(self, words: Words) -> bool:
        """An apostrophe missing or needless."""
        places = [(i, _core(w).replace("'", "")) for i, w in enumerate(words) if "'" in _core(w)]
        if places and self.rng.random() < 0.85:
            return self._replace_one(words, places)
        its = [(i, "it's") for i, w in enumerate(words) if _core(w) == "its"]
        plurals = [
            (i, _core(w)[:-1] + "'s")
            for i, w in enumerate(words)
            if i and w.islower() and (self.lexicon.noun(_core(w)) or {}).get("tag") == "NNS"
            and _core(w).endswith("s")
        ]  # fmt: skip
        return self._replace_one(words, its or plurals)

    def pronoun(self, words: Words) -> bool:
        """A pronoun or determiner in another form."""
        places = [
            (i, self.rng.choice(PRONOUNS[_core(w)]))
            for i, w in enumerate(words)
            if _core(w) in PRONOUNS
        ]
        return self._replace_one(words, places)

    def comparison(self, words: Words) -> bool:
        """A comparative or superlative made twice."""
        for i, word in enumerate(words):
            low = _core(word)
            if low.endswith("er") and i + 1 < len(words) and _core(words[i + 1]) == "than":
                words.insert(i, "more")
                return True
            if low in ("better", "worse", "best", "worst"):
                words.insert(i, "more" if low in ("better", "worse") else "most")
                return True
            more = low == "more" and i + 1 < len(words) and words[i + 1].isalpha()
            if more and self.rng.random() < 0.5:
                words[i + 1] += "er"
                return True
        return False

    def word_order(self, words: Words) -> bool:
        """Two neighbours exchanged."""
        if len(words) < 5:
            return False
        i = self.rng.randrange(1, len(words) - 2)
        if not (words[i].isalpha() and words[i + 1].isalpha()):
            return False
        words[i], words[i + 1] = words[i + 1], words[i]
        return True

    def extra_or_missing(self, words: Words) -> bool:
        """A word doubled, or a small one missing."""
        kind = self.rng.random()
        if kind < 0.3:
            i = self.rng.randrange(len(words))
            if not words[i].isalpha() or not words[i].islower():
                return False
            words.insert(i, words[i])
            return True
        often, seldom = "to is are was were be that not", "it have do will"
        drop = _listed(often if kind < 0.8 else seldom)
        places = [i for i, w in enumerate(words) if w in drop and i > 0]
        if not places:
            return False
        del words[self.rng.choice(places)]
        return True

    def punctuation(self, words: Words) -> bool:
        """Punctuation or a capital missing."""
        kind = self.rng.random()
        if kind < 0.3 and words[0][:1].isupper():
            words[0] = words[0][:1].lower() + words[0][1:]
            return True
        if kind < 0.6 and words[-1][-1:] in ".?":
            words[-1] = words[-1][:-1]
            return True
        commas = [i for i, w in enumerate(words) if w.endswith(",")]
        if kind < 0.75 and commas:
            i = self.rng.choice(commas)
            words[i] = words[i][:-1]
            return True
        names = [i for i, w in enumerate(words) if i and w[:1].isupper()]
        if names:
            i = self.rng.choice(names)
            words[i] = words[i][:1].lower() + words[i][1:]
            return True
        return False

    # -- helpers ----------------------------------------------------------------------------

    def _replace_one(self, words: Words, places: list[tuple[int, str]]) -> bool:
        if not places:
            return False
        i, new = self.rng.choice(places)
        return bool(new) and self._set(words, i, new)

    def _set(self, words: Words, i: int, new: str) -> bool:
        match = _CORE.match(words[i])
        assert match is not None
        before, core, after = match.groups()
        if not new or new == core.lower():
            return False
        if core[:1].isupper() and (core != "I" or i == 0):
            new = new[:1].upper() + new[1:]
        words[i] = before + new + after
        return True


def _core(word: str) -> str:
    match = _CORE.match(word)
    return match.group(2).lower() if match else word.lower()


def _before(words: Words, i: int) -> str:
    return _core(words[i - 1]) if i > 0 else ""


def _regular(base: str) -> str:
    if base.endswith("e"):
        return base + "d"
    return (base[:-1] + "ied") if base.endswith("y") and base[-2:-1] not in "aeiou" else base + "ed"
