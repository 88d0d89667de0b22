// Requests and responses with the verdict that every parsing library must give, whole and byte by byte.
#pragma once

#include <string>
#include <vector>

struct CorpusEntry {
  const char* name;
  std::string bytes;
  int verdict;       // 0: every message is accepted; -1: incomplete, more is awaited; else the error status
  int messages = 0;  // complete before the end or the error
  std::string body = {};  // of all messages, joined
};
const std::vector<CorpusEntry>& request_corpus();
const std::vector<CorpusEntry>& response_corpus();
