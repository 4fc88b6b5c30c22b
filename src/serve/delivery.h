// Something to be done on the io thread that owns it. Both servers bring replies home this way.
#pragma once

namespace sluice::serve {

class Delivery {
 public:
  virtual ~Delivery() = default;
  virtual void Arrive() = 0;  // on the io thread
};

}  // namespace sluice::serve
