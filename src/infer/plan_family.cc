#include "infer/plan_family.h"

#include <algorithm>
#include <bit>

#include "base/check.h"

namespace sluice::infer {
namespace {

// Nodes and values of a plan's own graph, with their names and attributes.
constexpr int64_t kNodeBytes = 512;

uint64_t HashOf(const std::vector<tensor::Shape>& shapes, bool rows_apart) {
  uint64_t hash = 0x243F6A8885A308D3u;
  const auto mix = [&](uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
    hash ^= hash >> 29;
  };
  for (const tensor::Shape& shape : shapes) {
    for (int axis = rows_apart ? 1 : 0; axis < shape.rank(); ++axis) {
      mix(static_cast<uint64_t>(shape[axis]));
    }
    mix(~static_cast<uint64_t>(shape.rank()));
  }
  return hash;
}

bool Same(const PlanFamily& family, const std::vector<tensor::Shape>& shapes, bool rows_apart) {
  const auto& own = family.shapes();
  if (family.rows_apart() != rows_apart) return false;
  return std::equal(own.begin(), own.end(), shapes.begin(), shapes.end(),
                    [&](const tensor::Shape& a, const tensor::Shape& b) {
                      bool same = a.rank() == b.rank();
                      for (int axis = rows_apart ? 1 : 0; same && axis < a.rank(); ++axis) {
                        same = a[axis] == b[axis];
                      }
                      return same;
                    });
}

}  // namespace

// --- PlanFamily.

PlanFamily::PlanFamily(std::vector<tensor::Shape> shapes, bool rows_apart)
    : shapes_(std::move(shapes)), rows_apart_(rows_apart) {
  bytes_.store(static_cast<int64_t>(sizeof(*this) + shapes_.size() * sizeof(tensor::Shape)),
               std::memory_order_relaxed);
}

PlanFamily::~PlanFamily() {
  for (auto& plan : plans_) delete plan.load(std::memory_order_acquire);
}

int PlanFamily::IndexOf(int64_t rows) {
  if (rows <= kExact) return static_cast<int>(rows) - 1;
  const int octave = 63 - std::countl_zero(static_cast<uint64_t>(rows));  // 2^octave <= rows
  const int64_t sixteenth = int64_t{1} << (octave - 4);
  const int index = kExact + (octave - 6) * 16 +
                    static_cast<int>((rows - (int64_t{1} << octave)) / sixteenth) - 1;
  return std::min(index, kSizes - 1);
}

int64_t PlanFamily::SizeAt(int index) {
  if (index < kExact) return index + 1;
  const int step = index - kExact + 1;
  const int64_t octave = int64_t{1} << (step / 16 + 6);
  return octave + octave / 16 * (step % 16);
}

int64_t PlanFamily::SizeFor(int64_t rows) {
  return SizeAt(IndexOf(std::max<int64_t>(rows, 1)));
}

const graph::Plan* PlanFamily::Find(int64_t size) const {
  const int index = IndexOf(size);
  return SizeAt(index) == size ? plans_[static_cast<size_t>(index)].load(std::memory_order_acquire)
                               : nullptr;
}

void PlanFamily::Choose(int64_t rows, std::vector<Part>& parts) const {
  parts.clear();
  int index = IndexOf(std::max<int64_t>(rows, 1));
  while (rows > 0) {
    const graph::Plan* plan = nullptr;
    for (; index > 0; --index) {
      plan = plans_[static_cast<size_t>(index)].load(std::memory_order_acquire);
      // The last part may only be the plan for one row, which is always there.
      if (plan != nullptr && parts.size() + 1 < kPartsMax) break;
    }
    if (index == 0) plan = plans_[0].load(std::memory_order_acquire);
    CHECK(plan != nullptr) << "the family is not ready";
    const int64_t size = SizeAt(index);
    parts.push_back({plan, size, rows / size});
    rows %= size;
    if (rows > 0) index = IndexOf(rows);
  }
}

double PlanFamily::PredictedNs(int64_t rows) const {
  double ns = 0;
  int index = IndexOf(std::max<int64_t>(rows, 1));
  while (rows > 0) {
    const graph::Plan* plan = nullptr;
    for (; plan == nullptr && index >= 0; --index) {
      plan = plans_[static_cast<size_t>(index)].load(std::memory_order_acquire);
      if (plan != nullptr) break;
    }
    CHECK(plan != nullptr) << "the family is not ready";
    ns += plan->predicted_ns * static_cast<double>(rows / SizeAt(index));
    rows %= SizeAt(index);
    if (rows > 0) index = IndexOf(rows);
  }
  return ns;
}

int64_t PlanFamily::Want(int64_t rows) {
  rows = std::min(rows, rows_max());
  while (rows > 0) {
    const auto index = static_cast<size_t>(IndexOf(rows));
    const int64_t size = SizeAt(static_cast<int>(index));
    rows %= size;
    if (plans_[index].load(std::memory_order_relaxed) != nullptr) continue;
    const uint8_t times = wanted_[index].load(std::memory_order_relaxed);
    if (times >= 2) continue;  // asked already
    wanted_[index].store(static_cast<uint8_t>(times + 1), std::memory_order_relaxed);
    if (times == 1) return size;
  }
  return 0;
}

void PlanFamily::Unwant(int64_t size) {
  wanted_[static_cast<size_t>(IndexOf(size))].store(1, std::memory_order_relaxed);
}

void PlanFamily::AddPlan(int64_t size, std::unique_ptr<const graph::Plan> plan) {
  const int index = IndexOf(size);
  CHECK_EQ(SizeAt(index), size);
  const int64_t bytes = PlanBytes(*plan);
  const graph::Plan* expected = nullptr;
  if (plans_[static_cast<size_t>(index)].compare_exchange_strong(expected, plan.get(),
                                                                 std::memory_order_acq_rel)) {
    plan.release();
    bytes_.fetch_add(bytes, std::memory_order_relaxed);
  }
}

void PlanFamily::Fail(base::Status why) {
  const std::lock_guard lock(failing_);
  if (state() != State::kNew) return;
  failure_ = std::move(why);
  state_.store(State::kFailed, std::memory_order_release);
}

void PlanFamily::LimitRows(int64_t rows_max) {
  int64_t now = rows_max_.load(std::memory_order_relaxed);
  while (rows_max < now &&
         !rows_max_.compare_exchange_weak(now, rows_max, std::memory_order_relaxed)) {
  }
}

int64_t PlanBytes(const graph::Plan& plan) {
  size_t bytes = sizeof(plan) + plan.steps.capacity() * sizeof(graph::Step) +
                 plan.arguments.capacity() +
                 plan.relocations.capacity() * sizeof(graph::Relocation);
  for (const graph::StepInfo& info : plan.infos) {
    bytes += sizeof(info) + info.kind.capacity() + info.label.capacity() + info.detail.capacity();
  }
  int64_t all = static_cast<int64_t>(bytes);
  for (const tensor::Tensor& constant : plan.constants) all += constant.buffer.bytes();
  if (plan.graph != nullptr) {
    for (const graph::Node* node = plan.graph->first(); node != nullptr; node = node->next) {
      all += kNodeBytes * static_cast<int64_t>(1 + node->outputs.size());
    }
  }
  return all;
}

// --- PlanFamilies.

std::shared_ptr<PlanFamily> PlanFamilies::Get(const std::vector<tensor::Shape>& shapes,
                                              bool rows_apart) {
  const uint64_t hash = HashOf(shapes, rows_apart);
  std::vector<std::shared_ptr<PlanFamily>> dropped;  // destroyed after the lock is given back
  const std::lock_guard lock(mutex_);
  const auto [begin, end] = by_hash_.equal_range(hash);
  for (auto at = begin; at != end; ++at) {
    if (!Same(*at->second->family, shapes, rows_apart)) continue;
    entries_.splice(entries_.begin(), entries_, at->second);
    return at->second->family;
  }
  std::vector<tensor::Shape> one_row = shapes;
  if (rows_apart) {
    for (tensor::Shape& shape : one_row) shape.set_dim(0, 1);
  }
  auto family = std::make_shared<PlanFamily>(std::move(one_row), rows_apart);
  entries_.push_front({hash, family, family->bytes()});
  by_hash_.emplace(hash, entries_.begin());
  bytes_ += family->bytes();
  while (bytes_ > options_.bytes_max && entries_.size() > 1) DropLast(dropped);
  return family;
}

base::Status PlanFamilies::Recount(PlanFamily& family) {
  std::vector<std::shared_ptr<PlanFamily>> dropped;
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (entry.family.get() != &family) continue;
    bytes_ += family.bytes() - entry.counted;
    entry.counted = family.bytes();
    break;
  }
  while (bytes_ > options_.bytes_max && entries_.size() > 1) DropLast(dropped);
  if (options_.ledger == nullptr) return base::Ok();
  for (;;) {
    base::Status reserved;
    if (reservation_.bytes() > 0) {
      reserved = reservation_.Resize(bytes_);
    } else {
      base::Result<tensor::Reservation> made = options_.ledger->Reserve(options_.owner, bytes_);
      if (made.ok()) {
        reservation_ = std::move(made).value();
      } else {
        reserved = made.error();
      }
    }
    if (reserved.ok() || entries_.size() <= 1) return reserved;
    DropLast(dropped);
  }
}

// The mutex is held.
void PlanFamilies::DropLast(std::vector<std::shared_ptr<PlanFamily>>& dropped) {
  const Entries::iterator last = std::prev(entries_.end());
  const auto [begin, end] = by_hash_.equal_range(last->hash);
  const auto at = std::find_if(begin, end, [&](const auto& row) { return row.second == last; });
  CHECK(at != end);
  by_hash_.erase(at);
  bytes_ -= last->counted;
  dropped.push_back(std::move(last->family));
  entries_.erase(last);
}

int64_t PlanFamilies::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}
int64_t PlanFamilies::size() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int64_t>(entries_.size());
}

}  // namespace sluice::infer
