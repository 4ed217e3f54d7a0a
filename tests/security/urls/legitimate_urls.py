"""URLs that people and programs ask for in earnest; most of them must be taken."""

from __future__ import annotations

# A slice of what an agent meets: APIs, documents, packages, queries, other scripts, odd spellings.
TAKEN = """
https://example.com
http://example.com/
https://www.example.com/index.html
https://EXAMPLE.com/Path
https://example.com:443/
http://example.com:8080/admin?x=1
https://example.com?q=1
https://example.com/#section
https://example.com/a/b/c.html?x=1&y=2#z
https://example.com/a//b
https://example.com/./a/../b
https://example.com/a;v=1/b,c
https://example.com/~user/
https://example.com/a%20b
https://example.com/%E4%BD%A0%E5%A5%BD
https://example.com/a@b
https://example.com/path:with:colons
https://example.com/search?q=a+b&l=en
https://example.com/search?q=100%25
https://example.com/?next=https%3A%2F%2Fother.example%2Fx
https://example.com/?next=https://other.example/x?y
https://example.com/?a[]=1&a[]=2
https://example.com/?filter={"a":1}
https://example.com/?a|b
https://example.com/?q='x'
https://example.com/?email=a@b.example
https://example.com/?
https://example.com/#
https://example.com/#/route?x=1
https://example.com/#!hash@bang
https://api.openai.com/v1/chat/completions
https://api.anthropic.com/v1/messages
https://generativelanguage.googleapis.com/v1beta/models/m:generateContent?key=K
https://api.github.com/repos/owner/name/issues?per_page=100&page=2
https://raw.githubusercontent.com/owner/name/main/README.md
https://github.com/owner/name/compare/main...topic
https://github.com/owner/name/archive/refs/tags/v1.0.0.tar.gz
https://gitlab.com/api/v4/projects/group%2Fproject/repository/files/a%2Fb.py/raw?ref=main
https://pypi.org/simple/requests/
https://files.pythonhosted.org/packages/ab/cd/name-1.0-py3-none-any.whl#sha256=abcdef
https://registry.npmjs.org/@scope%2fname
https://registry.npmjs.org/@scope/name
https://crates.io/api/v1/crates/serde
https://proxy.golang.org/github.com/!burnt!sushi/toml/@v/list
https://hub.docker.com/v2/repositories/library/python/tags?page_size=25
https://huggingface.co/owner/model/resolve/main/config.json
https://en.wikipedia.org/wiki/Python_(programming_language)
https://de.wikipedia.org/wiki/K\u00f6ln
https://fa.wikipedia.org/wiki/\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645
https://ja.wikipedia.org/wiki/\u6771\u4eac
https://zh.wikipedia.org/wiki/%E6%9D%B1%E4%BA%AC
https://www.youtube.com/watch?v=abc_DEF-123&t=10s
https://r3---sn-4g5e6nez.googlevideo.com/videoplayback?expire=1
https://my_bucket.s3.amazonaws.com/key
https://bucket.s3.eu-central-1.amazonaws.com/k?X-Amz-Signature=ab%2Fcd&X-Amz-Expires=60
https://storage.googleapis.com/bucket/o%20k
https://account.blob.core.windows.net/c/b?sv=2020&sig=a%2Bb%3D
https://vault.vault.azure.net/secrets/name?api-version=7.4
https://sts.eu-west-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15
https://maps.googleapis.com/maps/api/geocode/json?address=1600+Amphitheatre,+CA
https://api.openweathermap.org/data/2.5/weather?q=M%C3%BCnchen,de
https://query1.finance.yahoo.com/v8/finance/chart/%5EGSPC
https://arxiv.org/abs/2401.00001v2
https://doi.org/10.1000/xyz123(456)
https://doi.org/10.1002/(SICI)1097-0258(19980815/30)17:15/16%3C1661::AID-SIM968%3E3.0.CO;2-2
https://www.rfc-editor.org/rfc/rfc3986#section-3.2.2
https://web.archive.org/web/20200101000000/http://example.com/
https://translate.google.com/?sl=auto&tl=en&text=a%0Ab
https://web.example/a?u=javascript:alert(1)
https://xn--bcher-kva.example/
https://b\u00fccher.example/
https://M\u00dcNCHEN.example/
https://\u4f8b\u3048.\u30c6\u30b9\u30c8/
https://\u043f\u0440\u0438\u043c\u0435\u0440.\u0438\u0441\u043f\u044b\u0442\u0430\u043d\u0438\u0435/
https://\ud55c\uad6d.example/
https://\u0645\u062b\u0627\u0644.\u0625\u062e\u062a\u0628\u0627\u0631/
https://caf\u00e9.example/men\u00fc
https://xn--strae-oqa.example/
https://8.8.8.8/
http://1.1.1.1:80/dns-query?name=a
https://[2606:4700:4700::1111]/dns-query
https://[2A00:1450:4001:82A:0:0:0:200E]:8443/
http://[::ffff:8.8.8.8]/
https://1.2.3.4.example.com/
https://1password.com/
https://3.basecamp.com/
https://0x.org/
https://360.cn/
https://a.b.c.d.e.f.example.com/
https://a-b-c.example.co.uk/
https://t.co/a
https://x/
https://localhost.example.com/
https://example.museum/
https://example.xn--p1ai/
https://127-0-0-1.example.com/
https://10.example.com/
https://example.com:65535/
https://example.com:1/
HTTP://EXAMPLE.COM/
HtTpS://Example.Com/X
https://example.com/a!$&'()*+,;=:@b
https://example.com/\u2603?\u2603=\U0001f600
https://example.com/a^b`c
https://example.com/<tag>
https://example.com/a?b?c?d
https://example.com/a#b?c/d@e:f
https://user-images.example.com/1/2-3_4.png
https://cdn.example.com/a.min.js?v=1.2.3-rc.1+build
https://example.com/.well-known/openid-configuration
https://login.example.com/oauth2/v2.0/token
https://hooks.example.com/services/T000/B000/XXXX
https://s3.example.com:9000/bucket/?list-type=2&prefix=a%2F
https://search.example.com/_search?q=field:value%20AND%20x:[1%20TO%202]
https://node1_internal.example.com:9200/_cat/indices?v
""".strip().splitlines()

# In use, but refused because clients differ on them; each can be written otherwise.
REFUSED_THOUGH_USED = {
    "https://example.com./": "dot",
    "https://user:pass@example.com/": "credentials",
    "https://stra\u00dfe.example/": "unicode-host",
    "https://example.com:/": "port",
    "https://example.com/100%": "percent",
    "https://example.com/a b": "whitespace",
    "https://example.com/a\\b": "backslash",
    " https://example.com/": "whitespace",
}
