"""Which sentences of a post may stand in a summary."""

import pytest

from assets.transforms.summaries.sentences import is_personal, says_something, sentences

SAYING = [
    "I bake sourdough bread every Sunday.",
    "What Happens If You Drop a Nuclear Bomb Into a Hurricane?",
    "Cavuto: Loyalty works both ways, Mr. President",
    "We followed the river on foot for nine days.",
    "Die besten Cafés in Hamburg, und warum ich sie mag.",
    "Ma recette préférée de tarte aux pommes.",
    "Как я переехал в другой город.",
    "今日は京都でお寺を三つ見ました。",
    "서울에서 가장 맛있는 국수집을 찾았어요.",
    "यह मेरे गाँव का सबसे पुराना मेला है।",
    "هذا أفضل مطعم زرته في القاهرة.",
    "วันนี้เราไปตลาดน้ำกัน",
    "Subtle colours, soft light, and a very patient dog.",
    "Bread from Rome, cheese from Lyon, and honey from my own garden",
    "first look at my brand new mountain bike",
    "two cups of flour.",
    "I own no car and walk to work.",
    "Hillary n'hésite pas à dire ce qu'elle pense.",
    "An emotional day for all of us :(",
]
CALLING = [
    "SUBSCRIBE for more videos!",
    "Follow me on Instagram: jane.doe",
    "FOLLOW GREEN DAY",
    "Don't forget to hit the like button below",
    "Use my code JANE20 for 20% off",
    "Link in bio for the full recipe",
    "Abonne-toi à la chaîne pour ne rien rater !",
    "Suscríbete al canal y activa la campanita",
    "Inscreva-se no canal e deixe seu comentário",
    "Подписывайтесь на мой канал, друзья!",
    "チャンネル登録お願いします！高評価も！",
    "구독과 좋아요 부탁드립니다 여러분",
    "कृपया मेरे चैनल को सब्सक्राइब करें",
    "لا تنسى اشترك في القناة من فضلك",
    "Kanalıma abone olmayı unutmayın arkadaşlar",
    "And join the community at",
    "Press play to see how she lives!",
    "Get your news on the go!",
    "Pour nous aider à sous-titrer nos vidéos",
    "Participez avec le hashtag du jour.",
    "N'hésite pas à me suivre, elle est bonne mon actu !",
    "N’oubliez pas le pouce en l'air si vous avez aimé",
    "Не забывайте оценить видео и оставить комментарий!",
]
OTHERS = [
    "#vegan #recipes #food #love and more",
    "vlog, haul, zara, topshop, autumn, fashion haul",
    "Instagram: janedoe",
    "Editor: Dylan Hennessy",
    "Listen to it on https://example.com/song",
    "Contact me: jane@example.com for anything",
    "0:00 Intro 1:30 The recipe 5:10 The taste",
    "🍕🍕🍕🍕🍕🍕🍕",
    "Ok.",
    "All clips are property of the NBA.",
    "word " * 80,
    "full face using makeup i hate, jane doe makeup i hate, bad makeup, products i regret buying, worst makeup",
    "Jane Doe, makeup by jane doe, hits and misses of the month, jane doe products i hate",
    "un pistolet à colle chaude",
    "two cups of flour",
    "Official Teaser Trailer",
    "Crystal Colosseum - Battle Revolution OST",
    "I don't own the music in this video.",
    "Please contact the artist or the label if you want to use it.",
    "Art in the banner by: Dorian Legret",
    "Music by Epidemic Sound (",
    "›› Snap › JaneDoeSnap",
]


@pytest.mark.parametrize("text", SAYING)
def test_what_says_something_stands(text: str) -> None:
    assert says_something(text)


@pytest.mark.parametrize("text", [*CALLING, *OTHERS])
def test_calls_lists_and_labels_do_not(text: str) -> None:
    assert not says_something(text)


def test_lines_and_sentences_are_told_apart() -> None:
    lines = ["Dr. Smith bakes bread in the U.S. today. It costs $3.50 for everybody!", "• A title without an end"]
    assert sentences(lines, "en") == [
        "Dr. Smith bakes bread in the U.S. today.", "It costs $3.50 for everybody!", "A title without an end",
    ]  # fmt: skip
    assert sentences(["今日は晴れて暖かいです。明日は雨でしょう、たぶん！"], "ja") == [
        "今日は晴れて暖かいです。", "明日は雨でしょう、たぶん！",
    ]  # fmt: skip
    assert sentences(["Erster Satz ohne Sprache. Zweiter Satz ohne Sprache."], "") == [
        "Erster Satz ohne Sprache.", "Zweiter Satz ohne Sprache.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "language", "is_so"),
    [
        ("I love it.", "en", True),
        ("It gave us a day off.", "en", True),
        ("Made in the US by Ben.", "en", False),
        ("J'adore ce sac.", "fr", True),
        ("Il est parfait.", "fr", False),
        ("Я купил её.", "ru", True),
        ("私は好きです。", "ja", True),
        ("Die Tasche ist zu klein.", "de", False),
        ("Unsere Tasche ist zu klein.", "de", True),
        ("I love it.", "xx", False),
    ],
)
def test_a_sentence_in_the_first_person_is_personal(text: str, language: str, is_so: bool) -> None:
    assert is_personal(text, language) is is_so
