"""Clean a post's text: what is embedded, searched and shown."""

import html
import re
import unicodedata
from collections.abc import Iterable

import ftfy

from assets.transforms.text.marks import limit_marks

MAX_CHARACTERS = 20_000
"""The part of a text that is read. The encoder's eight chunks hold about 9,000 characters of English."""
_MOST_ESCAPES = 3
"""How often a text is unescaped: &amp;amp;lt; is a < that was escaped three times."""
_MOST_REPAIRS = 4
# Only entities that end in ";". Browsers also resolve "&not" in "rock&notroll", which the author did not mean.
_ENTITY = re.compile("&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# Known tags alone: "<3", "a < b" and "<your name>" are the author's words.
_TAG = re.compile(
    "</?(?:a|abbr|article|b|blockquote|body|br|button|center|code|dd|div|dl|dt|em|figure|font|footer|form|h[1-6]|head|"
    "header|hr|html|i|iframe|img|ins|li|link|main|mark|meta|nav|ol|p|pre|s|script|section|small|span|strike|strong|"
    "style|sub|sup|table|tbody|td|th|thead|tr|u|ul|video)(?:\\s[^<>]*)?/?>|<!--[^<>]*-->",
    re.IGNORECASE,
)
# A person's own words may follow a URL directly: of 3,112 videos 60 have Cyrillic words there and 170 Latin ones, as a
# line end was lost. So a URL takes Latin letters alone, unless its host has others, and ends at a comma or full stop
# before a word, and at a capitalised word if another one follows: bit.ly/3gZJaNySubscribe NOW. In scripts without
# spaces, and in Korean, words may follow a host of the same script.
_NO_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\U00020000-\U0003ffff"
)
_APOSTROPHE = "['\u2019]"
_WORD_BEHIND = rf"[^\W\d_]+(?:(?:{_APOSTROPHE}|-)[^\W\d_]+)*"
_GLUED_WORD = (
    rf"(?<=[a-z0-9/_=?-])[A-Z\u00c0-\u00de][a-z\u00df-\u00ff]{{2,}}(?:{_APOSTROPHE}[a-z]+)? [A-Za-z\u00c0-\u024f]"
)
_URL_END = (
    r"[-~/?#\[\]@&+*=%'_]|\$(?!\d)|\.(?![A-Z\u00c0-\u00de][^\W\d_]+ [^\W\d_])|(?<=_)\(|"
    rf"[,;:!()](?!{_WORD_BEHIND}(?:[,!?;:)]|\.?(?:\s|$)))"
)
_LATIN = rf"(?!{_GLUED_WORD})[0-9A-Za-z\u00c0-\u024f]"
_URL = re.compile(
    r"(?:(?i:https?://)|(?i:www\.))(?:"
    rf"(?=[\w.-]*[^\W\x00-\u024f][\w-]*\.)(?:[\w-]+\.)+(?:[^\W{_NO_SPACES}]|{_URL_END})*|"
    rf"(?:{_LATIN}|[.-])*(?:{_LATIN}|{_URL_END})*)"
)
# Includes blanks that Unicode counts as letters or symbols, which people space out captions with: Hangul fillers and
# the empty Braille pattern.
_SPACE = re.compile("[\\s\u115f\u1160\u2800\u3164\uffa0]+")
_LINE_END = re.compile("[\n\r\v\f\u0085\u2028\u2029]+")
# A zero-width space is a space between words, and nothing before a mark or beside a single letter: v|e|g|a|n is a word
# that is hidden from filters. A capital before a space is a word: end|I say.
_HIDING = re.compile("(?<=\\b\\w)\\u200b+|\\u200b+(?![A-Z] )(?=\\w\\b|[\\u0300-\\u036f\\u0591-\\u05c7\\u064b-\\u0652])")
# Characters without a shape: controls, soft hyphens, direction marks and overrides, byte order marks, the replacement
# character, operators and fillers; and tags, which carry hidden text, except in a flag. Zero-width joiners are kept:
# emoji sequences and several scripts need them.
_INVISIBLE = re.compile(
    "(\U0001f3f4[\U000e0020-\U000e007e]{1,8}\U000e007f)|"
    "[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufe00-\ufe0d\ufeff\ufff9-\ufffb\ufffd\U0001d173-\U0001d17a\U000e0000-\U000e01ef]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# Letters that people decorate posts with, and of which the encoder knows no word: bold, script and double-struck,
# full-width, half-width, in circles and squares. A voiced mark of half width belongs to a kana, else it stays.
_STYLED = re.compile(
    "[\u24b6-\u24e9]{2,}|(?:[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\uff66-\uff9d\uffa0-\uffdc\U0001d400-\U0001d7ff"
    "\U0001f130-\U0001f149][\uff9e\uff9f]?)+"
)
_SMALL_CAPITALS = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘǫꞯʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnopqqrstuvwyz"
_SMALL = re.compile(f"\\b[{_SMALL_CAPITALS[0]}sx][{_SMALL_CAPITALS[0]}sx\\u0300-\\u036f]{{2,}}(?!\\w)")
_NEGATIVE = re.compile("[\U0001f150-\U0001f169\U0001f170-\U0001f189]{2,}")
"""White letters in black circles and squares. A single one is an emoji, such as a blood group."""
_OF_TEXT = re.compile("[^\\s#＃.,;:!?…()\\[\\]{}\"'|/]+")
_MOST_HASHTAGS = 100


def clean(text: str | None) -> str:
    """Return the text to embed: one line of what its author wrote, in NFC and plain letters, without URLs and markup.

    Entities are resolved, and wrong character sets repaired. Lone surrogates are left out, because UTF-8 cannot encode
    them. Characters after MAX_CHARACTERS are not read, and marks after MAX_MARKS are left out, so the time is linear
    whatever the text.
    """
    return _one_line(_cleaned(text))


def clean_lines(text: str | None) -> list[str]:
    """Return the lines of a text, each of them clean, without blank lines."""
    return [line for part in _LINE_END.split(_cleaned(text)) if (line := _one_line(part))]


def printable(text: str) -> str:
    """Return one line of a text without characters that have no shape. Markup stays."""
    return _one_line(_INVISIBLE.sub(r"\1", _SURROGATE.sub("", text)))


def with_hashtags(text: str, hashtags: Iterable[str | None] | None) -> str:
    """Return a clean text followed by the hashtags that it lacks, so that they are searched and shown.

    Without single Latin letters, which name nothing.
    """
    found = set(_OF_TEXT.findall(text.casefold()))
    added = list[str]()
    room = MAX_CHARACTERS - len(text)
    for given in list(hashtags or ())[:_MOST_HASHTAGS]:
        tag = _SPACE.sub("_", clean(given).strip("#＃ "))
        room -= len(tag) + 2
        is_word = any(map(str.isalnum, tag)) and (len(tag) > 1 or not tag.isascii())
        if room >= 0 and is_word and tag.casefold() not in found:
            found.add(tag.casefold())
            added.append(f"#{tag}")
    return " ".join([text, *added]).strip()


def _cleaned(text: str | None) -> str:
    """Return a clean text with the whitespace of its author."""
    text = _SURROGATE.sub("", text[:MAX_CHARACTERS]) if text else ""
    for _ in range(_MOST_ESCAPES):
        if "&" in text:
            text = _ENTITY.sub(lambda found: html.unescape(found[0]), text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if not text.isascii():
        text = _repaired(text)
        text = unicodedata.normalize("NFC", _plain(limit_marks(text)))
        text = limit_marks(text)  # NFC writes some marks as two
    return _URL.sub(" ", _INVISIBLE.sub(r"\1", text))


def _repaired(text: str) -> str:
    """Return a text in NFC in the right character set, without invisible characters.

    Bytes of a wrong character set may look invisible, so those characters are left out after the repair; what then
    stands side by side may be another wrong byte.
    """
    for _ in range(_MOST_REPAIRS):
        found = ftfy.fix_encoding(unicodedata.normalize("NFC", limit_marks(text)), fix_c1_controls=False)
        found = _HIDING.sub("", _INVISIBLE.sub(r"\1", found)).replace("\u200b", " ")
        if found == text:
            break
        text = found
    return text


def _one_line(text: str) -> str:
    return _SPACE.sub(" ", text).strip()


def _plain(text: str) -> str:
    """Return a text with plain letters for decorated ones."""
    text = _STYLED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = _SMALL.sub(lambda found: found[0].translate(str.maketrans(*_SMALL_CAPITALS)), text)
    return _NEGATIVE.sub(lambda found: "".join(map(_letter_in_black, found[0])), text)


def _letter_in_black(character: str) -> str:
    return chr(ord("A") + (ord(character) - 0x1F150) % 0x20)
