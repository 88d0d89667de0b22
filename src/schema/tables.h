// The tables that generate.py writes; types.cc alone reads them.
#pragma once

#include "schema/types.h"

// Pages of their own: the first reader pays for them, release_docs() gives them back.
#define LIMPET_COLD __attribute__((section(".rodata.limpet_docs")))

namespace limpet::schema::tables {

// What few fields have. Row 0 is empty.
struct Extra {
  uint32_t default_json, enum_values, merge_key, map_keys;
};

// A schema package ("io.k8s.api.core.v1") and the group and version of its kinds.
struct Package {
  uint32_t name, group, version;
};

// Every string has its length before it: two bytes, little endian. Lists begin with their count, likewise.
extern const char strings[];
extern const Field fields[];
extern const Type types[];
extern const Column columns[];
extern const Resource resources[];
extern const Extra extras[];
extern const Package packages[];
extern const size_t package_count;
extern const size_t field_count, type_count, column_count, resource_count;

extern const char hash[];  // of the schema files and of the code that writes OpenAPI documents

extern const char docs[];
extern const size_t docs_size;
extern const uint32_t type_docs[], field_docs[];  // offsets into docs, by type and field

}  // namespace limpet::schema::tables
