// A stable sort whose comparison may fail, and which stays within bounds whatever it answers.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace sluice::text::jinja {

// before(a, b, out) says in `out` whether a comes strictly before b; false ends the sort.
template <class T, class Before>
bool StableSort(std::vector<T>& items, const Before& before) {
  std::vector<T> merged(items.size());
  for (size_t width = 1; width < items.size(); width *= 2) {
    for (size_t low = 0; low < items.size(); low += 2 * width) {
      const size_t middle = low + width < items.size() ? low + width : items.size();
      const size_t high = middle + width < items.size() ? middle + width : items.size();
      size_t left = low;
      size_t right = middle;
      for (size_t at = low; at < high; ++at) {
        bool take_right = left == middle;
        if (!take_right && right < high && !before(items[right], items[left], take_right)) {
          return false;
        }
        merged[at] = take_right ? items[right++] : items[left++];
      }
    }
    std::swap(items, merged);
  }
  return true;
}

}  // namespace sluice::text::jinja
