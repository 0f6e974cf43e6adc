"""Captions -> words, as the COCO caption evaluation splits them (Chen et al. 2015, arXiv:1504.00325, section 3): Penn
Treebank tokens in lower case, without punctuation.

There they come from Stanford's PTBTokenizer 3.4.1, a Java program; this is our own description of what it does to
captions. At each place the longest form wins, and among equals the first. Known to differ: letters that Unicode got
after 2012, which it drops, and web addresses of unusual form.

A flaw is kept, since published figures have it: brackets count as words (`-lrb-` for an opening one), because
pycocoevalcap looks for them in capitals among tokens that are in lower case. Another is not: there, whether `b.` at
the end of a caption keeps its full stop depends on how the next caption begins.
"""

import re
from functools import cache

from mammut_clip.evals.metrics.captions.token_rules import SYMBOLS, TWO_WORDS, letters, token_forms

_DROPPED = re.compile(r"['\"`‘’‛“”«»‹›]+|[.?!,:;]|-{1,4}|…")
_WRITTEN = {
    "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-",
    "£": "#", "€": "$", "¤": "$", "\u20a0": "$", "¢": "cents", "¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3",
    "⅔": "2/3", "&lt;": "<", "&gt;": ">", "&nbsp;": "", "&quot;": "", "&apos;": "", "&mdash;": "",
}  # fmt: skip
"""Tokens that the Treebank writes in another way; empty ones are punctuation."""
_CURLY_CLITIC = re.compile("(n?)’(s|m|d|re|ve|ll|t)", re.IGNORECASE)
_PLAIN = re.compile(rf"(?!(?i:{'|'.join(TWO_WORDS).replace(' ', '')})\b)[A-Za-z]+(?=\s|$)")
_BLANK = re.compile(r"\s+")


def words(caption: str) -> list[str]:
    """The words of a caption, in lower case; none where it has only punctuation.

    `2 1/2` and telephone numbers are one word with a no-break space in it, as there.
    """
    found, place = [], 0
    while place < len(caption):
        if plain := _PLAIN.match(caption, place):  # most words; saves trying every form
            found.append(plain[0].lower())
            place = plain.end()
        elif blank := _BLANK.match(caption, place):
            place = blank.end()
        else:
            end = _token_end(caption, place)
            found.append(_written(caption[place:end]))
            place = end
    return [word for word in found if word]


def _token_end(caption: str, place: int) -> int:
    """Where the token that begins at `place` ends. A character that begins no form is a token by itself."""
    longest, end = 0, place + 1
    for form in token_forms():
        match = form.match(caption, place)
        if match and match.end() > place + longest:
            longest = match.end() - place
            end = match.end() if match.lastindex is None else match.end(match.lastindex)
    return end


def _written(token: str) -> str:
    """A token as it counts; empty for one that does not."""
    if _DROPPED.fullmatch(token) or (len(token) == 1 and not _known().match(token)):
        return ""
    if _CURLY_CLITIC.fullmatch(token):
        token = token.replace("’", "'")
    token = _WRITTEN.get(token, token).replace("&amp;", "&").replace("\u00ad", "")
    if not token.startswith("<"):
        token = token.replace("(", "-lrb-").replace(")", "-rrb-")
    return re.sub(r"\s", "\u00a0", token).lower()


@cache
def _known() -> re.Pattern[str]:
    return re.compile(rf"[{letters()}\d#(){{}}\[\]{SYMBOLS}]")
