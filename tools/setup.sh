#!/usr/bin/env bash
# Installs what ullage needs on Debian 12, and only what is missing.
#
#   tools/setup.sh [build] [demo] [test] [lint] [torch] [cuda]     default: all but cuda
#
# build: compiler, libraries of the command and of its tests.  demo: an empty Python environment, build/venv,
# for pip.  test: a browser, Python's headers, and Python tools in build/venv (nanobind, which the build takes
# the binding from).  lint: clang 19 and its tools (format, tidy, fuzzers), ruff in build/venv.  torch: PyTorch and
# Transformers in build/venv.  cuda: CUDA 13's compiler in build/venv (no driver, no GPU needed to build).
# When everything is there it does nothing and takes well under a second.
set -euo pipefail
cd "$(dirname "$0")/.."

build_packages=(g++ make cmake ninja-build python3 libhwy-dev libopenblas-dev
  liblapacke-dev libfmt-dev nlohmann-json3-dev libcli11-dev libgtest-dev libgmock-dev librapidcheck-dev)
test_packages=(git ccache python3-venv python3-dev chromium fonts-dejavu-core)
lint_packages=(python3-venv clang-19 clang-tidy-19 clang-format-19 libclang-rt-19-dev)

venv=build/venv
say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

groups=("$@")
[ ${#groups[@]} -gt 0 ] || groups=(build demo test lint torch)
packages=()
with_venv=
requirements=()
for group in "${groups[@]}"; do
  case $group in
    build) packages+=("${build_packages[@]}") ;;
    demo) with_venv=1 packages+=(python3 python3-venv) ;;
    test) with_venv=1 packages+=("${test_packages[@]}") requirements+=(tools/requirements.txt) ;;
    lint) with_venv=1 packages+=("${lint_packages[@]}") requirements+=(tools/requirements-lint.txt) ;;
    torch) with_venv=1 requirements+=(tools/requirements-torch.txt) ;;
    cuda) with_venv=1 requirements+=(tools/requirements-cuda.txt) ;;
    *) fail "no group '$group'; there are build, demo, test, lint, torch and cuda" ;;
  esac
done

# Debian packages ------------------------------------------------------------------------------------

missing=()
if command -v dpkg-query >/dev/null; then
  # One call for the whole list: "install ok installed" stands only before what is really there.
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "${packages[@]}" 2>/dev/null |
    sed -n 's/^installed //p' || true)
  while read -r package; do
    grep -qxF "$package" <<<"$installed" || missing+=("$package")
  done < <(printf '%s\n' "${packages[@]}" | sort -u)
else
  say "this is not Debian: checking nothing, building with what is here"
  say "the packages are named in tools/setup.sh"
fi

if [ ${#missing[@]} -gt 0 ]; then
  say "missing Debian packages: ${missing[*]}"
  if [ "$(id -u)" = 0 ]; then
    as_root=()
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
  elif command -v sudo >/dev/null && [ -t 0 ]; then
    as_root=(sudo)
  else
    fail "cannot install them: not root, and no sudo without a password. Ask for: apt-get install ${missing[*]}"
  fi
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Acquire::Retries=3 "$@" \
      </dev/null >"$log" 2>&1
  }
  say "installing ${#missing[@]} packages (apt-get, a few minutes)"
  # The package lists of a fresh machine are empty or old; update only when the first try says so.
  if ! apt install --no-install-recommends "${missing[@]}"; then
    say "updating the package lists first"
    apt update || { tail -n 5 "$log" >&2; fail "apt-get update failed; see the lines above"; }
    apt install --no-install-recommends "${missing[@]}" || {
      tail -n 15 "$log" >&2
      fail "apt-get install failed; see the lines above. Needed: ${missing[*]}"
    }
  fi
  say "installed"
fi

# Python tools ---------------------------------------------------------------------------------------

[ -n "$with_venv" ] || exit 0
if ! [ -x $venv/bin/python ] || ! $venv/bin/python -c '' 2>/dev/null; then
  say "making the Python environment $venv"
  rm -rf $venv
  python3 -m venv $venv || fail "python3 -m venv failed: is the package python3-venv installed?"
fi
for file in ${requirements[@]+"${requirements[@]}"}; do
  # A copy of each list stays beside what was installed from it: the same list again is nothing to do.
  stamp=$venv/$(basename "$file")
  if ! cmp -s "$file" "$stamp"; then
    say "installing the Python packages of $file into $venv"
    $venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r "$file" </dev/null ||
      fail "pip could not install $file; without these packages the Python tests cannot run"
    cp "$file" "$stamp"
  fi
done

# nvcc looks for its libraries in lib64, its wheels put them in lib.
for toolkit in $venv/lib/python3*/site-packages/nvidia/cu13; do
  if [ -x "$toolkit/bin/nvcc" ] && ! [ -e "$toolkit/lib64" ]; then ln -s lib "$toolkit/lib64"; fi
done
