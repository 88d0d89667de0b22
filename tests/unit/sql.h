// What another program, or another version, does to a database while nobody has it open.
#pragma once

#include <doctest/doctest.h>
#include <sqlite3.h>

#include <string>

inline void sql(const std::string& path, const char* text) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, text, nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}
