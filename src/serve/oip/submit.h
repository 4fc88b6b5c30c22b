// The last step of every dialect: Engine::Prepare, here or on the prep pool, then Submit.
#pragma once

#include <memory>

#include "engine/request.h"
#include "serve/router.h"
#include "serve/service.h"

namespace sluice::serve {

// Preparation predicted to take longer than this leaves the io thread.
inline constexpr base::Duration kPrepareHereMax = base::Duration::Micros(100);

// `request` is complete but for its preparation. Exactly one terminal reply reaches request->sink,
// also when it cannot be prepared.
void PrepareAndSubmit(Service& service, const Router::Pin& model,
                      std::unique_ptr<engine::Request> request);

}  // namespace sluice::serve
