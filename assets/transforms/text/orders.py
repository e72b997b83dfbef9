"""Find texts that give orders to a language model. They are not sent to one, and support no claim."""

import re

_ORDERS = (
    r"\b(?:ignore|disregard|forget|override|bypass)\b.{0,50}\b(?:instructions?|rules?|prompts?|everything|above|previous|"
    r"prior|before|earlier|guidelines?|context|posts?)\b",
    r"\b(?:system|developer)\s*(?:prompt|message|:)|<\|?/?(?:system|im_start|im_end|assistant|endoftext)|\[/?INST\]|"
    r"###\s*(?:instruction|system|response|assistant)",
    r"^\s*(?:system|assistant|user)\s*:",
    r"\b(?:you are|act as|pretend|from now on)\b.{0,40}\b(?:ai|assistant|model|chatbot|gpt|llm|bot|summari[sz]er)\b",
    r"\b(?:summar(?:y|ies|ise|ize|isers?|izers?)|(?:language|ai) models?|llms?|chatgpt|gpt|claude|llama|gemini|ais?|"
    r"assistants?)\b.{0,60}\b(?:must|should|say|says|write|output|answer|reply|return|mention|include|always|never)\b",
    r"\b(?:answer|reply|respond|output|return|print|write|say)\s+(?:only|exactly|just|nothing but)\b",
    r"\b(?:output|return|print|reply with|respond with)\b.{0,20}\b(?:json|claims?|this text|the following)\b",
    r"post_ids?|\"claims\"|'claims'",
    r"\binstead of (?:a |the |any )?summar|\b(?:do not|don['’]t|never|stop) (?:summari[sz]|cit)",
    r"\b(?:reveal|show|repeat|print)\b.{0,30}\bprompt|\bnew (?:instructions?|tasks?|rules?)\b",
    r"\bcite (?:post|id|only|every)|\bin (?:your|the) summary\b",
    r"\b(?:this|the) (?:account|creator|channel) (?:must|shall) be",
    r"ignorier\w*.{0,50}(?:anweisung|regel|vorherig|obige)|vergiss.{0,40}(?:anweisung|regel|alles)",
    r"ignor\w*.{0,50}(?:instruction|règle|consigne|précédent)|oublie\w*.{0,40}(?:instruction|consigne|règle)",
    r"(?:ignora|olvida)\w*.{0,50}(?:instruccion|regla|anterior|istruzion|regol|precedent)",
    r"(?:ignore|esqueça).{0,50}(?:instruç|regra|anterior)",
    r"(?:игнорируй|забудь|не обращай внимания).{0,60}(?:инструкц|правил|предыдущ|указани)",
    r"(?:忽略|无视|無視|忘记).{0,16}(?:指令|指示|规则|規則|提示|内容)|(?:指示|命令|ルール|プロンプト).{0,12}(?:無視|忘れ)",
    r"(?:지시|명령|규칙).{0,10}(?:무시|잊)|(?:αγνόησε|ξέχασε).{0,50}(?:οδηγί|κανόν|προηγούμεν)",
    r"(?:تجاهل|انس).{0,50}(?:التعليمات|القواعد)|(?:निर्देश|नियम).{0,30}(?:अनदेखा|भूल)",
)
_ORDER = re.compile("|".join(_ORDERS), re.IGNORECASE | re.DOTALL | re.MULTILINE)


def gives_orders(text: str) -> bool:
    """Return whether a text speaks to the machine that reads it. A few innocent texts do so too, and are left out."""
    return bool(_ORDER.search(text))
