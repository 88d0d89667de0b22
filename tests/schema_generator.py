#!/usr/bin/env python3
"""Mistakes in schema files are refused, with the file and line where they stand."""
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

HEAD = '''package: io.k8s.apimachinery.pkg.apis.meta.v1
group: meta.k8s.io
version: v1
types:
  ListMeta: {doc: D., fields: {}}
  Item: {doc: D., fields: {name: {n: 1, is: string, doc: D.}}}
'''
FIELD = HEAD + '  T:\n    doc: D.\n    fields:\n      a: {n: 1, is: string, doc: D.}\n      b: '
RESOURCE = HEAD + '  T: {doc: D., kind: true, fields: {}}\nresources:\n  ts: '

CASES = [
    (HEAD, None),
    (FIELD + '{n: 2, list: Item, patch: merge, key: name, items: map, keys: [name], doc: D.}', None),
    (FIELD + '{n: 2, is: Nope, doc: D.}', 'x.yaml:11: unknown type "Nope"'),
    (FIELD + '{n: 1, is: string, doc: D.}', 'type T uses number 1 twice (b)'),
    (FIELD + '{n: 2, is: string}', 'lacks "doc"'),
    (FIELD + '{n: 2, is: string, doc: ""}', 'x.yaml:11: field T.b has no documentation'),
    (FIELD + '{n: 2, is: string, docs: D., doc: D.}', 'x.yaml:11: unknown key "docs" in field T.b'),
    (FIELD + '{n: 2, doc: D.}', 'needs exactly one of is, optional, list, map'),
    (FIELD + '{n: 2, is: string, list: string, doc: D.}', 'needs exactly one of is, optional, list, map'),
    (FIELD + '{n: 0, is: string, doc: D.}', 'x.yaml:11: field T.b: a number from 1 to 65535'),
    (FIELD + '{n: x, is: string, doc: D.}', 'x.yaml:11: field T.b: "n" must be int'),
    (FIELD + '{n: 2, is: int32, default: x, doc: D.}', 'x.yaml:11: field T.b: bad default "x"'),
    (FIELD + '{n: 2, is: int32, default: 2147483648, doc: D.}', 'bad default 2147483648'),
    (FIELD + '{n: 2, is: string, enum: [a], default: b, doc: D.}', 'bad default "b"'),
    (FIELD + '{n: 2, list: string, default: [], doc: D.}', 'bad default []'),
    (FIELD + '{n: 2, is: int32, enum: [a], doc: D.}', 'enum is for strings'),
    (FIELD + '{n: 2, list: string, patch: mix, doc: D.}', 'patch is one of'),
    (FIELD + '{n: 2, is: string, items: set, doc: D.}', 'items is for lists'),
    (FIELD + '{n: 2, list: Item, items: map, doc: D.}', 'items: map and keys go together'),
    (FIELD + '{n: 2, list: Item, items: map, keys: [id], doc: D.}', 'Item has no field "id"'),
    (FIELD + '{n: 2, is: string, doc: D.}\n      b: {n: 3, is: string, doc: D.}', 'x.yaml:12: repeated key "b"'),
    (HEAD + '  Item: {doc: D., fields: {}}\n', 'repeated key "Item"'),
    (HEAD + 'kinds: {}\n', 'unknown key "kinds" in the file'),
    (HEAD + '  T: {doc: D., fields: [}\n', 'x.yaml'),
    (RESOURCE + '{kind: T, namespaced: true, storage: none, verbs: [create, list]}', None),
    (RESOURCE + '{kind: Item, namespaced: true, storage: none, verbs: []}', 'no type "Item" with kind: true'),
    (RESOURCE + '{kind: T, namespaced: true, storage: disk, verbs: []}', 'storage is one of'),
    (RESOURCE + '{kind: T, namespaced: true, storage: none, verbs: [make]}', 'unknown verb "make"'),
    (RESOURCE + '{kind: T, namespaced: yes, storage: none, verbs: [], subresources: [status]}', 'bad subresource "status"'),
    (RESOURCE + '{kind: T, namespaced: true, storage: none, verbs: [], selectable: [spec.x]}', 'is no field of the kind'),
]


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, 'x.yaml')
        outputs = [os.path.join(scratch, name) for name in ('a.cc', 'b.cc')]
        for text, want in CASES:
            with open(path, 'w', encoding='utf-8') as f:
                f.write(text)
            run = subprocess.run([sys.executable, os.path.join(ROOT, 'src/schema/generate.py'), *outputs, path],
                                 capture_output=True, text=True, check=False)
            good = run.returncode == 0 if want is None else run.returncode == 1 and want in run.stderr
            if not good or 'Traceback' in run.stderr:
                failed += 1
                print('--- wanted %s, got %r for\n%s' % (want or 'success', run.stderr, text))
    print('%d cases, %d failed' % (len(CASES), failed))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
