// What is in a directory, and removing a directory with all that it holds. Blocking.
//
// What lies there may have been made by a container or come with an image: nothing follows a link.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace limpet {

// Names, sorted; empty when there is none. Leaves the time of access alone: a look is no reason to write to
// flash.
std::vector<std::string> list_directory(const std::string& path);

// Removes what is below path and path itself, also when it is no directory; other file systems mounted in it
// are left, which is then an error. What is gone already is none.
Result<> remove_tree(const std::string& path);

}  // namespace limpet
