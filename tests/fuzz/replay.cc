// The main of a fuzz target in builds without libFuzzer: its seeds, whole and cut short, so that
// every build compiles the target and a reader that breaks on them is noticed at once.
// usage: NAME_fuzz FOLDER
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int count, char** words) {
  if (count != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", words[0]);
    return 2;
  }
  constexpr size_t kCuts = 64;
  size_t files = 0, inputs = 0;
  for (const auto& entry : std::filesystem::directory_iterator(words[1])) {
    std::ifstream in(entry.path(), std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
    const size_t step = std::max<size_t>(1, text.size() / kCuts);
    for (size_t cut = 0; cut < text.size() + step; cut += step) {
      // Memory of just that size: a sanitizer sees what is read behind it.
      const std::vector<uint8_t> input(
          text.begin(), text.begin() + static_cast<std::ptrdiff_t>(std::min(cut, text.size())));
      LLVMFuzzerTestOneInput(input.data(), input.size());
      ++inputs;
    }
    ++files;
  }
  std::printf("%zu inputs of %zu seeds\n", inputs, files);
  return files > 0 ? 0 : 1;
}
