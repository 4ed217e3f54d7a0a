"""All attempts, by what they are after."""

from __future__ import annotations

from typing import Any, Final

from tests.security.escapes.attempt import (
    FORKING,
    LISTED,
    PROGRAMS,
    Attempt,
    Proof,
)


def _all(module: str, proof: Proof, names: str, **more: Any) -> list[Attempt]:
    return [Attempt(f"{module}.{name}", proof, **more) for name in names.split()]


READING: Final = [
    *_all(
        "reading",
        "secret",
        """
        of_the_system of_the_owner by_dots by_dots_of_the_writable by_link by_linked_directory
        by_directory_descriptor by_change_of_directory by_openat2 by_number by_c_library
        by_new_link by_hard_link by_moving_it_here by_moving_its_directory_here by_own_root
        by_own_descriptors by_own_working_directory by_handle by_mapping
        by_sendfile by_splice by_copying_it_here by_importing_it by_path_of_imports by_running_it
        by_lines by_library names names_by_walking attribute
        inherited_descriptors environment
        """,
        on=LISTED,
    ),
    *_all("reading", "done", "from_disk own_memory_by_file", on=LISTED),
    *_all("reading", "done", "kernel_log"),
    *_all(
        "reading",
        "secret",
        "target_of_link",
        on=LISTED,
        flaws=dict.fromkeys(
            ("restricted", "processes", "privileged"),
            "Landlock doesn't govern readlink: where a link leads is told of any path",
        ),
    ),
    *_all("reading", "secret", "swapped_link swapped_directory", on=LISTED, swaps=True),
]

CHANGING: Final = [
    *_all(
        "changing",
        "changed",
        """
        write append cut cut_what_may_be_read write_what_may_be_read write_by_reopening
        write_by_link write_by_dots write_by_mapping write_by_hard_link delete
        delete_what_may_be_read delete_directory replace replace_own_directory exchange make_file
        make_directory make_link make_pipe make_device make_socket mode mode_by_descriptor times
        times_of_what_may_be_read owner owner_of_what_may_be_read attribute shared_memory_by_name
        file_of_everybody
        """,
        on=LISTED,
    ),
    *_all("changing", "done", "make_unnamed_file kernel_setting control_group", on=LISTED),
    *_all("changing", "done", "score_of_memory", on=LISTED),
    *_all(
        "changing",
        "done",
        "make_device_where_it_may_write make_pipe_where_it_may_write make_link_where_it_may_write"
        " mode_of_own_program mode_at_its_making mode_at_its_making_by_openat2 lock",
    ),
]

NETWORK: Final = [
    *_all(
        "network",
        "changed",
        """
        tcp tcp6 multipath_tcp multipath_tcp6 tcp_fast_open udp udp_connected udp6 udp_by_message
        name_server library_of_http event_loop unix_by_path unix_packets_by_path unix_abstract
        unix_packets_abstract pair_turned_elsewhere pair_connected_elsewhere pair_of_raw
        """,
    ),
    *_all(
        "network",
        "done",
        """
        udp_lite sctp listen raw ping_socket netlink netlink_of_events packets
        to_the_hypervisor ciphers_of_the_kernel bluetooth express_data_path can_bus tipc
        kernel_tls_of_messages key_management shared_memory_of_smc pair_of_packets
        pair_of_another_family larger_buffers
        """,
    ),
    # Every file is also the list of hosts; and who connects sends messages.
    *_all("network", "done", "look_up passed_descriptors", on=LISTED),
]

NEIGHBOURS: Final = [
    *_all(
        "neighbours",
        "changed",
        """
        end stop end_by_thread end_by_queue end_by_handle end_by_owner_of_descriptor write_memory
        limit slow_down bind_to_processor schedule wait_in_a_thread
        """,
    ),
    *_all(
        "neighbours",
        "secret",
        "read_memory read_memory_by_file read_environment read_by_its_root read_its_descriptor"
        " take_descriptor",
    ),
    *_all("neighbours", "secret", "read_arguments", on=LISTED),
    *_all("neighbours", "changed", "its_score_of_memory", on=LISTED),
    *_all(
        "neighbours",
        "done",
        """
        end_parent trace seize compare input_and_output_class move_its_memory advise_its_memory
        watch_its_end own_priority real_time outlive_the_parent adopt be_traced
        type_into_terminal type_into_its_input
        """,
    ),
]

KERNEL: Final = [
    *_all(
        "kernel",
        "done",
        """
        io_uring user_faults key key_session key_request bpf performance_events module clock
        clock_of_old clock_rate reboot_key host_name accounting ports port segments watch_files
        watch_all_files shared_segment message_queue semaphores posix_message_queue hidden_memory
        file_in_memory program_in_memory process_by_clone3
        """,
    ),
    *_all("kernel", "done", "program", on=LISTED[:-1]),
    *_all("kernel", "done", "program_of_its_own", on=LISTED[:-1]),
    *_all(
        "rights",
        "done",
        "personality another_user other_groups all_rights rights_by_prctl higher_limits"
        " locked_memory listen_to_filter",
    ),
    *_all("rights", "secret", "relax_filter relax_files", on=LISTED),
    *_all(
        "namespaces",
        "done",
        """
        users mounts networks processes names ipc groups clocks users_by_clone users_by_clone3
        enter_namespace enter_by_handle mount tree_of_mounts file_system root_of_where_it_stands
        new_root unmount
        """,
    ),
    *_all("namespaces", "secret", "bind_mount root out_of_the_root", on=LISTED),
    *_all("machine", "secret", "own_code", on=LISTED, machine="x86_64"),
    *_all(
        "machine",
        "secret",
        "old_call call_of_x32 number_with_high_bits",
        on=LISTED,
        machine="x86_64",
        may_die=True,
    ),
    *_all(
        "machine", "done", "old_call_that_harms_nobody old_socket", machine="x86_64", may_die=True
    ),
    *_all("machine_arm", "secret", "own_code number_with_high_bits", on=LISTED, machine="aarch64"),
]

MEMORY: Final = [
    *_all(
        "memory",
        "done",
        """
        allocate allocate_in_pieces allocate_numbers by_c_library map_private map_shared
        map_at_once file_in_memory by_name in_a_directory_of_memory
        of_system_five stacks_of_threads pipes sockets larger_pipes descriptors in_children
        shared_with_children fork_bomb fork_of_forks
        """,
        on=LISTED,
        may_take=True,
        may_die=True,
    ),
    *_all("memory", "done", "threads", on=LISTED, needs="pids_group"),
    *_all("filling", "done", "large_file large_file_of_blocks large_file_unseen", on=LISTED),
    *_all("filling", "done", "fill_the_disk", on=LISTED),
]

LASTING: Final = [
    *_all(
        "lasting",
        "done",
        "spin spin_deaf spin_catching spin_in_threads spin_in_c spin_with_more_time",
        on=LISTED,
        timeout=60.0,
        may_take=True,
    ),
    *_all(
        "lasting",
        "done",
        "spin_in_child spin_in_a_chain",
        on=LISTED,
        timeout=60.0,
        may_take=True,
    ),
    *_all(
        "lasting",
        "done",
        """
        sleep sleep_deaf sleep_for_all_it_can wait_for_nothing print_for_ever
        print_on_both_for_ever print_in_children_for_ever
        """,
        on=LISTED,
        timeout=0.5,
        may_wait=True,
    ),
    *_all(
        "lasting",
        "lives",
        """
        child_that_stays grandchild_that_stays daemon daemon_beyond_the_timeout
        daemons_that_fork_on stopped_child child_out_of_the_group
        """,
        on=("safe", "restricted", *FORKING),
        timeout=0.6,
        may_wait=True,
    ),
]

PROGRAM: Final = [
    *_all(
        "programs",
        "secret",
        """
        cat cat_of_the_system cat_by_redirection cat_by_dots cat_by_descriptor linked names
        names_by_the_shell environment namespaces mounted rooted preloaded of_32_bits
        written_program
        """,
        on=PROGRAMS,
    ),
    *_all(
        "programs",
        "changed",
        "write delete move mode times tcp_of_the_shell udp_of_the_shell tcp_of_perl end slow_down",
        on=PROGRAMS,
    ),
    *_all("programs", "done", "device disk another_user", on=PROGRAMS),
    *_all("programs", "done", "bomb", on=PROGRAMS),
    *_all("programs", "done", "memory", on=PROGRAMS, may_take=True),
    *_all("programs", "lives", "daemon", on=PROGRAMS, timeout=2.0),
]

TABLE: Final = [
    *(*READING, *CHANGING, *NETWORK, *NEIGHBOURS),
    *(*KERNEL, *MEMORY, *LASTING, *PROGRAM),
]
ATTEMPTS_OF: Final = {
    module: [one for one in TABLE if one.module == module]
    for module in dict.fromkeys(one.module for one in TABLE)
}
