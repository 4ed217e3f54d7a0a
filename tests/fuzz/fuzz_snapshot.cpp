// Any bytes as a snapshot, their checksums made good: refused by name, or an index that works. The
// same from memory and mapped.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "hostile.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::vector<char> bytes(data, data + size);
    hostile::seal(bytes);
    const int file = ::memfd_create("snapshot", 0);
    if (file < 0 || ::write(file, bytes.data(), bytes.size()) != std::ssize(bytes)) std::abort();
    hostile::refused("/proc/self/fd/" + std::to_string(file));
    ::close(file);
    if (check_failures() != 0) std::abort();
    return 0;
}
