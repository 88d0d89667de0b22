// Structured log lines on stderr in journald's priority form: `<6>pod started pod=default/web container=app`.
//
// Libraries return errors and stay silent; the edge that handles an error logs it once. A line is written
// with one write(2). Values that need it are quoted. Thread-safe.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>

#include "base/result.h"

namespace limpet::log {

enum class Level { error = 3, warning = 4, notice = 5, info = 6, debug = 7 };

struct Field {
  std::string_view key;
  std::string value;
  Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
  Field(std::string_view k, std::string_view v) : key(k), value(v) {}
  Field(std::string_view k, const char* v) : key(k), value(v) {}
  Field(std::string_view k, int64_t v) : key(k), value(std::to_string(v)) {}
  Field(std::string_view k, int v) : key(k), value(std::to_string(v)) {}
  Field(std::string_view k, size_t v) : key(k), value(std::to_string(v)) {}
  Field(std::string_view k, const Error& e) : key(k), value(e.message) {}
};
using Fields = std::initializer_list<Field>;

void set_level(Level level);
bool enabled(Level level);
// Tests redirect lines here; null restores stderr.
void set_sink(void (*sink)(Level, std::string_view line));

void write(Level level, std::string_view message, Fields fields);
inline void error(std::string_view m, Fields f = {}) { write(Level::error, m, f); }
inline void warning(std::string_view m, Fields f = {}) { write(Level::warning, m, f); }
inline void notice(std::string_view m, Fields f = {}) { write(Level::notice, m, f); }
inline void info(std::string_view m, Fields f = {}) { write(Level::info, m, f); }
inline void debug(std::string_view m, Fields f = {}) {
  if (enabled(Level::debug)) write(Level::debug, m, f);
}

}  // namespace limpet::log
