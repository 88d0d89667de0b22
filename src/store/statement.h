// One use of a prepared statement: binds, steps, resets when it goes out of scope.
#pragma once

#include <sqlite3.h>

#include <string_view>

namespace limpet::store {

class Statement {
 public:
  explicit Statement(sqlite3_stmt* s) : s_(s) {}
  ~Statement() {
    sqlite3_reset(s_);
    sqlite3_clear_bindings(s_);
  }
  Statement(const Statement&) = delete;

  Statement& number(int at, int64_t v) {
    sqlite3_bind_int64(s_, at, v);
    return *this;
  }
  // The bytes must live until the statement is done.
  Statement& bytes(int at, std::string_view v) {
    sqlite3_bind_blob64(s_, at, v.data() ? v.data() : "", v.size(), SQLITE_STATIC);
    return *this;
  }
  Statement& text(int at, std::string_view v) {
    sqlite3_bind_text64(s_, at, v.data(), v.size(), SQLITE_STATIC, SQLITE_UTF8);
    return *this;
  }
  int step() { return sqlite3_step(s_); }

  bool null(int at) const { return sqlite3_column_type(s_, at) == SQLITE_NULL; }
  int64_t number(int at) const { return sqlite3_column_int64(s_, at); }
  std::string_view bytes(int at) const {
    const void* p = sqlite3_column_blob(s_, at);
    return {static_cast<const char*>(p), p ? static_cast<size_t>(sqlite3_column_bytes(s_, at)) : 0};
  }

 private:
  sqlite3_stmt* s_;
};

}  // namespace limpet::store
