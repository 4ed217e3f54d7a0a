// Namespaces of its own for the process that workers are forked from: no network, other processes
// out of sight, and rights over these alone.
#pragma once

#include "sandbox/failure.hpp"

namespace llmspell::sandbox {

// What the process is now apart from, each as far as the kernel and its rights let it.
struct Namespaces {
    bool network = false;       // it has no interface but an unused loopback
    bool processes = false;     // of what it forks: the first is their init, and all end with it
    bool ipc = false;           // System V's, and queues of messages
    bool mounts = false;        // what it mounts nobody else sees
    bool changes_root = false;  // it may give a directory as root
};

// For a process of one thread. Who isn't a superuser becomes one of a namespace of users, in which
// nothing but its own user exists.
Namespaces enter_namespaces() noexcept;

// For the first process of a namespace of processes: /proc shows these alone, to a confined one its
// own alone, and the control groups by which they are held are out of reach, whatever else a tool
// may write. False where that can't be.
bool hide_the_outside() noexcept;

// A network of this process's own, with a loopback and nothing else. For a process of one thread
// that has the rights to it.
Failure enter_loopback() noexcept;

}  // namespace llmspell::sandbox
