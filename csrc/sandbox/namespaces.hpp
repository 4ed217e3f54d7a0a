// Namespaces of its own for the process that workers are forked from: no network, other processes
// out of sight, and rights over these alone.
#pragma once

namespace llmspell::sandbox {

// What the process is now apart from, each as far as the kernel and its rights let it.
struct Namespaces {
    bool network = false;       // it has no interface but an unused loopback
    bool processes = false;     // of what it forks: the first is their init, and all end with it
    bool ipc = false;           // System V's, and queues of messages
    bool changes_root = false;  // it may give a directory as root
};

// For a process of one thread. Who isn't a superuser becomes one of a namespace of users, in which
// nothing but its own user exists.
Namespaces enter_namespaces() noexcept;

}  // namespace llmspell::sandbox
