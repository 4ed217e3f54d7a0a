"""What a model is told in English by a planted text: turns that are none, notes to it, orders."""

from __future__ import annotations

from llmspell.security.prompts.phrase import Phrase

__all__ = ["PLANTED"]

_MODEL = (
    r"(?:ais?|llms?|(?:large )?language models?|models?|ai assistants?|assistants?|chatbots?|"
    r"copilot|chatgpt|gpt|claude|gemini|(?:ai )?agents?|automated reviewers?|ai reviewers?)"
)

PLANTED = (
    Phrase(
        "chat-markup",
        0.3,
        r"<\|(?:im_start|im start|im end|system|user|assistant|endoftext|eot id)\|?>|"
        r"<\x20?(?:im start|im end|endoftext|system)\x20?>",
    ),
    Phrase(
        "chat-markup",
        0.6,
        r"<[ |]{0,2}(?:im start|start header id)[ |]{0,2}>[ \n]?system|"
        r"\[inst\][ \n]?<<sys>>|<start of turn>[ \n]?(?:model|system)|"
        r"<[ |]?endoftext[ |]?>[ \n]?<[ |]?system",
    ),
    Phrase(
        "fake-turn",
        0.6,
        r"</(?:document|context|input|data|user|page)>[ \n]?<(?:system|instructions?|"
        r"admin)",
    ),
    Phrase(
        "fake-turn",
        0.5,
        r"(?:^|\n)[ ]?system[ ]?:[^\n]{0,80}\b(?:the user is|grant|must|administrator|"
        r"ignore|override|you are|disable)",
    ),
    Phrase(
        "fake-turn",
        0.55,
        r"(?:^|\n)[ ]?assistant[ ]?:[ \n]?(?:sure|of course|ok|okay|certainly|i will)"
        r"\b",
    ),
    Phrase("fake-turn", 0.45, r"#{2,4}[ ]?(?:instruction|response)[ ]?:"),
    Phrase(
        "fake-turn",
        0.55,
        r"\[ ?system (?:message|override|prompt|note) ?\]|\[system\][ ]?\(|\bsystem "
        r"override\b|\brole: ?system, ?content:",
    ),
    Phrase(
        "end-of-input", 0.35, r"\bend of (?:the )?(?:user input|document|context|prompt|data)\b"
    ),
    Phrase(
        "addressed",
        0.45,
        r"\b(?:note|message|attention|instructions?|important|notice|dear|hey|hello)"
        rf"(?:[,:]?[ ](?:to|for|all|any|the)){{0,3}}[,:]?[ ]{_MODEL}\b",
    ),
    Phrase(
        "addressed",
        0.45,
        r"\b(?:if|when|as|once) (?:you are |you,? |this text is being processed by |"
        rf"this is read by )?(?:an? |the |any )?{_MODEL}\b",
    ),
    Phrase("addressed", 0.55, rf"\bwhen you,? (?:the |an? )?{_MODEL}\b"),
    Phrase(
        "addressed",
        0.5,
        rf"\b(?:any|as an) {_MODEL} (?:reviewing|reading|processing|parsing|"
        r"summari[sz]ing)\b",
    ),
    Phrase(
        "addressed",
        0.35,
        rf"(?:^|[\n.!>\-] ?)(?:to the |the )?{_MODEL} ?(?:instruction)?(?::| must\b| "
        r"should\b)",
    ),
    Phrase("addressed", 0.3, r"\bthe (?:ai|assistant|model) (?:must|should|will|now|is to)\b"),
    Phrase("hidden-instruction", 0.4, r"\bhidden instructions? (?:for|to)\b|\bllm instructions?\b"),
    Phrase(
        "covert",
        0.5,
        r"\b(?:do not|dont|never|without)[ \n](?:tell|telling|inform|informing|alert|"
        r"notify|notifying|asking)[ \n](?:the )?users?\b|\bdo not (?:mention|reveal|"
        r"disclose|show) this (?:note|instruction|message)",
    ),
    Phrase(
        "covert",
        0.3,
        r"\bwithout (?:asking|informing anybody|telling anyone)\b|\b(?:silently|"
        r"secretly) (?:append|add|send|forward|include)\b",
    ),
    Phrase(
        "exfiltration",
        0.45,
        r"\b(?:send|forward|upload|post|email|transfer|encode|leak|reply to this "
        r"email with)\b[^.!?\n]{0,60}\b(?:conversation|chat history|inbox|secrets?|"
        r"credentials|password reset|passwords|last (?:three|few|[0-9]{1,3}) messages|"
        r"contacts|env)\b",
    ),
    Phrase("exfiltration", 0.5, r"\bread [^\n]{0,20}(?:id rsa|/\.ssh|/etc/passwd|\.env)\b"),
    Phrase("exfiltration", 0.55, r"https?://[^ \n]{1,80}[?&][a-z]{1,10}=(?:\{|[ ]?followed by)"),
    Phrase(
        "tool-use",
        0.35,
        r"\b(?:call|use|invoke|run)[ \n](?:the )?[^\n.!?]{1,30} (?:tool|function) "
        r"(?:with|to)\b|\bexecute the following (?:shell )?commands?\b",
    ),
    Phrase(
        "tool-use",
        0.3,
        r"\b(?:https?://|@)[^ \n]{0,40}(?:evil|attacker)|\b(?:visit|post [^\n]{0,30} "
        r"to|upload [^\n]{0,30} to) https?://",
    ),
    Phrase(
        "verdict",
        0.35,
        r"\b(?:give|rank|rate|score|recommend|accept|approve|mark)"
        r"\b[^.!?\n]{0,45}\b(?:highest|first|10/10|best|above all|positive review|as "
        r"paid|submission|without any checks)",
    ),
    Phrase(
        "phishing",
        0.45,
        r"\b(?:ask|tell) (?:them|the user|the reader|users)"
        r"\b[^.!?\n]{0,40}\b(?:credit card|password|is locked|install|call)\b",
    ),
)
