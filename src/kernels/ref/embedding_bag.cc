#include "kernels/ref/ranking.h"
#include "tensor/float16.h"

namespace sluice::kernels::ref {
namespace {

template <class T>
const T* At(const LookupsArgs& args, const LookupPlace& place) {
  return reinterpret_cast<const T*>(static_cast<const char*>(args.bases[place.base]) +
                                    place.offset);
}

double Element(const TableView& table, int64_t at) {
  switch (table.dtype) {
    case tensor::DType::kF16:
      return static_cast<double>(
          tensor::ToFloat(tensor::F16{static_cast<const uint16_t*>(table.data)[at]}));
    case tensor::DType::kBF16:
      return static_cast<double>(
          tensor::ToFloat(tensor::BF16{static_cast<const uint16_t*>(table.data)[at]}));
    default:
      return static_cast<double>(static_cast<const float*>(table.data)[at]);
  }
}

// One bag; the first fault of it.
LookupFault RunBag(const LookupsArgs& args, int64_t at, int64_t bag) {
  const Lookup& lookup = args.lookups[at];
  int64_t begin = 0, end = lookup.bag_size, from = bag * lookup.ids_bag;
  int64_t weights_from = bag * lookup.weights_bag;
  if (lookup.offsets.base >= 0) {
    const auto* offsets = At<int64_t>(args, lookup.offsets);
    begin = offsets[bag];
    end = lookup.closed || bag + 1 < args.rows ? offsets[bag + 1] : lookup.id_count;
    from = weights_from = 0;
    if (begin < 0 || begin > lookup.id_count) return {at, true, bag, begin, lookup.id_count + 1};
    if (end < begin || end > lookup.id_count) return {at, true, bag + 1, end, lookup.id_count + 1};
  }
  auto* const y = const_cast<float*>(At<float>(args, lookup.y)) + bag * lookup.y_stride;
  LookupFault fault;
  for (int64_t c = 0; c < lookup.table.columns; ++c) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t element = from + i * lookup.ids_step;
      const int64_t id = lookup.wide_ids ? At<int64_t>(args, lookup.ids)[element]
                                         : At<int32_t>(args, lookup.ids)[element];
      if (id < -lookup.table.rows || id >= lookup.table.rows) {
        if (fault.lookup < 0) {
          const int64_t position = lookup.offsets.base >= 0 ? i : bag * lookup.bag_size + i;
          fault = {at, false, position, id, lookup.table.rows};
        }
        continue;
      }
      const int64_t row = id < 0 ? id + lookup.table.rows : id;
      const double weight =
          lookup.weights.base < 0
              ? 1.0
              : static_cast<double>(
                    At<float>(args, lookup.weights)[weights_from + i * lookup.weights_step]);
      sum += weight * Element(lookup.table, row * lookup.table.columns + c);
    }
    if (lookup.mean && (end > begin || lookup.offsets.base < 0))
      sum /= static_cast<double>(end - begin);
    y[c] = static_cast<float>(lookup.accumulates ? static_cast<double>(y[c]) + sum : sum);
  }
  return fault;
}

}  // namespace

LookupFault Lookups(const LookupsArgs& args) {
  LookupFault first;
  for (int64_t i = 0; i < args.count; ++i) {
    for (int64_t bag = 0; bag < args.rows; ++bag) {
      const LookupFault fault = RunBag(args, i, bag);
      if (first.lookup < 0) first = fault;
    }
  }
  return first;
}

}  // namespace sluice::kernels::ref
