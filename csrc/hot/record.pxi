# Records in bytes: written, checked and taken apart without a step in Python. What they mean is in
# llmspell/storage/record.py.

cimport cython

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

#: Version of all that lies in LMDB; a store of another one is refused.
STORE_FORMAT = 3

cdef enum:
    has_text = 1
    is_chunk_flag = 2
    is_packed_flag = 4
    format_now = 3

cdef packed struct RecordHeader:
    uint32_t checksum
    uint8_t version
    uint8_t flags
    uint16_t reserved
    int64_t created_us
    int64_t updated_us
    int64_t expires_us
    uint32_t key
    uint32_t metadata
    uint32_t text
    uint32_t vector


cdef object decompress = None

cdef bytes unpacked(bytes packed, uint32_t size):
    """A text that was compressed; raises CorruptFile where it doesn't have ``size`` bytes."""
    global decompress
    if decompress is None:
        from llmspell.storage.packed_text import decompress as found
        decompress = found
    return decompress(packed, size)


cdef class RecordBytes:
    """A record of a row, without its vector, as it lies in the store. Immutable.

    Little-endian: CRC-32C of all that follows, seeded with the row; version and flags; times; the
    lengths of key, metadata, text and vector; then key, metadata and text. A text that is packed is
    its length as a u32, and a frame of zstd.

    What it holds is checked by :meth:`check`, at the first look at the latest. All that looks
    raises CorruptFile where the checksum or a length doesn't hold or it belongs to another row,
    and UnsupportedFormat where a later release wrote it.
    """

    cdef readonly int64_t rowid
    cdef bytes _raw
    cdef cbool _is_checked

    def __cinit__(self, int64_t rowid, bytes raw not None, *rest):
        self.rowid = rowid
        self._raw = raw

    cdef inline const char* data(self) noexcept:
        return PyBytes_AS_STRING(self._raw)

    cdef inline const RecordHeader* header(self) except NULL:
        if not self._is_checked:
            self.verify()
        return <const RecordHeader*>self.data()

    cdef int verify(self) except -1:
        cdef size_t size = <size_t>PyBytes_GET_SIZE(self._raw)
        cdef const RecordHeader* header = <const RecordHeader*>self.data()
        if size < sizeof(RecordHeader):
            raise CorruptFile(
                f"record {self.rowid}: {size} bytes, expected {sizeof(RecordHeader)} or more"
            )
        if native_crc32c(self.data() + 4, size - 4, <uint32_t>self.rowid) != header.checksum:
            raise CorruptFile(f"record {self.rowid}: its checksum does not match")
        if header.version != format_now:
            raise UnsupportedFormat(
                f"record {self.rowid}: version {header.version}, expected {STORE_FORMAT}"
            )
        if size != sizeof(RecordHeader) + <uint64_t>header.key + header.metadata + header.text:
            raise CorruptFile(f"record {self.rowid}: its lengths do not add up")
        if header.flags & is_packed_flag and header.text < sizeof(uint32_t):
            raise CorruptFile(f"record {self.rowid}: its packed text has no length")
        self._is_checked = True
        return 0

    def check(self):
        """Check all of it; the second time it costs nothing."""
        self.header()

    @property
    def key(self):
        """Key of the external id, see :func:`llmspell.storage.ids.encode_id`."""
        cdef const RecordHeader* header = self.header()
        return (self.data() + sizeof(RecordHeader))[:header.key]

    @property
    def id(self):
        """The external id, as it was given: a str or an int."""
        cdef const RecordHeader* header = self.header()
        cdef const char* key = self.data() + sizeof(RecordHeader)
        cdef uint64_t number = 0
        cdef size_t i
        if header.key == 9 and key[0] == c"i":
            for i in range(1, 9):
                number = number << 8 | <uint8_t>key[i]
            return <int64_t>(number ^ (<uint64_t>1 << 63))
        if header.key < 2 or key[0] != c"s":
            raise CorruptFile(f"record {self.rowid}: its key is of no known kind")
        return PyUnicode_DecodeUTF8(key + 1, header.key - 1, NULL)

    @property
    def raw_metadata(self):
        """Metadata as they are stored."""
        cdef const RecordHeader* header = self.header()
        return (self.data() + sizeof(RecordHeader) + header.key)[:header.metadata]

    cdef inline uint32_t text_size(self) except? 0:
        """Bytes of the text in UTF-8, packed or not."""
        cdef const RecordHeader* header = self.header()
        cdef uint32_t size = header.text
        if header.flags & is_packed_flag:
            memcpy(&size, self.data() + sizeof(RecordHeader) + header.key + header.metadata, 4)
        return size

    @property
    def raw_text(self):
        """The text in UTF-8; None where the record has none."""
        cdef const RecordHeader* header = self.header()
        if not header.flags & has_text:
            return None
        cdef const char* text = self.data() + sizeof(RecordHeader) + header.key + header.metadata
        if header.flags & is_packed_flag:
            return unpacked((text + 4)[:header.text - 4], self.text_size())
        return text[:header.text]

    @property
    def text(self):
        """None where the record has none."""
        cdef const RecordHeader* header = self.header()
        if not header.flags & has_text:
            return None
        if header.flags & is_packed_flag:
            return self.raw_text.decode()
        return PyUnicode_DecodeUTF8(
            self.data() + sizeof(RecordHeader) + header.key + header.metadata, header.text, NULL
        )

    @property
    def created_us(self):
        """Microseconds since 1970, UTC."""
        return self.header().created_us

    @property
    def updated_us(self):
        """Microseconds since 1970, UTC."""
        return self.header().updated_us

    @property
    def expires_us(self):
        """Microseconds since 1970, UTC; :data:`NEVER_US` where it doesn't expire."""
        return self.header().expires_us

    @property
    def is_chunk(self):
        """Whether it is a piece of an ingested document."""
        return self.header().flags & is_chunk_flag != 0

    @property
    def is_packed(self):
        """Whether its text is compressed."""
        return self.header().flags & is_packed_flag != 0

    @property
    def vector_bytes(self):
        """Bytes of its vector, which lies apart."""
        return self.header().vector

    @property
    def storage(self):
        """Bytes that the storage quota counts: id, metadata, text as it was given, and vector."""
        cdef const RecordHeader* header = self.header()
        return <uint64_t>header.key + header.metadata + self.text_size() + header.vector


cdef class FoundRecord(RecordBytes):
    """A record that a search found, and its score."""

    cdef readonly double score

    def __cinit__(self, int64_t rowid, bytes raw not None, double score):
        self.score = score


def found_records(kind, list records not None, list rows not None, list scores not None):
    """A list of ``kind(row, record, score)``, a :class:`FoundRecord`, of each record."""
    return [kind(rows[i], records[i], scores[i]) for i in range(len(records))]


def checked_bytes(body, uint32_t seed=0):
    """Contiguous bytes with their CRC-32C, seeded and little-endian, before them."""
    cdef Py_buffer view
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    cdef bytes made
    cdef char* at
    try:
        made = PyBytes_FromStringAndSize(NULL, view.len + 4)
        at = PyBytes_AS_STRING(made)
        memcpy(at + 4, view.buf, <size_t>view.len)
        (<uint32_t*>at)[0] = native_crc32c(at + 4, <size_t>view.len, seed)
    finally:
        PyBuffer_Release(&view)
    return made


def encode_record(
    int64_t rowid,
    bytes key not None,
    bytes metadata not None,
    bytes text,
    uint32_t vector_bytes,
    int64_t created_us,
    int64_t updated_us,
    int64_t expires_us,
    cbool is_chunk,
    cbool is_packed=False,
):
    """Bytes of a record, as :class:`RecordBytes` has them; ``text`` is None where it has none.

    Args:
        is_packed: ``text`` is its length and a frame.

    Raises:
        OverflowError: key, metadata or text have 2**32 bytes or more.
    """
    cdef RecordHeader header
    cdef size_t parts[3]
    cdef size_t size = sizeof(RecordHeader)
    cdef size_t i
    parts[0] = <size_t>PyBytes_GET_SIZE(key)
    parts[1] = <size_t>PyBytes_GET_SIZE(metadata)
    parts[2] = 0 if text is None else <size_t>PyBytes_GET_SIZE(text)
    for i in range(3):
        if parts[i] > UINT32_MAX:
            raise OverflowError(f"record {rowid}: a part of it has {parts[i]} bytes")
        size += parts[i]
    header.checksum = 0
    header.version = format_now
    header.flags = (0 if text is None else has_text) | (is_chunk_flag if is_chunk else 0)
    if is_packed:
        header.flags |= is_packed_flag
    header.reserved = 0
    header.created_us = created_us
    header.updated_us = updated_us
    header.expires_us = expires_us
    header.key = <uint32_t>parts[0]
    header.metadata = <uint32_t>parts[1]
    header.text = <uint32_t>parts[2]
    header.vector = vector_bytes
    cdef bytes made = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
    cdef char* at = PyBytes_AS_STRING(made)
    memcpy(at, &header, sizeof(RecordHeader))
    cdef char* end = at + sizeof(RecordHeader)
    memcpy(end, PyBytes_AS_STRING(key), parts[0])
    memcpy(end + parts[0], PyBytes_AS_STRING(metadata), parts[1])
    if text is not None:
        memcpy(end + parts[0] + parts[1], PyBytes_AS_STRING(text), parts[2])
    (<RecordHeader*>at).checksum = native_crc32c(at + 4, size - 4, <uint32_t>rowid)
    return made
