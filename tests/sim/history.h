// Whether what clients saw can be explained by one register a key that changes at one moment between the
// beginning and the end of each write: linearizability. It knows nothing of logs and indexes.
//
// Every value is written once, so that the check is that of zones (Gibbons and Korach, "Testing Shared
// Memories", 1997): a value's operations span a zone from the first end to the last beginning; a zone that
// runs forward is time in which no other value can have been there.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "clockwork.h"

namespace sim {

class History {
 public:
  using Id = size_t;
  Id write(std::string key, std::string value, Time begin);
  void done(Id id, Time end) { operations_[id].end = end, operations_[id].known = true; }
  void failed(Id id) { operations_[id].failed = true; }  // certainly not done
  void read(std::string key, std::string value, Time begin, Time end);

  size_t size() const { return operations_.size(); }
  size_t acknowledged() const;
  // Empty: it can be explained.
  std::string violation() const;

 private:
  struct Operation {
    std::string key, value;
    bool is_read = false, known = false, failed = false;
    Time begin = 0, end = ~Time{0};
  };
  std::string violation_of(const std::string& key, const std::vector<const Operation*>& operations) const;
  std::vector<Operation> operations_;
};

}  // namespace sim
