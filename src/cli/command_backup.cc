// limpet backup, limpet backup keygen.
#include <sys/stat.h>

#include <optional>

#include "backup/file.h"
#include "backup/records.h"
#include "base/atomic_file.h"
#include "cli/commands.h"
#include "cli/format.h"
#include "cli/passphrase.h"
#include "pki/certificate.h"
#include "pki/pbkdf2.h"

namespace limpet::cli {
namespace {

constexpr const char* backup_path = "/limpet/v1/backup";
constexpr int64_t derive_ms = 500;
constexpr size_t max_key_file = 64u << 10;

bool exists(const std::string& path) {
  struct stat st{};
  return lstat(path.c_str(), &st) == 0;
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

// Who may open it.
struct Seal {
  std::optional<pki::PublicKey> recipient;
  std::string passphrase;
  uint32_t iterations = 0;

  Result<backup::Head> head(const backup::Label& label) const {
    SystemRandom random;
    if (recipient) return backup::make_head(label, *recipient, random);
    return backup::make_head(label, passphrase, iterations, random);
  }
};

Outcome<Seal> get_seal(Context& context) {
  const Arguments& a = context.arguments;
  Seal seal;
  if (a.recipient.empty()) {
    auto passphrase = get_passphrase(context, "of the backup", true);
    if (!passphrase) return std::unexpected(passphrase.error());
    seal.passphrase = std::move(*passphrase);
    seal.iterations = pki::pbkdf2_iterations(derive_ms, [&] { return context.clock.monotonic_ms(); });
    return seal;
  }
  const auto pem = read_file(a.recipient, max_key_file);
  if (!pem) {
    return failed(pem.error().code == Errc::not_found ? exit_not_found : exit_failed,
                  "the recipient: " + pem.error().message);
  }
  auto key = pki::PublicKey::from_pem(*pem);
  if (!key) {
    return failed(exit_failed, a.recipient + " is no public key of a recipient (" + key.error().message +
                                   "): limpet backup keygen makes one, in FILE.pub");
  }
  seal.recipient = std::move(*key);
  return seal;
}

// What limpetd sends goes into the file as it comes; what it is is learned on the way.
class Taker {
 public:
  Taker(const Arguments& arguments, const Seal& seal) : arguments_(arguments), seal_(seal) {}

  bool take(std::string_view bytes) {
    if (!writer_) before_.append(bytes);
    outcome_ = reader_.feed(bytes);
    if (outcome_ && writer_) outcome_ = writer_->write(before_.empty() ? bytes : before_);
    if (writer_) before_.clear();
    return outcome_.has_value();
  }
  Result<uint64_t> finish() {
    CHECK_OK(outcome_);
    CHECK_OK(reader_.finish());
    return writer_->finish();
  }
  const backup::Manifest& manifest() const { return manifest_; }

 private:
  Result<> begin(backup::Manifest manifest) {
    manifest_ = std::move(manifest);
    const std::string& path = arguments_.positional[0];
    CHECK_OK(backup::check_room(directory_of(path), backup::estimate(manifest_)));
    TRY(const backup::Head head, seal_.head({manifest_.cluster, manifest_.time, manifest_.revision}));
    TRY(auto writer, backup::BackupWriter::create(path, arguments_.force, head));
    writer_.emplace(std::move(writer));
    return {};
  }

  const Arguments& arguments_;
  const Seal& seal_;
  std::string before_;  // until there is a file
  backup::Manifest manifest_;
  std::optional<backup::BackupWriter> writer_;
  Result<> outcome_;
  backup::RecordReader reader_{{[this](backup::Manifest m) { return begin(std::move(m)); },
                                [](std::string_view, std::string_view) { return Result<>(); },
                                [](std::string_view) { return Result<>(); }}};
};

}  // namespace

Outcome<int> run_backup(Context& context) {
  const Arguments& a = context.arguments;
  const std::string& path = a.positional[0];
  if (!a.recipient.empty() && !a.passphrase_file.empty())
    return failed(exit_usage, "either a passphrase or a recipient opens a backup, not both");
  if (exists(path) && !a.force) return failed(exit_failed, path + " is there already: --force replaces it");
  const auto seal = get_seal(context);
  if (!seal) return std::unexpected(seal.error());
  Taker taker(a, *seal);
  const auto streamed = context.daemon.stream("POST", backup_path, "",
                                              [&](std::string_view bytes) { return taker.take(bytes); });
  if (!streamed) return std::unexpected(streamed.error());
  const auto size = taker.finish();
  if (!size) return failed(exit_failed, path + " was not written: " + printable(size.error().message));
  const backup::Manifest& m = taker.manifest();
  if (!m.confirmed) {
    (void)context.output.err(
        labelled("limpet:",
                 "no majority of the servers answered: what others acknowledged last may "
                 "be missing in it",
                 8, context.output.width));
  }
  return print(context, strf("%s: revision %lld, %s\n", path.c_str(), static_cast<long long>(m.revision),
                             human_size(static_cast<int64_t>(*size)).c_str()));
}

Outcome<int> run_backup_keygen(Context& context) {
  const std::string& path = context.arguments.positional[0];
  const std::string public_path = path + ".pub";
  for (const std::string& file : {path, public_path}) {
    if (exists(file)) return failed(exit_failed, file + " is there already, and keys are never replaced");
  }
  SystemRandom random;
  const auto key = pki::PrivateKey::generate(random);
  const auto pem = key ? key->to_pem() : Result<std::string>(std::unexpected(key.error()));
  if (!pem) return failed(exit_failed, pem.error().message);
  Result<> written = write_file_atomic(path, *pem, 0600);
  if (written) written = write_file_atomic(public_path, pki::to_pem(key->spki(), "PUBLIC KEY"), 0644);
  if (!written) return failed(exit_failed, written.error().message);
  return print(context, strf("%s: keep it off the device\n%s: for --recipient and backup.recipientFile, %s\n",
                             path.c_str(), public_path.c_str(),
                             backup::fingerprint(key->spki()).substr(0, 16).c_str()));
}

}  // namespace limpet::cli
