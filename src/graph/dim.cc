#include "graph/dim.h"

#include <algorithm>
#include <numeric>

namespace sluice::graph {
namespace {

// Expressions whose terms have more factors than this become opaque.
constexpr size_t kFactorsMax = 8;

int64_t FloorDivide(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return (a % b != 0 && (a % b < 0) != (b < 0)) ? quotient - 1 : quotient;
}

int64_t FloorModulus(int64_t a, int64_t b) {
  const int64_t rest = a % b;
  return (rest != 0 && (rest < 0) != (b < 0)) ? rest + b : rest;
}

// The one division that overflows, and the one that has no result.
bool Divides(int64_t a, int64_t b) {
  return b != 0 && !(a == INT64_MIN && b == -1);
}

int64_t SaturatedAdd(int64_t a, int64_t b) {
  int64_t sum = 0;
  if (!__builtin_add_overflow(a, b, &sum)) return sum;
  return a > 0 ? INT64_MAX : INT64_MIN;
}

int64_t SaturatedMul(int64_t a, int64_t b) {
  int64_t product = 0;
  if (!__builtin_mul_overflow(a, b, &product)) return product;
  return (a > 0) == (b > 0) ? INT64_MAX : INT64_MIN;
}

}  // namespace

int32_t SymbolTable::AddSymbol(std::string_view name) {
  const auto index = static_cast<int32_t>(symbols_.size());
  SymbolFacts facts;
  facts.name = std::string(name);
  symbols_.push_back(std::move(facts));
  symbol_by_name_.emplace(std::string(name), index);
  return index;
}

Dim SymbolTable::OfSymbol(int32_t symbol) {
  const auto key = std::make_pair(
      std::make_pair(AtomKind::kSymbol, symbol),
      std::make_pair(std::make_pair(int64_t{0}, -1), std::make_pair(int64_t{0}, -1)));
  auto [at, added] = atom_by_key_.try_emplace(key, static_cast<int32_t>(atoms_.size()));
  if (added) atoms_.push_back({AtomKind::kSymbol, symbol, Dim(), Dim(), 1});
  return Intern({Term{{at->second}, 1}});
}

Dim SymbolTable::Symbol(std::string_view name) {
  const auto found = symbol_by_name_.find(name);
  return OfSymbol(found != symbol_by_name_.end() ? found->second : AddSymbol(name));
}

Dim SymbolTable::Fresh(std::string_view hint, int64_t lower) {
  std::string name;
  do {
    name = std::string(hint) + "#" + std::to_string(next_fresh_++);
  } while (symbol_by_name_.find(name) != symbol_by_name_.end());
  const int32_t symbol = AddSymbol(name);
  symbols_[static_cast<size_t>(symbol)].fresh = true;
  symbols_[static_cast<size_t>(symbol)].lower = lower;
  return OfSymbol(symbol);
}

Dim SymbolTable::Ragged(std::string_view splits) {
  const Dim dim = Symbol("ragged:" + std::string(splits));
  symbols_[static_cast<size_t>(*SymbolIndex(dim))].ragged = true;
  return dim;
}

SymbolTable::Polynomial SymbolTable::Expand(Dim a) const {
  if (!a.is_constant()) return expressions_[static_cast<size_t>(a.expression_)];
  if (a.constant_ == 0) return {};
  return {Term{{}, a.constant_}};
}

Dim SymbolTable::Intern(const Polynomial& polynomial) {
  if (polynomial.empty()) return Dim(0);
  if (polynomial.size() == 1 && polynomial[0].atoms.empty()) return Dim(polynomial[0].coefficient);
  auto [at, added] =
      expression_by_polynomial_.try_emplace(polynomial, static_cast<int32_t>(expressions_.size()));
  if (added) expressions_.push_back(polynomial);
  Dim dim;
  dim.expression_ = at->second;
  return dim;
}

Dim SymbolTable::Opaque(AtomKind kind, Dim a, Dim b) {
  const auto key = std::make_pair(std::make_pair(kind, -1),
                                  std::make_pair(std::make_pair(a.constant_, a.expression_),
                                                 std::make_pair(b.constant_, b.expression_)));
  auto [at, added] = atom_by_key_.try_emplace(key, static_cast<int32_t>(atoms_.size()));
  if (added) {
    const Atom atom{kind, -1, a, b, 1 + Size(a) + Size(b)};
    if (atom.size > kAtomSizeMax) {
      atom_by_key_.erase(at);
      return Fresh("large", INT64_MIN);
    }
    atoms_.push_back(atom);
  }
  return Intern({Term{{at->second}, 1}});
}

int SymbolTable::Size(Dim a) const {
  int size = 0;
  if (a.is_constant()) return size;
  for (const Term& term : expressions_[static_cast<size_t>(a.expression_)]) {
    for (const int32_t atom : term.atoms) size += atoms_[static_cast<size_t>(atom)].size;
  }
  return size;
}

Dim SymbolTable::Add(Dim a, Dim b) {
  if (a.Is(0)) return b;
  if (b.Is(0)) return a;
  const Polynomial left = Expand(a);
  const Polynomial right = Expand(b);
  Polynomial sum;
  size_t i = 0;
  size_t j = 0;
  while (i < left.size() || j < right.size()) {
    if (j == right.size() || (i < left.size() && left[i].atoms < right[j].atoms)) {
      sum.push_back(left[i++]);
    } else if (i == left.size() || right[j].atoms < left[i].atoms) {
      sum.push_back(right[j++]);
    } else {
      Term term = left[i];
      if (__builtin_add_overflow(left[i].coefficient, right[j].coefficient, &term.coefficient)) {
        return Fresh("overflow", INT64_MIN);
      }
      if (term.coefficient != 0) sum.push_back(std::move(term));
      ++i;
      ++j;
    }
  }
  return sum.size() > kTermsMax ? Fresh("large", INT64_MIN) : Intern(sum);
}

Dim SymbolTable::Sub(Dim a, Dim b) {
  return Add(a, Mul(b, Dim(-1)));
}

Dim SymbolTable::Mul(Dim a, Dim b) {
  if (a.Is(0) || b.Is(0)) return Dim(0);
  if (a.Is(1)) return b;
  if (b.Is(1)) return a;
  const Polynomial left = Expand(a);
  const Polynomial right = Expand(b);
  std::map<std::vector<int32_t>, int64_t> product;
  for (const Term& x : left) {
    for (const Term& y : right) {
      std::vector<int32_t> atoms;
      std::merge(x.atoms.begin(), x.atoms.end(), y.atoms.begin(), y.atoms.end(),
                 std::back_inserter(atoms));
      int64_t coefficient = 0;
      if (atoms.size() > kFactorsMax ||
          __builtin_mul_overflow(x.coefficient, y.coefficient, &coefficient)) {
        return Fresh("overflow", INT64_MIN);
      }
      int64_t& total = product[std::move(atoms)];
      if (__builtin_add_overflow(total, coefficient, &total)) return Fresh("overflow", INT64_MIN);
    }
  }
  Polynomial result;
  for (const auto& [atoms, coefficient] : product) {
    if (coefficient != 0) result.push_back({atoms, coefficient});
  }
  return result.size() > kTermsMax ? Fresh("large", INT64_MIN) : Intern(result);
}

Dim SymbolTable::Product(std::span<const Dim> dims) {
  Dim product(1);
  for (const Dim& dim : dims) product = Mul(product, dim);
  return product;
}

std::optional<Dim> SymbolTable::DivideExact(Dim a, Dim b) {
  if (b.Is(0)) return std::nullopt;
  if (a == b) return Dim(1);
  if (a.Is(0)) return Dim(0);
  const Polynomial divisor = Expand(b);
  if (divisor.size() != 1) return std::nullopt;
  Polynomial quotient;
  for (const Term& term : Expand(a)) {
    Term result;
    if (!Divides(term.coefficient, divisor[0].coefficient) ||
        term.coefficient % divisor[0].coefficient != 0 ||
        !std::includes(term.atoms.begin(), term.atoms.end(), divisor[0].atoms.begin(),
                       divisor[0].atoms.end())) {
      return std::nullopt;
    }
    result.coefficient = term.coefficient / divisor[0].coefficient;
    std::set_difference(term.atoms.begin(), term.atoms.end(), divisor[0].atoms.begin(),
                        divisor[0].atoms.end(), std::back_inserter(result.atoms));
    quotient.push_back(std::move(result));
  }
  std::sort(quotient.begin(), quotient.end());
  return Intern(quotient);
}

Dim SymbolTable::FloorDiv(Dim a, Dim b) {
  if (b.Is(0)) return Fresh("division_by_zero", INT64_MIN);
  if (b.Is(1)) return a;
  if (a.is_constant() && b.is_constant()) {
    if (!Divides(a.constant_, b.constant_)) return Fresh("overflow", INT64_MIN);
    return Dim(FloorDivide(a.constant_, b.constant_));
  }
  // An exact quotient by something that may be zero is still one where the program is defined at
  // all.
  if (const std::optional<Dim> exact = DivideExact(a, b)) return *exact;
  return Opaque(AtomKind::kFloorDiv, a, b);
}

Dim SymbolTable::CeilDiv(Dim a, Dim b) {
  if (b.Is(0)) return Fresh("division_by_zero", INT64_MIN);
  if (const std::optional<Dim> exact = DivideExact(a, b)) return *exact;
  return FloorDiv(Add(a, Sub(b, Dim(1))), b);
}

Dim SymbolTable::Mod(Dim a, Dim b) {
  if (b.Is(0)) return Fresh("division_by_zero", INT64_MIN);
  if (b.Is(1)) return Dim(0);
  if (a.is_constant() && b.is_constant()) {
    return b.constant_ == -1 ? Dim(0) : Dim(FloorModulus(a.constant_, b.constant_));
  }
  if (DivideExact(a, b)) return Dim(0);
  if (b.is_constant() && b.constant_ > 0 && IsMultipleOf(a, b.constant_)) return Dim(0);
  return Opaque(AtomKind::kMod, a, b);
}

Dim SymbolTable::Max(Dim a, Dim b) {
  if (a == b) return a;
  const Dim difference = Sub(a, b);
  if (LowerBound(difference) >= 0) return a;
  if (UpperBound(difference) <= 0) return b;
  return OrderBefore(a, b) ? Opaque(AtomKind::kMax, a, b) : Opaque(AtomKind::kMax, b, a);
}

Dim SymbolTable::Min(Dim a, Dim b) {
  if (a == b) return a;
  const Dim difference = Sub(a, b);
  if (LowerBound(difference) >= 0) return b;
  if (UpperBound(difference) <= 0) return a;
  return OrderBefore(a, b) ? Opaque(AtomKind::kMin, a, b) : Opaque(AtomKind::kMin, b, a);
}

bool SymbolTable::OrderBefore(Dim a, Dim b) {
  return std::make_pair(a.expression_, a.constant_) < std::make_pair(b.expression_, b.constant_);
}

void SymbolTable::SetBounds(Dim symbol, int64_t lower, int64_t upper) {
  const std::optional<int32_t> index = SymbolIndex(symbol);
  CHECK(index.has_value());
  symbols_[static_cast<size_t>(*index)].lower = lower;
  symbols_[static_cast<size_t>(*index)].upper = upper;
}

void SymbolTable::SetMultiple(Dim symbol, int64_t divisor) {
  const std::optional<int32_t> index = SymbolIndex(symbol);
  CHECK(index.has_value());
  CHECK_GT(divisor, 0);
  symbols_[static_cast<size_t>(*index)].multiple = divisor;
}

int64_t SymbolTable::AtomLower(const Atom& atom) const {
  const auto positive = [this](Dim d) { return LowerBound(d) > 0; };
  switch (atom.kind) {
    case AtomKind::kSymbol:
      return symbols_[static_cast<size_t>(atom.symbol)].lower;
    case AtomKind::kFloorDiv:
      return positive(atom.b) && LowerBound(atom.a) >= 0 ? 0 : INT64_MIN;
    case AtomKind::kMod:
      return positive(atom.b) ? 0 : INT64_MIN;
    case AtomKind::kMax:
      return std::max(LowerBound(atom.a), LowerBound(atom.b));
    case AtomKind::kMin:
      return std::min(LowerBound(atom.a), LowerBound(atom.b));
  }
  return INT64_MIN;
}

int64_t SymbolTable::AtomUpper(const Atom& atom) const {
  switch (atom.kind) {
    case AtomKind::kSymbol:
      return symbols_[static_cast<size_t>(atom.symbol)].upper;
    case AtomKind::kFloorDiv:
      return LowerBound(atom.b) > 0 && LowerBound(atom.a) >= 0 ? UpperBound(atom.a) : INT64_MAX;
    case AtomKind::kMod:
      return LowerBound(atom.b) > 0 ? SaturatedAdd(UpperBound(atom.b), -1) : INT64_MAX;
    case AtomKind::kMax:
      return std::max(UpperBound(atom.a), UpperBound(atom.b));
    case AtomKind::kMin:
      return std::min(UpperBound(atom.a), UpperBound(atom.b));
  }
  return INT64_MAX;
}

// Interval arithmetic over the terms; factors that may be negative give up, since extents are what
// this is for.
SymbolTable::Interval SymbolTable::Bounds(Dim a) const {
  if (a.is_constant()) return {a.constant_, a.constant_};
  Interval sum{0, 0};
  for (const Term& term : expressions_[static_cast<size_t>(a.expression_)]) {
    int64_t low = 1;
    int64_t high = 1;
    bool signs_known = true;
    for (const int32_t index : term.atoms) {
      const Atom& atom = atoms_[static_cast<size_t>(index)];
      const int64_t atom_low = AtomLower(atom);
      const int64_t atom_high = AtomUpper(atom);
      if (term.atoms.size() == 1) {
        low = atom_low;
        high = atom_high;
        break;
      }
      signs_known = signs_known && atom_low >= 0;
      low = SaturatedMul(low, atom_low);
      high =
          atom_high == INT64_MAX || high == INT64_MAX ? INT64_MAX : SaturatedMul(high, atom_high);
    }
    if (!signs_known) return {INT64_MIN, INT64_MAX};
    int64_t term_low = low == INT64_MIN ? INT64_MIN : SaturatedMul(term.coefficient, low);
    int64_t term_high = high == INT64_MAX ? INT64_MAX : SaturatedMul(term.coefficient, high);
    if (term.coefficient < 0) {
      term_low = high == INT64_MAX ? INT64_MIN : SaturatedMul(term.coefficient, high);
      term_high = low == INT64_MIN ? INT64_MAX : SaturatedMul(term.coefficient, low);
    }
    sum.lower = sum.lower == INT64_MIN || term_low == INT64_MIN ? INT64_MIN
                                                                : SaturatedAdd(sum.lower, term_low);
    sum.upper = sum.upper == INT64_MAX || term_high == INT64_MAX
                    ? INT64_MAX
                    : SaturatedAdd(sum.upper, term_high);
  }
  return sum;
}

int64_t SymbolTable::LowerBound(Dim a) const {
  return Bounds(a).lower;
}
int64_t SymbolTable::UpperBound(Dim a) const {
  return Bounds(a).upper;
}

bool SymbolTable::IsMultipleOf(Dim a, int64_t divisor) const {
  CHECK_GT(divisor, 0);
  for (const Term& term : Expand(a)) {
    // What the factors do not contribute, the rest of the divisor has to be found in the
    // coefficient.
    int64_t rest = divisor / std::gcd(divisor, term.coefficient);
    for (const int32_t index : term.atoms) {
      const Atom& atom = atoms_[static_cast<size_t>(index)];
      if (atom.kind == AtomKind::kSymbol) {
        rest /= std::gcd(rest, symbols_[static_cast<size_t>(atom.symbol)].multiple);
      }
    }
    if (rest != 1) return false;
  }
  return true;
}

std::optional<int32_t> SymbolTable::SymbolIndex(Dim a) const {
  if (a.is_constant()) return std::nullopt;
  const Polynomial& polynomial = expressions_[static_cast<size_t>(a.expression_)];
  if (polynomial.size() != 1 || polynomial[0].coefficient != 1 || polynomial[0].atoms.size() != 1)
    return std::nullopt;
  const Atom& atom = atoms_[static_cast<size_t>(polynomial[0].atoms[0])];
  if (atom.kind != AtomKind::kSymbol) return std::nullopt;
  return atom.symbol;
}

bool SymbolTable::IsRagged(Dim a) const {
  const std::optional<int32_t> index = SymbolIndex(a);
  return index.has_value() && symbols_[static_cast<size_t>(*index)].ragged;
}

std::string_view SymbolTable::SplitsOf(Dim ragged) const {
  CHECK(IsRagged(ragged));
  return symbol_name(*SymbolIndex(ragged)).substr(std::string_view("ragged:").size());
}

bool SymbolTable::IsDataDependent(Dim a) const {
  if (a.is_constant()) return false;
  for (const Term& term : expressions_[static_cast<size_t>(a.expression_)]) {
    for (const int32_t index : term.atoms) {
      const Atom& atom = atoms_[static_cast<size_t>(index)];
      if (atom.kind == AtomKind::kSymbol ? symbols_[static_cast<size_t>(atom.symbol)].fresh
                                         : IsDataDependent(atom.a) || IsDataDependent(atom.b)) {
        return true;
      }
    }
  }
  return false;
}

base::Result<int64_t> SymbolTable::EvaluateAtom(const Atom& atom, const Bindings& bindings) const {
  if (atom.kind == AtomKind::kSymbol) {
    const auto index = static_cast<size_t>(atom.symbol);
    if (index >= bindings.size() || bindings[index] == kUnbound) {
      return base::InvalidArgument("the dimension '" + symbols_[index].name + "' is not known");
    }
    return bindings[index];
  }
  const int64_t a = TRY(Evaluate(atom.a, bindings));
  const int64_t b = TRY(Evaluate(atom.b, bindings));
  if (atom.kind == AtomKind::kMax) return std::max(a, b);
  if (atom.kind == AtomKind::kMin) return std::min(a, b);
  if (!Divides(a, b))
    return base::InvalidArgument("a dimension divides by zero: " + AtomName(atom));
  return atom.kind == AtomKind::kFloorDiv ? FloorDivide(a, b) : FloorModulus(a, b);
}

base::Result<int64_t> SymbolTable::Evaluate(Dim a, const Bindings& bindings) const {
  if (a.is_constant()) return a.constant_;
  int64_t sum = 0;
  for (const Term& term : expressions_[static_cast<size_t>(a.expression_)]) {
    int64_t product = term.coefficient;
    for (const int32_t index : term.atoms) {
      const int64_t factor = TRY(EvaluateAtom(atoms_[static_cast<size_t>(index)], bindings));
      if (__builtin_mul_overflow(product, factor, &product)) {
        return base::InvalidArgument("a dimension overflows 64 bits: " + ToString(a));
      }
    }
    if (__builtin_add_overflow(sum, product, &sum)) {
      return base::InvalidArgument("a dimension overflows 64 bits: " + ToString(a));
    }
  }
  return sum;
}

std::string SymbolTable::AtomName(const Atom& atom) const {
  switch (atom.kind) {
    case AtomKind::kSymbol:
      return symbols_[static_cast<size_t>(atom.symbol)].name;
    case AtomKind::kFloorDiv:
      return "floor(" + ToString(atom.a) + " / " + ToString(atom.b) + ")";
    case AtomKind::kMod:
      return "mod(" + ToString(atom.a) + ", " + ToString(atom.b) + ")";
    case AtomKind::kMax:
      return "max(" + ToString(atom.a) + ", " + ToString(atom.b) + ")";
    case AtomKind::kMin:
      return "min(" + ToString(atom.a) + ", " + ToString(atom.b) + ")";
  }
  return "?";
}

std::string SymbolTable::ToString(Dim a) const {
  if (a.is_constant()) return std::to_string(a.constant_);
  std::string text;
  for (const Term& term : expressions_[static_cast<size_t>(a.expression_)]) {
    if (!text.empty()) text += " + ";
    if (term.atoms.empty() || term.coefficient != 1) text += std::to_string(term.coefficient);
    for (size_t i = 0; i < term.atoms.size(); ++i) {
      if (i > 0 || term.coefficient != 1) text += "*";
      text += AtomName(atoms_[static_cast<size_t>(term.atoms[i])]);
    }
  }
  return text;
}

std::string SymbolTable::ToString(const SymShape& shape) const {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += ToString(shape[i]);
  }
  return text + "]";
}

}  // namespace sluice::graph
