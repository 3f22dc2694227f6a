#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
#
# The rules of the house that a compiler does not know, held against the whole tree. Prints every
# offence as FILE:LINE: TEXT and exits 1 when there is one. Run by CTest from the repository's root.
#
#   scripts/tidy.py              check
#   scripts/tidy.py --format     also: is everything as clang-format leaves it
#   scripts/tidy.py --self-test  plant every offence in a scratch tree and see each one found
"""Checks that the tree keeps its own rules (docs/hacking.md)."""

import os
import re
import subprocess
import sys
import tempfile

FUNCTION_LINES = 70
HEADER_LINES = 300
SOURCE_LINES = 1000
SOURCE_LINES_AIM = 600
LINE_COLUMNS = 100
README_LINES = 150

SKIPPED_FOLDERS = {"build", "demo-output", ".git", ".cache", ".vscode", "corpus"}
BASE = ("common/base/",)
# For pure folders: base without what touches the world.
PURE_BASE = tuple(
    "common/base/" + name
    for name in ("bytes.h", "check.h", "clock.h", "error.h", "ids.h", "keyed_list.h",
                 "little_endian.h", "rng.h", "sparse_text.h", "sum.h", "sum_members.h")
)
COMMON = ("common/",)

# Who may include whom: folder -> prefixes (or files) it may include besides its own.
LAYERS = {
    "common/base": (),
    "common/model": BASE,
    "common/wire": BASE + ("common/model/",),
    "common/json": BASE + ("common/model/", "common/wire/message.h"),
    "common/net": BASE + ("common/model/", "common/wire/"),
    "master/core": PURE_BASE + ("common/model/",),
    "master/ha": PURE_BASE + ("common/model/", "common/wire/message.h", "common/wire/version.h",
                               "master/core/"),
    "master/store": BASE + ("common/model/", "common/wire/", "master/core/"),
    "master/api": COMMON + ("master/core/", "master/ha/", "master/store/"),
    "master/web": COMMON + ("master/core/",),
    "master": COMMON + ("master/",),
    "worker/core": PURE_BASE + ("common/model/", "common/wire/"),
    "worker/exec": BASE + ("common/model/", "common/wire/", "worker/core/"),
    "worker": COMMON + ("worker/",),
    "cli": COMMON,
}

# Folders of pure code: no clock, no randomness, no I/O, no threads, no unordered iteration.
PURE = ("master/core", "master/ha", "worker/core", "common/wire", "common/model")
IMPURE = re.compile(
    r"\b(?:steady_clock|system_clock|high_resolution_clock|SystemClock|clock_gettime|gettimeofday"
    r"|random_device|mt19937\w*|getrandom|unordered_(?:multi)?(?:map|set)|getenv|secure_getenv"
    r"|this_thread|zmq\w*|sqlite3\w*|spdlog)\b"
    r"|\bUuid::random\b|\bstd::thread\b|\bstd::mutex\b|\b(?:s?rand|time)\s*\(|\blog::\w+\s*\("
)
IMPURE_HEADERS = {
    "iostream", "fstream", "thread", "mutex", "shared_mutex", "condition_variable", "future",
    "random", "unordered_map", "unordered_set", "ctime", "time.h", "unistd.h", "fcntl.h",
    "filesystem", "cstdio", "stdio.h", "pthread.h",
}

# Each third-party header is seen by one folder. Tests may look where their subject looks.
THIRD_PARTY = [
    (re.compile(r"^zmq"), re.compile(r"^common/net/|^tests/(integration|unit/common/net)/")),
    (re.compile(r"^sqlite3"),
     re.compile(r"^master/store/|^tests/(integration/|unit/master/|support/fault_vfs)")),
    (re.compile(r"^tsl/"), re.compile(r"^common/base/")),
    (re.compile(r"^msgpack"), re.compile(r"^common/wire/|^tests/unit/common/wire/")),
    (re.compile(r"^nlohmann/"), re.compile(r"^common/json/|^tests/")),
    (re.compile(r"^spdlog/"), re.compile(r"^common/base/log\.cc$")),
    (re.compile(r"^sodium"), re.compile(r"^common/(base|net)/")),
    (re.compile(r"^httplib"), re.compile(r"^master/web/")),
    (re.compile(r"^boost/"), re.compile(r"^common/base/config|^cli/|/main\.cc$")),
    (re.compile(r"^doctest/"), re.compile(r"^tests/")),
    (re.compile(r"^gtest|^gmock|^catch2|^absl|^folly|^Qt"), re.compile(r"^$")),
]

SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|sleep)\s*\(")
SHARED = re.compile(r"\b(?:std::)?(?:shared_ptr\s*<|make_shared\s*<)\s*([^<>()]*)")
# The job's immutable template, the status that the web thread reads, and what spdlog hands out.
SHARED_ALLOWED = re.compile(r"^(?:const )?(?:JobSpec|(?:\w+::)*StatusSnapshot|spdlog::.*)$")
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
VAGUE_NAME = re.compile(r"\b(?:class|struct)\s+(\w*(?:Manager|Helper|Util|Utils))\b")
SPDX = "SPDX-License-Identifier: MIT"


class Tree:
    """The files under a root, and the offences found in them."""

    def __init__(self, root):
        self.root = root
        self.offences = []
        self.warnings = []

    def files(self):
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(
                f for f in folders
                if f not in SKIPPED_FOLDERS and (not f.startswith(".") or f == ".ci"))
            for name in sorted(names):
                yield os.path.relpath(os.path.join(folder, name), self.root)

    def report(self, path, line, text):
        self.offences.append(f"{path}:{line}: {text}")

    def warn(self, path, line, text):
        self.warnings.append(f"{path}:{line}: warning: {text}")


def strip_code(text):
    """The code without comments, with every string and character literal emptied; lines stay."""
    pattern = re.compile(
        r'//[^\n]*'
        r'|/\*.*?\*/'
        r'|R"([^()\\ ]{0,16})\(.*?\)\1"'
        r'|"(?:\\.|[^"\\\n])*"'
        r"|(?<![0-9A-Fa-f])'(?:\\.|[^'\\\n])+'",
        re.DOTALL)

    def blank(match):
        found = match.group(0)
        kept = '""' if found[0] in 'R"' else ("' '" if found[0] == "'" else "")
        return kept + "\n" * found.count("\n")

    return pattern.sub(blank, text)


def without_preprocessor(code):
    """Directives (continued lines too) blanked out, so that braces in macros do not count."""
    lines, inside = [], False
    for line in code.split("\n"):
        directive = inside or line.lstrip().startswith("#")
        inside = directive and line.rstrip().endswith("\\")
        lines.append("" if directive else line)
    return "\n".join(lines)


def without_templates(head):
    """`head` without leading `template <...>` clauses, whatever nests in them."""
    head = head.strip()
    while re.match(r"template\s*<", head):
        depth, at = 0, head.index("<")
        for at in range(at, len(head)):
            depth += {"<": 1, ">": -1}.get(head[at], 0)
            if depth == 0:
                break
        head = head[at + 1:].strip()
    return head


def brace_kind(head):
    """What a brace opens, from the text before it: scope, function, or value."""
    head = without_templates(re.sub(r"\s+", " ", head).strip())
    head = re.sub(r"^(?:public|private|protected) ?: ?", "", head)
    head = re.sub(r"\[\[[^\]]*\]\]", "", head).strip()
    if re.match(r"(?:inline |static |constexpr |typedef |export )*"
                r"(?:namespace|class|struct|union|enum)\b", head) and "(" not in head:
        return "scope"
    if re.match(r'extern ""$|TEST_SUITE\(', head):
        return "scope"
    if re.search(r"(?:=|return|,|\()$", head):
        return "value"
    if re.search(r"\) ?(?:noexcept ?)?:(?!:).*\w$", head):
        return "value"  # A member in a constructor's list: `C::C() : a_{1}`.
    return "function" if ")" in head else "value"


def functions(code):
    """(first line, lines) of every function at namespace or class scope."""
    stack, parens, line, head, head_line = [], 0, 1, "", None
    for char in code:
        at_scope = all(kind == "scope" for kind, _ in stack)
        if char == "\n":
            line += 1
        if char in "()":
            parens += 1 if char == "(" else -1
        if char == "{":
            kind = brace_kind(head) if at_scope and parens == 0 else "value"
            stack.append((kind, (head_line or line)))
            if kind != "value":
                head, head_line, parens = "", None, 0
                continue
        elif char == "}" and stack:
            kind, first = stack.pop()
            if kind == "function":
                yield first, line - first + 1
            if kind != "value":
                head, head_line, parens = "", None, 0
                continue
        if not at_scope:
            continue
        if char == ";" and parens == 0:
            head, head_line = "", None
            continue
        head += char
        if head_line is None and not char.isspace():
            head_line = line


def layer_of(path):
    """The folder of LAYERS that a file belongs to: the longest that fits."""
    folder = os.path.dirname(path)
    while folder:
        if folder in LAYERS:
            return folder
        folder = os.path.dirname(folder)
    return None


def check_includes(tree, path, text):
    layer = layer_of(path)
    for number, line in enumerate(text.split("\n"), 1):
        quoted = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        angled = re.match(r"\s*#\s*include\s+<([^>]+)>", line)
        if quoted:
            check_own_include(tree, path, number, quoted.group(1), layer)
        if angled:
            check_third_party(tree, path, number, angled.group(1))


def check_own_include(tree, path, number, header, layer):
    if header.startswith(".") or not os.path.exists(os.path.join(tree.root, header)):
        tree.report(path, number, f'"{header}" is not a file from the repository\'s root')
        return
    if layer is None:
        return
    if header.startswith("tests/"):
        tree.report(path, number, f'the product includes "{header}"')
    elif not header.startswith((layer + "/",) + LAYERS[layer]):
        tree.report(path, number, f'{layer} must not include "{header}" (docs/hacking.md, layers)')


def check_third_party(tree, path, number, header):
    for pattern, allowed in THIRD_PARTY:
        if pattern.match(header) and not allowed.search(path):
            tree.report(path, number, f"<{header}> is seen outside the folder that owns it")
    if path.startswith(tuple(p + "/" for p in PURE)) and header in IMPURE_HEADERS:
        tree.report(path, number, f"<{header}> in a pure folder")


def check_code(tree, path, text):
    code = strip_code(text)
    pure = path.startswith(tuple(p + "/" for p in PURE))
    product = not path.startswith("tests/")
    for number, line in enumerate(code.split("\n"), 1):
        if SLEEP.search(line):
            tree.report(path, number, "a sleep: wait for the event")
        impure = IMPURE.search(line) if pure and not line.lstrip().startswith("#") else None
        if impure:
            tree.report(path, number, f"'{impure.group(0)}' in a pure folder")
        for shared in SHARED.finditer(line) if product else ():
            if not SHARED_ALLOWED.match(shared.group(1).strip()):
                tree.report(path, number, "shared_ptr: only of a const JobSpec, StatusSnapshot")
        vague = VAGUE_NAME.search(line)
        if vague:
            tree.report(path, number, f"'{vague.group(1)}' says nothing: take a glossary noun")
        if product and not path.startswith("worker/exec/") and re.search(r"\bvfork\s*\(", line):
            tree.report(path, number, "vfork outside worker/exec")
    for first, count in functions(without_preprocessor(code)):
        if count > FUNCTION_LINES:
            tree.report(path, first, f"a function of {count} lines ({FUNCTION_LINES} at most)")


def check_cpp(tree, path, text):
    lines = text.split("\n")
    count = len(lines) - (lines[-1] == "")
    if not lines[0] == "// " + SPDX:
        tree.report(path, 1, f"the first line must be '// {SPDX}'")
    if path.endswith(".h"):
        if "#pragma once" not in lines:
            tree.report(path, 1, "a header without #pragma once")
        if count > HEADER_LINES:
            tree.report(path, count, f"a header of {count} lines ({HEADER_LINES} at most)")
    elif count > SOURCE_LINES:
        tree.report(path, count, f"a source of {count} lines ({SOURCE_LINES} at most)")
    elif count > SOURCE_LINES_AIM:
        tree.warn(path, count, f"a source of {count} lines ({SOURCE_LINES_AIM} aimed at)")
    if re.search(r"(?i)(?:^|_)(?:manager|helper|helpers|util|utils)\.(?:h|cc)$", path):
        tree.report(path, 1, "a file's name must say what is in it")
    check_includes(tree, path, text)
    check_code(tree, path, text)


def is_script(path, text):
    return path.endswith((".py", ".sh")) or text.startswith("#!")


def check_file(tree, path):
    try:
        with open(os.path.join(tree.root, path), encoding="utf-8", newline="") as file:
            text = file.read()
    except UnicodeDecodeError:
        return  # A picture, or a test's bytes.
    cpp = path.endswith((".h", ".cc"))
    script = is_script(path, text)
    cmake = path.endswith("CMakeLists.txt")
    if cpp:
        check_cpp(tree, path, text)
    elif (script or cmake) and not any(SPDX in line for line in text.split("\n")[:3]):
        tree.report(path, 1, f"'# {SPDX}' is missing at the top")
    for number, line in enumerate(text.split("\n"), 1):
        if (cpp or script) and len(line) > LINE_COLUMNS:
            tree.report(path, number, f"{len(line)} columns ({LINE_COLUMNS} at most)")
        if UNFINISHED.search(line):
            tree.report(path, number, "unfinished: finish it, or open an issue")
        if (cpp or script or cmake) and (line.endswith((" ", "\t", "\r"))):
            tree.report(path, number, "white space at the end of the line")
    if path == "README.md" and text.count("\n") > README_LINES:
        tree.report(path, README_LINES + 1, f"README of more than {README_LINES} lines")


def check_tree(root):
    tree = Tree(root)
    for path in tree.files():
        check_file(tree, path)
    return tree


def check_format(root):
    """What clang-format would change, as it says it."""
    paths = [p for p in Tree(root).files() if p.endswith((".h", ".cc"))]
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=root, check=False)
    return run.returncode == 0


# --- The self-test: what each check must find, and what none may mistake for an offence -----------

def long_function(name, lines):
    return f"void {name}() {{\n" + "  f();\n" * (lines - 2) + "}\n"


HEAD = "// " + SPDX + "\n"
LONG = long_function("f", 71)
CLEAN = {
    "common/base/a.h": HEAD + "#pragma once\nnamespace capstan {\nstruct A { int x = 0; };\n}\n",
    "master/core/b.cc": HEAD + '#include "common/base/clock.h"\n#include <map>\n'
                        "// sleep() in a comment, and a brace {\n"
                        'const char* s = "usleep(1) { // ";\n' + long_function("fits", 70),
    "common/base/clock.h": HEAD + "#pragma once\n",
    "common/base/log.h": HEAD + "#pragma once\n",
    "cli/main.cc": HEAD + "#include <boost/program_options.hpp>\n#define X(a) \\\n  { (a);\n"
                   "struct T : U {\n  T() : a_{1}, b_(2) {\n    f();\n  }\n  int a_, b_;\n};\n"
                   + long_function("g", 40) + long_function("h", 40),
    "master/core/spec.h": HEAD + "#pragma once\nstd::shared_ptr<const JobSpec> spec;\n",
    "tests/unit/a_test.cc": HEAD + "#include <doctest/doctest.h>\n"
                            "std::shared_ptr<int> fine_in_tests;\n"
                            'TEST_SUITE("a") {\n' + long_function("a", 40)
                            + long_function("b", 40) + "}\n",
    "README.md": "# x\n" * 150,
    "tool.sh": "#!/bin/sh\n# " + SPDX + "\n",
}
PLANTED = [
    ("common/base/x.cc", "int a;\n", "first line"),
    ("common/base/x.h", HEAD + "int a;\n", "pragma once"),
    ("common/base/x.h", HEAD + "#pragma once\n" + "int a;\n" * 299, "a header of"),
    ("common/base/x.cc", HEAD + "int a;\n" * 1000, "a source of"),
    ("common/base/x.cc", HEAD + LONG, "a function of 71"),
    ("common/base/x.cc", HEAD + "namespace n {\nclass C {\n" + LONG + "};\n}\n", "of 71"),
    ("common/base/x.cc", HEAD + "template <class T>\n" + LONG, "function of 72"),
    ("common/base/x.cc", HEAD + "C::C() : a_{1} {\n" + "  f();\n" * 70 + "}\n", "function of 72"),
    ("common/base/x.cc", HEAD + "// " + "x" * 98 + "\n", "columns"),
    ("common/base/x.cc", HEAD + "// TO" + "DO: later\n", "unfinished"),
    ("common/base/x.cc", HEAD + "int a; \n", "white space"),
    ("common/base/x.cc", HEAD + "void f() { std::this_thread::sleep_for(1s); }\n", "a sleep"),
    ("cli/x.cc", HEAD + "void f() { sleep (1); }\n", "a sleep"),
    ("common/base/x.cc", HEAD + '#include "a.h"\n', "repository's root"),
    ("common/base/x.cc", HEAD + '#include "../base/a.h"\n', "repository's root"),
    ("common/base/x.cc", HEAD + '#include "master/core/spec.h"\n', "must not include"),
    ("cli/x.cc", HEAD + '#include "master/core/spec.h"\n', "must not include"),
    ("master/core/x.cc", HEAD + '#include "common/base/log.h"\n', "must not include"),
    ("worker/x.cc", HEAD + '#include "master/core/spec.h"\n', "must not include"),
    ("master/x.cc", HEAD + '#include "tests/unit/a_test.cc"\n', "the product includes"),
    ("master/core/x.cc", HEAD + "#include <zmq.h>\n", "outside the folder"),
    ("master/x.cc", HEAD + "#include <sqlite3.h>\n", "outside the folder"),
    ("cli/x.cc", HEAD + "#include <nlohmann/json.hpp>\n", "outside the folder"),
    ("master/core/x.cc", HEAD + "#include <thread>\n", "in a pure folder"),
    ("master/core/x.cc", HEAD + "std::unordered_map<int, int> m;\n", "in a pure folder"),
    ("common/model/x.cc", HEAD + "auto t = steady_clock::now();\n", "in a pure folder"),
    ("worker/core/x.cc", HEAD + 'auto p = getenv("HOME");\n', "in a pure folder"),
    ("common/model/x.cc", HEAD + "auto u = Uuid::random();\n", "in a pure folder"),
    ("cli/x.cc", HEAD + "std::shared_ptr<Thing> p;\n", "shared_ptr"),
    ("master/x.cc", HEAD + "auto p = std::make_shared<Job>();\n", "shared_ptr"),
    ("cli/x.cc", HEAD + "class JobManager {};\n", "says nothing"),
    ("cli/string_util.h", HEAD + "#pragma once\n", "file's name"),
    ("cli/x.cc", HEAD + "int p = vfork();\n", "vfork"),
    ("x.sh", "#!/bin/sh\n", "missing at the top"),
    ("README.md", "# x\n" * 151, "README"),
]


def write_tree(root, files):
    for path, text in files.items():
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)


def self_test():
    failures = []
    with tempfile.TemporaryDirectory() as root:
        write_tree(root, CLEAN)
        failures += [f"a clean tree: {text}" for text in check_tree(root).offences]
    for path, text, expected in PLANTED:
        with tempfile.TemporaryDirectory() as root:
            write_tree(root, CLEAN)
            write_tree(root, {path: text})
            found = check_tree(root).offences
            if not any(expected in offence and offence.startswith(path) for offence in found):
                failures.append(f"{path}: '{expected}' was not found in {found}")
            if any(not offence.startswith(path) for offence in found):
                failures.append(f"{path}: others were blamed: {found}")
    for failure in failures:
        print("self-test:", failure)
    print(f"self-test: {len(PLANTED)} planted offences, {len(failures)} failures")
    return not failures


def main(arguments):
    if arguments == ["--self-test"]:
        return 0 if self_test() else 1
    if arguments not in ([], ["--format"]):
        print(__doc__, "\nusage: scripts/tidy.py [--format | --self-test]", file=sys.stderr)
        return 2
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    tree = check_tree(root)
    for line in tree.warnings + tree.offences:
        print(line)
    formatted = check_format(root) if arguments else True
    print(f"tidy: {len(tree.offences)} offences, {len(tree.warnings)} warnings")
    return 1 if tree.offences or not formatted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
