"""The forms of tokens: words, numbers, abbreviations and what else the Penn Treebank does not split.

Each was found by giving candidates to Stanford's PTBTokenizer 3.4.1; tests/evals/metrics/captions compares both.
"""

import re
import unicodedata
from functools import cache

ABBREVIATIONS = """
    adj adm adv al ala alex apr ariz assn assoc asst atty attys aug ave bhd bldg blvd brig bros calif capt cf cie cmdr
    co col colo comdr conn corp cos cpl ct dak dec dept det dr drs elec ens esq est etc ext feb fla fri ft ga gen gov
    govs hon inc ind insp intl invt jan jos jr jul jun kan kans ky lieut lt ltd maj mar md mfg mich minn mlle mme mo mon
    mont mr mrs ms msgr mt mtg natl neb nev nov oct okla penn pfc ph plc ppte pptes ppty pptys pres prof profs pte ptes
    pty ptys pvt rd rep reps rev rt sen sens sep sept seq sfc sgt spc sq sr st ste supt supts sys tel tenn thu thurs
    treas tue tues univ va vs vt wed wis wisc wm wyo ph.d
"""
"""Words whose full stop belongs to them."""
CAPITAL_ABBREVIATIONS = "ark az del ill la mass miss ore pa tex wash"
"""The same, where the first letter is a capital."""
NUMBER_ABBREVIATIONS = "art ca fig figs no nos op pp prop"
"""The same, before a number."""
APOSTROPHE_WORDS = """
    c'mon c'est cap'n dunkin' e'er hawai'i j' l' d' ma'am ma'ams n'est nat'l ne'er o'clock o'er ol' qu'est qu'il s'mores
    somethin' xi'an 'cause 'em 'n' 'til 'till
"""
"""Words with an apostrophe that stay whole, beside O'Brien and d'Artagnan."""
TWO_WORDS = ("can not", "gon na", "got ta", "lem me", "gim me", "wan na")
"""Words that are split, and where."""
SENTENCE_STARTS = """
    A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr. Ms. Now
    Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You
"""
"""Before these, the full stop after a single letter ends a sentence."""
SYMBOLS = (
    r"$%&*+/<=>@\\^_|~¡¢£¤¥¦§¨©¬®¯°±²³´¶·¸¹¼½¾¿×÷\u0387\u05be\u060c\u061b\u061f\u0964\u0965\u0e3f"
    r"\u2016\u2017\u201a\u201e\u2020-\u2023\u2030-\u2038\u203b\u203e-\u2042\u2044\u2070\u2074-\u208e\u20a0\u20a4\u20ac"
    r"\u2100-\u214f\u2153-\u215e\u2190-\u2bff\u3001\u3002\u30fb\uff01-\uff20\uff3b-\uff40\uff5b-\uff65\uffe0-\uffe6"
)
"""Characters that stand for themselves, as the inside of a character class."""

_A = "['’]"
_OVER = r"(?:[^A-Za-z]|$)"
"""What must follow a clitic: no letter of English."""


@cache
def token_forms() -> tuple[re.Pattern[str], ...]:
    """The forms in order of rank. Group 1, where a form has one, is the token, and what the form takes beyond it must
    follow and counts for its length, but is left to the next token."""
    letter = f"[{letters()}]"
    char = rf"[{letters()}\d]"
    forms = [
        *_words(letter, char),
        *_numbers(char),
        *_addresses(),
        *_marks(letter),
    ]
    return tuple(re.compile(form) for form in forms)


def _words(letter: str, char: str) -> list[str]:
    clitic = "(?i:[smd]|re|ve|ll)"
    splits = [rf"((?i:{first}))(?i:{second})(?!{char})" for first, second in map(str.split, TWO_WORDS)]
    return [
        *splits,
        "('[tT])(?i:is|was)",
        rf"({letter}+?)[nN]{_A}[tT]{_OVER}",
        rf"[nN]{_A}[tT](?!{letter})",
        rf"({char}+){_A}{clitic}{_OVER}",
        rf"('{clitic}){_OVER}|(?:’{clitic})",
        rf"(?i:{_any(APOSTROPHE_WORDS).replace(chr(39), _A)})",
        rf"([yY]{_A})[A-Za-z]",
        rf"({_A}[nN])(?!{letter})",
        rf"[dDlLoO]{_A}{letter}{char}+",
        rf"(?:[dDlLoO]{_A}(?={char}{{2}}))?{char}+(?:[-_‐‑](?:[dDlLoO]{_A}(?={char}{{2}}))?{char}+)*",
        rf"(?i:{_any(ABBREVIATIONS)})\.",
        rf"(?=[A-Z])(?i:{_any(CAPITAL_ABBREVIATIONS)})\.",
        rf"((?i:{_any(NUMBER_ABBREVIATIONS)})\.)\s?\d",
        rf"([A-Za-z])\.\s+(?:{_any(SENTENCE_STARTS)})(?:\s|$)",
        rf"(?:{char}+-)*{letter}(?:\.{letter})+\.(?:-{char}+)*|{letter}\.(?:-{char}+)*",
        rf"({char}+\.)[,;:]",
        rf"{letter}{char}*(?:[.!?]{letter}{char}*)+(?:-{char}+)*",
        r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}(?:/[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}){1,2}",
        "[A-Z]+(?:(?:[&+]|&amp;)[A-Z]+)+",
        r"[cC]\+\+|[cCfF]#",
    ]


def _numbers(char: str) -> list[str]:
    return [
        r"[-+]?(?:\d*(?:[.,:]\d+)+|\d+)",
        rf"\d+(?:[.,]\d+)+{char}*(?:-{char}+)+",
        r"(?:\d{1,4}[- \u00a0])?\d{1,4}/\d{1,4}",
        r"\d{1,2}[-/]\d{1,2}[-/]\d{2,4}",
        rf"\d+(?:\.\d+)*\.[xX](?!{char})",
        rf"{_A}\d\d[sS]",
        rf"({_A}\d\d)(?:\s|$)",
        r"(?:\(\d{2,3}\)[ \u00a0]?|(?:\+\+?)?(?:\d{2,4}[- \u00a0])?\d{2,4}[- \u00a0])\d{3,4}[- \u00a0]?\d{3,5}",
    ]


def _addresses() -> list[str]:
    inner, last = r"[^\s<>\"()|{}]", r"[^\s<>\"()|.!?,{}-]"
    label = "[A-Za-z0-9][A-Za-z0-9_-]*"
    name = "[A-Za-z][A-Za-z0-9_:.@-]*"
    return [
        rf"https?://{inner}+{last}",
        rf"www\.(?:{label}\.)+[A-Za-z]{{2,4}}(?:/{inner}+{last})?",
        rf"(?:{label}\.)+(?:com|net|org|edu)(?![A-Za-z0-9])(?:/{inner}+{last})?",
        r"[A-Za-z0-9][^\s<>\"|(){}]*@(?:[^\s<>\"|(){}.]+\.)*[^\s<>\"|(){}\[\].,;:]+",
        r"@[A-Za-z_][A-Za-z0-9_]*",
        rf"<(?:/?{name}(?:\s+{name}(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[\w-]+))?)*\s*/?|[!?][^>]*)>",
    ]


def _marks(letter: str) -> list[str]:
    return [
        r"&(?:amp|lt|gt|nbsp|quot|apos|mdash|#\d+);",
        rf"#{letter}+",
        r"[A-Z]*\$",
        r"([<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]])(?:[^A-Za-z0-9]|$)",
        r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][_.]?[-^x=~<>']\)|\([\^x=~<>']-[\^x=~<>']\)",
        r"[?!]{2,}|\\?\*+|#+|_+|-+|<<|>>",
    ]


_SELECTORS = range(0xFE00, 0xFE10)
"""Variation selectors, which say whether a sign is an emoji."""


@cache
def letters() -> str:
    """Letters and marks of Unicode's basic plane, and the soft hyphen, as the inside of a character class."""
    kinds = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc"}
    ranges: list[list[int]] = []
    for number in range(ord("A"), 0x10000):
        if number in _SELECTORS or (unicodedata.category(chr(number)) not in kinds and number != 0xAD):
            continue
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


def _any(texts: str) -> str:
    """Any of the texts between blanks, the longest that fits."""
    return "|".join(re.escape(text) for text in sorted(texts.split(), key=len, reverse=True))
