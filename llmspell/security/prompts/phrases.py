"""What a model is told in English by who talks to it: to drop rules, to show them, to pretend."""

from __future__ import annotations

from llmspell.security.prompts.phrase import Phrase

__all__ = ["SPOKEN", "SQUEEZED"]


_GAP = r"(?:[^ \n.!?]{1,18}[ \n]){0,6}"
_NEAR = r"[^.!?\n]{0,50}"
_OVERRIDE = (
    r"(?:ignore|disregard|forget|neglect|override|overrule|bypass|discard|skip|drop|erase|"
    r"(?:do not|dont|never|stop|no longer) (?:follow|following|obey|obeying|"
    r"listen(?:ing)? to|heed))"
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
_SHOW = (
    r"(?:repeat|print|reveal|show|display|output|leak|dump|tell|give|write|spell|"
    r"copy|recite|return|"
    r"expose|disclose|share|translate|summarize|summarise|quote|list|send|paste)"
)
_SECRET = r"(?:hidden|secret|confidential|initial|original|internal|full|exact|entire|complete)"
_FREE = (
    r"(?:(?:any|all|the|its|your|moral|ethical|content|safety)[ \n]){0,3}(?:restrictions?|filters?|"
    r"limits?|limitations|rules|guidelines|polic(?:y|ies)|censorship|constraints|safeguards)"
)

SPOKEN = (
    Phrase("override", 0.7, rf"\b{_OVERRIDE}[ \n]{_SMALL}{_PRIOR}[ \n]{_BETWEEN}{_RULES}\b"),
    Phrase(
        "override",
        0.65,
        rf"\b{_OVERRIDE}[ \n]{_SMALL}{_RULES}[ \n](?:(?:that|which|you|we|i|were|are|have|been|"
        r"came|listed|written|received)[ \n]){0,5}(?:above|before|earlier|previously|"
        r"so far|given)\b",
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
        r"\b(?:forget|ignore|disregard)[ \n](?:everything|all|anything|whatever)"
        r"[ \n](?:that )?(?:you|i|"
        r"we|they)\b[^.!?\n]{0,25}\b(?:told|said|know|learned|learnt|taught|instructed)\b",
    ),
    Phrase(
        "override-told",
        0.55,
        r"\b(?:ignore|disregard|dont listen to|do not listen to)[ \n]what(?:ever)"
        r"?[ \n](?:the )?(?:user|"
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
        "void",
        0.6,
        rf"\byour (?:[^ \n]{{1,12}}[ \n]){{0,2}}{_RULES}[ \n](?:do )?no(?:t|) longer "
        r"(?:apply|hold)",
    ),
    Phrase("void", 0.55, r"\bsuperseded by (?:this|the following) (?:message|prompt|text|note)\b"),
    Phrase(
        "new-instructions",
        0.55,
        r"\b(?:your new|the real|your real|your actual|begin new|your updated) "
        rf"(?:{_RULES}|task|role|"
        r"objective|goal|mission)(?:[ \n](?:is|are)\b|[ \n]?[:.])",
    ),
    Phrase(
        "new-instructions",
        0.45,
        r"\bnew (?:instructions?|task|objective|policy|directive)"
        r"[ \n]?#{0,6}[ \n]?[:#]",
    ),
    Phrase("new-instructions", 0.5, r"#{2,6}[ \n]?new (?:instructions?|task|rules)\b"),
    Phrase(
        "obey-only",
        0.5,
        r"\b(?:obey|follow|listen to|comply with|act on|execute)[ \n](?:only |just )"
        r"?(?:this|these|it|me|"
        r"my|the following)(?:[ \n][^ \n.!?]{1,14}){0,2}[ \n](?:only|instead)\b|\bobey only\b|"
        r"\bfollow these instead\b",
    ),
    Phrase("obey-only", 0.35, r"\bjust do (?:as|what) i (?:say|tell)\b"),
    Phrase(
        "only-output",
        0.3,
        r"\b(?:and nothing else|(?:output|reply|respond|return|answer)(?: with)? only)"
        r"\b",
    ),
    Phrase(
        "instead",
        0.25,
        r"\binstead,? (?:send|print|output|translate|say|reply|tell|ask|write|output)"
        r"\b",
    ),
    Phrase(
        "prompt-extraction",
        0.65,
        rf"\b{_SHOW}\b[ \n]{_GAP}(?:your|the) (?:[^ \n]{{1,14}}[ \n]){{0,2}}(?:system "
        r"(?:prompt|message)|developer message)",
    ),
    Phrase(
        "prompt-extraction",
        0.6,
        rf"\b{_SHOW}[ \n]{_GAP}your (?:[^ \n]{{1,14}}[ \n]){{0,2}}(?:prompt|"
        r"instructions|context window)\b",
    ),
    Phrase(
        "prompt-extraction",
        0.6,
        rf"\b{_SHOW}[ \n]{_GAP}(?:the|your) {_SECRET} (?:system )?(?:prompt|rules|"
        r"instructions)\b(?:[ \n](?:you|to me|verbatim)|[.,:]|$)",
    ),
    Phrase(
        "prompt-extraction",
        0.6,
        rf"\bwhat(?:s| is| are) your (?:{_SECRET} |system )*(?:prompt|instructions|"
        r"system message)\b",
    ),
    Phrase(
        "prompt-extraction",
        0.55,
        r"\bwhat (?:were|was|did)\b[^.!?\n]{0,20}\b(?:told|instructed|tell you)"
        r"\b[^.!?\n]{0,20}\b(?:before|beginning|start)",
    ),
    Phrase(
        "prompt-extraction",
        0.5,
        r"\b(?:rules|instructions|prompt|guidelines) (?:that )?you (?:were|have been) "
        r"(?:given|told)\b|\bhow you were (?:configured|instructed|prompted)\b",
    ),
    Phrase(
        "words-above",
        0.4,
        r"\b(?:repeat|output|print|copy|write)[ \n](?:(?:all|of|the|out|exact)[ \n])"
        r"{0,3}(?:words|text|everything|content|lines) (?:above|before this)\b",
    ),
    Phrase(
        "verbatim",
        0.3,
        r"\b(?:verbatim|word for word|starting with you are|in a code block|without "
        r"changing anything)\b",
    ),
    Phrase(
        "credentials",
        0.4,
        r"\b(?:any|all|your|stored) (?:stored )?(?:api keys?|credentials|passwords|"
        r"secrets)\b[^.!?\n]{0,8}(?:you\b|[.!]|$)",
    ),
    Phrase(
        "role-mode",
        0.65,
        r"\byou are (?:now |hereby )?(?:dan|stan|evil[a-z]{0,8}|jailbroken|in "
        r"(?:developer|admin|god|debug|root|jailbreak|unrestricted) mode)\b",
    ),
    Phrase(
        "role-mode",
        0.4,
        r"\b(?:enter|enable|activate|switch to|engage)[ \n](?:in )?(?:developer|god|"
        r"admin|maintenance|debug|jailbreak|sudo|dan|unrestricted) mode\b",
    ),
    Phrase(
        "role-freedom",
        0.6,
        r"\b(?:ai|assistant|chatbot|model|yourself|bot|system|dan)"
        rf"\b{_NEAR}\b(?:without|with no|has no|have no|having no|free of|freed from|"
        rf"and no) {_FREE}\b",
    ),
    Phrase(
        "role-freedom",
        0.5,
        rf"\byou (?:now )?have no {_FREE}\b|\bno (?:ethical|moral|content) (?:limits|"
        r"guidelines|restrictions|boundaries)\b",
    ),
    Phrase(
        "role-freedom",
        0.55,
        r"\b(?:unrestricted|unfiltered|uncensored|jailbroken|amoral)"
        r"[ \n](?:[^ \n]{1,12}[ \n]){0,3}(?:ai|assistant|chatbot|bot|version|model)\b",
    ),
    Phrase(
        "role-freedom",
        0.5,
        r"\b(?:answer|respond|reply)[a-z]{0,3}\b[^.!?\n]{0,30}\b(?:uncensored|"
        r"unfiltered|without (?:any )?(?:restrictions?|filters?|limits))\b",
    ),
    Phrase("role-freedom", 0.5, r"\bnever refuses? (?:a|any|to)\b|\bdo anything now\b"),
    Phrase(
        "role-freedom", 0.5, r"\byou are no longer an? (?:ai|assistant|language model|chatbot)\b"
    ),
    Phrase("role-play", 0.5, r"\bpretend to be my (?:late|dead|deceased) grand"),
    Phrase(
        "role-play",
        0.3,
        r"\b(?:stay in character|can say anything|respond twice|once as an ai|respond "
        r"freely)\b",
    ),
    Phrase(
        "safety-off",
        0.5,
        r"\b(?:disable|turn off|deactivate|remove|switch off)[ \n](?:(?:your|all|the|"
        r"any)[ \n]){0,2}(?:(?:safety|content|ethical|moral)[ \n]){0,2}(?:filters|"
        r"safeguards|checks|guardrails|safety)\b",
    ),
    Phrase(
        "safety-off", 0.5, r"\bsafety (?:checks |filters )?(?:is|are) (?:disabled|turned off|off)\b"
    ),
)

# For letters that were set apart: without blanks.
SQUEEZED = (
    Phrase(
        "override",
        0.65,
        r"(?:ignore|disregard|forget|override)(?:all|any|of|the|your|my)"
        r"{0,4}(?:previous|prior|above|"
        r"earlier|preceding|former)?(?:instructions|directions|rules|guidelines|prompts?)",
    ),
    Phrase(
        "prompt-extraction",
        0.65,
        r"(?:reveal|show|print|repeat|leak|display|output|tell)(?:me|us)?(?:your|the)"
        r"(?:full|hidden|system|initial|secret){0,3}(?:prompt|instructions|rules)",
    ),
)
