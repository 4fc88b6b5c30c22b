// Products: MatMul, Gemm, MatMulInteger and Einsum.
#include <algorithm>
#include <array>

#include "graph/ops/rules.h"
#include "graph/ops/tables.h"
#include "kernels/ref/product.h"

namespace sluice::graph {
namespace {

using base::Ok;
using base::Result;
using base::Status;

// ---- MatMul: numpy's rules ----

// The shape of a @ b for extents of type D, broadcast by `join`; fails with a text.
template <class D, class Join, class Fits>
std::optional<std::vector<D>> ProductShape(std::vector<D> a, std::vector<D> b, Join join,
                                           Fits fits) {
  if (a.empty() || b.empty()) return std::nullopt;
  const bool row = a.size() == 1;
  const bool column = b.size() == 1;
  if (row) a.insert(a.begin(), D(1));
  if (column) b.push_back(D(1));
  if (!fits(a[a.size() - 1], b[b.size() - 2])) return std::nullopt;
  std::vector<D> result;
  const size_t batch = std::max(a.size(), b.size()) - 2;
  for (size_t i = batch; i > 0; --i) {
    const D x = i + 2 <= a.size() ? a[a.size() - 2 - i] : D(1);
    const D y = i + 2 <= b.size() ? b[b.size() - 2 - i] : D(1);
    const std::optional<D> joined = join(x, y);
    if (!joined.has_value()) return std::nullopt;
    result.push_back(*joined);
  }
  if (!row) result.push_back(a[a.size() - 2]);
  if (!column) result.push_back(b[b.size() - 1]);
  return result;
}

Status SetProductShape(InferContext& context, size_t b_input, DType dtype) {
  const SymShape* a = context.shape(0);
  const SymShape* b = context.shape(b_input);
  if (a == nullptr || b == nullptr) {
    context.SetOutput(0, dtype, std::nullopt);
    return Ok();
  }
  const auto join = [&context](Dim x, Dim y) -> std::optional<Dim> {
    const bool differ = x.is_constant() && y.is_constant() && x != y && !x.Is(1) && !y.Is(1);
    if (differ) return std::nullopt;
    return BroadcastDims(context.symbols(), x, y);
  };
  const auto fits = [](Dim x, Dim y) { return x == y || !x.is_constant() || !y.is_constant(); };
  std::optional<SymShape> result = ProductShape<Dim>(*a, *b, join, fits);
  if (!result.has_value()) {
    return context.Fail("cannot multiply " + context.symbols().ToString(*a) + " by " +
                        context.symbols().ToString(*b));
  }
  context.SetOutput(0, dtype, std::move(result));
  return Ok();
}

// The shape of the product, without heap: this is on the step path.
Result<Shape> ProductOf(const RunContext& context, const Shape& a, const Shape& b) {
  const auto mismatch = [&] {
    return context.Fail("cannot multiply " + a.ToString() + " by " + b.ToString());
  };
  if (a.rank() == 0 || b.rank() == 0) return mismatch();
  const bool row = a.rank() == 1;
  const bool column = b.rank() == 1;
  const int64_t inner = a[a.rank() - 1];
  if (inner != (column ? b[0] : b[b.rank() - 2])) return mismatch();
  Shape batch_a;
  Shape batch_b;
  for (int i = 0; i + 2 < a.rank(); ++i) batch_a.Append(a[i]);
  for (int i = 0; i + 2 < b.rank(); ++i) batch_b.Append(b[i]);
  Shape result = TRY(Broadcast(context, batch_a, batch_b));
  if (!row) result.Append(a[a.rank() - 2]);
  if (!column) result.Append(b[b.rank() - 1]);
  return Shape::FromDims(result.dims());
}

Status InferMatMul(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes | kIntTypes));
  TRY(ExpectSameType(context, 0, 1));
  return SetProductShape(context, 1, context.dtype(0));
}

Status RunMatMul(RunContext& context) {
  const tensor::ConstView& a = context.input(0);
  const tensor::ConstView& b = context.input(1);
  const Shape shape = TRY(ProductOf(context, a.shape, b.shape));
  TRY(context.TakeWork(Operations({shape.elements(), a.shape[a.shape.rank() - 1]})));
  const tensor::View y = TRY(context.Output(0, a.dtype, shape));
  kernels::ref::MatMul({a, b, y});
  return Ok();
}

// ---- MatMulInteger ----

constexpr TypeSet kByteTypes = Types({DType::kI8, DType::kU8});

Status InferMatMulInteger(InferContext& context) {
  TRY(ExpectType(context, 0, kByteTypes));
  TRY(ExpectType(context, 1, kByteTypes));
  TRY(ExpectSameType(context, 0, 2));
  TRY(ExpectSameType(context, 1, 3));
  return SetProductShape(context, 1, DType::kI32);
}

// One element, one for each of `count` rows (columns), or the same with the product's leading axes.
bool IsZeroPoint(const Shape& shape, int64_t count) {
  const int64_t elements = shape.elements();
  return elements == 1 || (shape.rank() == 1 && elements == count);
}

Status RunMatMulInteger(RunContext& context) {
  const tensor::ConstView& a = context.input(0);
  const tensor::ConstView& b = context.input(1);
  const Shape shape = TRY(ProductOf(context, a.shape, b.shape));
  const int64_t rows = a.shape.rank() > 1 ? a.shape[a.shape.rank() - 2] : 1;
  const int64_t columns = b.shape.rank() > 1 ? b.shape[b.shape.rank() - 1] : 1;
  if ((context.has_input(2) && !IsZeroPoint(context.input(2).shape, rows)) ||
      (context.has_input(3) && !IsZeroPoint(context.input(3).shape, columns))) {
    return context.Fail(
        "a zero point must be one element or one for each row of A and column of B");
  }
  TRY(context.TakeWork(Operations({shape.elements(), a.shape[a.shape.rank() - 1]})));
  const tensor::View y = TRY(context.Output(0, DType::kI32, shape));
  kernels::ref::MatMulInteger({a, b, context.input(2), context.input(3), y});
  return Ok();
}

// ---- Gemm ----

Status InferGemm(InferContext& context) {
  TRY(ExpectType(context, 0, kFloatTypes | kIntTypes));
  TRY(ExpectSameType(context, 0, 1));
  TRY(ExpectSameType(context, 0, 2));
  const SymShape* a = context.shape(0);
  const SymShape* b = context.shape(1);
  SymShape result = {Dim(), Dim()};
  if ((a != nullptr && a->size() != 2) || (b != nullptr && b->size() != 2))
    return context.Fail("takes matrices");
  const size_t a_rows = context.node().Int("transA", 0) != 0 ? 1 : 0;
  const size_t b_rows = context.node().Int("transB", 0) != 0 ? 1 : 0;
  result[0] = a != nullptr ? (*a)[a_rows] : context.Fresh("rows");
  result[1] = b != nullptr ? (*b)[1 - b_rows] : context.Fresh("columns");
  if (a != nullptr && b != nullptr) {
    const Dim inner_a = (*a)[1 - a_rows];
    const Dim inner_b = (*b)[b_rows];
    if (inner_a.is_constant() && inner_b.is_constant() && inner_a != inner_b) {
      return context.Fail("cannot multiply " + context.symbols().ToString(*a) + " by " +
                          context.symbols().ToString(*b));
    }
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunGemm(RunContext& context) {
  kernels::ref::GemmArgs args;
  args.a = context.input(0);
  args.b = context.input(1);
  args.c = context.input(2);
  args.alpha = static_cast<double>(context.node().Float("alpha", 1));
  args.beta = static_cast<double>(context.node().Float("beta", 1));
  args.transpose_a = context.node().Int("transA", 0) != 0;
  args.transpose_b = context.node().Int("transB", 0) != 0;
  const Shape& a = args.a.shape;
  const Shape& b = args.b.shape;
  if (a.rank() != 2 || b.rank() != 2 ||
      a[args.transpose_a ? 0 : 1] != b[args.transpose_b ? 1 : 0]) {
    return context.Fail("cannot multiply " + a.ToString() + " by " + b.ToString());
  }
  const Shape shape({a[args.transpose_a ? 1 : 0], b[args.transpose_b ? 0 : 1]});
  if (context.has_input(2) && !BroadcastsTo(args.c.shape, shape)) {
    return context.Fail("C " + args.c.shape.ToString() + " does not broadcast to " +
                        shape.ToString());
  }
  TRY(context.TakeWork(Operations({shape.elements(), a[args.transpose_a ? 0 : 1]})));
  args.y = TRY(context.Output(0, args.a.dtype, shape));
  kernels::ref::Gemm(args);
  return Ok();
}

// ---- Einsum ----

// An equation with its ellipsis expanded for given ranks: a label for each axis of each input and
// of the output. Letters are labels 0 to 51; labels of the ellipsis are letters that the equation
// does not use.
struct Equation {
  int inputs = 0;
  int ranks[kernels::ref::kEinsumInputs] = {};
  int8_t labels[kernels::ref::kEinsumInputs][tensor::kMaxRank] = {};
  int out_rank = 0;
  int8_t out[tensor::kMaxRank] = {};
};

int LetterOf(char c) {
  if (c >= 'a' && c <= 'z') return c - 'a';
  if (c >= 'A' && c <= 'Z') return 26 + c - 'A';
  return -1;
}

// A term such as "b...ij" of an operand of `rank` axes; rank -1: the output, whose ellipsis has
// ellipsis_rank axes. Returns the number of labels, or -1 when the term is malformed or does not
// fit.
int ParseTerm(std::string_view term, int rank, int ellipsis_rank, const int8_t* ellipsis,
              int8_t* labels) {
  int letters = 0;
  bool dots = false;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (term[i] == '.') {
      if (dots || term.substr(i, 3) != "...") return -1;
      dots = true;
      i += 2;
    } else if (LetterOf(term[i]) >= 0) {
      ++letters;
    } else {
      return -1;
    }
  }
  int spread = dots ? ellipsis_rank : 0;
  if (rank >= 0) {
    spread = rank - letters;
    if (spread < 0 || spread > ellipsis_rank || (!dots && spread != 0)) return -1;
  }
  if (letters + spread > tensor::kMaxRank) return -1;
  int count = 0;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (term[i] == '.') {
      for (int k = 0; k < spread; ++k) labels[count++] = ellipsis[ellipsis_rank - spread + k];
      i += 2;
    } else {
      labels[count++] = static_cast<int8_t>(LetterOf(term[i]));
    }
  }
  return count;
}

int LetterCount(std::string_view term) {
  int letters = 0;
  for (const char c : term) letters += LetterOf(c) >= 0 ? 1 : 0;
  return letters;
}

// nullopt when the equation is malformed or does not fit the operands' ranks.
std::optional<Equation> ParseEquation(std::string_view text, std::span<const int> ranks) {
  const size_t arrow = text.find("->");
  std::string_view left = text.substr(0, arrow);
  std::string_view terms[kernels::ref::kEinsumInputs];
  Equation equation;
  while (true) {
    if (equation.inputs == static_cast<int>(ranks.size())) return std::nullopt;
    const size_t comma = left.find(',');
    terms[equation.inputs++] = left.substr(0, comma);
    if (comma == std::string_view::npos) break;
    left.remove_prefix(comma + 1);
  }
  if (equation.inputs != static_cast<int>(ranks.size())) return std::nullopt;
  // The ellipsis stands for as many axes as the operand with the most has.
  int ellipsis_rank = 0;
  int used[kernels::ref::kEinsumLabels] = {};
  for (int i = 0; i < equation.inputs; ++i) {
    for (const char c : terms[i]) {
      if (LetterOf(c) >= 0) ++used[LetterOf(c)];
    }
    if (terms[i].find("...") != std::string_view::npos) {
      ellipsis_rank =
          std::max(ellipsis_rank, ranks[static_cast<size_t>(i)] - LetterCount(terms[i]));
    }
  }
  int8_t ellipsis[tensor::kMaxRank] = {};
  int next = kernels::ref::kEinsumLabels - 1;
  for (int k = 0; k < ellipsis_rank; ++k) {
    while (next >= 0 && (used[next] > 0 ||
                         text.find(static_cast<char>(next < 26 ? 'a' + next : 'A' + next - 26)) !=
                             std::string_view::npos)) {
      --next;
    }
    if (next < 0) return std::nullopt;
    ellipsis[k] = static_cast<int8_t>(next--);
  }
  for (int i = 0; i < equation.inputs; ++i) {
    const int rank = ranks[static_cast<size_t>(i)];
    equation.ranks[i] = ParseTerm(terms[i], rank, ellipsis_rank, ellipsis, equation.labels[i]);
    if (equation.ranks[i] != rank) return std::nullopt;
  }
  if (arrow != std::string_view::npos) {
    equation.out_rank =
        ParseTerm(text.substr(arrow + 2), -1, ellipsis_rank, ellipsis, equation.out);
    if (equation.out_rank < 0) return std::nullopt;
  } else {
    // Without an arrow: the ellipsis, then the letters that occur once, in alphabetical order
    // (capitals first).
    for (int k = 0; k < ellipsis_rank; ++k) equation.out[equation.out_rank++] = ellipsis[k];
    for (int pass = 0; pass < kernels::ref::kEinsumLabels; ++pass) {
      const int label = pass < 26 ? 26 + pass : pass - 26;
      if (used[label] != 1) continue;
      if (equation.out_rank == tensor::kMaxRank) return std::nullopt;
      equation.out[equation.out_rank++] = static_cast<int8_t>(label);
    }
  }
  uint64_t seen = 0;
  for (int i = 0; i < equation.out_rank; ++i) {
    const uint64_t bit = uint64_t{1} << equation.out[i];
    if ((seen & bit) != 0) return std::nullopt;
    seen |= bit;
  }
  return equation;
}

Status InferEinsum(InferContext& context) {
  const size_t count = context.input_count();
  if (count > kernels::ref::kEinsumInputs) return context.Fail("has more than 8 inputs");
  int ranks[kernels::ref::kEinsumInputs] = {};
  TRY(ExpectType(context, 0, kNumericTypes));
  for (size_t i = 0; i < count; ++i) {
    if (!context.has_input(i)) return context.Fail("lacks input " + std::to_string(i));
    TRY(ExpectSameType(context, 0, i));
  }
  for (size_t i = 0; i < count; ++i) {
    if (context.shape(i) == nullptr) {
      context.SetOutput(0, context.dtype(0), std::nullopt);
      return Ok();
    }
    ranks[i] = static_cast<int>(context.shape(i)->size());
  }
  const std::string_view text = context.node().String("equation", "");
  const std::optional<Equation> equation = ParseEquation(text, {ranks, count});
  if (!equation.has_value())
    return context.Fail("the equation '" + std::string(text) + "' does not fit the inputs");
  SymShape result;
  for (int k = 0; k < equation->out_rank; ++k) {
    std::optional<Dim> extent;
    for (int i = 0; i < equation->inputs; ++i) {
      for (int d = 0; d < equation->ranks[i]; ++d) {
        if (equation->labels[i][d] != equation->out[k]) continue;
        const Dim dim = (*context.shape(static_cast<size_t>(i)))[static_cast<size_t>(d)];
        if (extent.has_value() && extent->is_constant() && dim.is_constant() && !extent->Is(1) &&
            !dim.Is(1) && !(dim == *extent)) {
          return context.Fail("the extents of a label disagree");
        }
        if (!extent.has_value() || extent->Is(1) || (dim.is_constant() && !dim.Is(1))) extent = dim;
      }
    }
    if (!extent.has_value()) return context.Fail("the output has a label that no input has");
    result.push_back(*extent);
  }
  context.SetOutput(0, context.dtype(0), std::move(result));
  return Ok();
}

Status RunEinsum(RunContext& context) {
  const size_t count = context.input_count();
  int ranks[kernels::ref::kEinsumInputs] = {};
  for (size_t i = 0; i < count; ++i) ranks[i] = context.input(i).shape.rank();
  const std::optional<Equation> equation =
      ParseEquation(context.node().String("equation", ""), {ranks, count});
  if (!equation.has_value()) return context.Fail("the equation does not fit the inputs");
  int64_t extents[kernels::ref::kEinsumLabels];
  std::fill(std::begin(extents), std::end(extents), int64_t{-1});
  for (size_t i = 0; i < count; ++i) {
    for (int d = 0; d < ranks[i]; ++d) {
      int64_t& extent = extents[equation->labels[i][d]];
      const int64_t dim = context.input(i).shape[d];
      if (extent >= 0 && extent != 1 && dim != 1 && dim != extent)
        return context.Fail("the extents of a label disagree");
      if (extent == -1 || extent == 1) extent = dim;
    }
  }
  Shape shape;
  kernels::ref::EinsumArgs args;
  args.inputs = context.inputs();
  for (size_t i = 0; i < count; ++i)
    std::copy_n(equation->labels[i], tensor::kMaxRank, args.labels[i]);
  std::copy_n(equation->out, tensor::kMaxRank, args.out);
  for (int k = 0; k < equation->out_rank; ++k) {
    if (extents[equation->out[k]] < 0)
      return context.Fail("the output has a label that no input has");
    shape.Append(extents[equation->out[k]]);
  }
  shape = TRY(Shape::FromDims(shape.dims()));
  int64_t work = static_cast<int64_t>(count);
  for (const int64_t extent : extents) work = Operations({work, extent});
  TRY(context.TakeWork(work));
  args.y = TRY(context.Output(0, context.input(0).dtype, shape));
  kernels::ref::Einsum(args);
  return Ok();
}

constexpr auto kOps = std::to_array<OpDef>({
    {"MatMul", 1, 2, 2, 1, 1, kNoTraits, InferMatMul, RunMatMul},
    {"MatMulInteger", 10, 2, 4, 1, 1, kNoTraits, InferMatMulInteger, RunMatMulInteger},
    {"Gemm", 7, 2, 3, 1, 1, kNoTraits, InferGemm, RunGemm},
    {"Einsum", 12, 1, -1, 1, 1, kNoTraits, InferEinsum, RunEinsum},
});

}  // namespace

std::span<const OpDef> MatmulOps() {
  return kOps;
}

}  // namespace sluice::graph
