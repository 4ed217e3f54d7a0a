"""Which arguments a program may be given."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmspell.errors import ConfigError
from llmspell.security.commands.argument_rules import ArgumentRule

__all__ = ["ProgramRule"]


@dataclass(frozen=True, kw_only=True)
class ProgramRule:
    """The flags, options and positional arguments of one program; all others are refused.

    Flags and options are compared as a whole: no abbreviation of a long one passes. Say nothing of
    those by which the program runs others or writes files that no rule names.

    Args:
        flags: that take no value, as ``"-l"`` or ``"--count"``.
        options: that take one, and what it may be: ``{"-n": Matching("[0-9]+")}``. Accepted as
            ``-n 5``, ``-n5`` (a single letter, unless ``clusters`` is False) and ``--name=5``.
        positionals: what the first positional arguments may be, each.
        rest: what all further ones may be; None lets none through.
        required: fewest positional arguments.
        max_arguments: most words after the program.
        max_repeats: most times that one flag or option may be given.
        clusters: whether the program reads ``-la`` as ``-l -a``.
        double_dash: whether the program reads all after ``--`` as positional; else it is refused.
        prefix: words that are put before all others.

    Raises:
        ConfigError: a flag doesn't begin with a dash, or the counts disagree.
    """

    flags: Collection[str] = ()
    options: Mapping[str, ArgumentRule] = field(default_factory=dict)
    positionals: Sequence[ArgumentRule] = ()
    rest: ArgumentRule | None = None
    required: int = 0
    max_arguments: int = 64
    max_repeats: int = 1
    clusters: bool = True
    double_dash: bool = True
    prefix: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("flags", "prefix"):
            if isinstance(getattr(self, name), str):
                raise ConfigError(f"{name} is one str; give several, or a tuple of one")
        for name in ("required", "max_arguments", "max_repeats"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 0:
                raise ConfigError(f"{name} is {count!r}; it is an integer of at least 0")
        # A rule stays as it was checked, whatever becomes of what it was made from.
        object.__setattr__(self, "flags", frozenset(self.flags))
        object.__setattr__(self, "options", dict(self.options))
        object.__setattr__(self, "positionals", tuple(self.positionals))
        object.__setattr__(self, "prefix", tuple(self.prefix))
        for flag in (*self.flags, *self.options):
            if not flag.startswith("-") or flag in {"-", "--"} or "=" in flag:
                raise ConfigError(f"{flag!r} is no flag; one begins with a dash, without a value")
        for both in set(self.flags) & set(self.options):
            raise ConfigError(
                f"{both} is among the flags and the options; it takes a value or none"
            )
        if self.rest is None and self.required > len(self.positionals):
            raise ConfigError(
                f"required is {self.required}, and only {len(self.positionals)} positional"
                " arguments can pass"
            )

    def check(self, words: Sequence[str]) -> tuple[str, ...]:
        """The arguments as the program is to get them.

        Raises:
            ArgumentRefused: one isn't allowed.
        """
        if len(words) > self.max_arguments:
            raise ArgumentRefused(f"{len(words)} arguments, of {self.max_arguments} allowed", None)
        return _Reading(self, words).arguments()


class ArgumentRefused(ValueError):
    """Why an argument isn't allowed, for the validator to say with the program's name."""

    def __init__(self, reason: str, argument: str | None) -> None:
        super().__init__(reason)
        self.argument = argument


class _Reading:
    """One pass over the words of a command."""

    def __init__(self, rule: ProgramRule, words: Sequence[str]) -> None:
        self._rule = rule
        self._words = list(words)
        self._at = 0
        self._seen: dict[str, int] = {}
        self._out: list[str] = list(rule.prefix)
        self._positional_count = 0

    def arguments(self) -> tuple[str, ...]:
        while self._at < len(self._words):
            word = self._words[self._at]
            self._at += 1
            if word == "--" and self._rule.double_dash:
                self._out.append(word)
                for positional in self._words[self._at :]:
                    self._take_positional(positional)
                break
            if word.startswith("-") and word != "-":
                self._take_flag(word)
            else:
                self._take_positional(word)
        if self._positional_count < self._rule.required:
            raise ArgumentRefused(
                f"{self._positional_count} positional arguments, of {self._rule.required} needed",
                None,
            )
        return tuple(self._out)

    def _take_flag(self, word: str) -> None:
        if word in self._rule.flags:
            self._count(word)
            self._out.append(word)
        elif word in self._rule.options:
            value = self._value(word, self._next(word))
            self._out += [word, value]
        elif word.startswith("--"):
            name, equals, value = word.partition("=")
            if not equals or name not in self._rule.options:
                raise ArgumentRefused("isn't among the flags that are allowed", word)
            self._out.append(f"{name}={self._value(name, value)}")
        else:
            self._take_cluster(word)

    def _take_cluster(self, word: str) -> None:
        """Letters behind one dash; each as if it stood alone, the last may have a value."""
        if not self._rule.clusters:
            raise ArgumentRefused("isn't among the flags that are allowed", word)
        for at in range(1, len(word)):
            flag = f"-{word[at]}"
            if flag in self._rule.flags:
                self._count(flag)
                self._out.append(flag)
            elif flag in self._rule.options:
                attached = word[at + 1 :]
                value = self._value(flag, attached or self._next(word))
                self._out += [flag, value]
                return
            else:
                raise ArgumentRefused(f"holds {flag}, which isn't among the flags allowed", word)

    def _next(self, word: str) -> str:
        if self._at == len(self._words):
            raise ArgumentRefused("needs a value", word)
        self._at += 1
        return self._words[self._at - 1]

    def _value(self, option: str, value: str) -> str:
        self._count(option)
        try:
            return self._rule.options[option].check(value)
        except ValueError as error:
            raise ArgumentRefused(f"as the value of {option} {error}", value) from error

    def _count(self, flag: str) -> None:
        self._seen[flag] = self._seen.get(flag, 0) + 1
        if self._seen[flag] > self._rule.max_repeats:
            raise ArgumentRefused(f"given more than {self._rule.max_repeats} times", flag)

    def _take_positional(self, word: str) -> None:
        at = self._positional_count
        rule = self._rule.positionals[at] if at < len(self._rule.positionals) else self._rule.rest
        if rule is None:
            raise ArgumentRefused(f"is positional argument {at + 1}, of {at} allowed", word)
        try:
            self._out.append(rule.check(word))
        except ValueError as error:
            raise ArgumentRefused(str(error), word) from error
        self._positional_count += 1
