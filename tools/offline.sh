#!/usr/bin/env bash
# Collects what a build needs beside the source tree, for a machine that reaches no registry but has a compiler, CMake,
# Ninja and (for the GPU) nvcc 13: headers and libraries of this machine's Debian packages, in one archive.
#
#   tools/offline.sh [ARCHIVE]        default: build/offline.tar.xz
#
# There: unpack it beside the sources and tell CMake and the compiler where it lies:
#   tar xf offline.tar.xz && export CPATH=$PWD/offline/include LD_LIBRARY_PATH=$PWD/offline/lib/x86_64-linux-gnu
#   cmake --preset cuda -DCMAKE_PREFIX_PATH=$PWD/offline -DULLAGE_TESTS=OFF -DULLAGE_BENCHMARKS=OFF && cmake --build --preset cuda
# With tests, the machine needs GoogleTest and rapidcheck of its own.
set -euo pipefail
cd "$(dirname "$0")/.."
archive=${1:-build/offline.tar.xz}
packages=(libhwy-dev libfmt-dev libfmt9 nlohmann-json3-dev libcli11-dev liblapacke-dev)
# What programs load at run time, by the names that they ask for.
libraries=(libopenblas.so.0 liblapacke.so.3 liblapack.so.3 libblas.so.3 libtmglib.so.3 libgfortran.so.5 libquadmath.so.0)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/offline
libraries_folder=lib/x86_64-linux-gnu
mkdir -p "$root/$libraries_folder"
for package in "${packages[@]}"; do
  dpkg-query -L "$package" >/dev/null || { echo "offline: $package is not installed; run tools/setup.sh build" >&2; exit 1; }
  while read -r file; do
    case $file in
      /usr/include/* | /usr/lib/*/cmake/* | /usr/lib/cmake/* | /usr/share/cmake/* | /usr/lib/*/libfmt*) ;;
      *) continue ;;
    esac
    # Where packages put it, below another root: their CMake files look for the rest from where they lie.
    to=$root/${file#/usr/}
    [ -f "$file" ] && mkdir -p "$(dirname "$to")" && cp -L "$file" "$to"
  done < <(dpkg-query -L "$package")
done
for library in "${libraries[@]}"; do
  cp -L "/usr/$libraries_folder/$library" "$root/$libraries_folder/"
  strip --strip-unneeded "$root/$libraries_folder/$library"
done
ln -s libopenblas.so.0 "$root/$libraries_folder/libopenblas.so"
ln -s liblapacke.so.3 "$root/$libraries_folder/liblapacke.so"
mkdir -p "$(dirname "$archive")"
tar -C "$folder" -cJf "$archive" offline
du -h "$archive" | awk '{print "offline: " $2 ", " $1}'
