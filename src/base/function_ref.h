// FunctionRef: a callable passed by reference, without allocation. For arguments only: it must not
// outlive the call.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace sluice::base {

template <class Signature>
class FunctionRef;

// Refers to a lambda or another function object of the caller, who keeps it alive while the
// FunctionRef is used.
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
           std::is_object_v<std::remove_reference_t<F>> && std::is_invocable_r_v<R, F&, Args...>)
      FunctionRef(F&& callable)
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

}  // namespace sluice::base
