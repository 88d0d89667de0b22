// A file of spare bytes beside the database: when the disk is full it is given up, so that deletions still
// find room.
#pragma once

#include <string>

namespace limpet::store {

class Reserve {
 public:
  explicit Reserve(std::string path) : path_(std::move(path)) {}
  // Makes it if it is missing and there is room; the blocks are really allocated.
  void refill();
  // True when there was one to give up.
  bool give_up();
  bool held() const { return held_; }

 private:
  std::string path_;
  bool held_ = false;
};

}  // namespace limpet::store
