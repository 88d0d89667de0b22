#!/usr/bin/env python3
"""Checks the schema files of src/schema/api and writes them as C++ tables (see types.h, tables.h).

    generate.py OUT_TABLES.cc OUT_DOCS.cc FILE...

FILEs that are not *.yaml only go into the hash by which clients cache OpenAPI documents.

A mistake in a schema file ends the run with FILE:LINE and what is wrong. The form of the files is described in
api/README.md.
"""
import hashlib
import json
import re
import sys

import yaml

SCALARS = {
    'string': 'string', 'bool': 'boolean', 'int32': 'int32', 'int64': 'int64', 'double': 'float64',
    'bytes': 'bytes', 'quantity': 'quantity', 'int-or-string': 'int_or_string', 'time': 'time',
    'micro-time': 'micro_time', 'raw': 'raw', 'fields-v1': 'fields_v1',
    'strings': 'strings',
}
PATCH = {'replace': 'replace', 'merge': 'merge', 'retainKeys': 'retain_keys',
         'merge,retainKeys': 'merge_retain_keys'}
ITEMS = ('atomic', 'set', 'map')
STORAGE = {'durable', 'transient', 'none'}
VERBS = {'create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'}
SHAPE_KEYS = ('is', 'optional', 'list', 'map')
NO_TYPE = 0xffff


class SchemaError(Exception):
    def __init__(self, file, node, message):
        super().__init__('%s:%d: %s' % (file, node.start_mark.line + 1, message))


def scalar_value(file, node):
    """A YAML scalar as its Python value (a string, number, boolean or None)."""
    value = yaml.SafeLoader('')
    try:
        return value.construct_object(node, deep=True)
    except yaml.YAMLError as e:
        raise SchemaError(file, node, str(e)) from None


def mapping(file, node, what, required=(), optional=None):
    """The entries of a mapping as {key: node}; optional=None allows any key."""
    if not isinstance(node, yaml.MappingNode):
        raise SchemaError(file, node, '%s must be a mapping' % what)
    out = {}
    for key, value in node.value:
        if key.value in out:
            raise SchemaError(file, key, 'repeated key "%s" in %s' % (key.value, what))
        if optional is not None and key.value not in required and key.value not in optional:
            raise SchemaError(file, key, 'unknown key "%s" in %s (known: %s)' %
                              (key.value, what, ', '.join(sorted([*required, *optional]))))
        out[key.value] = value
        value.key_node = key
    for key in required:
        if key not in out:
            raise SchemaError(file, node, '%s lacks "%s"' % (what, key))
    return out


def strings(file, node, what):
    value = scalar_value(file, node)
    if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
        raise SchemaError(file, node, '%s must be a list of strings' % what)
    for text in value:
        if value.count(text) > 1:
            raise SchemaError(file, node, '%s lists "%s" twice' % (what, text))
    return value


class Field:
    def __init__(self, name, number):
        self.name, self.number, self.outer = name, number, 0
        self.shape, self.scalar, self.type = 'single', 'string', None
        self.required = self.pointer = self.atomic = False
        self.patch, self.items = 'none', 'none'
        self.default = self.enum = self.key = self.map_keys = ''
        self.doc = ''

    def inlined(self, outer):
        copy = Field.__new__(Field)
        copy.__dict__.update(self.__dict__)
        copy.outer = outer
        return copy


class Type:
    def __init__(self, name, short):
        self.name, self.short = name, short
        self.fields, self.doc = [], ''
        self.kind = self.atomic = self.open = False
        self.entries = []  # (field name, node) until the types are all known


class SchemaFile:
    def __init__(self, path):
        self.path = path
        root = yaml.compose(open(path, encoding='utf-8'), Loader=yaml.SafeLoader)
        top = mapping(path, root, 'the file', ('package', 'group', 'version', 'types'), ('resources', 'use'))
        self.package = scalar_value(path, top['package'])
        self.group = scalar_value(path, top['group'])
        self.version = scalar_value(path, top['version'])
        # Prefixes of the packages whose types may be named without theirs.
        self.use = strings(path, top['use'], 'use') if 'use' in top else []
        self.types_node = mapping(path, top['types'], 'types')
        self.resources_node = mapping(path, top['resources'], 'resources') if 'resources' in top else {}


class Schema:
    def __init__(self, paths):
        self.types = {}
        self.resources = []
        self.files = [SchemaFile(p) for p in sorted(paths)]
        for f in self.files:
            self.declare(f)
        for f in self.files:
            for short, node in f.types_node.items():
                self.fill(f, self.types[f.package + '.' + short], node)
        for t in list(self.types.values()):
            self.expand(t, ())
        for t in self.types.values():
            self.check_numbers(t)
        for f in self.files:
            for plural, node in f.resources_node.items():
                self.resource(f, plural, node)
        self.resources.sort(key=lambda r: (r['group'], r['version'], r['plural']))

    # ---- types --------------------------------------------------------------------------------

    def declare(self, f):
        for short, node in f.types_node.items():
            name = f.package + '.' + short
            if name in self.types:
                raise SchemaError(f.path, node.key_node, 'type %s is declared twice' % short)
            t = self.types[name] = Type(name, short)
            t.file = f.path

    def resolve(self, f, node, name):
        if '.' in name:
            found = [n for n in self.types if n.endswith('.' + name)]
        else:
            found = [p + '.' + name for p in [f.package, *f.use] if p + '.' + name in self.types][:1]
        if len(found) != 1:
            raise SchemaError(f.path, node, 'unknown type "%s"' % name)
        return self.types[found[0]]

    def fill(self, f, t, node):
        keys = mapping(f.path, node, 'type ' + t.short, ('doc', 'fields'), ('kind', 'atomic', 'open'))
        t.doc = scalar_value(f.path, keys['doc'])
        if not t.doc or not isinstance(t.doc, str):
            raise SchemaError(f.path, keys['doc'], 'type %s has no documentation' % t.short)
        for flag in ('kind', 'atomic', 'open'):
            if flag in keys:
                value = scalar_value(f.path, keys[flag])
                if value is not True:
                    raise SchemaError(f.path, keys[flag], '%s is true or left out' % flag)
                setattr(t, flag, True)
        if t.kind:
            for name, doc in (('apiVersion', 'Group and version that this object is written in.'),
                              ('kind', 'Which kind of object this is.')):
                field = Field(name, 0)
                field.doc = doc
                t.entries.append((field, None))
        for name, entry in mapping(f.path, keys['fields'], 'fields of ' + t.short).items():
            if name.startswith('<'):
                inner = self.resolve(f, entry.key_node, name.strip('<>'))
                number = mapping(f.path, entry, name, ('n',), ())
                t.entries.append((inner, scalar_value(f.path, number['n'])))
            else:
                t.entries.append((self.field(f, t, name, entry), None))

    def expand(self, t, above):
        """Inlined types become fields of their own, marked with the number of the message around them."""
        if t.fields or not t.entries:
            return
        if t in above:
            raise SystemExit('%s: type %s inlines itself' % (t.file, t.short))
        for entry, number in t.entries:
            if isinstance(entry, Field):
                t.fields.append(entry)
            else:
                self.expand(entry, above + (t,))
                if any(x.outer for x in [*t.fields, *entry.fields]):
                    raise SystemExit('%s: type %s inlines more than one type' % (t.file, t.short))
                t.fields += [x.inlined(number) for x in entry.fields]

    def check_numbers(self, t):
        names, numbers = set(), set()
        inlined = {number for entry, number in t.entries if not isinstance(entry, Field)}
        for x in t.fields:
            if x.name in names:
                raise SystemExit('%s: type %s has field %s twice' % (t.file, t.short, x.name))
            names.add(x.name)
            if x.number == 0:
                continue
            if (x.outer, x.number) in numbers or (x.outer == 0 and x.number in inlined):
                raise SystemExit('%s: type %s uses number %d twice (%s)' % (t.file, t.short, x.number, x.name))
            numbers.add((x.outer, x.number))

    def field(self, f, t, name, node):
        what = 'field %s.%s' % (t.short, name)
        optional = ('n', 'is', 'optional', 'list', 'map', 'required', 'default', 'enum', 'patch', 'key', 'items',
                    'keys', 'atomic')
        e = mapping(f.path, node, what, ('doc',), optional)

        def get(key, kind, fallback):
            if key not in e:
                return fallback
            value = scalar_value(f.path, e[key])
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise SchemaError(f.path, e[key], '%s: "%s" must be %s' % (what, key, kind.__name__))
            return value

        x = Field(name, get('n', int, 0))
        if 'n' in e and not 0 < x.number < 65536:
            raise SchemaError(f.path, e['n'], '%s: a number from 1 to 65535' % what)
        shapes = [k for k in SHAPE_KEYS if k in e]
        if len(shapes) != 1:
            raise SchemaError(f.path, node, '%s needs exactly one of %s' % (what, ', '.join(SHAPE_KEYS)))
        x.shape = {'list': 'list', 'map': 'map'}.get(shapes[0], 'single')
        x.pointer = shapes[0] == 'optional'
        value_type = get(shapes[0], str, '')
        if value_type in SCALARS:
            x.scalar = SCALARS[value_type]
        else:
            x.scalar, x.type = 'object', self.resolve(f, e[shapes[0]], value_type)
        x.required = get('required', bool, False)
        x.atomic = get('atomic', bool, False)
        x.doc = get('doc', str, '').strip()
        if not x.doc:
            raise SchemaError(f.path, e['doc'], what + ' has no documentation')
        self.lists(f, x, e, what, get)
        if 'enum' in e:
            values = strings(f.path, e['enum'], what + ' enum')
            if x.scalar != 'string' or any(',' in v for v in values):
                raise SchemaError(f.path, e['enum'], what + ': enum is for strings without commas')
            x.enum = ','.join(values)
        if 'default' in e:
            x.default = self.default(f, x, e['default'], what)
        return x

    def lists(self, f, x, e, what, get):
        patch = get('patch', str, '')
        if patch and patch not in PATCH:
            raise SchemaError(f.path, e['patch'], '%s: patch is one of %s' % (what, ', '.join(PATCH)))
        x.patch = PATCH.get(patch, 'none')
        x.items = get('items', str, 'none')
        if 'items' in e and (x.items not in ITEMS or x.shape != 'list'):
            raise SchemaError(f.path, e['items'], '%s: items is for lists, one of %s' % (what, ', '.join(ITEMS)))
        x.key = get('key', str, '')
        keys = strings(f.path, e['keys'], what + ' keys') if 'keys' in e else []
        if bool(keys) != (x.items == 'map'):
            raise SchemaError(f.path, e.get('keys', e.get('items')), what + ': items: map and keys go together')
        x.map_keys = ','.join(keys)
        if x.type and (keys or x.key) and x.shape == 'list':
            known = {n.name for n, _ in x.type.entries if isinstance(n, Field)} or None
            for key in [*keys, *([x.key] if x.key else [])]:
                if known is not None and key not in known and key != 'name':
                    raise SchemaError(f.path, e.get('keys', e.get('key')),
                                      '%s: %s has no field "%s"' % (what, x.type.short, key))
        elif x.key:
            raise SchemaError(f.path, e['key'], what + ': a merge key needs a list of objects')

    def default(self, f, x, node, what):
        value = scalar_value(f.path, node)
        ok = {
            'string': isinstance(value, str), 'boolean': isinstance(value, bool),
            'int32': isinstance(value, int) and not isinstance(value, bool) and -2**31 <= value < 2**31,
            'int64': isinstance(value, int) and not isinstance(value, bool),
            'quantity': isinstance(value, str), 'object': value == {},
        }.get(x.scalar, False)
        if x.shape != 'single':
            ok = False
        if ok and x.enum and value not in x.enum.split(','):
            ok = False
        if not ok:
            raise SchemaError(f.path, node, '%s: bad default %s' % (what, json.dumps(value)))
        return json.dumps(value)

    # ---- resources ----------------------------------------------------------------------------

    def resource(self, f, plural, node):
        what = 'resource ' + plural
        e = mapping(f.path, node, what, ('kind', 'namespaced', 'storage', 'verbs'),
                    ('singular', 'short', 'categories', 'subresources', 'columns', 'selectable'))

        def texts(key):
            return strings(f.path, e[key], what + ' ' + key) if key in e else []

        kind = scalar_value(f.path, e['kind'])
        t = self.types.get(f.package + '.' + str(kind))
        if t is None or not t.kind:
            raise SchemaError(f.path, e['kind'], '%s: no type "%s" with kind: true' % (what, kind))
        r = {'group': f.group, 'version': f.version, 'plural': plural, 'kind': kind, 'type': t,
             'singular': scalar_value(f.path, e['singular']) if 'singular' in e else kind.lower(),
             'namespaced': scalar_value(f.path, e['namespaced']), 'storage': scalar_value(f.path, e['storage']),
             'verbs': texts('verbs'), 'short': texts('short'), 'categories': texts('categories'),
             'subresources': texts('subresources'), 'selectable': texts('selectable'), 'columns': []}
        if not isinstance(r['namespaced'], bool):
            raise SchemaError(f.path, e['namespaced'], what + ': namespaced is true or false')
        if r['storage'] not in STORAGE:
            raise SchemaError(f.path, e['storage'], '%s: storage is one of %s' % (what, ', '.join(sorted(STORAGE))))
        for verb in r['verbs']:
            if verb not in VERBS:
                raise SchemaError(f.path, e['verbs'], '%s: unknown verb "%s"' % (what, verb))
        for sub in r['subresources']:
            if not re.fullmatch(r'[a-z]+=[A-Z]\w+(\.v\w+\.[\w.-]+)?:[a-z]+(,[a-z]+)*', sub):
                raise SchemaError(f.path, e['subresources'], '%s: bad subresource "%s"' % (what, sub))
        for path in r['selectable']:
            self.check_path(f, e['selectable'], t, path)
        for column in (e['columns'].value if 'columns' in e else []):
            c = mapping(f.path, column, what + ' column', ('name', 'type', 'doc'), ('format', 'priority'))
            r['columns'].append({k: scalar_value(f.path, v) for k, v in c.items()})
        self.resources.append(r)
        if 'list' in r['verbs']:
            self.list_type(t)

    def check_path(self, f, node, t, path):
        for part in path.split('.'):
            found = [x for x in (t.fields if t else []) if x.name == part]
            if not found and not (path in ('source', 'reportingComponent')):
                raise SchemaError(f.path, node, 'selectable field "%s" is no field of the kind' % path)
            t = found[0].type if found else None

    def list_type(self, t):
        """Every kind that can be listed has a list kind; it needs no words of its own in the schema files."""
        if t.name + 'List' in self.types:
            return
        out = self.types[t.name + 'List'] = Type(t.name + 'List', t.short + 'List')
        out.kind, out.file = True, t.file
        out.doc = 'A list of %s objects.' % t.short
        meta = Field('metadata', 1)
        meta.scalar, meta.type = 'object', self.types['io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta']
        meta.doc = 'Version of the list and how to read on.'
        items = Field('items', 2)
        items.scalar, items.shape, items.type, items.required = 'object', 'list', t, True
        items.doc = 'The objects.'
        head = [x for x in t.fields[:2]]
        out.fields = head + [meta, items]


# ---- output -----------------------------------------------------------------------------------------


class Pool:
    """Strings with a length prefix of two bytes, little endian, each stored once."""

    def __init__(self):
        self.data, self.known = bytearray(), {}
        self.add('')

    def raw(self, blob):
        if blob not in self.known:
            self.known[blob] = len(self.data)
            self.data += blob
        return self.known[blob]

    @staticmethod
    def packed(text):
        b = text.encode()
        if len(b) > 65535:
            raise SystemExit('text too long: ' + text[:60])
        return len(b).to_bytes(2, 'little') + b

    def add(self, text):
        return self.raw(self.packed(text))

    def add_list(self, texts):
        return self.raw(len(texts).to_bytes(2, 'little') + b''.join(self.packed(t) for t in texts))

    def literal(self):
        out, line = [], ''
        for byte in self.data:
            char = chr(byte)
            if char in '"\\':
                line += '\\' + char
            elif 32 <= byte < 127 and char != '?':
                line += char
            else:
                line += '\\%03o' % byte
            if len(line) >= 100:
                out.append('    "%s"' % line)
                line = ''
        return '\n'.join(out + ['    "%s"' % line])


def hash_of(paths):
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.rsplit('/', 1)[-1]):
        digest.update(open(path, 'rb').read())
    return digest.hexdigest()


def write_tables(schema, digest, tables_path, docs_path):
    types = [schema.types[n] for n in sorted(schema.types)]
    index = {t.name: i for i, t in enumerate(types)}
    pool, docs = Pool(), Pool()
    extras, extra_index = [], {}
    field_rows, field_docs, type_rows, type_docs = [], [], [], []

    def extra(x):
        row = tuple(pool.add(s) for s in (x.default, x.enum, x.key, x.map_keys))
        if row not in extra_index:
            extra_index[row] = len(extras)
            extras.append(row)
        return extra_index[row]

    extra(Field('', 0))
    for t in types:
        type_rows.append('{%d, %d, %d, %d}' % (pool.add(t.name), len(field_rows), len(t.fields),
                                               t.atomic | t.open << 1 | t.kind << 2))
        type_docs.append(docs.add(t.doc))
        for x in t.fields:
            field_rows.append('{%d, %d, %d, %d, Scalar::%s, Shape::%s, PatchStrategy::%s, ListType::%s, %d, %d}' % (
                pool.add(x.name), x.number, index[x.type.name] if x.type else NO_TYPE, extra(x), x.scalar, x.shape,
                x.patch, x.items, x.required | x.pointer << 1 | x.atomic << 2, x.outer))
            field_docs.append(docs.add(x.doc))
    column_rows, resource_rows = [], []
    for r in schema.resources:
        resource_rows.append('{%s, %d, %d, %d, Storage::%s, %s}' % (
            ', '.join(str(pool.add(r[k])) for k in ('group', 'version', 'plural', 'singular', 'kind')) + ', ' +
            ', '.join(str(pool.add_list(r[k])) for k in ('short', 'categories', 'verbs', 'subresources',
                                                         'selectable')),
            index[r['type'].name], len(column_rows), len(r['columns']), r['storage'],
            'true' if r['namespaced'] else 'false'))
        for c in r['columns']:
            column_rows.append('{%d, %d, %d, %d, %d}' % (
                pool.add(c['name']), pool.add(c['type']), pool.add(c.get('format', '')), docs.add(c['doc']),
                c.get('priority', 0)))
    packages = sorted({(f.package, f.group, f.version) for f in schema.files})
    package_rows = ['{%s}' % ', '.join(str(pool.add(x)) for x in row) for row in packages]
    head = '// Written by generate.py from src/schema/api; do not edit.\n#include "schema/tables.h"\n\n' \
           'namespace limpet::schema::tables {\n\n'
    with open(tables_path, 'w', encoding='utf-8') as f:
        f.write(head)
        f.write('const char strings[] =\n%s;\n\n' % pool.literal())
        for kind, name, rows in (('Field', 'fields', field_rows), ('Type', 'types', type_rows),
                                 ('Column', 'columns', column_rows), ('Resource', 'resources', resource_rows)):
            f.write('const %s %s[] = {\n    %s};\nconst size_t %s_count = %d;\n\n' %
                    (kind, name, ',\n    '.join(rows), name[:-1], len(rows)))
        f.write('const char hash[] = "%s";\n' % digest.upper())
        f.write('const Package packages[] = {%s};\nconst size_t package_count = %d;\n\n' %
                (', '.join(package_rows), len(package_rows)))
        f.write('const Extra extras[] = {\n    %s};\n\n}  // namespace limpet::schema::tables\n' %
                ',\n    '.join('{%d, %d, %d, %d}' % row for row in extras))
    with open(docs_path, 'w', encoding='utf-8') as f:
        f.write(head)
        f.write('LIMPET_COLD const char docs[] =\n%s;\nLIMPET_COLD const size_t docs_size = sizeof(docs);\n' %
                docs.literal())
        for name, rows in (('type_docs', type_docs), ('field_docs', field_docs)):
            f.write('LIMPET_COLD const uint32_t %s[] = {%s};\n' % (name, ', '.join(map(str, rows))))
        f.write('\n}  // namespace limpet::schema::tables\n')


def main():
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    try:
        schema = Schema([p for p in sys.argv[3:] if p.endswith('.yaml')])
    except (SchemaError, yaml.YAMLError) as e:
        raise SystemExit(str(e)) from None
    write_tables(schema, hash_of(sys.argv[3:]), sys.argv[1], sys.argv[2])


if __name__ == '__main__':
    main()
