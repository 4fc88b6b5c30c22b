#include "lm/linear/linear_form.h"

namespace sluice::lm {
namespace {

constexpr const char* kStored = "stored";
constexpr int64_t kGroupMax = 128;

}  // namespace

LinearForm LinearForm::Stored() {
  LinearForm form;
  form.kind = Kind::kStored;
  return form;
}

LinearForm LinearForm::Int4(int64_t group, kernels::Int4Kind kind) {
  LinearForm form;
  form.kind = Kind::kInt4;
  form.group = group;
  form.int4 = kind;
  return form;
}

base::Result<LinearForm> LinearForm::Parse(std::string_view name) {
  if (name == kStored) return Stored();
  for (int i = 0; i < kernels::kWeightFormCount; ++i) {
    const auto form = static_cast<kernels::WeightForm>(i);
    if (name == kernels::WeightFormName(form)) return LinearForm(form);
  }
  for (const auto kind : {kernels::Int4Kind::kSymmetric, kernels::Int4Kind::kWithMinimum}) {
    if (name == (kind == kernels::Int4Kind::kSymmetric ? "int4" : "int4m")) return Int4(32, kind);
    for (int64_t group = 32; group <= kGroupMax; group += 32) {
      const LinearForm form = Int4(group, kind);
      if (name == form.Name()) return form;
    }
  }
  return base::InvalidArgument(
      "expected f32, bf16, int8, bf16-storage, int8-storage, stored, int4 or int4_g32 to int4_g128 "
      "(int4m with minimums), got \"" +
      std::string(name) + "\"");
}

std::string LinearForm::Name() const {
  switch (kind) {
    case Kind::kPacked:
      return kernels::WeightFormName(packed);
    case Kind::kStored:
      return kStored;
    case Kind::kInt4:
      break;
  }
  return (int4 == kernels::Int4Kind::kSymmetric ? "int4_g" : "int4m_g") + std::to_string(group);
}

}  // namespace sluice::lm
