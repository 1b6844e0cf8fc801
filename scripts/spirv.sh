#!/bin/sh
# SPIR-V that a Debian 12 glslang cannot make (VK_KHR_cooperative_matrix) is kept in shaders/kept, one
# text of its words a shader, listed in shaders/kept.txt: "NAME ROOM/FILE.comp [-DMACRO ...]".
#
#     scripts/spirv.sh check    every text is of its sources as they are now; exit status 1 if not
#     scripts/spirv.sh make     makes those that are not. Takes GLSLANG, or a glslang of the system
#                               that knows the extension, or unpacks Debian 13's into ./build/glslang
#
# A text names the files it was made from and the SHA-256 of them all, so checking needs no compiler.
set -u

packages='glslang-tools libc6 libstdc++6 libgcc-s1'

fail() {
    printf 'spirv.sh: %s\n' "$*" >&2
    exit 1
}

cd "$(dirname "$0")/../shaders" || fail 'cannot enter the folder of the shaders'
work=$(mktemp -d) || fail 'no temporary folder'
trap 'rm -rf "$work"' EXIT

# The sum over names and contents of the files and over how they are compiled.
sum_of() {
    # shellcheck disable=SC2086
    { echo "$2" && (for file in $1; do echo "$file" && cat "$file" || exit 1; done); } |
        sha256sum | cut -d' ' -f1
}

# What a text says of itself: field TEXT NAME.
field() {
    sed -n "s,^# $2: ,,p" "$1"
}

current() {
    text=kept/$1.txt
    [ -f "$text" ] || return 1
    sources=$(field "$text" sources)
    for source in $sources; do
        [ -f "$source" ] || return 1
    done
    [ "$(field "$text" sha256)" = "$(sum_of "$sources" "$2")" ]
}

able() {
    cat >"$work/able.comp" <<'GLSL'
#version 450
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
void main()
{
    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> c;
}
GLSL
    "$@" --quiet -V --target-env vulkan1.2 -o "$work/able.spv" "$work/able.comp" >/dev/null 2>&1
}

# Debian 13's, started through its own loader.
fetched() {
    root=$(cd .. && pwd)/build/glslang
    if [ ! -x "$root/run" ]; then
        mkdir -p "$root/debs" || return 1
        suite=https://deb.debian.org/debian/dists/trixie/main/binary-amd64/Packages.xz
        curl -fsS "$suite" | xz -dc >"$root/Packages" || return 1
        for package in $packages; do
            path=$(awk -v name="$package" '$1 == "Package:" { on = $2 == name }
                on && $1 == "Filename:" { print $2; exit }' "$root/Packages")
            sum=$(awk -v name="$package" '$1 == "Package:" { on = $2 == name }
                on && $1 == "SHA256:" { print $2; exit }' "$root/Packages")
            curl -fsS "https://deb.debian.org/debian/$path" -o "$root/debs/$package.deb" || return 1
            echo "$sum  $root/debs/$package.deb" | sha256sum -c --quiet || return 1
            dpkg-deb -x "$root/debs/$package.deb" "$root/root" || return 1
        done
        libraries=$root/root/usr/lib/x86_64-linux-gnu
        cat >"$root/run" <<RUN
#!/bin/sh
exec $libraries/ld-linux-x86-64.so.2 --library-path $libraries $root/root/usr/bin/glslang "\$@"
RUN
        chmod +x "$root/run" || return 1
    fi
    glslang=$root/run
}

find_glslang() {
    for glslang in ${GLSLANG:-} glslang glslangValidator; do
        able "$glslang" && return
    done
    if ! fetched || ! able "$glslang"; then
        fail 'no glslang knows GL_KHR_cooperative_matrix; set GLSLANG'
    fi
}

make_one() {
    name=$1 file=$2 options=$3
    # shellcheck disable=SC2086
    "$glslang" --quiet -V --target-env vulkan1.2 -g0 -Os -I. $options --depfile "$work/deps" \
        --vn "$name" -o "$work/code" "$file" || fail "$file does not compile"
    sources=$(sed 's/^[^:]*: *//' "$work/deps" | tr -d '\134' | tr -s ' ' '\n' | sed 's,^\./,,' |
        sed '/^$/d' | sort -u | tr '\n' ' ' | sed 's/ $//')
    mkdir -p kept
    {
        echo '# Made by scripts/spirv.sh; not to be edited.'
        echo "# sources: $sources"
        echo "# sha256: $(sum_of "$sources" "$options")"
        grep -o '0x[0-9a-f]*' "$work/code" | paste -sd ' ' | fold -sw 110
    } >"kept/$name.txt.new" && mv "kept/$name.txt.new" "kept/$name.txt" || fail "cannot write kept/$name.txt"
    echo "made shaders/kept/$name.txt"
}

[ $# -eq 1 ] || fail 'usage: scripts/spirv.sh check|make'
glslang=""
status=0
[ -f kept.txt ] || fail 'no shaders/kept.txt'
while read -r name file options; do
    case $name in '' | '#'*) continue ;; esac
    current "$name" "$options" && continue
    case $1 in
    check)
        echo "shaders/kept/$name.txt is not of its sources: scripts/spirv.sh make" >&2
        status=1
        ;;
    make)
        [ -n "$glslang" ] || find_glslang
        make_one "$name" "$file" "$options"
        ;;
    *) fail 'usage: scripts/spirv.sh check|make' ;;
    esac
done <kept.txt
for text in kept/*.txt; do
    [ -f "$text" ] || continue
    name=${text#kept/}
    grep -q "^${name%.txt} " kept.txt || {
        echo "shaders/$text is in no line of shaders/kept.txt" >&2
        status=1
    }
done
exit $status
