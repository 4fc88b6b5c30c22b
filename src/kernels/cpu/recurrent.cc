// Recurrent cells, compiled once per target: a strip of sequences goes through all steps of a run
// while the weights stay in the cache.
#include "kernels/cpu/recurrent.h"

#include "kernels/cpu/micro.h"
#include "kernels/cpu/pack.h"
#include "kernels/cpu/window.h"

namespace sluice::kernels::SLUICE_ISA {
namespace {

// f(load, store, i) for every vector of [0, count), the last one partial.
template <class F>
HWY_INLINE void EachVector(int64_t count, F f) {
  const F32 d;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    f([&](const float* from) HWY_ATTR { return hn::LoadU(d, from + i); },
      [&](VF v, float* to) HWY_ATTR { hn::StoreU(v, d, to + i); });
  }
  if (i == count) return;
  const auto rest = hn::FirstN(d, static_cast<size_t>(count - i));
  f([&](const float* from) HWY_ATTR { return hn::MaskedLoad(rest, d, from + i); },
    [&](VF v, float* to) HWY_ATTR { hn::BlendedStore(v, rest, d, to + i); });
}

HWY_INLINE void CopyRow(const float* from, int64_t count, float* to) {
  EachVector(count, [&](auto load, auto store) HWY_ATTR { store(load(from), to); });
}
HWY_INLINE void ZeroRow(int64_t count, float* to) {
  EachVector(count, [&](auto, auto store) HWY_ATTR { store(hn::Zero(F32()), to); });
}

// C [rows, b.n], rows c_row apart, plus A [rows, b.k] B, rows of A a_row apart. Where `start` is no
// null, C is start [b.n] before.
void AddProduct(const float* a, int64_t a_row, int64_t rows, const PackedMatrix& b,
                const float* start, float* strip, float* c, int64_t c_row) {
  for (int64_t i = 0; i < rows && start != nullptr; ++i) CopyRow(start, b.n, c + i * c_row);
  for (int64_t k0 = 0; k0 < b.k; k0 += kStripDepth) {
    const int64_t depth = Min(kStripDepth, b.k - k0);
    MicroArgs micro = {};
    micro.a = rows == 1 ? a + k0 : strip;  // a single row needs no stride
    if (rows > 1) PackStrip(a + k0, a_row, 1, rows, depth, 1.0f, strip);
    micro.b = b.data + k0 * kPanel;
    micro.b_row = kPanel;
    micro.b_panel = b.k * kPanel;
    micro.c = c;
    micro.c_row = c_row;
    micro.depth = depth;
    micro.accumulate = true;
    RunPanels(micro, static_cast<int>(rows), b.n, [](int64_t, int64_t) {});
  }
}

// One strip of sequences.
struct Strip {
  const RecurrentArgs& args;
  int64_t begin;
  int64_t rows;
  float* sums;   // [rows, gates * hidden]
  float* extra;  // [rows, hidden]
  float* pack;   // a strip of A

  int64_t gates() const {
    const int64_t count = args.cell == RecurrentCell::kRnn   ? 1
                          : args.cell == RecurrentCell::kGru ? 3
                                                             : 4;
    return count * args.hidden;
  }
  int64_t Length(int64_t row) const {
    return args.lengths == nullptr ? args.length : args.lengths[begin + row];
  }
  // Where step s of a row stands.
  int64_t Time(int64_t row, int64_t s) const { return args.reverse ? Length(row) - 1 - s : s; }
  float* H(int64_t row) const { return args.h + (begin + row) * args.hidden; }
  float* C(int64_t row) const { return args.c + (begin + row) * args.hidden; }
  float* Sums(int64_t row) const { return sums + row * gates(); }
  float* Extra(int64_t row) const { return extra + row * args.hidden; }
};

void SetState(const Strip& strip) {
  const RecurrentArgs& args = strip.args;
  for (int64_t i = 0; i < strip.rows; ++i) {
    const int64_t row = strip.begin + i;
    if (args.initial_h != nullptr) {
      CopyRow(args.initial_h + row * args.initial_h_row, args.hidden, strip.H(i));
    } else {
      ZeroRow(args.hidden, strip.H(i));
    }
    if (args.cell != RecurrentCell::kLstm) continue;
    if (args.initial_c != nullptr) {
      CopyRow(args.initial_c + row * args.initial_c_row, args.hidden, strip.C(i));
    } else {
      ZeroRow(args.hidden, strip.C(i));
    }
  }
}

void DeliverState(const Strip& strip) {
  const RecurrentArgs& args = strip.args;
  for (int64_t i = 0; i < strip.rows; ++i) {
    const int64_t row = strip.begin + i;
    if (args.last_h != nullptr)
      CopyRow(strip.H(i), args.hidden, args.last_h + row * args.last_h_row);
    if (args.last_c != nullptr)
      CopyRow(strip.C(i), args.hidden, args.last_c + row * args.last_c_row);
  }
}

HWY_INLINE void StepRnn(const Strip& strip, int64_t row) {
  float* const h = strip.H(row);
  const float* const sum = strip.Sums(row);
  const bool relu = strip.args.activation == Activation::kRelu;
  EachVector(strip.args.hidden, [&](auto load, auto store) HWY_ATTR {
    const VF x = load(sum);
    store(relu ? Relu(x) : Tanh(x), h);
  });
}

HWY_INLINE void StepLstm(const Strip& strip, int64_t row) {
  const int64_t hidden = strip.args.hidden;
  float* const h = strip.H(row);
  float* const c = strip.C(row);
  const float* const sum = strip.Sums(row);
  EachVector(hidden, [&](auto load, auto store) HWY_ATTR {
    const VF in = Sigmoid(load(sum));
    const VF out = Sigmoid(load(sum + hidden));
    const VF forget = Sigmoid(load(sum + 2 * hidden));
    const VF next = hn::MulAdd(forget, load(c), hn::Mul(in, Tanh(load(sum + 3 * hidden))));
    store(next, c);
    store(hn::Mul(out, Tanh(next)), h);
  });
}

// extra becomes the reset state, of which the candidate is made.
HWY_INLINE void ResetGru(const Strip& strip, int64_t row) {
  const float* const sum = strip.Sums(row);
  float* const reset = strip.Extra(row);
  const float* const h = strip.H(row);
  const int64_t hidden = strip.args.hidden;
  EachVector(hidden, [&](auto load, auto store)
                         HWY_ATTR { store(hn::Mul(Sigmoid(load(sum + hidden)), load(h)), reset); });
}

HWY_INLINE void StepGru(const Strip& strip, int64_t row) {
  const float* const sum = strip.Sums(row);
  const float* const product = strip.Extra(row);
  float* const h = strip.H(row);
  const int64_t hidden = strip.args.hidden;
  const bool after = strip.args.reset_after;
  EachVector(hidden, [&](auto load, auto store) HWY_ATTR {
    const VF keep = Sigmoid(load(sum));
    VF candidate = load(sum + 2 * hidden);
    if (after) candidate = hn::MulAdd(Sigmoid(load(sum + hidden)), load(product), candidate);
    candidate = Tanh(candidate);
    store(hn::MulAdd(keep, hn::Sub(load(h), candidate), candidate), h);
  });
}

void RunStep(const Strip& strip, int64_t s) {
  const RecurrentArgs& args = strip.args;
  const int64_t hidden = args.hidden;
  const int64_t gates = strip.gates();
  for (int64_t i = 0; i < strip.rows; ++i) {
    if (s >= strip.Length(i)) {
      ZeroRow(gates, strip.Sums(i));
      continue;
    }
    CopyRow(args.inputs + strip.Time(i, s) * args.inputs_time + (strip.begin + i) * args.inputs_row,
            gates, strip.Sums(i));
  }
  AddProduct(strip.H(0), hidden, strip.rows, args.weight, nullptr, strip.pack, strip.sums, gates);
  if (args.cell == RecurrentCell::kGru && args.reset_after) {
    if (args.candidate_bias == nullptr) {
      for (int64_t i = 0; i < strip.rows; ++i) ZeroRow(hidden, strip.Extra(i));
    }
    AddProduct(strip.H(0), hidden, strip.rows, args.candidate, args.candidate_bias, strip.pack,
               strip.extra, hidden);
  } else if (args.cell == RecurrentCell::kGru) {
    for (int64_t i = 0; i < strip.rows; ++i) ResetGru(strip, i);
    AddProduct(strip.extra, hidden, strip.rows, args.candidate, nullptr, strip.pack,
               strip.sums + 2 * hidden, gates);
  }
  for (int64_t i = 0; i < strip.rows; ++i) {
    const bool running = s < strip.Length(i);
    if (running) {
      if (args.cell == RecurrentCell::kRnn) StepRnn(strip, i);
      if (args.cell == RecurrentCell::kGru) StepGru(strip, i);
      if (args.cell == RecurrentCell::kLstm) StepLstm(strip, i);
    }
    if (args.y == nullptr) continue;
    // Behind a sequence's end y is 0, whichever way it is read.
    float* const y =
        args.y + (running ? strip.Time(i, s) : s) * args.y_time + (strip.begin + i) * args.y_row;
    if (running) {
      CopyRow(strip.H(i), hidden, y);
    } else {
      ZeroRow(hidden, y);
    }
  }
}

}  // namespace

void RunRecurrent(const RecurrentArgs& args, int64_t begin, int64_t end) {
  alignas(64) float pack[kStripRows * kStripStride];
  Strip strip{args, begin, end - begin, nullptr, nullptr, pack};
  strip.sums = args.scratch + begin * (strip.gates() + args.hidden);
  strip.extra = strip.sums + strip.rows * strip.gates();
  if (args.begin == 0) SetState(strip);
  for (int64_t s = args.begin; s < args.end; ++s) RunStep(strip, s);
  if (args.end == args.length) DeliverState(strip);
}

}  // namespace sluice::kernels::SLUICE_ISA
