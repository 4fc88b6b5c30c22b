#include "serve/oip/submit.h"

#include "engine/engine.h"
#include "serve/prep_pool.h"

namespace sluice::serve {

namespace {

void Refuse(const engine::Request& request, const char* reason) {
  std::shared_ptr<engine::ReplySink> sink = request.sink;
  sink->Post(engine::RefusalReply(reason));
}

void PrepareHere(const Router::Pin& model, std::unique_ptr<engine::Request> request) {
  base::Status prepared = model->engine->engine().Prepare(*request);
  if (prepared.ok()) return engine::Submit(model->engine, std::move(request));
  model->malformed.Add();
  std::shared_ptr<engine::ReplySink> sink = request->sink;
  engine::Reply reply;
  reply.status = std::move(prepared);
  sink->Post(std::move(reply));
}

}  // namespace

void PrepareAndSubmit(Service& service, const Router::Pin& model,
                      std::unique_ptr<engine::Request> request) {
  base::Duration cost = model->engine->engine().PrepareCost(*request);
  if (cost <= kPrepareHereMax || service.prep == nullptr)
    return PrepareHere(model, std::move(request));
  // A job must be copyable; the request in it still has one owner.
  auto held = std::make_shared<std::unique_ptr<engine::Request>>(std::move(request));
  int64_t bytes = 0;
  for (const tensor::NamedTensor& input : (*held)->inputs) bytes += input.tensor.buffer.bytes();
  const auto prepare = [model, held] {
    const engine::Call& call = *(*held)->call;
    // Nobody waits any more: no work is spent on it.
    if (call.cancelled()) return Refuse(**held, engine::reason::kCancelled);
    if (call.expired(base::SystemClock::Get().Now()))
      return Refuse(**held, engine::reason::kDeadlineQueue);
    PrepareHere(model, std::move(*held));
  };
  if (!service.prep->Enqueue(prepare, bytes)) Refuse(**held, engine::reason::kQueueFull);
}

}  // namespace sluice::serve
