"""Programs that a privileged tool runs: the same from within them."""

import os
import subprocess


def _shell(room, line, **environment):
    """The output of a line of bash; an error where it failed."""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", line],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", **environment},
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise PermissionError(f"{done.returncode}: {done.stderr[:1000]}")
    return done.stdout


def runs(room):
    """Not refused: what is refused to the others isn't refused for want of a shell."""
    return _shell(room, "echo $((6 * 7)); /bin/echo ran")


def cat(room):
    return _shell(room, f"cat {room['secret']}")


def cat_of_the_system(room):
    return _shell(room, "cat /etc/passwd")


def cat_by_redirection(room):
    return _shell(room, f"x=$(< {room['secret']}) && echo $x")


def cat_by_dots(room):
    return _shell(room, f"cat {room['writable']}/../outside/secret")


def cat_by_descriptor(room):
    return _shell(room, f"exec 7< {room['secret']} && cat /dev/fd/7")


def linked(room):
    return _shell(room, f"ln -s {room['secret']} {room['writable']}/l && cat {room['writable']}/l")


def names(room):
    return _shell(room, f"ls {room['outside']}")


def names_by_the_shell(room):
    found = _shell(room, f"echo {room['outside']}/*")
    if "*" in found:
        raise PermissionError(found)
    return found


def write(room):
    _shell(room, f"echo changed > {room['canary']}")


def delete(room):
    _shell(room, f"rm -f {room['canary']}")


def move(room):
    _shell(room, f"mv {room['canary']} {room['writable']}/gone")


def mode(room):
    _shell(room, f"chmod 777 {room['canary']}")


def times(room):
    _shell(room, f"touch -d @77 {room['canary']}")


def device(room):
    _shell(room, f"mknod {room['writable']}/node c 1 3")
    return "done"


def disk(room):
    _shell(room, f"dd if={room['device']} of=/dev/null bs=4096 count=1")
    return "done"


def tcp_of_the_shell(room):
    _shell(room, f"echo llmspell > /dev/tcp/127.0.0.1/{room['tcp4']}")


def udp_of_the_shell(room):
    _shell(room, f"echo llmspell > /dev/udp/127.0.0.1/{room['udp4']}")


def tcp_of_perl(room):
    _shell(
        room,
        'perl -MIO::Socket::INET -e \'IO::Socket::INET->new(PeerAddr => "127.0.0.1",'
        f" PeerPort => {room['tcp4']}) or exit 1'",
    )


def end(room):
    for pid in room["pids"]:
        _shell(room, f"kill -9 {pid}")


def slow_down(room):
    for pid in room["pids"]:
        _shell(room, f"renice 19 -p {pid}")


def environment(room):
    return " ".join(_shell(room, f"tr '\\0' ' ' < /proc/{pid}/environ") for pid in room["pids"])


def namespaces(room):
    return _shell(room, f"unshare -r cat {room['secret']}")


def mounted(room):
    line = f"mount --bind {room['outside']} {room['readable']} && cat {room['readable']}/secret"
    return _shell(room, f"unshare -m sh -c '{line}'")


def rooted(room):
    return _shell(room, f"chroot {room['outside']} /secret 2>&1; cat {room['secret']}")


def another_user(room):
    """A program that is another user's by its mode."""
    found = _shell(room, f"{room['setuid']} -u").strip()
    if found == str(os.getuid()):
        raise PermissionError("it ran as who started it")
    return "done"


def preloaded(room):
    """A library that the loader of shared libraries takes in before the program begins."""
    found = _shell(room, "/bin/true", LD_PRELOAD=room["library"], SECRET=room["secret"])
    if room["mark"] not in found:
        raise PermissionError("it told nothing")
    return found


def of_32_bits(room):
    """A program of the processor's other mode, whose system calls have other numbers."""
    found = _shell(room, f"{room['old_program']} {room['secret']}")
    if room["mark"] not in found:
        raise PermissionError("it told nothing")
    return found


def written_program(room):
    """Written, made runnable, and run."""
    path = room["writable"] + "/reads"
    text = f"#!/bin/bash\ncat {room['secret']}\n"
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o700)
    os.write(file, text.encode())
    os.close(file)
    return _shell(room, path)


def daemon(room):
    line = f"exec 8> {room['pipe']}; echo here >&8; sleep 600"
    _shell(room, f"setsid nohup bash -c '{line}' < /dev/null > /dev/null 2>&1 &")
    return "done"


def bomb(room):
    """Of a program that isn't Python."""
    each = "defined(my $p = fork) or do { kill 9, @p; exit 1 }; if (!$p) { sleep 60; exit }"
    _shell(room, f"perl -e 'for (1..{room['processes']}) {{ {each} push @p, $p }} kill 9, @p'")
    return "done"


def memory(room):
    """A program that takes it, not Python."""
    found = _shell(room, f"perl -e '$x = \"x\" x {room['bytes']}; print length $x'")
    return "done" if found.strip() == str(room["bytes"]) else "no"
