// The tables of options and commands: what the parser, the help, completion and the manual page go by.
#include <charconv>

#include "cli/options.h"

namespace limpet::cli {
namespace {

template <bool Arguments::* member>
Result<> flag(Arguments& a, std::string_view) {
  a.*member = true;
  return {};
}

template <std::string Arguments::* member>
Result<> text(Arguments& a, std::string_view value) {
  if (value.empty()) return fail(Errc::invalid_argument, "the value is empty");
  a.*member = value;
  return {};
}

Result<> config(Arguments& a, std::string_view value) {
  a.config_given = true;
  return text<&Arguments::config>(a, value);
}

Result<> output(Arguments& a, std::string_view value) {
  if (value != "json") return fail(Errc::invalid_argument, "the only output format is json");
  a.json = true;
  return {};
}

Result<> tail(Arguments& a, std::string_view value) {
  int64_t lines = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), lines);
  if (error != std::errc() || end != value.data() + value.size() || lines < 0) {
    return fail(Errc::invalid_argument, "a number of lines is wanted, as in --tail 50");
  }
  a.tail = lines;
  return {};
}

Result<> since(Arguments& a, std::string_view value) {
  TRY(a.since_s, parse_duration(value));
  return {};
}

Result<> watch(Arguments& a, std::string_view value) {
  TRY(a.watch_s, parse_duration(value));
  if (*a.watch_s > 3600) return fail(Errc::invalid_argument, "at most an hour");
  return {};
}

Result<> role(Arguments& a, std::string_view value) {
  if (value != "server" && value != "agent") return fail(Errc::invalid_argument, "server or agent is wanted");
  a.role = value;
  return {};
}

Result<> ttl(Arguments& a, std::string_view value) {
  TRY(a.ttl_s, parse_duration(value));
  return {};
}

Result<> patience(Arguments& a, std::string_view value) {
  TRY(a.patience_s, parse_duration(value));
  return {};
}

Result<> uses(Arguments& a, std::string_view value) {
  int64_t n = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), n);
  if (error != std::errc() || end != value.data() + value.size() || n < 1 || n > 1'000'000) {
    return fail(Errc::invalid_argument, "a number of devices is wanted, as in --uses 1");
  }
  a.uses = n;
  return {};
}

Result<> sort_by(Arguments& a, std::string_view value) {
  if (value != "cpu" && value != "memory") return fail(Errc::invalid_argument, "cpu or memory is wanted");
  a.by_memory = value == "memory";
  return {};
}

const Option option_table[] = {
    {'o', "output", "json", "print JSON, for programs",
     "status ps why doctor top image/ls cluster/status token/create token/ls token/rm join node/remove "
     "node/revoke cert/rotate cert/status version",
     output},
    {'n', "namespace", "NAME", "namespace of the pod (default: default)", "ps why restart logs exec",
     text<&Arguments::ns>},
    {'A', "all-namespaces", nullptr, "pods of every namespace", "ps", flag<&Arguments::all_namespaces>},
    {'f', "follow", nullptr, "go on as the container writes", "logs", flag<&Arguments::follow>},
    {0, "tail", "N", "only the last N lines", "logs", tail},
    {0, "since", "TIME", "only what is younger: 90s, 15m, 1h30m, 2d", "logs", since},
    {'p', "previous", nullptr, "of the container before its last restart", "logs",
     flag<&Arguments::previous>},
    {'t', "timestamps", nullptr, "the time before each line", "logs", flag<&Arguments::timestamps>},
    {'c', "container", "NAME", "container of the pod (default: its first)", "logs exec",
     text<&Arguments::container>},
    {'i', "stdin", nullptr, "pass input on to the command", "exec", flag<&Arguments::in>},
    {'t', "tty", nullptr, "give the command a terminal", "exec", flag<&Arguments::tty>},
    {0, "watch", "SECONDS", "look again every so many seconds, for an hour", "top", watch},
    {0, "sort", "cpu|memory", "who stands first (default: cpu)", "top", sort_by},
    {0, "yes", nullptr, "do not ask", "reset cluster/recover", flag<&Arguments::yes>},
    {0, "stop", nullptr, "end limpetd first, if it runs", "reset", flag<&Arguments::stop>},
    {0, "with-config", nullptr, "also remove the configuration and manifests", "reset",
     flag<&Arguments::with_config>},
    {0, "role", "server|agent", "what the device becomes (default: agent)", "token/create join", role},
    {0, "ttl", "TIME", "how long it is good for: 90m, 7d (default: 24h)", "token/create", ttl},
    {0, "uses", "N", "devices that may join by it (default: any number)", "token/create", uses},
    {0, "description", "TEXT", "for limpet token ls", "token/create", text<&Arguments::description>},
    {0, "discard", nullptr, "give up what this device's own cluster holds", "join",
     flag<&Arguments::discard>},
    {0, "passphrase-file", "FILE", "the passphrase, instead of asking for it", "backup restore",
     text<&Arguments::passphrase_file>},
    {0, "recipient", "FILE", "seal it for this public key, not a passphrase", "backup",
     text<&Arguments::recipient>},
    {0, "force", nullptr, "replace FILE if it is there", "backup", flag<&Arguments::force>},
    {0, "key", "FILE", "the private key, if it was made for a recipient", "restore", text<&Arguments::key>},
    {0, "data-dir", "PATH", "where to (default: dataDir as configured)", "restore",
     text<&Arguments::data_dir>},
    {0, "new-cluster-id", nullptr, "a copy: another cluster than the one of before", "restore",
     flag<&Arguments::new_cluster_id>},
    {0, "ca", nullptr, "the authority of the whole cluster", "cert/rotate", flag<&Arguments::authority>},
    {0, "patience", "TIME", "with --ca: wait so long for a device (24h)", "cert/rotate", patience},
    {0, "registry", "HOST", "also try whether this registry is in reach", "doctor",
     text<&Arguments::registry>},
    {0, "socket", "PATH", "socket of limpetd (default: as configured)", nullptr, text<&Arguments::socket>},
    {0, "config", "FILE", "limpetd's configuration, to find its socket", nullptr, config},
    {'h', "help", nullptr, "this text", nullptr, flag<&Arguments::help>},
};

const Command command_table[] = {
    {"status", "", "how the device and its limpetd are",
     "Of an agent also: which server holds it, or for how long it has been cut off,\n"
     "and when the servers heard of it last.\n",
     "  limpet status\n"
     "  limpet status -o json\n",
     0, 0, false},
    {"ps", "", "pods of this device and their containers",
     "A name that is too long for its column stands on a line of its own; names are\n"
     "never cut. The exit status does not depend on the state of the pods.\n",
     "  limpet ps            pods of the namespace default\n"
     "  limpet ps -A         of all namespaces\n"
     "  limpet ps -A -o json\n",
     0, 0, false},
    {"why", "POD", "why a pod does not run, in plain words",
     "Exit status 0: it runs well, has ended as it should, or is on its way with\n"
     "nothing wrong; 1: something is wrong.\n",
     "  limpet why web\n"
     "  limpet why dns -n kube-system\n",
     1, 1, false},
    {"logs", "POD[/CONTAINER]", "what a container wrote", nullptr,
     "  limpet logs web                 everything that is kept\n"
     "  limpet logs web --tail 20 -f    the last lines, then what follows\n"
     "  limpet logs web/proxy -p        of the container before its restart\n"
     "  limpet logs dns -n kube-system --since 15m -t\n",
     1, 1, false},
    {"exec", "POD[/CONTAINER] -- COMMAND...", "run a command in a container",
     "The exit status is the command's own.\n",
     "  limpet exec web -- ls -l /data\n"
     "  limpet exec -it web -- sh                a shell\n"
     "  limpet exec -i web -- tar x < files.tar\n"
     "  limpet exec web -c proxy -- cat /etc/hosts\n",
     1, 1, true},
    {"image ls", "", "images of this device", nullptr,
     "  limpet image ls\n"
     "  limpet image ls -o json\n",
     0, 0, false},
    {"image pull", "IMAGE", "fetch an image from its registry", nullptr,
     "  limpet image pull docker.io/library/busybox:1\n"
     "  limpet image pull registry.local:5000/app@sha256:...\n",
     1, 1, false},
    {"image import", "FILE", "take images from an OCI archive, - for standard input",
     "FILE may be packed with gzip or zstd. What comes from standard input is put into\n"
     "TMPDIR (default /var/tmp) first.\n",
     "  limpet image import app.tar\n"
     "  zcat app.tar.gz | limpet image import -\n",
     1, 1, false},
    {"image rm", "IMAGE", "remove an image that no pod uses", nullptr,
     "  limpet image rm docker.io/library/busybox:1\n", 1, 1, false},
    {"restart", "POD", "end all containers of a pod and start them again",
     "They get their grace period to end. What waits for a next try is tried at once.\n",
     "  limpet restart web\n"
     "  limpet restart dns -n kube-system\n",
     1, 1, false},
    {"top", "", "who uses CPU, memory and processes of this device",
     "CPU is in percent of one core, over half a second, or over the time of --watch.\n",
     "  limpet top\n"
     "  limpet top --sort memory\n"
     "  limpet top --watch 5\n",
     0, 0, false},
    {"doctor", "", "look for what is wrong with the device, also without limpetd",
     "Each finding (ok, skipped, warning, problem) says what to do about it. It takes\n"
     "some seconds where programs or registries do not answer.\n"
     "Exit status 0: no problem; 1: at least one. As root it sees everything.\n",
     "  limpet doctor\n"
     "  limpet doctor --registry registry.example.com:5000\n"
     "  limpet doctor -o json\n",
     0, 0, false},
    {"support-bundle", "[FILE]", "one archive of what support needs, no secrets",
     "FILE is written with gzip, - for standard output; without FILE the name has the\n"
     "time in it. Data of Secrets, private keys, tokens and passwords are taken out.\n"
     "It works without limpetd too, with what is there then. It needs root.\n",
     "  limpet support-bundle\n"
     "  limpet support-bundle /mnt/usb/device.tar.gz\n"
     "  limpet support-bundle - | ssh support 'cat > device.tar.gz'\n",
     0, 1, false},
    {"backup", "FILE", "the cluster's state in one sealed file, while it runs",
     "FILE holds all objects, Secrets too, and the keys of the cluster; volumes and\n"
     "images are not in it. It opens with the passphrase, or with the private key of\n"
     "the recipient, and with nothing else: keep that elsewhere. It needs root.\n",
     "  limpet backup /mnt/usb/site.backup\n"
     "  limpet backup site.backup --passphrase-file /etc/limpet/passphrase\n"
     "  limpet backup site.backup --recipient office.key.pub\n",
     1, 1, false},
    {"backup keygen", "FILE", "make a pair of keys for backups: FILE and FILE.pub",
     "FILE opens what was made for FILE.pub: keep it off the device.\n",
     "  limpet backup keygen office.key\n", 1, 1, false},
    {"restore", "FILE", "make the state of a backup the one of this device",
     "dataDir must hold no store, and limpetd must not run. All of FILE is checked\n"
     "before anything counts. Afterwards this device is the cluster's only server:\n"
     "those of before must not run any more, unless --new-cluster-id is given.\n",
     "  limpet restore /mnt/usb/site.backup\n"
     "  limpet restore site.backup --key office.key --new-cluster-id\n",
     1, 1, false},
    {"reset", "", "undo everything that limpetd made on this device",
     "Ends pods at once and removes volumes, images, the store, certificates, logs,\n"
     "links, rules and control groups. What does not show that limpetd made it stays.\n"
     "It asks first, and refuses while limpetd runs. What it could not do can be tried\n"
     "by running it again. Exit status 1: something is left.\n",
     "  limpet reset\n"
     "  limpet reset --stop --yes\n",
     0, 0, false},
    {"cluster status", "", "the servers of the cluster: roles, leader, contact, lag",
     "BEHIND is how many entries of the log a server lacks; only the leader knows it.\n"
     "Exit status 1: no majority is in contact, or one more loss would end that.\n",
     "  limpet cluster status\n"
     "  limpet cluster status -o json\n",
     0, 0, false},
    {"cluster recover", "", "go on alone: the other servers are lost",
     "For a cluster that has lost so many servers for good that it cannot decide any\n"
     "more. The other servers are given up: they must never run again with their data,\n"
     "or there are two clusters. Devices join the one that goes on as ever.\n"
     "It asks first, and refuses while limpetd runs here or enough servers answer.\n",
     "  limpet cluster recover\n"
     "  limpet cluster recover --yes\n",
     0, 0, false},
    {"token create", "", "let a further device join the cluster",
     "Only the token is printed on standard output. It holds the hash of the cluster's\n"
     "authority, by which the device knows that it joins this cluster and no other.\n",
     "  limpet token create --role server --uses 1\n"
     "  limpet token create --ttl 2h --description 'line 4'\n",
     0, 0, false},
    {"token ls", "", "tokens that devices may join by", "What a token is cannot be shown again.\n",
     "  limpet token ls\n", 0, 0, false},
    {"token rm", "ID", "no device may join by this token any more", nullptr, "  limpet token rm k2p9x0\n", 1,
     1, false},
    {"join", "URL TOKEN", "make this device one of a cluster",
     "URL is the API of any server of it. The device's own cluster ends; if that holds\n"
     "pods or other objects, --discard says that they may go.\n",
     "  limpet join https://192.0.2.10:6443 limpet1.8f...e2.k2p9x0.hd73k2nvb5q8s0aw\n"
     "  limpet join https://site.example.com:6443 TOKEN --role server\n",
     2, 2, false},
    {"node remove", "NAME", "a device that is gone for good leaves the cluster",
     "Its pods are deleted and its name is free. It may join again after limpet reset.\n",
     "  limpet node remove edge-4\n", 1, 1, false},
    {"node revoke", "NAME", "as remove, for a device in wrong hands",
     "Its certificate is refused everywhere from now on. When it was a server, keys\n"
     "that it knew are replaced, as by limpet cert rotate --ca with a patience of ten\n"
     "minutes: a device that is away for longer has to join again. Kubeconfigs and\n"
     "join tokens of before end.\n",
     "  limpet node revoke edge-4\n", 1, 1, false},
    {"cert rotate", "", "new certificates for this device, or a new authority for all",
     "An agent gets its certificate from a server that it reaches.\n"
     "With --ca, on a server, another authority takes the place of the one that all\n"
     "devices trust: first all of them trust both, then they get certificates of the\n"
     "new one, then the old one is forgotten. A device that stays away longer than\n"
     "--patience in a step has to join again. Kubeconfigs and join tokens of before\n"
     "end.\n",
     "  limpet cert rotate\n"
     "  limpet cert rotate --ca --patience 7d\n",
     0, 0, false},
    {"cert status", "", "how far the replacement of the authority is",
     "On an agent: its certificate, when that ends, and whom it trusts.\n", "  limpet cert status\n", 0, 0,
     false},
    {"completion", "SHELL", "print completion for bash, zsh or fish", nullptr,
     "  limpet completion bash > /etc/bash_completion.d/limpet\n"
     "  source <(limpet completion bash)        for this shell only\n"
     "  limpet completion fish > /etc/fish/completions/limpet.fish\n",
     1, 1, false},
    {"kubeconfig", "", "print the admin's kubeconfig (root only)",
     "Whoever has it may do everything in the cluster.\n",
     "  limpet kubeconfig > ~/.kube/config\n"
     "  KUBECONFIG=<(limpet kubeconfig) kubectl get pods\n",
     0, 0, false},
    {"version", "", "versions of limpet and of limpetd", nullptr,
     "  limpet version\n"
     "  limpet version -o json\n",
     0, 0, false},
};

}  // namespace

std::span<const Option> options() { return option_table; }
std::span<const Command> commands() { return command_table; }

}  // namespace limpet::cli
