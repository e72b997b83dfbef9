"""Questions that ask for a quantity, a date, a winner or a drawback: a sentence without one does not answer them."""

import re
from dataclasses import dataclass

_SAYS = re.compile(
    r"\b(?:say|says|said|think|thinks|thought|opinions?|feel|feels|disent|pensent|avis|dicen|opinan|dizem)\b"
)
"""Somebody asks for words about a price, not for the price."""
_COUNTED = r"(?:accounts?|channels?|creators?|influencers?|people|posts?|videos?)"
"""What an answer from posts cannot count: it shows the posts instead."""
_COUNTED_THING = re.compile(
    r"\b(?:how (?:many|much)|combien (?:de |d['’])|wie ?viele?|cu[aá]nt[oa]s?|quant[oa]s?|сколько)\s*([^\W\d_]{3,})"
)
_THOUSANDS = (
    r"(?:(?:k|m|bn|thousand|million|billion|mille|mil|millions?|milliards?|millones|milh[õo]es|tausend|mio\.?|millionen"
    r"|тыс\.?|тысяч\w*|млн\.?|миллион\w*|миллиард\w*)\s(?:de\s|d['’])?)?"
)
"""Between a number and its currency."""
_STEM = 4
"""Letters by which two forms of a word are alike, but for those at its end."""


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity: its ``name`` for people, how a question asks for it, and how a sentence states it.

    A quantity that the question has itself is not what it asks for, but where its words ``may_repeat``.
    """

    name: str
    asked: re.Pattern[str]
    stated: re.Pattern[str]
    may_repeat: bool = False

    def is_stated(self, text: str, question: str) -> bool:
        """Return whether a text states one that the question does not have itself: of a phone 10 it is not the 10.

        A number must be one of the things that are asked for: of points, not of minutes.
        """
        said = text.casefold()
        own = set[str]() if self.may_repeat else {*self.stated.findall(question.casefold())}
        if not {*self.stated.findall(said)} - own:
            return False
        counted = _COUNTED_THING.search(question.casefold()) if self.name == "number" else None
        return counted is None or _same_word(counted[1], said)


def _same_word(word: str, text: str) -> bool:
    """Return whether a text has a word or a form of it."""
    return re.search(rf"\b{re.escape(word[: max(_STEM, len(word) - 2)])}", text) is not None


def _quantity(name: str, asked: str, stated: str, *, may_repeat: bool = False) -> Quantity:
    return Quantity(name, re.compile(asked), re.compile(stated), may_repeat)


_KINDS = (
    _quantity(
        "price",
        r"\bhow much money\b|\bhow much (?:is|are|was|were)\b"
        r"|\bwhat (?:do|does|did|will|would)\b.*\b(?:cost|earn)\b"
        r"|\bhow much (?:do|does|did|will|would|can|could)\b.*\b(?:cost|charge|earn|make|pay|raise|spend)\b"
        r"|\bwhat(?:'s|’s| is| was| are| were)? (?:the |its |a )?(?:\w+ )?(?:price|cost|fee|salary)\b|\bat what price\b"
        r"|\bcombien (?:d['’]argent|(?:(?:a|ont|va|vont|peut|peuvent) )?co[uû]t\w+|vaut|valent|(?:a|ont) payé)\b"
        r"|\bquels? (?:est|sont) (?:le|les|son|leur) prix\b"
        r"|\b(?:wie teuer|was kostet|was kosten|wie ?viel kostet)\b"
        r"|\b(?:was|wie ?viel) hat\b.*\bgekostet\b|\bcu[aá]nto (?:cuesta|cuestan|cost\w+|vale|valen|pag\w+)\b"
        r"|\bquanto (?:cust\w+|costa|costano)\b"
        r"|\bсколько (?:стоит|стоят|стоил|заплатил|потратил|зарабат)\w*|\bкакая цена\b|\bкакова цена\b",
        rf"[$€£¥₹₽]\s?\d[\d.,]*|\d[\d.,]*\s?{_THOUSANDS}(?:[$€£¥₹₽]|usd|eur|gbp|dollars?|euros?|pounds?|bucks|cents?|руб\w*|pesos?|reais)",
    ),
    _quantity(
        "fuel consumption",
        r"\bwhat (?:fuel economy|gas mileage|mileage|mpg)\b|\b(?:fuel economy|fuel consumption|gas mileage)\b.*\?"
        r"|\bconsommation de carburant\b|\bcombien\b.*\bconsomme\b|\bрасход\w* топлива\b|\bverbrauch\b.*\?",
        r"\d[\d.,]*\s?(?:mpg|miles per gallon|l(?:it(?:re|er)s?|itros?)? ?(?:/|aux|pro|per|a los) ?100"
        r"|л(?:итр\w*)? ?(?:/|на) ?100)",
    ),
    _quantity(
        "power",
        r"\bhow (?:much horsepower|many horsepower|powerful)\b|\bquelle (?:est la )?puissance\b"
        r"|\bкакая мощность\b|\bqu[eé] potencia\b|\bqual (?:é )?a pot[eê]ncia\b|\bwie ?viel ps\b",
        r"\d[\d.,]*[\s-]?(?:hp|bhp|horsepower|ch|cv|ps|kw|watts?|л\. ?с|лошадин\w+)\b",
    ),
    _quantity(
        "speed",
        r"\bhow (?:fast|quick|quickly)\b|\b(?:top|maximum) speed\b|\bquelle (?:est la )?vitesse\b|\bwie schnell\b"
        r"|\bqu[eé] velocidad\b|\bкакая скорость\b",
        r"\d[\d.,]*\s?(?:mph|km ?/ ?h|kph|m/s|knots?|км ?/ ?ч|mbps|seconds?|secondes?|sekunden|segundos?|секунд\w*)",
    ),
    _quantity(
        "date",
        r"^when\b|\bwhen\W*$|\b(?:what|which) (?:date|day|year|time|month)\b"
        r"|^quand\b|\bquel jour\b|\bà quelle (?:heure|date)\b|^cu[aá]ndo\b|^quando\b|^wann\b|^когда\b"
        r"|\bдо какого числа\b|\bв каком году\b",
        r"\b(?:1[5-9]|20)\d\d\b|\b\d{1,2}(?:st|nd|rd|th)\b|\d{1,2}[:h]\d\d|\d{1,2}\s?(?:am|pm)\b"
        r"|\d{1,2}[./]\d{1,2}(?:[./]\d+)?"
        r"|\bmay \d|\d may\b|\b(?:january|february|march|april|june|july|august|september|october|november|december"
        r"|jan|feb|apr|aug|sept?|oct|nov|dec)\b|\b(?:mon|tues|wednes|thurs|fri|satur|sun)days?\b|\b(?:during|since) \w+"
        r"|\b(?:janvier|février|mars|avril|mai|juin|juillet|août|septembre|octobre|novembre|décembre)\b"
        r"|\b(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche)s?\b"
        r"|\b(?:январ|феврал|март|апрел|мая|июн|июл|август|сентябр|октябр|ноябр|декабр)\w*"
        r"|\b(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre)\b",
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
        "drawback",
        r"\b(?:downsides?|drawbacks?|disadvantages?)\b|\bwhat(?:'s| is| are) (?:wrong|the (?:problem|risk|danger)s?)\b"
        r"|\b(?:inconvénients?|défauts?|nachteile?|desventajas?|desvantagens?|недостатк\w*|минус\w*)\b",
        r"\b(?:but|however|although|though|yet|unfortunately|too|problems?|risks?|dangers?|dangerous|downsides?|drawbacks?"
        r"|disadvantages?|harder|worse|bad|fails?|failed|lacks?|mais|malheureusement|trop|aber|leider|zu|pero|demasiad\w+"
        r"|mas|infelizmente|но|однако|слишком)\b",
    ),
    _quantity(
        "winner",
        r"\bwho (?:\w+ )?(?:won|beat|defeated)\b|\bwhich (?:\w+ ){1,3}(?:won|beat|defeated)\b"
        r"|\b(?:qui|quelle équipe|quel \w+) (?:a|ont) (?:gagné|remporté|battu)\b|\bqui (?:gagne|remporte)\b"
        r"|\bкто (?:\w+ )?(?:выигр|побед)\w+|\bqui[eé]n(?:es)? (?:gan[óo]|ganaron|venci\w+)\b"
        r"|\bquem (?:ganhou|venceu)\b"
        r"|\bwer (?:gewann|siegte)\b|\bwer hat\b.*\bgewonnen\b",
        r"\b(?:won|wins?|winn\w+|beats?|beaten|defeat\w*|victor\w+|champions?|kos?|knock(?:s|ed|out)\w*"
        r"|gagn\w+|remport\w+|bat|battu\w*|vainqueur\w*|victoire\w*|выигр\w+|побед\w+|чемпион\w*|gan[óo]|ganador\w*"
        r"|venci\w+|venceu|vencedor\w*|victoria|vitória|campe[oóãõ]\w+|gewinn\w*|gewann|gewonnen|sieg\w*|besieg\w*)\b",
        may_repeat=True,
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
        rf"\bhow many (?!{_COUNTED}\b)|\bhow much\b(?! (?:do|does|did|is|are|was|were|will|would)\b)"
        r"|\bhow (?:old|tall|heavy|far|deep|big) (?:is|are|was|were|do|does|did|can)\b"
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
