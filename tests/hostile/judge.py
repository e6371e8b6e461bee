#!/usr/bin/env python3
"""Runs a scanner over the corpus of corpus.py and judges every case.

usage: judge.py CORPUS 'ullage scan {path} --json {out}' [options]

Placeholders in the command: {path} the checkpoint, {out} a JSON report, {html} an HTML report
(each optional but {path}).  The command is split once with shlex and run without a shell.

A case passes when
  * it ends inside --timeout seconds and peak RSS of the process tree stays under --rss-mb
    (ru_maxrss of the reaped child, and a sampled sum over the tree; address space is not limited);
  * 'ok'    : exit status 0;
    'error' : exit status 1..125, and a stderr message: non-empty, at most 5 lines and 2000 characters;
    'any'   : either of the two;
    (cases flagged 'nonroot' count as 'any' under uid 0)
  * 'want', if given, is found in stdout + stderr + reports;
  * never: death by signal, status >= 126, sanitizer / abort / traceback text, a marker file, a change
    inside the checkpoint directory, raw control characters (ESC, C1, BEL, ...) on stdout, stderr or in
    reports, the unescaped injection token in stdout, stderr or HTML, a leaked line of /etc/passwd or
    of the environment, a JSON report that does not parse.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    import psutil
except ImportError:
    psutil = None

CRASH = re.compile(
    r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|terminate called|Assertion .*failed|"
    r"assertion failed|core dumped|Segmentation fault|Traceback \(most recent|std::bad_alloc|std::length_error|"
    r"vector::_M_|basic_string::|panicked at|stack smashing|double free|corrupted size|thread '.*' panicked",
    re.IGNORECASE,
)
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
INJECTED = re.compile(
    r"<script>\s*ullage_xss|<img src=x onerror=ullage_xss|href=[\"']?javascript:ullage_xss|\son\w+=[\"']ullage_xss",
    re.IGNORECASE,
)
SECRET = "ullage-secret-3b1f9c"
LEAKED = re.compile(r"root:[^:\n]*:0:0:|" + SECRET)
# Where a payload of the corpus would leave its mark outside of the run's own folder.
MARKS = [Path("/tmp/ullage_pwn"), Path("/tmp/ullage_pwn2")]
OUTPUT_LIMIT = 256 << 20
READ_LIMIT = 64 << 20


def tree_rss(pid):
    """Resident bytes of a process and those below it; 0 without psutil."""
    if psutil is None:
        return 0
    try:
        process = psutil.Process(pid)
        return sum(each.memory_info().rss for each in [process, *process.children(recursive=True)])
    except psutil.Error:
        return 0


def snapshot(path):
    """Size, time, mode and inode of everything below a folder, or beside a file."""
    found = {}
    for base, folders, files in os.walk(path if path.is_dir() else path.parent):
        for name in folders + files:
            each = os.path.join(base, name)
            try:
                status = os.lstat(each)
            except OSError:
                continue
            found[each] = (status.st_size, status.st_mtime_ns, status.st_mode, status.st_ino)
        if len(found) > 20000:
            break
    return found


def read(path):
    try:
        with open(path, "rb") as file:
            return file.read(READ_LIMIT).decode("utf-8", "replace")
    except OSError:
        return ""


def environment(scratch):
    """Little, so that what a report leaks of it is known."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "OMP_NUM_THREADS") if name in os.environ}
    return kept | {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LC_ALL": "C.UTF-8",
        "ULLAGE_SECRET": SECRET,
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "abort_on_error=1"),
        "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
    }


def kill_group(pid):
    """Ends the session that this runner started, as far as it is still there."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        return False
    return True


def watch(pid, outputs, options):
    """Waits for the process and ends it at a limit: (exit status, peak of resident bytes, the limit or None)."""
    start = time.monotonic()
    peak, next_look, limit = 0, 0.0, None
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        if now >= next_look:
            next_look = now + 0.02
            peak = max(peak, tree_rss(pid))
            if now - start > options.timeout:
                limit = f"no end within {options.timeout:g} s"
            elif peak > options.rss_mb << 20:
                limit = f"RSS over {options.rss_mb} MiB"
            elif sum(os.path.getsize(path) for path in outputs) > OUTPUT_LIMIT:
                limit = "more than 256 MiB of output"
            if limit:
                kill_group(pid)
                _, status, usage = os.wait4(pid, 0)
                break
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(status), max(peak, usage.ru_maxrss * 1024), limit


def ending_failures(row, code, limit, errors):
    """What is wrong with how the process ended and what it said of that."""
    if limit:
        return [limit]
    if code < 0:
        return [f"killed by signal {-code} ({signal.Signals(-code).name})"]
    if code >= 126:
        return [f"exit status {code}" + (" (command not runnable?)" if code in (126, 127) else " (crash or abort)")]
    failures = []
    expected = "any" if "nonroot" in row["flags"] and os.geteuid() == 0 else row["expected"]
    if expected == "ok" and code != 0:
        failures.append(f"expected ok, got status {code}: {errors[:160]!r}")
    if expected == "error" and code == 0:
        failures.append("expected an error, got status 0")
    if code != 0:
        lines = len(errors.splitlines())
        if not errors:
            failures.append("error without a message on stderr")
        elif len(errors) > 2000 or lines > 5:
            failures.append(f"stderr too long: {len(errors)} characters, {lines} lines")
    return failures


def text_failures(texts):
    """What no output may hold, whatever the case."""
    failures = []
    if crash := CRASH.search(texts["stdout"] + texts["stderr"]):
        failures.append(f"crash text: {crash[0]!r}")
    for name, text in texts.items():
        if control := CONTROL.search(text):
            failures.append(f"raw control character U+{ord(control[0]):04X} in {name}")
        if LEAKED.search(text):
            failures.append(f"{name} leaks file or environment content")
        if name != "json" and INJECTED.search(text):
            failures.append(f"unescaped injection token in {name}")
        if name in ("stdout", "stderr") and re.search(r"^OK: all checks passed", text, re.MULTILINE):
            failures.append(f"forged line in {name} (newline in a name)")
    return failures


def run_one(row, root, command, options):
    path = root / row["path"]
    scratch = Path(tempfile.mkdtemp(prefix="ullage_run_"))
    paths = {name: scratch / name for name in ("stdout", "stderr")}
    paths |= {"json": scratch / "report.json", "html": scratch / "report.html"}
    places = {"{path}": path, "{out}": paths["json"], "{html}": paths["html"]}
    arguments = command
    for place, value in places.items():
        arguments = [argument.replace(place, str(value)) for argument in arguments]
    before = snapshot(path)
    start = time.monotonic()
    with open(paths["stdout"], "wb") as stdout, open(paths["stderr"], "wb") as stderr:
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=scratch,
                env=environment(scratch),
                start_new_session=True,
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
            )
        except OSError as error:
            return {"row": row, "fails": [f"cannot start: {error}"], "t": 0, "rss": 0, "rc": None}
        code, peak, limit = watch(process.pid, [paths["stdout"], paths["stderr"]], options)
    process.returncode = code  # Popen did not see it end
    seconds = time.monotonic() - start
    failures = ["left processes behind"] if kill_group(process.pid) else []
    texts = {name: read(path) for name, path in paths.items()}
    message = texts["stderr"].strip()
    failures += ending_failures(row, code, limit, message)
    if peak > options.rss_mb << 20 and not limit:
        failures.append(f"peak RSS {peak >> 20} MiB over {options.rss_mb}")
    failures += text_failures(texts)
    if "{out}" in " ".join(command) and code == 0 and not limit:
        try:
            json.loads(texts["json"])
        except ValueError as error:
            failures.append(f"JSON report does not parse: {error}")
    if row.get("want") and options.want and not failures and not re.search(row["want"], "".join(texts.values())):
        failures.append(f"nothing matches {row['want']!r}")
    if any(root.glob("MARKER_*")) or any(scratch.glob("ullage_pwn*")) or any(mark.exists() for mark in MARKS):
        failures.append("MARKER FILE CREATED: payload was executed or a path escaped")
    if snapshot(path) != before:
        failures.append("the checkpoint directory was changed")
    keep = options.keep and failures
    if not keep:
        shutil.rmtree(scratch, ignore_errors=True)
    return {
        "row": row,
        "fails": failures,
        "t": seconds,
        "rss": peak,
        "rc": code,
        "msg": message[:300],
        "tmp": str(scratch) if keep else None,
    }


def show(results, verbose):
    failed = [result for result in results if result["fails"]]
    cases = collections.Counter(result["row"]["category"] for result in results)
    failed_cases = collections.Counter(result["row"]["category"] for result in failed)
    print("category          cases  failed")
    for category, count in cases.items():
        print(f"{category:16s} {count:6d} {failed_cases[category]:7d}")
    for result in sorted(results, key=lambda result: -result["t"])[:3]:
        print(f"slowest: {result['t']:6.2f} s  {result['row']['path']!r}")
    for result in sorted(results, key=lambda result: -result["rss"])[:3]:
        print(f"largest: {result['rss'] >> 20:6d} MiB  {result['row']['path']!r}")
    for result in failed:
        row = result["row"]
        kept = f"  ({result['tmp']})" if result.get("tmp") else ""
        print(f"FAIL {row['category']}: {row['path']!r} [{row['expected']}]: {'; '.join(result['fails'])}{kept}")
    if verbose:
        for result in results:
            word = "FAIL" if result["fails"] else "pass"
            path, message = result["row"]["path"], result.get("msg", "")
            print(f"{word} rc={result['rc']} {result['t']:.2f}s {path!r} {message!r}")
    print(f"{len(results) - len(failed)} passed, {len(failed)} failed")
    return not failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("corpus")
    parser.add_argument("command")
    parser.add_argument("--timeout", type=float, default=20)
    parser.add_argument("--rss-mb", type=int, default=1024)
    parser.add_argument("-j", type=int, default=1)
    parser.add_argument("--only", help="regex on path or category")
    parser.add_argument("--no-want", dest="want", action="store_false")
    parser.add_argument("--keep", action="store_true", help="keep outputs of failures")
    parser.add_argument("--report", help="write all results as JSON lines")
    parser.add_argument("-v", action="store_true")
    options = parser.parse_args()
    root = Path(options.corpus).absolute()
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    if options.only:
        rows = [row for row in rows if re.search(options.only, row["path"] + " " + row["category"])]
    command = shlex.split(options.command)
    if "{path}" not in options.command:
        sys.exit("the command needs {path}")
    # Each run has a folder of its own, so what is named relative to this one is made absolute.
    if os.sep in command[0]:
        command[0] = str(Path(command[0]).absolute())
    command[1:] = [str(Path(x).absolute()) if x.endswith(".py") and os.path.exists(x) else x for x in command[1:]]
    stale = [*root.glob("MARKER_*"), *(mark for mark in MARKS if mark.exists())]
    if stale:
        sys.exit(f"stale marker {stale[0]}: remove it first")
    if psutil is None:
        print("note: no psutil, RSS is judged after the end only (ru_maxrss)")
    with concurrent.futures.ThreadPoolExecutor(options.j) as executor:
        results = list(executor.map(lambda row: run_one(row, root, command, options), rows))
    if options.report:
        with open(options.report, "w") as file:
            for result in results:
                kept = {key: result.get(key) for key in ("fails", "t", "rss", "rc", "msg")}
                file.write(json.dumps(kept | result["row"]) + "\n")
    sys.exit(0 if show(results, options.v) else 1)


if __name__ == "__main__":
    main()
