#include "kernels/logit_rows.h"

#include "kernels/cpu/logit_rows.h"

namespace sluice::kernels {

LogitMaximum FindLogitMaximum(const float* x, int64_t n) {
  return SLUICE_PICK_ISA(ActiveTarget(), RunFindMaximum)(x, n);
}

void SumLogitExps(const float* x, int64_t n, float shift, float scale, float* sums) {
  SLUICE_PICK_ISA(ActiveTarget(), RunSumExps)(x, n, shift, scale, sums);
}

void LogitExps(const float* x, int64_t n, float shift, float scale, float* y) {
  SLUICE_PICK_ISA(ActiveTarget(), RunExps)(x, n, shift, scale, y);
}

void CapLogits(float* x, int64_t n, float cap) {
  SLUICE_PICK_ISA(ActiveTarget(), RunCap)(x, n, cap);
}

int64_t CollectLogits(const float* x, int64_t n, float threshold, int32_t* indices,
                      int64_t capacity) {
  return SLUICE_PICK_ISA(ActiveTarget(), RunCollect)(x, n, threshold, indices, capacity);
}

}  // namespace sluice::kernels
