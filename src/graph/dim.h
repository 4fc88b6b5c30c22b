// Symbolic dimensions: constants, named symbols and integer expressions over them, interned so that
// equal means identical. Not for concrete shapes: those are tensor::Shape.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sluice::graph {

// One extent: a constant, or an expression of the SymbolTable that made it. Two Dims of one table
// are equal exactly when their canonical forms are.
class Dim {
 public:
  Dim() = default;
  Dim(int64_t constant) : constant_(constant) {}  // NOLINT: a constant is a Dim

  bool is_constant() const { return expression_ < 0; }
  // Only of a constant.
  int64_t constant() const {
    DCHECK(is_constant());
    return constant_;
  }
  bool Is(int64_t value) const { return is_constant() && constant_ == value; }
  int32_t expression() const { return expression_; }
  friend bool operator==(const Dim&, const Dim&) = default;

 private:
  friend class SymbolTable;
  int64_t constant_ = 0;
  int32_t expression_ = -1;
};

using SymShape = std::vector<Dim>;

// Values of symbols by symbol index; kUnbound where not known.
using Bindings = std::vector<int64_t>;
inline constexpr int64_t kUnbound = INT64_MIN;

// Interns the expressions of a graph and its subgraphs. An expression is a sum of integer
// coefficient times product of atoms; an atom is a symbol, a ragged extent, or an opaque floor
// division, modulus, maximum or minimum. One owner: the thread that builds the graph; read-only
// afterwards.
//
// Arithmetic never fails: where a coefficient overflows, or an expression outgrows kTermsMax, the
// result is a fresh symbol, which equals nothing but itself.
class SymbolTable {
 public:
  static constexpr size_t kTermsMax = 32;
  static constexpr int kAtomSizeMax = 64;  // operations nested in an opaque atom

  // The symbol called `name`; the same Dim each time. An extent: at least 0.
  Dim Symbol(std::string_view name);
  // A new symbol whose name begins with `hint`. Known only when the program has run. `lower` is its
  // proven minimum.
  Dim Fresh(std::string_view hint, int64_t lower = 0);
  // A ragged extent: that of row i is splits[i + 1] - splits[i], where `splits` names the value
  // that holds them. As a number it stands for the total, splits[last].
  Dim Ragged(std::string_view splits);

  Dim Add(Dim a, Dim b);
  Dim Sub(Dim a, Dim b);
  Dim Mul(Dim a, Dim b);
  Dim FloorDiv(
      Dim a,
      Dim b);  // exact where divisibility is proven; opaque otherwise. b == 0 gives a fresh symbol
  Dim CeilDiv(Dim a, Dim b);
  Dim Mod(Dim a, Dim b);
  Dim Max(Dim a, Dim b);
  Dim Min(Dim a, Dim b);
  Dim Product(std::span<const Dim> dims);

  // a / b where b divides a as a polynomial (all of a's terms contain b's single term).
  std::optional<Dim> DivideExact(Dim a, Dim b);

  // Facts about a symbol, from the model's interface or a configuration.
  void SetBounds(Dim symbol, int64_t lower, int64_t upper);
  void SetMultiple(Dim symbol, int64_t divisor);

  // The largest proven lower bound and the smallest proven upper bound (INT64_MIN, INT64_MAX when
  // unknown).
  int64_t LowerBound(Dim a) const;
  int64_t UpperBound(Dim a) const;
  // Whether `divisor` (> 0) is proven to divide `a`.
  bool IsMultipleOf(Dim a, int64_t divisor) const;

  // Whether `a` is exactly one symbol, and its index into Bindings.
  std::optional<int32_t> SymbolIndex(Dim a) const;
  bool IsRagged(Dim a) const;
  // The name of the splits value of a ragged extent.
  std::string_view SplitsOf(Dim ragged) const;
  // Whether a symbol that only a run can tell (Fresh) occurs in `a`.
  bool IsDataDependent(Dim a) const;

  // The value under `bindings`. kInvalidArgument when a symbol is unbound, a division is by zero,
  // or 64 bits overflow.
  base::Result<int64_t> Evaluate(Dim a, const Bindings& bindings) const;

  size_t symbol_count() const { return symbols_.size(); }
  std::string_view symbol_name(int32_t index) const {
    return symbols_[static_cast<size_t>(index)].name;
  }
  std::string ToString(Dim a) const;
  std::string ToString(const SymShape& shape) const;

 private:
  enum class AtomKind : uint8_t { kSymbol, kFloorDiv, kMod, kMax, kMin };
  // A symbol (a = its index) or an opaque operation on two dims.
  struct Atom {
    AtomKind kind = AtomKind::kSymbol;
    int32_t symbol = -1;
    Dim a;
    Dim b;
    int size = 1;  // atoms within, itself included
  };
  struct Interval {
    int64_t lower = 0;
    int64_t upper = 0;
  };
  struct Term {
    std::vector<int32_t> atoms;  // sorted; a power repeats its atom
    int64_t coefficient = 0;
    auto operator<=>(const Term&) const = default;
  };
  using Polynomial = std::vector<Term>;  // sorted by atoms, no zero coefficients; empty is 0
  struct SymbolFacts {
    std::string name;
    bool ragged = false;
    bool fresh = false;
    int64_t lower = 0;
    int64_t upper = INT64_MAX;
    int64_t multiple = 1;
  };

  int32_t AddSymbol(std::string_view name);
  Dim OfSymbol(int32_t symbol);
  Dim Opaque(AtomKind kind, Dim a, Dim b);
  Polynomial Expand(Dim a) const;
  Dim Intern(const Polynomial& polynomial);
  base::Result<int64_t> EvaluateAtom(const Atom& atom, const Bindings& bindings) const;
  Interval Bounds(Dim a) const;
  int Size(Dim a) const;
  static bool OrderBefore(Dim a, Dim b);
  std::string AtomName(const Atom& atom) const;
  int64_t AtomLower(const Atom& atom) const;
  int64_t AtomUpper(const Atom& atom) const;

  std::vector<SymbolFacts> symbols_;
  int64_t next_fresh_ = 0;
  std::map<std::string, int32_t, std::less<>> symbol_by_name_;
  std::vector<Atom> atoms_;
  std::map<std::pair<std::pair<AtomKind, int32_t>,
                     std::pair<std::pair<int64_t, int32_t>, std::pair<int64_t, int32_t>>>,
           int32_t>
      atom_by_key_;
  std::vector<Polynomial> expressions_;
  std::map<Polynomial, int32_t> expression_by_polynomial_;
};

}  // namespace sluice::graph
