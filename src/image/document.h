// A small text of a registry (manifest, index, configuration), whole and checked: tries the sessions in
// order.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "image/fetch.h"
#include "image/transport.h"

namespace limpet::image {

struct Document {
  std::string bytes;
  std::string content_type;
  std::string digest;
  std::vector<SessionPtr> sessions;  // the one that answered first, then those after it
};

class DocumentFetch {
 public:
  using Done = std::function<void(Result<Document>)>;
  // digest: what the bytes must have, or empty. done comes once, not from inside; destroying cancels.
  DocumentFetch(Transport& transport, std::vector<SessionPtr> sessions, std::string what, std::string accept,
                std::string digest, size_t max_bytes, Done done);
  DocumentFetch(const DocumentFetch&) = delete;

 private:
  void ask();
  void received(std::string_view bytes);
  void ended(Result<> result);
  void failed(Error error, bool answered);
  void finish(Result<Document> result);

  Transport& transport_;
  std::vector<SessionPtr> sessions_;
  std::string what_, accept_, digest_;
  size_t max_bytes_;
  Done done_;
  std::unique_ptr<Fetch> fetch_;
  size_t session_ = 0;
  Document document_;
  Error error_;
  bool error_final_ = false;  // the registry itself said so
  bool have_error_ = false;
};

}  // namespace limpet::image
