"""Keys and tokens that providers give a recognisable form."""

from __future__ import annotations

import re

from llmspell.security.redaction.checks import (
    entropy,
    has_crc,
    is_placeholder,
    is_published,
    is_wordy,
)
from llmspell.security.redaction.rules import Check, Rule, any_value

__all__ = ["PROVIDERS"]


def _varied(bits: float) -> Check:
    def check(match: re.Match[str], value: str) -> bool:
        return entropy(value) >= bits and not is_placeholder(value) and not is_published(value)

    return check


def _github(match: re.Match[str], value: str) -> bool:
    # A checksum that holds is proof; one that doesn't is none, for older tokens have none.
    return has_crc(value) or _VARIED(match, value)


def _azure(match: re.Match[str], value: str) -> bool:
    return _VARIED(match, value) and any(c.isdigit() for c in value)


def _unwordy(match: re.Match[str], value: str) -> bool:
    return _VARIED(match, value) and not is_wordy(value) and any(c.isdigit() for c in value)


def _digits(match: re.Match[str], value: str) -> bool:
    return _LOOSE(match, value) and sum(c.isdigit() for c in value) >= 3


def _mixed_case(match: re.Match[str], value: str) -> bool:
    return _VARIED(match, value) and value != value.lower()


def _letters(match: re.Match[str], value: str) -> bool:
    return _VARIED(match, value) and not is_wordy(value)


_VARIED = _varied(3.0)
_LOOSE = _varied(2.0)
_BEFORE, _AFTER = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"


def _token(
    kind: str, prefix: str, body: str, *keywords: str, check: Check = _VARIED, flags: int = 0
) -> Rule:
    """A public prefix, which stays, and a body, which is the secret."""
    words = keywords or (prefix.replace("\\", "").lower(),)
    return Rule(kind, words, f"{_BEFORE}{prefix}", f"(?P<v>{body}){_AFTER}", check, flags)


_W = r"[A-Za-z0-9_-]"
_A = "[A-Za-z0-9]"
_HEX = "[0-9a-fA-F]"
_B64 = "[A-Za-z0-9+/]"

PROVIDERS: tuple[Rule, ...] = (
    # Models
    _token("anthropic_key", "sk-ant-(?:api|admin)[0-9]{2}-", _W + "{93}AA", "sk-ant-"),
    _token("anthropic_key", "sk-ant-(?:oat|ort|sid)[0-9]{2}-", _W + "{60,160}+", "sk-ant-"),
    _token("openai_key", "sk-(?:proj|svcacct|admin|None)-", _W + "{20,200}+", "sk-"),
    _token("openai_key", "sk-", _A + "{32,64}+", check=_VARIED),
    _token("openrouter_key", "sk-or-v1-", _HEX + "{64}"),
    _token("langsmith_key", "lsv2_(?:pt|sk)_", _HEX + "{32}_" + _HEX + "{10}", "lsv2_"),
    _token("huggingface_token", "(?:hf|api_org)_", "[A-Za-z0-9]{34,40}+", "hf_", "api_org_",
           check=_letters),
    _token("groq_key", "gsk_", _A + "{52}"),
    _token("perplexity_key", "pplx-", _A + "{48}"),
    _token("replicate_token", "r8_", _A + "{37,40}+"),
    _token("xai_key", "xai-", _A + "{80}"),
    _token("pinecone_key", "pcsk_", _W + "{60,80}+"),
    # Clouds
    _token("aws_access_key", "(?:AKIA|ASIA|ABIA|ACCA|A3T[A-Z0-9])", "[A-Z2-7]{16}",
           "akia", "asia", "abia", "acca", "a3t", check=_varied(2.5)),
    Rule("aws_bedrock_key", ("absk",), _BEFORE + "ABSK",
         f"(?P<v>{_B64}{{109,269}}+={{0,2}}+)(?![A-Za-z0-9+/=])"),
    Rule("aws_bedrock_key", ("bedrock-api-key-",), "bedrock-api-key-",
         f"(?P<v>YmVkcm9jay5hbWF6b25hd3MuY29t{_B64}{{0,2000}}+={{0,2}}+)"),
    _token("gcp_key", "AIza", _W + "{35}", check=_LOOSE),
    _token("gcp_oauth_token", r"ya29\.", "[A-Za-z0-9_.-]{30,1500}+"),
    _token("gcp_oauth_secret", "GOCSPX-", _W + "{24,32}+"),
    Rule("azure_client_secret", ("q~",), r"(?<![A-Za-z0-9_~.-])[A-Za-z0-9_~.]{3}[0-9]Q~",
         r"[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])", _azure),
    Rule("azure_storage_key", ("accountkey=", "sharedaccesskey="),
         "(?i:AccountKey|SharedAccessKey)=", f"(?P<v>{_B64}{{40,100}}+={{0,2}}+)"),
    _token("alibaba_key", "LTAI", "[A-Za-z0-9]{16,20}+"),
    _token("digitalocean_token", "do[opr]_v1_", _HEX + "{64}", "do", flags=re.IGNORECASE),
    _token("cloudflare_ca_key", r"v1\.0-", _HEX + "{24}-" + _HEX + "{146}"),
    _token("heroku_key", "HRKU-", _W + "{30,64}+", check=_LOOSE),
    _token("flyio_token", "(?:fo1|fm1[ar]|fm2)_", "[A-Za-z0-9+/_-]{43,2000}+={0,3}+",
           "fo1_", "fm1", "fm2_"),
    _token("scalingo_token", "tk-us-", _W + "{48}"),
    _token("yandex_key", "AQVN", _W + "{35,38}+"),
    _token("yandex_token", r"t1\.", _W + r"{2,300}+={0,2}\." + _W + "{86}={0,2}+"),
    _token("openshift_token", "sha256~", _W + "{43}"),
    # Code hosts and registries
    _token("github_token", "gh[pousr]_", _A + "{36,255}+",
           "ghp_", "gho_", "ghu_", "ghs_", "ghr_", check=_github),
    _token("github_token", "github_pat_", "[A-Za-z0-9_]{22,244}+"),
    _token("gitlab_token", "gl(?:pat|dt|rt|ptt|ft|imt|agent|oas|soat|ffct|cbt)-",
           "[A-Za-z0-9_.-]{20,320}+", "gl"),
    _token("gitlab_token", "GR1348941", _W + "{20}"),
    _token("npm_token", "npm_", _A + "{36}", check=_github),
    _token("pypi_token", "pypi-", "AgE[A-Za-z0-9_-]{50,1000}+"),
    _token("rubygems_key", "rubygems_", _HEX + "{48}"),
    _token("clojars_token", "CLOJARS_", "[A-Za-z0-9]{60}", flags=re.IGNORECASE),
    _token("artifactory_key", "AKCp", _A + "{69}"),
    _token("artifactory_token", "cmVmd", _A + "{59}"),
    _token("docker_token", "dckr_(?:pat|oat)_", _W + "{27,40}+", "dckr_"),
    _token("atlassian_token", "ATATT3", "[A-Za-z0-9_=-]{50,250}+"),
    _token("sourcegraph_token", "sgp_", f"(?:(?:{_HEX}{{16}}|local)_)?{_HEX}{{40}}"),
    _token("octopus_key", "API-", "[A-Z0-9]{26}", check=_unwordy),
    _token("harness_key", r"[ps]at\.", rf"{_W}{{22}}\.{_A}{{24}}\.{_A}{{20}}", "pat.", "sat."),
    # Chat and mail
    _token("slack_token", "xox[bc]-", "[0-9]{8,14}-[A-Za-z0-9-]{18,80}+", "xox"),
    _token("slack_token", "xox[pe]-", "(?:[0-9]{10,13}-){2,3}+[A-Za-z0-9-]{24,64}+", "xox"),
    _token("slack_token", "xox[os]-", "(?:[0-9]{1,14}+-){3}+[A-Fa-f0-9]{6,64}+", "xox",
           check=_LOOSE),
    _token("slack_token", "xox[ar]-", "(?:[0-9]-)?[A-Za-z0-9-]{8,80}+", "xox", check=_digits),
    _token("slack_token", r"xoxe(?:\.xox[bp])?-[0-9]-", "[A-Za-z0-9]{140,170}+", "xoxe",
           flags=re.IGNORECASE),
    _token("slack_token", "xoxd-", "[A-Za-z0-9%+/_-]{40,300}+={0,2}+", "xoxd-"),
    _token("slack_token", "xapp-", "[0-9]-[A-Za-z0-9]{6,20}+-[0-9]{6,20}+-[A-Za-z0-9]{10,100}+",
           flags=re.IGNORECASE),
    Rule("slack_webhook", ("hooks.slack.com/",),
         "hooks.slack.com/(?:services|workflows|triggers)/", "(?P<v>[A-Za-z0-9+/]{40,60}+)",
         _VARIED),
    Rule("discord_webhook", ("/api/webhooks/",), "discord(?:app)?.com/api/webhooks/",
         r"[0-9]{15,22}+/(?P<v>[A-Za-z0-9_-]{50,90}+)", _VARIED),
    Rule("teams_webhook", (".webhook.office.com/",), r"\.webhook\.office\.com/webhookb2/",
         "(?P<v>[A-Za-z0-9@/-]{80,250}+)", _VARIED),
    Rule("discord_token", (".",), r"(?<![A-Za-z0-9_.-])[MNO][A-Za-z0-9_-]{22,27}+\.",
         r"(?P<v>[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,40}+)(?![A-Za-z0-9_.-])", _unwordy),
    Rule("telegram_token", (":a",), r"(?<![A-Za-z0-9])(?:bot)?[0-9]{5,16}+:(?=A)",
         r"(?P<v>A[A-Za-z0-9_-]{34})(?![A-Za-z0-9_-])", _VARIED),
    _token("twilio_key", "(?:SK|AC)", "[0-9a-fA-F]{32}", "sk", "ac"),
    _token("sendgrid_key", r"SG\.", "[A-Za-z0-9_=.-]{60,70}+"),
    _token("sendinblue_key", "xkeysib-", _HEX + "{64}-[A-Za-z0-9]{16}"),
    _token("mailgun_key", "(?:pub)?key-", "[0-9a-f]{32}", "key-"),
    Rule("mailchimp_key", ("-us",), _BEFORE + "[0-9a-f]{32}-us[0-9]{1,2}" + _AFTER, "", _VARIED),
    _token("mattermost_key", "mm-", "[a-z0-9]{26}"),
    # Payment and shops
    _token("stripe_key", "(?:sk|rk|whsec)_(?:(?:test|live|prod)_)?", _A + "{16,250}+",
           "sk_", "rk_", "whsec_", check=_unwordy),
    _token("stripe_key", "[sr]k_(?:test|live|prod)_", _A + "{10,250}+", "sk_", "rk_"),
    _token("square_token", "(?:EAAA|sq0(?:atp|csp)-)", _W + "{22,64}+", "eaaa", "sq0"),
    _token("shopify_token", "shp(?:at|ca|pa|ss)_", _HEX + "{32}", "shp"),
    _token("flutterwave_key", "FLW(?:SECK|PUBK)(?:_TEST)?-", "[a-hA-H0-9]{12,32}+(?:-X)?", "flw",
           check=_LOOSE),
    _token("plaid_token", "access-(?:sandbox|development|production)-",
           "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", "access-"),
    _token("duffel_token", "duffel_(?:test|live)_", "[A-Za-z0-9_=-]{43}", "duffel_"),
    _token("easypost_key", "EZ[AT]K", _A + "{54}", "ezak", "eztk"),
    _token("shippo_token", "shippo_(?:live|test)_", _HEX + "{40}", "shippo_"),
    _token("facebook_token", "EAA[A-Z]", "[A-Za-z0-9]{80,400}+", "eaa"),
    Rule("facebook_token", ("|", "%"), r"(?<![A-Za-z0-9])[0-9]{15,16}(?:\||%)",
         r"(?P<v>[0-9A-Za-z_-]{27,40}+)(?![A-Za-z0-9_-])", _VARIED),
    # Operations
    _token("vault_token", r"hv[sbr]\.", _W + "{24,300}+", "hv"),
    _token("vault_token", r"s\.", "[A-Za-z0-9]{24}", check=_unwordy),
    Rule("terraform_token", (".atlasv1.",), r"(?<![A-Za-z0-9])[A-Za-z0-9]{14}\.atlasv1\.",
         "(?P<v>[A-Za-z0-9_=-]{60,70}+)", _VARIED),
    _token("databricks_token", "dapi", "[0-9a-f]{32}(?:-[0-9])?", check=_LOOSE),
    _token("grafana_token", "gl(?:c|sa)_", "[A-Za-z0-9+/_]{32,400}+={0,3}+", "glc_", "glsa_",
           check=_letters),
    _token("grafana_key", "eyJrIjoi", "[A-Za-z0-9]{40,400}+={0,3}+", flags=re.IGNORECASE),
    _token("dynatrace_token", r"dt0[a-z][0-9]{2}\.", r"[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}", "dt0"),
    _token("newrelic_key", "NR(?:AK|JS|II|RA|AL)-", "[A-Za-z0-9-]{19,42}+", "nr",
           flags=re.IGNORECASE),
    _token("sentry_token", "sntryu_", "[0-9a-f]{64}"),
    _token("sentry_token", "sntrys_", "eyJ[A-Za-z0-9+/_=-]{40,500}+"),
    _token("doppler_token", r"dp\.(?:pt|st|ct|sa|scim|audit)\.", r"[A-Za-z0-9._-]{40,60}+", "dp."),
    _token("launchdarkly_key", "(?:sdk|mob|api)-",
           "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "sdk-", "mob-", "api-"),
    _token("planetscale_token", "pscale_(?:tkn|oauth|pw)_", r"[A-Za-z0-9_=.-]{32,64}+", "pscale_",
           flags=re.IGNORECASE),
    _token("prefect_key", "pn[ub]_", _A + "{36}", "pnu_", "pnb_"),
    _token("pulumi_token", "pul-", "[0-9a-f]{40}", check=_LOOSE),
    _token("postman_key", "PMAK-", _HEX + "{24}-" + _HEX + "{34}"),
    _token("linear_key", "lin_(?:api|oauth)_", _A + "{40,64}+", "lin_"),
    _token("notion_token", "(?:ntn|secret)_", _A + "{43,50}+", "ntn_", "secret_"),
    _token("airtable_token", "pat[A-Za-z0-9]{14}[.]", "[0-9a-f]{64}", "pat"),
    _token("figma_token", "figd_", _W + "{40,60}+"),
    _token("frameio_token", "fio-u-", "[A-Za-z0-9_=-]{64}"),
    _token("typeform_token", "tfp_", "[A-Za-z0-9_.=-]{59}"),
    _token("contentful_token", "CFPAT-", _W + "{43}"),
    _token("infracost_key", "ico-", _A + "{32}(?![.])", check=_mixed_case),
    _token("readme_key", "rdme_", "[a-z0-9]{70}"),
    _token("adobe_secret", "p8e-", "[A-Za-z0-9]{32}", flags=re.IGNORECASE),
    _token("clickhouse_key", "4b1d", _A + "{38}"),
    _token("confluent_key", "cflt", _B64 + "{60}"),
    Rule("maxmind_key", ("_mmk",), _BEFORE + "[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk" + _AFTER, "",
         _VARIED),
    _token("settlemint_token", "sm_[aps]at_", _A + "{16}", "sm_"),
    _token("authress_key", "(?:sc|ext|scauth|authress)_",
           r"[A-Za-z0-9]{5,30}+\.[A-Za-z0-9]{4,6}+\.acc[_-][A-Za-z0-9-]{10,32}+\."
           r"[A-Za-z0-9+/_=-]{30,120}+", "sc_", "ext_", "auth_", "authress_", flags=re.IGNORECASE),
    _token("defined_networking_key", "dnkey-", "[A-Za-z0-9_=-]{26}-[A-Za-z0-9_=-]{52}"),
    _token("mapbox_token", r"[sp]k\.", r"[A-Za-z0-9_-]{50,200}+\.[A-Za-z0-9_-]{22}", "k."),
    # Keys of people
    _token("age_key", "AGE-SECRET-KEY-1", "[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
           check=any_value),
    _token("onepassword_key", "A3-",
           "[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}"),
    _token("onepassword_token", "ops_", "eyJ[A-Za-z0-9+/]{200,2000}+={0,3}+"),
)  # fmt: skip
