"""Tables in Markdown, one module a kind of result; :mod:`benchmarks.report` puts them together."""
