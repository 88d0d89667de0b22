#include "schema/types.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "schema/tables.h"

namespace limpet::schema {

namespace {

size_t length_at(const char* p) {
  return static_cast<uint8_t>(p[0]) | static_cast<size_t>(static_cast<uint8_t>(p[1])) << 8;
}

std::string_view packed(const char* p) { return {p + 2, length_at(p)}; }

std::string_view text(uint32_t offset) { return packed(tables::strings + offset); }

std::string_view doc_text(uint32_t offset) { return packed(tables::docs + offset); }

const Type* type_at(uint16_t index) { return index == 0xffff ? nullptr : &tables::types[index]; }

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1";

const Type* kind_in(std::string_view package, std::string_view kind) {
  const Type* type = find_type(std::string(package) + "." + std::string(kind));
  return type && type->is_kind() ? type : nullptr;
}

const tables::Package* package_of(std::string_view type) {
  const std::string_view name = type.substr(0, type.rfind('.'));
  for (const tables::Package& p : std::span(tables::packages, tables::package_count)) {
    if (text(p.name) == name) return &p;
  }
  return nullptr;
}

}  // namespace

std::string_view StringList::Iterator::operator*() const { return packed(at_); }

StringList::Iterator& StringList::Iterator::operator++() {
  at_ += 2 + length_at(at_);
  --left_;
  return *this;
}

size_t StringList::size() const { return length_at(data_); }

bool StringList::contains(std::string_view wanted) const {
  for (std::string_view item : *this) {
    if (item == wanted) return true;
  }
  return false;
}

std::string_view Field::name() const { return text(name_); }
const Type* Field::type() const { return type_at(type_); }
std::string_view Field::patch_merge_key() const { return text(tables::extras[extra_].merge_key); }
std::string_view Field::list_map_keys() const { return text(tables::extras[extra_].map_keys); }
std::string_view Field::default_json() const { return text(tables::extras[extra_].default_json); }
std::string_view Field::enum_values() const { return text(tables::extras[extra_].enum_values); }
std::string_view Field::doc() const { return doc_text(tables::field_docs[this - tables::fields]); }

std::string_view Type::name() const { return text(name_); }
std::string_view Type::doc() const { return doc_text(tables::type_docs[this - tables::types]); }
std::span<const Field> Type::fields() const { return {tables::fields + first_field_, field_count_}; }

const Field* Type::find(std::string_view json_name) const {
  for (const Field& field : fields()) {
    if (field.name() == json_name) return &field;
  }
  return nullptr;
}

const Field* Type::find(uint16_t number, uint8_t outer) const {
  if (number == 0) return nullptr;
  for (const Field& field : fields()) {
    if (field.number_ == number && field.outer_ == outer) return &field;
  }
  return nullptr;
}

std::string_view Type::short_name() const { return name().substr(name().rfind('.') + 1); }

std::string_view Type::group() const {
  const tables::Package* p = package_of(name());
  return p ? text(p->group) : std::string_view();
}

std::string_view Type::version() const {
  const tables::Package* p = package_of(name());
  return p ? text(p->version) : std::string_view();
}

const Type* find_kind_type(std::string_view api_version, std::string_view kind) {
  const size_t slash = api_version.find('/');
  const std::string_view group = slash == std::string_view::npos ? "" : api_version.substr(0, slash);
  const std::string_view version =
      slash == std::string_view::npos ? api_version : api_version.substr(slash + 1);
  for (const tables::Package& p : std::span(tables::packages, tables::package_count)) {
    if (text(p.group) != group || text(p.version) != version) continue;
    if (const Type* type = kind_in(text(p.name), kind)) return type;
  }
  return kind_in(kMeta, kind);
}

std::span<const Type> types() { return {tables::types, tables::type_count}; }

const Type* find_type(std::string_view openapi_name) {
  std::span<const Type> all = types();
  auto it = std::lower_bound(all.begin(), all.end(), openapi_name,
                             [](const Type& t, std::string_view name) { return t.name() < name; });
  return it != all.end() && it->name() == openapi_name ? &*it : nullptr;
}

void release_docs() {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(tables::docs) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(tables::docs) + tables::docs_size) / page * page;
  // Clean pages of a private file mapping: dropping them loses nothing, and failing to drop them only costs
  // memory.
  if (begin < end) (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

std::string_view Column::name() const { return text(name_); }
std::string_view Column::type() const { return text(type_); }
std::string_view Column::format() const { return text(format_); }
std::string_view Column::doc() const { return doc_text(doc_); }

std::string_view Resource::group() const { return text(group_); }
std::string_view Resource::version() const { return text(version_); }
std::string_view Resource::plural() const { return text(plural_); }
std::string_view Resource::singular() const { return text(singular_); }
std::string_view Resource::kind() const { return text(kind_); }
StringList Resource::short_names() const { return StringList(tables::strings + short_names_); }
StringList Resource::categories() const { return StringList(tables::strings + categories_); }
StringList Resource::verbs() const { return StringList(tables::strings + verbs_); }
StringList Resource::subresources() const { return StringList(tables::strings + subresources_); }
StringList Resource::selectable_fields() const { return StringList(tables::strings + selectable_); }
std::span<const Column> Resource::columns() const { return {tables::columns + first_column_, column_count_}; }
const Type* Resource::type() const { return type_at(type_); }
const Type* Resource::list_type() const { return find_type(std::string(type()->name()) + "List"); }

std::span<const Resource> resources() { return {tables::resources, tables::resource_count}; }

const Resource* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  for (const Resource& r : resources()) {
    if (r.plural() == plural && r.group() == group && r.version() == version) return &r;
  }
  return nullptr;
}

const Resource* find_kind(std::string_view group, std::string_view version, std::string_view kind) {
  for (const Resource& r : resources()) {
    if (r.kind() == kind && r.group() == group && r.version() == version) return &r;
  }
  return nullptr;
}

}  // namespace limpet::schema
