// A small tar writer for tests: writes what a well-behaved tool never would, on request.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>

struct TarEntry {
  std::string name;
  char type = '0';
  std::string data;
  std::string link;
  unsigned mode = 0644, uid = 0, gid = 0;
  long mtime = 1700000000;
  bool bad_checksum = false;
  std::string size_field;  // instead of the size of data
  std::string pax;         // records of a PAX header in front, as pax_record() makes them
};

inline std::string pax_record(const std::string& key, const std::string& value) {
  const std::string rest = " " + key + "=" + value + "\n";
  size_t length = rest.size() + 1;
  while (std::to_string(length).size() + rest.size() != length) ++length;
  return std::to_string(length) + rest;
}

inline std::string tar_block(const TarEntry& e) {
  char h[512] = {};
  auto octal = [](char* at, int width, unsigned long long v) {
    for (int i = width - 2; i >= 0; --i, v >>= 3) at[i] = static_cast<char>('0' + (v & 7));
  };
  memcpy(h, e.name.data(), std::min<size_t>(e.name.size(), 100));
  octal(h + 100, 8, e.mode);
  octal(h + 108, 8, e.uid);
  octal(h + 116, 8, e.gid);
  octal(h + 124, 12, e.data.size());
  if (!e.size_field.empty()) memcpy(h + 124, e.size_field.data(), std::min<size_t>(12, e.size_field.size()));
  octal(h + 136, 12, static_cast<unsigned long long>(e.mtime));
  h[156] = e.type;
  memcpy(h + 157, e.link.data(), std::min<size_t>(e.link.size(), 100));
  memcpy(h + 257, "ustar\00000", 8);
  memset(h + 148, ' ', 8);
  unsigned sum = 0;
  for (const unsigned char c : h) sum += c;
  octal(h + 148, 7, e.bad_checksum ? sum + 1 : sum);
  h[154] = 0;
  h[155] = ' ';
  std::string out;
  if (!e.pax.empty()) {
    TarEntry x;
    x.name = "pax";
    x.type = 'x';
    x.data = e.pax;
    out += tar_block(x);
  }
  out.append(h, 512);
  out += e.data;
  out.append((512 - e.data.size() % 512) % 512, '\0');
  return out;
}

inline std::string tar_of(const std::initializer_list<TarEntry>& entries) {
  std::string out;
  for (const TarEntry& e : entries) out += tar_block(e);
  return out + std::string(1024, '\0');
}
