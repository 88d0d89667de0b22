// limpet restore.
#include "base/atomic_file.h"
#include "base/bytes.h"
#include "cli/commands.h"
#include "cli/device_config.h"
#include "cli/format.h"
#include "cli/passphrase.h"
#include "cli/restore.h"

namespace limpet::cli {
namespace {

constexpr size_t max_key_file = 64u << 10;

int status_of(const Error& error) { return error.code == Errc::not_found ? exit_not_found : exit_failed; }

Outcome<pki::PrivateKey> read_key(const std::string& path) {
  SystemRandom random;
  const auto pem = read_file(path, max_key_file);
  if (!pem) return failed(status_of(pem.error()), "the key: " + pem.error().message);
  auto key = pki::PrivateKey::from_pem(*pem, random);
  if (!key) {
    return failed(exit_failed, path + " is no private key (" + key.error().message +
                                   "): it is the FILE of limpet backup keygen, without .pub");
  }
  return std::move(*key);
}

Outcome<pki::SealKey> open(Context& context, const backup::Header& header) {
  const Arguments& a = context.arguments;
  const std::string& path = a.positional[0];
  SystemRandom random;
  Result<pki::SealKey> key = fail(Errc::internal, "");
  if (!a.key.empty()) {
    const auto own = read_key(a.key);
    if (!own) return std::unexpected(own.error());
    key = backup::open_head(header, *own, random);
  } else if (header.kind == backup::Kind::recipient) {
    return failed(exit_usage, strf("%s was made for the recipient %s: --key FILE is wanted", path.c_str(),
                                   hex(header.recipient).substr(0, 16).c_str()));
  } else {
    const auto passphrase = get_passphrase(context, "of the backup", false);
    if (!passphrase) return std::unexpected(passphrase.error());
    key = backup::open_head(header, *passphrase);
  }
  if (!key) return failed(exit_failed, path + " does not open: " + key.error().message);
  return *key;
}

Outcome<backup::Places> find_places(const Arguments& arguments) {
  DeviceConfig device = read_device_config(arguments);
  if (!device.problem.empty() && arguments.data_dir.empty()) {
    return failed(exit_failed, "where dataDir is cannot be told, since the configuration is wrong: " +
                                   device.problem + "\n--data-dir names another place");
  }
  if (!arguments.data_dir.empty()) {
    device.config.data_dir = arguments.data_dir;
    device.paths = daemon::derive_paths(device.config);
  }
  return backup::Places{device.paths.data_dir, device.paths.store_file, device.paths.pki_dir};
}

}  // namespace

Outcome<int> run_restore(Context& context) {
  const Arguments& a = context.arguments;
  if (!a.key.empty() && !a.passphrase_file.empty())
    return failed(exit_usage, "either a passphrase or a key opens a backup, not both");
  const auto places = find_places(a);
  if (!places) return std::unexpected(places.error());
  auto input = backup::BackupInput::open(a.positional[0]);
  if (!input) return failed(status_of(input.error()), input.error().message);
  const auto key = open(context, input->header());
  if (!key) return std::unexpected(key.error());
  const auto done = restore(*input, *key, *places, a.new_cluster_id, context.clock.wall().seconds);
  if (!done) {
    std::string hint;
    if (done.error().code == Errc::already_exists)
      hint = "\nlimpet reset empties dataDir; limpetd is to be stopped first";
    return failed(exit_failed, "nothing was restored: " + printable(done.error().message) + hint);
  }
  std::string text =
      strf("%llu objects of device %s as of %s, revision %lld, now %lld\n",
           static_cast<unsigned long long>(done->made.objects), printable(done->manifest.node).c_str(),
           rfc3339({done->manifest.time, 0}).c_str(), static_cast<long long>(done->made.from),
           static_cast<long long>(done->made.revision));
  text += strf("cluster %s%s, in %s\n", hex(done->made.cluster).c_str(), a.new_cluster_id ? " (new)" : "",
               places->data_dir.c_str());
  return print(context, text);
}

}  // namespace limpet::cli
