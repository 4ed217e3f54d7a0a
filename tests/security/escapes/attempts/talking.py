"""Says to its owner what no worker says: bytes of its own, straight to the socket."""

import os
import struct
import threading
import time

RESULT, ERROR, READY, ASK = 2, 3, 4, 5
NIL = b"\xc0"


def _say(raw):
    """To whichever descriptor takes it."""
    for descriptor in range(3, 32):
        try:
            rest = raw
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            return
        except OSError:
            continue
    raise PermissionError("there is no socket")


def _frame(kind, payload, length=None):
    return struct.pack("<BI", kind, len(payload) if length is None else length) + payload


def well():
    return 42


class Evil:
    """What a pickle would run."""

    def __reduce__(self):
        return os.system, ("touch /tmp/llmspell-escape-by-pickle",)


def returns_pickle():
    return Evil()


def returns_too_much(size):
    return b"x" * size


def returns_deep(depth):
    made = []
    for _ in range(depth):
        made = [made]
    return made


def returns_itself():
    made = []
    made.append(made)
    return made


def returns_huge_int():
    return 1 << 5000


def says(kind, payload):
    """One message, and then nothing more."""
    _say(_frame(kind, payload))
    time.sleep(60)


def says_twice(kind, payload):
    _say(_frame(kind, payload) * 2)
    time.sleep(60)


def announces(length, payload):
    """A length that isn't that of what follows."""
    _say(_frame(RESULT, payload, length))
    time.sleep(60)


def says_half_and_ends():
    _say(_frame(RESULT, NIL * 100, 200)[:50])
    os._exit(0)


def says_slowly():
    for one in _frame(RESULT, b"\xda\x7f\xff" + b"x" * 32767):
        _say(bytes([one]))
        time.sleep(0.01)


def asks_for_ever():
    while True:
        _say(_frame(ASK, b"\xa4more"))


def asks_in_many_threads():
    for _ in range(3):
        threading.Thread(target=asks_for_ever, daemon=True).start()
    asks_for_ever()


def nests(count):
    """Of lists in lists, so many deep."""
    _say(_frame(RESULT, b"\x91" * count + b"\x90"))
    time.sleep(60)


def holds(count):
    """So many empty lists, each a byte here and many there."""
    _say(_frame(RESULT, b"\xdd" + struct.pack(">I", count) + b"\x90" * count))
    time.sleep(60)


def tells_long_error(size):
    text = b"\xdb" + struct.pack(">I", size) + b"y" * size
    _say(_frame(ERROR, b"\x93" + text * 3))
    time.sleep(60)


def closes_all():
    for descriptor in range(10):
        try:
            os.close(descriptor)
        except OSError:
            continue
    return 1


def turns_all_to_one():
    for descriptor in range(10):
        os.dup2(1, descriptor)
    return 1


def turns_output_to_the_socket():
    for descriptor in (1, 2):
        os.dup2(3, descriptor)
    print("not a message at all" * 100, flush=True)
    return 1


def reads_its_calls():
    """Takes what is meant for the loop that serves, for ever."""
    threading.Thread(target=lambda: [os.read(3, 1) for _ in iter(int, 1)], daemon=True).start()
    return 1


def answers_before_it_returns():
    """The true answer comes second."""
    _say(_frame(RESULT, b"\x07"))
    return 1


def answers_the_next_call():
    """When this one has been answered."""

    def later():
        time.sleep(0.2)
        _say(_frame(RESULT, b"\xa6forged"))

    threading.Thread(target=later, daemon=True).start()
    return 1


def raises_what_is_odd():
    class Odd(BaseException):
        def __str__(self):
            raise SystemExit(3)

    raise Odd


def raises_with_odd_name():
    raise type("\x1b[2J" * 100, (Exception,), {})("\x1b]0;owned\x07" * 1000)
