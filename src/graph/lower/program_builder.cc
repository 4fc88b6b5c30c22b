#include "graph/lower/program_builder.h"

#include <algorithm>
#include <cstring>

#include "graph/memory_planner.h"
#include "tensor/align.h"
#include "tensor/tensor.h"

namespace sluice::graph {
namespace {

constexpr double kStepOverheadNs = 25;   // resolving arguments and calling
constexpr int64_t kRunStateBytes = 128;  // executor.cc lays the state before the argument block

}  // namespace

ProgramBuilder::ProgramBuilder(Plan& plan, MachineRates rates) : plan_(plan), rates_(rates) {
  buffers_.push_back({.kind = Kind::kFixed, .base = kStateBase});
  buffers_.push_back({.kind = Kind::kFixed, .base = kArgumentsBase});
}

int32_t ProgramBuilder::NewBuffer(int64_t bytes) {
  buffers_.push_back({.kind = Kind::kArena, .bytes = bytes});
  return static_cast<int32_t>(buffers_.size()) - 1;
}

int32_t ProgramBuilder::Interface(uint32_t index, int64_t bytes) {
  buffers_.push_back({.kind = Kind::kInterface, .base = kInterfaceBase + index, .bytes = bytes});
  return static_cast<int32_t>(buffers_.size()) - 1;
}

int32_t ProgramBuilder::Constant(const void* data) {
  buffers_.push_back({.kind = Kind::kConstant, .data = data});
  return static_cast<int32_t>(buffers_.size()) - 1;
}

void ProgramBuilder::Rebase(int32_t buffer, uint32_t index) {
  Buffer& b = buffers_[static_cast<size_t>(buffer)];
  CHECK(b.kind == Kind::kArena);
  b.kind = Kind::kInterface;
  b.base = kInterfaceBase + index;
}

bool ProgramBuilder::IsArena(int32_t buffer) const {
  return buffers_[static_cast<size_t>(buffer)].kind == Kind::kArena;
}

void ProgramBuilder::AddBlock(StepSpec spec, std::span<const std::byte> block,
                              std::span<const PointerField> pointers) {
  const int32_t index = static_cast<int32_t>(plan_.steps.size());
  const size_t at = (plan_.arguments.size() + 15) / 16 * 16;
  plan_.arguments.resize(at + block.size());
  std::memcpy(plan_.arguments.data() + at, block.data(), block.size());
  for (const PointerField& pointer : pointers) {
    if (pointer.ref.buffer < 0) continue;
    Buffer& buffer = buffers_[static_cast<size_t>(pointer.ref.buffer)];
    buffer.first = std::min(buffer.first, index);
    buffer.last = std::max(buffer.last, index);
    pointers_.push_back({index, static_cast<uint32_t>(pointer.field), pointer.ref});
  }
  Step step;
  step.run = spec.run;
  step.args = static_cast<uint32_t>(at);
  step.args_bytes = static_cast<uint32_t>(block.size());
  step.tiles = spec.tiles;
  step.checks_data = spec.checks_data;
  const double work_ns =
      std::max(static_cast<double>(spec.work.flops) / (rates_.flops_per_ns * spec.speedup),
               static_cast<double>(spec.work.bytes) / rates_.bytes_per_ns);
  step.predicted_ns = static_cast<float>(kStepOverheadNs + std::max(work_ns, spec.floor_ns));
  plan_.predicted_ns += static_cast<double>(step.predicted_ns);
  plan_.work.flops += spec.work.flops;
  plan_.work.bytes += spec.work.bytes;
  spec.info.work = spec.work;
  block_bytes_max_ = std::max(block_bytes_max_, step.args_bytes);
  plan_.steps.push_back(step);
  plan_.infos.push_back(std::move(spec.info));
}

void ProgramBuilder::AllowInPlace(InPlace pair) {
  in_place_.push_back({static_cast<int32_t>(plan_.steps.size()) - 1, pair});
}

int32_t ProgramBuilder::Root(int32_t buffer) const {
  while (buffers_[static_cast<size_t>(buffer)].merged >= 0) {
    buffer = buffers_[static_cast<size_t>(buffer)].merged;
  }
  return buffer;
}

void ProgramBuilder::MergeInPlace() {
  for (const InPlaceAt& at : in_place_) {
    const int32_t output_root = Root(at.pair.output);
    const int32_t input_root = Root(at.pair.input);
    if (output_root == input_root) continue;
    Buffer& output = buffers_[static_cast<size_t>(output_root)];
    Buffer& input = buffers_[static_cast<size_t>(input_root)];
    if (input.kind != Kind::kArena || input.last != at.step || output.first != at.step) continue;
    if (output.kind != Kind::kArena && output.kind != Kind::kInterface) continue;
    if (output.bytes != input.bytes) continue;
    output.first = input.first;
    input.merged = output_root;
  }
}

void ProgramBuilder::PlaceArena() {
  std::vector<BufferLife> lives;
  std::vector<size_t> owners;
  for (size_t i = 0; i < buffers_.size(); ++i) {
    const Buffer& b = buffers_[i];
    if (b.kind != Kind::kArena || b.merged >= 0 || b.last < 0) continue;
    lives.push_back({b.bytes, b.first, b.last, 0});
    owners.push_back(i);
    plan_.activations_bytes += tensor::AlignUp(b.bytes);
  }
  plan_.arena_bytes = PlanMemory(lives);
  for (size_t i = 0; i < lives.size(); ++i) buffers_[owners[i]].offset = lives[i].offset;
}

void ProgramBuilder::Relocate() {
  // pointers_ is in step order, so each step's relocations are contiguous.
  for (const Pointer& pointer : pointers_) {
    const Buffer& buffer = buffers_[static_cast<size_t>(Root(pointer.ref.buffer))];
    Step& step = plan_.steps[static_cast<size_t>(pointer.step)];
    if (buffer.kind == Kind::kConstant) {
      const std::byte* const data = static_cast<const std::byte*>(buffer.data) + pointer.ref.offset;
      std::memcpy(plan_.arguments.data() + step.args + pointer.field, &data, sizeof(data));
      continue;
    }
    if (step.relocation_count == 0)
      step.relocations = static_cast<uint32_t>(plan_.relocations.size());
    ++step.relocation_count;
    const bool arena = buffer.kind == Kind::kArena;
    plan_.relocations.push_back({pointer.field, arena ? kArenaBase : buffer.base,
                                 pointer.ref.offset + (arena ? buffer.offset : 0)});
  }
}

void ProgramBuilder::Finish() {
  MergeInPlace();
  PlaceArena();
  Relocate();
  plan_.scratch_bytes = kRunStateBytes + tensor::AlignUp(static_cast<int64_t>(block_bytes_max_));
  plan_.memory_bytes = plan_.arena_bytes + plan_.scratch_bytes;
}

}  // namespace sluice::graph
