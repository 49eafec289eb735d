"""Whether a conversation's pictures are needed for its last turn, or were dealt with before.

Conservative: a picture is needed unless the last turn brings the text that it is about, or points
at an earlier answer, and says nothing that could be about the picture.
"""

from __future__ import annotations

import re
from typing import Final

from modelrouter.task import Kind, Task

__all__ = ["vision_needed"]

_OF_PICTURES: Final = re.compile(
    r"\b(?:images?|pictures?|pics?|photos?|photographs?|screenshots?|drawings?|paintings?|scans?"
    r"|diagrams?|charts?|graphs?|plots?|figures?|sketch(?:es)?|illustrations?|logos?|posters?|signs?"
    r"|scenes?|see[ns]?|saw|look(?:s|ed|ing)?|shows?|shown|showing|visible|depict(?:s|ed)?"
    r"|colou?rs?|background|foreground|wear(?:s|ing)?|pixels?"
    r"|bild(?:er)?|foto(?:s|graf\w*)?|imagen|imágenes|dibujos?|zeichnung(?:en)?|cette|photographies?"
    r"|immagin[ei]|imagem|imagens|afbeelding(?:en)?)\b",
    re.IGNORECASE,
)
_OF_THE_ANSWER: Final = re.compile(
    r"\b(?:your|the|that|this|previous|last) (?:last |previous |first )?"
    r"(?:answer|reply|response|sentence|paragraph|text|words|summary|description|translation)\b"
    r"|\b(?:what )?you (?:just )?(?:wrote|said|answered|replied)\b",
    re.IGNORECASE,
)
_OWN_TEXT: Final = re.compile(r":\s+\S+(?:\s+\S+){2}|[\"“«][^\"”»]{8,}[\"”»]|:\s*\n\s*\S")
_LEFT_TO_TEXT: Final[frozenset[Kind]] = frozenset(
    {"grammar", "translation", "summarization", "completion", "creative_writing", "classification"}
)


def vision_needed(task: Task, kind: Kind) -> bool:
    """Whether the model must see for the last user turn."""
    if not task.has_images:
        return False
    last = task.last_user
    if last.images or kind not in _LEFT_TO_TEXT or _OF_PICTURES.search(last.text):
        return True
    at = max(i for i, message in enumerate(task.messages) if message.images)
    answered = any(m.role == "assistant" and m.text for m in task.messages[at:])
    of_the_answer = answered and _OF_THE_ANSWER.search(last.text) is not None
    return not (of_the_answer or _OWN_TEXT.search(last.text))
