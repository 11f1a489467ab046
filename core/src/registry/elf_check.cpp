// SPDX-License-Identifier: BSD-3-Clause
#include "registry/elf_check.hpp"

#include <elf.h>

#include <cstring>
#include <fstream>
#include <vector>

#include "zelos/error.hpp"

namespace zelos::registry {
namespace {

#if defined(__x86_64__)
constexpr int kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr int kMachine = EM_AARCH64;
#elif defined(__powerpc64__)
constexpr int kMachine = EM_PPC64;
#elif defined(__riscv)
constexpr int kMachine = EM_RISCV;
#else
#error "add this machine's ELF number"
#endif
static_assert(sizeof(void*) == 8, "64-bit machines only");
constexpr int kByteOrder = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;

class Reader {
 public:
  explicit Reader(const std::filesystem::path& file) : name_(file.string()), stream_(file, std::ios::binary) {
    std::error_code code;
    size_ = std::filesystem::file_size(file, code);
    if (code || !stream_) throw Error(ZELOS_E_IO, "plugin '" + name_ + "': the file can't be read");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ZELOS_E_FORMAT, "plugin '" + name_ + "': " + what);
  }

  /// n records of type T at an offset of the file.
  template <class T>
  std::vector<T> read(std::uint64_t offset, std::uint64_t n) {
    require_inside(offset, n > size_ ? size_ + 1 : n * sizeof(T));
    std::vector<T> records(n);
    stream_.seekg(static_cast<std::streamoff>(offset));
    stream_.read(reinterpret_cast<char*>(records.data()), static_cast<std::streamsize>(n * sizeof(T)));
    if (!stream_) throw Error(ZELOS_E_IO, "plugin '" + name_ + "': the file can't be read");
    return records;
  }

  void require_inside(std::uint64_t offset, std::uint64_t bytes) const {
    if (offset > size_ || bytes > size_ - offset) {
      fail("the file is cut off or damaged: its header speaks of more than its " + std::to_string(size_) + " bytes");
    }
  }

  const std::string& name() const { return name_; }
  std::uint64_t size() const { return size_; }

 private:
  std::string name_;
  std::uint64_t size_ = 0;
  std::ifstream stream_;
};

Elf64_Ehdr read_header(Reader& reader) {
  const std::vector<char> magic = reader.read<char>(0, std::min<std::uint64_t>(reader.size(), EI_NIDENT));
  if (magic.size() < SELFMAG || std::memcmp(magic.data(), ELFMAG, SELFMAG) != 0) {
    reader.fail("expected a shared library (ELF), found another kind of file");
  }
  const Elf64_Ehdr header = reader.read<Elf64_Ehdr>(0, 1).front();
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != kByteOrder) {
    reader.fail("expected a 64-bit library with this machine's byte order, found ELF class " +
                std::to_string(header.e_ident[EI_CLASS]) + ", byte order " + std::to_string(header.e_ident[EI_DATA]));
  }
  if (header.e_machine != kMachine) {
    reader.fail("made for another processor: expected ELF machine " + std::to_string(kMachine) + ", found " +
                std::to_string(header.e_machine));
  }
  if (header.e_type != ET_DYN) {
    reader.fail("expected a shared library (ELF type " + std::to_string(ET_DYN) + "), found type " +
                std::to_string(header.e_type));
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_shentsize != sizeof(Elf64_Shdr)) {
    reader.fail("the ELF header is damaged");
  }
  return header;
}

bool exports(Reader& reader, const std::vector<Elf64_Shdr>& sections, const std::string& symbol) {
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_DYNSYM) continue;
    if (section.sh_link >= sections.size()) reader.fail("the ELF symbol table is damaged");
    const Elf64_Shdr& text = sections[section.sh_link];
    const std::vector<char> names = reader.read<char>(text.sh_offset, text.sh_size);
    for (const Elf64_Sym& entry : reader.read<Elf64_Sym>(section.sh_offset, section.sh_size / sizeof(Elf64_Sym))) {
      const bool same = entry.st_name < names.size() && names.size() - entry.st_name > symbol.size() &&
                        std::memcmp(names.data() + entry.st_name, symbol.c_str(), symbol.size() + 1) == 0;
      if (same && entry.st_shndx != SHN_UNDEF) return true;
    }
  }
  return false;
}

}  // namespace

void check_shared_library(const std::filesystem::path& file, const std::string& symbol) {
  Reader reader(file);
  const Elf64_Ehdr header = read_header(reader);
  for (const Elf64_Phdr& segment : reader.read<Elf64_Phdr>(header.e_phoff, header.e_phnum)) {
    if (segment.p_type == PT_LOAD) reader.require_inside(segment.p_offset, segment.p_filesz);
  }
  const std::vector<Elf64_Shdr> sections = reader.read<Elf64_Shdr>(header.e_shoff, header.e_shnum);
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != SHT_NOBITS) reader.require_inside(section.sh_offset, section.sh_size);
  }
  if (!exports(reader, sections, symbol)) {
    throw Error(ZELOS_E_MISSING, "plugin '" + reader.name() + "': expected the symbol '" + symbol +
                                     "', found none: not a plugin, or made for another major version of zelos");
  }
}

}  // namespace zelos::registry
