#include "kernels/weight_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kernels/low_packing.h"
#include "kernels/plan/gemm_plan.h"

namespace sluice::kernels {
namespace {

// Changes with every change of the layout of packed weights or of this file's format.
constexpr uint64_t kFormat = 3;
constexpr uint64_t kMagic = 0x3145544857434C53;  // "SLCWHTE1"
constexpr const char* kKeyFile = "key";
constexpr const char* kSuffix = ".packed";
constexpr int64_t kFilesMax = 100'000;
constexpr size_t kWrittenAtOnce = size_t{64} << 20;

// Both halves of the product: every bit of the input reaches all of the output. As in wyhash (Wang
// Yi, 2019), with a secret key.
uint64_t Fold(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

uint64_t Word(const std::byte* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

using Lanes = std::array<uint64_t, 4>;

// Folds 64 bytes into lanes that do not wait for each other.
void FoldLine(const std::byte* at, const uint64_t* key, Lanes& lanes) {
  for (size_t i = 0; i < lanes.size(); ++i) {
    lanes[i] = Fold(Word(at + 16 * i) ^ key[4 + i], Word(at + 16 * i + 8) ^ lanes[i]);
  }
}

// Takes whole blocks off `bytes`, four pages side by side, and asks for the next four: one stream
// through pages of 4 KiB, at whose ends the processor's own prefetchers stop, reads 6.8 GB/s where
// four asked for ahead read 14.
void FoldBlocks(std::span<const std::byte>& bytes, const uint64_t* key, Lanes& lanes) {
  constexpr size_t kPage = 4096, kPages = 4, kBlock = kPage * kPages;
  if (bytes.size() < kBlock) return;
  std::array<Lanes, kPages> pages;
  pages.fill(lanes);
  for (; bytes.size() >= kBlock; bytes = bytes.subspan(kBlock)) {
    for (size_t line = 0; line < kPage; line += 64) {
      for (size_t page = 0; page < kPages; ++page) {
        const std::byte* const at = bytes.data() + page * kPage + line;
        __builtin_prefetch(at + kBlock);
        FoldLine(at, key, pages[page]);
      }
    }
  }
  for (const Lanes& page : pages) {
    for (size_t i = 0; i < lanes.size(); ++i)
      lanes[i] = Fold(lanes[i] ^ key[i], page[i] ^ key[4 + i]);
  }
}

// Two results of different keys.
WeightCache::Name Hash(std::span<const std::byte> bytes, const uint64_t* key, uint64_t seed) {
  WeightCache::Name name{bytes.size() ^ key[5], seed ^ key[6]};
  Lanes lanes = {seed ^ key[0], seed ^ key[1], seed ^ key[2], seed ^ key[3]};
  FoldBlocks(bytes, key, lanes);
  for (; bytes.size() >= 64; bytes = bytes.subspan(64)) FoldLine(bytes.data(), key, lanes);
  std::byte tail[64] = {};
  if (!bytes.empty()) std::memcpy(tail, bytes.data(), bytes.size());
  FoldLine(tail, key, lanes);
  for (size_t i = 0; i < lanes.size(); ++i) {
    name[0] = Fold(name[0] ^ lanes[i], key[i] | 1);
    name[1] = Fold(name[1] ^ lanes[3 - i], key[7 - i] | 1);
  }
  return name;
}

// What the layout of a weight of 16 or 8 bits depends on beside its size; above any panel's width.
uint64_t LayoutOf(WeightForm form, LowPath path) {
  return uint64_t{1} << 32 | static_cast<uint64_t>(form) << 8 | static_cast<uint64_t>(path);
}

// Of bytes as they are, for every target.
constexpr uint64_t kPlain = uint64_t{2} << 32;

base::Error SystemError(const std::string& what) {
  return base::Unavailable(what + ": " + std::strerror(errno));
}

// Whether only this user can have written it.
bool OnlyOurs(const struct stat& file) {
  return file.st_uid == geteuid() && (file.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

base::Status WriteAll(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), std::min(bytes.size(), kWrittenAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return SystemError("cannot write " + path);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
  return base::Ok();
}

struct Mapping {
  Mapping(void* at, size_t size) : data(at), bytes(size) {}
  ~Mapping() { munmap(data, bytes); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  void* const data;
  const size_t bytes;
};

// The folder's secret: the first process to come makes it.
base::Result<std::string> ReadOrMakeKey(const std::string& folder, size_t bytes) {
  const std::string path = folder + "/" + kKeyFile;
  for (int attempt = 0; attempt < 2; ++attempt) {
    const base::FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file) {
      struct stat seen {};
      if (fstat(file.fd(), &seen) != 0 || !OnlyOurs(seen)) {
        return base::PermissionDenied(path + " belongs to somebody else");
      }
      std::string key = TRY(base::ReadFile(file, path, static_cast<int64_t>(bytes)));
      if (key.size() == bytes) return key;
      return base::InvalidArgument(path + " is no key of a weight cache: expected " +
                                   std::to_string(bytes) + " bytes, got " +
                                   std::to_string(key.size()));
    }
    if (errno != ENOENT) return SystemError("cannot read " + path);
    std::string key(bytes, '\0');
    if (getrandom(key.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
      return SystemError("no random numbers");
    }
    std::string made = path + ".XXXXXX";
    const base::FileHandle out(mkostemp(made.data(), O_CLOEXEC));
    if (!out) return SystemError("cannot write into " + folder);
    const base::Status written =
        WriteAll(out.fd(), std::as_bytes(std::span(key.data(), key.size())), made);
    // A link does not replace the key that another process has put there meanwhile.
    const bool linked = written.ok() && (link(made.c_str(), path.c_str()) == 0 || errno == EEXIST);
    unlink(made.c_str());
    TRY(written);
    if (!linked) return SystemError("cannot write " + path);
  }
  return base::Unavailable("cannot read " + path);
}

}  // namespace

struct WeightCache::Header {
  uint64_t magic = kMagic;
  uint64_t format = kFormat;
  uint64_t target = 0;
  uint64_t layout = 0;  // of f32 the columns of a panel, else LayoutOf or kPlain
  int64_t k = 0;
  int64_t n = 0;
  int64_t bytes = 0;
  uint64_t checksum = 0;  // of the data and, as its seed, of the fields above

  // Of a header whose checksum is not yet set.
  uint64_t ChecksumOf(std::span<const std::byte> data) const;
};

struct WeightCache::File {
  Header header;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> memory;
};

uint64_t WeightCache::Header::ChecksumOf(std::span<const std::byte> data) const {
  constexpr uint64_t kPublic[8] = {0xa0761d6478bd642f, 0xe7037ed1a0b428db, 0x8ebc6af09c88c6e3,
                                   0x589965cc75374cc3, 0x1d8e4e27c47d124f, 0xeb44accab455d165,
                                   0x9c6e6877736c46e3, 0x2d358dccaa6c78a5};
  Header fields = *this;
  fields.checksum = 0;
  const uint64_t seed = Hash(std::as_bytes(std::span(&fields, 1)), kPublic, 1)[0];
  return Hash(data, kPublic, seed)[0];
}

base::Result<std::unique_ptr<WeightCache>> WeightCache::Open(Options options) {
  if (mkdir(options.folder.c_str(), S_IRWXU) != 0 && errno != EEXIST) {
    return SystemError("cannot make the weight cache " + options.folder);
  }
  struct stat folder {};
  if (stat(options.folder.c_str(), &folder) != 0) {
    return SystemError("cannot open the weight cache " + options.folder);
  }
  if (!S_ISDIR(folder.st_mode)) return base::InvalidArgument(options.folder + " is no folder");
  if (!OnlyOurs(folder)) {
    return base::PermissionDenied(
        "the weight cache " + options.folder +
        " may be written by others: expected a folder of this user's own");
  }
  std::array<uint64_t, kKeyWords> key;
  const std::string bytes = TRY(ReadOrMakeKey(options.folder, sizeof key));
  std::memcpy(key.data(), bytes.data(), sizeof key);
  return std::unique_ptr<WeightCache>(new WeightCache(std::move(options), key));
}

bool WeightCache::Takes(MatrixParts parts) {
  return std::all_of(parts.begin(), parts.end(), [](const MatrixSource& source) {
    return source.k >= 1 && source.n >= 1 &&
           ((source.n_stride == 1 && source.k_stride == source.n) ||
            (source.k_stride == 1 && source.n_stride == source.k));
  });
}

WeightCache::Name WeightCache::NameOf(MatrixParts parts, Target target, uint64_t layout) const {
  if (parts.size() == 1) return NameOfPart(parts[0], target, layout);
  std::vector<Name> names;
  for (const MatrixSource& part : parts) names.push_back(NameOfPart(part, target, layout));
  return Hash(std::as_bytes(std::span(names)), key_.data(), names.size());
}

WeightCache::Name WeightCache::NameOfPart(const MatrixSource& source, Target target,
                                          uint64_t layout) const {
  const uint64_t facts[] = {kFormat,
                            static_cast<uint64_t>(target),
                            layout,
                            static_cast<uint64_t>(source.dtype),
                            static_cast<uint64_t>(source.k),
                            static_cast<uint64_t>(source.n),
                            static_cast<uint64_t>(source.n_stride == 1)};
  const uint64_t seed = Hash(std::as_bytes(std::span(facts)), key_.data(), 2)[0];
  if (source.data == nullptr) return NameOf(*source.buffer, seed);
  const auto bytes = static_cast<size_t>(source.k * source.n * tensor::DTypeSize(source.dtype));
  return Hash({static_cast<const std::byte*>(source.data), bytes}, key_.data(), seed);
}

// The same name as of the bytes themselves where these are one piece.
WeightCache::Name WeightCache::NameOf(const tensor::Buffer& buffer, uint64_t seed) const {
  tensor::DeferredBytes::Origin origin;
  buffer.Describe(origin);
  if (origin.recipe.empty()) return Hash(origin.pieces[0], key_.data(), seed);
  const std::span<const char> recipe(origin.recipe);
  std::vector<Name> names = {Hash(std::as_bytes(recipe), key_.data(), seed)};
  for (const std::span<const std::byte> piece : origin.pieces)
    names.push_back(Hash(piece, key_.data(), names[0][0]));
  return Hash(std::as_bytes(std::span(names)), key_.data(), seed);
}

WeightCache::Name WeightCache::NameOf(MatrixParts parts, Target target) const {
  return NameOf(parts, target, static_cast<uint64_t>(PanelColumns(target)));
}

WeightCache::Name WeightCache::NameOf(MatrixParts parts, WeightForm form) const {
  return NameOf(parts, ActiveTarget(), LayoutOf(form, PathFor(form)));
}

WeightCache::Name WeightCache::NameOf(const tensor::Buffer& buffer) const {
  const uint64_t facts[] = {kFormat, kPlain};
  return NameOf(buffer, Hash(std::as_bytes(std::span(facts)), key_.data(), 2)[0]);
}

std::string WeightCache::PathOf(const Name& name) const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string path = options_.folder + "/";
  for (const uint64_t word : name) {
    for (int shift = 60; shift >= 0; shift -= 4) path += kDigits[(word >> shift) & 15];
  }
  return path + kSuffix;
}

template <class Accept>
base::Result<WeightCache::File> WeightCache::Map(const Name& name, Accept accept) const {
  const std::string path = PathOf(name);
  const base::FileHandle file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return base::NotFound(path);
  struct stat seen {};
  if (fstat(file.fd(), &seen) != 0 || !S_ISREG(seen.st_mode) || !OnlyOurs(seen)) {
    return base::NotFound(path + " is not ours");
  }
  const auto damaged = [&](const char* why) {
    unlink(path.c_str());
    return base::NotFound(path + " " + why);
  };
  const auto whole = static_cast<size_t>(seen.st_size);
  if (whole < sizeof(Header)) return damaged("has another size");
  void* const at = mmap(nullptr, whole, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.fd(), 0);
  if (at == MAP_FAILED) return base::NotFound(path + " cannot be mapped");
  File mapped;
  mapped.memory = std::make_shared<const Mapping>(at, whole);
  std::memcpy(&mapped.header, at, sizeof(Header));
  mapped.data = static_cast<const std::byte*>(at) + sizeof(Header);
  const Header& header = mapped.header;
  if (header.magic != kMagic || header.format != kFormat) return damaged("is damaged");
  const int64_t bytes = accept(header);
  if (bytes < 0 || header.bytes != bytes) return damaged("is damaged");
  if (whole != sizeof(Header) + static_cast<size_t>(bytes)) return damaged("has another size");
  if (header.checksum != header.ChecksumOf({mapped.data, static_cast<size_t>(bytes)}))
    return damaged("is damaged");
  futimens(file.fd(), nullptr);  // used now; a refusal is no error
  return mapped;
}

base::Result<WeightCache::Mapped> WeightCache::Load(const Name& name, int64_t k, int64_t n,
                                                    Target target) const {
  const File file = TRY(Map(name, [&](const Header& header) -> int64_t {
    const bool fits = header.target == static_cast<uint64_t>(target) &&
                      header.layout == static_cast<uint64_t>(PanelColumns(target)) &&
                      header.k == k && header.n == n;
    return fits ? PackedMatrixBytes(k, n, target) : -1;
  }));
  return Mapped{
      {reinterpret_cast<const float*>(file.data), k, n, target}, file.header.bytes, file.memory};
}

base::Result<WeightCache::MappedLow> WeightCache::Load(const Name& name, int64_t k, int64_t n,
                                                       WeightForm form) const {
  LowMatrix matrix;
  matrix.k = k;
  matrix.n = n;
  matrix.form = form;
  matrix.target = ActiveTarget();
  const File file = TRY(Map(name, [&](const Header& header) -> int64_t {
    // Packing takes bytes in place of words where that is exact: the file says so.
    matrix.path = PathFor(form);
    if (matrix.path == LowPath::kWords && header.layout == LayoutOf(form, LowPath::kBytes))
      matrix.path = LowPath::kBytes;
    matrix.groups = LowGroups(k, matrix.path);
    const bool fits = header.target == static_cast<uint64_t>(matrix.target) &&
                      header.layout == LayoutOf(form, matrix.path) && header.k == k &&
                      header.n == n;
    return fits ? PackedLowBytes(matrix) : -1;
  }));
  return MappedLow{MovedLow(matrix, file.data), file.header.bytes, file.memory};
}

base::Result<tensor::Buffer> WeightCache::Load(const Name& name, int64_t bytes) const {
  const File file = TRY(Map(name, [&](const Header& header) -> int64_t {
    return header.layout == kPlain && header.k == bytes ? bytes : -1;
  }));
  return tensor::Buffer::Wrap(file.memory, file.data, bytes);
}

base::Status WeightCache::Store(const Name& name, const tensor::Buffer& buffer) {
  Header header;
  header.layout = kPlain;
  header.k = header.bytes = buffer.bytes();
  header.n = 1;
  return Keep(name, header, buffer.data());
}

base::Status WeightCache::Store(const Name& name, const PackedMatrix& matrix, int64_t bytes) {
  Header header;
  header.target = static_cast<uint64_t>(matrix.target);
  header.layout = static_cast<uint64_t>(PanelColumns(matrix.target));
  header.k = matrix.k;
  header.n = matrix.n;
  header.bytes = bytes;
  return Keep(name, header, matrix.data);
}

base::Status WeightCache::Store(const Name& name, const LowMatrix& matrix) {
  Header header;
  header.target = static_cast<uint64_t>(matrix.target);
  header.layout = LayoutOf(matrix.form, matrix.path);
  header.k = matrix.k;
  header.n = matrix.n;
  header.bytes = PackedLowBytes(matrix);
  return Keep(name, header, matrix.data);
}

base::Status WeightCache::Keep(const Name& name, Header header, const void* packed) {
  const int64_t whole = header.bytes + static_cast<int64_t>(sizeof(Header));
  if (whole > options_.bytes_max) return base::Ok();
  const std::lock_guard lock(storing_);
  MakeRoom(whole);
  const std::span<const std::byte> data(static_cast<const std::byte*>(packed),
                                        static_cast<size_t>(header.bytes));
  header.checksum = header.ChecksumOf(data);
  const std::string path = PathOf(name);
  std::string made = path + ".XXXXXX";
  const base::FileHandle out(mkostemp(made.data(), O_CLOEXEC));
  if (!out) return SystemError("cannot write into " + options_.folder);
  const auto write_all = [&]() -> base::Status {
    TRY(WriteAll(out.fd(), std::as_bytes(std::span(&header, 1)), made));
    TRY(WriteAll(out.fd(), data, made));
    if (rename(made.c_str(), path.c_str()) != 0) return SystemError("cannot name " + path);
    return base::Ok();
  };
  base::Status written = write_all();
  if (!written.ok()) unlink(made.c_str());
  return written;
}

namespace {

struct Kept {
  std::string path;
  int64_t bytes = 0;
  timespec used{};
};

// The cache's files, also those that a process left unfinished.
std::vector<Kept> List(const std::string& folder) {
  std::vector<Kept> files;
  const auto entries = base::ListFolder(folder, kFilesMax);
  if (!entries.ok()) return files;
  for (const base::FolderEntry& entry : *entries) {
    if (entry.is_folder || entry.name.find(kSuffix) == std::string::npos) continue;
    struct stat seen {};
    const std::string path = folder + "/" + entry.name;
    if (lstat(path.c_str(), &seen) == 0) files.push_back({path, seen.st_size, seen.st_mtim});
  }
  return files;
}

}  // namespace

// Removes the files used longest ago until `bytes` more fit. Maps of removed files stay valid.
void WeightCache::MakeRoom(int64_t bytes) {
  std::vector<Kept> files = List(options_.folder);
  int64_t sum = bytes;
  for (const Kept& file : files) sum += file.bytes;
  if (sum <= options_.bytes_max) return;
  std::sort(files.begin(), files.end(), [](const Kept& a, const Kept& b) {
    return std::pair(a.used.tv_sec, a.used.tv_nsec) < std::pair(b.used.tv_sec, b.used.tv_nsec);
  });
  for (const Kept& file : files) {
    if (sum <= options_.bytes_max) break;
    if (unlink(file.path.c_str()) == 0) sum -= file.bytes;
  }
}

int64_t WeightCache::bytes() const {
  int64_t sum = 0;
  for (const Kept& file : List(options_.folder)) sum += file.bytes;
  return sum;
}

}  // namespace sluice::kernels
