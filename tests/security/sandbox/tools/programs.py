"""A tool that runs programs, and processes of its own."""

import os
import signal
import subprocess
import time


def runs(*words):
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    return [done.returncode, done.stdout, done.stderr]


def forks(count):
    made = 0
    children = []
    for _ in range(count):
        try:
            child = os.fork()
        except OSError:
            break
        if child == 0:
            signal.pause()
        children.append(child)
        made += 1
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return made


def outlives(seconds):
    """Forks twice, in a session of its own, and prints who is left."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(seconds)
        os._exit(0)
    os.wait()
    return os.getpid()
