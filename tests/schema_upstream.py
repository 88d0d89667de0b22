#!/usr/bin/env python3
"""Compares the schema files with what upstream publishes; prints every difference and fails if there is one.

    tests/schema_upstream.py CACHE_DIR

Names, numbers and types of the fields of every declared type come from the generated.proto files of k8s.io/api and
k8s.io/apimachinery; required fields, patch strategies, list and map types from the OpenAPI document of k8s.io/kubernetes.
The modules are read from Go's module cache, from CACHE_DIR, or from the Go module proxy (GOPROXY); exits with 77 when
none of these has them.
"""
import glob
import io
import json
import os
import re
import subprocess
import sys
import urllib.request
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, 'src/schema'))
sys.dont_write_bytecode = True
import generate  # noqa: E402

API, MACHINERY, KUBERNETES = ('k8s.io/api', 'v0.35.0'), ('k8s.io/apimachinery', 'v0.35.0'), ('k8s.io/kubernetes', 'v1.35.0')
RENAMED = {'uID': 'uid'}  # fields that protobuf and JSON spell differently
# Types that upstream never writes as protobuf.
JSON_ONLY = {'Table', 'TableColumnDefinition', 'TableRow', 'TableRowCondition'}
SPECIAL = {
    'Quantity': 'quantity', 'IntOrString': 'int_or_string', 'Time': 'time', 'MicroTime': 'micro_time',
    'RawExtension': 'raw', 'FieldsV1': 'fields_v1', 'Verbs': 'strings', 'ExtraValue': 'strings',
    'string': 'string', 'bool': 'boolean', 'int32': 'int32', 'int64': 'int64', 'double': 'float64', 'bytes': 'bytes',
}


def module(name, version, cache):
    """The module as an open zip file."""
    file = '%s/@v/%s.zip' % (name, version)
    gopath = os.environ.get('GOPATH', os.path.expanduser('~/go'))
    mod = os.environ.get('GOMODCACHE', os.path.join(gopath, 'pkg/mod'))
    kept = os.path.join(cache, file.replace('/', '_'))
    for path in (os.path.join(mod, 'cache/download', file), kept):
        if os.path.exists(path):
            return zipfile.ZipFile(path)
    # The machine's own setting; without Go there is none, and the caller says so.
    proxies = subprocess.run(['go', 'env', 'GOPROXY'], capture_output=True, text=True, check=False).stdout
    proxy = re.split(r'[,|]', proxies.strip())[0]
    if not proxy.startswith('http'):
        raise OSError('GOPROXY is ' + proxy)
    with urllib.request.urlopen('%s/%s' % (proxy.rstrip('/'), file), timeout=60) as answer:
        data = answer.read()
    os.makedirs(cache, exist_ok=True)
    with open(kept, 'wb') as f:
        f.write(data)
    return zipfile.ZipFile(io.BytesIO(data))


def proto_messages(text):
    """{message: {field name: (number, shape, type)}} of a generated.proto file."""
    out = {}
    for name, body in re.findall(r'^message (\w+) \{\n(.*?)^\}', text, re.M | re.S):
        fields = out[name] = {}
        for line in body.split('\n'):
            m = re.match(r'\s*(optional|repeated|map<string, ([\w.]+)>) ?(?:\.?([\w.]+) )?(\w+) = (\d+);', line)
            if m:
                shape = {'optional': 'single', 'repeated': 'list'}.get(m[1], 'map')
                fields[RENAMED.get(m[4], m[4])] = (int(m[5]), shape, (m[2] or m[3]).split('.')[-1])
    return out


def proto_of(package, zips):
    """The path of the proto file that belongs to a package of the schema."""
    if package.startswith('io.k8s.api.'):
        group, version = package[len('io.k8s.api.'):].split('.')
        return zips[API].read('%s@%s/%s/%s/generated.proto' % (*API, group, version)).decode()
    path = package[len('io.k8s.apimachinery.'):].replace('.', '/')
    return zips[MACHINERY].read('%s@%s/%s/generated.proto' % (*MACHINERY, path)).decode()


def compare_numbers(t, messages):
    theirs = messages.get(t.short)
    if theirs is None:
        return [] if t.short in JSON_ONLY else ['%s: upstream has no such message' % t.name]
    theirs = dict(theirs)
    out = []
    for entry, number in t.entries:
        if isinstance(entry, generate.Field):
            continue
        found = [n for n, (k, shape, kind) in theirs.items() if k == number and kind in (entry.short, entry.short[9:])]
        for n in found:
            del theirs[n]
        if len(found) != 1:
            out.append('%s: upstream inlines no %s as number %s' % (t.name, entry.short, number))
    for x in t.fields:
        if x.outer or (t.kind and x.name in ('apiVersion', 'kind') and x.number == 0):
            continue
        ours = (x.number, x.shape, x.type.short if x.type else x.scalar)
        given = theirs.pop(x.name, None)
        if given is None:
            out.append('%s.%s: upstream has no such field' % (t.name, x.name))
        elif ours != (given[0], given[1], given[2] if x.type else SPECIAL.get(given[2], given[2])):
            out.append('%s.%s: %s here, %s upstream' % (t.name, x.name, ours, given))
    return out + ['%s.%s: missing here' % (t.name, name) for name in theirs]


def compare_attributes(t, definition):
    if definition is None:
        return []
    out = []

    def check(what, ours, theirs):
        if ours != theirs:
            out.append('%s: %s is %r here, %r upstream' % (t.name, what, ours, theirs))

    check('required', {x.name for x in t.fields if x.required}, set(definition.get('required', [])))
    check('map type', 'atomic' if t.atomic else None, definition.get('x-kubernetes-map-type'))
    properties = definition.get('properties', {})
    check('fields', {x.name for x in t.fields}, set(properties))
    strategies = {v: k for k, v in generate.PATCH.items()}
    for x in t.fields:
        p = properties.get(x.name, {})
        check(x.name + ' patch strategy', strategies.get(x.patch), p.get('x-kubernetes-patch-strategy'))
        check(x.name + ' merge key', x.key or None, p.get('x-kubernetes-patch-merge-key'))
        check(x.name + ' list type', x.items if x.items != 'none' else None, p.get('x-kubernetes-list-type'))
        check(x.name + ' list keys', x.map_keys, ','.join(p.get('x-kubernetes-list-map-keys', [])))
        check(x.name + ' map type', 'atomic' if x.atomic else None, p.get('x-kubernetes-map-type'))
    return out


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    try:
        zips = {m: module(*m, sys.argv[1]) for m in (API, MACHINERY, KUBERNETES)}
    except (OSError, zipfile.BadZipFile) as e:
        print('skipped: upstream modules are not to be had: %s' % e)
        sys.exit(77)
    schema = generate.Schema(glob.glob(os.path.join(ROOT, 'src/schema/api/*.yaml')))
    spec = '%s@%s/api/openapi-spec/swagger.json' % KUBERNETES
    definitions = json.loads(zips[KUBERNETES].read(spec))['definitions']
    messages, differences, compared = {}, [], 0
    for t in schema.types.values():
        package = t.name.rsplit('.', 1)[0]
        if package not in messages:
            messages[package] = proto_messages(proto_of(package, zips))
        differences += compare_numbers(t, messages[package])
        differences += compare_attributes(t, definitions.get(t.name))
        compared += len(t.fields)
    for line in differences:
        print(line)
    print('%d types, %d fields compared with %s %s: %d differences' %
          (len(schema.types), compared, *KUBERNETES, len(differences)))
    sys.exit(1 if differences or compared < 900 else 0)


if __name__ == '__main__':
    main()
