"""Goes on for longer than it may: computes, waits, or stays when its call is over."""

import contextlib
import os
import resource
import signal
import threading
import time


def _spin(seconds=1.0):
    """So much of the processor, and not a moment that another could take."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def spin(room):
    _spin()
    return "done"


def spin_deaf(room):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    for number in (signal.SIGXCPU, signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _spin()
    return "done"


def spin_catching(room):
    signal.signal(signal.SIGXCPU, lambda number, frame: None)
    _spin()
    return "done"


def spin_in_threads(room):
    threads = [threading.Thread(target=_spin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "done"


def spin_in_c(room):
    """One call that doesn't come back to Python for seconds."""
    number = 7**400_000
    end = time.process_time() + 1.0
    while time.process_time() < end:
        number * number
    return "done"


def spin_with_more_time(room):
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    signal.setitimer(signal.ITIMER_PROF, 0)
    _spin()
    return "done"


def spin_in_child(room):
    """The time of a child is its own."""
    child = os.fork()
    if child == 0:
        _spin()
        os._exit(0)
    return "done" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else "no"


def spin_in_a_chain(room):
    """Each child computes for a tenth of a second, and the next goes on."""
    for _ in range(10):
        child = os.fork()
        if child == 0:
            _spin(0.1)
            os._exit(0)
        os.waitpid(child, 0)
    return "done"


def _while(room):
    """Seconds: longer than a call may take, however late it is ended."""
    return 30 if room["is_inside"] else 0.9


def sleep(room):
    time.sleep(_while(room))
    return "done"


def sleep_deaf(room):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    time.sleep(_while(room))
    return "done"


def sleep_for_all_it_can(room):
    """Whatever comes, it waits on."""
    end = time.monotonic() + _while(room)
    while time.monotonic() < end:
        with contextlib.suppress(BaseException):
            time.sleep(end - time.monotonic())
    return "done"


def wait_for_nothing(room):
    ours, _ = os.pipe()
    thread = threading.Thread(target=lambda: os.read(ours, 1), daemon=True)
    thread.start()
    thread.join(_while(room))
    return "done"


def print_for_ever(room):
    end = time.monotonic() + _while(room)
    while time.monotonic() < end:
        os.write(1, b"x" * 65536)
    return "done"


def print_on_both_for_ever(room):
    end = time.monotonic() + _while(room)

    def flood(descriptor):
        while time.monotonic() < end:
            os.write(descriptor, b"x" * 4096)

    threads = [threading.Thread(target=flood, args=(one,)) for one in (1, 2, 1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "done"


def print_in_children_for_ever(room):
    """Two for each stream, so that there is always something to be read."""
    end = time.monotonic() + _while(room)
    children = []
    for number in range(4):
        child = os.fork()
        if child == 0:
            while time.monotonic() < end:
                os.write(1 + number % 2, b"x" * 65536)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return "done"


def _stay(room):
    """Hold the pipe that the test reads, for it ends with the last one that does."""
    held = os.open(room["pipe"], os.O_WRONLY)
    os.write(held, b"here")
    while True:
        time.sleep(60)


def child_that_stays(room):
    if os.fork() == 0:
        _stay(room)
    return "done"


def grandchild_that_stays(room):
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            _stay(room)
        os._exit(0)
    os.waitpid(child, 0)
    return "done"


def daemon(room):
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        for descriptor in range(3):
            with contextlib.suppress(OSError):
                os.close(descriptor)
        if os.fork() == 0:
            _stay(room)
        os._exit(0)
    os.waitpid(child, 0)
    return "done"


def daemon_beyond_the_timeout(room):
    """It forks, and then its own call is over only by being ended."""
    daemon(room)
    time.sleep(_while(room))
    return "done"


def daemons_that_fork_on(room):
    """Each forks the next and ends, so that whoever looks for it comes too late."""
    if os.fork() == 0:
        os.setsid()
        held = os.open(room["pipe"], os.O_WRONLY)
        os.write(held, b"here")
        while True:
            time.sleep(0.0005)
            with contextlib.suppress(OSError):
                if os.fork():
                    os._exit(0)
    return "done"


def stopped_child(room):
    """One that is stopped doesn't end by what it would have to handle."""
    child = os.fork()
    if child == 0:
        held = os.open(room["pipe"], os.O_WRONLY)
        os.write(held, b"here")
        os.kill(os.getpid(), signal.SIGSTOP)
        _stay(room)
    os.waitpid(child, os.WUNTRACED)
    return "done"


def child_out_of_the_group(room):
    """Out of the group that its end is counted by, then it stays."""
    child = os.fork()
    if child == 0:
        for place in room["groups"]:
            with contextlib.suppress(OSError), open(place + "/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
        os.setsid()
        if os.fork() == 0:
            _stay(room)
        os._exit(0)
    os.waitpid(child, 0)
    return "done"
