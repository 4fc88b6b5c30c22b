// Collects the steps of a program while buffers are still symbolic, then shares memory between them
// and fixes every pointer. What an op becomes is lowering.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "graph/program.h"
#include "kernels/work.h"

namespace sluice::graph {

// How fast this machine is, for predictions of work: f32 arithmetic and memory of one core.
struct MachineRates {
  double flops_per_ns = 40;
  double bytes_per_ns = 8;
  // Steps that run a reference kernel are cut into tiles of about this much predicted work: several
  // to a quantum, and long beside what a tile costs.
  double reference_tile_ns = 100'000;
};

// Bytes from the start of a buffer.
struct Ref {
  int32_t buffer = -1;
  int64_t offset = 0;
};

// A pointer of an argument block.
struct PointerField {
  size_t field = 0;
  Ref ref;
};

// The output may take the input's memory when nobody reads that any more.
struct InPlace {
  int32_t output = -1;
  int32_t input = -1;
};

struct StepSpec {
  StepFunction run = nullptr;
  int64_t tiles = 1;
  kernels::Work work;
  bool checks_data = false;
  double speedup = 1;   // of its arithmetic over f32 multiply-adds
  double floor_ns = 0;  // what it takes at least, where work says too little
  StepInfo info;
};

// One plan under construction; one thread.
class ProgramBuilder {
 public:
  ProgramBuilder(Plan& plan, MachineRates rates);

  // Memory of a run, shared with buffers that live at other times.
  int32_t NewBuffer(int64_t bytes);
  // A tensor of the caller: interface tensor `index`, inputs first.
  int32_t Interface(uint32_t index, int64_t bytes);
  // Immutable memory that outlives the plan.
  int32_t Constant(const void* data);
  int32_t state_buffer() const { return kStateBuffer; }
  int32_t arguments_buffer() const { return kArgumentsBuffer; }
  // From here on `buffer`, made by NewBuffer, is the caller's tensor `index`.
  void Rebase(int32_t buffer, uint32_t index);
  bool IsArena(int32_t buffer) const;
  const MachineRates& rates() const { return rates_; }
  int64_t bytes(int32_t buffer) const { return buffers_[static_cast<size_t>(buffer)].bytes; }

  // Args is a trivially copyable struct of a kernel; the pointers named are filled in at run time,
  // null ones stay null.
  template <class Args>
  void Add(StepSpec spec, const Args& args, std::initializer_list<PointerField> pointers) {
    static_assert(std::is_trivially_copyable_v<Args>);
    AddBlock(std::move(spec), std::as_bytes(std::span(&args, 1)),
             std::span(pointers.begin(), pointers.size()));
  }
  void AddBlock(StepSpec spec, std::span<const std::byte> block,
                std::span<const PointerField> pointers);
  // Applies to the step added last.
  void AllowInPlace(InPlace pair);

  // Plans the memory and completes the plan.
  void Finish();

 private:
  enum class Kind : uint8_t { kArena, kInterface, kConstant, kFixed };
  struct Buffer {
    Kind kind = Kind::kArena;
    uint32_t base = 0;  // kInterface, kFixed
    const void* data = nullptr;
    int64_t bytes = 0;
    int32_t first = INT32_MAX;
    int32_t last = -1;
    int32_t merged = -1;  // the buffer whose memory this one has taken
    int64_t offset = 0;
  };
  struct Pointer {
    int32_t step = 0;
    uint32_t field = 0;  // within Plan::arguments
    Ref ref;
  };
  struct InPlaceAt {
    int32_t step = 0;
    InPlace pair;
  };
  static constexpr int32_t kStateBuffer = 0;
  static constexpr int32_t kArgumentsBuffer = 1;

  int32_t Root(int32_t buffer) const;
  void MergeInPlace();
  void PlaceArena();
  void Relocate();

  Plan& plan_;
  const MachineRates rates_;
  std::vector<Buffer> buffers_;
  std::vector<Pointer> pointers_;
  std::vector<InPlaceAt> in_place_;
  uint32_t block_bytes_max_ = 0;
};

}  // namespace sluice::graph
