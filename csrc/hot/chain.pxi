# Entries of a chain in bytes; what they mean is in llmspell/storage/chain.py. Included after
# record.pxi.

cdef packed struct EntryHead:
    uint32_t checksum
    uint32_t following


def chain_entry(bytes key not None, uint32_t following, bytes content not None):
    """Bytes of an entry: CRC-32C of key and all that follows, that of the next key, the content."""
    cdef size_t size = <size_t>PyBytes_GET_SIZE(content)
    cdef bytes made = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(sizeof(EntryHead) + size))
    cdef char* at = PyBytes_AS_STRING(made)
    cdef EntryHead* head = <EntryHead*>at
    head.following = following
    memcpy(at + sizeof(EntryHead), PyBytes_AS_STRING(content), size)
    head.checksum = entry_checksum(key, at, sizeof(EntryHead) + size)
    return made


def chain_content(bytes key not None, bytes raw not None):
    """CRC-32C of the key behind an entry, and its content; None where its checksum doesn't hold."""
    cdef size_t size = <size_t>PyBytes_GET_SIZE(raw)
    cdef const char* at = PyBytes_AS_STRING(raw)
    cdef const EntryHead* head = <const EntryHead*>at
    if size < sizeof(EntryHead) or entry_checksum(key, at, size) != head.checksum:
        return None
    return head.following, (at + sizeof(EntryHead))[:size - sizeof(EntryHead)]


cdef uint32_t entry_checksum(bytes key, const char* entry, size_t size) noexcept:
    cdef uint32_t of_key = native_crc32c(
        PyBytes_AS_STRING(key), <size_t>PyBytes_GET_SIZE(key), 0
    )
    return native_crc32c(entry + 4, size - 4, of_key)
