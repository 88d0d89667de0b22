#include "cli/exec_channel.h"

#include <doctest/doctest.h>

using namespace limpet;
using namespace limpet::cli;

TEST_CASE("messages carry their channel in the first byte") {
  CHECK_EQ(exec_message(Channel::in, "ab"), std::string("\0ab", 3));
  CHECK_EQ(exec_message(Channel::in, ""), std::string("\0", 1));
  CHECK_EQ(exec_close_stdin(), std::string("\xff\0", 2));
  CHECK_EQ(exec_resize(80, 24), "\x04{\"Width\":80,\"Height\":24}\n");
}

TEST_CASE("how a command ended") {
  struct Row {
    const char* status;
    int close_code;
    int exit;             // of the command; -1: none
    int failure;          // exit status of limpet then
    const char* message;  // part of it
  };
  const char* seven =
      R"({"status":"Failure","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}})";
  const Row rows[] = {
      {R"({"metadata":{},"status":"Success"})", 1000, 0, 0, ""},
      {seven, 1000, 7, 0, ""},
      {seven, 1006, 7, 0, ""},
      {"", 1000, 0, 0, ""},
      {"", 1006, -1, exit_failed, "broke (1006)"},
      {"garbage", 1000, -1, exit_failed, "cannot be understood"},
      {R"({"status":"Failure","message":"no such file \u001b[31m","code":500})", 1000, -1, exit_failed,
       "the command was not run: no such file ?[31m"},
      {R"({"status":"Failure","message":"gone","code":404})", 1000, -1, exit_not_found, "gone"},
      {R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"x"}]}})", 1000, -1,
       exit_failed, "not run"},
      {R"({"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"-3"}]}})", 1000, -1,
       exit_failed, "not run"},
      {R"({"status":"Failure","details":{"causes":[{"reason":"Other","message":"1"},{"reason":"ExitCode","message":"137"}]}})",
       1000, 137, 0, ""},
      {"[]", 1000, -1, exit_failed, "not run"},
  };
  for (const Row& row : rows) {
    CAPTURE(row.status);
    const auto ended = exec_result(row.status, row.close_code);
    REQUIRE_EQ(ended.has_value(), row.exit >= 0);
    if (ended) {
      CHECK_EQ(*ended, row.exit);
    } else {
      CHECK_EQ(ended.error().code, row.failure);
      CHECK(ended.error().message.find(row.message) != std::string::npos);
    }
  }
}
