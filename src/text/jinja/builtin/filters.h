// Jinja's filters and tests, one function each; builtins.cc names them. Text: filters_text.cc,
// numbers and JSON: filters_value.cc, sequences: filters_sequence.cc and filters_select.cc, tests:
// value_tests.cc.
#pragma once

#include "text/jinja/builtin/builtins.h"

namespace sluice::text::jinja {

// Strings in lower case, unless case counts; other values as they are.
bool IgnoreCase(Workspace& work, bool case_sensitive, Value& value);

bool FilterAbs(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterBatch(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterCapitalize(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out);
bool FilterCenter(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterLength(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterDefault(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out);
bool FilterDictSort(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                    Value& out);
bool FilterEscape(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterFirst(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterFloat(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterForceEscape(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                       Value& out);
bool FilterFormat(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterGroupBy(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out);
bool FilterIndent(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterInt(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterItems(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterJoin(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterLast(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterList(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterLower(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterMap(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterMax(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterMin(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterReject(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterRejectAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out);
bool FilterReplace(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out);
bool FilterReverse(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                   Value& out);
bool FilterRound(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterSafe(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterSelect(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterSelectAttr(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      Value& out);
bool FilterSlice(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterSort(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterString(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterSum(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterTitle(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterToJson(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterTrim(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterTruncate(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                    Value& out);
bool FilterUnique(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterUpper(Evaluator& evaluator, const Value& input, const Arguments& arguments, Value& out);
bool FilterUrlEncode(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     Value& out);
bool FilterWordCount(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     Value& out);

bool TestNotEqual(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestLess(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestLessEqual(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestEqual(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestGreater(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestGreaterEqual(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                      bool& out);
bool TestBoolean(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestCallable(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestDefined(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestDivisibleBy(Evaluator& evaluator, const Value& input, const Arguments& arguments,
                     bool& out);
bool TestEscaped(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestEven(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestFalse(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestFilter(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestFloat(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestIn(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestInteger(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestIterable(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestLower(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestMapping(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestNone(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestNumber(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestOdd(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestSameAs(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestSequence(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestString(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestTest(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestTrue(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestUndefined(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);
bool TestUpper(Evaluator& evaluator, const Value& input, const Arguments& arguments, bool& out);

}  // namespace sluice::text::jinja
