#!/bin/sh
# Makes a folder that runs rapt on another Linux of the same architecture without its packages:
#
#     scripts/bundle.sh DIR
#
#     DIR/bin/rapt               the program
#     DIR/lib                    librapt and every library that it needs, OpenBLAS among them
#     DIR/lib/rapt/plugins       the plugins
#     DIR/lib/lua/5.4            Lua modules in C
#     DIR/share/lua/5.4          rapt's scripts and Lua modules in Lua
#     DIR/share/doc              licences of all that is carried
#
# The C library and GPU drivers are the target's own: its C library must not be older than the one
# here. The folder may be moved: everything is found from where the program lies. Needs ./build
# (scripts/setup.sh build), patchelf and binutils.
set -u

lua_modules='argparse.lua cjson.so cjson lfs.so luv.so'

fail() {
    printf 'bundle.sh: %s\n' "$*" >&2
    exit 1
}

# Libraries that stay the target's.
is_system() {
    case ${1##*/} in
    ld-linux* | ld64* | libc.so.* | libm.so.* | libmvec.so.* | libpthread.so.* | libdl.so.* | \
        librt.so.* | libresolv.so.* | libutil.so.* | libanl.so.* | linux-vdso.so.*) return 0 ;;
    esac
    return 1
}

# "name path" of each library that an ELF file needs, directly or not; $2 is searched first.
libraries_of() {
    LD_LIBRARY_PATH="$2" ldd "$1" 2>/dev/null | awk '$2 == "=>" && $3 == "not" { print $1, "-" }
                                $2 == "=>" && $3 ~ /^\// { print $1, $3 }'
}

carry_libraries() {
    libraries_of "$1" "$bundle/lib" | while read -r name path; do
        is_system "$name" && continue
        [ "$path" != - ] || fail "$1 needs $name, which is not installed"
        [ -e "$bundle/lib/$name" ] && continue
        cp -L "$path" "$bundle/lib/$name" || fail "cannot copy $path"
        carry_licence "$path"
    done || exit 1
}

# Debian keeps the licence of a file's package in one place.
carry_licence() {
    command -v dpkg-query >/dev/null || return 0
    real=$(readlink -f "$1")
    package=$(dpkg-query -S "$real" 2>/dev/null || dpkg-query -S "${real#/usr}" 2>/dev/null)
    package=$(printf '%s\n' "$package" | sed -n '1s/[:,].*//p')
    if [ -n "$package" ] && [ -f "/usr/share/doc/$package/copyright" ]; then
        cp -L "/usr/share/doc/$package/copyright" "$bundle/share/doc/$package.txt"
    fi
}

carry_lua_module() {
    found=
    for folder in /usr/share/lua/5.4 "/usr/lib/$(gcc -dumpmachine)/lua/5.4" \
        /usr/lib/lua/5.4 /usr/local/share/lua/5.4 /usr/local/lib/lua/5.4; do
        [ -e "$folder/$1" ] || continue
        case $folder in
        */share/*) target=$bundle/share/lua/5.4 ;;
        *) target=$bundle/lib/lua/5.4 ;;
        esac
        cp -RL "$folder/$1" "$target/" || fail "cannot copy $folder/$1"
        found=$folder/$1
        find -L "$found" -type f | head -n 1 | while read -r file; do carry_licence "$file"; done
    done
    [ -n "$found" ] || fail "Lua module $1 is not installed (scripts/setup.sh build installs it)"
}

# "../../" from a folder below DIR/lib to DIR/lib.
upwards() {
    printf '%s' "${1#"$bundle/lib"}" | sed 's,/[^/]*,/..,g'
}

elf_files() {
    find "$bundle/bin" "$bundle/lib" -type f \( -name '*.so' -o -name '*.so.*' -o -name rapt \)
}

set_search_paths() {
    elf_files | while read -r file; do
        folder=${file%/*}
        case $file in
        "$bundle"/bin/*) path='$ORIGIN/../lib' ;;
        *) path="\$ORIGIN$(upwards "$folder")" ;;
        esac
        chmod u+w "$file"
        patchelf --set-rpath "$path" "$file" || fail "patchelf failed on $file"
    done || exit 1
}

check_closed() {
    elf_files | while read -r file; do
        libraries_of "$file" '' | while read -r name path; do
            is_system "$name" && continue
            case $(readlink -f "$path") in
            "$bundle"/*) ;;
            *) fail "$file still takes $name from $path" ;;
            esac
        done || exit 1
    done || exit 1
}

[ $# -eq 1 ] || {
    echo 'usage: scripts/bundle.sh DIR' >&2
    exit 2
}
command -v patchelf >/dev/null || fail 'patchelf is not installed (apt-get install patchelf)'
mkdir -p "$1" || fail "cannot make $1"
[ -z "$(ls -A "$1")" ] || fail "$1 is not empty"
bundle=$(cd "$1" && pwd -P) || fail "cannot enter $1"
cd "$(dirname "$0")/.." || fail 'cannot enter the folder of the sources'
[ -f build/build.ninja ] || fail 'there is no ./build: run scripts/setup.sh build'

stage=$(mktemp -d) || fail 'cannot make a temporary folder'
trap 'rm -rf "$stage"' EXIT
meson install -C build --strip --destdir "$stage" >"$stage/log" 2>&1 || {
    tail -n 20 "$stage/log" >&2
    fail 'meson install failed'
}

mkdir -p "$bundle/bin" "$bundle/lib/rapt" "$bundle/lib/lua/5.4" "$bundle/share/lua/5.4" \
    "$bundle/share/doc" || fail "cannot write to $bundle"
library=$(find "$stage" -name 'librapt.so.0' | head -n 1)
program=$(find "$stage" -path '*/bin/rapt' | head -n 1)
plugins=$(find "$stage" -type d -path '*/rapt/plugins' | head -n 1)
scripts=$(find "$stage" -type d -path '*/share/lua/5.4/rapt' | head -n 1)
modules=$(find "$stage" -type d -path '*/lib*/lua/5.4/rapt' ! -path '*/share/*' | head -n 1)
for part in library program plugins scripts modules; do
    eval "value=\$$part"
    [ -n "$value" ] || fail "meson install gave no $part"
done
cp -L "$library" "$bundle/lib/librapt.so.0" && cp "$program" "$bundle/bin/rapt" &&
    cp -R "$plugins" "$bundle/lib/rapt/plugins" && cp -R "${scripts%/rapt}/." "$bundle/share/lua/5.4/" &&
    cp -R "${modules%/rapt}/." "$bundle/lib/lua/5.4/" || fail 'cannot copy what was installed'
cp LICENSE "$bundle/share/doc/rapt.txt" || fail 'cannot copy LICENSE'

for module in $lua_modules; do
    carry_lua_module "$module"
done

# OpenBLAS is opened by name when it is first needed, so nothing lists it.
blas=$(ldconfig -p 2>/dev/null | awk '$1 == "libopenblas.so.0" { print $NF; exit }')
[ -n "$blas" ] || blas=$(/sbin/ldconfig -p | awk '$1 == "libopenblas.so.0" { print $NF; exit }')
[ -n "$blas" ] || fail 'libopenblas.so.0 is not installed'
cp -L "$blas" "$bundle/lib/libopenblas.so.0" || fail "cannot copy $blas"
carry_licence "$blas"
# So is the Vulkan loader: the target's own comes first, then the one carried here.
loader=$(PATH=$PATH:/sbin ldconfig -p | awk '$1 == "libvulkan.so.1" { print $NF; exit }')
if [ -n "$loader" ]; then
    mkdir -p "$bundle/lib/vulkan" && cp -L "$loader" "$bundle/lib/vulkan/libvulkan.so.1" ||
        fail "cannot copy $loader"
    carry_licence "$loader"
fi
for package in glslang-dev spirv-tools; do # linked into rapt/glslang.so
    [ ! -f "/usr/share/doc/$package/copyright" ] ||
        cp -L "/usr/share/doc/$package/copyright" "$bundle/share/doc/$package.txt"
done
[ ! -f /usr/lib/libxsmm.a ] || carry_licence /usr/lib/libxsmm.a # linked into librapt

elf_files >"$stage/elf"
while read -r file; do
    carry_libraries "$file"
done <"$stage/elf"
set_search_paths
check_closed
find "$bundle" -type d -exec chmod 755 {} +
find "$bundle" -type f -exec chmod u+rw,go+r,go-w {} +

env -i HOME="${HOME:-/}" "$bundle/bin/rapt" list >"$stage/log" 2>&1 || {
    tail -n 20 "$stage/log" >&2
    fail "$bundle/bin/rapt list failed"
}
printf 'bundle.sh: %s, %s: try %s/bin/rapt\n' "$bundle" "$(du -sh "$bundle" | cut -f 1)" "$bundle"
