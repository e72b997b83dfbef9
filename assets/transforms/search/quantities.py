"""Questions that ask for a quantity: a sentence without one of that kind does not answer them."""

import re
from dataclasses import dataclass

_SAYS = re.compile(
    r"\b(?:say|says|said|think|thinks|thought|opinions?|feel|feels|disent|pensent|avis|dicen|opinan|dizem)\b"
)
"""Somebody asks for words about a price, not for the price."""
_COUNTED = r"(?:accounts?|channels?|creators?|influencers?|people|posts?|videos?)"
"""What an answer from posts cannot count: it shows the posts instead."""


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its ``name`` for people, how a question asks for it, and how a sentence states it."""

    name: str
    asked: re.Pattern[str]
    stated: re.Pattern[str]

    def is_stated(self, text: str, question: str) -> bool:
        """Return whether a text states one that the question does not have itself: of a phone 10 it is not the 10."""
        return bool({*self.stated.findall(text.casefold())} - {*self.stated.findall(question.casefold())})


def _quantity(name: str, asked: str, stated: str) -> Quantity:
    return Quantity(name, re.compile(asked), re.compile(stated))


_KINDS = (
    _quantity(
        "price",
        r"\bhow much money\b|\bhow much (?:is|are|was|were)\b"
        r"|\bhow much (?:do|does|did|will|would|can|could)\b.*\b(?:cost|charge|earn|make|pay|raise|spend)\b"
        r"|\bwhat(?:'s|’s| is| was| are| were)? (?:the |its |a )?(?:\w+ )?(?:price|cost|fee|salary)\b|\bat what price\b"
        r"|\bcombien (?:d['’]argent|co[uû]te\w*|vaut|valent)\b|\bquels? (?:est|sont) (?:le|les|son|leur) prix\b"
        r"|\b(?:wie teuer|was kostet|was kosten|wie ?viel kostet)\b|\bcu[aá]nto (?:cuesta|cuestan|vale|valen)\b"
        r"|\bquanto (?:custa|custam|costa|costano)\b|\bсколько (?:стоит|стоят|стоил)|\bкакая цена\b|\bкакова цена\b",
        r"[$€£¥₹₽]\s?\d[\d.,]*|\d[\d.,]*\s?(?:[$€£¥₹₽]|usd|eur|gbp|dollars?|euros?|pounds?|bucks|cents?|руб\w*|pesos?|reais)",
    ),
    _quantity(
        "fuel consumption",
        r"\bwhat (?:fuel economy|gas mileage|mileage|mpg)\b|\b(?:fuel economy|fuel consumption|gas mileage)\b.*\?"
        r"|\bconsommation de carburant\b|\bcombien\b.*\bconsomme\b|\bрасход\w* топлива\b|\bverbrauch\b.*\?",
        r"\d[\d.,]*\s?(?:mpg|miles per gallon|l ?/ ?100|lit(?:re|er)s?\b|litros?\b|л\b|литр\w*)",
    ),
    _quantity(
        "duration",
        r"\bhow long (?:do|does|did|is|are|was|will|can|to)\b"
        r"|\bhow many (?:seconds|minutes|hours|days|weeks|months|years)\b"
        r"|\bcombien (?:de temps|d['’]heures|de jours|de minutes)\b|\bwie lange\b"
        r"|\bcu[aá]ntas? (?:horas|d[ií]as|minutos)\b"
        r"|\bquantas? (?:horas|dias|minutos)\b|\bсколько (?:времени|часов|дней|минут)\b",
        r"\d[\d.,]*[\s-]?(?:h\b|hrs?\b|hours?|min\b|minutes?|seconds?|days?|weeks?|months?|years?|heures?|jours?|mois\b|ans\b"
        r"|stunden?|tage|horas?|d[ií]as?|час\w*|минут\w*|дн\w+)|\ball[ -]day\b",
    ),
    _quantity(
        "score",
        r"\bwhat (?:score|rating|grade|mark)\b|\bscore (?:out of|sur|de)\b|\bquelle note\b|\bwelche note\b"
        r"|\bqu[eé] nota\b|\bкакую оценку\b",
        r"\d[\d.,]*\s?/\s?\d+|\d[\d.,]*\s?(?:out of|sur|von|de|из)\s?\d+"
        r"|\d[\d.,]*\s?(?:%|points?|stars?|étoiles?|punkte|estrellas?|балл\w*)"
        r"|\b[a-d][+-]",
    ),
    _quantity(
        "number",
        rf"\bhow many (?!{_COUNTED}\b)|\bhow (?:old|tall|heavy|fast|far) (?:is|are|was|were|do|does|did|can)\b"
        rf"|\bcombien de\b|\bwie ?viele?\b|\bcu[aá]nt[oa]s\b|\bquant[oa]s\b|\bсколько\b",
        r"(?<!\w)\d[\d.,]*(?!\d|st\b|nd\b|rd\b|th\b)",
    ),
)


def asked_for(question: str) -> Quantity | None:
    """Return the kind of quantity that a question asks for, if it asks for one."""
    text = question.casefold()
    if _SAYS.search(text):
        return None
    return next((kind for kind in _KINDS if kind.asked.search(text)), None)
