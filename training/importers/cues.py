"""What a prompt's words tell without being kept: size, form, and signs of how the turn before went.

The signs are words and short phrases of the languages that most prompts are written in. They are noisy by nature"
    r";
`labels_from_next` estimates how noisy.
"""

import re
from dataclasses import dataclass
from typing import Final

from pointsman.classifier.identity import hash_parts
from pointsman.classifier.prompt_form import script_of

# Signs stand early in a prompt: a pasted log that holds "wrong" says nothing of the turn before.
_CUE_CHARS: Final = 400
_MAX_ERRORS: Final = 20
# What follows is often the person's own sentence.
_ERROR_WORDS: Final = 4
_MAX_SCANNED_CHARS: Final = 50_000

_WRONG: Final = re.compile(
    r"\bstill (?:fail|broken|not|the same|get|see|doesn'?t|isn'?t|crash|happen"
    r"|wrong|error|there)|\bnot what i\b"
    r"|\b(?:does|did|do|is|was|has|have|are)(?:n'?t| not) (?:work|help|fix|right|correct|what i)"
    r"|\bthat'?s (?:wrong|not)\b"
    r"|\b(?:you|it) (?:broke|forgot|missed|ignored|misunderstood|messed)|\bsame (?:error|problem|issue"
    r"|result)\b|^no[,.! ]"
    r"|\b(?:wrong|incorrect)\b|\bi (?:meant|said|asked)\b|\bworse\b|\bnow (?:it|i get|there'?s"
    r"|the) .{0,40}\b(?:error|fail|broke)"
    r"|仍然|还是(?:不|报|有|失败|没)|還是(?:不|報|有|失敗|沒)|不对|不對|不是这样|错了|錯了|没用|沒用|不行|没有生效"
    r"|又报错"
    r"|まだ|違う|違います|直って(?:い)?ない|動かない|動きません|うまくいか|아직|안 ?[돼되]|틀렸|여전히"
    r"|안됩니다"
    r"|не работает|не помогло|всё ещё|все еще|неправильно|не то\b|по-прежнему"
    r"|не працює|все одно|неправильно"
    r"|\b(?:sigue|todavía|aún) (?:sin|no|fall|dando)|\bno funciona|\bne (?:marche|fonctionne) (?:pas"
    r"|toujours)|\btoujours pas"
    r"|\bfunktioniert (?:immer noch )?nicht|\bimmer noch|\bgeht nicht|\bnão funciona|\bainda (?:não|dá|está)"
    r"|\bfalsch\b",
    re.IGNORECASE,
)
_UNDO: Final = re.compile(
    r"\b(?:undo|revert|roll ?back|restore (?:the|it|my)|put (?:it|that|everything) back|take (?:it|that) back"
    r"|go back to|git (?:reset|checkout --|restore|revert)|discard)\b|撤销|撤銷|回滚"
    r"|回滾|恢复到|还原|元に戻|戻して|되돌려|롤백"
    r"|откат|верни (?:как|обратно|назад)|відкот|deshaz|revierte|annule"
    r"|rückgängig|mach .{0,20}zurück|desfaz|reverte",
    re.IGNORECASE,
)
_APPROVED: Final = re.compile(
    r"\b(?:thanks?|thank you|thx|perfect|great|awesome|excellent|nice(?: work| job)?|well done|works? (?:now"
    r"|great|fine|perfectly)"
    r"|it works|that works|looks? good|lgtm|love it|good job)\b|\b(?:commit|push|merge) (?:it|this|that|these"
    r"|the changes|everything)\b"
    r"|谢谢|謝謝|很好|完美|可以了|好了|成功了|提交吧|ありがとう|完璧|素晴らし|動きました|いいね"
    r"|감사|고마|좋아|완벽|잘 ?된다"
    r"|잘 ?됩니다"
    r"|спасибо|отлично|работает|супер|дякую|чудово|gracias|perfecto|genial|funciona bien|merci|parfait"
    r"|super\b|danke|perfekt"
    r"|obrigad|perfeito|ótimo",
    re.IGNORECASE,
)
_NEGATED: Final = re.compile(r"(?:\bnot|n'?t|не|не\s+\w+|无法|不能)\s*$", re.IGNORECASE)
_ERROR: Final = re.compile(
    r"\b(?:[A-Za-z_][\w.]{0,60}(?:Error|Exception|Fault)|error(?:\[\w{1,8}\]| TS\d{1,6}| code)|panic(?:ked)?"
    r"|Segmentation fault"
    r"|FAILED|FATAL|npm ERR!|Traceback)[^\n]{0,100}"
)
_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Cues:
    """What was seen in one prompt; digests in place of words."""

    features: dict[str, object]
    says_wrong: bool
    asks_undo: bool
    approves: bool
    errors: frozenset[str]
    words: frozenset[str]


def read_cues(prompt: str) -> Cues:
    """Look a prompt over once."""
    scanned = prompt[:_MAX_SCANNED_CHARS]
    start = scanned[:_CUE_CHARS]
    wrong = _WRONG.search(start) is not None
    approval = _APPROVED.search(start)
    approves = approval is not None and not wrong and not _NEGATED.search(start[: approval.start()])
    errors = [_normalised(found[0]) for found in _ERROR.finditer(scanned)]
    return Cues(
        features={
            "n_chars": len(prompt),
            "n_words": len(_WORD.findall(scanned)),
            "n_lines": prompt.count("\n") + 1,
            "has_code": "```" in prompt,
            "n_errors": len(errors),
            "is_question": prompt.rstrip().endswith(("?", "？")),
            "script": script_of(prompt),
        },
        says_wrong=wrong,
        asks_undo=_UNDO.search(start) is not None,
        approves=approves,
        errors=frozenset(hash_parts(error)[:12] for error in errors[:_MAX_ERRORS]),
        words=frozenset(word.lower() for word in _WORD.findall(start)),
    )


def similarity(first: frozenset[str], second: frozenset[str]) -> float:
    """Return the share of words that two prompts have in common (Jaccard)."""
    union = len(first | second)
    return round(len(first & second) / union, 3) if union else 0.0


def _normalised(error: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+", "#", " ".join(error.lower().split()[:_ERROR_WORDS]))
