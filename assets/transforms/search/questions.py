"""Reduce a question to its topic."""

import re

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_ELIDED = re.compile(r"\b(?:[cdjlmnst]|[Qq]u)['’](?=\w)")
"""A French word that lost its vowel. With a capital it is part of a name, as in L'Oréal."""
_FRAMES = (
    # English
    "a about account accounts an and any anyone are at be been by can channel channels could creator "
    "creators did do does find for from give has have how i in influencer influencers is it list many me "
    "mention mentioned mentions much of on opinion opinions or people please post posted posting posts "
    "said say saying says show some somebody someone speak speaking speaks talk talked talking talks tell "
    "that the their them there they think thinks this to us was we were what when where which who whom "
    "whose why will with would you youtuber youtubers",
    # French
    "a à ai as au aux avec avis ce ces cet cette chaîne chaînes combien comment compte comptes créateur créateurs "
    "créatrice créatrices dans de des disent dit donne donnent du elle elles en est et il ils influenceur "
    "influenceurs influenceuse influenceuses je la le les leur leurs où on ont ou par parle parlent pense pensent "
    "personnes peut pour pourquoi quand que quel quelle quelles quels qui quoi sa se ses son sont sur un une vidéaste "
    "vidéastes vidéo vidéos vous y youtubeur youtubeurs",
    # German
    "an auf aus bei beim creator das dem den denn der des die diese dieser dieses ein eine einem einen einer er "
    "es für gibt haben hat ich im in ist kanal kanäle man meinen meint mit oder redet reden sagen sagt sie sind sich "
    "sprechen spricht über um und videos vom von wann warum was welche welcher welches wer wie wieso wir wo zu zum zur",
    # Spanish
    "a al canal canales como cómo con creador creadora creadoras creadores cuáles cuál cuándo cuentas de del dice "
    "dicen donde dónde e el él ella ellos en es esta este esto gente ha habla hablan han hay influencers la las lo los "
    "opina opinan para personas piensa piensan por que qué quien quién quienes quiénes se sobre son su sus un una "
    "vídeo vídeos y",
    # Portuguese
    "a ao as com como criador criadora criadoras criadores da das de diz dizem do dos e ela ele eles em é fala falam "
    "há isso na nas no nos o onde os ou para pela pelo pensa pensam pessoas por porque quais qual quando que quem "
    "se sobre são sua seu tem um uma vídeos",
    # Russian
    "а блогер блогеры в видео во где говорит говорят думает думают его ее её и из или их к как какая какие какой каких "
    "какую канал каналы когда кто ли на о об он она они от по почему про рассказывает рассказывают с со советует "
    "советуют такое у что это этот",
)
"""Words that ask, by language. They say nothing about the topic, and most posts in that language have some of them."""
_FRAME = tuple(frozenset(_WORD.findall(words)) for words in _FRAMES)


def topic(question: str) -> str:
    """Return the words of a question that name its topic; the whole question if no others are left.

    A word that asks in the question's language goes: in English "die" is a topic, in German it is an article. The
    language is the one that most of the question's words ask in, and English if none does.
    """
    words = _WORD.findall(_ELIDED.sub("", question))
    asking = max(_FRAME, key=lambda frame: sum(word.casefold() in frame for word in words))
    return " ".join(word for word in words if word.casefold() not in asking) or question.strip()
