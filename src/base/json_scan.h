// The one tokenizer of JSON text, shared by validation, tree building and the cursor. Room-internal.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::json::scan {

inline void skip_space(std::string_view t, size_t* pos) {
  while (*pos < t.size() && (t[*pos] == ' ' || t[*pos] == '\n' || t[*pos] == '\t' || t[*pos] == '\r'))
    (*pos)++;
}

// *pos at the opening quote; afterwards behind the closing one. Checks UTF-8, escapes, surrogates and control
// characters. *out (if given) gets the unescaped bytes.
Result<> string(std::string_view t, size_t* pos, std::string* out);
// Strict number grammar; *pos behind it afterwards.
Result<> number(std::string_view t, size_t* pos);
// true, false or null.
Result<> word(std::string_view t, size_t* pos);

// An integer literal in the range of int64.
bool parse_int64(std::string_view text, int64_t* out);
// Whether reading the literal as a double and printing it gives the same number back.
bool exact_as_double(std::string_view text, double* out);

// The end of the value that starts at pos in text validated before; npos when it is not valid after all.
// Iterative.
size_t skip_value(std::string_view t, size_t pos);

}  // namespace limpet::json::scan
