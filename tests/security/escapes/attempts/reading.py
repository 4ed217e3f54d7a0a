"""Reads what isn't the tool's: each returns what it read."""

import ctypes
import importlib
import linecache
import mmap
import os
import runpy
import shutil
import sqlite3
import sys

from calls import call, checked, libc


def _text(descriptor):
    try:
        return os.read(descriptor, 4096).decode()
    finally:
        os.close(descriptor)


def of_the_system(room):
    with open("/etc/passwd") as file:
        return file.read()


def of_the_owner(room):
    with open(room["secret"]) as file:
        return file.read()


def by_dots(room):
    with open(room["readable"] + "/../outside/secret") as file:
        return file.read()


def by_dots_of_the_writable(room):
    with open(room["writable"] + "/made/../../outside/secret") as file:
        return file.read()


def by_link(room):
    with open(room["readable"] + "/link") as file:
        return file.read()


def by_linked_directory(room):
    with open(room["writable"] + "/door/secret") as file:
        return file.read()


def by_directory_descriptor(room):
    above = os.open(room["outside"], os.O_PATH | os.O_DIRECTORY)
    return _text(os.open("secret", os.O_RDONLY, dir_fd=above))


def by_change_of_directory(room):
    os.chdir(room["outside"])
    with open("secret") as file:
        return file.read()


def by_openat2(room):
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY, 0, 0)
    return _text(call("openat2", -100, room["secret"].encode(), how, 24))


def by_number(room):
    return _text(call("openat", -100, room["secret"].encode(), os.O_RDONLY, 0))


def by_c_library(room):
    libc.fopen.restype = ctypes.c_void_p
    libc.fgets.restype = ctypes.c_void_p
    file = libc.fopen(room["secret"].encode(), b"r")
    if not file:
        raise OSError(ctypes.get_errno(), "fopen")
    line = ctypes.create_string_buffer(4096)
    libc.fgets(line, 4096, ctypes.c_void_p(file))
    return line.value.decode()


def by_new_link(room):
    link = room["writable"] + "/new-link"
    os.symlink(room["secret"], link)
    with open(link) as file:
        return file.read()


def by_hard_link(room):
    link = room["writable"] + "/hard-link"
    os.link(room["secret"], link)
    with open(link) as file:
        return file.read()


def by_moving_it_here(room):
    here = room["writable"] + "/moved"
    os.rename(room["secret"], here)
    with open(here) as file:
        return file.read()


def by_moving_its_directory_here(room):
    here = room["writable"] + "/moved-directory"
    os.rename(room["outside"], here)
    with open(here + "/secret") as file:
        return file.read()


def by_own_root(room):
    with open("/proc/self/root" + room["secret"]) as file:
        return file.read()


def by_own_descriptors(room):
    found = os.open(room["secret"], os.O_PATH)
    with open(f"/proc/self/fd/{found}") as file:
        return file.read()


def by_own_working_directory(room):
    os.chdir(room["outside"])
    with open("/proc/self/cwd/secret") as file:
        return file.read()


def by_handle(room):
    handle = ctypes.create_string_buffer(8 + 128)
    handle[0:4] = (128).to_bytes(4, sys.byteorder)
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, room["secret"].encode(), handle, ctypes.byref(mount), 0)
    place = os.open(room["readable"], os.O_RDONLY | os.O_DIRECTORY)
    return _text(call("open_by_handle_at", place, handle, os.O_RDONLY))


def by_mapping(room):
    file = os.open(room["secret"], os.O_RDONLY)
    with mmap.mmap(file, 0, prot=mmap.PROT_READ) as mapped:
        return mapped[:].decode()


def by_sendfile(room):
    ours, theirs = os.pipe()
    os.sendfile(theirs, os.open(room["secret"], os.O_RDONLY), 0, 4096)
    return _text(ours)


def by_splice(room):
    ours, theirs = os.pipe()
    call("splice", os.open(room["secret"], os.O_RDONLY), None, theirs, None, 4096, 0)
    return _text(ours)


def by_copying_it_here(room):
    here = room["writable"] + "/copied"
    shutil.copyfile(room["secret"], here)
    with open(here) as file:
        return file.read()


def by_importing_it(room):
    sys.path.insert(0, room["outside"])
    return importlib.import_module("owners_settings").PASSWORD


def by_path_of_imports(room):
    finder = importlib.machinery.FileFinder(
        room["outside"], (importlib.machinery.SourceFileLoader, [".py"])
    )
    spec = finder.find_spec("owners_settings")
    if spec is None:
        raise FileNotFoundError(room["outside"])
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PASSWORD


def by_running_it(room):
    return runpy.run_path(room["outside"] + "/owners_settings.py")["PASSWORD"]


def by_lines(room):
    found = linecache.getlines(room["secret"])
    if not found:
        raise FileNotFoundError(room["secret"])
    return found[0]


def by_library(room):
    try:
        found = sqlite3.connect(f"file:{room['database']}?mode=ro", uri=True)
        return found.execute("SELECT word FROM secret").fetchone()[0]
    except sqlite3.OperationalError as error:
        raise PermissionError(str(error)) from None


def target_of_link(room):
    return os.readlink(room["outside"] + "/telling")


def names(room):
    return " ".join(os.listdir(room["outside"]))


def names_by_walking(room):
    return " ".join(name for _, _, found in os.walk(room["base"]) for name in found) or _nothing()


def _nothing():
    raise PermissionError("nothing was found")


def attribute(room):
    return os.getxattr(room["secret"], "user.secret").decode()


def from_disk(room):
    """The blocks themselves, by the device that the file system is on."""
    device = os.open(room["device"], os.O_RDONLY)
    return "done" if len(os.pread(device, 4096, 0)) == 4096 else "no"


def kernel_log(room):
    size = 4096
    text = ctypes.create_string_buffer(size)
    checked(libc.klogctl(3, text, size), "klogctl")
    return "done"


def swapped_link(room):
    """A file of its own that becomes a link to another's, again and again, while it reads it."""
    for _ in range(3_000):
        try:
            with open(room["swapped"]) as file:
                found = file.read()
        except OSError as error:
            last = error
            continue
        if room["mark"] in found:
            return found
    raise PermissionError(f"never: {last}")


def swapped_directory(room):
    for _ in range(3_000):
        try:
            with open(room["swapped_directory"] + "/secret") as file:
                found = file.read()
        except OSError as error:
            last = error
            continue
        if room["mark"] in found:
            return found
    raise PermissionError(f"never: {last}")


def inherited_descriptors(room):
    """Whatever is open beyond what it was given."""
    found = []
    for descriptor in range(3, 300):
        try:
            found.append(os.pread(descriptor, 4096, 0).decode(errors="replace"))
        except OSError:
            continue
    if not found:
        raise PermissionError("nothing is open that can be read")
    return " ".join(found)


def environment(room):
    found = os.environ.get("LLMSPELL_ESCAPE_SECRET", "")
    found = found or " ".join(
        ctypes.cast(one, ctypes.c_char_p).value.decode(errors="replace") for one in _environ()
    )
    if room["mark"] not in found:
        raise PermissionError("it isn't in the environment")
    return found


def _environ():
    places = ctypes.POINTER(ctypes.c_void_p).in_dll(libc, "environ")
    position = 0
    while places and places[position]:
        yield places[position]
        position += 1


def own_memory_by_file(room):
    """Code and data that are read only, changed by the file of its memory."""
    word = ctypes.create_string_buffer(b"x" * 8)
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(ctypes.addressof(word))
        memory.write(b"done")
    return word.value[:4].decode()
