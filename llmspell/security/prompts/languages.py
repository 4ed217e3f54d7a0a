"""The commonest instructions to a model in other languages than English, as RE2 patterns.

Each pattern is folded as the text is, so it can be written as the language is; escapes are in lower
case for that.
"""

from __future__ import annotations

from llmspell.security.prompts.phrase import Phrase

__all__ = ["OTHER_LANGUAGES"]

# Within one sentence.
_N = r"[^.!?。\n]{0,30}"


def _all(rule: str, weight: float, *patterns: str) -> tuple[Phrase, ...]:
    return tuple(Phrase(rule, weight, pattern) for pattern in patterns)


OTHER_LANGUAGES = (
    *_all(
        "override",
        0.65,
        # German, French, Spanish, Italian, Portuguese, Dutch, Polish
        r"\b(?:ignorier|vergiss|missacht|beacht|verwirf|überschreib)"
        rf"\w{{0,3}}\b{_N}(?:vorherig|bisherig|obig|vorig|früher)\w{{0,3}} "
        rf"(?:\w{{1,12}} )?(?:anweisung|regel|richtlini|befehl|vorgab|instruktion)",
        r"\bvergiss alles, was (?:dir|du|man|ich)\b",
        r"\b(?:ignore|oublie|néglige|ne tiens pas compte des?)(?:z|r)"
        rf"?\b{_N}(?:instructions|consignes|règles|directives) (?:précédentes|"
        r"antérieures|ci-dessus|données)",
        r"\boublie(?:z|r)? tout ce (?:qu|que)",
        rf"\b(?:ignora|olvida|descarta|no hagas caso de|omite)\b{_N}(?:instrucciones|"
        r"órdenes|reglas|indicaciones) (?:anteriores|previas|de arriba)",
        r"\bolvida todo lo que (?:te|se)\b",
        rf"\b(?:ignora|dimentica|trascura)\b{_N}(?:istruzioni|regole|direttive) "
        r"(?:precedenti|sopra|date)|\bdimentica tutto quello che\b",
        rf"\b(?:ignore|esqueça|desconsidere)\b{_N}(?:instruções|regras|ordens) "
        r"(?:anteriores|acima|prévias)|\besqueça tudo o que\b",
        rf"\b(?:negeer|vergeet)\b{_N}(?:vorige|eerdere|voorgaande|bovenstaande) "
        r"(?:instructies|regels|opdrachten)|\bvergeet alles wat je\b",
        rf"\b(?:zignoruj|zapomnij)\b{_N}(?:poprzednie|wcześniejsze|powyższe) "
        r"(?:instrukcje|polecenia|zasady)",
        # Russian, Turkish, Arabic, Hindi
        rf"(?:игнорируй|проигнорируй|забудь|не следуй|отмени)(?:те)?{_N}(?:предыдущ|"
        rf"прежн|прошл|вышеуказанн){_N}(?:инструкци|указани|правил|команд)",
        r"забудь(?:те)? вс[её], что (?:тебе|вам|ты)",
        rf"önceki{_N}(?:talimat|kural|komut){_N}(?:yok say|unut|görmezden gel|dikkate alma)",
        rf"(?:تجاهل|انس){_N}(?:التعليمات|الأوامر|القواعد) (?:السابقة|أعلاه)",
        rf"पिछले{_N}(?:निर्देश|नियम){_N}(?:अनदेखा|भूल)",
        # Chinese, Japanese, Korean
        r"(?:忽略|无视|無視|忘记|忽視)[^。\n]{0,8}(?:之前|以上|先前|上述|前面)"
        r"[^。\n]{0,8}(?:指令|指示|规则|規則|提示|命令)",
        r"忘记你?(?:之前)?被告知的",
        r"(?:これまで|以前|上記|今まで|前)の[^。\n]{0,4}(?:指示|命令|ルール|指令)"
        r"[^。\n]{0,8}(?:無視|忘れ)",
        r"(?:이전|위)의?[^.\n]{0,8}(?:지시|명령|규칙|지침)[^.\n]{0,12}(?:무시|잊)",
    ),
    *_all(
        "prompt-extraction",
        0.6,
        rf"\b(?:zeig|gib|nenn|verrat|verrät|offenbar)\w{{0,3}}\b{_N}(?:system-?prompt|"
        rf"(?:geheim|versteckt)\w{{0,3}} (?:anweisung|regel)|deine anweisung)",
        rf"\b(?:affiche|montre|révèle|donne|répète)(?:z|r)?\b{_N}(?:prompt système|"
        r"instructions (?:cachées|secrètes|initiales)|consignes secrètes)",
        rf"\b(?:muestra|muéstrame|revela|dime|imprime)\b{_N}(?:prompt del? sistema|"
        r"instrucciones (?:secretas|ocultas|iniciales))",
        rf"\b(?:mostra|mostrami|rivela|dimmi)\b{_N}(?:prompt di sistema|istruzioni "
        r"(?:segrete|nascoste))",
        rf"\b(?:mostre|revele|exiba)\b{_N}(?:prompt d[eo] sistema|instruções (?:secretas|ocultas))",
        rf"\b(?:toon|geef|onthul)\b{_N}(?:systeemprompt|geheime instructies)",
        rf"\b(?:pokaż|ujawnij|wypisz)\b{_N}(?:prompt systemowy|ukryte instrukcje)",
        rf"(?:покажи|выведи|раскрой|повтори)(?:те)?{_N}(?:системн\w{{2,3}} промпт|"
        rf"скрыт\w{{2,3}} инструкци)",
        rf"sistem (?:istemi|mesaj|promptu){_N}göster",
        rf"(?:اعرض|اكشف){_N}(?:موجه النظام|التعليمات السرية)",
        r"(?:显示|输出|告诉|透露|重复)[^。\n]{0,12}(?:系统提示|系統提示|隐藏指令|初始提示)",
        r"(?:システムプロンプト|隠された指示)[^。\n]{0,12}(?:表示|出力|教え|見せ)",
        r"시스템 프롬프트[^.\n]{0,14}(?:보여|출력|공개|알려)",
    ),
    *_all(
        "role-freedom",
        0.55,
        rf"\bdu bist (?:jetzt|nun|ab sofort)\b{_N}ohne (?:\w{{1,10}} )"
        r"?(?:einschränkung|filter|regeln)",
        rf"\btu es (?:maintenant|désormais)\b{_N}sans (?:restriction|filtre|limite|règle)",
        rf"\bahora eres\b{_N}sin (?:restriccion|filtro|límite|regla)",
        rf"\b(?:adesso|ora) sei\b{_N}senza (?:restrizion|filtr|limit|regol)",
        rf"\bagora você é\b{_N}sem (?:restriç|filtro|limite|regra)",
        rf"теперь ты{_N}без (?:ограничени|фильтр|правил)",
        r"(?:你现在是|你是)[^。\n]{0,10}(?:没有|不受)[^。\n]{0,6}(?:限制|约束|过滤)",
        r"(?:今から|これから)[^。\n]{0,10}(?:制限|制約|フィルタ)の?な[いし]",
    ),
    *_all(
        "obey-only",
        0.35,
        r"ab sofort gelten nur",
        r"выполняй только мои",
        r"只(?:执行|听从|服从)我的",
        r"私の(?:指示|命令)だけ",
        rf"\bsigue solo\b{_N}órdenes",
    ),
)
