#include "kernels/pack_pool.h"

#include "base/machine.h"

namespace sluice::kernels {

base::ThreadPool& PackPool() {
  static base::ThreadPool* const pool = [] {
    base::ThreadPool::Options options;
    options.workers = base::DescribeMachine().cores - 1;
    options.name = "sluice-pack";
    options.nice = 5;
    return new base::ThreadPool(options);  // outlives every static plan
  }();
  return *pool;
}

}  // namespace sluice::kernels
