// The scripts are run by the shell itself where it is there.
#include "cli/completion.h"

#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include "../skip.h"
#include "base/atomic_file.h"
#include "cli/options.h"
#include "cli/programs.h"

using namespace limpet;
using namespace limpet::cli;

namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What bash offers behind these words, sorted and joined.
std::string offered(loop::Loop& loop, const std::string& file, const std::string& words) {
  const std::string script = "source " + file + "; COMP_WORDS=(" + words +
                             "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _limpet; printf '%s\\n' "
                             "\"${COMPREPLY[@]}\" | sort | tr '\\n' ' '";
  const ProgramResult r = run_program(loop, {"bash", "-c", script}, 20000);
  CHECK(r.ok);
  return r.out;
}

}  // namespace

TEST_CASE("completion: every command and option is in every shell's script") {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    CAPTURE(shell);
    const std::string script = completion_script(shell);
    for (const Command& c : commands()) {
      const std::string name(c.name);
      CHECK(has(script, name.substr(name.find(' ') == std::string::npos ? 0 : name.find(' ') + 1)));
    }
    for (const Option& o : options()) {
      if (o.name) CHECK(has(script, std::string(shell == std::string("fish") ? "-l " : "--") + o.name));
    }
  }
  CHECK_EQ(completion_script("csh"), "");
}

TEST_CASE("completion: bash offers what fits") {
  if (access("/bin/bash", X_OK) != 0) SKIP_TEST("needs bash");
  loop::Loop loop;
  std::string directory = "/tmp/limpet-completion-XXXXXX";
  REQUIRE(mkdtemp(directory.data()) != nullptr);
  const std::string file = directory + "/limpet";
  REQUIRE(write_file_atomic(file, completion_script("bash"), 0600));
  CHECK_EQ(offered(loop, file, "limpet lo"), "logs ");
  CHECK_EQ(offered(loop, file, "limpet --socket ps im"), "image ");
  CHECK_EQ(offered(loop, file, "limpet image ''"), "import ls pull rm ");
  CHECK_EQ(offered(loop, file, "limpet image ls --out"), "--output ");
  // A command that is the first word of another one, too: files, and that word.
  CHECK_EQ(offered(loop, file, "limpet backup keyg"), "keygen ");
  CHECK_EQ(offered(loop, file, "limpet backup " + file.substr(0, file.size() - 1)), file + " ");
  CHECK_EQ(offered(loop, file, "limpet backup --passphrase-file keyg"), " ");
  CHECK_EQ(offered(loop, file, "limpet backup --f"), "--force ");
  CHECK_EQ(offered(loop, file, "limpet backup keygen --f"), " ");
  CHECK_EQ(offered(loop, file, "limpet restore --k"), "--key ");
  CHECK_EQ(offered(loop, file, "limpet logs --t"), "--tail --timestamps ");
  CHECK_EQ(offered(loop, file, "limpet completion ''"), "bash fish zsh ");
  CHECK_EQ(offered(loop, file, "limpet exec web -- --"), " ");
  CHECK_EQ(offered(loop, file, "limpet completion bash ''"), " ");
  CHECK_EQ(offered(loop, file, "limpet --tail ''"), " ");
  CHECK_EQ(offered(loop, file, "limpet --tail -"), " ");
  CHECK_EQ(offered(loop, file, "limpet top --sort ''"), "cpu memory ");
  CHECK_EQ(offered(loop, file, "limpet ps -o ''"), "json ");
  CHECK_EQ(offered(loop, file, "limpet --config " + file.substr(0, file.size() - 1)), file + " ");
  unlink(file.c_str());
  rmdir(directory.c_str());
}
