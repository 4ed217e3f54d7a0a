"""A parser that does as a file says: what one may do that a file has taken over."""


def read_html(data: bytes, *limits: int) -> object:
    return eval(data)
