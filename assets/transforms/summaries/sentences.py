"""Split a post into the sentences that may stand in a summary: no links, tag lists, labels or calls to subscribe."""

import re
import unicodedata
from collections.abc import Iterable

from assets.transforms.text.orders import gives_orders
from assets.transforms.text.sentences import sentences as split

SHORTEST_LETTERS, LONGEST_CHARACTERS = 12, 300
LEAST_LETTERS_SHARE = 0.6
_WIDE = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]")
"""Scripts that say in one character what others say in about three."""
_WORDS_OF_ITEM = 5
_SENTENCE_END = tuple(".!?…。！？।؟")
_ADDRESS = re.compile(
    r"https?:|www\.|[\w.+-]+@[\w-]+\.|\b[\w-]+\.(?:com|net|org|tv|be|ly|gl|co|io|me)\b", re.IGNORECASE
)
_NETWORKS = (
    "instagram|insta|facebook|twitter|snap(?:chat)?|tik ?tok|patreon|spotify|itunes|apple music|discord|twitch|"
    "pinterest|vkontakte|telegram|website|e-?mail|soundcloud|deezer|google ?\\+|merch"
)
_LABEL = re.compile(rf"\b(?:{_NETWORKS})\b\s*(?:[:@►▶➜→›=-]|$)|[:►▶➜→]$", re.IGNORECASE)
_BULLET = re.compile(r"^[\s•·*|►▶➜→↓✓✔›━–—-]+|[\s|►▶➜→↓–—-]+$")
_CREDIT = re.compile(r"^[\w/&'-]+(?: [\w/&'-]+)?\s?: *(?:\S+ *){1,4}$")
"""A label and a name, such as `Editor: Jane Doe`."""
_TIME = re.compile(r"\b\d{1,2}:\d\d\b")
_CALLS = (
    r"\bsubscri",
    r"^\W*(?:follow|check)\b",
    r"\bfollow (?:me|us|\w+ on|\S+ at)\b",
    r"\bfollow\b.*\bon\b",
    r"\b(?:like|hit|smash|click|tap)\b.{0,20}\b(?:button|bell|link|video|below|here)",
    r"\blike\b.{1,30}\bon (?:facebook|youtube)",
    r"\b(?:leave|drop) a (?:like|comment)|\bcomment below|\bturn on (?:\w+ )?notifications",
    r"\blink in (?:the |my )?(?:bio|description)",
    r"\b(?:use|with)\b.{0,12}\bcode\b|\bgiveaway|\bpre-?order|\bdownload\b|\bcheck (?:it )?out\b",
    r"\bbuy\b.*\b(?:now|here|tickets?)\b|\bofficial (?:store|site|website)",
    r"\bjoin (?:the|our|my|us)\b|\bthanks? (?:you )?for watching",
    r"^\W*watch\b.{0,40}\b(?:videos?|here|more|full|episodes?)\b",
    r"\bbusiness (?:inquir|enquir|contact)|\bcopyright\b|\ball rights reserved|\bdisclaimer|\bpermission",
    r"\b(?:free|fair) use\b|\bproperty of\b|\bvideo removed",
    r"\bown (?:the |this |any |these |no )?(?:rights?|music|songs?|videos?|audio|content|images?|footage)\b",
    r"\bcontact the (?:artist|label|owner)|\b(?:by|credits?) ?:\s*\S",
    r"\b(?:at|on|via|from|here)$|(?<!:)\($",  # an address followed
    r"\bpress play\b|^\W*get your \w+ (?:on|here|now|today)\b|\bsubtitle|\bsous-titr|^\W*participez\b",
    r"^\W*official (?:\w+ )?(?:trailer|teaser|video|audio|clip)s?\W*$|\bOST$",
    "abonne|suivez|cliquez|likez|lien (?:en|dans)",
    r"(?:^|[^\w\s]|\b(?:et|alors)\b)\s*n['’](?:oubli|h[ée]sit)\w+ (?:surtout )?pas\b",
    r"\b(?:me|nous) suivre (?:ici|sur)\b|\bpouces? (?:bleus?|en l)",
    "suscr[ií]b|s[ií]gue(?:me|nos)|enlace en|dale (?:like|me gusta)",
    "inscreva|siga-?(?:me|nos)|segui(?:mi|teci)|iscriv",
    "abonnier|folgt? (?:mir|uns)|kanal abo|abone ol|takip et",
    "подпис|подпиш|не забы(?:ва|уд)|ставьте лайк|ссылк[аи] (?:в|на)|зарегистр|εγγραφ|ακολουθ",
    "チャンネル登録|登録お願い|フォローして|概要欄|구독|좋아요|팔로우|订阅|訂閱|关注我|點讚|点赞",
    "सब्सक्राइब|सब्स्क्राइब|اشترك|تابعو",
)
_CALL = re.compile("|".join(_CALLS), re.IGNORECASE)
"""What people write below everything: it says nothing of the account, in the languages of the samples and others."""

_FIRST_PERSON = {
    language: re.compile(words if language in {"ja", "ko", "zh"} else rf"\b(?:{words})\b")
    for language, words in {
        "en": "I|[Mm]e|[Mm]y|[Mm]ine|[Mm]yself|[Ww]e|us|[Oo]urs?",
        "de": r"[Ii]ch|[Mm]ich|[Mm]ir|[Mm]ein\w*|[Ww]ir|[Uu]ns|[Uu]nser\w*",
        "fr": r"[Jj]e|[Jj]['’](?=\w)\w*|[Mm]['’](?=\w)\w*|[Mm]e|[Mm]oi|[Mm]on|[Mm]a|[Mm]es|[Nn]ous|[Nn]otre|[Nn]os",
        "es": "[Yy]o|[Mm]e|[Mm]is?|[Nn]os|[Nn]osotr[oa]s|[Nn]uestr[oa]s?",
        "pt": "[Ee]u|[Mm]e|[Mm]eus?|[Mm]inhas?|[Nn]ós|[Nn]os|[Nn]oss[oa]s?",
        "it": "[Ii]o|[Mm]i|[Mm]i[oae]|[Mm]iei|[Nn]oi|[Nn]ostr[oaei]",
        "nl": "[Ii]k|[Mm]ij|[Mm]e|[Mm]ijn|[Ww]ij|[Ww]e|[Oo]ns|[Oo]nze",
        "ru": r"[Яя]|[Мм]еня|[Мм]не|[Мм]ой|[Мм]оя|[Мм]ои|[Мм]ы|[Нн]ам|[Нн]ас|[Нн]аш\w*",
        "el": "[Εε]γώ|[Μμ]ου|[Μμ]ε|[Εε]μείς|[Μμ]ας",
        "tr": "[Bb]en|[Bb]eni|[Bb]enim|[Bb]ana|[Bb]iz|[Bb]izim",
        "ja": "私|僕|俺",
        "zh": "我",
        "ko": "저는|제가|나는|내가|우리",
    }.items()
}


def sentences(lines: Iterable[str], language: str) -> list[str]:
    """Return the sentences of a post's clean lines that say something, in order. Time: linear in the text."""
    found = (_BULLET.sub("", part).strip() for line in lines for part in split(line, language))
    return [part for part in found if says_something(part)]


def is_filler(text: str) -> bool:
    """Return whether a text is an address, a label of a link, a call to subscribe, a credit or a list of keywords."""
    patterns = (_ADDRESS, _LABEL, _CALL, _CREDIT)
    return any(pattern.search(text) for pattern in patterns) or _is_list(text)


def says_something(text: str) -> bool:
    """Return whether a sentence may stand in a summary."""
    if len(text) > LONGEST_CHARACTERS or is_filler(text) or gives_orders(text):
        return False
    letters = sum(unicodedata.category(character)[0] in "LM" for character in text)
    wide = len(_WIDE.findall(text))
    shown = sum(not character.isspace() for character in text)
    if letters + 2 * wide < SHORTEST_LETTERS or letters < LEAST_LETTERS_SHARE * shown:
        return False
    words = text.split()
    tags = sum(word.startswith(("#", "＃", "@", "＠")) for word in words)
    return tags * 3 < len(words) and not _is_item(text) and len(_TIME.findall(text)) < 2


def is_personal(text: str, language: str) -> bool:
    """Return whether a sentence is in the first person, by its words; False in a language whose words are not known."""
    pattern = _FIRST_PERSON.get(language)
    return pattern is not None and bool(pattern.search(text))


def _is_list(text: str) -> bool:
    """Return whether a text is a list of keywords, as in the tags of a video: many short parts and no end. Longer parts
    are keywords too if the same words come again in them."""
    parts = re.split("[,;|•·、]", text)
    words, has_end = text.casefold().replace(",", " ").split(), text.endswith(_SENTENCE_END)
    if len(parts) >= 4 and len(words) <= 3 * len(parts):
        return len(parts) >= 8 or not has_end
    return len(parts) >= 3 and not has_end and len(words) <= 5 * len(parts) and len(words) - len(set(words)) >= 3


def _is_item(text: str) -> bool:
    """Return whether a text is an item of a list, as of materials or ingredients: a few words, no capital, no end."""
    return text[0].islower() and len(text.split()) <= _WORDS_OF_ITEM and not text.endswith(_SENTENCE_END)
