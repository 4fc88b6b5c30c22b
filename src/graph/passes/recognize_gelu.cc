// GELU written out with Erf or Tanh, in any order of its factors: 0.5 x (1 + f(p(x))), p compared
// as a polynomial.
#include <array>
#include <cmath>

#include "graph/op.h"
#include "graph/passes/match.h"
#include "graph/passes/pass.h"

namespace sluice::graph {
namespace {

// Coefficients of 1, x, x^2, … .
constexpr size_t kDegrees = 7;
using Polynomial = std::array<double, kDegrees>;

std::optional<Polynomial> Multiply(const Polynomial& a, const Polynomial& b) {
  Polynomial product{};
  for (size_t i = 0; i < kDegrees; ++i) {
    for (size_t j = 0; j < kDegrees; ++j) {
      if (a[i] == 0 || b[j] == 0) continue;
      if (i + j >= kDegrees) return std::nullopt;
      product[i + j] += a[i] * b[j];
    }
  }
  return product;
}

// `value` as a polynomial in `x`, or nullopt.
std::optional<Polynomial> Expand(const Value* value, const Value* x, int depth) {
  Polynomial result{};
  if (value == x) {
    result[1] = 1;
    return result;
  }
  if (const std::optional<double> scalar = ScalarOf(value)) {
    result[0] = *scalar;
    return result;
  }
  const Node* node = value->producer;
  if (depth == 0 || node == nullptr || node->inputs.size() != 2) return std::nullopt;
  const bool known =
      node->Is("Mul") || node->Is("Div") || node->Is("Add") || node->Is("Sub") || node->Is("Pow");
  if (!known) return std::nullopt;
  const std::optional<Polynomial> a = Expand(node->inputs[0], x, depth - 1);
  if (!a.has_value()) return std::nullopt;
  if (node->Is("Pow")) {
    const std::optional<double> power = ScalarOf(node->inputs[1]);
    if (!power.has_value() || *power != std::round(*power) || *power < 1 || *power > 6)
      return std::nullopt;
    std::optional<Polynomial> product = a;
    for (int i = 1; i < static_cast<int>(*power) && product.has_value(); ++i)
      product = Multiply(*product, *a);
    return product;
  }
  const std::optional<Polynomial> b = Expand(node->inputs[1], x, depth - 1);
  if (!b.has_value()) return std::nullopt;
  if (node->Is("Mul")) return Multiply(*a, *b);
  if (node->Is("Div")) {
    for (size_t i = 1; i < kDegrees; ++i) {
      if ((*b)[i] != 0) return std::nullopt;
    }
    if ((*b)[0] == 0) return std::nullopt;
    for (size_t i = 0; i < kDegrees; ++i) result[i] = (*a)[i] / (*b)[0];
    return result;
  }
  const double sign = node->Is("Add") ? 1 : -1;
  for (size_t i = 0; i < kDegrees; ++i) result[i] = (*a)[i] + sign * (*b)[i];
  return result;
}

bool Near(double a, double b) {
  return std::abs(a - b) <= 1e-3 * std::abs(b);
}

// The argument of Erf or Tanh that makes it GELU of x.
bool IsGeluArgument(const Value* argument, const Value* x, bool tanh) {
  const std::optional<Polynomial> p = Expand(argument, x, 8);
  if (!p.has_value()) return false;
  const double linear = tanh ? std::sqrt(2 / M_PI) : std::sqrt(0.5);
  const double cubic = tanh ? linear * 0.044715 : 0;
  const bool rest = (*p)[0] == 0 && (*p)[2] == 0 && (*p)[4] == 0 && (*p)[5] == 0 && (*p)[6] == 0;
  return rest && Near((*p)[1], linear) && (tanh ? Near((*p)[3], cubic) : (*p)[3] == 0);
}

struct Found {
  Value* x = nullptr;
  Value* result = nullptr;
};

// Climbs the products above 1 + f(…) until the factors are x and one half.
std::optional<Found> Climb(const Graph& graph, const Node& function, bool tanh) {
  const Node* sum = OnlyReader(graph, function.output());
  if (sum == nullptr || !sum->Is("Add") || !WithScalar(*sum).has_value() ||
      WithScalar(*sum)->scalar != 1) {
    return std::nullopt;
  }
  Value* at = sum->output();
  Value* x = nullptr;
  double scale = 1;
  for (int steps = 0; steps < 4; ++steps) {
    const Node* reader = OnlyReader(graph, at);
    if (reader == nullptr || !(reader->Is("Mul") || reader->Is("Div"))) break;
    Value* const other = OtherOperand(*reader, at);
    if (other == nullptr) break;
    const std::optional<double> scalar = ScalarOf(other);
    if (reader->Is("Div")) {
      if (!scalar.has_value() || reader->input(0) != at || *scalar == 0) break;
      scale /= *scalar;
    } else if (scalar.has_value()) {
      scale *= *scalar;
    } else {
      const std::optional<Scaled> scaled = AsScaled(other);
      if (x != nullptr) break;
      if (IsGeluArgument(function.input(0), other, tanh)) {
        x = other;
      } else if (scaled.has_value() && IsGeluArgument(function.input(0), scaled->x, tanh)) {
        x = scaled->x;
        scale *= scaled->factor;
      } else {
        break;
      }
    }
    at = reader->output();
    if (x != nullptr && Near(scale, 0.5)) return Found{x, at};
  }
  return std::nullopt;
}

}  // namespace

base::Result<int64_t> RecognizeGelu(PassContext& context) {
  int64_t count = 0;
  for (Node* node : context.graph.Nodes()) {
    if (node->erased || !(node->Is("Erf") || node->Is("Tanh"))) continue;
    const bool tanh = node->Is("Tanh");
    const std::optional<Found> found = Climb(context.graph, *node, tanh);
    if (!found.has_value() || !SameShape(found->x, found->result)) {
      if (!tanh)
        context.Miss(
            *node,
            "Erf outside of a GELU: the factors around it are not x / 2 and 1 + erf(x / sqrt 2)");
      continue;
    }
    Node* gelu =
        context.graph.AddNode(RequireOp("Gelu"), kOpsetMax, {found->x}, 1, found->result->producer);
    gelu->name = node->name;
    if (tanh) gelu->Set("approximate", std::string("tanh"));
    TRY(InferNode(context.graph, *gelu));
    context.graph.ReplaceUses(found->result, gelu->output());
    ++count;
  }
  context.graph.RemoveDead();
  return count;
}

}  // namespace sluice::graph
