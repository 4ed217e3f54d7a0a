"""A tool as one is written: of a module, with the standard library, sync and async."""

import asyncio
import collections
import datetime
import json
import os
import sys
import threading
import time


class Counts:
    seen = 0

    @staticmethod
    def doubled(number):
        return 2 * number


def words(text):
    return dict(collections.Counter(text.split()))


def echo(*given, **named):
    return [list(given), named]


async def later(seconds):
    await asyncio.sleep(seconds)
    return "later"


def parsed(text):
    return json.loads(text)


def when(text):
    return datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=datetime.UTC)


def count():
    Counts.seen += 1
    return Counts.seen


def printed(count):
    print("x" * count)
    print("y" * count, file=sys.stderr)
    return count


def prints_forever():
    while True:
        print("x" * 10_000)


def raises(message):
    raise LookupError(message)


def returns_object():
    return object()


def returns_bytes(count):
    return b"x" * count


def spins():
    while True:
        pass


def sleeps(seconds):
    time.sleep(seconds)


def takes(count):
    return len(bytearray(count))


def ends(code):
    os._exit(code)


def leaves():
    sys.exit(3)


def threads(count):
    made = [threading.Thread(target=int) for _ in range(count)]
    for one in made:
        one.start()
    for one in made:
        one.join()
    return count


def unwritten_import(name):
    return __import__(name).__name__


def environment():
    return dict(os.environ)


def number_of_random():
    import random

    return random.random()


def who():
    return os.getpid()


def reads(path):
    with open(path) as file:
        return file.read()


def writes(path, text):
    with open(path, "w") as file:
        file.write(text)
    return os.path.getsize(path)


def lists(path):
    return sorted(os.listdir(path))


def open_files():
    found = []
    for descriptor in range(64):
        try:
            os.get_inheritable(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


not_callable = 3
