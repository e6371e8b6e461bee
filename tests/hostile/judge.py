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
import concurrent.futures as cf
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

BAD = re.compile(
    r"AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|terminate called|Assertion .*failed|assertion failed|core dumped|Segmentation fault|"
    r"Traceback \(most recent|std::bad_alloc|std::length_error|vector::_M_|basic_string::|panicked at|stack smashing|double free|corrupted size|thread '.*' panicked",
    re.I,
)
CTRL = re.compile("[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u202a-\u202e\u2066-\u2069]")
TOKEN = re.compile(
    r"<script>\s*ullage_xss|<img src=x onerror=ullage_xss|href=[\"']?javascript:ullage_xss|\son\w+=[\"']ullage_xss", re.I
)
SECRET = "ullage-secret-3b1f9c"
LEAK = re.compile(r"root:[^:\n]*:0:0:|" + SECRET)


def tree_rss(pid):
    if psutil is None:
        return 0
    try:
        p = psutil.Process(pid)
        return sum(q.memory_info().rss for q in [p] + p.children(recursive=True))
    except psutil.Error:
        return 0


def snapshot(p):
    out = {}
    p = Path(p)
    for base, ds, fs in os.walk(p if p.is_dir() else p.parent):
        for n in ds + fs:
            q = os.path.join(base, n)
            try:
                s = os.lstat(q)
                out[q] = (s.st_size, s.st_mtime_ns, s.st_mode, s.st_ino)
            except OSError:
                pass
        if len(out) > 20000:
            break
    return out


def read(p, lim=64 << 20):
    try:
        with open(p, "rb") as f:
            return f.read(lim)
    except OSError:
        return b""


def run_one(row, root, tmpl, opt):
    path = root / row["path"]
    tmp = Path(tempfile.mkdtemp(prefix="ullage_run_"))
    out, html = tmp / "report.json", tmp / "report.html"
    cmd = [a.replace("{path}", str(path)).replace("{out}", str(out)).replace("{html}", str(html)) for a in tmpl]
    before = snapshot(path)
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(tmp),
        "TMPDIR": str(tmp),
        "LC_ALL": "C.UTF-8",
        "ULLAGE_SECRET": SECRET,
        "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "abort_on_error=1"),
        "UBSAN_OPTIONS": os.environ.get("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
    }
    for k in ("LD_LIBRARY_PATH", "OMP_NUM_THREADS"):
        if k in os.environ:
            env[k] = os.environ[k]
    so, se = open(tmp / "so", "wb"), open(tmp / "se", "wb")
    t0 = time.monotonic()
    fails, peak, why = [], 0, None
    pid = None
    try:
        pr = subprocess.Popen(
            cmd,
            stdin=subprocess.DEVNULL,
            stdout=so,
            stderr=se,
            cwd=tmp,
            env=env,
            start_new_session=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
        )
        pid = pr.pid
    except OSError as e:
        return dict(row=row, fails=[f"cannot start: {e}"], t=0, rss=0, rc=None)
    st = ru = None
    nxt = 0.0
    while True:
        p, st, ru = os.wait4(pid, os.WNOHANG)
        if p:
            break
        now = time.monotonic()
        if now >= nxt:
            peak = max(peak, tree_rss(pid))
            nxt = now + 0.02
            sz = sum(os.path.getsize(q) for q in (tmp / "so", tmp / "se"))
            if now - t0 > opt.timeout:
                why = f"no end within {opt.timeout:g} s"
            elif peak > opt.rss_mb << 20:
                why = f"RSS over {opt.rss_mb} MiB"
            elif sz > 256 << 20:
                why = "more than 256 MiB of output"
            if why:
                try:
                    os.killpg(pid, signal.SIGKILL)  # the session this runner started
                except OSError:
                    pass
                _, st, ru = os.wait4(pid, 0)
                break
        time.sleep(0.002)
    pr.returncode = os.waitstatus_to_exitcode(st)
    t = time.monotonic() - t0
    so.close()
    se.close()
    peak = max(peak, ru.ru_maxrss * 1024)
    rc = pr.returncode
    try:
        os.killpg(pid, 0)
        fails.append("left processes behind")
        os.killpg(pid, signal.SIGKILL)
    except OSError:
        pass
    o, e, j, h = (
        read(tmp / "so").decode("utf-8", "replace"),
        read(tmp / "se").decode("utf-8", "replace"),
        read(out).decode("utf-8", "replace"),
        read(html).decode("utf-8", "replace"),
    )
    if why:
        fails.append(why)
    elif rc < 0:
        fails.append(f"killed by signal {-rc} ({signal.Signals(-rc).name})")
    elif rc >= 126:
        fails.append(f"exit status {rc}" + (" (command not runnable?)" if rc in (126, 127) else " (crash or abort)"))
    if peak > opt.rss_mb << 20 and not why:
        fails.append(f"peak RSS {peak >> 20} MiB over {opt.rss_mb}")
    exp = row["expected"]
    if "nonroot" in row["flags"] and os.geteuid() == 0:
        exp = "any"
    if not fails:
        if exp == "ok" and rc != 0:
            fails.append(f"expected ok, got status {rc}: {e.strip()[:160]!r}")
        if exp == "error" and rc == 0:
            fails.append("expected an error, got status 0")
        if rc != 0:
            msg = e.strip()
            if not msg:
                fails.append("error without a message on stderr")
            elif len(msg) > 2000 or len(msg.splitlines()) > 5:
                fails.append(f"stderr too long: {len(msg)} characters, {len(msg.splitlines())} lines")
    if BAD.search(o + e):
        fails.append(f"crash text: {BAD.search(o + e).group(0)!r}")
    for nm, txt in (("stdout", o), ("stderr", e), ("json", j), ("html", h)):
        m = CTRL.search(txt)
        if m:
            fails.append(f"raw control character U+{ord(m.group(0)):04X} in {nm}")
        if LEAK.search(txt):
            fails.append(f"{nm} leaks file or environment content")
        if nm != "json" and TOKEN.search(txt):
            fails.append(f"unescaped injection token in {nm}")
        if nm in ("stdout", "stderr") and any(l.startswith("OK: all checks passed") for l in txt.splitlines()):
            fails.append(f"forged line in {nm} (newline in a name)")
    if "{out}" in " ".join(tmpl) and rc == 0 and not why:
        try:
            json.loads(j)
        except ValueError as x:
            fails.append(f"JSON report does not parse: {x}")
    if row.get("want") and opt.want and not fails and not re.search(row["want"], o + e + j + h):
        fails.append(f"nothing matches {row['want']!r}")
    if (
        any(root.glob("MARKER_*"))
        or list(tmp.glob("ullage_pwn*"))
        or os.path.exists("/tmp/ullage_pwn")
        or os.path.exists("/tmp/ullage_pwn2")
    ):
        fails.append("MARKER FILE CREATED: payload was executed or a path escaped")
    if snapshot(path) != before:
        fails.append("the checkpoint directory was changed")
    if not (opt.keep and fails):
        shutil.rmtree(tmp, ignore_errors=True)
    return dict(
        row=row, fails=fails, t=t, rss=peak, rc=rc, msg=e.strip()[:300], tmp=str(tmp) if opt.keep and fails else None
    )


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("corpus")
    ap.add_argument("command")
    ap.add_argument("--timeout", type=float, default=20)
    ap.add_argument("--rss-mb", type=int, default=1024)
    ap.add_argument("-j", type=int, default=1)
    ap.add_argument("--only", help="regex on path or category")
    ap.add_argument("--no-want", dest="want", action="store_false")
    ap.add_argument("--keep", action="store_true", help="keep outputs of failures")
    ap.add_argument("--report", help="write all results as JSON lines")
    ap.add_argument("-v", action="store_true")
    a = ap.parse_args()
    root = Path(a.corpus).absolute()
    rows = [json.loads(l) for l in open(root / "manifest.jsonl")]
    if a.only:
        rows = [r for r in rows if re.search(a.only, r["path"] + " " + r["category"])]
    tmpl = shlex.split(a.command)
    if "{path}" not in a.command:
        sys.exit("the command needs {path}")
    if os.sep in tmpl[0]:
        tmpl[0] = str(Path(tmpl[0]).absolute())
    tmpl[1:] = [str(Path(x).absolute()) if x.endswith(".py") and os.path.exists(x) else x for x in tmpl[1:]]
    stale = list(root.glob("MARKER_*"))
    if stale:
        sys.exit(f"stale marker {stale[0]}: remove it first")
    if psutil is None:
        print("note: no psutil, RSS is judged after the end only (ru_maxrss)")
    with cf.ThreadPoolExecutor(a.j) as ex:
        res = list(ex.map(lambda r: run_one(r, root, tmpl, a), rows))
    bad = [r for r in res if r["fails"]]
    cats = collections.Counter(r["row"]["category"] for r in res)
    bcat = collections.Counter(r["row"]["category"] for r in bad)
    print("category          cases  failed")
    for k, n in cats.items():
        print(f"{k:16s} {n:6d} {bcat[k]:7d}")
    for r in sorted(res, key=lambda r: -r["t"])[:3]:
        print(f"slowest: {r['t']:6.2f} s  {r['row']['path']!r}")
    for r in sorted(res, key=lambda r: -r["rss"])[:3]:
        print(f"largest: {r['rss'] >> 20:6d} MiB  {r['row']['path']!r}")
    for r in bad:
        print(
            f"FAIL {r['row']['category']}: {r['row']['path']!r} [{r['row']['expected']}]: "
            + "; ".join(r["fails"])
            + (f"  ({r['tmp']})" if r.get("tmp") else "")
        )
    if a.v:
        for r in res:
            print(
                f"{'FAIL' if r['fails'] else 'pass'} rc={r['rc']} {r['t']:.2f}s {r['row']['path']!r} {r.get('msg', '')!r}"
            )
    if a.report:
        with open(a.report, "w") as f:
            for r in res:
                f.write(json.dumps({k: r.get(k) for k in ("fails", "t", "rss", "rc", "msg")} | r["row"]) + "\n")
    print(f"{len(res) - len(bad)} passed, {len(bad)} failed")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
