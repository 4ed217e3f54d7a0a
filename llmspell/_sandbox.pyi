from collections.abc import Iterable

FILTERS: dict[str, int]

def landlock_abi() -> int: ...
def has_filters() -> bool: ...
def enter_namespaces() -> dict[str, bool]: ...
def die_with(parent: int) -> None: ...
def restrict_files(rules: Iterable[tuple[int, bool, bool]]) -> None: ...
def confine(
    *,
    parent: int,
    kept: Iterable[int],
    directory: int,
    is_root: bool,
    rules: Iterable[tuple[int, bool, bool]],
    filter: str,
    address_space: int,
    cpu_seconds: int,
    file_size: int,
    open_files: int,
    processes: int,
) -> None: ...
