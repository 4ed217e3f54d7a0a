"""What instructions to a model look like in English: patterns over folded text, with weights.

A weight is how sure one sign alone makes us; 0.5 is the threshold that the tests report at. Phrases
that ordinary texts have too weigh less, and count where several come together.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ENGLISH", "SQUEEZED", "Phrase"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """A rule's name, its weight, and its pattern: RE2's language, over folded text."""

    rule: str
    weight: float
    pattern: str


_GAP = r"(?:[^ \n.!?]{1,18}[ \n]){0,6}"
_NEAR = r"[^.!?\n]{0,50}"
_OVERRIDE = (
    r"(?:ignore|disregard|forget|neglect|override|overrule|bypass|discard|skip|drop|erase|"
    r"(?:do not|dont|never|stop|no longer) (?:follow|following|obey|obeying|listen(?:ing)? to|heed))"
)
_SMALL = (
    r"(?:(?:all|any|every|each|of|the|these|those|this|your|my|its|to|about|completely|now|just|"
    r"entire|whole)[ \n]){0,5}"
)
_BETWEEN = (
    r"(?:(?:of|the|your|my|these|those|given|system|developer|user|safety|content|hidden|and|or|"
    r"other|programmed|initial)[ \n]){0,4}"
)
_PRIOR = (
    r"(?:all|any|previous|prior|preceding|earlier|above|former|foregoing|your|original|initial|"
    r"system|past|existing)"
)
_RULES = (
    r"(?:instructions?|directions?|directives?|guidelines?|rules?|commands?|prompts?|orders|"
    r"constraints|restrictions|programming|polic(?:y|ies)|context|training|safeguards?)"
)
_MODEL = (
    r"(?:ais?|llms?|(?:large )?language models?|models?|ai assistants?|assistants?|chatbots?|"
    r"copilot|chatgpt|gpt|claude|gemini|(?:ai )?agents?|automated reviewers?|ai reviewers?)"
)
_SHOW = (
    r"(?:repeat|print|reveal|show|display|output|leak|dump|tell|give|write|spell|copy|recite|return|"
    r"expose|disclose|share|translate|summarize|summarise|quote|list|send|paste)"
)
_SECRET = r"(?:hidden|secret|confidential|initial|original|internal|full|exact|entire|complete)"
_FREE = (
    r"(?:(?:any|all|the|its|your|moral|ethical|content|safety)[ \n]){0,3}(?:restrictions?|filters?|"
    r"limits?|limitations|rules|guidelines|polic(?:y|ies)|censorship|constraints|safeguards)"
)

ENGLISH = (
    Phrase("override", 0.7, rf"\b{_OVERRIDE}[ \n]{_SMALL}{_PRIOR}[ \n]{_BETWEEN}{_RULES}\b"),
    Phrase(
        "override",
        0.65,
        rf"\b{_OVERRIDE}[ \n]{_SMALL}{_RULES}[ \n](?:(?:that|which|you|we|i|were|are|have|been|"
        r"came|listed|written|received)[ \n]){0,5}(?:above|before|earlier|previously|so far|given)\b",
    ),
    Phrase(
        "override-above",
        0.65,
        r"\b(?:ignore|disregard|forget)[ \n](?:(?:everything|all|anything|of|the|text|content|"
        r"message|what is)[ \n]){0,4}(?:above|preceding|before this)(?:[ \n](?:and|then)\b|[.,;:])",
    ),
    Phrase(
        "override-told",
        0.65,
        r"\b(?:forget|ignore|disregard)[ \n](?:everything|all|anything|whatever)[ \n](?:that )?(?:you|i|"
        r"we|they)\b[^.!?\n]{0,25}\b(?:told|said|know|learned|learnt|taught|instructed)\b",
    ),
    Phrase(
        "override-told",
        0.55,
        r"\b(?:ignore|disregard|dont listen to|do not listen to)[ \n]what(?:ever)?[ \n](?:the )?(?:user|"
        r"system|developers?)\b[^.!?\n]{0,20}\b(?:asks?|asked|says?|said|told|wants?)\b",
    ),
    Phrase("wipe", 0.55, r"\b(?:erase|wipe|clear|reset) your (?:memory|context|instructions)\b"),
    Phrase(
        "void",
        0.6,
        rf"\b(?:your (?:[^ \n]{{1,12}}[ \n]){{0,2}}|the ){_RULES}(?:[ \n]you[^.!?\n]{{0,25}})?[ \n]"
        r"(?:(?:are|is|have|has|been|now)[ \n]){0,3}(?:void|null|cancelled|revoked)\b",
    ),
    Phrase(
        "void", 0.6, rf"\byour (?:[^ \n]{{1,12}}[ \n]){{0,2}}{_RULES}[ \n](?:do )?no(?:t|) longer (?:apply|hold)"
    ),
    Phrase("void", 0.55, r"\bsuperseded by (?:this|the following) (?:message|prompt|text|note)\b"),
    Phrase(
        "new-instructions",
        0.55,
        rf"\b(?:your new|the real|your real|your actual|begin new|your updated) (?:{_RULES}|task|role|"
        r"objective|goal|mission)(?:[ \n](?:is|are)\b|[ \n]?[:.])",
    ),
    Phrase(
        "new-instructions", 0.45, r"\bnew (?:instructions?|task|objective|policy|directive)[ \n]?#{0,6}[ \n]?[:#]"
    ),
    Phrase("new-instructions", 0.5, r"#{2,6}[ \n]?new (?:instructions?|task|rules)\b"),
    Phrase(
        "obey-only",
        0.5,
        r"\b(?:obey|follow|listen to|comply with|act on|execute)[ \n](?:only |just )?(?:this|these|it|me|"
        r"my|the following)(?:[ \n][^ \n.!?]{1,14}){0,2}[ \n](?:only|instead)\b|\bobey only\b|"
        r"\bfollow these instead\b",
    ),
    Phrase("obey-only", 0.35, r"\bjust do (?:as|what) i (?:say|tell)\b"),
    Phrase("only-output", 0.3, r"\b(?:and nothing else|(?:output|reply|respond|return|answer)(?: with)? only)\b"),
    Phrase("instead", 0.25, r"\binstead,? (?:send|print|output|translate|say|reply|tell|ask|write|output)\b"),
    Phrase("prompt-extraction", 0.65, rf"\b{_SHOW}\b[ \n]{_GAP}(?:your|the) (?:[^ \n]{{1,14}}[ \n]){{0,2}}(?:system (?:prompt|message)|developer message)"),
    Phrase("prompt-extraction", 0.6, rf"\b{_SHOW}[ \n]{_GAP}your (?:[^ \n]{{1,14}}[ \n]){{0,2}}(?:prompt|instructions|context window)\b"),
    Phrase("prompt-extraction", 0.6, rf"\b{_SHOW}[ \n]{_GAP}(?:the|your) {_SECRET} (?:system )?(?:prompt|rules|instructions)\b(?:[ \n](?:you|to me|verbatim)|[.,:]|$)"),
    Phrase("prompt-extraction", 0.6, rf"\bwhat(?:s| is| are) your (?:{_SECRET} |system )*(?:prompt|instructions|system message)\b"),
    Phrase("prompt-extraction", 0.55, r"\bwhat (?:were|was|did)\b[^.!?\n]{0,20}\b(?:told|instructed|tell you)\b[^.!?\n]{0,20}\b(?:before|beginning|start)"),
    Phrase("prompt-extraction", 0.5, r"\b(?:rules|instructions|prompt|guidelines) (?:that )?you (?:were|have been) (?:given|told)\b|\bhow you were (?:configured|instructed|prompted)\b"),
    Phrase("words-above", 0.4, r"\b(?:repeat|output|print|copy|write)[ \n](?:(?:all|of|the|out|exact)[ \n]){0,3}(?:words|text|everything|content|lines) (?:above|before this)\b"),
    Phrase("verbatim", 0.3, r"\b(?:verbatim|word for word|starting with you are|in a code block|without changing anything)\b"),
    Phrase("credentials", 0.4, r"\b(?:any|all|your|stored) (?:stored )?(?:api keys?|credentials|passwords|secrets)\b[^.!?\n]{0,8}(?:you\b|[.!]|$)"),
    Phrase("role-mode", 0.65, r"\byou are (?:now |hereby )?(?:dan|stan|evil[a-z]{0,8}|jailbroken|in (?:developer|admin|god|debug|root|jailbreak|unrestricted) mode)\b"),
    Phrase("role-mode", 0.4, r"\b(?:enter|enable|activate|switch to|engage)[ \n](?:in )?(?:developer|god|admin|maintenance|debug|jailbreak|sudo|dan|unrestricted) mode\b"),
    Phrase("role-freedom", 0.6, rf"\b(?:ai|assistant|chatbot|model|yourself|bot|system|dan)\b{_NEAR}\b(?:without|with no|has no|have no|having no|free of|freed from|and no) {_FREE}\b"),
    Phrase("role-freedom", 0.5, rf"\byou (?:now )?have no {_FREE}\b|\bno (?:ethical|moral|content) (?:limits|guidelines|restrictions|boundaries)\b"),
    Phrase("role-freedom", 0.55, r"\b(?:unrestricted|unfiltered|uncensored|jailbroken|amoral)[ \n](?:[^ \n]{1,12}[ \n]){0,3}(?:ai|assistant|chatbot|bot|version|model)\b"),
    Phrase("role-freedom", 0.5, r"\b(?:answer|respond|reply)[a-z]{0,3}\b[^.!?\n]{0,30}\b(?:uncensored|unfiltered|without (?:any )?(?:restrictions?|filters?|limits))\b"),
    Phrase("role-freedom", 0.5, r"\bnever refuses? (?:a|any|to)\b|\bdo anything now\b"),
    Phrase("role-freedom", 0.5, r"\byou are no longer an? (?:ai|assistant|language model|chatbot)\b"),
    Phrase("role-play", 0.5, r"\bpretend to be my (?:late|dead|deceased) grand"),
    Phrase("role-play", 0.3, r"\b(?:stay in character|can say anything|respond twice|once as an ai|respond freely)\b"),
    Phrase("safety-off", 0.5, r"\b(?:disable|turn off|deactivate|remove|switch off)[ \n](?:(?:your|all|the|any)[ \n]){0,2}(?:(?:safety|content|ethical|moral)[ \n]){0,2}(?:filters|safeguards|checks|guardrails|safety)\b"),
    Phrase("safety-off", 0.5, r"\bsafety (?:checks |filters )?(?:is|are) (?:disabled|turned off|off)\b"),
    Phrase("chat-markup", 0.3, r"<\|(?:im_start|im start|im end|system|user|assistant|endoftext|eot id)\|?>|<\x20?(?:im start|im end|endoftext|system)\x20?>"),
    Phrase("chat-markup", 0.6, r"<[ |]{0,2}(?:im start|start header id)[ |]{0,2}>[ \n]?system|\[inst\][ \n]?<<sys>>|<start of turn>[ \n]?(?:model|system)|<[ |]?endoftext[ |]?>[ \n]?<[ |]?system"),
    Phrase("fake-turn", 0.6, r"</(?:document|context|input|data|user|page)>[ \n]?<(?:system|instructions?|admin)"),
    Phrase("fake-turn", 0.5, r"(?:^|\n)[ ]?system[ ]?:[^\n]{0,80}\b(?:the user is|grant|must|administrator|ignore|override|you are|disable)"),
    Phrase("fake-turn", 0.55, r"(?:^|\n)[ ]?assistant[ ]?:[ \n]?(?:sure|of course|ok|okay|certainly|i will)\b"),
    Phrase("fake-turn", 0.45, r"#{2,4}[ ]?(?:instruction|response)[ ]?:"),
    Phrase("fake-turn", 0.55, r"\[ ?system (?:message|override|prompt|note) ?\]|\[system\][ ]?\(|\bsystem override\b|\brole: ?system, ?content:"),
    Phrase("end-of-input", 0.35, r"\bend of (?:the )?(?:user input|document|context|prompt|data)\b"),
    Phrase("addressed", 0.45, rf"\b(?:note|message|attention|instructions?|important|notice|dear|hey|hello)(?:[,:]?[ ](?:to|for|all|any|the)){{0,3}}[,:]?[ ]{_MODEL}\b"),
    Phrase("addressed", 0.45, rf"\b(?:if|when|as|once) (?:you are |you,? |this text is being processed by |this is read by )?(?:an? |the |any )?{_MODEL}\b"),
    Phrase("addressed", 0.55, rf"\bwhen you,? (?:the |an? )?{_MODEL}\b"),
    Phrase("addressed", 0.5, rf"\b(?:any|as an) {_MODEL} (?:reviewing|reading|processing|parsing|summari[sz]ing)\b"),
    Phrase("addressed", 0.35, rf"(?:^|[\n.!>\-] ?)(?:to the |the )?{_MODEL} ?(?:instruction)?(?::| must\b| should\b)"),
    Phrase("addressed", 0.3, r"\bthe (?:ai|assistant|model) (?:must|should|will|now|is to)\b"),
    Phrase("hidden-instruction", 0.4, r"\bhidden instructions? (?:for|to)\b|\bllm instructions?\b"),
    Phrase("covert", 0.5, r"\b(?:do not|dont|never|without)[ \n](?:tell|telling|inform|informing|alert|notify|notifying|asking)[ \n](?:the )?users?\b|\bdo not (?:mention|reveal|disclose|show) this (?:note|instruction|message)"),
    Phrase("covert", 0.3, r"\bwithout (?:asking|informing anybody|telling anyone)\b|\b(?:silently|secretly) (?:append|add|send|forward|include)\b"),
    Phrase("exfiltration", 0.45, r"\b(?:send|forward|upload|post|email|transfer|encode|leak|reply to this email with)\b[^.!?\n]{0,60}\b(?:conversation|chat history|inbox|secrets?|credentials|password reset|passwords|last (?:three|few|[0-9]{1,3}) messages|contacts|env)\b"),
    Phrase("exfiltration", 0.5, r"\bread [^\n]{0,20}(?:id rsa|/\.ssh|/etc/passwd|\.env)\b"),
    Phrase("exfiltration", 0.55, r"https?://[^ \n]{1,80}[?&][a-z]{1,10}=(?:\{|[ ]?followed by)"),
    Phrase("tool-use", 0.35, r"\b(?:call|use|invoke|run)[ \n](?:the )?[^\n.!?]{1,30} (?:tool|function) (?:with|to)\b|\bexecute the following (?:shell )?commands?\b"),
    Phrase("tool-use", 0.3, r"\b(?:https?://|@)[^ \n]{0,40}(?:evil|attacker)|\b(?:visit|post [^\n]{0,30} to|upload [^\n]{0,30} to) https?://"),
    Phrase("verdict", 0.35, r"\b(?:give|rank|rate|score|recommend|accept|approve|mark)\b[^.!?\n]{0,45}\b(?:highest|first|10/10|best|above all|positive review|as paid|submission|without any checks)"),
    Phrase("phishing", 0.45, r"\b(?:ask|tell) (?:them|the user|the reader|users)\b[^.!?\n]{0,40}\b(?:credit card|password|is locked|install|call)\b"),
)  # fmt: skip

# For letters that were set apart: without blanks.
SQUEEZED = (
    Phrase(
        "override",
        0.65,
        r"(?:ignore|disregard|forget|override)(?:all|any|of|the|your|my){0,4}(?:previous|prior|above|"
        r"earlier|preceding|former)?(?:instructions|directions|rules|guidelines|prompts?)",
    ),
    Phrase(
        "prompt-extraction",
        0.65,
        r"(?:reveal|show|print|repeat|leak|display|output|tell)(?:me|us)?(?:your|the)"
        r"(?:full|hidden|system|initial|secret){0,3}(?:prompt|instructions|rules)",
    ),
)
