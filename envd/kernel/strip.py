# SPDX-License-Identifier: Apache-2.0
"""Write a Python program without its comments, docstrings and layout, for envd to carry less.

Python's own parser reads it and writes it again; what is written must be the same program.
"""
import ast
import sys


def without_docstrings(tree):
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) \
                and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [] if len(node.body) > 1 else [ast.Pass()]
    return tree


with open(sys.argv[1], encoding="utf-8") as file:
    stripped = without_docstrings(ast.parse(file.read()))
text = ast.unparse(stripped)
if ast.dump(ast.parse(text)) != ast.dump(stripped):
    sys.exit(f"{sys.argv[1]}: another program when it is written again")
print(text)
