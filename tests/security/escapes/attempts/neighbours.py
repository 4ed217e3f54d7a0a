"""Does something to other processes: those in room["pids"], or their owner."""

import ctypes
import fcntl
import os
import resource
import signal
import threading
import time

from calls import Vector, call, checked, libc

_PRIORITY_OF_PROCESS = 0


def _each(room, act):
    """Do it to each; it counts where it was possible with one."""
    last = None
    done = 0
    for pid in room["pids"]:
        try:
            act(pid)
            done += 1
        except OSError as error:
            last = error
    if not done:
        raise last
    return done


def end(room):
    _each(room, lambda pid: os.kill(pid, signal.SIGKILL))


def stop(room):
    _each(room, lambda pid: os.kill(pid, signal.SIGSTOP))


def end_by_thread(room):
    _each(room, lambda pid: call("tgkill", pid, pid, signal.SIGKILL))


def end_by_queue(room):
    info = ctypes.create_string_buffer(128)
    info[0:4] = int(signal.SIGKILL).to_bytes(4, "little")
    info[8:12] = (-1).to_bytes(4, "little", signed=True)
    _each(room, lambda pid: call("rt_sigqueueinfo", pid, signal.SIGKILL, info))


def end_by_handle(room):
    def act(pid):
        handle = call("pidfd_open", pid, 0)
        call("pidfd_send_signal", handle, signal.SIGKILL, None, 0)

    _each(room, act)


def end_by_owner_of_descriptor(room):
    """The kernel sends the signal, when something can be read."""

    def act(pid):
        ours, theirs = os.pipe()
        fcntl.fcntl(ours, fcntl.F_SETOWN, pid)
        fcntl.fcntl(ours, 10, signal.SIGKILL)  # F_SETSIG
        fcntl.fcntl(ours, fcntl.F_SETFL, os.O_ASYNC)
        os.write(theirs, b"x")

    _each(room, act)


def end_parent(room):
    """In the plain run the parent is somebody to be ended."""
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(0.2)
    return "done" if os.getppid() == 1 or not os.path.exists(f"/proc/{os.getppid()}") else "no"


def trace(room):
    def act(pid):
        call("ptrace", 16, pid, 0, 0)  # PTRACE_ATTACH
        os.waitpid(pid, 0)
        call("ptrace", 17, pid, 0, 0)

    _each(room, act)
    return "done"


def seize(room):
    def act(pid):
        call("ptrace", 0x4206, pid, 0, 0)

    _each(room, act)
    return "done"


def read_memory(room):
    word = ctypes.create_string_buffer(len(room["mark"]))
    here = Vector(ctypes.addressof(word), len(word))
    there = Vector(room["address"], len(word))

    def act(pid):
        call("process_vm_readv", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)

    _each(room, act)
    return word.raw.decode(errors="replace")


def write_memory(room):
    word = ctypes.create_string_buffer(b"changed!")
    here = Vector(ctypes.addressof(word), 8)
    there = Vector(room["address"], 8)

    def act(pid):
        call("process_vm_writev", pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)

    _each(room, act)


def read_memory_by_file(room):
    found = []

    def act(pid):
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(room["address"])
            found.append(memory.read(len(room["mark"])))

    _each(room, act)
    return found[0].decode(errors="replace")


def _read_of(room, name):
    found = []

    def act(pid):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            found.append(file.read())

    _each(room, act)
    return b" ".join(found).decode(errors="replace")


def read_environment(room):
    return _read_of(room, "environ")


def read_arguments(room):
    return _read_of(room, "cmdline")


def read_by_its_root(room):
    return _read_of(room, "root" + room["secret"])


def read_its_descriptor(room):
    return _read_of(room, f"fd/{room['descriptor']}")


def take_descriptor(room):
    found = []

    def act(pid):
        handle = call("pidfd_open", pid, 0)
        taken = call("pidfd_getfd", handle, room["descriptor"], 0)
        found.append(os.pread(taken, 4096, 0))

    _each(room, act)
    return found[0].decode()


def compare(room):
    _each(room, lambda pid: call("kcmp", pid, pid, 0, room["descriptor"], room["descriptor"]))
    return "done"


def limit(room):
    _each(room, lambda pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (7, 7)))


def slow_down(room):
    _each(room, lambda pid: os.setpriority(_PRIORITY_OF_PROCESS, pid, 19))


def bind_to_processor(room):
    _each(room, lambda pid: os.sched_setaffinity(pid, {0}))


def schedule(room):
    _each(room, lambda pid: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)))


def input_and_output_class(room):
    _each(room, lambda pid: call("ioprio_set", 1, pid, 3 << 13))
    return "done"


def move_its_memory(room):
    node = (ctypes.c_ulong * 1)(1)
    _each(room, lambda pid: call("migrate_pages", pid, 8, node, node))
    return "done"


def advise_its_memory(room):
    def act(pid):
        handle = call("pidfd_open", pid, 0)
        page = Vector(room["address"] & ~4095, 4096)
        call("process_madvise", handle, ctypes.byref(page), 1, 20, 0)

    _each(room, act)
    return "done"


def watch_its_end(room):
    _each(room, lambda pid: call("pidfd_open", pid, 0))
    return "done"


def its_score_of_memory(room):
    def act(pid):
        with open(f"/proc/{pid}/oom_score_adj", "w") as file:
            file.write("900")

    _each(room, act)


def own_priority(room):
    """Before all others of the host."""
    os.setpriority(_PRIORITY_OF_PROCESS, 0, -10)
    return "done"


def real_time(room):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    return "done"


def outlive_the_parent(room):
    """No more signal at its parent's end."""
    checked(libc.prctl(1, 0, 0, 0, 0), "prctl")
    return "done"


def adopt(room):
    checked(libc.prctl(36, 1, 0, 0, 0), "prctl")
    return "done"


def be_traced(room):
    checked(libc.prctl(4, 1, 0, 0, 0), "prctl")
    return "done"


def type_into_terminal(room):
    """What is put into a terminal's input, somebody's shell reads."""
    main = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(main, 0x40045431, (0).to_bytes(4, "little"))
    number = int.from_bytes(fcntl.ioctl(main, 0x80045430, bytes(4)), "little")
    side = os.open(f"/dev/pts/{number}", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(side, 0x5412, b"x")
    return "done"


def type_into_its_input(room):
    fcntl.ioctl(0, 0x5412, b"x")
    return "done"


def wait_in_a_thread(room):
    """A thread may be started, and is no process that stays."""
    done = []
    thread = threading.Thread(target=lambda: done.append(_each(room, lambda pid: os.kill(pid, 9))))
    thread.start()
    thread.join()
    if not done:
        raise PermissionError("not by a thread either")
